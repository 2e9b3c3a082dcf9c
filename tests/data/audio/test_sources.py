"""Whatever a recording comes from, a detector hears the same samples."""

import io

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error
from numpy.random import default_rng

from nes2net.data.audio.pcm import RawAudio
from nes2net.data.audio.read import load_audio
from nes2net.data.audio.sources import blocks_of, recording_of

RATE = 8000


@pytest.fixture
def samples():
    return np.round(0.1 * default_rng(0).standard_normal((2, 12345)) * 32768).astype(np.float32) / 32768


def test_a_recording_gives_the_same_samples_as_path_file_array_tensor_blocks_or_raw_audio(
    samples, tmp_path, monkeypatch
):
    monkeypatch.setattr("nes2net.data.audio.sources._BLOCK_SAMPLES", 5000)
    path = tmp_path / "a.wav"
    soundfile.write(path, samples.T, RATE, subtype="PCM_16")
    integers = (samples.T * 32768).astype("<i2").tobytes()
    expected = load_audio(path)
    sources = {
        "path": (lambda: path, None),
        "file": (lambda: io.BytesIO(path.read_bytes()), None),
        "array": (lambda: samples, RATE),
        "tensor": (lambda: torch.from_numpy(samples), RATE),
        "blocks": (lambda: iter(np.array_split(samples, 7, axis=1)), RATE),
        "generator": (lambda: (block for block in torch.from_numpy(samples).split(999, dim=1)), RATE),
        "raw": (lambda: RawAudio(integers, RATE, channels=2), None),
    }
    for name, (source, rate) in sources.items():
        blocks = list(blocks_of(source(), rate))
        assert np.array_equal(np.concatenate(blocks), expected), name


def test_blocks_of_samples_that_make_no_recording_are_refused_with_the_reason(samples):
    """No blocks at all, none of their rate, or NaN among their samples."""
    wrong = samples.copy()
    wrong[1, 6000] = np.nan
    for source, rate, message in (
        (iter([samples]), None, "must be a number of Hz"),
        (iter([]), RATE, "the recording has no samples"),
        (iter(np.array_split(wrong, 5, axis=1)), RATE, r"NaN or infinite samples \(the first at 0\.750 s\)"),
    ):
        with input_error(message):
            recording_of(source, rate)
