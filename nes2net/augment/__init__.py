"""Augmentation of waveforms and spectrograms during training."""

from nes2net.augment.rawboost import RawBoostParameters, rawboost

__all__ = ["RawBoostParameters", "rawboost"]
