"""The recordings of a shard, read in order and piece by piece, from a disk or through fsspec."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from nes2net.apps.scale.libraries import library
from nes2net.apps.scale.pieces import Piece
from nes2net.apps.scale.sources import Shard, is_url, unreachable
from nes2net.data.audio.files import is_recording
from nes2net.data.audio.packed import RecordingBytes, audio_column
from nes2net.data.audio.tables import ArrowMessages, ParquetTable
from nes2net.data.corpora.shards import IDS
from nes2net.lib.errors import InputError, first_line, one_line, readable_size
from nes2net.lib.files import Budget
from nes2net.lib.plain_data import parsed_json
from nes2net.lib.unpacking import open_tar, tar_headers

#: Columns of the recordings of a piece that the shard does not have.
OWN_COLUMNS = ("id", "address", "content", "suffix")
#: Bytes of content after which a piece ends, if it has whole batches; and at any rate.
_FULL, _OVERFULL = 64 << 20, 512 << 20
_MOST_BYTES = 2 << 30  # of a recording
_MOST_TEXT = 1 << 20  # bytes of a member of a tar file that describes a recording
_TAR_BLOCK = 512
# Members of a tar file that describe a recording, and the columns for them.
_DESCRIPTIONS = {"json": "notes", "cls": "label", "txt": "text"}

_Row = dict[str, Any]


def pieces_of(shard: Shard, rows: int, batch_size: int) -> Iterator[Piece]:
    """Read ``shard`` in pieces of ``rows`` recordings, or of fewer whole batches if they are large.

    A recording has a row with ``id``, ``address``, ``content`` (None: it is to be fetched from its
    address), ``suffix``, and what else the shard says of it. The last piece may have no recordings.
    If the shard cannot be read to its end, that piece has the ``fault``.
    """
    waiting: list[_Row] = []
    number = size = 0
    try:
        for row in _rows_of(shard):
            waiting.append(row)
            size += len(row["content"] or b"")
            whole = len(waiting) % batch_size == 0
            if (whole and (len(waiting) >= rows or size >= _FULL)) or size >= _OVERFULL:
                yield Piece(shard.address, number, False, _table(waiting))
                number, waiting, size = number + 1, [], 0
    except InputError as error:
        yield Piece(shard.address, number, True, None, str(error))
    except Exception as error:  # a damaged file, or a store: each library has errors of its own
        fault = one_line(f"{shard.address} cannot be read to its end ({type(error).__name__}: {first_line(error)})")
        yield Piece(shard.address, number, True, None, fault)
    else:
        yield Piece(shard.address, number, True, _table(waiting))


def _table(rows: list[_Row]) -> Any:
    """``rows``, which may have different columns, as a :class:`pyarrow.Table`."""
    arrow = library("pyarrow")
    names = list(dict.fromkeys(chain(OWN_COLUMNS, *rows)))
    kinds = {"content": arrow.large_binary(), "id": arrow.string(), "address": arrow.string(), "suffix": arrow.string()}
    return arrow.table({name: arrow.array([row.get(name) for row in rows], kinds.get(name)) for name in names})


def _rows_of(shard: Shard) -> Iterator[_Row]:
    if shard.rows:
        for id, address in shard.rows:
            yield {"id": id, "address": address, "content": None, "suffix": ""}
        return
    kind = PurePosixPath(shard.address.partition("?")[0]).suffix.lower()
    with opened(shard.address) as file:
        if kind == ".tar":
            yield from _tar_rows(shard, file)
            return
        arrow, is_remote = library("pyarrow"), is_url(shard.address)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        budget = Budget.of(shard.address, size, "if it can be trusted, write smaller shards without compression")
        if kind == ".parquet":
            table = ParquetTable(file if is_remote else Path(shard.address), budget)
            audio, *others = _columns(shard, table.schema)
            batches = table.batches([audio, *others], budget)
        else:
            messages = ArrowMessages(
                arrow.PythonFile(file, "r") if is_remote else arrow.memory_map(shard.address), budget
            )
            audio, *others = _columns(shard, messages.schema)
            batches = (messages.batch(message, [audio, *others]) for message, _ in messages)
        start = 0
        for batch in batches:
            columns = {name: batch.column(name).to_pylist() for name in others}
            for place, value in enumerate(batch.column(audio)):
                content, name = _content_of(value)
                row = {key: values[place] for key, values in columns.items()}
                yield _row(shard, str(start + place), content, PurePosixPath(name or "").suffix, row)
            start += batch.num_rows


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
            content = file.read(_MOST_BYTES + 1)
        except Exception as error:
            raise unreachable(address, error) from error
    _check_size(len(content))
    return RecordingBytes(address, content, PurePosixPath(address.partition("?")[0]).suffix)


def _check_size(size: int) -> None:
    if size > _MOST_BYTES:
        raise InputError(f"it has {readable_size(size)}; at most {readable_size(_MOST_BYTES)} are accepted")


def _columns(shard: Shard, schema: Any) -> list[str]:
    """The column of audio, and the columns of texts, numbers and truth values, which stand in the results too."""
    audio = audio_column(schema, Path(shard.address))
    types = library("pyarrow.types")
    plain = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    return [audio, *(f.name for f in schema if f.name != audio and any(is_one(f.type) for is_one in plain))]


def _content_of(value: Any) -> tuple[bytes | None, str | None]:
    """Bytes and file name of a value of an audio column."""
    if "bytes" not in getattr(value.type, "names", ()):
        return value.as_py(), None
    if not value.is_valid:
        return None, None
    return value["bytes"].as_py(), value["path"].as_py() if "path" in value.type.names else None


def _row(shard: Shard, inner: str, content: bytes | None, suffix: str, described: _Row) -> _Row:
    """A row, with the id that its description or its notes give, or else its place in the shard."""
    known = {
        **_notes(described.get("notes")),
        **{name: value for name, value in described.items() if value is not None},
    }
    id = next((known[name] for name in IDS if known.get(name) not in (None, "")), f"{shard.name}/{inner}")
    own = {
        "id": "%20".join(str(id).split()),
        "address": f"{shard.address}/{inner}",
        # Empty instead of None: there is nothing at the address to fetch.
        "content": content or b"",
        "suffix": suffix,
    }
    return {**own, **{name: value for name, value in described.items() if name not in own}}


def _notes(text: Any) -> dict[str, Any]:
    """The mapping in the JSON ``text``; empty if there is none, because a recording can be scored all the same."""
    try:
        found = parsed_json(text, "notes") if isinstance(text, str) else None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _tar_rows(shard: Shard, file: BinaryIO) -> Iterator[_Row]:
    """Recordings of a tar file; the members that describe one stand beside it, with the same key."""
    key, described, recordings = "", dict[str, Any](), list[tuple[str, bytes]]()
    with open_tar(file, shard.address) as archive:
        for entry in tar_headers(archive):
            if not entry.isreg() or entry.issparse():
                continue
            folder, name = os.path.split(entry.name)
            stem, _, suffix = name.partition(".")
            if (of := os.path.join(folder, stem)) != key:
                yield from _tar_recordings(shard, recordings, described)
                key, described, recordings = of, {}, []
            content = archive.extractfile(entry)
            if content is None or not stem:  # hidden, such as the files that macOS adds
                continue
            if is_recording(f"x.{suffix}"):
                _check_size(entry.size)
                recordings.append((entry.name, _all_of(content, entry)))
            elif suffix in _DESCRIPTIONS and entry.size <= _MOST_TEXT:
                described[_DESCRIPTIONS[suffix]] = _all_of(content, entry).decode(errors="replace").strip()
        yield from _tar_recordings(shard, recordings, described)
        end = archive.offset
    # tarfile stops at anything that cannot be a member; zeros mark the end.
    file.seek(end)
    if file.read(_TAR_BLOCK) != bytes(_TAR_BLOCK):
        raise InputError(f"{shard.address} is cut off: the end of the archive is missing")


def _all_of(content: Any, entry: tarfile.TarInfo) -> bytes:
    found: bytes = content.read()
    if len(found) < entry.size:
        raise InputError(
            f"member {entry.name} is cut off: {entry.size:,} bytes are announced, {len(found):,} are there"
        )
    return found


def _tar_recordings(shard: Shard, recordings: list[tuple[str, bytes]], described: _Row) -> Iterator[_Row]:
    for name, content in recordings:
        yield _row(shard, name, content, PurePosixPath(name).suffix, described)
