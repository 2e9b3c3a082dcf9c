"""Read the recordings of a shard in order, piece by piece, from a disk or through fsspec."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeAlias

from nes2net.apps.scale.libraries import library
from nes2net.apps.scale.sources import Shard
from nes2net.data.audio.files import is_recording
from nes2net.data.audio.packed import (
    Member,
    RecordingBytes,
    audio_column,
    check_is_file,
    check_size,
    content_of,
    member_content,
    members_of,
    open_shard,
    status_of,
)
from nes2net.data.audio.tables import open_table
from nes2net.data.corpora.shards import IDS
from nes2net.lib.errors import InputError, Unreachable, first_line, one_line
from nes2net.lib.storage.files import Budget
from nes2net.lib.storage.plain_data import parse_json
from nes2net.lib.web.remote import RemotePath, is_address, open_remote

#: Number of bytes of content after which a piece ends at the next whole batch.
_PIECE_BYTES = 64 << 20
#: Number of bytes of content after which a piece ends, even within a batch.
_MAX_PIECE_BYTES = 512 << 20
_BLOCK_BYTES = 1 << 22  # number of bytes of a request to a store
_MAX_TEXT = 1 << 20  # largest number of bytes of a describing file in a tar file; larger files are ignored
# Suffix of a file that describes a recording in a tar file → column for the content of this file.
_DESCRIPTIONS = {"json": "notes", "cls": "label", "txt": "text"}

#: A row: name of a column → its value for one recording.
Columns: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """Some consecutive recordings of a shard, a single row of Ray's dataset.

    Ray cuts and joins blocks of rows by their size. If each recording were a row, these sizes would
    decide which recordings share a batch, and the last bits of scores would change.
    """

    shard: str
    number: int
    """In the shard, from 0."""
    last: bool
    """Whether it is the last piece of the shard."""
    rows: list[Columns]
    """One for each recording; empty if there is a :attr:`fault`."""
    fault: str | None = None
    """Why the shard cannot be read to its end."""


def pieces_of(shard: Shard, rows: int, batch_size: int) -> Iterator[Piece]:
    """Yield the recordings of ``shard`` piece by piece.

    A row has ``id``, ``address``, ``content`` (None if it has to be fetched), ``suffix``, and the
    further columns of the shard. The last piece may have no recordings, or a :attr:`Piece.fault`.

    Args:
        rows: recordings in a piece; fewer if they are large.
    """
    rows_of_piece = []
    number = 0
    size = 0
    fault = None
    try:
        for row in _rows_of_shard(shard):
            rows_of_piece.append(row)
            size += len(row["content"] or b"")
            has_whole_batches = len(rows_of_piece) % batch_size == 0
            if (has_whole_batches and (len(rows_of_piece) >= rows or size >= _PIECE_BYTES)) or size >= _MAX_PIECE_BYTES:
                yield Piece(shard.address, number, False, rows_of_piece)
                number += 1
                rows_of_piece = []
                size = 0
    except InputError as error:
        fault = str(error)
    except Exception as error:  # libraries raise various errors for damaged files and stores
        fault = one_line(f"{shard.address} cannot be read to its end ({type(error).__name__}: {first_line(error)})")
    if fault:
        rows_of_piece = []
    yield Piece(shard.address, number, True, rows_of_piece, fault)


def _rows_of_shard(shard: Shard) -> Iterator[Columns]:
    if shard.rows:
        for id, address in shard.rows:
            yield {"id": id, "address": address, "content": None, "suffix": ""}
        return
    path = RemotePath(shard.address) if is_address(shard.address) else Path(shard.address)
    if _suffix(shard.address) != ".tar":
        yield from _table_rows(shard, path)
        return
    with closing(open_shard(path)) as file:
        yield from _tar_rows(shard, file)


def _suffix(address: str) -> str:
    return PurePosixPath(address.partition("?")[0]).suffix.lower()


def _table_rows(shard: Shard, path: Path) -> Iterator[Columns]:
    if not is_address(shard.address):
        check_is_file(path)
    remedy = "if it can be trusted, write smaller shards without compression"
    budget = Budget.of(shard.address, status_of(path).size, remedy)
    table = open_table(path, budget)
    audio = audio_column(table.schema, path)
    # Only columns of texts, numbers and booleans are copied to the results.
    types = library("pyarrow.types")
    plain = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    described_columns = [field.name for field in table.schema if any(is_plain(field.type) for is_plain in plain)]
    number = 0
    for batch in table.batches([audio, *described_columns], budget):
        for index in range(batch.num_rows):
            (described,) = batch.slice(index, 1).to_pylist()
            content, name = content_of(described.pop(audio))
            yield _row_of_file(shard, str(number), content, PurePosixPath(name).suffix, described)
            number += 1


def fetch(address: str) -> RecordingBytes:
    """Fetch the recording at a URL.

    Raises:
        InputError: if the recording cannot be fetched, or is too large.
    """
    try:
        file = open_remote(address, _BLOCK_BYTES)
        check_size(file.size)
        return RecordingBytes(address, file.read(), _suffix(address))
    except Unreachable as error:  # the row gets the error, and the other rows are scored
        raise InputError(str(error)) from error


def _row_of_file(shard: Shard, name_in_shard: str, content: bytes | None, suffix: str, described: Columns) -> Columns:
    # The id is in the shard's own columns ``described``, or their ``notes``, or made from the names of shard and recording.
    notes = _parse_notes(described.get("notes"))
    ids = (facts.get(name) for name in IDS for facts in (described, notes))
    id = next((id for id in ids if id not in (None, "")), f"{shard.name}/{name_in_shard}")
    own_columns = {
        "id": "%20".join(str(id).split()),
        "address": f"{shard.address}/{name_in_shard}",
        # Replace None by empty bytes, because None would mean that the content is fetched from the address.
        "content": content or b"",
        "suffix": suffix,
    }
    return {**own_columns, **{name: value for name, value in described.items() if name not in own_columns}}


def _parse_notes(text: Any) -> dict[str, Any]:
    # Malformed notes are no error, because a score needs none.
    try:
        notes = parse_json(text, "notes") if isinstance(text, str) else None
    except ValueError:
        return {}
    return notes if isinstance(notes, dict) else {}


def _tar_rows(shard: Shard, file: BinaryIO) -> Iterator[Columns]:
    # In the tar file, the files that describe a recording are adjacent and share its key.
    for (_, stem), members in groupby(members_of(file, shard.address), _key_of_member):
        described = {}
        recordings = []
        for member in members:
            suffix = PurePosixPath(member.name).name.partition(".")[2]
            if not stem:  # skip hidden files, such as ._name, which macOS adds
                continue
            if is_recording(f"x.{suffix}"):
                recordings.append((member.name, member_content(file, member)))
            elif suffix in _DESCRIPTIONS and member.size <= _MAX_TEXT:
                described[_DESCRIPTIONS[suffix]] = member_content(file, member).decode(errors="replace").strip()
        for name, content in recordings:
            yield _row_of_file(shard, name, content, PurePosixPath(name).suffix, described)


def _key_of_member(member: Member) -> tuple[str, str]:
    folder, name = os.path.split(member.name)
    return folder, name.partition(".")[0]  # the key of WebDataset
