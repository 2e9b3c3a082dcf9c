"""Write and read the folder of results: a Parquet file for each shard, and a record of the run.

:func:`to_score_file` joins the results into a score file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict

from nes2net.apps.scale.libraries import library
from nes2net.apps.scale.reading import Row
from nes2net.apps.scale.sources import Shard
from nes2net.data.audio.tables import ParquetTable
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError, first_line
from nes2net.lib.files import Budget, check_no_device, is_absent, json_text, replacing, sha256_of, write_text, writing
from nes2net.lib.plain_data import read_json_as, validated_json
from nes2net.scoring.engine import Finished
from nes2net.scoring.judgement import as_judgement
from nes2net.scoring.record import WholeRecord, record_path

#: Name of the file with the record of the run.
RECORD = "scale.json"
#: Columns of the results that do not come from the shards.
RESULT_COLUMNS = ("id", "address", "seconds", "score", "error")
_KEY = b"nes2net"  # key of the facts about a shard in the metadata of its file
_LARGEST_RECORD = 256 << 20  # largest number of bytes of a record, which has a reason for each unread shard
# The record of a score file has at most this many reasons for missing scores. The Parquet files have all reasons.
_MOST_FAILURES = 10_000


class ShardScores(BaseModel):
    """Facts about the results of a shard, which are stored in the metadata of the shard's Parquet file."""

    model_config = ConfigDict(frozen=True, strict=True)

    shard: str
    """Address of the shard."""
    stamp: str
    """Stamp of the shard when it was listed, see :class:`nes2net.apps.scale.sources.Shard`."""
    rows: int
    """Number of recordings."""
    scored: int
    """Number of recordings with a score."""
    seconds: float
    """Total duration in seconds of the recordings that could be read."""


def read_record(out: Path) -> WholeRecord | None:
    """Read the record of the run in ``out``; None if there is no record.

    Raises:
        InputError: if the record is damaged.
    """
    path = out / RECORD
    if is_absent(path):
        return None
    remedy = "pass `overwrite=True`, or name another folder"
    return read_json_as(WholeRecord, path, _LARGEST_RECORD, "a record of `nes2net scale`", remedy)


def write_record(out: Path, content: dict[str, Any]) -> None:
    """Write the record of the run into ``out``."""
    write_text(out / RECORD, json_text(content, indent=1))


def result_path(out: Path, shard: Shard) -> Path:
    """Return the path for the results of ``shard``: the name of the shard, and a digest of its address."""
    stem = re.sub(r"[^\w.-]+", "-", PurePosixPath(shard.name or shard.address).stem)[-80:].lstrip(".-") or "shard"
    return out / f"{stem}-{hashlib.sha256(shard.address.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}.parquet"


def finished_shards(out: Path) -> dict[Path, ShardScores]:
    """Find the finished shards in ``out``; return path of the results → facts about the shard. Skip damaged files."""
    files: dict[Path, ShardScores] = {}
    for path in filter(Path.is_file, out.glob("*.parquet")):  # opening a pipe would wait for ever
        with suppress(OSError, ValueError, KeyError):
            metadata = library("pyarrow.parquet").read_schema(path).metadata or {}
            files[path] = validated_json(ShardScores, metadata[_KEY])
    return files


def table_of(
    rows: Sequence[Row], columns: Sequence[str] = RESULT_COLUMNS, beside: Any = None, *, has_lists: bool = False
) -> Any:
    """Make a :class:`pyarrow.Table` of ``rows``; a value that a row lacks is null.

    Args:
        columns: names of columns that the table has even without a value. All other columns of the
            rows stand between the second and the third of these columns.
        beside: a table with further columns of the recordings in ``rows``; these columns come
            first.
        has_lists: whether a score is a list of numbers, such as logits of classes. ``has_lists``
            matters only if no row has a score.
    """
    arrow = library("pyarrow")
    kinds = {name: arrow.string() for name in ("id", "address", "suffix", "error")}
    kinds |= {"content": arrow.large_binary(), "seconds": arrow.float64(), "score": arrow.float64()}
    scores = [row["score"] for row in rows if row.get("score") is not None]
    if scores:
        has_lists = isinstance(scores[0], list)
    if has_lists:
        kinds["score"] = arrow.list_(arrow.float64())
    described = dict.fromkeys(name for row in rows for name in row if name not in columns)
    table = {} if beside is None else dict(zip(beside.column_names, beside.columns))
    for name in (*columns[:2], *described, *columns[2:]):
        table[name] = arrow.array([row.get(name) for row in rows], kinds.get(name))
    return arrow.table(table)


def write_results(out: Path, shard: Shard, rows: Sequence[Row], *, has_lists: bool = False) -> ShardScores:
    """Write the results of ``shard`` atomically, and return the facts about them.

    The content of the file is flushed to the disk now; the name of the file in the folder is
    flushed only with the next record. If the power fails in between, the results of the shard may
    be missing, and the next call scores the shard again.

    Args:
        has_lists: as for :func:`table_of`.

    Raises:
        InputError: if the file cannot be written.
    """
    done = ShardScores(
        shard=shard.address,
        stamp=shard.stamp,
        rows=len(rows),
        scored=sum(row["score"] is not None for row in rows),
        seconds=sum(row["seconds"] or 0.0 for row in rows),
    )
    path = result_path(out, shard)
    table = table_of(rows, has_lists=has_lists).replace_schema_metadata({_KEY: done.model_dump_json()})
    written = writing(path, "make room, and the same command resumes")
    with written, replacing(path, durable=True, in_series=True) as temporary:
        library("pyarrow.parquet").write_table(table, temporary)
    return done


def read_results(out: Path) -> Iterator[tuple[ShardScores, list[Row]]]:
    """Read the results in ``out`` shard by shard; the shards are sorted by address.

    Yields:
        The facts about a shard, and its rows with id, score and error.
    """
    for path, done in sorted(finished_shards(out).items(), key=lambda item: item[1].shard):
        try:
            size = path.stat().st_size
            budget = Budget.of(str(path), size, "remove it, and score its shard again")
            budget.most_steps = max(budget.most_steps, size)  # one step reads one row, which may take only a byte
            batches = ParquetTable(path, budget).batches(["id", "score", "error"], budget)
            yield done, [row for batch in batches for row in batch.to_pylist()]
        except InputError:
            raise
        except Exception as error:  # a damaged file may cause any error
            raise InputError(
                f"{path} is damaged ({first_line(error)}): remove it, and score its shard again"
            ) from error


def to_score_file(out: str | Path, path: str | Path) -> Finished:
    """Join the results in the folder ``out`` into one file in the format of their judgement, and write its record.

    The record is ``{path}.json``. Recordings are sorted by the address of their shard, and keep
    their order within a shard. Recordings without a score are left out of the file; the record has
    the reasons for the first ten thousand of these recordings.

    Raises:
        InputError: if ``out`` has no scores, if two recordings have the same id, if an id cannot
            stand in a score file, or if the file cannot be written.
    """
    out = Path(out)
    path = Path(path)
    record = read_record(out)
    if record is None:
        raise InputError(f"{out} is not a folder of results: `nes2net scale` makes one")
    judgement = as_judgement(record.judgement or "scores")
    # Read the results while the score file is written.
    failures: dict[str, str] = {}
    shard_of: dict[str, str] = {}

    def scored_trials() -> Iterator[tuple[Trial, Any]]:
        """Yield the recordings with a score; collect in ``failures`` why the other recordings have no score."""
        for done, rows in read_results(out):
            judgement.check([Trial(row["id"]) for row in rows], path)
            for row in rows:
                id = row["id"]
                if id in shard_of:
                    raise InputError(
                        f"two recordings have the id '{id}', in {shard_of[id]} and {done.shard}: a score file has one "
                        "line per id"
                    )
                shard_of[id] = done.shard
                if row["score"] is None:
                    failures[id] = row["error"] or "it has no score"
                else:
                    yield Trial(id), judgement.from_json(row["score"])

    # Write the score file, then its record.
    check_no_device(record_path(path))
    with writing(path), replacing(path, durable=True) as temporary:
        judgement.write([temporary], 0, scored_trials())  # `count` is 0, because judgements of recordings do not use it
        result = Finished(path, len(shard_of), failures, what=judgement.what)
        if not result.done:
            raise InputError(f"{out} has no scores: nothing is written to {path}")
        facts = {"total": result.total, "scored": result.done, "sha256": sha256_of(temporary)}
    facts["failures"] = dict(islice(failures.items(), _MOST_FAILURES))
    write_text(result.record_path, json_text(record.model_dump() | facts, indent=1))
    return result
