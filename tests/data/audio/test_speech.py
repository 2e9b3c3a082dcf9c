"""Speech is told from other sounds, wherever the recording is cut into blocks."""

import numpy as np
import pytest
from builders.sounds import sounds
from builders.voices import voice

from nes2net.data.audio.read import load_audio
from nes2net.data.audio.speech import SpeechFrames, speech_share

SOUNDS = sounds()


@pytest.mark.parametrize("name", SOUNDS)
def test_other_sounds_hold_no_speech(name):
    assert speech_share(SOUNDS[name]) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_a_voice_is_found_also_in_noise(seed):
    assert speech_share(voice(seed, 4.0)) > 0.9
    assert speech_share(voice(seed, 4.0) + SOUNDS["white noise"][:64000] / 10) > 0.5


def test_real_recordings_hold_speech(shared):
    recordings = [load_audio(path) for path in sorted((shared / "real" / "audio").rglob("*.flac"))]
    long_enough = [samples for samples in recordings if len(samples) >= 16000]
    assert len(long_enough) > 200 and min(map(speech_share, long_enough)) > 0.4


def test_the_place_of_speech():
    frames = SpeechFrames()
    frames.push(np.concatenate([np.zeros(32000), voice(0, 4.0), SOUNDS["music: strings"][:64000]]))
    frames.finish()
    assert [round(frames.share(start, start + 2)) for start in (0, 2, 4, 6.5, 8)] == [0, 1, 1, 0, 0]
    assert frames.share(20, 24) == 0.0


def test_shares_of_speech_do_not_depend_on_the_cuts():
    """The same shares however a recording is cut; what was forgotten does not count."""
    samples = np.concatenate([voice(1, 3.0), np.zeros(8000), voice(2, 3.0)]).astype(np.float32)
    whole, cut = SpeechFrames(), SpeechFrames()
    whole.push(samples)
    whole.finish()
    for block in np.split(samples, [1, 2, 500, 9001, 40000, 90001]):
        assert cut.push(block)[0] is block
    early = cut.finished()
    cut.finish()
    spans = [(start, start + 1.5) for start in np.arange(0, 6, 0.25)]
    assert [cut.share(*span) for span in spans] == [whole.share(*span) for span in spans]
    assert early.share() == whole.share() and cut.end == whole.end == pytest.approx(6.5)
    cut.drop(3.0)
    assert cut.share(3.5, 6.5) == whole.share(3.5, 6.5) and cut.share(0, 3) == 0.0
