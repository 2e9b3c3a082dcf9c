"""A collection on a local Ray: killed, restarted, and equal to `nes2net score`; and what is left to do."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from builders import PATIENCE, input_error
from builders.collection import RUN, flac, write_record, write_shard

from nes2net.apps.scale.collection import _in_order_if_complete, _stamps_of_model
from nes2net.apps.scale.reading import Piece
from nes2net.apps.scale.results import Results, finished_shards, read_record, result_path, write_results
from nes2net.apps.scale.sources import UNKNOWN, Shard, shards_of
from nes2net.cli.main import main
from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.judgements import Scores
from nes2net.lib.process.installation import how_to_install
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.engine import BatchResult, RunSettings, run_over
from nes2net.scoring.journal import JournalRow

SHARDS = [Shard(f"/{name}.tar", "1", f"{name}.tar") for name in "abc"]
CHANGED = Shard("/a.tar", "2", "a.tar")
ROWS = [
    {"id": "a", "seconds": 1.0, "score": 1.0, "error": None},
    {"id": "b", "seconds": None, "score": None, "error": "damaged"},
]


def kept(folder, shards=SHARDS, *, run=RUN, overwrite=False, retry_errors=False):
    """Scan ``shards`` as a run over a collection does; return the shards to score, and the finished run.

    The scores of a shard that has to be scored are 1.0 and a failure.
    """
    results = Results(folder, shards, overwrite=overwrite, retry_errors=retry_errors)
    scored = []

    def read(trials, done, processes):
        results.keep_only(done)
        yield from (results.shards[trial.id] for trial in trials if trial.id not in done)

    def score(batches):
        for shard in batches:
            scored.append(shard)
            yield BatchResult({shard.address: JournalRow(write_results(folder, shard, run, ROWS), shard.stamp)}, {})

    settings = RunSettings(overwrite="others" if overwrite else False, alone=True)
    trials = [Trial(shard.address) for shard in shards]
    run_over(trials, read, score, results, folder / "scale", run=run, about={}, settings=settings)
    return scored, read_record(folder)


def test_only_shards_without_results_are_scored_and_all_are_counted(tmp_path):
    for shard in SHARDS[:2]:
        write_results(tmp_path, shard, RUN, ROWS)
    scored, record = kept(tmp_path)
    assert scored == SHARDS[2:]
    assert (record.shards, record.kept_from_earlier_runs, record.total, record.scored) == (3, 2, 6, 3)


def test_shards_with_failures_are_scored_again_only_if_asked(tmp_path):
    kept(tmp_path)
    assert kept(tmp_path)[0] == []
    assert kept(tmp_path, retry_errors=True)[0] == SHARDS


def test_a_shard_is_scored_again_if_its_store_tells_that_it_changed(tmp_path):
    kept(tmp_path)
    assert kept(tmp_path, [Shard("/a.tar", UNKNOWN, "a.tar"), *SHARDS[1:]])[0] == []
    assert kept(tmp_path, [CHANGED, *SHARDS[1:]])[0] == [CHANGED]


def test_a_shard_is_complete_once_all_of_its_pieces_have_come_in_any_order():
    """A piece holds the results of some recordings of a shard, and the last one is marked as such."""
    first = Piece("s", 0, False, ROWS)
    last = Piece("s", 1, True, ROWS)
    assert _in_order_if_complete([last]) is None
    assert _in_order_if_complete([first]) is None
    assert _in_order_if_complete([last, first]) == [first, last]


def test_results_with_other_settings_are_replaced_only_with_overwrite(tmp_path):
    kept(tmp_path, SHARDS[:1])
    another = {**RUN, "dtype": "bfloat16", "num_samples": None}
    with input_error(r"another run or program \(another num_samples, dtype\): pass `overwrite=True`"):
        kept(tmp_path, SHARDS[:1], run=another)
    assert [done.run for done in finished_shards(tmp_path).values()] == [RUN]
    assert kept(tmp_path, SHARDS[:1], run=another, overwrite=True)[0] == SHARDS[:1]
    assert [done.run for done in finished_shards(tmp_path).values()] == [another]


def test_results_of_shards_that_the_source_no_longer_has_are_removed_only_with_overwrite(tmp_path):
    kept(tmp_path)
    with input_error(r"results of 1 shard that the source does not have: /b.tar: pass `overwrite"):
        kept(tmp_path, SHARDS[::2])
    kept(tmp_path, SHARDS[::2], overwrite=True)
    assert finished_shards(tmp_path).keys() == {result_path(tmp_path, shard) for shard in SHARDS[::2]}


def test_with_overwrite_shards_whose_results_fit_are_not_scored_again(tmp_path):
    kept(tmp_path)
    scored, record = kept(tmp_path, SHARDS[::2], overwrite=True)
    assert (scored, record.shards, record.total) == ([], 2, 4)


@pytest.fixture
def finished_command(tmp_path, monkeypatch):
    """The command of a finished collection of ``m.pth``, on a machine without Ray."""
    out = tmp_path / "out"
    model = tmp_path / "m.pth"
    model.write_bytes(b"weights")
    shard = write_shard(tmp_path / "x.tar", {"a": b"", "b": b""})
    write_results(out, shards_of(shard)[0], RUN, ROWS)
    settings = {"name": str(model), "files": _stamps_of_model(model), "num_samples": "auto", "batch_size": None}
    settings |= {"audio_track": 0, "device": "auto", "dtype": "auto", "config": None, "base": None}
    counts = {"shards": 1, "total": 2, "scored": 1}
    write_record(out, {"run": RUN, "failures": {}, "asked": settings, **counts})
    monkeypatch.setitem(sys.modules, "ray", None)
    return ["scale", str(shard), "--model", str(model), "--out", str(out), "--scores", str(tmp_path / "s.txt")]


def test_a_finished_collection_writes_its_scores_without_ray(finished_command, tmp_path):
    """The status is 1, because one of its two recordings has failed."""
    assert main(finished_command) == 1
    assert (tmp_path / "s.txt").read_text() == "a 1.0\n"


def test_a_finished_collection_with_another_setting_or_a_changed_model_needs_ray(finished_command, tmp_path, refused):
    refused([*finished_command, "--batch-size", "3"], how_to_install("scale"))
    os.utime(tmp_path / "m.pth", (1, 1))
    refused(finished_command, how_to_install("scale"))


@pytest.mark.weekly
def test_a_killed_collection_resumes_to_the_scores_of_nes2net_score(spectral_detector, tmp_path, monkeypatch):
    pytest.importorskip("ray.data", reason="needs the extra scale")
    source = tmp_path / "set"
    out = tmp_path / "out"
    trials = []
    for number in range(30):
        recordings = {f"u{number:02d}_{position}": flac(8 * number + position, 1.5, 44100) for position in range(8)}
        path = write_shard(source / f"test-{number:05d}.parquet", recordings)
        trials += [Trial(id, path / str(row)) for row, id in enumerate(recordings)]
    spectral_detector.save(tmp_path / "model")
    command = ["scale", str(source), "--model", str(tmp_path / "model"), "--out", str(out), "--actors", "2"]
    command += ["--batch-size", "4", "--device", "cpu"]

    alone = ["--actors", "1"]  # each imports PyTorch
    with subprocess.Popen([sys.executable, "-m", "nes2net", *command, *alone], start_new_session=True) as run:
        end = time.monotonic() + PATIENCE
        while run.poll() is None and not any(out.glob("*.parquet")) and time.monotonic() < end:
            time.sleep(0.005)
        run.kill()
    written = {path: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert 0 < len(written) < 30

    monkeypatch.chdir(tmp_path)
    from nes2net.apps.scale.cluster import Resources, connect

    with connect(Resources(2)):
        assert main([*command, "--scores", "s.txt"]) == 0
        assert all(path.stat().st_mtime_ns == when for path, when in written.items())

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        settings = ScoringSettings(num_samples=64600, batch_size=4, num_workers=0)
        judge_trials(spectral_detector, trials, "expected.txt", Scores(), settings=settings)
    finally:
        torch.set_num_threads(threads)
    assert Path("s.txt").read_bytes() == Path("expected.txt").read_bytes()
