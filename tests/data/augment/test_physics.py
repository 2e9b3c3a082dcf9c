"""What the conditions do to sound: delays, bands, levels, ratios, lengths and rooms."""

import gc
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import noise_folders, wait
from builders.voices import voice
from numpy.testing import assert_allclose, assert_array_equal
from scipy.signal import correlate

from nes2net.data.augment import Sources, timing
from nes2net.data.augment.channels import Gain
from nes2net.data.augment.conditions import create_condition
from nes2net.data.augment.effect import InOrder, OneOf
from nes2net.data.augment.rooms import room_response
from nes2net.data.registry import effects
from nes2net.lib.errors import BrokenPart, MissingLibrary


def rng(seed=0):
    return np.random.default_rng(seed)


def db(ratio):
    return 10 * np.log10(ratio)


def power(x):
    return float(np.mean(np.square(x, dtype=np.float64)))


def tone(frequency, seconds=1.0, level=0.3):
    return (level * np.sin(2 * np.pi * frequency * np.arange(round(16000 * seconds)) / 16000)).astype(np.float32)


def band_level(y, low, high):
    """Power of ``y`` between two frequencies in Hz, in dB."""
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y)))) ** 2
    frequencies = np.fft.rfftfreq(len(y), 1 / 16000)
    return db(spectrum[(frequencies >= low) & (frequencies < high)].sum() + 1e-20)


CODECS = ("mp3:64", "mp3:16", "aac:64", "aac:32", "opus:32", "opus:16", "g722", "alaw", "ulaw", "gsm", "amr_nb:12.2")


of_each_codec = pytest.mark.parametrize("text", [*CODECS, "telephone", "resample:8", "resample:12"])


@cache
def coded_voice(text):
    """A voice, what a codec or narrow band makes of it, and the slopes of both in the band that all codecs pass."""
    try:
        condition = create_condition(text)
    except MissingLibrary as error:
        pytest.skip(str(error))
    x = voice(seconds=1.75)
    y = condition(x, rng())
    line = create_condition("telephone")
    return x, y, np.diff(line(x, rng())), np.diff(line(y, rng()))


@of_each_codec
def test_codecs_and_narrow_bands_do_not_delay_a_voice(text):
    *_, sent, heard = coded_voice(text)
    late = int(np.abs(correlate(heard, sent, method="fft")).argmax()) - (len(sent) - 1)
    assert abs(late) <= 1  # samples


@of_each_codec
def test_codecs_and_narrow_bands_do_not_distort_a_voice(text):
    *_, sent, heard = coded_voice(text)
    assert correlate(heard, sent, method="fft").max() / np.linalg.norm(sent) / np.linalg.norm(heard) > 0.8


@of_each_codec
def test_codecs_and_narrow_bands_keep_the_level_of_a_voice_to_its_end(text):
    x, y, sent, heard = coded_voice(text)
    assert abs(db(power(heard) / power(sent))) < 2
    assert db(power(y[-2000:]) / power(x[-2000:])) > -9


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc")
def test_a_codec_leaves_no_thread_behind():
    """Not even before garbage collection."""
    tasks = Path("/proc/self/task")
    before = len(list(tasks.iterdir()))
    gc.disable()
    try:
        for text in ("mp3:16", "aac:16", "opus:16", "g722", "alaw"):
            create_condition(text)(voice(), rng())
        # Linux lists a thread for a moment after it has been joined.
        wait(lambda: len(list(tasks.iterdir())) <= before)
    finally:
        gc.enable()


def test_a_codec_with_fewer_bits_has_a_larger_error():
    x = voice(seconds=2.0)
    for name in ("mp3", "opus", "aac"):
        kbits = sorted(effects.get(name).strengths, reverse=True)
        errors = [power(effects.get(name)(kbit)(x, rng()) - x) for kbit in kbits]
        assert errors == sorted(errors)


def test_the_mp3_codec_clips_samples_beyond_full_scale():
    x = voice(seconds=2.0)
    assert 0.9 < np.abs(create_condition("mp3:64")(3 * x, rng())).max() <= 1


NOISE = (0.1 * rng().standard_normal(32000)).astype(np.float32)


@pytest.mark.parametrize("text", ["alaw", "gsm", "amr_nb:12.2", "telephone", "resample:8"])
def test_narrow_band_conditions_remove_what_is_above_4200_hz(text):
    y = create_condition(text)(NOISE, rng())
    assert band_level(y, 4200, 8000) < band_level(y, 500, 3000) - 40


def test_a_telephone_line_removes_what_is_below_200_hz():
    y = create_condition("telephone")(NOISE, rng())
    assert band_level(y, 0, 200) < band_level(y, 1000, 1200) - 35


def test_a_telephone_line_passes_400_to_3200_hz():
    y = create_condition("telephone")(NOISE, rng())
    assert abs(band_level(y, 400, 3200) - band_level(NOISE, 400, 3200)) < 0.2


@pytest.mark.parametrize("name", ["white", "pink", "babble", "noise", "music", "speech"])
def test_noises_are_added_at_the_stated_signal_to_noise_ratio(name, tmp_path_factory):
    root = tmp_path_factory.mktemp(name)
    for seed in range(5):
        soundfile.write(root / f"{seed}.wav", voice(seed, 0.7), 16000)
    sources = Sources(noise_folders.make_musan(root), speech=sorted(root.glob("*.wav")))
    x = voice(9)
    for snr in (20.0, 0.0, -5.0):
        y = create_condition(f"{name}:{snr:g}", sources)(x, rng(3))
        assert db(power(x) / power(y.astype(np.float64) - x)) == pytest.approx(snr, abs=0.01)


def test_white_and_pink_noise_have_slopes_of_0_and_minus_3_db_per_octave():
    for name, slope in (("white", 0.0), ("pink", -3.01)):  # dB per octave of density
        y = create_condition(f"{name}:0")(tone(1000, 4), rng()) - tone(1000, 4)
        density = [band_level(y, low, 2 * low) - db(low) for low in (125, 250, 500, 1000, 2000, 4000)]
        assert np.polyfit(range(6), density, 1)[0] == pytest.approx(slope, abs=0.25)


def test_babble_mixes_each_of_the_other_recordings_at_one_level(tmp_path):
    """One of the four recordings is the utterance itself; the others differ in level."""
    voices = [voice(seed, 0.5) * (seed + 1) / 5 for seed in range(4)]
    for seed, x in enumerate(voices):
        soundfile.write(tmp_path / f"{seed}.wav", x, 16000, subtype="FLOAT")
    babble = create_condition("babble:0", Sources(speech=sorted(tmp_path.glob("*.wav"))))
    noise = babble(voices[2], rng(1)) - voices[2]
    gains = [correlate(np.tile(x, 2), noise, "valid", "fft").max() / np.linalg.norm(x) for x in voices]
    shares = np.array(gains)[[0, 1, 3]] / np.linalg.norm(noise)
    assert_allclose(shares, np.sqrt(1 / 3), rtol=0.1)


@pytest.mark.parametrize("rt60", [0.3, 0.6, 1.0])
def test_simulated_rooms_have_the_stated_reverberation_time_in_the_median(rt60):
    pytest.importorskip("pyroomacoustics")
    times = []
    for seed in range(7):
        h = room_response(rt60, rng(seed))
        decay = db(np.cumsum(h[::-1] ** 2)[::-1] / np.sum(h**2) + 1e-20)
        times.append(3 * (np.argmax(decay < -25) - np.argmax(decay < -5)) / 16000)
    assert np.median(times) == pytest.approx(rt60, rel=0.15)


def test_simulated_and_measured_rooms_keep_the_place_and_the_level_of_a_click(tmp_path):
    pytest.importorskip("pyroomacoustics")
    x = np.zeros(8000, np.float32)
    x[1000] = 0.5
    sources = Sources(rir=noise_folders.make_rirs(tmp_path))
    for text in ("room:0.3", "rir"):
        y = create_condition(text, sources)(x, rng())
        assert np.abs(y).argmax() == 1000
        assert abs(db(power(y) / power(x))) < 0.2


def test_a_gain_scales_all_samples_by_its_decibels():
    x = voice()
    assert_allclose(create_condition("gain:-20")(x, rng()), x / 10, rtol=1e-6)


def test_clipping_reaches_the_stated_share_of_samples():
    x = voice()
    for percent in (1, 5, 10):
        y = create_condition(f"clip:{percent}")(x, rng())
        assert np.mean(np.abs(y) >= np.abs(y).max()) == pytest.approx(percent / 100, abs=0.001)


def test_clipping_leaves_the_samples_below_the_clipping_level_unchanged():
    x = voice()
    y = create_condition("clip:10")(x, rng())
    unclipped = np.abs(x) < np.abs(y).max()
    assert_array_equal(y[unclipped], x[unclipped])


def test_a_cut_keeps_only_the_first_seconds_of_the_stated_length():
    x = voice(seconds=1.5)
    for seconds, length in ((0.5, 8000), (1, 16000), (2, 24000)):
        assert_array_equal(create_condition(f"cut:{seconds}")(x, rng()), x[:length])


def test_ends_softer_than_the_loudest_part_by_more_than_the_stated_decibels_are_trimmed():
    silence = (10 ** (-60 / 20) * rng().standard_normal(16000)).astype(np.float32)
    x = silence.copy()
    x[4000:12000] += tone(200, 0.5)
    assert_array_equal(create_condition("trim:30")(x, rng()), x[4000:12000])
    assert_array_equal(create_condition("trim:80")(x, rng()), x)


CHANGES = [("speed:0.95", 0.95), ("speed:1.05", 1.05), ("pitch:0.95", 0.95), ("pitch:1.05", 1.05)]


@pytest.mark.parametrize("text, factor", CHANGES)
def test_a_change_of_speed_or_pitch_moves_a_tone_by_its_factor(text, factor):
    y = create_condition(text)(tone(1000), rng())
    peak = np.abs(np.fft.rfft(y[2000:14000] * np.hanning(12000))).argmax() * 16000 / 12000
    assert peak == pytest.approx(1000 * factor, abs=2)


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_a_change_of_speed_divides_the_length_by_its_factor(factor):
    y = create_condition(f"speed:{factor}")(tone(1000), rng())
    assert abs(len(y) - 16000 / factor) <= 1


of_each_change = pytest.mark.parametrize("text", [text for text, _ in CHANGES])


@of_each_change
def test_a_change_of_speed_or_pitch_keeps_the_power_of_a_tone(text):
    y = create_condition(text)(tone(1000), rng())
    assert power(y[4000:12000]) == pytest.approx(power(tone(1000)), rel=0.02)


@of_each_change
def test_a_change_of_speed_or_pitch_adds_no_sound_below_a_tone(text):
    y = create_condition(text)(tone(1000), rng())
    assert band_level(y, 0, 900) < band_level(y, 900, 1100) - 40


def test_random_speeds_are_drawn_evenly_on_a_logarithmic_scale_from_the_whole_range(monkeypatch):
    monkeypatch.setattr(timing, "change_speed", lambda x, speed: speed)
    change = timing.DrawnSpeed(0.5, 2.0)
    stream = rng()
    drawn = np.array([change(np.zeros(1), stream) for _ in range(4000)])
    assert 0.5 <= drawn.min() < 0.51
    assert 1.96 < drawn.max() <= 2
    assert np.quantile(np.log2(drawn), [0.25, 0.5, 0.75]) == pytest.approx([-0.5, 0, 0.5], abs=0.05)


def test_a_change_of_pitch_moves_no_onset_of_a_tone_by_more_than_180_samples():
    x = np.zeros(32000, np.float32)
    starts = range(2000, 32000, 4000)
    for start in starts:
        x[start : start + 400] = tone(760)[:400]
    for factor in (0.95, 1.05):
        y = np.abs(create_condition(f"pitch:{factor}")(x, rng()))
        onsets = [start - 1500 + int(np.argmax(y[start - 1500 : start + 1500] > 0.15)) for start in starts]
        assert np.abs(np.subtract(onsets, starts)).max() <= 180  # 10 ms, and the rise


def test_one_of_several_equally_likely_conditions_is_applied_with_the_stated_probability():
    x = voice()
    louder = create_condition("gain:6")
    softer = create_condition("gain:-6")
    change = OneOf([louder, softer], 0.75)
    levels = [round(db(power(change(x, rng(seed))) / power(x))) for seed in range(400)]
    assert levels.count(0) == pytest.approx(100, abs=35)
    assert levels.count(6) == pytest.approx(150, abs=35)


def test_a_sequence_of_conditions_applies_each_to_the_output_of_the_one_before():
    x = voice()
    both = InOrder([create_condition("clip:10"), create_condition("gain:-6")])
    expected = create_condition("gain:-6")(create_condition("clip:10")(x, rng()), rng())
    assert_array_equal(both(x, rng()), expected)


@pytest.mark.parametrize(
    "wrong", [np.zeros((1, 8)), np.zeros(0), np.full(8, np.nan), None], ids=["2d", "0", "nan", "none"]
)
def test_what_an_effect_of_another_package_returns_is_checked_after_each_sequence(wrong):
    effect = Gain(6)
    effect.subject = "condition 'hum' (package my-parts 0.1)"
    change = InOrder([OneOf([effect], 1.0)])
    assert len(change(voice(), rng())) == len(voice())
    effect.__class__ = type("Wrong", (Gain,), {"__call__": lambda self, x, rng: wrong})
    with pytest.raises(BrokenPart, match="condition 'hum' .*: __call__ returned .*; expected finite samples"):
        change(voice(), rng())
