"""Apps that need a score refuse a detector of source tracing before they do anything."""

import pytest
from builders import needs_gradio

from nes2net import Detector
from nes2net.lib.http_server import listening_socket

TRACING = {
    "frontend": {"name": "lps", "n_fft": 128, "num_bins": 20},
    "backend": {"name": "mean_linear", "num_logits": 3, "classes": ["A", "B", "C"]},
}
REFUSED = "this detector has the classes A, B, C, without bona fide, so it has no score"


@pytest.fixture
def tracing(tmp_path):
    Detector.from_config(TRACING).save(tmp_path / "tracing.pth")
    return tmp_path / "tracing.pth"


@pytest.mark.parametrize("to, out", [("onnx", "tracing.onnx"), ("space", "space"), ("arena", "arena")])
def test_exports_that_only_score(command, tracing, tmp_path, monkeypatch, to, out):
    """A file that gives the logit of the last class as a score would be taken for a detector."""
    monkeypatch.chdir(tmp_path)
    status, _, error = command(["export", tracing, "--to", to, "--out", out])
    assert status == 2
    assert REFUSED in error
    assert [path.name for path in tmp_path.iterdir()] == ["tracing.pth"]


@needs_gradio
def test_the_page(command, tracing):
    with listening_socket("127.0.0.1", range(0, 1)) as listener:
        port = listener.getsockname()[1]
    status, _, error = command(["serve", "--model", tracing, "--device", "cpu", "--port", port])
    assert status == 2
    assert REFUSED in error
