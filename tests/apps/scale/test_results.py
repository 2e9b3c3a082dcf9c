"""Files of results, what is finished, and the score file of a collection."""

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from builders import input_error
from builders.collection import RUN, write_record
from builders.files import read_json, write

from nes2net.apps.scale.results import (
    finished_shards,
    read_record,
    result_path,
    to_score_file,
    write_results,
)
from nes2net.apps.scale.sources import Shard
from nes2net.evaluation.classes import Classes
from nes2net.evaluation.origin import read_scored_by
from nes2net.scoring.judgement import ScoreFile
from nes2net.scoring.record import record_of


def shard(name, stamp="1"):
    return Shard(f"/data/{name}", stamp, name)


def row(id, score, **columns):
    return {"id": id, **columns, "seconds": 1.5, "score": score, "error": None if score is not None else "damaged"}


def test_results_of_a_shard_have_the_labels_of_its_rows_beside_the_usual_columns(tmp_path):
    rows = [row("c", 1 / 3, label="x"), row("d", None, label="y"), row("e", 2.0)]
    write_results(tmp_path, shard("b.tar"), RUN, rows)
    table = pq.read_table(result_path(tmp_path, shard("b.tar")))
    assert table.column_names == ["id", "address", "label", "seconds", "score", "error"]
    assert table["label"].to_pylist() == ["x", "y", None]


def test_a_finished_shard_has_the_number_of_recordings_and_of_scores_and_the_seconds_of_audio(tmp_path):
    done = write_results(tmp_path, shard("b.tar"), RUN, [row("c", 1 / 3), row("d", None), row("e", 2.0)])
    assert finished_shards(tmp_path) == {result_path(tmp_path, shard("b.tar")): done}
    assert (done.rows, done.scored, done.seconds, done.stamp) == (3, 2, 4.5, "1")


def test_results_of_shards_become_a_score_file_with_its_record(tmp_path):
    out = tmp_path / "out"
    scores = tmp_path / "s.txt"
    write_record(out, {"run": RUN, "failures": {}, "total": 4})
    write_results(out, shard("b.tar"), RUN, [row("c", 1 / 3), row("d", None), row("e", 2.0)])
    write_results(out, shard("a b/ü.parquet"), RUN, [row("a", -1.0)])
    write_results(out, shard("empty.tar"), RUN, [])
    to_score_file(out, scores)
    assert scores.read_text() == "a -1.0\nc 0.3333333333333333\ne 2.0\n"
    assert read_scored_by(record_of(scores)).num_samples == 64600


def test_results_with_logits_of_classes_become_a_table_of_logits(tmp_path):
    judgement = Classes(("a b", "c"))
    run = {**RUN, **judgement.identity()}
    write_record(tmp_path, {"run": run, "failures": {}, "judgement": judgement.describe(), "total": 3})
    logits = [0.1, -2.5]
    rows = [row("u", np.float32(logits).tolist()), row("v", None)]
    write_results(tmp_path, shard("x.tar"), RUN, rows, has_lists=True)
    write_results(tmp_path, shard("failed.tar"), RUN, [row("w", None)], has_lists=True)
    to_score_file(tmp_path, tmp_path / "c.tsv")
    table = ScoreFile.of(tmp_path / "c.tsv").judgement.table(tmp_path / "c.tsv")
    assert (table.names, table.ids) == (("a b", "c"), ["u"])
    assert table.logits.tolist() == [np.float32(logits).tolist()]


@pytest.fixture
def results(tmp_path):
    """Results of two shards, of three."""
    out = tmp_path / "results"
    facts = {"total": 3, "shards": 3, "failures": {"/data/c.tar": "not found"}}
    write_record(out, {"run": RUN, **facts})
    write_results(out, shard("a.tar"), RUN, [row("a", 0.5)])
    write_results(out, shard("b.tar"), RUN, [row("b", 1.5), row("c", None)])
    return out


def test_two_recordings_with_the_same_id_are_refused_and_the_score_file_stays_as_it_was(results, tmp_path):
    scores = write(tmp_path / "s.txt", "old 1.0\n")
    write_results(results, shard("c.tar"), RUN, [row("a", 0.0)])
    with input_error(r"two recordings have the id 'a', in /data/a.tar and /data/c.tar"):
        to_score_file(results, scores)
    assert scores.read_text() == "old 1.0\n"


def test_the_record_of_a_score_file_names_shards_and_recordings_without_a_score_and_why(results, tmp_path):
    to_score_file(results, tmp_path / "s.txt")
    record = read_json(tmp_path / "s.txt.json")
    assert record["unread_shards"] == {"/data/c.tar": "not found"}
    assert record["failures"] == {"c": "damaged"}


def cut(path):
    os.truncate(path, path.stat().st_size - 50)


@pytest.mark.parametrize(
    "change", [cut, Path.unlink, lambda path: path.write_bytes(b"")], ids=["cut", "missing", "empty"]
)
def test_a_shard_of_damaged_or_missing_results_is_not_finished_and_leaves_no_score_file(results, tmp_path, change):
    path = result_path(results, shard("b.tar"))
    change(path)
    assert list(finished_shards(results)) == [result_path(results, shard("a.tar"))]
    with input_error(rf"{path.name}(: is empty| is not a result)|scale\.json does not count"):
        to_score_file(results, tmp_path / "s.txt")
    assert not (tmp_path / "s.txt").exists()


def test_a_score_file_is_refused_if_the_record_counts_another_number_of_results(results, tmp_path):
    record = read_json(results / "scale.json")
    write_record(results, record | {"total": 4})
    with input_error(r"scale\.json does not count the results beside it"):
        to_score_file(results, tmp_path / "s.txt")


def test_a_damaged_record_of_a_collection_is_refused(tmp_path):
    write(tmp_path / "scale.json", "{")
    with input_error("not a record of `nes2net scale`"):
        read_record(tmp_path)
