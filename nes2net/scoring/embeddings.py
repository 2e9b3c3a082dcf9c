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

from nes2net.data.audio.tables import pyarrow_module
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError
from nes2net.lib.text_files import as_cell, of_cell
from nes2net.models.network import EmbeddingOf, Network
from nes2net.scoring.judgement import Judgement
from nes2net.scoring.kernel import Scorer, start_rows

#: Kinds of files that hold embeddings.
SUFFIXES = (".npy", ".parquet")
_FLOAT = np.dtype("<f4")
_ROWS_AT_ONCE = 8192  # number of rows in memory at once while the finished file is written


@dataclass(frozen=True)
class Embeddings(Judgement[NDArray]):
    """The embedding of a recording: E numbers, float32.

    A ``.npy`` file is an array N×E, and ``{out}.csv`` lists the id and label of each row. In the
    ``.csv`` file, an apostrophe stands before an id that a spreadsheet would take for a formula
    (:func:`~nes2net.lib.text_files.as_cell`). A ``.parquet`` file has the columns ``id``, ``label``
    and ``embedding``, a list of E numbers.

    Args:
        of: ``"frontend"`` for the mean over time of a hidden state, ``"aggregation"`` for the mean
            over time of the back-end's input, ``"backend"`` for the input of the back-end's last
            layer.
        layer: the hidden state of the front-end to take: ``"last"``, or the number of a hidden
            state (0 is the input of the first layer). ``"all"`` joins all hidden states to one row.

    Raises:
        InputError: if ``layer`` is not a number, ``"last"`` or ``"all"``, or if ``layer`` does not
            fit ``of``.
    """

    of: EmbeddingOf = "frontend"
    layer: int | Literal["last", "all"] = "last"

    name = "embeddings"
    doing = "embedding"
    done = "embedded"
    what = "embeddings"

    def __post_init__(self) -> None:
        if self.of == "frontend" and isinstance(self.layer, str) and self.layer not in ("last", "all"):
            raise InputError(f"`layer` is last, all or a number from 0, not {self.layer}")
        if self.of != "frontend" and self.layer != "last":
            raise InputError(f"`layer` names a hidden state of the front-end: leave it out with `of` {self.of}")

    def fitted(self, scorer: Scorer) -> Self:
        """Return this judgement; raise :class:`InputError` for an exported detector, which makes no embeddings."""
        if not isinstance(scorer, Network):
            raise InputError("this detector makes no embeddings: take the checkpoint that it was exported from")
        return self

    def start(
        self, scorer: Any, inputs: list[Tensor], *, stream: str | None = None, rows: int | None = None
    ) -> Callable[[], Sequence[NDArray | str]]:
        """Start to embed a batch; see :meth:`Judgement.start`. ``stream`` is not used."""

        def embed(waveforms: Tensor) -> Tensor:
            return scorer.embeddings(waveforms, self.of, self.layer)

        return start_rows(scorer, "embedding is not finite", embed, inputs[0], rows=rows)

    def identity(self) -> dict[str, Any]:
        """Return which embedding is computed, as plain data for the identity of a run."""
        if self.of == "frontend":
            return {"embedding": f"frontend, layer {self.layer}"}
        return {"embedding": self.of}

    def tell(self, value: NDArray) -> dict[str, Any]:
        """Return the embedding as a list of numbers, with the key ``embedding``, for a row of ``nes2net predict``."""
        return {"embedding": value.tolist()}

    def files(self, out: Path) -> list[Path]:
        """List the files to write: ``out`` and, if it is an array (.npy), the list of ids and labels beside it."""
        return [out, _list_beside(out)] if out.suffix == ".npy" else [out]

    def rows_are(self, out: Path) -> str:
        """Describe the rows of ``out`` for a message, such as "embeddings of 1024 numbers"."""
        if out.suffix == ".npy":
            size = np.load(out, mmap_mode="r").shape[1]
        else:
            size = pyarrow_module("pyarrow.parquet", out).read_schema(out).field("embedding").type.list_size
        return f"embeddings of {size} numbers"

    def check(self, trials: Sequence[Trial], out: Path) -> None:
        """Raise :class:`InputError` if the suffix of ``out`` is not in :data:`SUFFIXES`, or if two ids are equal."""
        if out.suffix not in SUFFIXES:
            raise InputError(f"{out}: embeddings go to a file that ends in {' or '.join(SUFFIXES)}: name another `out`")
        if out.suffix == ".parquet":
            pyarrow_module("pyarrow", out)  # if pyarrow is missing, raise now and not after hours of work
        super().check(trials, out)

    def to_json(self, value: NDArray) -> str:
        """Encode the numbers of an embedding in base 64, for a line of a journal."""
        return b64encode(np.ascontiguousarray(value, _FLOAT).data).decode()

    def from_json(self, encoded: Any) -> NDArray:
        """Restore the numbers of an embedding from the text of :meth:`to_json`."""
        return np.frombuffer(b64decode(encoded, validate=True), _FLOAT)

    def read(self, out: Path) -> Iterable[tuple[str, NDArray]]:
        """Yield (id, embedding) for the rows of a finished file; read some rows at a time."""
        if out.suffix == ".parquet":
            with pyarrow_module("pyarrow.parquet", out).ParquetFile(out) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["id", "embedding"]):
                    rows = batch.column("embedding").values.to_numpy(zero_copy_only=False)
                    yield from zip(batch.column("id").to_pylist(), rows.reshape(len(batch), -1))
            return
        with open(_list_beside(out), encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield from zip((of_cell(row["id"]) for row in csv.DictReader(file)), np.load(out, mmap_mode="r"))

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, NDArray]]) -> dict[str, Any]:
        """Write the embeddings to ``files``, some rows at a time; see :meth:`nes2net.scoring.output.Output.write`.

        The only fact for the record is ``size``, the size E of an embedding.
        """
        first = next(rows)
        rows = chain([first], rows)
        size = len(first[1])
        chunks = iter(lambda: list(islice(rows, _ROWS_AT_ONCE)), [])
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
        return {"size": size}


def _list_beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.csv")


def _write_parquet(path: Path, size: int, chunks: Iterable[list[tuple[Trial, NDArray]]]) -> None:
    """Write ids, labels and embeddings to a .parquet file, some rows at a time; an embedding has ``size`` numbers.

    A byte of an id that is not UTF-8 becomes U+FFFD.
    """
    arrow = pyarrow_module("pyarrow", path)
    parquet = pyarrow_module("pyarrow.parquet", path)
    columns = [("id", arrow.string()), ("label", arrow.string()), ("embedding", arrow.list_(arrow.float32(), size))]
    schema = arrow.schema(columns)
    with parquet.ParquetWriter(path, schema) as file:
        for chunk in chunks:
            trials = [trial for trial, _ in chunk]
            ids = [trial.id.encode(errors="surrogateescape").decode(errors="replace") for trial in trials]
            numbers = arrow.FixedSizeListArray.from_arrays(arrow.array(np.concatenate([row for _, row in chunk])), size)
            labels = arrow.array([trial.label for trial in trials], arrow.string())
            file.write_table(arrow.Table.from_arrays([arrow.array(ids), labels, numbers], schema=schema))
