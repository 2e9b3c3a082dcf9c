"""Remarks on recordings: silence, constants, clipping and a few milliseconds, and none on others."""

import numpy as np
import pytest
import soxr
from builders import voices
from builders.unfit import LOUD, UNFIT

from nes2net.data.audio.blocks import push_all
from nes2net.data.audio.remarks import Channels, Listener, remark_of

RATE = 16000
TIME = np.arange(2 * RATE) / RATE
NOISE = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)


def resampled(samples):
    return soxr.resample(np.clip(samples, -1, 1), 44100, RATE, quality="HQ")


def tone(frequency):
    return np.sin(2 * np.pi * frequency * TIME)


SILENCE = np.zeros(RATE)
SWELLING = NOISE[:RATE] * np.linspace(0.1, 1, RATE)
LEVEL = (1 + tone(3)) / 2  # which rises and falls three times a second
TELEPHONE = soxr.resample(soxr.resample(voices.voice(), RATE, 8000), 8000, 44100)
CLIPPED = np.clip(voices.voice(), -0.1, 0.1)


REMARKED = [
    (SILENCE, "digital silence"),
    (np.r_[SILENCE, 0.5, SILENCE], "digital silence"),
    (np.full(RATE, -0.25), "constant: its samples do not change"),
    (resampled(np.full(2 * 44100, 0.5)), "constant: its samples do not change"),
    (CLIPPED, "clipped: "),
    (resampled(4 * soxr.resample(voices.voice(), RATE, 44100)), "clipped: "),
    (NOISE, "a steady sound"),
    (tone(50), "a steady sound"),  # not clipped
    (np.where(TIME % 1 < 0.5, tone(425), 0), "a steady sound"),  # engaged
    (tone(440) * LEVEL, "no voice"),
    (NOISE * LEVEL, "no voice"),
    (SWELLING, "no voice"),
    (tone(440)[: RATE // 4], "telephone band: "),  # too short to be told from speech
    (resampled(TELEPHONE), "telephone band: "),
    (1e-3 * NOISE, "almost silent: its loud parts have -8"),
]
CLEAR = [
    voices.voice(),
    np.r_[np.zeros(5 * RATE), voices.voice(seconds=5)],
    np.r_[SILENCE, voices.voice()],
]


def remarks_on(samples):
    return remark_of(samples.astype(np.float32), len(samples), None, RATE)


@pytest.mark.parametrize("samples, remark", REMARKED)
def test_a_remark_names_why_a_signal_is_no_clear_voice(samples, remark):
    assert remarks_on(samples).text.startswith(remark)


@pytest.mark.parametrize("samples", CLEAR)
def test_a_clear_voice_gets_no_remark(samples):
    assert remarks_on(samples).text == ""


def test_a_sound_of_less_than_a_second_gets_no_remark_that_it_lacks_a_voice():
    assert remarks_on(SWELLING[1:]).text == ""


@pytest.mark.parametrize("samples", [*(samples for samples, _ in REMARKED), *CLEAR, SWELLING[1:]])
def test_remarks_do_not_depend_on_how_a_signal_is_cut_into_blocks(samples):
    listener = Listener()
    pieces = np.split(samples, [1, 2, 500, 9001])
    list(push_all(pieces, listener))
    assert listener.remark(RATE) == remarks_on(samples)


@pytest.mark.parametrize("samples", [CLIPPED, resampled(TELEPHONE)])
def test_a_clipped_or_telephone_voice_is_fit_for_a_decision(samples):
    assert remarks_on(samples).unfit == ""


@pytest.mark.parametrize("samples", [SILENCE, np.full(RATE, -0.25), NOISE, SWELLING, 1e-3 * NOISE])
def test_a_sound_without_a_voice_is_unfit_for_a_decision(samples):
    remarks = remarks_on(samples)
    assert remarks.unfit == remarks.text != ""


@pytest.mark.parametrize(
    "length, heard, remarks",
    [
        (320, 64600, {"short": "lasts 0.02 s, repeated to 4.04 s; in training the detector hears 4.04 s at a time"}),
        (16000, 16000, {"short": "lasts 1.00 s; in training the detector hears 4.04 s at a time"}),
        (16150, 64600, {}),  # a quarter of it
    ],
)
def test_only_a_recording_below_a_quarter_of_the_length_heard_in_training_is_remarked_as_short(length, heard, remarks):
    waveform = np.resize(voices.voice(seconds=2)[:length], heard)
    assert remark_of(waveform, length, None, 64600).by_kind == remarks


DIFFER = "its 2 channels differ, as those of two speakers do: score each by itself"
QUIET = np.zeros_like(LOUD)


@pytest.mark.parametrize(
    "channels, remark",
    [
        ([LOUD, QUIET], "channel 1 of 2 (from 0) is silent; the mean of all was scored"),
        ([QUIET, LOUD, QUIET], "channels 0, 2 of 3 (from 0) are silent; the mean of all was scored"),
        ([QUIET, QUIET], "digital silence"),
    ],
)
def test_silent_audio_channels_get_a_remark(channels, remark):
    assert remark_on_channels(channels).startswith(remark)


@pytest.mark.parametrize(
    "second, remark", [(voices.voice(1, 2), DIFFER), (-0.5 * LOUD, DIFFER), (-LOUD, UNFIT["opposite"][1])]
)
def test_audio_channels_that_differ_in_more_than_level_get_a_remark(second, remark):
    assert remark_on_channels([LOUD, second]).startswith(remark)


@pytest.mark.parametrize("channels", [[LOUD], [LOUD, LOUD], [LOUD, 0.1 * LOUD]])
def test_audio_channels_that_differ_at_most_in_level_get_no_remark(channels):
    assert remark_on_channels(channels) == ""


def remark_on_channels(channels):
    samples = np.array(channels)
    compared = Channels()
    listener = Listener(compared)
    for block in np.array_split(samples, 3, 1):
        compared.push(block, RATE)
    listener.push(samples.mean(0))
    return listener.remark(len(LOUD)).text


def test_an_audio_channel_that_was_silent_only_before_a_reset_is_not_remarked_as_silent():
    """A reset happens if a decoder fails, and the next decoder begins again."""
    compared = Channels()
    compared.push(np.array([LOUD, QUIET]), RATE)
    compared.reset()
    compared.push(np.array([LOUD, LOUD]), RATE)
    assert compared.describe_silent() == ""


@pytest.mark.parametrize("second", [QUIET, -LOUD])
def test_audio_channels_silent_or_opposite_only_behind_the_scored_samples_are_not_remarked(second):
    head = Channels(num_samples=1000)
    scored = np.ones((2, 3000))
    behind = np.array([LOUD, second])
    head.push(np.concatenate([scored, behind], 1), 3 * RATE)
    assert head.describe_silent() == ""
    assert not head.cancel
