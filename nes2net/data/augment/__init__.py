"""Effects that change a waveform: RawBoost, noise, rooms, codecs and others.

Training draws effects from a list. ``nes2net robustness`` scores the same trials under each
condition: an effect at one strength, written ``NAME`` or ``NAME:STRENGTH``, such as ``mp3:16``.
:mod:`~nes2net.data.augment.specmix` changes spectrograms, and :mod:`~nes2net.data.augment.latent`
embeddings.
"""

from nes2net.data.augment.effect import Effect
from nes2net.data.augment.noise import NoiseAugmentation
from nes2net.data.augment.rawboost import RawBoostParameters, rawboost
from nes2net.data.augment.sources import Sources

__all__ = ["Effect", "NoiseAugmentation", "RawBoostParameters", "Sources", "rawboost"]
