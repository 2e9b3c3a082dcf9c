"""Embeddings (.npy with its list of ids, Parquet) and results of `nes2net scale`."""

from __future__ import annotations

import json
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builders.files import write, write_json
from builders.hostile import Case
from builders.hostile.making import maker, pipe
from nes2net.apps.scale.results import to_score_file
from nes2net.scoring.embeddings import Embeddings

IDS = [f"t{number}" for number in range(60)]
ROWS = np.random.default_rng(0).normal(size=(60, 4)).astype("<f4")
CASES = []
_NO_ARRAY = r"e\.npy is not a file of embeddings or is damaged \(.*\); copy it and its list again, or embed again"
_NO_TABLE = r"e\.parquet is not a file of embeddings or is damaged \("
_NO_RESULT = r"a\.parquet is not a result of `nes2net scale` or is damaged \(.*\); remove it, and run the same"


def _read_embeddings(path):
    return len(list(Embeddings().read(path)))


def _join(folder):
    return to_score_file(folder, folder / "scores.txt").done


# Arrays


@maker
def _array(folder, array, ids):
    """Write an array, or bytes in its place, and the list of its ids."""
    path = folder / "e.npy"
    if isinstance(array, bytes):
        path.write_bytes(array)
    else:
        np.save(path, array, allow_pickle=True)
    write(folder / "e.npy.csv", ["id", *ids])
    return path


def _add_array(name, array, says=_NO_ARRAY, ids=IDS):
    CASES.append(Case(f"array: {name}", _array(array, ids), _read_embeddings, says))


def _npy(header, num_bytes=960):
    """Make the bytes of a .npy file with any header."""
    length = struct.pack("<H", len(header))
    return b"\x93NUMPY\1\0" + length + header.encode() + bytes(num_bytes)


def _header(shape, descr="'<f4'"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


def _with_nan():
    rows = ROWS.copy()
    rows[7, 2] = np.nan
    return rows


@maker
def _without_list(folder):
    path = folder / "e.npy"
    np.save(path, ROWS)
    return path


_add_array("as it should be", ROWS, None)
_add_array("float64 in another order", np.asfortranarray(ROWS.astype(">f8")), None)
_add_array("objects", np.array([{}] * 60, dtype=object))
_add_array("rows that are not there", _npy(_header("(1000000000000000, 4)")))
_add_array("a negative shape", _npy(_header("(-60, 4)")))
_add_array("cut", _npy(_header("(60, 4)"), 200))
_add_array("a call as header", _npy("print(1)"))
_add_array("a deep header", _npy("{'descr': " + "-" * 9000 + "1}"))
_add_array("a type of many numbers", _npy(_header("(60, 4)", "('<f4', (1000000000,))")))
_add_array("three dimensions", ROWS[:, None])
_add_array("complex numbers", ROWS.astype(complex))
_add_array("NaN", _with_nan(), "row 7 .*finite numbers")
_add_array("a pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer")
_add_array("an id too many", ROWS, "61 ids for 60 rows", [*IDS, "x"])
_add_array("an id twice", ROWS, "row 59 has an empty or repeated id", [*IDS[:59], "t0"])
_add_array("a long id", ROWS, "field larger than field limit", ["x" * 200_000, *IDS[1:]])
_add_array("an open quotation mark", ROWS, "2 ids for 60 rows", ["a", '"b', *IDS[2:]])
CASES.append(Case("array: a pipe", pipe("e.npy"), _read_embeddings, _NO_ARRAY))
CASES.append(Case("array: no list", _without_list(), _read_embeddings, "its list is missing"))


# Tables


@maker
def _table(folder, **columns):
    """Write a Parquet file of embeddings; None removes a column."""
    path = folder / "e.parquet"
    pq.write_table(_table_of({"id": IDS, "embedding": ROWS.tolist(), **columns}), path)
    return path


def _table_of(columns):
    return pa.table({name: column for name, column in columns.items() if column is not None})


def _equal_rows(folder):
    """Write 320 MB of numbers in a small file."""
    path = folder / "e.parquet"
    ids = [f"t{number}" for number in range(20_000)]
    rows = pa.chunked_array([pa.array([[1.0] * 2000] * 100)] * 200)  # the chunks are one in memory
    pq.write_table(pa.table({"id": ids, "embedding": rows}), path)
    return path


def _add_table(name, says=_NO_TABLE, **columns):
    CASES.append(Case(f"table: {name}", _table(**columns), _read_embeddings, says))


_add_table("as it should be", None)
_add_table("without ids", "id.* does not exist", id=None)
_add_table("texts", embedding=["a"] * 60)
_add_table("nested lists", embedding=[[[1.0] * 4]] * 60)
_add_table("infinity", embedding=[*ROWS.tolist()[:59], [1.0, float("inf"), 1.0, 1.0]])
_add_table("an id of null", "row 59 has an empty or repeated id", id=[*IDS[:59], None])
_add_table("an id twice", "row 59 has an empty or repeated id", id=[*IDS[:59], "t0"])
CASES.append(Case("table: 20,000 equal rows", _equal_rows, _read_embeddings, "refused to save memory and time"))
CASES.append(Case("table: a pipe", pipe("e.parquet"), _read_embeddings, _NO_TABLE))


# Results


class _Results:
    """The folder of results of one shard: its record, and the facts and columns of its Parquet file."""

    def __init__(self):
        self.record = {"run": {"model": "x"}, "total": 2, "scored": 1, "failures": {}}
        self.facts = {"shard": "a", "run": {}, "stamp": "b", "rows": 2, "scored": 1, "seconds": 1.0}
        self.columns = {"id": ["u1", "u2"], "score": [0.5, None], "error": [None, "bad"]}
        self.further_facts = {}

    def write(self, folder):
        """Write the folder; a column of None is left out."""
        write_json(folder / "scale.json", self.record)
        facts = {"nes2net": json.dumps(self.facts), **self.further_facts}
        table = _table_of(self.columns).replace_schema_metadata(facts)
        pq.write_table(table, folder / "a.parquet")
        return folder


def _add_results(name, says, change):
    results = _Results()
    change(results)
    CASES.append(Case(f"results: {name}", results.write, _join, says))


def _add_column(name, column, values, says=_NO_RESULT):
    _add_results(name, says, lambda results: results.columns.update({column: values}))


def _add_metadata(results):
    """Add 7 MB of metadata."""
    results.further_facts = {f"key{number}": "x" for number in range(300_000)}


_add_results("as it should be", None, str)
_add_results("7 MB of metadata", "refused to save memory and time", _add_metadata)
_add_column("an id of null", "id", ["u1", None])
_add_column("an id that no score file can have", "id", ["a b", "c"], "the id 'a b'")
_add_column("a score of NaN", "score", [float("nan"), None])
_add_column("scores of texts", "score", ["x", None])
_add_column("scores of lists", "score", [[1.0, 2.0], None])
_add_column("no ids", "id", None)
_add_results("facts that are a list", _NO_RESULT, lambda results: setattr(results, "facts", []))
_add_results("endless seconds", _NO_RESULT, lambda results: results.facts.update(seconds=1.7e308))
_add_results("an unknown judgement", "judgement", lambda results: results.record.update(judgement={"name": "x"}))
