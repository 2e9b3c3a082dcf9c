"""Formats that only score refuse a detector of source tracing before they write anything."""

import pytest
from builders.source_tracing import REFUSED, save_tracing_detector


@pytest.mark.parametrize("to, out", [("onnx", "tracing.onnx"), ("space", "space"), ("arena", "arena")])
def test_exports_that_only_score(command, here, to, out):
    """A file that gives the logit of the last class as a score would be taken for a detector."""
    tracing = save_tracing_detector(here / "tracing.pth")
    status, _, error = command(["export", tracing, "--to", to, "--out", out])
    assert status == 2
    assert REFUSED in error
    assert list(here.iterdir()) == [tracing]
