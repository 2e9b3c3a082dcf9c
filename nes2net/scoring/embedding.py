"""Embeddings of a corpus, one row per utterance, to a ``.npy`` or ``.parquet`` file.

During the run, the rows are in ``{out}.partial``, an array in which a row that is not computed yet
is NaN. If the run is interrupted, the same command computes only those. The finished file appears
by renaming, and beside it the record ``{out}.json``, as for scores. A ``.npy`` file also has a list
of its rows, ``{out}.csv``.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from nes2net.audio.crop import ASVSPOOF_SAMPLES
from nes2net.corpora.trial import Trial, trials_digest
from nes2net.errors import InputError, MissingLibrary, counted, shown, worded
from nes2net.machine.files import check_no_device, json_text, replacing, sha256_of, write_text, writing
from nes2net.machine.installation import how_to_install
from nes2net.machine.locks import exclusive_lock
from nes2net.machine.plain_data import read_json_as
from nes2net.machine.progress import ProgressDisplay
from nes2net.machine.terminal import printable
from nes2net.scoring.batches import (
    default_batch_size,
    default_workers,
    filled_rows,
    header_length,
    plan_batches,
    read_batches,
)
from nes2net.scoring.journal import stamp
from nes2net.scoring.kernel import scoring_mode, start_embedding
from nes2net.scoring.record import Record, circumstances, plain, run_identity
from nes2net.scoring.scorer import Scorer, depends_on_batch
from nes2net.scoring.waveforms import WaveformReader

#: Kinds of files that hold embeddings.
SUFFIXES = (".npy", ".parquet")
_FLOAT = np.dtype("<f4")
_ROWS_AT_ONCE = 8192  # in memory while the finished file is written
_MAKE_ROOM = "make room, and the same command goes on"


class EmbeddingRecord(Record):
    """The facts of a record of embeddings that a later run reads."""

    embeddings_sha256: str
    """SHA-256 of the finished file."""
    size: int
    """E, the numbers of an embedding."""


@dataclass
class EmbeddingResult:
    """The outcome of :func:`embed_trials`."""

    path: Path
    """The finished file."""
    total: int
    """Number of trials."""
    size: int
    """E, the numbers of an embedding."""
    failures: dict[str, str] = field(default_factory=dict)
    """Reasons by id, for the trials without an embedding."""
    already_complete: bool = False
    """Whether an earlier run had finished the file."""

    @property
    def embedded(self) -> int:
        """Number of rows of the file."""
        return self.total - len(self.failures)

    @property
    def record_path(self) -> Path:
        """The JSON beside the file."""
        return _beside(self.path, ".json")


def embed_trials(
    scorer: Scorer,
    embed: Callable[[Tensor], Tensor],
    trials: Sequence[Trial],
    out: str | Path,
    *,
    what: str,
    num_samples: int | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    on_error: str = "skip",
    overwrite: bool = False,
    about: Mapping[str, Any] | None = None,
) -> EmbeddingResult:
    """Embed ``trials`` into the file ``out``: one row per trial, in order, in float32.

    Utterances share a batch only if they give the detector the same number of samples, so each
    embedding equals the one computed alone, up to the rounding of float32. A trial whose file
    cannot be used has no row.

    A ``.npy`` file is an array N×E, and ``{out}.csv`` names the id and label of each row. A
    ``.parquet`` file has the columns ``id``, ``label`` and ``embedding``, a list of E numbers.

    Args:
        scorer: whose parts ``embed`` computes with, in eval mode.
        embed: embeddings B×E of waveforms B×N.
        what: names what ``embed`` computes; it belongs to what identifies the run.
        num_samples, batch_size, num_workers, on_error, about: as in
            :func:`nes2net.scoring.corpus.score_trials`.
        overwrite: replace what another run made, or a finished file that lacks trials.

    Raises:
        InputError: if ``out`` has another suffix or belongs to another run; if there are no trials,
            or two of one id; if no trial could be embedded; or if a file cannot be written.
        Unfinished: if a process that reads audio was killed or hangs; the rows so far are kept.
    """
    out = Path(out)
    _check(trials, out, on_error)
    if batch_size is not None and batch_size < 1:
        raise InputError(f"`batch_size` is at least 1, not {batch_size}")
    batch_size = default_batch_size(scorer.computes_on) if batch_size is None else batch_size
    workers = default_workers(scorer.computes_on) if num_workers is None else num_workers
    if depends_on_batch(scorer):  # each utterance alone
        batch_size = 1
    reader, about = WaveformReader.of(scorer, num_samples), plain(about or {})
    run = {
        **run_identity(scorer, trials, num_samples, False, False),
        "embedding": what,
        "audio": trials_digest(trials, lambda trial: stamp(trial.path)),
    }
    refusal = f"another run is writing {out}: wait for it, or name another file"
    with scoring_mode(scorer), exclusive_lock(out.with_name(f".{out.name}.lock"), refusal):
        if out.exists() and (finished := _finished(out, trials, run, overwrite)):
            return finished
        began, rows = time.monotonic(), _Rows(out, len(trials), run, overwrite)
        failures = _fill(scorer, embed, trials, rows, reader, batch_size, workers, on_error)
        embeddings = rows.finished(failures)
        result = EmbeddingResult(out, len(trials), embeddings.shape[1], failures)
        record = {
            "run": run,
            "total": result.total,
            "embedded": result.embedded,
            "size": result.size,
            "failures": failures,
            **about,
            "embedded_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "architecture": plain(scorer.config),
            **circumstances(scorer, batch_size, 1),
            "seconds": round(time.monotonic() - began, 3),
        }
        _write(result, trials, embeddings, record)
        rows.remove()
        return result


def _check(trials: Sequence[Trial], out: Path, on_error: str) -> None:
    """Check what :func:`embed_trials` is given, before hours are spent."""
    if on_error not in ("skip", "raise"):
        raise InputError(f"`on_error` is 'skip' or 'raise', not {on_error!r}")
    if out.suffix not in SUFFIXES:
        raise InputError(f"{out}: embeddings go to a file that ends in {' or '.join(SUFFIXES)}: name another `out`")
    if out.suffix == ".parquet":
        _pyarrow()
    if out.is_dir():
        raise InputError(f"{out} is a folder: name a file in it for the embeddings")
    for suffix in ("", ".json", ".csv", ".partial"):
        check_no_device(_beside(out, suffix))
    if not trials:
        raise InputError("there are no trials to embed: the list is empty")
    seen: set[str] = set()
    for trial in trials:
        if trial.id in seen:
            raise InputError(f"two trials have the id {shown(trial.id)}: name each trial once")
        seen.add(trial.id)


def _finished(out: Path, trials: Sequence[Trial], run: dict[str, Any], overwrite: bool) -> EmbeddingResult | None:
    """The result of the run that finished ``out``; None if it is to be replaced.

    Raises:
        InputError: if another run made ``out``, or it was changed since.
    """
    path, remedy = _beside(out, ".json"), "pass `overwrite=True` to embed anew, or name another file"
    most = (16 << 20) + 16_000 * len(trials)
    try:
        if not path.exists():
            raise InputError(f"{out} exists, and no record of an earlier run is beside it: {remedy}")
        record = read_json_as(EmbeddingRecord, path, most, "a record of embeddings", remedy)
        if record.run != run:
            differing = ", ".join(name for name in run if record.run.get(name) != run[name])
            raise InputError(f"{out} exists and was made by another run (another {differing}): {remedy}")
        if record.embeddings_sha256 != sha256_of(out):
            raise InputError(f"{out}: was cut, edited or replaced since it was written (another SHA-256): {remedy}")
    except InputError:
        if overwrite:
            return None
        raise
    if overwrite and record.failures:
        return None
    return EmbeddingResult(out, len(trials), record.size, record.failures, already_complete=True)


class _Rows:
    """The rows of an unfinished file, on disk; NaN where they are missing.

    Raises:
        InputError: if they are those of another ``run``, unless ``overwrite`` is set.
    """

    def __init__(self, out: Path, count: int, run: dict[str, Any], overwrite: bool) -> None:
        self.out, self.count = out, count
        self.path, self.identity = _beside(out, ".partial"), _beside(out, ".partial.json")
        self.array: np.memmap | None = None
        text = json_text(run) + "\n"
        theirs = self.identity.read_text(encoding="utf-8", errors="replace") if self.identity.is_file() else None
        if self.path.exists() and theirs == text:
            self.array = self._opened()
        elif self.path.exists() and not overwrite:
            raise InputError(
                f"{self.path} was left by a run of another model, list, length or precision, or its audio was replaced "
                "since: pass `overwrite=True` or remove it"
            )
        if self.array is None:
            self.remove()
            write_text(self.identity, text)

    def _opened(self) -> np.memmap | None:
        """The array in the file; None if that is damaged."""
        try:
            array = np.load(self.path, mmap_mode="r+", allow_pickle=False)
        except Exception:  # a damaged header can cause any
            return None
        fits = isinstance(array, np.memmap) and array.dtype == _FLOAT and array.ndim == 2
        return array if fits and len(array) == self.count else None

    def known(self) -> NDArray[np.bool_]:
        """Which rows are complete."""
        complete = np.zeros(self.count, dtype=bool)
        if self.array is not None:
            for start in range(0, self.count, _ROWS_AT_ONCE):
                part = slice(start, start + _ROWS_AT_ONCE)
                complete[part] = np.isfinite(self.array[part]).all(1)
        return complete

    def set(self, place: int, row: np.ndarray) -> None:
        """Set row number ``place``; the first one tells the size of all.

        The file is written whole before it is mapped, so that a full disk is an error here and no
        signal later.
        """
        if self.array is None:
            with writing(self.path, _MAKE_ROOM), replacing(self.path) as temporary:
                missing = (np.full((n, len(row)), np.nan, _FLOAT) for n in _parts(self.count))
                _write_npy(temporary, (self.count, len(row)), missing)
            self.array = self._opened()
            assert self.array is not None
        self.array[place] = row

    def finished(self, failures: Mapping[str, str]) -> NDArray:
        """The rows, among them those that failed.

        Raises:
            InputError: if all failed.
        """
        if self.array is None or len(failures) == self.count:
            self.remove()
            some = "; ".join(f"{name}: {reason}" for name, reason in list(failures.items())[:3])
            raise InputError(f"not one of {counted(self.count, 'trial')} could be embedded: {some}")
        return self.array

    def remove(self) -> None:
        """Remove the files."""
        for path in (self.path, self.identity):
            path.unlink(missing_ok=True)


def _fill(
    scorer: Scorer,
    embed: Callable[[Tensor], Tensor],
    trials: Sequence[Trial],
    rows: _Rows,
    reader: WaveformReader,
    batch_size: int,
    workers: int,
    on_error: str,
) -> dict[str, str]:
    """Compute the missing rows; return the reasons, by id and in order, for those that cannot be computed."""
    places = {trial.id: place for place, trial in enumerate(trials)}
    done = {trial.id for trial, known in zip(trials, rows.known()) if known}
    failures: dict[str, str] = {}
    whole, most_samples = reader.num_samples is None, batch_size * ASVSPOOF_SAMPLES
    batches = plan_batches(
        trials,
        batch_size,
        header_length(reader) if whole else None,
        most_samples=most_samples if whole else None,
        done=done,
    )
    read = read_batches(batches, reader, workers, pin_memory=scorer.device.type == "cuda")
    display = ProgressDisplay[None](title="embedding", unit="utterance", total=len(trials), start=len(done), leave=True)
    with closing(read), display:
        for batch in read:
            failed = dict(batch.failures)
            for group in batch.groups:
                most = max(1, most_samples // group.waveforms.shape[1]) if whole else batch_size
                count = filled_rows(scorer.computes_on, len(group.ids), min(most, batch_size))
                for id, row in zip(group.ids, start_embedding(scorer, embed, group.waveforms, rows=count)()):
                    if isinstance(row, str):
                        failed[id] = row
                    else:
                        rows.set(places[id], row)
            for id, reason in failed.items():
                if on_error == "raise":
                    raise InputError(f"{id}: {reason}")
                tqdm.write(printable(worded(f"left out: {id}: {reason}")), file=sys.stderr)
            failures |= failed
            ids = [*failed, *(id for group in batch.groups for id in group.ids if id not in failed)]
            display.update(sum(id not in done for id in ids))
    return {trial.id: failures[trial.id] for trial in trials if trial.id in failures}


def _write(result: EmbeddingResult, trials: Sequence[Trial], embeddings: NDArray, record: dict[str, Any]) -> None:
    """Write the finished file, its list and its record, all or none of them.

    Raises:
        InputError: if they cannot be written; the unfinished file keeps the rows.
    """
    places = [place for place, trial in enumerate(trials) if trial.id not in result.failures]
    trials = [trials[place] for place in places]
    parts = (np.asarray(embeddings[places[i : i + _ROWS_AT_ONCE]]) for i in range(0, len(places), _ROWS_AT_ONCE))
    out, listing = result.path, _beside(result.path, ".csv")
    with (
        writing(out, _MAKE_ROOM),
        replacing(out, durable=True) as file,
        replacing(result.record_path, durable=True) as record_file,
    ):
        if out.suffix == ".npy":
            _write_npy(file, (len(places), result.size), parts)
            with replacing(listing, durable=True) as temporary:
                _write_list(temporary, trials)
        else:
            _write_parquet(file, trials, result.size, parts)
        record = {**record, "embeddings_sha256": sha256_of(file)}
        record_file.write_text(json_text(record, indent=1), encoding="utf-8")
        out.unlink(missing_ok=True)  # so that old embeddings never have the new record beside them


def _write_npy(path: Path, shape: tuple[int, int], parts: Iterator[NDArray]) -> None:
    """Write an array of ``shape`` as ``.npy``, some rows at a time."""
    with open(path, "wb") as file:
        header = {"descr": _FLOAT.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, _FLOAT).data)


def _write_list(path: Path, trials: Sequence[Trial]) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "label"])
        writer.writerows([trial.id, trial.label or ""] for trial in trials)


def _write_parquet(path: Path, trials: Sequence[Trial], size: int, parts: Iterator[NDArray]) -> None:
    arrow, parquet = _pyarrow()
    columns = [("id", arrow.string()), ("label", arrow.string()), ("embedding", arrow.list_(arrow.float32(), size))]
    schema, first = arrow.schema(columns), 0
    with parquet.ParquetWriter(path, schema) as file:
        for part in parts:
            of_part, first = trials[first : first + len(part)], first + len(part)
            ids = [trial.id.encode(errors="surrogateescape").decode(errors="replace") for trial in of_part]
            numbers = arrow.FixedSizeListArray.from_arrays(arrow.array(part.ravel()), size)
            labels = arrow.array([trial.label for trial in of_part], arrow.string())
            file.write_table(arrow.Table.from_arrays([arrow.array(ids), labels, numbers], schema=schema))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # optional dependency
        import pyarrow.parquet  # optional dependency
    except ImportError as error:
        raise MissingLibrary(
            f"a .parquet file needs pyarrow: {how_to_install('parquet')}, or name a file that ends in .npy"
        ) from error
    return pyarrow, pyarrow.parquet


def _parts(count: int) -> Iterator[int]:
    """Numbers of rows, at most ``_ROWS_AT_ONCE``, that are ``count`` together."""
    yield from (min(_ROWS_AT_ONCE, count - start) for start in range(0, count, _ROWS_AT_ONCE))


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(f"{out.name}{suffix}")
