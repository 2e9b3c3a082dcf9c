"""The boundaries of arrays: embeddings (.npy and its list of ids, Parquet), dictionaries, results of `nes2net scale`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from builders.hostile import nes2net

from fuzzing import FIXED, Boundary
from nes2net.apps.scale.results import RECORD, finished_shards, to_score_file, write_results
from nes2net.apps.scale.sources import Shard
from nes2net.data.corpora.npy_dictionary import read_npy_dictionary
from nes2net.scoring.embeddings import Embeddings

_NAMES = ("A01", "A02", "A03", "A99")
_NUMBER = 24  # trials of each set
_EMBEDDINGS = ("npy", "parquet", "lists")  # names of the examples with embeddings


def _make_arrays(folder):
    import pyarrow  # optional: the extra nes2net[parquet]
    from pyarrow import parquet  # optional: as above

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(_NUMBER, 4)).astype(np.float32)
    _save(folder / "npy", "t", rows)
    ids = [f"t{number}" for number in range(_NUMBER)]
    of_four = pyarrow.list_(pyarrow.float32(), 4)
    of_any_number = pyarrow.list_(pyarrow.float64())
    for name, kind in (("parquet", of_four), ("lists", of_any_number)):
        embeddings = pyarrow.array(rows.tolist(), kind)
        table = pyarrow.table({"id": ids, "label": ["spoof"] * _NUMBER, "embedding": embeddings})
        (folder / name).mkdir()
        parquet.write_table(table, folder / name / "e.parquet")
    for name in _EMBEDDINGS:
        _make_evaluation(folder / name / FIXED, rows)
    labels: Any = {f"u{number}": ["1", "0", "1"] for number in range(9)}
    path = folder / "dictionary" / "labels.npy"
    path.parent.mkdir()
    np.save(path, labels, allow_pickle=True)


def _save(folder, prefix, rows):
    folder.mkdir(parents=True)
    np.save(folder / "e.npy", rows)
    lines = [f"{prefix}{number},spoof\n" for number in range(len(rows))]
    (folder / "e.npy.csv").write_text("".join(["id,label\n", *lines]))


def _make_evaluation(folder, rows):
    _save(folder, "u", rows)
    key = ["path,label,attack,split"]
    logits = ["utterance\tA01\tA02\tA03"]
    for number in range(_NUMBER):
        key.append(f"u{number}.wav,spoof,{_NAMES[number % 4]},eval")
        key.append(f"t{number}.wav,spoof,{_NAMES[number % 3]},train")
        logits.append(f"u{number}\t{number % 5}\t1\t2")
    (folder / "key.csv").write_text("\n".join(key))
    (folder / "c.tsv").write_text("\n".join(logits))


def _make_results(folder):
    _write_folder(folder / "scores", 0.5, {"name": "scores"})
    _write_folder(folder / "classes", [0.5, 1.5], {"name": "classes", "classes": ["a", "b"]})


def _write_folder(folder, score, judgement):
    for shard in "ab":
        rows = []
        for number in range(5):
            row = {"id": f"{shard}{number}", "address": "x", "seconds": 1.5}
            rows.append({**row, "score": score, "error": None})
        rows[0]["score"] = None
        rows[0]["error"] = "damaged"
        write_results(
            folder, Shard(f"/data/{shard}.tar", "1", shard), {"model": "x"}, rows, has_lists=isinstance(score, list)
        )
    counts = {"total": 10, "scored": 8, "shards": 2}
    record = {"run": {"model": "x"}, "failures": {}, "judgement": judgement, **counts}
    (folder / RECORD).write_text(json.dumps(record))


def _embeddings_in(folder):
    return next(path for path in folder.iterdir() if path.suffix in (".npy", ".parquet"))


def _read(folder):
    """Read embeddings; each must have as many finite numbers as the others."""
    embeddings = dict(Embeddings().read(_embeddings_in(folder)))
    for row in embeddings.values():
        assert row.ndim == 1
        assert np.isfinite(row).all()
    assert len({len(row) for row in embeddings.values()}) <= 1
    return len(embeddings)


def _evaluate(folder):
    fixed = folder / FIXED
    files = (_embeddings_in(folder), fixed / "e.npy")
    command = ("evaluate", "generic", fixed / "c.tsv", "--keys", fixed / "key.csv", "--phase", "eval")
    return nes2net(*command, "--resamples", 5, "--reference", *files)


def _join(folder):
    out = folder.parent / "joined.tsv"
    try:
        finished = to_score_file(folder, out)
        assert finished.done == sum(done.scored for done in finished_shards(folder).values())
        return finished.done
    finally:
        for path in folder.parent.glob("joined.tsv*"):
            path.unlink()


def _read_dictionary(folder):
    return len(read_npy_dictionary(folder / "labels.npy"))


def _find_finished(folder):
    return len(finished_shards(folder))


_READERS = {"read": _read, "evaluate": _evaluate, "dictionary": _read_dictionary}
_ATTEMPTS = {"dictionary": ("dictionary",), **dict.fromkeys(_EMBEDDINGS, ("read", "evaluate"))}
ARRAYS = {"array": Boundary(_make_arrays, _READERS, _ATTEMPTS)}
ARRAYS["results"] = Boundary(_make_results, {"join": _join, "resume": _find_finished})
