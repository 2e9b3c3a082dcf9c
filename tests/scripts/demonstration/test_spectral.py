"""The demonstration's mel bands, MFCCs and phase vocoder equal librosa's, which it does not need."""

import librosa
import numpy as np
import pytest
from demonstration import spectral

pytestmark = pytest.mark.slow  # librosa is imported for seconds


@pytest.fixture(scope="module")
def voice():
    """Two seconds of a gliding harmonic tone in noise, with a pause."""
    rng = np.random.default_rng(0)
    time = np.arange(32000) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(4 * time)) / 16000
    tone = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 30))
    return (0.1 * tone + 0.01 * rng.standard_normal(len(time))) * (np.abs(time - 1) > 0.1)


def test_mel_bands_equal_librosas():
    expected = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=80, htk=True)
    np.testing.assert_allclose(spectral.mel_bands(80, 1024), expected, atol=1e-8)


def test_mfccs_without_the_first_coefficient_and_the_last_three_frames_equal_librosas(voice):
    settings = {"n_mfcc": 31, "n_fft": 512, "hop_length": 160, "n_mels": 40, "fmin": 100, "fmax": 3800, "htk": True}
    expected = librosa.feature.mfcc(y=voice, sr=16000, **settings)[1:]
    frames = expected.shape[1] - 3  # SciPy pads the last windows otherwise
    np.testing.assert_allclose(spectral.mfcc(voice, 31)[1:, :frames], expected[:, :frames], atol=1e-5)


@pytest.mark.parametrize("rate", [1.3, 1 / 1.3])
def test_the_phase_vocoder_gives_nearly_the_signal_of_librosas(voice, rate):
    changed = spectral.change_speed(voice, rate, 1024, 160)
    frames = librosa.phase_vocoder(librosa.stft(voice, n_fft=1024, hop_length=160), rate=rate, hop_length=160)
    expected = librosa.istft(frames, n_fft=1024, hop_length=160, length=len(changed))
    assert len(changed) == int(len(voice) / rate)
    assert np.corrcoef(changed, expected)[0, 1] > 0.999
