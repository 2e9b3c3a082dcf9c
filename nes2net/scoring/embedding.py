"""Embeddings of a corpus, one row per utterance, to a ``.npy`` or ``.parquet`` file: a run of :mod:`nes2net.scoring.engine`.

A ``.npy`` file also has a list of its rows, ``{out}.csv``.
"""

from __future__ import annotations

import csv
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nes2net.corpora.trial import Trial
from nes2net.errors import InputError, MissingLibrary
from nes2net.machine.installation import how_to_install
from nes2net.scoring.batches import Plan, default_batch_size, waveforms_for
from nes2net.scoring.compute import compute_embeddings
from nes2net.scoring.engine import Finished, Output, Way, WayOptions, run_over
from nes2net.scoring.kernel import scoring_mode
from nes2net.scoring.record import circumstances, plain, run_identity
from nes2net.scoring.scorer import Scorer, depends_on_batch
from nes2net.scoring.waveforms import WaveformReader

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Kinds of files that hold embeddings.
SUFFIXES = (".npy", ".parquet")
_FLOAT = np.dtype("<f4")
_ROWS_AT_ONCE = 8192  # in memory while the finished file is written


@dataclass
class EmbeddingResult(Finished):
    """The outcome of :func:`embed_trials`."""

    size: int = 0
    """E, the numbers of an embedding."""


class EmbeddingOutput(Output[NDArray]):
    """One row of E numbers per trial, in float32.

    Args:
        suffix: that of the file, one of :data:`SUFFIXES`.
    """

    doing, done, what = "embedding", "embedded", "embeddings"

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self.beside = (".csv",) if suffix == ".npy" else ()

    def to_json(self, value: NDArray) -> str:
        return b64encode(np.ascontiguousarray(value, _FLOAT).data).decode()

    def from_json(self, kept: Any) -> NDArray:
        return np.frombuffer(b64decode(kept, validate=True), _FLOAT)

    def read(self, out: Path) -> Iterable[tuple[str, NDArray]]:
        if self.suffix == ".parquet":
            _, parquet = _pyarrow()
            with parquet.ParquetFile(out) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["id", "embedding"]):
                    rows = batch.column("embedding").values.to_numpy(zero_copy_only=False)
                    yield from zip(batch.column("id").to_pylist(), rows.reshape(len(batch), -1))
            return
        with open(out.with_name(f"{out.name}.csv"), encoding="utf-8", errors="surrogateescape", newline="") as file:
            ids = (row["id"] for row in csv.DictReader(file))
            yield from zip(ids, np.load(out, mmap_mode="r"))

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, NDArray]]) -> dict[str, Any]:
        first = next(rows)
        rows, size = chain([first], rows), len(first[1])
        parts = iter(lambda: list(islice(rows, _ROWS_AT_ONCE)), [])
        if self.suffix == ".parquet":
            _write_parquet(files[0], size, parts)
        else:
            _write_npy(files[0], files[1], (count, size), parts)
        return {"size": size}


def embed_trials(
    scorer: Scorer,
    embed: Callable[[Tensor], Tensor],
    trials: Sequence[Trial],
    out: str | Path,
    *,
    what: str,
    num_samples: int | None = None,
    about: Mapping[str, Any] | None = None,
    **options: Unpack[WayOptions],
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
        num_samples, about: as in :func:`nes2net.scoring.corpus.score_trials`.
        options: see :class:`~nes2net.scoring.engine.Way`.

    Raises:
        InputError: if ``out`` has another suffix or belongs to another run; if there are no trials,
            or two of one id; if no trial could be embedded; or if a file cannot be written.
        Unfinished: if a process that reads audio was killed or hangs; the rows so far are kept.
    """
    out = Path(out)
    if out.suffix not in SUFFIXES:
        raise InputError(f"{out}: embeddings go to a file that ends in {' or '.join(SUFFIXES)}: name another `out`")
    if out.suffix == ".parquet":
        _pyarrow()  # before hours of work
    way = Way(**options)
    batch_size = way.batch_size or default_batch_size(scorer.computes_on)
    if depends_on_batch(scorer):  # each utterance alone
        batch_size = 1
    plan = Plan(batch_size, whole=num_samples is None)
    with scoring_mode(scorer):
        result = run_over(
            trials,
            waveforms_for(scorer.device, WaveformReader.of(scorer, num_samples), plan, way.num_workers),
            compute_embeddings(scorer, plan, embed),
            EmbeddingOutput(out.suffix),
            out,
            run={**run_identity(scorer, trials, num_samples, False, False), "embedding": what},
            about={**plain(about or {}), "architecture": plain(scorer.config), **circumstances(scorer, batch_size)},
            way=way,
        )
    size = _size_of(out)
    return EmbeddingResult(**{**vars(result), "what": f"embeddings of {size} numbers"}, size=size)


def _size_of(out: Path) -> int:
    if out.suffix == ".npy":
        return np.load(out, mmap_mode="r").shape[1]
    _, parquet = _pyarrow()
    return parquet.read_schema(out).field("embedding").type.list_size


def _write_npy(path: Path, listing: Path, shape: tuple[int, int], parts: Iterable[list[tuple[Trial, NDArray]]]) -> None:
    """Write an array of ``shape`` and the list of its rows, some rows at a time."""
    with (
        open(path, "wb") as file,
        open(listing, "w", encoding="utf-8", errors="surrogateescape", newline="") as list_file,
    ):
        header = {"descr": _FLOAT.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        writer = csv.writer(list_file, lineterminator="\n")
        writer.writerow(["id", "label"])
        for part in parts:
            file.write(np.stack([row for _, row in part]).data)
            writer.writerows([trial.id, trial.label or ""] for trial, _ in part)


def _write_parquet(path: Path, size: int, parts: Iterable[list[tuple[Trial, NDArray]]]) -> None:
    arrow, parquet = _pyarrow()
    columns = [("id", arrow.string()), ("label", arrow.string()), ("embedding", arrow.list_(arrow.float32(), size))]
    schema = arrow.schema(columns)
    with parquet.ParquetWriter(path, schema) as file:
        for part in parts:
            trials = [trial for trial, _ in part]
            ids = [trial.id.encode(errors="surrogateescape").decode(errors="replace") for trial in trials]
            numbers = arrow.FixedSizeListArray.from_arrays(arrow.array(np.concatenate([row for _, row in part])), size)
            labels = arrow.array([trial.label for trial in trials], arrow.string())
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
