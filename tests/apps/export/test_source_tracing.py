"""Formats that only score refuse a detector of source tracing before they write anything."""

import pytest
from builders.source_tracing import REFUSED, save_tracing_detector

OUTPUTS = [("onnx", "tracing.onnx"), ("space", "space"), ("arena", "arena")]


@pytest.mark.parametrize("export_format, out", OUTPUTS)
def test_export_of_a_detector_of_source_tracing_to_a_format_with_scores_only_is_refused(
    refused, tmp_path, export_format, out
):
    tracing = save_tracing_detector(tmp_path / "tracing.pth")
    words = f"export {tracing} --to {export_format} --out {tmp_path}/{out}"
    refused(words, REFUSED)
    assert list(tmp_path.iterdir()) == [tracing]
