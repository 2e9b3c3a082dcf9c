"""Partially spoofed recordings of the demonstration: the splicing on seconds of audio, and a small corpus."""

import numpy as np
import pytest
import soundfile
from demo_corpus import channel, layout, partial, recordings, splice, splice_cues
from scipy.signal import butter, sosfiltfilt
from scripts.test_demo_corpus import RATE, contents, recording
from scripts.test_demo_corpus import SIZES as HUMAN

from nes2net import InputError
from nes2net.corpora import partialspoof
from nes2net.localisation import frame_labels, pool_labels, read_rttm

SIZES = partial.Sizes(train=4, dev=2, evaluation=6, talk=6)


@pytest.mark.parametrize("frames", [100, 333])
def test_pieces_tile_the_utterance(frames):
    for seed in range(100):
        pieces = splice.draw_pieces(frames, np.random.default_rng(seed))
        edges = [piece.start for piece in pieces] + [pieces[-1].end]
        assert edges[0] == 0 and edges[-1] == frames and min(np.diff(edges)) >= 20
        versions = [piece.version for piece in pieces]
        assert splice.VERSIONS - 1 in versions and len(pieces) > 1
        assert 0 not in np.diff(versions)


def test_labels_are_right_behind_the_channel():
    """A noise in place of another of lower pitch sounds from the beginning to the end of its piece, to a few ms."""
    rng = np.random.default_rng(0)
    filters = [butter(4, band, "bandpass", fs=RATE, output="sos") for band in ((200, 1500), (2500, 6000))]
    low, high = (sosfiltfilt(band, 0.1 * rng.standard_normal(3 * RATE)) for band in filters)
    pieces = [splice.Piece(0, 93, 0), splice.Piece(93, 171, 2), splice.Piece(171, 300, 1)]
    found = []
    for seed in range(3):
        made = splice.render([low, low, high], pieces, channel.generator(seed, "noise"))
        assert len(made) % channel.FRAME == 0 and np.abs(made).max() < 1
        moved = splice.pieces_of_render(pieces, len(made) // channel.FRAME)
        assert [tuple(piece) for piece in moved] == [(0, 88, 0), (88, 166, 2), (166, len(made) // 160, 1)]
        levels = [np.convolve(sosfiltfilt(band, made) ** 2, np.hanning(320), "same") + 1e-12 for band in filters]
        pitch = np.log(levels[1] / levels[0])
        is_high = pitch > (np.median(pitch[15_000:25_000]) + np.median(pitch[3_000:12_000])) / 2
        found.append((np.flatnonzero(np.diff(is_high[800:-800])) + 800) / RATE)
    assert np.mean(found, axis=0) == pytest.approx([0.88, 1.66], abs=0.006)


@pytest.fixture(scope="module")
def built(bonafide, tmp_path_factory):
    pytest.importorskip("pyworld", reason="pyworld is not installed")
    out = tmp_path_factory.mktemp("built") / "partialspoof"
    partial.build(out, bonafide, jobs=1, sizes=SIZES, human=HUMAN)
    return out


@pytest.mark.slow
def test_layout_is_that_of_partialspoof(built):
    speakers = {}
    for part, count in (("train", 4), ("dev", 2), ("eval", 6)):
        trials = partialspoof.CORPUS.trials(built, part)
        assert len(trials) == count and {trial.label for trial in trials} == {"bonafide", "spoof"}
        speakers[part] = {trial.speaker for trial in trials}
        fine = partialspoof.segment_labels(built, part, 10)
        assert set(fine) == {trial.id for trial in trials}
        segments = partialspoof.CORPUS.segments(built, part)
        for trial in trials:
            info = soundfile.info(trial.path)
            assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
            assert info.duration == segments[trial.id][-1].end
            labels = frame_labels(segments[trial.id], 10, info.duration, last_frame="round")
            np.testing.assert_array_equal(labels, fine[trial.id])
            assert (labels == 0).any() == (trial.label == "spoof") and (labels == 1).any()
        for resolution in partialspoof.RESOLUTIONS:
            for name, row in partialspoof.segment_labels(built, part, resolution).items():
                np.testing.assert_array_equal(row, pool_labels(fine[name], resolution // 10))
    assert not speakers["eval"] & (speakers["train"] | speakers["dev"])
    (talk,) = read_rttm(built / "talk.rttm").values()
    assert {segment.label for segment in talk} == {"bonafide", "spoof"}
    assert talk[-1].end == soundfile.info(built / "talk.wav").duration


@pytest.mark.slow
def test_continues_to_the_same_corpus(built, bonafide, monkeypatch, capsys):
    before = contents(built)
    min(built.glob("database/eval/con_wav/CON*")).unlink()
    kept = {path: path.stat().st_mtime_ns for path in built.glob("database/*/con_wav/*")}
    partial.build(built, bonafide, jobs=1, sizes=SIZES, human=HUMAN)
    assert contents(built) == before
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    monkeypatch.setattr(partial, "Workers", None)  # nothing is made
    partial.build(built, bonafide, jobs=1, sizes=SIZES, human=HUMAN)
    assert "complete already" in capsys.readouterr().out
    with pytest.raises(InputError, match="another seed"):
        partial.build(built, bonafide, jobs=1, seed=1, sizes=SIZES, human=HUMAN)


@pytest.mark.parametrize("trace, name", [("click", "boundary"), ("level", "frame"), ("long", "utterance")])
def test_check_finds_a_trivial_difference(tmp_path, trace, name):
    """So a high EER means that there is no such difference."""
    rng = np.random.default_rng(0)
    made = []
    for part in ("train", "eval"):
        for number in range(30):
            method = "world" if number % 2 else splice.HUMAN
            pieces = splice.draw_pieces(150 + (100 if trace == "long" and number % 2 else 0), rng)
            utterance = partial.Utterance(f"{part}{number}", part, method, recording())
            x = 0.05 * rng.standard_normal(pieces[-1].end * channel.FRAME)
            for piece in pieces:
                if number % 2 and trace == "level" and piece.version == 2:
                    x[piece.start * channel.FRAME : piece.end * channel.FRAME] *= 2
                beside = [other.version for other in pieces if piece.start in (other.start, other.end)]
                if number % 2 and trace == "click" and piece.start and 2 in beside:
                    x[piece.start * channel.FRAME] = 0.6
            layout.write_audio(partial.audio_path(tmp_path, utterance), x)
            made.append((utterance, partial.Made(pieces, pieces[-1].end)))
    partial.write_labels(tmp_path, made)
    assert splice_cues.trivial_cue_eer(tmp_path)[name] < 15


@pytest.mark.weekly
def test_trivial_cues_do_not_give_the_edits_away(tmp_path):
    """The recordings of the demonstration, in full."""
    if not recordings.PROMPTS.is_dir():
        pytest.skip("the voice prompts are not installed")
    eers = partial.build(tmp_path / "partialspoof")
    assert eers["boundary"] >= 40 and eers["frame"] >= 40 and eers["utterance"] >= 40  # percent
