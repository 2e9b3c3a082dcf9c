"""The log-power spectrum against SciPy."""

import numpy as np
import pytest
import scipy.signal
import torch

from nes2net import InputError, create_frontend


def test_spectrum_is_scipys():
    rng = np.random.default_rng(0)
    waveform = rng.standard_normal(16000) * 0.1
    frontend = create_frontend("lps", n_fft=512, hop_length=160, window="hamming").double()
    emphasised = scipy.signal.lfilter([1, -0.97], [1], waveform)
    emphasised[0] = waveform[0]
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, 512)[::160]
    expected = np.log(
        np.abs(np.fft.rfft(frames * scipy.signal.get_window("hamming", 512, fftbins=False))) + np.exp(-80)
    )
    (found,) = frontend(torch.from_numpy(waveform)[None])
    assert found.shape == (1, 97, 257) == (1, *expected.shape)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-4)


def test_bins_normalisation_and_silence():
    frontend = create_frontend("lps", n_fft=512, hop_length=160, num_bins=256, normalize=True)
    (silent,) = frontend(torch.zeros(2, 8000))
    assert silent.shape == (2, 47, 256) and torch.isfinite(silent).all()
    (noise,) = frontend(torch.randn(2, 8000))
    torch.testing.assert_close(noise.mean(1), torch.zeros(2, 256), atol=1e-5, rtol=0)
    assert noise.square().mean((1, 2)) == pytest.approx([1, 1], abs=1e-3)
    assert frontend(torch.randn(1, 8000, dtype=torch.bfloat16))[0].dtype == torch.bfloat16


def test_wrong_options():
    with pytest.raises(InputError, match="num_bins is 1 to 257"):
        create_frontend("lps", n_fft=512, num_bins=300)
    with pytest.raises(InputError, match="window is one of"):
        create_frontend("lps", window="kaiser")
    with pytest.raises(InputError, match="takes no checkpoint"):
        create_frontend("lps", "file.pt")
    with pytest.raises(InputError, match="too short"):
        create_frontend("lps", n_fft=512)(torch.zeros(1, 511))
