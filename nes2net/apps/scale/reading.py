"""The recordings of a shard, read in order and piece by piece, from a disk or through fsspec."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeAlias

from nes2net.apps.scale.libraries import library
from nes2net.apps.scale.sources import Shard, is_url, unreachable
from nes2net.data.audio.files import is_recording
from nes2net.data.audio.packed import (
    MOST_BYTES,
    Member,
    RecordingBytes,
    audio_column,
    check_size,
    content_of,
    member_content,
    members_of,
)
from nes2net.data.audio.tables import ArrowMessages, ParquetTable
from nes2net.data.corpora.shards import IDS
from nes2net.lib.errors import InputError, first_line, one_line
from nes2net.lib.files import Budget
from nes2net.lib.plain_data import parsed_json

#: Columns of the recordings of a piece that the shard does not have.
OWN_COLUMNS = ("id", "address", "content", "suffix")
#: Bytes of content after which a piece ends, if it has whole batches; and at any rate.
_FULL = 64 << 20
_OVERFULL = 512 << 20
_MOST_TEXT = 1 << 20  # bytes of a member of a tar file that describes a recording
# Members of a tar file that describe a recording, and the columns for them.
_DESCRIPTIONS = {"json": "notes", "cls": "label", "txt": "text"}

#: What is known of a recording, by the names of columns.
Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """Some recordings of a shard, in their order: a row of Ray's.

    Ray cuts and joins blocks of rows by their size. What shares a batch would then depend on the
    machine, and with it the last bit of a score.
    """

    shard: str
    """Address of the shard."""
    number: int
    """Its number in the shard, from 0."""
    last: bool
    """Whether it is the last one of the shard."""
    rows: list[Row]
    """A row of each recording; none if there is a fault."""
    fault: str | None = None
    """Why the rest of the shard cannot be read."""
    beside: Any = None
    """A :class:`pyarrow.Table` of what else is known of the recordings; None if that is in the rows."""


def pieces_of(shard: Shard, rows: int, batch_size: int) -> Iterator[Piece]:
    """Read ``shard`` in pieces of ``rows`` recordings, or of fewer whole batches if they are large.

    A recording has a row with ``id``, ``address``, ``content`` (None: it is to be fetched from its
    address), ``suffix``, and what else the shard says of it. The last piece may have no recordings.
    If the shard cannot be read to its end, that piece has the ``fault``.
    """
    rows_of_piece: list[Row] = []
    number = 0
    size = 0
    fault = None
    try:
        for row in _rows_of(shard):
            rows_of_piece.append(row)
            size += len(row["content"] or b"")
            has_whole_batches = len(rows_of_piece) % batch_size == 0
            if (has_whole_batches and (len(rows_of_piece) >= rows or size >= _FULL)) or size >= _OVERFULL:
                yield Piece(shard.address, number, False, rows_of_piece)
                number += 1
                rows_of_piece = []
                size = 0
    except InputError as error:
        fault = str(error)
    except Exception as error:  # a damaged file, or a store: each library has errors of its own
        fault = one_line(f"{shard.address} cannot be read to its end ({type(error).__name__}: {first_line(error)})")
    if fault:
        rows_of_piece = []
    yield Piece(shard.address, number, True, rows_of_piece, fault)


def _rows_of(shard: Shard) -> Iterator[Row]:
    if shard.rows:
        for id, address in shard.rows:
            yield {"id": id, "address": address, "content": None, "suffix": ""}
        return
    with opened(shard.address) as file:
        if _suffix(shard.address) == ".tar":
            rows_of = _tar_rows(shard, file)
        else:
            rows_of = _table_rows(shard, file)
        yield from rows_of


def _suffix(address: str) -> str:
    return PurePosixPath(address.partition("?")[0]).suffix.lower()


def _table_rows(shard: Shard, file: BinaryIO) -> Iterator[Row]:
    """Recordings of a Parquet or Arrow file, with its columns of texts, numbers and truth values."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    budget = Budget.of(shard.address, size, "if it can be trusted, write smaller shards without compression")
    table: ParquetTable | ArrowMessages
    if _suffix(shard.address) == ".parquet":
        parquet_source: BinaryIO | Path = file
        if not is_url(shard.address):
            parquet_source = Path(shard.address)
        table = ParquetTable(parquet_source, budget)
    else:
        arrow = library("pyarrow")
        is_remote = is_url(shard.address)
        if is_remote:
            arrow_source = arrow.PythonFile(file, "r")
        else:
            arrow_source = arrow.memory_map(shard.address)
        table = ArrowMessages(arrow_source, budget)
    audio = audio_column(table.schema, Path(shard.address))
    types = library("pyarrow.types")
    plain = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    described_columns = []
    for field in table.schema:
        if any(is_plain(field.type) for is_plain in plain):
            described_columns.append(field.name)
    number = 0
    for batch in table.batches([audio, *described_columns], budget):
        for index in range(batch.num_rows):
            (described,) = batch.slice(index, 1).to_pylist()
            content, name = content_of(described.pop(audio))
            yield _row(shard, str(number), content, PurePosixPath(name).suffix, described)
            number += 1


@contextmanager
def opened(address: str) -> Iterator[BinaryIO]:
    """Open a file or a URL for reading in binary.

    Raises:
        InputError: if it cannot be opened, or is not a regular file.
    """
    if not is_url(address):
        if not os.path.isfile(address):  # opening a pipe would wait for ever
            raise InputError(f"{address} not found, or not a regular file")
        with open(address, "rb") as file:
            yield file
        return
    try:
        file = library("fsspec").open(address, "rb").open()
    except Exception as error:
        raise unreachable(address, error) from error
    with file:
        yield file


def fetched(address: str) -> RecordingBytes:
    """The recording at a URL.

    Raises:
        InputError: if it cannot be fetched, or is too large.
    """
    with opened(address) as file:
        try:
            content = file.read(MOST_BYTES + 1)
        except Exception as error:
            raise unreachable(address, error) from error
    check_size(len(content))
    return RecordingBytes(address, content, _suffix(address))


def _row(shard: Shard, name_in_shard: str, content: bytes | None, suffix: str, described: Row) -> Row:
    """A row, with the id that its description or its notes give, or else its place in the shard."""
    notes = _notes(described.get("notes"))
    ids = (facts.get(name) for name in IDS for facts in (described, notes))
    id = next((id for id in ids if id not in (None, "")), f"{shard.name}/{name_in_shard}")
    own_columns = {
        "id": "%20".join(str(id).split()),
        "address": f"{shard.address}/{name_in_shard}",
        # Empty instead of None: there is nothing at the address to fetch.
        "content": content or b"",
        "suffix": suffix,
    }
    return {**own_columns, **{name: value for name, value in described.items() if name not in own_columns}}


def _notes(text: Any) -> dict[str, Any]:
    """The mapping in the JSON ``text``; empty if there is none, because a recording can be scored all the same."""
    try:
        found = parsed_json(text, "notes") if isinstance(text, str) else None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _tar_rows(shard: Shard, file: BinaryIO) -> Iterator[Row]:
    """Recordings of a tar file; the members that describe one stand beside it, with the same key."""
    for (_, stem), members in groupby(members_of(file, shard.address), _key):
        described: Row = {}
        recordings: list[tuple[str, bytes]] = []
        for member in members:
            suffix = PurePosixPath(member.name).name.partition(".")[2]
            if not stem:  # hidden, such as the files that macOS adds
                continue
            if is_recording(f"x.{suffix}"):
                recordings.append((member.name, member_content(file, member)))
            elif suffix in _DESCRIPTIONS and member.size <= _MOST_TEXT:
                described[_DESCRIPTIONS[suffix]] = member_content(file, member).decode(errors="replace").strip()
        for name, content in recordings:
            yield _row(shard, name, content, PurePosixPath(name).suffix, described)


def _key(member: Member) -> tuple[str, str]:
    """The folder and the name up to its first dot, which the members of one recording share."""
    folder, name = os.path.split(member.name)
    return folder, name.partition(".")[0]
