"""Partially spoofed recordings of the demonstration: rows of pieces on seconds of audio, and a small corpus."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from builders import input_error
from builders.demonstration import RATE, contents, recording, speech_like
from builders.demonstration import SIZES as HUMAN
from demonstration import build, channel, layout, partial, recordings, splice, splice_cues, synthesis

from nes2net.data.corpora import partialspoof
from nes2net.metrics.localisation import RESOLUTIONS, frame_labels, pool_labels, read_rttm

SIZES = partial.Sizes(train=9, dev=2, eval=6, talk=20)


@pytest.mark.parametrize("count", [2, 5, 10])
def test_at_most_half_of_the_pieces_is_fake(count):
    draws = [partial.draw_fakes(count, np.random.default_rng(seed)) for seed in range(100)]
    assert {int(fake.sum()) for fake in draws} == set(range(1, count // 2 + 1))


def test_without_synthesisers_copies_are_the_only_spoofs():
    sources = [partial.Source(recording(i), 0, "word" if i % 3 else "") for i in range(60)]
    planned = partial.utterances({split: sources for split in partial.METHODS}, ["flite", *partial.COPIES], SIZES, 0)
    assert {piece.method for u in planned for piece in u.pieces} == {partial.HUMAN, *partial.COPIES}
    for utterance in planned[:-1]:
        assert len({piece.source.recording.speaker for piece in utterance.pieces}) == 1
        assert len({bool(piece.source.words) for piece in utterance.pieces}) == 1
        assert utterance.is_human == utterance.id.startswith("LA_")


def test_a_recording_is_cut_at_its_pauses():
    tone = np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE)
    pieces = [np.append(tone[: int(seconds * RATE)], np.zeros(RATE // 10)) for seconds in (0.5, 1.0, 0.1, 0.8)]
    stretches = splice.stretches(np.concatenate(pieces))
    assert [len(x) / RATE for x in stretches] == pytest.approx([0.5, 1.0, 0.8], abs=0.03)


@pytest.mark.parametrize("method", partial.COPIES)
def test_a_copy_is_other_speech_of_about_the_same_length(method):
    pytest.importorskip("pyworld", reason="pyworld is not installed")
    speech = channel.speech_only(speech_like(1.5, 0))
    copied = synthesis.copy(method, speech, channel.generator(0, method))
    assert 0.75 <= len(copied) / len(speech) <= 1.3
    assert np.isfinite(copied).all()
    assert np.std(copied) > 1e-3
    assert not np.allclose(copied[: RATE // 2], speech[: RATE // 2], atol=1e-3)


def lag_ms(x: np.ndarray, y: np.ndarray) -> int:
    """By how much ``y`` is later than ``x``, by the energy of 1 ms."""

    def energy(x):
        power = x[: min(len(x), len(y)) // 16 * 16].reshape(-1, 16).var(axis=1)
        return np.log(np.convolve(power, np.hanning(9), "same") + 1e-3 * power.mean())

    energy_of_x = energy(x)[20:-20]
    energy_of_y = energy(y)
    lags = range(-16, 17)
    return max(lags, key=lambda lag: np.corrcoef(energy_of_x, np.roll(energy_of_y, -lag)[20:-20])[0, 1])


def test_boundaries_of_pieces_stay_in_place_behind_the_channel():
    """They lie in pauses, and no sample is moved by more than a few ms."""
    rng = np.random.default_rng(0)
    pieces = [rng.standard_normal(int(seconds * RATE)) for seconds in (0.4, 1.0, 0.31, 0.7, 0.5)]
    for seed in range(3):
        row, before = splice.joined(pieces, channel.generator(seed, "row"))
        rendered, boundaries = splice.render(pieces, channel.generator(seed, "row"))
        assert len(before) == len(pieces) + 1
        assert boundaries == [b - channel.EDGE // channel.FRAME for b in before]
        assert len(rendered) == boundaries[-1] * channel.FRAME
        assert np.abs(rendered).max() < 1
        assert abs(lag_ms(row[channel.EDGE :], rendered)) <= 3
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
        soundfile.write(path, soxr.resample(speech_like(1.5, number, 250 + 75 * (number % 4)), 2, 5), RATE)
    return folder


@pytest.fixture(scope="module")
def built(bonafide, tmp_path_factory):
    pytest.importorskip("pyworld", reason="pyworld is not installed")
    out = tmp_path_factory.mktemp("built") / "partialspoof"
    partial.build(out, bonafide, jobs=1, sizes=SIZES, human=HUMAN)
    return out


@pytest.mark.slow
def test_the_corpus_has_the_layout_and_labels_of_partialspoof(built):
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
def test_labels_of_longer_frames_are_pooled_from_the_finest(built):
    for split in ("train", "dev", "eval"):
        fine = partialspoof.segment_labels(built, split, 10)
        for resolution in RESOLUTIONS:
            for name, row in partialspoof.segment_labels(built, split, resolution).items():
                np.testing.assert_array_equal(row, pool_labels(fine[name], resolution // 10))


@pytest.mark.slow
def test_evaluation_speakers_of_the_corpus_are_kept_apart(built):
    train, dev, evaluated = (
        {trial.speaker for trial in partialspoof.CORPUS.trials(built, split)} for split in ("train", "dev", "eval")
    )
    assert not evaluated & (train | dev)


@pytest.mark.slow
def test_the_labels_of_the_talk_reach_its_end(built):
    (talk,) = read_rttm(built / "talk.rttm").values()
    assert {segment.label for segment in talk} == {"bonafide", "spoof"}
    assert talk[-1].end == soundfile.info(built / "talk.wav").duration


@pytest.mark.slow
def test_a_lost_file_of_the_corpus_is_made_again(built, bonafide):
    before = contents(built)
    min(built.glob("database/eval/con_wav/CON*")).unlink()
    partial.build(built, bonafide, jobs=1, sizes=SIZES, human=HUMAN)
    assert contents(built) == before


@pytest.mark.slow
def test_a_complete_corpus_is_left_alone(built, bonafide, monkeypatch, capsys):
    monkeypatch.setattr(partial, "Workers", None)  # nothing is made
    partial.build(built, bonafide, jobs=1, sizes=SIZES, human=HUMAN)
    assert "complete already" in capsys.readouterr().out


@pytest.mark.slow
def test_a_corpus_of_another_seed_is_refused(built, bonafide):
    with input_error("another seed"):
        partial.build(built, bonafide, jobs=1, seed=1, sizes=SIZES, human=HUMAN)


@pytest.mark.parametrize(
    "trace, kind", [("click", "boundary"), ("level", "frame"), ("pause", "piece"), ("long", "utterance")]
)
def test_the_check_of_cues_finds_each_trivial_difference(tmp_path, trace, kind):
    """So a high EER means that there is no such difference."""
    rng = np.random.default_rng(0)
    corpus = []
    for split in ("train", "eval"):
        for number in range(30):
            spoofed = bool(number % 2)
            fakes = partial.draw_fakes(6, rng) & spoofed
            pieces = tuple(partial.Piece(partial.Source(recording()), "world" if f else partial.HUMAN) for f in fakes)
            lengths = rng.integers(30, 60, 6) + 30 * (trace == "long" and spoofed)
            boundaries = [0, *map(int, np.cumsum(lengths))]
            x = 0.05 * rng.standard_normal(boundaries[-1] * channel.FRAME)
            for start, end, fake, before in zip(boundaries, boundaries[1:], fakes, [False, *fakes]):
                if fake and trace == "level":
                    x[start * channel.FRAME : end * channel.FRAME] *= 2
                x[start * channel.FRAME : (start + (20 if fake and trace == "pause" else 5)) * channel.FRAME] *= 0.02
                if fake != before and trace == "click":
                    x[start * channel.FRAME] = 0.6
            utterance = partial.Utterance(f"{split}{number}", split, pieces)
            layout.write_audio(partial.audio_path(tmp_path, utterance), x)
            corpus.append(partial.Labelled(utterance, boundaries))
    partial.write_labels(tmp_path, corpus)
    assert splice_cues.trivial_cue_eer(tmp_path)[kind] < 15


@pytest.mark.weekly
def test_no_trivial_cue_tells_the_edits_of_the_demonstration(tmp_path):
    """Its whole corpus is made."""
    if not recordings.PROMPTS.is_dir():
        pytest.skip("the voice prompts are not installed")
    eers = partial.build(tmp_path / "partialspoof", seed=build.SEED)
    assert min(eers.values()) >= 40, eers  # percent
