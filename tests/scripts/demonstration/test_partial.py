"""Partially spoofed recordings of the demonstration: rows of pieces on seconds of audio, and a small corpus."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from builders.demonstration import RATE
from builders.demonstration import SIZES as HUMAN
from builders.voices import voice
from demonstration import build, channel, partial, recordings, splice

from nes2net.data.corpora import partialspoof
from nes2net.metrics.localisation import frame_labels

SIZES = partial.Sizes(train=9, dev=2, eval=6, talk=20)


def test_segment_boundaries_of_joined_recordings_lie_in_the_pauses_between_them():
    rng = np.random.default_rng(0)
    pieces = [rng.standard_normal(int(seconds * RATE)) for seconds in (0.4, 1.0, 0.31, 0.7, 0.5)]
    for seed in range(3):
        row, before = splice.joined(pieces, channel.generator(seed, "row"))
        _, boundaries = splice.render(pieces, channel.generator(seed, "row"))
        assert boundaries == [b - channel.EDGE // channel.FRAME for b in before]
        for boundary in np.array(before[1:-1]) * channel.FRAME:
            around = np.abs(row[boundary - 2 * channel.FRAME : boundary + 2 * channel.FRAME])
            assert around.max() == 0


@pytest.fixture(scope="module")
def bonafide(tmp_path_factory) -> Path:
    """Recordings of four speakers, whose syllables last half a second."""
    folder = tmp_path_factory.mktemp("voices")
    for number in range(80):
        path = folder / f"voice{number % 4}" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, soxr.resample(voice(number, 1.5, pitch=250 + 75 * (number % 4)), 2, 5), RATE)
    return folder


@pytest.fixture(scope="module")
def built(bonafide, tmp_path_factory):
    pytest.importorskip("pyworld", reason="pyworld is not installed")
    out = tmp_path_factory.mktemp("built") / "partialspoof"
    partial.build(out, bonafide, jobs=1, sizes=SIZES, human=HUMAN)
    return out


@pytest.mark.slow
def test_the_corpus_of_partial_fakes_has_the_layout_and_labels_of_partialspoof(built):
    for split, count in (("train", 9), ("dev", 2), ("eval", 6)):
        trials = partialspoof.CORPUS.trials(built, split)
        assert len(trials) == count
        assert {trial.label for trial in trials} == {"bonafide", "spoof"}
        fine = partialspoof.segment_labels(built, split, 10)
        assert set(fine) == {trial.id for trial in trials}
        segments = partialspoof.CORPUS.segments(built, split)
        for trial in trials:
            info = soundfile.info(trial.path)
            assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
            assert info.duration == segments[trial.id][-1].end
            labels = frame_labels(segments[trial.id], 10, info.duration, last_frame="round")
            np.testing.assert_array_equal(labels, fine[trial.id])
            assert (labels == 0).any() == (trial.label == "spoof")
            assert (labels == 1).any()


@pytest.mark.slow
def test_evaluation_speakers_of_the_corpus_are_in_neither_train_nor_dev(built):
    train, dev, evaluated = (
        {trial.speaker for trial in partialspoof.CORPUS.trials(built, split)} for split in ("train", "dev", "eval")
    )
    assert not evaluated & (train | dev)


@pytest.mark.weekly
def test_no_trivial_cue_detects_partial_fakes_of_the_demonstration_with_an_eer_below_40_percent(tmp_path):
    """The test builds the whole corpus."""
    if not recordings.PROMPTS.is_dir():
        pytest.skip("the voice prompts are not installed")
    eers = partial.build(tmp_path / "partialspoof", seed=build.SEED)
    assert min(eers.values()) >= 40, eers  # percent
