"""Decoding and scoring of pieces as the processes of Ray do it; Ray itself is in test_collection.py."""

from types import SimpleNamespace

import fsspec
import pytest
from builders.collection import flac, write_shard
from builders.files import write
from builders.recordings import noise, tone, write_two_tracks
from numpy.testing import assert_allclose

from nes2net.apps.scale.engine import decode_piece, score_piece
from nes2net.apps.scale.reading import pieces_of
from nes2net.apps.scale.sources import shards_of
from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.judgements import Scores
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.kernel import scoring_mode
from nes2net.scoring.score_file import read_scores
from nes2net.scoring.waveforms import WaveformReader

RATES = (8000, 16000, 22050)


@pytest.fixture
def shard(tmp_path):
    """Eleven recordings of several lengths and rates, one damaged."""
    recordings = {f"u{n}": flac(n, 0.2 + 0.1 * (n % 3), RATES[n % 3]) for n in range(11)}
    recordings["u4"] = recordings["u4"][:-40]
    return write_shard(tmp_path / "x.parquet", recordings)


# Batches of equal lengths are searched in a piece, there among more utterances.
@pytest.mark.parametrize("num_samples, tolerance", [(4000, 0), (None, 1e-6)])
def test_a_shard_that_is_scored_in_pieces_has_the_scores_and_failures_of_nes2net_score(
    spectral_detector, shard, tmp_path, num_samples, tolerance
):
    trials = [Trial(f"u{n}", shard / str(n)) for n in range(11)]
    settings = ScoringSettings(num_samples=num_samples, batch_size=2)
    expected = judge_trials(spectral_detector, trials, tmp_path / "s.txt", Scores(), settings=settings)
    reader = WaveformReader.of(spectral_detector, num_samples)
    facts = SimpleNamespace(reader=reader, batch_size=2, judgement=Scores())
    rows = []
    with scoring_mode(spectral_detector):
        for piece in pieces_of(shards_of(shard)[0], 4, 2):
            rows += score_piece(decode_piece(piece, reader), spectral_detector, facts).rows
    failures = {row["id"]: row["error"] for row in rows if row["error"] is not None}
    assert failures == expected.failures
    assert list(failures) == ["u4"]
    scores = [row["score"] for row in rows if row["score"] is not None]
    assert scores == pytest.approx(read_scores(tmp_path / "s.txt")[1], abs=tolerance)


def test_the_chosen_audio_track_of_a_recording_is_decoded(tmp_path):
    write_two_tracks(tmp_path / "two.mkv")
    write(tmp_path / "list.txt", "two.mkv\n")
    (piece,) = pieces_of(shards_of(tmp_path / "list.txt")[0], 16, 2)
    for track, expected in enumerate((tone(), noise(16000))):
        (row,) = decode_piece(piece, WaveformReader(None, audio_track=track)).rows
        assert_allclose(row["waveform"], expected, atol=1e-4)


def test_a_missing_recording_of_a_list_fails_alone(spectral_detector, tmp_path):
    (tmp_path / "a.flac").write_bytes(flac(1))
    fsspec.filesystem("memory").pipe("/list/a.flac", flac(1))
    write(tmp_path / "list.txt", "memory://list/a.flac\nmemory://list/gone.flac\na.flac\nnowhere.flac\n")
    (piece,) = pieces_of(shards_of(tmp_path / "list.txt")[0], 16, 2)
    rows = decode_piece(piece, WaveformReader.of(spectral_detector, None)).rows
    assert [row["seconds"] for row in rows] == [0.5, None] * 2
    remote, unavailable, local, nowhere = (row["waveform"] for row in rows)
    assert remote.equal(local)
    assert "gone.flac cannot be read (FileNotFoundError" in unavailable
    assert "nowhere.flac not found" in nowhere
