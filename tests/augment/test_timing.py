"""Another speed moves all frequencies and the length; speeds are drawn on a logarithmic scale."""

import numpy as np
import pytest

from nes2net.augment import timing
from nes2net.augment.timing import DrawnSpeed, change_speed


@pytest.mark.parametrize("speed", [0.5, 1.1, 2.0])
def test_frequency_and_length(speed):
    x = np.sin(2 * np.pi * 1000 * np.arange(32000) / 16000).astype(np.float32)
    y = change_speed(x, speed)
    assert y.dtype == np.float32 and abs(len(y) - len(x) / speed) <= 1
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
    assert np.argmax(spectrum) * 16000 / len(y) == pytest.approx(1000 * speed, abs=1)
    middle = y[len(y) // 4 : -len(y) // 4]
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(1, abs=0.01)  # the level stays
    np.testing.assert_array_equal(change_speed(x, 1.0), x)


def test_draws(monkeypatch):
    monkeypatch.setattr(timing, "change_speed", lambda x, speed: speed)
    rng, change = np.random.default_rng(0), DrawnSpeed(0.5, 2.0)
    drawn = np.array([change(None, rng) for _ in range(4000)])
    assert 0.5 <= drawn.min() < 0.51 and 1.96 < drawn.max() <= 2
    assert np.mean(drawn < 1) == pytest.approx(0.5, abs=0.03)  # as often slower as faster
    assert DrawnSpeed(1.1, 1.1)(None, rng) == pytest.approx(1.1)
