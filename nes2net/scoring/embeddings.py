"""Embeddings of recordings: a row of E numbers for each recording, in a file."""

from __future__ import annotations

import csv
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import Self

from nes2net.data.audio.tables import open_rows, pyarrow_module
from nes2net.data.corpora.trial import Trial, Trials
from nes2net.lib.errors import InputError, expecting, refuse
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.files import check_arrived, sha256_of
from nes2net.lib.storage.text_files import as_cell, from_cell
from nes2net.models.network import EmbeddingOf, Network
from nes2net.scoring.judgement import Judgement
from nes2net.scoring.kernel import Scorer, start_rows
from nes2net.scoring.record import record_of

#: Kinds of files that hold embeddings.
SUFFIXES = (".npy", ".parquet")
_FLOAT = np.dtype("<f4")
_ROWS_AT_ONCE = 8192  # number of rows in memory at once while the finished file is written


@dataclass(frozen=True)
class Embeddings(Judgement[NDArray]):
    """The embedding of a recording: E numbers, float32.

    ``.npy``: an array N×E, with ids and labels of its rows in ``{out}.csv``, where an apostrophe
    stands before an id that a spreadsheet would take for a formula
    (:func:`~nes2net.lib.storage.text_files.as_cell`). ``.parquet``: columns ``id``, ``label`` and
    ``embedding``, a list of E numbers.

    Args:
        of: ``"frontend"`` for the mean over time of a hidden state, ``"aggregation"`` for the mean
            over time of the back-end's input, ``"backend"`` for the input of the back-end's last
            layer.
        layer: the hidden state of the front-end to take: ``"last"``, or the number of a hidden
            state (0 is the input of the first layer). ``"all"`` joins all hidden states to one row.

    Raises:
        InputError: if ``layer`` is not a number, ``"last"`` or ``"all"``, or does not fit ``of``.
    """

    of: EmbeddingOf = "frontend"
    layer: int | Literal["last", "all"] = "last"

    name = "embeddings"
    doing = "embedding"
    done = "embedded"
    what = "embeddings"

    def __post_init__(self) -> None:
        refuse(
            (
                self.of == "frontend" and isinstance(self.layer, str) and self.layer not in ("last", "all"),
                f"`layer` must be last, all or a number from 0, not {self.layer}",
            ),
            (
                self.of != "frontend" and self.layer != "last",
                f"`layer` names a hidden state of the front-end: remove it with `of` {self.of}",
            ),
        )

    def fit_to(self, scorer: Scorer) -> Self:
        """Return this judgement; raise :class:`InputError` for an exported detector."""
        if not isinstance(scorer, Network):
            raise InputError("this detector makes no embeddings: use the checkpoint that it was exported from")
        return self

    def start(
        self, scorer: Any, inputs: list[Tensor], *, stream: str | None = None, rows: int | None = None
    ) -> Callable[[], Sequence[NDArray | str]]:
        """Start to embed a batch; ``stream`` is not used."""
        return start_rows(
            scorer,
            "embedding is not finite",
            lambda waveforms: scorer.embeddings(waveforms, self.of, self.layer),
            inputs[0],
            rows=rows,
        )

    def identity(self) -> Facts:
        return {"embedding": f"frontend, layer {self.layer}" if self.of == "frontend" else self.of}

    def tell(self, value: NDArray) -> Facts:
        """Return the numbers as a list ``embedding``, for ``nes2net predict``."""
        return {"embedding": value.tolist()}

    def files(self, out: Path) -> list[Path]:
        """List ``out`` and, for an array (.npy), the list of ids beside it."""
        return [out, out.with_name(f"{out.name}.csv")] if out.suffix == ".npy" else [out]

    def rows_are(self, out: Path) -> str:
        """Describe the rows, such as "embeddings of 1024 numbers"."""
        _, embedding = next(iter(self.read(out)))  # also checks that array and list belong together
        return f"embeddings of {len(embedding)} numbers"

    def check(self, trials: Trials, out: Path) -> None:
        """Raise :class:`InputError` for a suffix outside of :data:`SUFFIXES`, or equal ids."""
        if out.suffix not in SUFFIXES:
            raise InputError(
                f"{out}: embeddings can only be written to a file that ends in {' or '.join(SUFFIXES)}: name another `out`"
            )
        if out.suffix == ".parquet":
            pyarrow_module("pyarrow", out)  # if pyarrow is missing, raise now and not after hours of work
        super().check(trials, out)

    def to_json(self, value: NDArray) -> str:
        return b64encode(np.ascontiguousarray(value, _FLOAT).data).decode()

    def from_json(self, encoded: Any) -> NDArray:
        return np.frombuffer(b64decode(encoded, validate=True), _FLOAT)

    def read(self, out: Path) -> Iterator[tuple[str, NDArray]]:
        """Yield (id, embedding) for each row, some rows at a time.

        Raises:
            InputError: if a file is missing or damaged, rows and ids do not fit, ids are equal, or
                a number is not finite.
        """
        known_ids: set[str] = set()
        size = 0
        with expecting("a file of embeddings", out, "copy it and its list again, or embed again"):
            files = self.files(out)
            if not all(map(Path.is_file, files)):  # opening a pipe would wait for ever
                raise ValueError("it or its list is missing, or not a regular file")
            for id, numbers in _read_npy(out, files[1]) if files[1:] else _read_parquet(out):
                row = np.asarray(numbers)
                size = size or row.size  # the first row decides
                is_row = row.shape == (size,) and row.dtype.kind in "fiu" and np.isfinite(row).all()
                if id in known_ids or not (isinstance(id, str) and id and size and is_row):
                    raise ValueError(f"row {len(known_ids)} has an empty or repeated id, or not {size} finite numbers")
                known_ids.add(id)
                yield id, row

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, NDArray]]) -> Facts:
        """Write embeddings, some rows at a time; return their ``size`` E and the SHA-256 of the list of ids."""
        first = next(rows)
        rows = chain([first], rows)
        size = len(first[1])
        chunks = iter(lambda: list(islice(rows, _ROWS_AT_ONCE)), [])  # until the first empty list
        if len(files) == 1:
            _write_parquet(files[0], size, chunks)
            return {"size": size}
        with (
            open(files[0], "wb") as file,
            open(files[1], "w", encoding="utf-8", errors="surrogateescape", newline="") as list_file,
        ):
            header = {"descr": _FLOAT.str, "fortran_order": False, "shape": (count, size)}
            np.lib.format.write_array_header_1_0(file, header)
            writer = csv.writer(list_file, lineterminator="\n")
            writer.writerow(["id", "label"])
            for chunk in chunks:
                file.write(np.stack([row for _, row in chunk]).data)
                writer.writerows([as_cell(trial.id), trial.label or ""] for trial, _ in chunk)
        return {"size": size, "list_sha256": sha256_of(files[1])}


def _read_npy(out: Path, list_path: Path) -> Iterator[tuple[str, NDArray]]:
    check_arrived(out)
    rows = np.load(out, mmap_mode="r")  # (N, E)
    with open(list_path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        table = csv.reader(file)
        column = next(table).index("id")
        ids = [from_cell(fields[column]) for fields in table if fields]
    if len(ids) != len(rows):
        raise ValueError(f"its list has {len(ids):,} ids for {len(rows):,} rows")
    record = record_of(out)
    if record is not None and record.list_sha256 not in (None, sha256_of(list_path)):
        raise ValueError("its list of ids was edited or replaced")
    return zip(ids, rows)


def _read_parquet(out: Path) -> Iterator[tuple[Any, Any]]:
    table, budget = open_rows(out)
    for batch in table.batches(["id", "embedding"], budget):
        yield from zip(batch.column("id").to_pylist(), batch.column("embedding").to_numpy(zero_copy_only=False))


def _write_parquet(path: Path, size: int, chunks: Iterable[list[tuple[Trial, NDArray]]]) -> None:
    """Write some rows of ``size`` numbers at a time; bytes of an id that are not UTF-8 become U+FFFD."""
    arrow = pyarrow_module("pyarrow", path)
    parquet = pyarrow_module("pyarrow.parquet", path)
    columns = [("id", arrow.string()), ("label", arrow.string()), ("embedding", arrow.list_(arrow.float32(), size))]
    schema = arrow.schema(columns)
    with parquet.ParquetWriter(path, schema) as file:
        for chunk in chunks:
            ids = [trial.id.encode(errors="surrogateescape").decode(errors="replace") for trial, _ in chunk]
            labels = [trial.label for trial, _ in chunk]
            rows = [row for _, row in chunk]
            file.write_table(arrow.table([ids, labels, rows], schema=schema))
