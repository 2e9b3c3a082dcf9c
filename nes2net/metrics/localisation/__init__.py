"""Localisation of fake parts of an utterance: labels of frames and segments, their files, and their metrics.

Labels of frames: 1 bona fide, 0 spoof, −1 none (ignored by the point-based EER). Higher scores mean
bona fide; times are in seconds.
"""

from nes2net.metrics.localisation.detection import (
    Boundaries,
    Detection,
    detection,
    match_boundaries,
    overlap_of_segments,
)
from nes2net.metrics.localisation.frames import (
    RESOLUTIONS,
    align,
    coarsen_labels,
    coarsen_scores,
    pool_labels,
    refine_scores,
)
from nes2net.metrics.localisation.intervals import interval_of_sums, point_eer_interval, range_eer_interval
from nes2net.metrics.localisation.label_files import (
    audacity_text,
    map_rttm,
    read_audacity,
    read_reco2dur,
    read_rttm,
    rttm_text,
    write_audacity,
    write_rttm,
)
from nes2net.metrics.localisation.metrics import (
    PointEer,
    RangeEer,
    ScoredUtterance,
    measure_frames,
    point_eer,
    range_eer,
)
from nes2net.metrics.localisation.segments import Segment, frame_labels, map_segments, segments_of_frames

__all__ = [
    "RESOLUTIONS",
    "Boundaries",
    "Detection",
    "PointEer",
    "RangeEer",
    "ScoredUtterance",
    "Segment",
    "align",
    "audacity_text",
    "coarsen_labels",
    "coarsen_scores",
    "detection",
    "frame_labels",
    "interval_of_sums",
    "map_rttm",
    "map_segments",
    "match_boundaries",
    "measure_frames",
    "overlap_of_segments",
    "point_eer",
    "point_eer_interval",
    "pool_labels",
    "range_eer",
    "range_eer_interval",
    "read_audacity",
    "read_reco2dur",
    "read_rttm",
    "refine_scores",
    "rttm_text",
    "segments_of_frames",
    "write_audacity",
    "write_rttm",
]
