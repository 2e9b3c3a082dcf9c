"""Waveform and spectrogram for the page."""

import io

import numpy as np
import soundfile
from PIL import Image

from nes2net.serve.desk import draw


def drawn(path, samples, check=lambda: None, **options):
    """The picture of ``samples``, and the greys of its spectrogram."""
    soundfile.write(path / "a.wav", samples, 16000, **options)
    picture = draw(path / "a.wav", check)
    return picture, np.asarray(Image.open(io.BytesIO(picture.spectrogram)))


def test_a_tone_is_a_dark_line_at_its_frequency_and_time(tmp_path):
    time = np.arange(64000) / 16000
    tone = np.where((time > 1) & (time < 2), 0.5, 0) * np.sin(2 * np.pi * 2000 * time)
    picture, pixels = drawn(tmp_path, tone, subtype="FLOAT")
    assert pixels.shape == (257, len(picture.low)) == (257, 400)
    during = pixels[:, 110:190]
    assert (during.argmin(0) == 256 - 64).all() and during.min() < 10  # bin 64 of 256 is 2 kHz; 8 kHz is at the top
    assert (pixels[:, 250:] == 255).all()
    np.testing.assert_allclose(picture.high[110:190], 0.5, atol=0.01)
    np.testing.assert_allclose(picture.low[110:190], -0.5, atol=0.01)


def test_a_long_recording_has_no_more_columns_and_every_column_is_looked_at(tmp_path):
    samples, checked = np.zeros(600 * 16000 + 160, np.float32), []
    samples[-160:] = 0.5
    picture, _ = drawn(tmp_path, samples, lambda: checked.append(1))
    assert len(checked) == len(picture.high) <= 1200
    assert picture.high[-1] == 0.5 and not picture.high[:-1].any()
    for length in (1, 100, 700):  # silence, as short as can be
        assert (drawn(tmp_path, np.zeros(length))[1] == 255).all()
