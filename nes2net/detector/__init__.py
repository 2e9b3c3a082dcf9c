"""The Detector: front-end, aggregation and back-end, loaded, saved and applied to recordings."""

from nes2net.detector.detector import Detector

__all__ = ["Detector"]
