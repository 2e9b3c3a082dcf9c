"""Traits of recordings that are known, and how many recordings are called unlike the calibration's."""

import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from builders import input_error
from builders.recordings import to_mono_16k
from numpy.testing import assert_allclose
from scipy.signal import butter, sosfilt

from nes2net.data.audio.read import load_audio, stream_audio
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.scoring.decisions import calibration
from nes2net.scoring.decisions.population import SILENCE, EmbeddingModel, Population, Traits, measure, measure_blocks


def telephone(waveform):
    return to_mono_16k(to_mono_16k(waveform, 2 * SAMPLE_RATE), SAMPLE_RATE // 2)


def tilted(seconds=2.0, seed=0):
    """Noise that falls by 6 dB an octave above 500 Hz, with pauses."""
    rng = np.random.default_rng(seed)
    noise = sosfilt(butter(1, 500, fs=SAMPLE_RATE, output="sos"), rng.standard_normal(int(seconds * SAMPLE_RATE)))
    pauses = np.repeat(rng.random(len(noise) // 1600 + 1) < 0.7, 1600)[: len(noise)]
    return (0.2 * noise / noise.std() * pauses).astype(np.float32)


TONE = np.sin(2 * np.pi * 1000 * np.arange(32000) / SAMPLE_RATE)


def test_the_level_of_a_tone_is_its_mean_power():
    assert measure(TONE).level == pytest.approx(10 * np.log10(0.5), abs=1e-4)


def test_the_bandwidth_of_a_tone_is_about_its_frequency():
    assert measure(TONE).bandwidth == pytest.approx(1000, abs=200)


def test_at_most_the_samples_asked_for_are_measured():
    assert measure(TONE, 8000).duration == 0.5
    assert measure(TONE, 64000).duration == 2.0


def test_the_level_of_a_half_loud_recording_is_that_of_its_loud_half():
    half_loud = np.concatenate((0.1 * TONE, 1e-4 * TONE))
    assert measure(half_loud).level == pytest.approx(measure(0.1 * TONE).level, abs=0.01)


@pytest.mark.parametrize("num_samples", [1, 16000])
def test_silence_has_the_lowest_level_and_no_bandwidth(num_samples):
    assert measure(np.zeros(num_samples))[1:3] == (SILENCE, 0.0)


def test_the_level_of_a_single_sample_is_that_of_its_value():
    assert measure([0.5]).level == pytest.approx(20 * np.log10(0.5))


@pytest.mark.parametrize("deviation", [0, 10 ** (-50 / 20), 10 ** (-35 / 20)], ids=["none", "-50 dB", "-35 dB"])
def test_telephone_speech_has_a_bandwidth_of_2_to_4_1_khz_in_spite_of_white_noise(deviation):
    speech = tilted()
    noise = deviation * np.random.default_rng(1).standard_normal(len(speech))
    assert 2000 < measure(telephone(speech) + 0.1 * noise).bandwidth < 4100


def test_speech_at_16_khz_has_a_bandwidth_above_6_khz():
    assert measure(tilted()).bandwidth > 6000


@pytest.mark.parametrize("level", [1e-5, 0.1])
def test_the_bandwidth_of_quiet_and_loud_white_noise_is_half_the_sampling_rate(level):
    assert measure(level * np.random.default_rng(2).standard_normal(16000)).bandwidth == 8000


def test_bandwidth_tells_real_recordings_made_at_8_khz_from_others(shared):
    """Those of FSDD from those of Arctic."""
    folder = shared / "real" / "audio"
    narrow = [measure(load_audio(path)).bandwidth for path in sorted((folder / "fsdd").glob("*.flac"))[::4]]
    assert 3500 < min(narrow)
    assert max(narrow) < 4100
    wide = [measure(load_audio(path)).bandwidth for path in sorted((folder / "nsf_arctic").glob("*.flac"))[:6]]
    assert min(wide) > 4500


def test_traits_of_a_stream_equal_those_of_the_whole_recording(tmp_path):
    speech = tilted(15.0, seed=3)
    traits_of_recording = measure(speech)
    rng = np.random.default_rng(0)
    cuts = np.sort(rng.integers(0, len(speech), 40))
    assert measure_blocks(np.split(speech, cuts)) == traits_of_recording
    soundfile.write(tmp_path / "a.wav", speech, SAMPLE_RATE, subtype="FLOAT")
    assert measure_blocks(stream_audio(tmp_path / "a.wav")) == traits_of_recording


def test_traits_of_the_first_samples_equal_those_of_the_recording_cut_to_them():
    speech = tilted(15.0, seed=3)
    assert measure(speech, 123_457) == measure(speech[:123_457])


def draw(rng, count, size=0, shift=0.0):
    """Recordings of two kinds of bandwidth, with embeddings of unequal variances."""
    durations = np.exp(rng.normal(1, 0.5, count))
    levels = rng.normal(-20, 4, count)
    bandwidths = rng.choice([3800.0, 7500.0], count) + rng.normal(0, 100, count)
    embeddings = shift + rng.normal(0, 1, (count, size)) * np.linspace(0.1, 3, size) if size else [None] * count
    return [Traits(*map(float, row), embedding) for *row, embedding in zip(durations, levels, bandwidths, embeddings)]


@pytest.mark.parametrize(("count", "size"), [(250, 0), (250, 8), (100, 300)])
def test_of_recordings_like_the_calibration_at_most_a_share_alpha_is_unusual(count, size):
    """The mean over calibrations of the share with p ≤ α is at most α, also for embeddings of more numbers than recordings."""
    rng = np.random.default_rng(count + size)
    shares = []
    for _ in range(8):
        population = Population.fit(draw(rng, count, size), rng.random(count) < 0.3)
        p = np.array([population.typicality(traits).p_value for traits in draw(rng, 60, size)])
        shares.append([(p <= alpha).mean() for alpha in (0.02, 0.1, 0.3)])
    mean_shares = np.mean(shares, axis=0)
    noise = 4 * np.std(shares, axis=0, ddof=1) / np.sqrt(len(shares)) + 0.005
    assert (mean_shares <= np.array((0.02, 0.1, 0.3)) + noise).all()
    assert mean_shares[2] > 0.15  # the test can see too large a share, because p-values are no constants


@pytest.fixture(scope="module")
def narrow_population():
    rng = np.random.default_rng(0)
    narrow = [traits._replace(bandwidth=7500.0 + traits.level) for traits in draw(rng, 300, 16)]
    return Population.fit(narrow, rng.random(300) < 0.5)


TYPICAL = Traits(3.0, -20.0, 7480.0, np.zeros(16))


@pytest.mark.parametrize(
    "trait, value, reason",
    [
        ("bandwidth", 3400.0, r"its bandwidth, 3\.4 kHz, is unusual .* \(7\.5 to 7\.5 kHz\)"),
        ("duration", 200.0, r"its duration, 200\.0 s, is unusual .* \(\d\.\d to \d"),
        ("embedding", np.full(16, 9.0), "its embedding is unlike the embeddings of the calibration's recordings"),
    ],
)
def test_the_reason_of_an_unusual_recording_names_the_trait(narrow_population, trait, value, reason):
    typicality = narrow_population.typicality(TYPICAL._replace(**{trait: value}))
    assert typicality.p_value == 1 / 301
    assert typicality.trait == trait
    assert re.match(reason, typicality.reason)


@pytest.mark.parametrize(
    "changes, similar",
    [
        ({"bandwidth": 3400.0}, "with the bandwidth of telephone calls"),
        ({"bandwidth": 5000.0}, "with such a bandwidth"),
        ({"level": -60.0}, "with such a level"),
        ({"embedding": np.full(16, 9.0)}, "like this one"),
        ({"embedding": np.full(16, 9.0), "level": -60.0}, "with such a level"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_the_recordings_that_a_calibration_lacks_are_named_by_the_trait_that_a_person_can_measure(
    narrow_population, changes, similar
):
    assert narrow_population.typicality(TYPICAL._replace(**changes)).similar == similar


@pytest.mark.parametrize("trait, value", [("bandwidth", 7500.0), ("bandwidth", 2000.0), ("level", -60.0)])
def test_a_calibration_of_telephone_calls_does_not_lack_telephone_calls(trait, value):
    rng = np.random.default_rng(0)
    calls = [traits._replace(bandwidth=3800.0 + traits.level) for traits in draw(rng, 300)]
    unusual = Traits(3.0, -20.0, 3780.0)._replace(**{trait: value})
    assert Population.fit(calls, rng.random(300) < 0.5).typicality(unusual).similar == f"with such a {trait}"


def test_a_typical_recording_is_not_unusual_with_or_without_its_embedding(narrow_population):
    assert narrow_population.typicality(TYPICAL).p_value > 0.5
    assert narrow_population.typicality(TYPICAL._replace(embedding=None)).p_value > 0.5


def test_the_distance_of_an_embedding_is_its_mahalanobis_distance_to_the_nearer_class():
    """By the covariance within the classes, as a root mean square over its four dimensions."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(0, 1, (4, 4))
    classes = np.arange(500) < 300
    embeddings = np.concatenate((rng.normal(0, 1, (300, 4)) @ mixed, 5 + rng.normal(0, 1, (200, 4)) @ mixed))
    groups = embeddings[classes], embeddings[~classes]
    centred = np.concatenate([group - group.mean(0) for group in groups])
    inverse = np.linalg.inv(centred.T @ centred / (500 - 2))
    squares = []
    for group in groups:
        deviations = embeddings - group.mean(0)
        squares.append(np.einsum("ni,ij,nj->n", deviations, inverse, deviations))
    expected = np.sqrt(np.min(squares, axis=0) / 4)
    assert_allclose(EmbeddingModel.fit(embeddings, classes).distance(embeddings), expected, rtol=1e-3)


FITTED = calibration.fit([1.0, 2.0, 0.4], [0.0, 0.5])
EQUAL_RECORDINGS = [Traits(4.0, -20.0, 7000.0, np.ones(3))] * 12


def test_among_equal_recordings_only_an_equal_one_is_usual():
    population = Population.fit(EQUAL_RECORDINGS, [True] * 12)
    assert population.typicality(EQUAL_RECORDINGS[0]).p_value == 1
    assert population.typicality(Traits(4.0, -20.0, 4000.0, np.ones(3))).p_value == 1 / 13
    assert population.typicality(Traits(4.0, -20.0, 7000.0, np.full(3, 2.0))).p_value == 1 / 13


def test_a_population_of_nine_recordings_is_refused_as_too_small():
    with input_error("9 recordings are too few"):
        Population.fit(EQUAL_RECORDINGS[:9], [True] * 9)


@pytest.mark.parametrize("size", [0, 1, 40])
def test_a_saved_population_finds_the_same_recordings_unusual(tmp_path, size):
    rng = np.random.default_rng(0)
    traits = draw(rng, 60, size)
    population = Population.fit(traits, rng.random(60) < 0.5)
    replace(FITTED, population=population).save(tmp_path / "c.json")
    loaded = calibration.load(tmp_path / "c.json")
    further_traits = [*traits, *draw(rng, 40, size, shift=1.0)]
    expected = list(map(population.typicality, further_traits))
    assert list(map(loaded.population.typicality, further_traits)) == expected
