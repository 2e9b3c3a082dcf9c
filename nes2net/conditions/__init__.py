"""Conditions that recordings may meet: codecs, channels, noise, rooms and cuts, each at a named strength.

``nes2net robustness`` scores the same trials under each of them, and ``augment.conditions`` trains
with them. A condition is written ``NAME`` or ``NAME:STRENGTH``, such as ``mp3:16`` or ``white:5``.
"""

from nes2net.conditions.base import Condition, Sources

__all__ = ["Condition", "Sources"]
