"""Write and read the folder of results: a Parquet file for each shard, and a record of the run.

:func:`to_score_file` joins the results into a score file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter

from nes2net.apps.scale.libraries import library
from nes2net.apps.scale.reading import Columns
from nes2net.apps.scale.sources import UNKNOWN, Shard
from nes2net.data.audio.tables import open_rows
from nes2net.data.corpora.trial import Trial, Trials
from nes2net.lib.errors import InputError, expecting, join_names, pluralise, refuse
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.claims import Claim
from nes2net.lib.storage.files import (
    AnyPath,
    check_no_device,
    is_absent,
    replacing,
    sha256_of,
    write_json,
    writing,
)
from nes2net.lib.storage.plain_data import Natural, Seconds, read_json_as, validate_json
from nes2net.scoring.engine import Finished
from nes2net.scoring.journal import JournalRow, KeptRows, Reasons
from nes2net.scoring.judgement import AnyJudgement, Judgement, as_judgement
from nes2net.scoring.output import Output
from nes2net.scoring.record import Record, record_path

#: Name of the run in the folder of a collection.
NAME = "scale"
#: Name of the file with the record of the run.
RECORD = f"{NAME}.json"
#: Columns of the results that do not come from the shards.
RESULT_COLUMNS = ("id", "address", "seconds", "score", "error")
_KEY = b"nes2net"  # key of the facts about a shard in the metadata of its file
_MAX_RECORD = 256 << 20  # largest number of bytes of a record, which has a reason for each unread shard
# The record of a score file has at most this many reasons for missing scores. The Parquet files have all reasons.
_MAX_FAILURES = 10_000


class ShardScores(BaseModel):
    """Facts about the results of a shard, stored in the metadata of its Parquet file."""

    model_config = ConfigDict(frozen=True, strict=True)

    shard: str
    run: dict[str, str | int | float | bool | None]
    stamp: str
    """Stamp of the shard when it was listed, see :class:`nes2net.apps.scale.sources.Shard`."""
    rows: Natural
    scored: Natural
    seconds: Seconds
    """Of the recordings that could be read."""


class CollectionRecord(Record):
    """The record of a collection; ``failures`` are address → why the shard has no results."""

    shards: Natural = 0
    scored: Natural = 0
    """``total`` counts the recordings in shards with results."""
    asked: Facts | None = None
    """The arguments of the finished run."""

    @property
    def without_score(self) -> int:
        return (self.total or 0) - self.scored

    @property
    def is_complete(self) -> bool:
        return not self.failures and not self.without_score


class _Result(BaseModel):
    model_config = ConfigDict(strict=True)

    id: str
    score: FiniteFloat | list[FiniteFloat] | None
    error: str | None


_RESULTS = TypeAdapter(list[_Result])
_reading = partial(expecting, "a result of `nes2net scale`", remedy="remove it, and run the same `nes2net scale` again")


def read_record(out: Path) -> CollectionRecord | None:
    """Read the record of the run in ``out``, if there is one.

    Raises:
        InputError: if the record is damaged.
    """
    path = out / RECORD
    if is_absent(path):
        return None
    return read_json_as(
        CollectionRecord,
        path,
        _MAX_RECORD,
        "a record of `nes2net scale`",
        "pass `overwrite=True`, or name another folder",
    )


def result_path(out: Path, shard: Shard) -> Path:
    """Name the file of a shard; a digest tells equal names apart."""
    stem = re.sub(r"[^\w.-]+", "-", PurePosixPath(shard.name or shard.address).stem)[-80:].lstrip(".-") or "shard"
    # Under another name, results of earlier runs would not be found.
    return out / f"{stem}-{hashlib.sha256(shard.address.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}.parquet"


def judgement_of_recordings(judgement: AnyJudgement[Any]) -> Judgement[Any]:
    """Build a judgement; raise :class:`InputError` if a collection cannot have its results."""
    built = as_judgement(judgement)
    if not built.of_recordings:
        raise InputError(
            f"a collection cannot have {built.what}, only results of whole recordings: make these with `nes2net score` or "
            "`nes2net embed`"
        )
    return built


def finished_shards(out: Path) -> dict[Path, ShardScores]:
    """Map paths of results to facts about shards; skip damaged files."""
    files = {}
    for path in out.glob("*.parquet"):
        with suppress(InputError):
            files[path] = _read_facts(path)
    return files


class Results(Output[ShardScores]):
    """A run in which each shard is a trial, whose Parquet file keeps the row.

    Args:
        overwrite: whether results of shards that the source does not have may be removed.
        retry_errors: whether a shard is unfinished if some of its recordings have no score.
    """

    doing = "scoring"
    done = "scored"
    what = "results"
    unit = "shard"

    def __init__(self, folder: Path, shards: Iterable[Shard], *, overwrite: bool, retry_errors: bool) -> None:
        self.folder = folder
        self.shards = {shard.address: shard for shard in shards}
        self.overwrite = overwrite
        self.finished = finished_shards(folder)
        if retry_errors:
            self.finished = {path: done for path, done in self.finished.items() if done.scored == done.rows}

    def files(self, out: Path) -> list[Path]:
        """The results stay in the files of the shards."""
        return []

    def check(self, trials: Trials, out: Path) -> None:
        """Raise :class:`InputError` if there are results of shards that the source lacks."""
        foreign = sorted(done.shard for done in self.finished.values() if done.shard not in self.shards)
        if foreign and not self.overwrite:
            raise InputError(
                f"{self.folder} has results of {pluralise(foreign, 'shard')} that the source does not have: "
                f"{join_names(foreign)}: pass `overwrite=True` to remove them, or name another folder"
            )

    def stamp(self, trial: Trial) -> str:
        return self.shards[trial.id].stamp

    def claim(self, out: Path, run: Facts) -> Claim:
        """Compare ``run`` with the run of the first results that another run made."""
        runs = [done.run for done in self.finished.values()]
        earlier = next((other_run for other_run in runs if other_run != run), run)
        return Claim(self.folder, run, earlier)

    @contextmanager
    def open_kept(self, out: Path, without: Container[tuple[str, str]] = ()) -> Iterator[KeptRows[ShardScores]]:
        """Yield facts about finished shards; one without a stamp from the store is unchanged."""
        facts = {done.shard: done for done in self.finished.values()}
        unknown = {address for address, shard in self.shards.items() if shard.stamp == UNKNOWN}
        stamps = {address: UNKNOWN if address in unknown else done.stamp for address, done in facts.items()}
        yield KeptRows(stamps, {}, facts.__getitem__)

    def keeper(self, out: Path, run: Facts, rank: int = 0) -> AbstractContextManager[Results]:
        """Open nothing: :func:`write_results` has written the rows already."""
        return nullcontext(self)

    def add(self, rows: Mapping[str, JournalRow[ShardScores]], failures: Reasons | None = None) -> None:
        """Note the shards whose files are written, by address."""
        for id, row in rows.items():
            self.finished[result_path(self.folder, self.shards[id])] = row.value

    def forget(self, out: Path) -> None:
        self.keep_only(())

    def keep_only(self, addresses: Container[str]) -> None:
        """Remove the results of all shards but these."""
        for path, done in list(self.finished.items()):
            if done.shard not in addresses:
                path.unlink()
                del self.finished[path]

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, ShardScores]]) -> Facts:
        """Return the numbers for the record; the files of the shards are written already."""
        results = [done for _, done in rows]
        total = sum(done.rows for done in results)
        return {"shards": len(self.shards), "total": total, "scored": sum(done.scored for done in results)}


def _read_facts(path: Path) -> ShardScores:
    with _reading(path):
        if not path.is_file():  # opening a pipe would wait for ever
            raise ValueError("it is not a regular file")
        return validate_json(ShardScores, open_rows(path)[0].schema.metadata[_KEY])


def write_results(
    out: Path, shard: Shard, run: Facts, rows: Sequence[Columns], *, has_lists: bool = False
) -> ShardScores:
    """Write the results of ``shard`` atomically, and return the facts about them.

    A missing value is null. The columns of the shard stand between ``address`` and ``seconds``.

    The content is flushed now, the file's name only with the next record; after a power failure in
    between, the next call may have to score the shard again.

    Args:
        has_lists: whether a score is a list of numbers, such as logits of classes.

    Raises:
        InputError: if the file cannot be written.
    """
    done = ShardScores(
        shard=shard.address,
        run=dict(run),
        stamp=shard.stamp,
        rows=len(rows),
        scored=sum(row["score"] is not None for row in rows),
        seconds=sum(row["seconds"] or 0.0 for row in rows),
    )
    arrow = library("pyarrow")
    types = dict.fromkeys(("id", "address", "error"), arrow.string()) | {"seconds": arrow.float64()}
    types["score"] = arrow.list_(arrow.float64()) if has_lists else arrow.float64()
    described = dict.fromkeys(name for row in rows for name in row if name not in RESULT_COLUMNS)
    columns = {}
    for name in (*RESULT_COLUMNS[:2], *described, *RESULT_COLUMNS[2:]):
        columns[name] = arrow.array([row.get(name) for row in rows], types.get(name))
    table = arrow.table(columns).replace_schema_metadata({_KEY: done.model_dump_json()})
    path = result_path(out, shard)
    written = writing(path, "make room, and the same command resumes")
    with written, replacing(path, durable=True, in_series=True) as temporary:
        library("pyarrow.parquet").write_table(table, temporary)
    return done


def read_results(out: Path, judgement: Judgement[Any]) -> Iterator[tuple[ShardScores, list[_Result]]]:
    """Yield the facts about each shard in ``out``, by address, and its rows.

    Raises:
        InputError: if a file is damaged; no file is skipped.
    """
    facts = {path: _read_facts(path) for path in out.glob("*.parquet")}
    for path, done in sorted(facts.items(), key=lambda item: item[1].shard):
        rows = []
        with _reading(path):
            table, budget = open_rows(path)
            for batch in table.batches(["id", "score", "error"], budget):
                rows += _RESULTS.validate_python(batch.to_pylist())
            scored = [row for row in rows if row.score is not None]
            if (len(rows), len(scored)) != (done.rows, done.scored):
                raise ValueError(
                    f"its metadata state {done.rows} rows and {done.scored} scores, not {len(rows)} and {len(scored)}"
                )
            for row in scored:
                row.score = judgement.from_json(row.score)
        yield done, rows


def to_score_file(out: AnyPath, path: AnyPath) -> Finished:
    """Join the results in ``out`` into one file in the format of their judgement, with its record.

    Shards are sorted by address. Recordings without a score are omitted; the record has the reasons
    for the first ten thousand of them, and for all shards without results.

    Raises:
        InputError: if ``out`` has no scores, a damaged file, or other files than its record says;
            if two recordings have the same id, if an id cannot stand in a score file, or if the
            file cannot be written.
    """
    out = Path(out)
    path = Path(path)
    record = read_record(out)
    if record is None:
        raise InputError(f"{out} is not a folder of finished results: run `nes2net scale` with this folder first")
    judgement = judgement_of_recordings(record.judgement or "scores")
    # Read the results while the score file is written.
    failures = {}
    shard_of: dict[str, str] = {}

    def scored_trials() -> Iterator[tuple[Trial, Any]]:
        for done, rows in read_results(out, judgement):
            judgement.check([Trial(row.id) for row in rows], path)
            for row in rows:
                if row.id in shard_of:
                    raise InputError(
                        f"two recordings have the id '{row.id}', in {shard_of[row.id]} and {done.shard}, but a score file has one "
                        "line per id: give them different ids, or read the Parquet files"
                    )
                shard_of[row.id] = done.shard
                if row.score is None:
                    failures[row.id] = row.error or "it has no score"
                else:
                    yield Trial(row.id), row.score

    check_no_device(record_path(path))
    with writing(path), replacing(path, durable=True) as temporary:
        judgement.write([temporary], 0, scored_trials())  # `count` is 0, because judgements of recordings do not use it
        result = Finished(path, len(shard_of), failures, what=judgement.what)
        refuse(
            (
                record.total != result.total,
                f"{out / RECORD} does not count the results beside it: shards are missing or were added; "
                "run the same `nes2net scale` again",
            ),
            (
                not result.done,
                f"{out} has no scores, so nothing is written to {path}: correct what its column error names, and run "
                "the same `nes2net scale` again",
            ),
        )
        facts = {"total": result.total, "scored": result.done, "sha256": sha256_of(temporary)}
    facts |= {"failures": dict(islice(failures.items(), _MAX_FAILURES)), "unread_shards": record.failures}
    write_json(result.record_path, record.model_dump() | facts)
    return result
