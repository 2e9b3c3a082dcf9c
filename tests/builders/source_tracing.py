"""A detector of source tracing without a class of bona fide recordings, which has no score."""

from pathlib import Path

from builders.small_parts import SPECTRUM
from nes2net import Detector

TRACING = {
    "frontend": SPECTRUM,
    "backend": {"name": "mean_linear", "num_logits": 3, "classes": ["A", "B", "C"]},
}
REFUSED = "this detector has the classes A, B, C, without bona fide, so it has no score"


def save_tracing_detector(path: Path) -> Path:
    Detector.from_config(TRACING).save(path)
    return path
