"""The folder of results: a Parquet file for each shard, a record of the run, and a score file of them all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from nes2net.apps.scale.libraries import library
from nes2net.apps.scale.sources import Shard
from nes2net.data.audio.tables import ParquetTable
from nes2net.lib.errors import InputError, first_line
from nes2net.lib.files import Budget, check_no_device, json_text, read_bounded, replacing, write_text, writing
from nes2net.lib.plain_data import parsed_json, read_json_as, validated_json
from nes2net.scoring import score_file

#: Name of the record in the folder.
RECORD = "scale.json"
_KEY = b"nes2net"
_LARGEST_RECORD = 256 << 20  # bytes; a reason for each shard that could not be read is in it
# Reasons of missing scores that the record of a score file keeps; the results have them all.
_MOST_FAILURES = 10_000


class Finished(BaseModel):
    """What the file of a shard's results says of itself."""

    model_config = ConfigDict(frozen=True, strict=True)

    shard: str
    """Address of the shard."""
    stamp: str
    """Its stamp when it was listed."""
    rows: int
    """Its recordings."""
    scored: int
    """Recordings with a score."""
    seconds: float
    """Total length of the recordings that could be read."""


class CollectionRecord(BaseModel):
    """The facts of a record that a later run reads."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    run: dict[str, str | int | float | bool | None]
    """Equal for two runs if and only if their scores may be mixed."""
    asked: dict[str, str | int | float | bool | None] = {}
    """The detector and settings as they were given."""
    unread: dict[str, str] = {}
    """Reasons why shards could not be read, by their addresses."""


class Totals(NamedTuple):
    """What is in a score file of a collection."""

    path: Path
    scored: int
    without_score: int


def read_record(out: Path) -> CollectionRecord | None:
    """The record in ``out``; None without a record.

    Raises:
        InputError: if it is damaged.
    """
    path = out / RECORD
    if not path.exists():
        return None
    remedy = "pass `overwrite=True`, or name another folder"
    return read_json_as(CollectionRecord, path, _LARGEST_RECORD, "a record of `nes2net scale`", remedy)


def write_record(out: Path, content: dict[str, Any]) -> None:
    write_text(out / RECORD, json_text(content, indent=1))


def result_path(out: Path, shard: Shard) -> Path:
    """The file of the results of ``shard``: its name, and a digest of its address."""
    stem = re.sub(r"[^\w.-]+", "-", PurePosixPath(shard.name or shard.address).stem)[-80:].lstrip(".-") or "shard"
    return out / f"{stem}-{hashlib.sha256(shard.address.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}.parquet"


def finished(path: Path) -> Finished | None:
    """The facts in a file of results; None if there is no file, or it is damaged and has to be made again."""
    if not path.is_file():
        return None
    try:
        metadata = library("pyarrow.parquet").read_schema(path).metadata or {}
        return validated_json(Finished, metadata[_KEY])
    except (OSError, ValueError, KeyError):
        return None


def write_results(out: Path, shard: Shard, tables: Sequence[Any]) -> Finished:
    """Write the results of ``shard``, the tables of its pieces, whole or not at all.

    Raises:
        InputError: if the file cannot be written.
    """
    arrow, parquet = library("pyarrow"), library("pyarrow.parquet")
    compute = library("pyarrow.compute")
    table = arrow.concat_tables(tables, promote_options="permissive")
    done = Finished(
        shard=shard.address,
        stamp=shard.stamp,
        rows=table.num_rows,
        scored=table.num_rows - table.column("score").null_count,
        seconds=float(compute.sum(table.column("seconds")).as_py() or 0.0),
    )
    path = result_path(out, shard)
    with writing(path, "make room, and the same command goes on"), replacing(path, durable=True) as temporary:
        parquet.write_table(table.replace_schema_metadata({_KEY: done.model_dump_json()}), temporary)
    return done


def results(out: Path) -> Iterator[tuple[Finished, Any]]:
    """What is finished in ``out``: shard by shard, sorted by address, with its table."""
    found = [(done, path) for path in out.glob("*.parquet") if (done := finished(path)) is not None]
    for done, path in sorted(found, key=lambda pair: pair[0].shard):
        try:
            size = path.stat().st_size
            budget = Budget.of(str(path), size, "remove it, and score its shard again")
            budget.most_steps = max(budget.most_steps, size)  # a row is an id and a score
            table = ParquetTable(path, budget)
            batches = table.batches(table.schema.names, budget)
            yield done, library("pyarrow").Table.from_batches(batches, table.schema)
        except InputError:
            raise
        except Exception as error:  # a damaged file can cause any
            raise InputError(
                f"{path} is damaged ({first_line(error)}): remove it, and score its shard again"
            ) from error


def to_score_file(out: str | Path, path: str | Path) -> Totals:
    """Write the scores in the folder ``out`` as a score file, with the record ``{path}.json`` beside it.

    Recordings are sorted by the shards' addresses, and within a shard keep its order. Recordings
    without a score are left out; the record has the reasons of the first ten thousand.

    Raises:
        InputError: if ``out`` has no scores, two recordings have the same id, a score file cannot hold
            an id, or the file cannot be written.
    """
    out, path = Path(out), Path(path)
    record = read_record(out)
    if record is None:
        raise InputError(f"{out} is not a folder of results: `nes2net scale` makes one")
    for target in (path, beside := path.with_name(f"{path.name}.json")):
        check_no_device(target)
    failures: dict[str, str] = {}
    shard_of: dict[str, str] = {}
    scored = without = 0
    digest = hashlib.sha256()
    with writing(path), replacing(path, durable=True) as temporary, open(temporary, "wb") as file:
        for done, table in results(out):
            ids, scores, errors = (table.column(name).to_pylist() for name in ("id", "score", "error"))
            score_file.check_ids(ids)
            for id, score, error in zip(ids, scores, errors, strict=True):
                if id in shard_of:
                    raise InputError(
                        f"two recordings have the id '{id}', in {shard_of[id]} and {done.shard}: a score file has one line "
                        "per id"
                    )
                shard_of[id] = done.shard
                if score is None:
                    without += 1
                    if len(failures) < _MOST_FAILURES:
                        failures[id] = error or "it has no score"
                    continue
                line = score_file.line(id, score).encode()
                digest.update(line)
                file.write(line)
                scored += 1
        if not scored:
            raise InputError(f"{out} has no scores: nothing is written to {path}")
    whole = parsed_json(read_bounded(out / RECORD, _LARGEST_RECORD), str(out / RECORD))
    whole |= {"failures": failures, "total": scored + without, "scored": scored, "sha256": digest.hexdigest()}
    write_text(beside, json_text(whole, indent=1))
    return Totals(path, scored, without)
