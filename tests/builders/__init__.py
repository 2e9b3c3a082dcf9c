"""What several tests build: corpora, checkpoints, reports, and reference numbers."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

#: The folder of real recordings, scores and weights, which need not be there.
SHARED = Path(os.environ.get("NES2NET_SHARED", Path(__file__).resolve().parents[3] / "shared"))

#: Seconds after which a test takes what it waits for to hang. So many are enough on a machine that does ten other things.
PATIENCE = 900.0

#: For tests of the page: without importing what takes seconds in every process that collects them.
needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed")
