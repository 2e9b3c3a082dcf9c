"""The recordings of a shard, read in order and piece by piece, from a disk or through fsspec."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from nes2net.audio.files import is_recording
from nes2net.audio.packed import RecordingBytes, audio_column
from nes2net.errors import InputError, first_line, one_line, readable_size
from nes2net.scale.libraries import library
from nes2net.scale.pieces import Piece
from nes2net.scale.sources import Shard, is_url, unreachable

#: Columns of the recordings of a piece that are not those of the shard.
OWN_COLUMNS = ("id", "address", "content", "suffix")
#: Bytes of content after which a piece ends, if it has whole batches; and at any rate.
_FULL, _OVERFULL = 64 << 20, 512 << 20
_MOST_BYTES = 2 << 30  # of a recording
_MOST_GROUP_BYTES = 8 << 30  # of a row group
_MOST_TEXT = 1 << 20  # bytes of a member of a tar file that describes a recording
_ROWS_AT_ONCE = 64
_TAR_BLOCK = 512
# Members of a tar file that describe a recording, and the columns for them.
_DESCRIPTIONS = {"json": "notes", "cls": "label", "txt": "text"}
# As the corpus `shards` has them.
_IDS = ("utterance_id", "id", "utt_id", "__key__")

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
        yield from {".parquet": _parquet_rows, ".arrow": _arrow_rows, ".tar": _tar_rows}[kind](shard, file)


@contextmanager
def opened(address: str) -> Iterator[BinaryIO]:
    """Open a file or a URL for reading in binary.

    Raises:
        InputError: if it cannot be opened, or is no regular file.
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


def _parquet_rows(shard: Shard, file: BinaryIO) -> Iterator[_Row]:
    parquet = library("pyarrow.parquet").ParquetFile(file)
    schema = parquet.schema_arrow
    audio = audio_column(schema, Path(shard.address))
    columns = [audio, *_plain_columns(schema, audio)]
    start = 0
    for group in range(parquet.metadata.num_row_groups):
        described = parquet.metadata.row_group(group)
        if described.total_byte_size > _MOST_GROUP_BYTES:
            raise InputError(
                f"{shard.address}: row group {group} has {readable_size(described.total_byte_size)}; at most "
                f"{readable_size(_MOST_GROUP_BYTES)} are accepted: write it with smaller row groups"
            )
        batches = parquet.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=columns, use_threads=False)
        for batch in batches:
            yield from _batch_rows(shard, batch, audio, start)
            start += batch.num_rows


def _arrow_rows(shard: Shard, file: BinaryIO) -> Iterator[_Row]:
    ipc = library("pyarrow.ipc")
    if file.read(6) == b"ARROW1":
        whole = ipc.open_file(file)
        batches: Iterable[Any] = map(whole.get_batch, range(whole.num_record_batches))
    else:
        file.seek(-8, os.SEEK_END)
        if file.read(8) != b"\xff\xff\xff\xff\0\0\0\0":  # without it, whole batches may be missing
            raise InputError(f"{shard.address} is cut off: the end of the stream is missing")
        file.seek(0)
        batches = ipc.open_stream(file)
    start = 0
    for batch in batches:
        audio = audio_column(batch.schema, Path(shard.address))
        yield from _batch_rows(shard, batch.select([audio, *_plain_columns(batch.schema, audio)]), audio, start)
        start += batch.num_rows


def _plain_columns(schema: Any, audio: str) -> list[str]:
    """The columns of texts, numbers and truth values, which stand in the results too."""
    types = library("pyarrow.types")
    plain = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    return [field.name for field in schema if field.name != audio and any(is_one(field.type) for is_one in plain)]


def _batch_rows(shard: Shard, batch: Any, audio: str, start: int) -> Iterator[_Row]:
    plain = [name for name in batch.schema.names if name != audio]
    columns = {name: batch.column(name).to_pylist() for name in plain}
    for place, value in enumerate(batch.column(audio)):
        content, name = _content_of(value)
        row = {key: values[place] for key, values in columns.items()}
        yield _row(shard, str(start + place), content, PurePosixPath(name or "").suffix, row)


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
    id = next((known[name] for name in _IDS if known.get(name) not in (None, "")), f"{shard.name}/{inner}")
    own = {
        "id": "%20".join(str(id).split()),
        "address": f"{shard.address}/{inner}",
        # Empty instead of None: there is nothing at the address to fetch.
        "content": content or b"",
        "suffix": suffix,
    }
    return {**own, **{name: value for name, value in described.items() if name not in own}}


def _notes(text: Any) -> dict[str, Any]:
    """The mapping that ``text`` is in JSON; empty if it is none: a recording can be scored all the same."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _tar_rows(shard: Shard, file: BinaryIO) -> Iterator[_Row]:
    """Recordings of a tar file; the members that describe one stand beside it, with the same key."""
    key, described, recordings = "", dict[str, Any](), list[tuple[str, bytes]]()
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for entry in archive:
            archive.members = []  # type: ignore[attr-defined]  # they would pile up
            if not entry.isreg() or entry.issparse():
                continue
            folder, name = os.path.split(entry.name)
            stem, _, suffix = name.partition(".")
            if (of := os.path.join(folder, stem)) != key:
                yield from _tar_recordings(shard, recordings, described)
                key, described, recordings = of, {}, []
            content = archive.extractfile(entry)
            if content is None or not stem:  # hidden, such as those that macOS adds
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
