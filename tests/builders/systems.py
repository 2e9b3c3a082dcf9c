"""Small detectors that use every registered part; systems.yaml has their options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from nes2net import Detector
from nes2net.models import registry

_OPTIONS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
WAV2VEC2 = _OPTIONS["wav2vec2"]


def systems() -> dict[str, dict[str, Any]]:
    """Configure small detectors that use every registered back-end, aggregation and kind of front-end: title → configuration."""
    configurations = {}
    for name in registry.backends.names():
        backend = {"name": name, **_OPTIONS["backends"].get(name, {})}
        frontend = _OPTIONS["frontends_of_backends"].get(name, WAV2VEC2)
        configurations[f"back-end {name}"] = {"frontend": frontend, "backend": backend}
    for name in registry.aggregations.names():
        configurations[f"aggregation {name}"] = {"frontend": WAV2VEC2, "aggregation": name, "backend": "asp_mlp"}
    for name, frontend in _OPTIONS["frontends"].items():
        configurations[f"front-end {name}"] = {"frontend": frontend, "backend": "asp_mlp"}
    return configurations


def samples_of(detector: Detector, usual: int) -> int:
    """The number of samples for a detector: ``usual``, or its own if its back-end reads one number of frames."""
    return detector.min_samples if detector.backend.fixed_frames else usual
