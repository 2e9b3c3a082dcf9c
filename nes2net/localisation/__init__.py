"""Which parts of an utterance are fake: labels of frames and segments, their files, and their metrics.

Everywhere a label is 1 for bona fide and 0 for spoof, a score is higher for bona fide, and times
are in seconds. Arrays of one utterance are NumPy arrays.
"""

from nes2net.localisation.frames import align, coarsen_scores, pool_labels, refine_scores
from nes2net.localisation.segments import Segment, cut_segments, frame_labels, repeat_segments

__all__ = [
    "Segment",
    "align",
    "coarsen_scores",
    "cut_segments",
    "frame_labels",
    "pool_labels",
    "refine_scores",
    "repeat_segments",
]
