"""Augmentation of waveforms (RawBoost, noise and reverberation) and spectrograms (Specmix) during training."""

from nes2net.augment.noise import NoiseAugmentation
from nes2net.augment.rawboost import RawBoostParameters, rawboost

__all__ = ["NoiseAugmentation", "RawBoostParameters", "rawboost"]
