"""Write and read the folder of results: a Parquet file for each shard, and a record of the run.

:func:`to_score_file` joins the results into a score file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter

from nes2net.apps.scale.libraries import library
from nes2net.apps.scale.reading import Row
from nes2net.apps.scale.sources import Shard
from nes2net.data.audio.tables import open_rows
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError, expecting
from nes2net.lib.files import check_no_device, is_absent, json_text, replacing, sha256_of, write_text, writing
from nes2net.lib.plain_data import Natural, Seconds, read_json_as, validated_json
from nes2net.scoring.engine import Finished
from nes2net.scoring.judgement import Judgement, as_judgement
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
    rows: Natural
    """Number of recordings."""
    scored: Natural
    """Number of recordings with a score."""
    seconds: Seconds
    """Total duration in seconds of the recordings that could be read."""


class _Result(BaseModel):
    """The columns of a recording's results from which a score file is made."""

    model_config = ConfigDict(strict=True)

    id: str
    score: FiniteFloat | list[FiniteFloat] | None
    error: str | None


_RESULTS = TypeAdapter(list[_Result])
_reading = partial(expecting, "a result of `nes2net scale`", remedy="remove it, and run the same `nes2net scale` again")


def read_record(out: Path) -> WholeRecord | None:
    """Read the record of the run in ``out``; None if there is no record.

    Raises:
        InputError: if the record is damaged.
    """
    path = out / RECORD
    if is_absent(path):
        return None
    return read_json_as(
        WholeRecord,
        path,
        _LARGEST_RECORD,
        "a record of `nes2net scale`",
        "pass `overwrite=True`, or name another folder",
    )


def write_record(out: Path, content: dict[str, Any]) -> None:
    """Write the record of the run into ``out``."""
    write_text(out / RECORD, json_text(content, indent=1))


def result_path(out: Path, shard: Shard) -> Path:
    """Return the path for the results of ``shard``: the name of the shard, and a digest of its address."""
    stem = re.sub(r"[^\w.-]+", "-", PurePosixPath(shard.name or shard.address).stem)[-80:].lstrip(".-") or "shard"
    return out / f"{stem}-{hashlib.sha256(shard.address.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}.parquet"


def judgement_of_recordings(judgement: Any) -> Judgement[Any]:
    """Build a judgement as :func:`as_judgement`; raise :class:`InputError` if a collection cannot have its results."""
    built = as_judgement(judgement)
    if not built.of_recordings:
        raise InputError(f"a collection has no {built.what}: make these with `nes2net score` or `nes2net embed`")
    return built


def finished_shards(out: Path) -> dict[Path, ShardScores]:
    """Find the finished shards in ``out``; return path of the results → facts about the shard. Skip damaged files."""
    files = {}
    for path in out.glob("*.parquet"):
        with suppress(InputError):
            files[path] = _facts_of(path)
    return files


def _facts_of(path: Path) -> ShardScores:
    with _reading(path):
        if not path.is_file():  # opening a pipe would wait for ever
            raise ValueError("it is not a regular file")
        return validated_json(ShardScores, open_rows(path)[0].schema.metadata[_KEY])


def table_of(rows: Sequence[Row], *, has_lists: bool = False) -> Any:
    """Make a :class:`pyarrow.Table` of ``rows``; a value that a row lacks is null.

    The columns of the shard stand between ``address`` and ``seconds``.

    Args:
        has_lists: whether a score is a list of numbers, such as logits of classes. This matters
            only if no row has a score.
    """
    arrow = library("pyarrow")
    scores = [row["score"] for row in rows if row["score"] is not None]
    if scores:
        has_lists = isinstance(scores[0], list)
    score_type = arrow.list_(arrow.float64()) if has_lists else arrow.float64()
    types = {"id": arrow.string(), "address": arrow.string(), "error": arrow.string(), "seconds": arrow.float64()}
    types["score"] = score_type
    described = dict.fromkeys(name for row in rows for name in row if name not in RESULT_COLUMNS)
    columns = {}
    for name in (*RESULT_COLUMNS[:2], *described, *RESULT_COLUMNS[2:]):
        columns[name] = arrow.array([row.get(name) for row in rows], types.get(name))
    return arrow.table(columns)


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


def read_results(out: Path, judgement: Judgement[Any]) -> Iterator[tuple[ShardScores, list[_Result]]]:
    """Read the results in ``out`` shard by shard; the shards are sorted by address.

    Yields:
        The facts about a shard, and its rows, whose scores are values of the ``judgement``.

    Raises:
        InputError: if a file is damaged; no file is skipped.
    """
    facts = {path: _facts_of(path) for path in out.glob("*.parquet")}
    for path, done in sorted(facts.items(), key=lambda item: item[1].shard):
        rows = []
        with _reading(path):
            table, budget = open_rows(path)
            for batch in table.batches(["id", "score", "error"], budget):
                rows += _RESULTS.validate_python(batch.to_pylist())
            scored = [row for row in rows if row.score is not None]
            if (len(rows), len(scored)) != (done.rows, done.scored):
                raise ValueError("its metadata state other numbers of rows and scores")
            for row in scored:
                row.score = judgement.from_json(row.score)
        yield done, rows


def to_score_file(out: str | Path, path: str | Path) -> Finished:
    """Join the results in the folder ``out`` into one file in the format of their judgement, and write its record.

    The record is ``{path}.json``. Recordings are sorted by the address of their shard, and keep
    their order within a shard. Recordings without a score are left out of the file; the record has
    the reasons for the first ten thousand of these recordings, and for all shards without results.

    Raises:
        InputError: if ``out`` has no scores, a damaged file, or other files than its record says;
            if two recordings have the same id, if an id cannot stand in a score file, or if the
            file cannot be written.
    """
    out = Path(out)
    path = Path(path)
    record = read_record(out)
    if record is None:
        raise InputError(f"{out} is not a folder of results: `nes2net scale` makes one")
    judgement = judgement_of_recordings(record.judgement or "scores")
    # Read the results while the score file is written.
    failures = {}
    shard_of: dict[str, str] = {}

    def scored_trials() -> Iterator[tuple[Trial, Any]]:
        """Yield the recordings with a score; collect in ``failures`` why the other recordings have no score."""
        for done, rows in read_results(out, judgement):
            judgement.check([Trial(row.id) for row in rows], path)
            for row in rows:
                if row.id in shard_of:
                    raise InputError(
                        f"two recordings have the id '{row.id}', in {shard_of[row.id]} and {done.shard}: a score file has one "
                        "line per id"
                    )
                shard_of[row.id] = done.shard
                if row.score is None:
                    failures[row.id] = row.error or "it has no score"
                else:
                    yield Trial(row.id), row.score

    # Write the score file, then its record.
    check_no_device(record_path(path))
    with writing(path), replacing(path, durable=True) as temporary:
        judgement.write([temporary], 0, scored_trials())  # `count` is 0, because judgements of recordings do not use it
        result = Finished(path, len(shard_of), failures, what=judgement.what)
        if record.total != result.total and record.model_fields_set & {"total", "shards"}:
            raise InputError(
                f"{out / RECORD} does not count the results beside it: shards are missing or were added, or the run is not "
                "finished; run the same `nes2net scale` again"
            )
        if not result.done:
            raise InputError(f"{out} has no scores: nothing is written to {path}")
        facts = {"total": result.total, "scored": result.done, "sha256": sha256_of(temporary)}
    facts |= {"failures": dict(islice(failures.items(), _MOST_FAILURES)), "unread_shards": record.failures}
    write_text(result.record_path, json_text(record.model_dump() | facts, indent=1))
    return result
