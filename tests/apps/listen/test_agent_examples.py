"""The examples for LiveKit agents and pipecat, with frames of the real libraries, in an environment of their own."""

import json
import os
import subprocess

import numpy as np
import pytest
from builders import PATIENCE
from builders.live import expected, windows
from conftest import REPOSITORY

pytest.importorskip("websockets")

pytestmark = pytest.mark.weekly

#: Python of an environment with livekit-agents, pipecat-ai and websockets, which do not fit constraints.txt.
PYTHON = os.environ.get("NES2NET_CALLS_PYTHON")
DRIVERS = {
    "livekit_agent": """
import asyncio, runpy, sys
from livekit import rtc
example = runpy.run_path(sys.argv[1])
example["judged"].__globals__["LISTEN"] = sys.argv[2]
content = open(sys.argv[3], "rb").read()
async def frames():
    for first in range(0, len(content), 640):
        block = content[first : first + 640]
        yield rtc.AudioFrame(block, 16000, 1, len(block) // 2)
async def main():
    passed = b"".join([bytes(frame.data) async for frame in example["judged"](frames())])
    assert passed == content
asyncio.run(main())
""",
    "pipecat_processor": """
import asyncio, runpy, sys
from pipecat.frames.frames import InputAudioRawFrame
from pipecat.tests.utils import run_test
example = runpy.run_path(sys.argv[1])
example["Judge"].hear.__globals__["LISTEN"] = sys.argv[2]
content = open(sys.argv[3], "rb").read()
frames = [InputAudioRawFrame(content[first : first + 640], 16000, 1) for first in range(0, len(content), 640)]
async def main():
    passed, _ = await run_test(example["Judge"](), frames_to_send=frames, start_timeout=60)
    assert b"".join(frame.audio for frame in passed) == content
asyncio.run(main())
""",
}


@pytest.mark.skipif(PYTHON is None, reason="set NES2NET_CALLS_PYTHON")
@pytest.mark.parametrize("name", DRIVERS)
def test_frames_of_an_agent_have_the_scores_of_the_recording(serve, small, call, tmp_path, name):
    samples = (call[0, :24000] * 32767).astype("<i2")
    (tmp_path / "call.raw").write_bytes(samples.tobytes())
    example = REPOSITORY / "docs" / "examples" / f"{name}.py"
    command = [PYTHON, "-c", DRIVERS[name], example, serve(), tmp_path / "call.raw"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert windows(lines) == expected(small, samples / np.float32(32768))
