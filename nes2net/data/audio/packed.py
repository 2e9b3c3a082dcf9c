"""Open recordings in files, in memory, and in shards: Parquet, Arrow or tar files of many recordings.

A recording in a shard has an address: the path of the shard, then a row (counted from 0) or the
name of a member, as in ``data/test-00000.parquet/17``, ``data-00000-of-00002.arrow/3`` or
``shard-000.tar/utt1.flac``. All functions that read audio accept it in place of a path. Nothing is
unpacked to files. A process keeps up to 64 shards open, and the row groups that it read last.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, TypeAlias
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.parts import Fetched, PartOf, RecordingBytes
from nes2net.data.audio.tables import BLOCK_BYTES, ParquetTable, open_table, pyarrow_module
from nes2net.lib.errors import InputError, as_input_error, concerning, readable_size, short_repr
from nes2net.lib.process.this_process import enough_memory
from nes2net.lib.storage.files import AnyPath, Budget, check_arrived
from nes2net.lib.storage.unpacking import open_tar, tar_headers
from nes2net.lib.web import remote
from nes2net.lib.web.remote import RemotePath, Status, is_address, is_remote, open_remote

#: Suffixes of shards, in lower case.
SHARD_SUFFIXES = (".parquet", ".arrow", ".tar")

# The suffix of a shard within an address, before a separator and the row or member.
_SHARD = re.compile(rf"(?:{'|'.join(map(re.escape, SHARD_SUFFIXES))})(?=[/\\].)", re.IGNORECASE)
# Usual names of the column of recordings, the most likely first.
_AUDIO_COLUMNS = ("audio", "wav", "flac", "mp3", "speech")
_BYTES_TYPES = ("binary", "large_binary", "binary_view")  # pyarrow's names
# Most bytes of row groups in memory; the one that was used last is kept even if it is larger.
_KEPT_BYTES = 256 << 20
#: The most bytes of a recording in a shard.
MAX_BYTES = 2 << 30
_TAR_BLOCK = 512  # bytes
_TAR_BLOCK_BYTES = 1 << 22  # the part of a tar file that is fetched at once


#: A recording: a path, an address in a shard, the content of a file, or a part of such a recording.
AnyRecording: TypeAlias = AnyPath | RecordingBytes | PartOf


def whole_of(recording: AnyRecording) -> Any:
    """Return the whole recording behind a part: a path, or :class:`RecordingBytes`."""
    return recording.recording if isinstance(recording, PartOf) else recording


def not_found(path: AnyPath) -> InputError:
    problem = "not found"
    if is_address(path):
        path = RemotePath(path)
        problem = "is an address, and not read as a file: download it, or list shards"
    return InputError(problem, subject=f"audio file {path}")


class InMemory(io.BytesIO):
    """A file in memory with a name, by which decoders recognise some formats."""

    def __init__(self, content: bytes, suffix: str) -> None:
        super().__init__(content)
        self.name = f"recording{suffix}"


def shard_of(path: AnyPath) -> tuple[Path, str] | None:
    """Split an address into shard and row or member, unchecked; None for other paths."""
    text = os.fspath(path)
    kind = RemotePath if is_remote(path) else Path
    for match in _SHARD.finditer(text):
        shard = text[: match.end()]
        if is_remote(path) or os.path.isfile(shard):
            return kind(shard), text[match.end() + 1 :].replace(os.sep, "/")
    return None


def fetch(recording: AnyRecording) -> Fetched:
    """Read a recording in a shard into memory, so that it can be opened many times.

    A file becomes a :class:`~pathlib.Path`, a part the whole recording.

    Raises:
        InputError: if the shard cannot be read or has no such recording.
        MissingLibrary: if the shard needs pyarrow.
    """
    whole = whole_of(recording)
    if isinstance(whole, RecordingBytes):
        return whole
    address = shard_of(whole)
    if address is None:
        # a Path is returned unchanged, because a copy takes time
        return whole if isinstance(whole, Path) else Path(whole)
    with _lock_shard(*address) as shard:
        content, suffix = shard.content(address[1])
    return RecordingBytes(str(whole), content, suffix)


def open_recording(source: Fetched) -> BinaryIO:
    """Open a recording for reading in binary mode.

    Raises:
        OSError: if a file cannot be opened.
    """
    if isinstance(source, Path):
        return open(source, "rb")
    suffix = source.suffix
    if suffix is None:
        suffix = Path(source.name).suffix
    if not re.fullmatch(r"\.(?!raw$)[A-Za-z0-9]{1,8}", suffix):
        suffix = ""
    return InMemory(source.content, suffix)


def is_there(path: AnyPath) -> bool:
    """Whether ``path`` is a regular file, or the address of an existing row or member of a shard.

    Raises:
        InputError: if the shard cannot be read.
        MissingLibrary: if the shard needs pyarrow.
    """
    address = shard_of(path)
    if address is None:
        return os.path.isfile(path)
    with _lock_shard(*address) as shard:
        return shard.has(address[1])


def size_of(path: AnyPath) -> int:
    """Return the size of a recording in bytes; in a Parquet file, this reads the whole row group.

    Raises:
        InputError, MissingLibrary: as :func:`fetch`.
        OSError: if there is no such file.
    """
    address = shard_of(path)
    if address is None:
        return os.path.getsize(path)
    with _lock_shard(*address) as shard:
        return shard.size(address[1])


def status_of(path: AnyPath) -> Status:
    """Read the size and the modification time (in nanoseconds) of a file, or of the shard that holds a recording.

    Raises:
        OSError: if there is no such file.
        ValueError: if no file can have that name.
    """
    address = shard_of(path)
    file = address[0] if address else path
    if is_remote(file):
        return remote.status_of(str(file))
    status = os.stat(file)
    return Status(status.st_size, status.st_mtime_ns)


def audio_column(schema: Any, shard: Path) -> str:
    """Find the column with audio files: bytes, or structs with a field ``bytes``.

    A column that ``datasets`` declares as audio comes before usual names.

    Args:
        schema: a :class:`pyarrow.Schema`.

    Raises:
        InputError: if there is no such column.
    """
    types = pyarrow_module("pyarrow.types", shard)
    features = (schema.metadata or {}).get(b"huggingface", b"").decode(errors="replace")
    for name in (*re.findall(r'"([^"]+)":\s*\{[^{}]*"_type":\s*"Audio"', features), *_AUDIO_COLUMNS):
        index = schema.get_field_index(name)
        if index < 0:
            continue
        fields = [schema.field(index)]
        if types.is_struct(fields[0].type):
            fields = [field for field in fields[0].type if field.name == "bytes"]
        if any(str(field.type) in _BYTES_TYPES for field in fields):
            return name
    raise InputError(
        f"{shard}: expected a column 'audio' with the content of audio files (struct<bytes, path>), found "
        f"{short_repr(', '.join(schema.names))}; write it with this column"
    )


def _is_row(text: str, num_rows: int) -> bool:
    # The text may have at most 15 digits, because int() refuses thousands of digits.
    return text.isascii() and text.isdecimal() and len(text) < 16 and int(text) < num_rows


def content_of(value: Any) -> tuple[bytes | None, str]:
    """Take bytes and file name from a cell of pyarrow.

    Without bytes, the first is None, and the name may be a path. Without a name, it is empty.
    """
    if isinstance(value, dict):
        return value.get("bytes"), str(value.get("path") or "")
    if isinstance(value, bytes):
        return value, ""
    return None, str(value or "")


def check_size(size: int) -> None:
    """Raise :class:`InputError` if ``size`` bytes are too many for memory."""
    if size > MAX_BYTES:
        raise InputError(f"it has {readable_size(size)}; at most {readable_size(MAX_BYTES)} are read: split it")


class _Table:
    """An open Parquet or Arrow file, read by row groups or record batches."""

    block_bytes = BLOCK_BYTES

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key = object()  # identifies this table in the keys of ``_OpenShards.groups``
        self.table = open_table(path, self._budget())
        self.column = audio_column(self.table.schema, path)
        # index of the first row of each row group; the last item is the number of rows
        self.ends = [0, *accumulate(self.table.counts)]

    def has(self, row_text: str) -> bool:
        return _is_row(row_text, self.ends[-1])

    def block(self, row_text: str) -> int:
        return bisect_right(self.ends, int(row_text)) - 1  # the row group

    def extents(self, block: int) -> list[tuple[int, int]]:
        return self.table.extents([self.column], block) if isinstance(self.table, ParquetTable) else []

    def size(self, row_text: str) -> int:
        return len(self.content(row_text)[0])

    def content(self, row_text: str) -> tuple[bytes, str]:
        """Return the bytes of the recording in a row, and the suffix of its file name."""
        if not _is_row(row_text, self.ends[-1]):
            raise InputError(
                f"there is no row {short_repr(row_text)}; it has {self.ends[-1]:,}, counted from 0: name one of these"
            )
        row = int(row_text)
        group = self.block(row_text)
        values = _state.group((self.key, group), lambda: self._read(group))
        content, name = content_of(values[row - self.ends[group]].as_py())
        if content is None:
            problem = "it has no audio bytes"
            if name:
                problem += f", only the path {short_repr(name)}: write the shard with its audio"
            raise InputError(problem)
        check_size(len(content))
        return content, PurePosixPath(name).suffix

    def _read(self, group: int) -> Any:
        batches = self.table.batches([self.column], self._budget(), [group])
        # With the type, because a group without rows gives no batches.
        return pyarrow_module("pyarrow", self.path).chunked_array(
            [batch.column(0) for batch in batches], type=self.table.schema.field(self.column).type
        )

    def _budget(self) -> Budget:
        return Budget.of(str(self.path), status_of(self.path).size, "if it can be trusted, write it uncompressed")


class Member(NamedTuple):
    name: str
    """Without ``.`` and doubled ``/``."""
    offset: int
    """In bytes, of the content in the tar file."""
    size: int
    """In bytes."""


def tar_members(path: Path) -> list[Member]:
    """List the files in an uncompressed tar file.

    Raises:
        tarfile.TarError: if the file is cut off, or is not an uncompressed tar file.
        InputError: if a header is too long, or if a member has an absolute name, which would
            address another file.
    """
    if is_remote(path):
        address = str(path)

        def list_members() -> bytes:
            return json.dumps(list(members_of(open_shard(path), address))).encode()

        # A tar file has no index: it is read as a whole only once. If Member changes, rename "members".
        return [Member(*row) for row in json.loads(remote.read_cached(address, "members", list_members))]
    check_arrived(path)
    with open(path, "rb") as file:
        return list(members_of(file, str(path)))


def open_shard(path: AnyPath) -> BinaryIO:
    """Open the file; raise :class:`InputError` if it is not a regular file."""
    if is_remote(path):
        return open_remote(str(path), _TAR_BLOCK_BYTES)  # type: ignore[no-any-return]
    check_is_file(path)
    return open(path, "rb")


def check_is_file(path: AnyPath) -> None:
    """Raise :class:`InputError` if ``path`` is not a regular file; opening a pipe would wait for ever."""
    if not os.path.isfile(path):
        raise InputError(f"{path} not found, or not a regular file: correct its path")


def members_of(file: BinaryIO, name: str) -> Iterator[Member]:
    """Yield the regular files in ``file``, with the errors of :func:`tar_members`."""
    with open_tar(file, name) as archive:
        for entry in tar_headers(archive):
            if not entry.isreg() or entry.issparse():
                continue
            if entry.name.startswith("/"):
                raise InputError(
                    f"{name} has a member with an absolute name, {short_repr(entry.name)}: write the archive with relative names"
                )
            yield Member(str(PurePosixPath(entry.name)), entry.offset_data, entry.size)
        end = archive.offset
    # At bytes that cannot be a member, tarfile stops silently. A complete archive ends with zeros, so this check
    # finds a cut.
    file.seek(end)
    if file.read(_TAR_BLOCK) != bytes(_TAR_BLOCK):
        raise tarfile.ReadError("the end of the archive is missing")


def member_content(file: BinaryIO, member: Member) -> bytes:
    """Read the content of ``member``.

    Raises:
        tarfile.TarError: if the tar file is cut off.
        InputError: if the member is too large to be read into memory.
    """
    check_size(member.size)
    file.seek(member.offset)
    content = file.read(member.size)
    if len(content) < member.size:
        raise tarfile.ReadError(
            f"{member.name} is cut off: {member.size:,} bytes are announced, only {len(content):,} follow"
        )
    return content


class _Tar:
    block_bytes = _TAR_BLOCK_BYTES

    def __init__(self, path: Path) -> None:
        self.members = {member.name: member for member in tar_members(path)}
        self.file = open_shard(path)
        if not is_remote(path):
            finalize(self, self.file.close)

    def has(self, name: str) -> bool:
        return name in self.members

    def block(self, name: str) -> int:
        return self._member(name).offset // _TAR_BLOCK_BYTES  # the piece that is fetched at once

    def extents(self, block: int) -> list[tuple[int, int]]:
        return [(block * _TAR_BLOCK_BYTES, _TAR_BLOCK_BYTES)]

    def size(self, name: str) -> int:
        return self._member(name).size

    def content(self, name: str) -> tuple[bytes, str]:
        member = self._member(name)
        return member_content(self.file, member), PurePosixPath(member.name).suffix

    def _member(self, name: str) -> Member:
        if name not in self.members:
            raise InputError("the shard has no file of this name: correct the name")
        return self.members[name]


#: An open shard. The methods of a shard find a recording by its row, or by the name of its member.
_Open: TypeAlias = _Table | _Tar


def _open(shard: Path, absolute_path: str, status: Status) -> _Open:
    """Open a shard; the further arguments distinguish a changed file, or another working directory."""
    return _KINDS[shard.suffix.lower()](shard)


class _OpenShards:
    def __init__(self) -> None:
        self.turn = threading.RLock()  # guards the following, and reading open shards
        self.open = lru_cache(64)(_open)
        self.groups: OrderedDict[tuple[object, int], Any] = OrderedDict()

    def group(self, key: tuple[object, int], read: Callable[[], Any]) -> Any:
        # The key is ``key`` of a _Table, and the row group. The latest are kept, at most 256 MiB or a single larger
        # one. The caller holds ``turn``.
        if key not in self.groups:
            self.groups[key] = read()
            while len(self.groups) > 1 and sum(values.nbytes for values in self.groups.values()) > _KEPT_BYTES:
                self.groups.popitem(last=False)
        self.groups.move_to_end(key)
        return self.groups[key]


_state = _OpenShards()
_KINDS: dict[str, Callable[[Path], _Open]] = {".parquet": _Table, ".arrow": _Table, ".tar": _Tar}


def _forget() -> None:  # in a forked process
    global _state
    _state = _OpenShards()


if hasattr(os, "register_at_fork"):
    # During a fork, another thread of the parent process may hold the lock. Open files would share their position with
    # the parent process.
    os.register_at_fork(after_in_child=_forget)


def blocks_of(paths: Sequence[Path]) -> NDArray[np.int64]:
    """Number what is read at once, (N,): row groups, record batches, 4 MiB of a tar file, files."""
    numbers: dict[tuple[Path, int], int] = {}
    blocks = np.empty(len(paths), np.int64)
    for index, path in enumerate(paths):
        shard_and_block = (path, 0)
        address = shard_of(path)
        if address is not None:
            with _lock_shard(*address) as shard:
                shard_and_block = (address[0], shard.block(address[1]))
        blocks[index] = numbers.setdefault(shard_and_block, len(numbers))
    return blocks


def fetch_block(path: Path) -> None:
    """Bring the block of a remote recording into the folder of fetched parts."""
    address = shard_of(path)
    if address is None or not is_remote(path):
        return
    with _lock_shard(*address) as shard:
        extents = shard.extents(shard.block(address[1]))
    open_remote(str(address[0]), shard.block_bytes).hold(extents)


@contextmanager
def _lock_shard(shard: Path, row_or_member: str) -> Iterator[_Open]:
    """Lock the open shards for this thread; turn errors into :class:`InputError`."""
    state = _state
    unit = "row" if row_or_member.isdecimal() and shard.suffix.lower() != ".tar" else "member"
    with (
        state.turn,
        concerning(f"{unit} {row_or_member} of {shard} cannot be read:"),
        as_input_error("the shard is cut off or damaged", Exception),  # a damaged shard can raise anything
        enough_memory(lambda: "it needs more memory than there is"),
    ):
        # A changed shard has another status, and is opened again.
        yield state.open(shard, os.path.abspath(shard), status_of(shard))
