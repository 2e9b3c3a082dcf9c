"""Waveform and spectrogram for the page."""

import io

import numpy as np
import soundfile
from PIL import Image

from nes2net.serve.desk import draw


def grey(picture):
    return np.asarray(Image.open(io.BytesIO(picture.spectrogram)))


def test_a_tone_is_a_dark_line_at_its_frequency_and_time(tmp_path):
    time = np.arange(64000) / 16000
    tone = np.where((time > 1) & (time < 2), 0.5, 0) * np.sin(2 * np.pi * 2000 * time)
    soundfile.write(tmp_path / "a.wav", tone, 16000, subtype="FLOAT")
    picture = draw(tmp_path / "a.wav", lambda: None)
    pixels = grey(picture)
    assert pixels.shape == (257, len(picture.low)) == (257, 400)
    during = pixels[:, 110:190]
    assert (during.argmin(0) == 256 - 64).all() and during.min() < 10  # bin 64 of 256 is 2 kHz; 8 kHz is at the top
    assert (pixels[:, 250:] == 255).all()
    np.testing.assert_allclose(picture.high[110:190], 0.5, atol=0.01)
    np.testing.assert_allclose(picture.low[110:190], -0.5, atol=0.01)


def test_a_long_recording_has_no_more_columns_and_every_column_is_looked_at(tmp_path):
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 16000, 1, "PCM_16") as file:
        for _ in range(600):
            file.write(np.zeros(16000))
        file.write(np.full(160, 0.5))
    checked = []
    picture = draw(tmp_path / "long.wav", lambda: checked.append(1))
    assert len(checked) == len(picture.high) <= 1200
    assert picture.high[-1] == 0.5 and not picture.high[:-1].any()


def test_the_shortest_recording_and_silence(tmp_path):
    for length in (1, 100, 700):
        soundfile.write(tmp_path / "a.wav", np.zeros(length), 16000)
        assert (grey(draw(tmp_path / "a.wav", lambda: None)) == 255).all()
