"""Speech of any pitch is told from other sounds, wherever the recording is cut into blocks."""

import numpy as np
import pytest
from builders.sounds import TIME, sounds
from builders.voices import resynthesised, spoken, voice

from nes2net.data.audio.read import load_audio
from nes2net.data.audio.remarks import remark_of
from nes2net.data.audio.speech import SpeechFrames, speech_share

SOUNDS = sounds()


def warbling(frequencies):
    """A tone of these frequencies in Hz, one for each sample."""
    return 0.3 * np.sin(2 * np.pi * np.cumsum(frequencies) / 16000)


SWEEPS = {
    "a sweep": warbling(np.geomspace(100, 4000, len(TIME))),
    "a siren": warbling(900 + 400 * np.sin(2 * np.pi * 0.5 * TIME)),
}


@pytest.fixture(scope="module")
def real_clips(shared):
    paths = sorted((shared / "real/audio").rglob("*.flac"))
    recordings = map(load_audio, paths)
    return [samples for samples in recordings if len(samples) >= 16000]


@pytest.fixture(scope="module")
def long_clips(real_clips):
    """Every tenth clip of 2.5 s or more, and at most 4 s of each."""
    clips = [samples[:64000] for samples in real_clips if len(samples) >= 40000]
    return clips[::10]


@pytest.mark.parametrize("name", [*SOUNDS, *SWEEPS])
def test_sounds_without_a_voice_hold_no_speech(name):
    assert speech_share((SOUNDS | SWEEPS)[name]) == 0.0


of_each_voice = pytest.mark.parametrize("pitch", [80, 150, 220, 300, None], ids=str)
of_each_length = pytest.mark.parametrize("seconds", [1.0, 4.0])


@of_each_voice
@of_each_length
def test_over_four_fifths_of_a_voice_from_80_to_300_hz_or_of_a_whisper_are_taken_for_speech(pitch, seconds):
    assert speech_share(spoken(seed=1, seconds=seconds, pitch=pitch)) > 0.8


@of_each_voice
@of_each_length
def test_a_voice_from_80_to_300_hz_or_a_whisper_is_fit_for_a_decision(pitch, seconds):
    samples = spoken(seed=1, seconds=seconds, pitch=pitch)
    assert remark_of(samples, len(samples), None, 16000).unfit == ""


@pytest.mark.parametrize("pitch", [80, 220, None], ids=str)
def test_over_nine_of_ten_real_sentences_resynthesised_at_one_pitch_or_whispered_hold_speech(long_clips, pitch):
    """Speech fills at least a quarter of each such sentence."""
    shares = [speech_share(resynthesised(samples, pitch)) for samples in long_clips]
    assert len(shares) > 15
    assert np.mean(np.array(shares) >= 0.25) > 0.9


def test_over_nine_of_ten_real_sentences_in_noise_5_db_above_them_are_fit_for_a_decision(long_clips):
    noise = 10 ** (5 / 20) * np.random.default_rng(0).standard_normal(64000)
    reasons = []
    for samples in long_clips:
        noisy = samples + np.std(samples) * noise[: len(samples)]
        noisy /= np.abs(noisy).max()
        reasons.append(remark_of(noisy, len(noisy), None, 16000).unfit)
    assert reasons.count("") > 0.9 * len(reasons)


def test_each_real_recording_of_a_second_or_more_holds_speech_for_over_40_percent_of_its_time(real_clips):
    assert len(real_clips) > 200
    assert min(map(speech_share, real_clips)) > 0.4


def test_the_share_of_speech_is_computed_over_the_span_of_time_asked_for():
    frames = SpeechFrames()
    frames.push(np.concatenate([np.zeros(32000), voice(0, 4.0), SOUNDS["music: strings"][:64000]]))
    frames.finish()
    starts = (0, 2, 4, 6.5, 8)
    shares = [round(frames.share(start, start + 2)) for start in starts]
    assert shares == [0, 1, 1, 0, 0]


def test_the_share_of_speech_behind_the_end_of_a_recording_is_0():
    frames = SpeechFrames()
    frames.push(voice(0, 4.0))
    frames.finish()
    assert frames.share(6, 10) == 0.0


@pytest.mark.parametrize("make", [voice, spoken])
def test_shares_of_speech_do_not_depend_on_how_a_recording_is_cut_into_blocks(make):
    pieces = [make(1, 3.0), np.zeros(8000), make(2, 3.0)]
    samples = np.concatenate(pieces).astype(np.float32)
    uncut = SpeechFrames()
    uncut.push(samples)
    uncut.finish()
    cut = SpeechFrames()
    for block in np.split(samples, [1, 2, 500, 9001, 40000, 90001]):
        cut.push(block)
    cut.finish()
    spans = [(start, start + 1.5) for start in np.arange(0, 6, 0.25)]
    for span in spans:
        assert cut.share(*span) == uncut.share(*span)


def test_dropping_the_first_seconds_of_a_recording_removes_only_the_speech_in_them():
    frames = SpeechFrames()
    frames.push(voice(1, 6.5))
    frames.finish()
    later_share = frames.share(3.5, 6.5)
    frames.drop(3.0)
    assert frames.share(3.5, 6.5) == later_share
    assert frames.share(0, 3) == 0.0
