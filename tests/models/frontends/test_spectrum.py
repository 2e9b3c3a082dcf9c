"""Log-power spectrum and LFCC equal SciPy, librosa and a transcription of the definitions."""

import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch
from builders import assert_near, input_error
from numpy.testing import assert_allclose

from nes2net import Detector, create_frontend
from nes2net.lib.parts.options import options_of
from nes2net.models.registry import frontends

SPECTRAL = ["lps", "lfcc"]
# asvspoof.org: LFCC-GMM baselines of 2019 and of 2021 LA in MATLAB, whose deltas are ½·(c[t+1] − c[t−1])
OF_2021 = {"window_length": 480, "hop_length": 240, "n_fft": 1024, "num_filters": 70, "max_frequency": 4000}
BASELINES = {2019: {}, 2021: {**OF_2021, "pre_emphasis": 0.0, "delta_scale": 0.5}}


def speech_like(samples=24000, seed=0):
    """Harmonics under a moving envelope and a noise floor, as loud as speech."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 2 * time)) / 16000
    voice = sum(np.sin(k * phase) / k for k in range(1, 40))
    waveform = 0.1 * voice * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time)) + 1e-3 * rng.standard_normal(samples)
    return waveform.astype(np.float32).astype(np.float64)  # the same numbers in both precisions


def assert_log_magnitudes_close(features, expected):
    """A float32 FFT errs by 1e-7 of the peak.

    Logarithms agree to 1e-4 down to 52 dB below it, magnitudes everywhere.
    """
    if features.dtype == torch.float64:
        assert_allclose(features.numpy(), expected, atol=1e-9)
        return
    loud = expected > expected.max() - 6
    assert loud.mean() > 0.9
    assert_allclose(features.numpy()[loud], expected[loud], atol=1e-4)
    assert_allclose(np.exp(features.numpy()), np.exp(expected), atol=1e-6 * np.exp(expected.max()))


def emphasised(waveform, coefficient):
    return scipy.signal.lfilter([1, -coefficient], [1], waveform)


OF_2019 = {"window_length": 320, "hop_length": 160, "n_fft": 512, "num_filters": 20, "max_frequency": 8000}
OF_2019 |= {"pre_emphasis": 0.97, "delta_scale": 1.0}


def transcribed_lfcc(waveform, **options):
    """The baselines' LFCC in float64: frame by frame, filter by filter, with SciPy's DCT."""
    window_length, hop_length, n_fft, num_filters, max_frequency, pre_emphasis, delta_scale = options.values()
    x = emphasised(waveform, pre_emphasis)
    frequencies = np.arange(n_fft // 2 + 1) * 16000 / n_fft
    edges = np.linspace(0, max_frequency, num_filters + 2)
    filters = [np.interp(frequencies, edges[i : i + 3], [0, 1, 0], left=0, right=0) for i in range(num_filters)]
    rows = []
    for start in range(0, len(x) - window_length + 1, hop_length):
        frame = x[start : start + window_length] * scipy.signal.windows.hamming(window_length, sym=True)
        power = np.abs(np.fft.fft(frame, n_fft)[: n_fft // 2 + 1]) ** 2
        bands = np.array([np.sum(power * weights) for weights in filters])
        rows.append(scipy.fft.dct(np.log10(bands + np.finfo(float).eps), norm="ortho")[:20])
    features = [np.array(rows)]
    for _ in range(2):
        last = features[-1]
        before = np.vstack([last[:1], last[:-1]])
        after = np.vstack([last[1:], last[-1:]])
        features.append(delta_scale * (after - before))
    return np.hstack(features)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("window, bins", [("hamming", None), ("blackman", 100), ("hann", 256)])
def test_the_log_spectrum_equals_that_computed_with_scipy(window, bins, dtype):
    """In the type of the waveform."""
    waveform = speech_like()
    frontend = create_frontend("lps", n_fft=512, hop_length=160, window=window, num_bins=bins)
    frames = np.lib.stride_tricks.sliding_window_view(emphasised(waveform, 0.97), 512)[::160]
    shape = scipy.signal.get_window(window, 512, fftbins=False)
    expected = np.log(np.abs(np.fft.rfft(frames * shape)) + np.exp(-80))[:, :bins]
    (features,) = frontend(torch.from_numpy(waveform).to(dtype)[None])
    assert features.dtype == dtype
    assert_log_magnitudes_close(features[0], expected)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_log_spectrum_of_the_published_settings_equals_that_computed_with_librosa(dtype):
    """Of the SR-LA Res2Net group: 80,000 samples, pre-emphasis 0.97, Blackman 1,728, hop 130."""
    waveform = speech_like(90000)
    symmetric = scipy.signal.windows.blackman(1728, sym=True)
    emphasis = librosa.effects.preemphasis(waveform[:80000], coef=0.97, zi=np.zeros(1))
    spectrum = librosa.stft(emphasis, n_fft=1728, hop_length=130, window=symmetric, center=False)
    expected = np.log(np.abs(spectrum) + np.exp(-80)).T
    batch = torch.from_numpy(waveform).to(dtype)[None]
    (full,) = create_frontend("lps", num_samples=80000)(batch)
    assert_log_magnitudes_close(full[0], expected)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("year", BASELINES)
def test_lfcc_equal_a_transcription_of_the_asvspoof_baselines(year, dtype, tolerance):
    waveforms = np.stack([speech_like(seed=1), speech_like(seed=2)])
    options = BASELINES[year]
    frontend = create_frontend("lfcc", **options)
    (features,) = frontend(torch.from_numpy(waveforms).to(dtype))
    expected = np.stack([transcribed_lfcc(waveform, **{**OF_2019, **options}) for waveform in waveforms])
    assert_allclose(features.numpy(), expected, atol=tolerance)


def test_lfcc_without_deltas_are_the_first_20_columns_of_lfcc_with_deltas():
    waveform = torch.from_numpy(speech_like())[None]
    without = create_frontend("lfcc", deltas=0)
    assert torch.equal(without(waveform)[0], create_frontend("lfcc")(waveform)[0][..., :20])


@pytest.mark.weekly
def test_lfcc_are_those_of_the_python_baseline_with_spafe():
    """The baseline of 2021 LA in Python asks spafe 0.3.3 for 0 to 4000 Hz, and gets 0 to 8000 Hz."""
    banks = pytest.importorskip("spafe.fbanks.linear_fbanks", reason="spafe is not installed: pip install spafe==0.3.3")
    preprocessing = pytest.importorskip("spafe.utils.preprocessing")
    waveform = speech_like(24000)
    frames, length = preprocessing.framing(sig=waveform, fs=16000, win_len=0.03, win_hop=0.015)
    frames = preprocessing.windowing(frames=frames, frame_len=length, win_type="hamming")
    bank, _ = banks.linear_filter_banks(nfilts=70, nfft=1024, fs=16000, low_freq=0, high_freq=4000)
    bands = np.abs(np.fft.rfft(frames, 1024)) ** 2 @ bank.T
    expected = scipy.fft.dct(np.log10(bands + 2.2204e-16), norm="ortho")[:, :20]
    for _ in range(2):
        last = expected[:, -20:]
        padded = np.vstack([last[:1], last, last[-1:]])
        expected = np.hstack([expected, padded[2:] - padded[:-2]])
    options = {**BASELINES[2021], "max_frequency": 8000, "delta_scale": 1}
    (features,) = create_frontend("lfcc", **options)(torch.from_numpy(waveform)[None])
    assert features.shape[1] <= len(expected) <= features.shape[1] + 1  # of the last frame, spafe pads what is missing
    assert_allclose(features[0, :-2].numpy(), expected[: features.shape[1] - 2], atol=1e-9)


@pytest.mark.parametrize("name", SPECTRAL)
def test_the_number_of_spectral_frames_follows_from_the_number_of_samples(name):
    """One for the least number of samples, and one more for each hop; fewer samples are refused."""
    frontend = create_frontend(name)
    with input_error(f"too short: one frame needs {frontend.min_samples}"):
        frontend(torch.zeros(1, frontend.min_samples - 1))
    for samples in (frontend.min_samples, frontend.min_samples + frontend.hop_length - 1, 5000):
        (features,) = frontend(torch.randn(2, samples))
        assert features.shape == (2, 1 + (samples - frontend.min_samples) // frontend.hop_length, frontend.out_dim)


@pytest.mark.parametrize("name", SPECTRAL)
def test_silence_has_finite_spectral_features_and_gradients(name):
    silence = torch.zeros(2, 8000, requires_grad=True)
    (features,) = create_frontend(name)(silence)
    features.sum().backward()
    assert features.isfinite().all()
    assert silence.grad.isfinite().all()


@pytest.mark.parametrize("name", SPECTRAL)
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_autocast_changes_no_spectral_feature(name, precision):
    """Neither of full scale nor of near silence, whose numbers would leave the range of float16.

    Those of a waveform in half precision are computed in float32, too.
    """
    frontend = create_frontend(name)
    waveform = torch.cat([torch.sin(0.4 * torch.arange(32000)), torch.full((32000,), 1e-5)]).expand(2, -1)
    (exact,) = frontend(waveform)
    with torch.autocast("cpu", precision):
        (features,) = frontend(waveform)
    assert torch.equal(features, exact)
    rounded = waveform.to(precision)
    assert torch.equal(frontend(rounded)[0], frontend(rounded.float())[0])


@pytest.mark.parametrize("name", SPECTRAL)
def test_a_detector_in_bfloat16_rounds_spectral_features_but_not_the_waveform(name):
    waveform = torch.randn(2, 8000)
    (exact,) = create_frontend(name)(waveform)
    detector = Detector.from_config({"frontend": name, "backend": "asp_mlp"}).bfloat16()
    assert torch.equal(detector.hidden_states(waveform)[-1], exact.bfloat16())


def test_with_normalize_each_bin_of_lps_has_mean_0_and_the_whole_spectrum_variance_1():
    frontend = create_frontend("lps", n_fft=512, hop_length=160, num_bins=256, normalize=True)
    (noise,) = frontend(torch.randn(2, 8000))
    assert_near(noise.mean(1), torch.zeros(2, 256), 1e-5)
    assert noise.square().mean((1, 2)) == pytest.approx([1, 1], abs=1e-3)


def test_the_option_num_samples_of_lps_may_be_one():
    assert options_of(frontends.get("lps"))["num_samples"].fits(1)
