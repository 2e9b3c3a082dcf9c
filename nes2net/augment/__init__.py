"""Augmentation during training: RawBoost, noise and reverberation, and Specmix."""

from nes2net.augment.noise import NoiseAugmentation
from nes2net.augment.rawboost import RawBoostParameters, rawboost

__all__ = ["NoiseAugmentation", "RawBoostParameters", "rawboost"]
