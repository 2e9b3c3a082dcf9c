"""Published detectors and front-ends in full size, without memory for their weights, each built once in a process."""

import json
from functools import cache
from typing import Any

from nes2net import Detector
from nes2net.lib.computing.without_memory import without_memory
from nes2net.models.frontends.base import Frontend
from nes2net.models.loading import _meta_frontend
from nes2net.models.published_models import PUBLISHED_MODELS


def frontend_without_weights(described: str | dict[str, Any]) -> Frontend:
    """The front-end of a configuration, which tests share and none may change."""
    return _meta_frontend(json.dumps(described))


def detector_without_weights(config: dict[str, Any]) -> Detector:
    """The detector of a configuration; its front-end is shared."""
    with without_memory():
        return Detector.with_frontend(frontend_without_weights(config["frontend"]), config)


@cache
def published_detector(name: str) -> Detector:
    """The published model ``name``, which tests share and none may change."""
    return detector_without_weights(PUBLISHED_MODELS[name])
