"""`nes2net serve` refuses a detector of source tracing at the start."""

from builders import needs_serve
from builders.source_tracing import REFUSED, save_tracing_detector

from nes2net.lib.web.http_server import listening_socket


@needs_serve
def test_serve_refuses_a_detector_of_source_tracing(output, tmp_path):
    tracing = save_tracing_detector(tmp_path / "tracing.pth")
    with listening_socket("127.0.0.1", range(0, 1)) as listener:
        port = listener.getsockname()[1]
    assert REFUSED in output(["serve", "--model", tracing, "--device", "cpu", "--port", port], status=2).err
