"""MUSAN and RIR noise equals a plain rendering of the ASVspoof 5 recipe; draws and folders."""

import os
import shutil
import tracemalloc

import numpy as np
import pytest
import soundfile
from builders import input_error, noise_folders
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng
from numpy.testing import assert_allclose, assert_array_equal
from scipy import signal

from nes2net.data.audio.parts import RecordingPart
from nes2net.data.audio.read import load_audio
from nes2net.data.augment import NoiseAugmentation
from nes2net.data.augment.noise import add_noise, draw_excerpt
from nes2net.data.augment.rooms import reverberate
from nes2net.data.augment.sources import NoiseFile, find_impulse_responses, find_noises

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def musan(tmp_path_factory):
    return noise_folders.make_musan(tmp_path_factory.mktemp("musan"))


@pytest.fixture(scope="module")
def rirs(tmp_path_factory):
    return noise_folders.make_rirs(tmp_path_factory.mktemp("rirs"))


def white(length, rms=0.1, seed=0, dtype=np.float32):
    return (default_rng(seed).standard_normal(length) * rms).astype(dtype)


# ---- the recipe, written out


def plain_level(x):
    return 10 * np.log10(np.mean(x.astype(np.float64) ** 2) + 1e-4)


def plain_noise(x, noises, snr):
    """Repeat short noises, average them, and add the mean at ``snr`` dB below ``x``."""
    noise = np.mean([np.resize(n, len(x)) for n in noises], axis=0, dtype=np.float64)
    return x + np.sqrt(10 ** ((plain_level(x) - plain_level(noise) - snr) / 10)) * noise


def plain_reverberation(x, response, aligned=False):
    response = response.astype(np.float64)
    start = np.abs(response).argmax() if aligned else 0
    return signal.convolve(x, response / np.sqrt(np.sum(response**2)), mode="full")[start : start + len(x)]


lengths = st.integers(1, 3000)
levels = st.sampled_from([0.0, 1e-6, 1e-3, 0.1, 1.0])
dtypes = st.sampled_from([np.float32, np.float64])


@given(lengths, levels, levels, st.floats(-10, 40), dtypes, st.integers(0, 99))
def test_noise_is_added_at_the_ratio_of_the_asvspoof5_recipe(length, speech_rms, noise_rms, snr, dtype, seed):
    x = white(length, speech_rms, seed, dtype)
    noise = white(length, noise_rms, seed + 100)
    y = add_noise(x, noise, snr)
    expected = plain_noise(x, [noise], snr)
    tolerance = 1e-12 if dtype == np.float64 else 1e-6 * max(1, np.abs(expected).max())
    assert_allclose(y, expected, rtol=0, atol=tolerance)


@given(lengths, st.integers(1, 5000), st.sampled_from([1e-6, 0.1, 1.0]), dtypes, st.integers(0, 99), st.booleans())
def test_reverberation_is_a_convolution_cut_to_the_length_of_the_speech(
    length, response_length, rms, dtype, seed, aligned
):
    """If aligned, the result begins at the peak of the impulse response."""
    x = white(length, 0.1, seed, dtype)
    response = white(response_length, rms, seed + 100)
    y = reverberate(x, response, aligned=aligned)
    tolerance = 1e-12 if dtype == np.float64 else 1e-6
    assert_allclose(y, plain_reverberation(x.astype(np.float64), response, aligned), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_and_reverberation_keep_the_type_of_the_speech(dtype):
    x = white(100, dtype=dtype)
    assert add_noise(x, white(100), 10.0).dtype == dtype
    assert reverberate(x, white(10)).dtype == dtype


# ---- the draws


def plain_augmentation(x, rng, musan, rirs, probability):
    """What :class:`NoiseAugmentation` draws, one after the other, with every file read whole."""
    if rng.random() >= probability:
        return x
    if rng.integers(2) == 1:
        paths = find_impulse_responses(rirs)
        return plain_reverberation(x, load_audio(RecordingPart(channel=0).of(paths[rng.integers(len(paths))])))
    name = ["noise", "speech", "music"][rng.integers(3)]
    paths = sorted(p for p in (musan / name).rglob("*.wav") if not p.name.startswith("."))
    low, high = {"noise": (1, 1), "speech": (3, 8), "music": (1, 1)}[name]
    noises = []
    for i in rng.choice(len(paths), rng.integers(low, high + 1), replace=False):
        noise = load_audio(paths[i])
        if len(noise) > len(x):
            start = rng.integers(len(noise) - len(x) + 1)
            noise = noise[start : start + len(x)]
        noises.append(noise)
    return plain_noise(x, noises, rng.uniform(*{"noise": (0, 15), "speech": (13, 20), "music": (5, 25)}[name]))


@pytest.mark.parametrize("length", [1, 4000, 16000, 40001])
def test_noise_augmentation_equals_a_plain_implementation_of_the_asvspoof5_recipe(musan, rirs, length):
    """In every sample, and in the state of the generator afterwards."""
    augmentation = NoiseAugmentation(musan, rirs, 0.8)
    x = white(length)
    for seed in range(25):
        draws = default_rng(seed)
        plain = default_rng(seed)
        y = augmentation(x, draws)
        assert_allclose(y, plain_augmentation(x, plain, musan, rirs, 0.8), rtol=0, atol=1e-6)
        assert draws.bit_generator.state == plain.bit_generator.state


def test_with_only_noises_or_only_impulse_responses_a_probability_of_1_changes_every_waveform(musan, rirs):
    x = white(8000)
    for folders in ({"musan": musan}, {"rir": rirs}):
        augmentation = NoiseAugmentation(**folders, probability=1)
        for seed in range(5):
            assert not np.array_equal(augmentation(x, default_rng(seed)), x)


def test_moved_folders_of_noises_and_impulse_responses_give_the_same_augmented_waveforms(musan, rirs, tmp_path):
    shutil.copytree(musan, tmp_path / "noises")
    shutil.copytree(rirs, tmp_path / "rooms")
    near = NoiseAugmentation(musan, rirs, 1)
    moved = NoiseAugmentation(tmp_path / "noises", tmp_path / "rooms", 1)
    for seed in range(8):
        x = white(5000, seed=seed)
        assert_array_equal(near(x, default_rng(seed)), moved(x, default_rng(seed)))


def test_of_a_long_noise_file_only_the_drawn_excerpt_is_read_into_memory(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(4_800_000, np.int16), 16000)
    tracemalloc.start()
    try:
        draw_excerpt(NoiseFile(path, 4_800_000), 16000, default_rng(0))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000  # bytes; the file is 19 million as float32


# ---- folders


@pytest.fixture
def copy(musan, tmp_path):
    """A copy of MUSAN to change."""
    return shutil.copytree(musan, tmp_path / "musan")


def test_a_noise_file_of_another_sampling_rate_is_resampled_to_16_khz(copy):
    shutil.rmtree(copy / "music")
    (copy / "music").mkdir()
    time = np.arange(44100) / 44100
    soundfile.write(copy / "music/tone.flac", 0.3 * np.sin(2 * np.pi * 5000 * time), 44100)
    (file,) = find_noises(copy)["music"]
    assert file.num_samples == 16000
    excerpt = draw_excerpt(file, 8000, default_rng(0))
    assert np.argmax(np.abs(np.fft.rfft(excerpt))) == 2500


def test_the_noises_of_musan_are_found_in_a_folder_that_holds_it(musan):
    assert find_noises(musan.parent) == find_noises(musan)


def test_impulse_responses_are_found_without_the_noises_beside_them(rirs):
    responses = [path.relative_to(rirs).as_posix() for path in find_impulse_responses(rirs)]
    assert responses == [
        "real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1_near_angla.wav",
        "simulated_rirs/largeroom/Room001/Room001-00001.wav",
        "simulated_rirs/smallroom/Room001/Room001-00001.wav",
    ]


def test_a_musan_with_too_few_speech_files_is_refused(copy):
    shutil.rmtree(copy / "speech/librivox")
    with input_error("speech has 4 audio files, but needs at least 8"):
        NoiseAugmentation(copy)


@pytest.mark.parametrize("content, message", [(b"no audio", "was read by neither"), (b"", "is empty")])
def test_a_musan_file_without_audio_is_refused_when_noise_augmentation_is_created(copy, content, message):
    (copy / "music/added.wav").write_bytes(content)
    with input_error(rf"added\.wav {message}"):
        NoiseAugmentation(copy)


def test_a_missing_folder_of_musan_is_refused_with_its_address_for_download(tmp_path):
    with input_error("MUSAN folder .* not found; .*openslr.org/17"):
        NoiseAugmentation(tmp_path / "m")


def test_a_folder_without_impulse_responses_is_refused(tmp_path, rirs):
    shutil.copytree(rirs / "pointsource_noises", tmp_path / "pointsource_noises")
    with input_error("has no audio files of impulse responses"):
        NoiseAugmentation(rir=tmp_path)


def test_an_impulse_response_without_samples_is_refused_when_noise_augmentation_is_created(tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    with input_error(r"empty\.wav has no samples"):
        NoiseAugmentation(rir=tmp_path)


def test_a_noise_file_damaged_after_noise_augmentation_was_created_is_refused_with_its_name(copy):
    augmentation = NoiseAugmentation(copy, probability=1)
    for path in augmentation.recordings:
        os.truncate(path, 44)  # the header alone
    with input_error(r"(noise|speech|music)-.*\.wav"):
        augmentation(white(100), default_rng(0))
