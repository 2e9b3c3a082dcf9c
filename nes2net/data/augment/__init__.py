"""What may happen to a waveform: RawBoost, noise, rooms, codecs and other effects.

Training draws from a list of effects, and ``nes2net robustness`` scores the same trials under each of
them. A condition is an effect at one strength, written ``NAME`` or ``NAME:STRENGTH``, such as
``mp3:16``. :mod:`~nes2net.data.augment.specmix` and :mod:`~nes2net.data.augment.latent` act on features.
"""

from nes2net.data.augment.effect import Effect
from nes2net.data.augment.noise import NoiseAugmentation
from nes2net.data.augment.rawboost import RawBoostParameters, rawboost
from nes2net.data.augment.sources import Sources

__all__ = ["Effect", "NoiseAugmentation", "RawBoostParameters", "Sources", "rawboost"]
