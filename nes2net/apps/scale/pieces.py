"""Pieces of a shard: some recordings in their order, which stay together on their way through Ray.

Ray cuts and joins blocks of rows by their size. What shares a batch would then depend on the
machine, and with it the last bit of a score. Therefore a row of Ray's is a whole piece, whose
recordings are an Arrow table in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nes2net.apps.scale.libraries import library


@dataclass(frozen=True)
class Piece:
    """Some recordings of a shard."""

    shard: str
    """Address of the shard."""
    number: int
    """Place in the shard, from 0."""
    last: bool
    """Whether it is the last one of the shard."""
    table: Any
    """Its recordings, a :class:`pyarrow.Table`; None if there is a fault."""
    fault: str | None = None
    """Why the rest of the shard cannot be read."""


def packed(pieces: Iterable[Piece]) -> Any:
    """A :class:`pyarrow.Table` with a row for each of ``pieces``."""
    arrow, ipc = library("pyarrow"), library("pyarrow.ipc")
    pieces = list(pieces)
    recordings: list[bytes | None] = []
    for piece in pieces:
        sink = arrow.BufferOutputStream()
        if piece.table is not None:
            with ipc.new_stream(sink, piece.table.schema) as stream:
                stream.write_table(piece.table)
        recordings.append(None if piece.table is None else sink.getvalue().to_pybytes())
    return arrow.table(
        {
            "shard": arrow.array([piece.shard for piece in pieces], arrow.string()),
            "number": arrow.array([piece.number for piece in pieces], arrow.int64()),
            "last": arrow.array([piece.last for piece in pieces], arrow.bool_()),
            "fault": arrow.array([piece.fault for piece in pieces], arrow.string()),
            "recordings": arrow.array(recordings, arrow.large_binary()),
        }
    )


def unpacked(table: Any) -> Iterator[Piece]:
    """The pieces of :func:`packed`."""
    ipc = library("pyarrow.ipc")
    for shard, number, last, fault, recordings in zip(
        *(table.column(name) for name in ("shard", "number", "last", "fault", "recordings"))
    ):
        found = None if not recordings.is_valid else ipc.open_stream(recordings.as_buffer()).read_all()
        yield Piece(shard.as_py(), number.as_py(), last.as_py(), found, fault.as_py())
