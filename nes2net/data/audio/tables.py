"""Read Parquet and Arrow files of unknown origin, a few rows at a time, within a memory budget.

pyarrow decompresses pages and buffers of any size, and copies a dictionary's value into every row
that refers to it. So this module first reads decompressed sizes, in the page headers of Parquet
(parquet.thrift, in Thrift's compact protocol) and in Arrow's record batches (Message.fbs, in
FlatBuffers).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias
from weakref import finalize

from nes2net.lib.errors import InputError
from nes2net.lib.process.installation import optional
from nes2net.lib.storage.files import AnyPath, Budget, check_arrived
from nes2net.lib.web.remote import is_remote, open_remote

#: Size in which the footer and small columns of a remote file are read.
BLOCK_BYTES = 1 << 16

_ROWS_AT_ONCE = 128
_BYTES_AT_ONCE = 1 << 25
_MAX_COLUMNS = 1000
_HEADER_BYTES = 1024  # what a page costs besides its content, because its header is read in Python
_COLUMNS_OF_STEP = 8  # a row costs one step of the budget, and another step for every 8 columns
_FOOTER_END = 8  # a Parquet file ends with 8 bytes: the length of the footer and a mark
# Numbers of the fields of a page header in parquet.thrift: the sizes of the page, and a further header for each kind
# of page.
_DECOMPRESSED_SIZE = 2
_COMPRESSED_SIZE = 3
_DATA_PAGE = 5
_DICTIONARY_PAGE = 7
_DATA_PAGE_V2 = 8
# Numbers of the fields of the further header of a data page, and the number of an encoding.
_NUM_VALUES = 1
_ENCODING = 2
_ENCODING_V2 = 4
_DELTA_BYTE_ARRAY = 7
_ARROW_FILE = b"ARROW1"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def pyarrow_module(name: str, file: AnyPath) -> Any:
    """Import the module ``name``.

    Raises:
        MissingLibrary: if pyarrow is not installed.
    """
    return optional(name, f"{file} needs pyarrow", "parquet")


def _without_dictionary_types(schema: Any, replacement: Literal["index_type", "value_type"], budget: Budget) -> Any:
    # Describe decoded rows ("value_type") or a batch without dictionaries ("index_type").
    if len(schema) > _MAX_COLUMNS:
        raise InputError(f"{budget.name} has {len(schema):,} columns; at most {_MAX_COLUMNS:,} are read: remove some")
    types = pyarrow_module("pyarrow.types", budget.name)
    for number, field in enumerate(schema):
        if types.is_dictionary(field.type):
            schema = schema.set(number, field.with_type(getattr(field.type, replacement)))
    return schema


class ParquetTable:
    """Reads a Parquet file; only the requested columns are decoded.

    Args:
        budget: limits the memory for the footer.

    Attributes:
        schema: the :class:`pyarrow.Schema` of the file.
        counts: number of rows of each row group.

    Raises:
        InputError: if the file has too many columns or too large a footer.
        pyarrow.ArrowException, OSError: if the file is damaged.
    """

    def __init__(self, source: Path | BinaryIO, budget: Budget) -> None:
        parquet = pyarrow_module("pyarrow.parquet", budget.name)
        self._reader = open(source, "rb") if isinstance(source, Path) else source
        if isinstance(source, Path):
            finalize(self, self._reader.close)
        self._size = self._reader.seek(-_FOOTER_END, 2) + _FOOTER_END
        footer_size = int.from_bytes(self._reader.read(4), "little")
        if footer_size <= self._size:  # a larger size makes pyarrow raise an error later
            # pyarrow takes at most 256 bytes of memory for each byte of the footer.
            budget.take("footer", bytes=256 * footer_size)
        # No threads (also in `use_threads` below): a process forked later would wait for them for ever.
        # An open `source` is shared with _reader: each seeks before it reads.
        self._file = parquet.ParquetFile(
            source,
            pre_buffer=False,
            thrift_string_size_limit=1 << 24,
            thrift_container_size_limit=100_000,
        )
        self.schema = _without_dictionary_types(self._file.schema_arrow, "value_type", budget)
        metadata = self._file.metadata
        self.counts = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]

    def batches(self, columns: Sequence[str], budget: Budget, groups: Iterable[int] | None = None) -> Iterator[Any]:
        """Yield ``columns`` in batches of a few rows, each a :class:`pyarrow.RecordBatch`.

        Args:
            budget: counts the memory and the rows of the batches.
            groups: indices of the row groups to read; None for all.

        Raises:
            InputError: if the rows are too large or too many for ``budget``.
        """
        if groups is None:
            groups = range(len(self.counts))
        for group in groups:
            chunks = self._chunks(group, columns)
            for chunk in chunks:
                budget.take("columns", bytes=chunk.total_compressed_size)
            if hasattr(self._reader, "hold"):  # each chunk of a remote file is read only once
                self._reader.hold(map(self._extent, chunks))
            row_bytes = [self._estimated_bytes_per_row(chunk, self.counts[group], budget) for chunk in chunks]
            rows_at_once = max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // max(row_bytes, default=_BYTES_AT_ONCE)))
            for batch in self._file.iter_batches(rows_at_once, [group], list(columns), use_threads=False):
                for number, column in enumerate(batch.columns):
                    if hasattr(column, "dictionary_decode"):  # so that the budget counts the value of each row
                        batch = batch.set_column(number, batch.schema.names[number], column.dictionary_decode())
                budget.take("rows", bytes=batch.nbytes, steps=batch.num_rows * (1 + len(columns) // _COLUMNS_OF_STEP))
                yield batch

    def extents(self, columns: Sequence[str], group: int) -> list[tuple[int, int]]:
        """Return (offset, size) in bytes of the column chunks that :meth:`batches` reads."""
        return list(map(self._extent, self._chunks(group, columns)))

    def _chunks(self, group: int, columns: Sequence[str]) -> list[Any]:
        row_group = self._file.metadata.row_group(group)
        chunks = map(row_group.column, range(row_group.num_columns))
        # a struct has a chunk for each field
        return [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns]

    def _estimated_bytes_per_row(self, chunk: Any, num_rows: int, budget: Budget) -> int:
        # Estimated from the page headers: the mean, at least 1. If rows may share a value, a decoded row may hold a
        # copy of nearly a whole page: then at least the size of the largest such page.
        position, size_of_chunk = self._extent(chunk)
        end = position + size_of_chunk
        num_values = 0
        decompressed = 0
        largest_shared = 1  # size in bytes of the largest page with values that several rows may share
        while num_values < chunk.num_values and position < end:
            self._reader.seek(position)
            header = _thrift_struct(self._reader)
            size = header.get(_DECOMPRESSED_SIZE, -1)
            compressed = header.get(_COMPRESSED_SIZE, -1)
            if not (0 <= size < 1 << 31 and 0 <= compressed < 1 << 31):  # both are 32-bit integers
                raise ValueError("the header of a page has no sizes")
            budget.take("pages", bytes=size + _HEADER_BYTES)
            decompressed += size
            page = header.get(_DATA_PAGE) or header.get(_DATA_PAGE_V2) or {}
            # Several rows may share a value of a dictionary or, in DELTA_BYTE_ARRAY, the first bytes of a value.
            is_dictionary = bool(header.get(_DICTIONARY_PAGE))
            if is_dictionary or _DELTA_BYTE_ARRAY in (page.get(_ENCODING), page.get(_ENCODING_V2)):
                largest_shared = max(largest_shared, size)
            num_values += page.get(_NUM_VALUES, 0)
            position = self._reader.tell() + compressed
        return max(largest_shared, decompressed // max(num_rows, 1))

    def _extent(self, chunk: Any) -> tuple[int, int]:
        """Return (offset, size) in bytes; raise ValueError if they lie outside of the file."""
        start = min(filter(None, (chunk.data_page_offset, chunk.dictionary_page_offset)))
        if not 0 < start <= start + chunk.total_compressed_size <= self._size:
            raise ValueError(f"a column lies beyond its {self._size:,} bytes")
        return start, chunk.total_compressed_size


def _thrift_struct(file: BinaryIO) -> dict[int, Any]:
    """Read a struct in Thrift's compact protocol: id of a field → value, without texts."""
    fields: dict[int, Any] = {}
    number = 0
    while head := file.read(1)[0]:
        kind = head & 15
        # The high half has the distance from the preceding field's number, or 0 if the whole number follows.
        number = number + (head >> 4) if head >> 4 else _zigzag(file)
        if kind in (1, 2):  # true or false
            fields[number] = kind == 1
        elif kind in (4, 5, 6):  # an integer of 16, 32 or 64 bits
            fields[number] = _zigzag(file)
        elif kind == 8:  # a text
            file.seek(_varint(file), 1)
        elif kind == 12:  # a struct
            fields[number] = _thrift_struct(file)
        else:
            raise ValueError(f"the header of a page has a field of the unknown kind {kind}")
    return fields


def _varint(file: BinaryIO) -> int:
    """Read 7 bits a byte, the lowest first; the last byte is below 128."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)[0]
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise ValueError("the header of a page has a number of more than ten bytes")


def _zigzag(file: BinaryIO) -> int:
    """0, 1, 2, 3, … mean 0, −1, 1, −2, …"""
    value = _varint(file)
    return (value >> 1) ^ -(value & 1)


class ArrowTable:
    """Reads an Arrow file or stream, mapped into memory; ``datasets`` writes streams.

    An Arrow file is a stream behind a mark.

    Attributes:
        schema: the :class:`pyarrow.Schema` of the file.
        counts: number of rows of each record batch.

    Args:
        budget: limits the memory for the buffers of all batches, and their rows.

    Raises:
        InputError: if the file has too many columns.
        pyarrow.ArrowException, ValueError: if the file is damaged.
    """

    def __init__(self, path: Path, budget: Budget) -> None:
        self._ipc = pyarrow_module("pyarrow.ipc", budget.name)
        self._source = pyarrow_module("pyarrow", budget.name).memory_map(str(path))
        self._is_file = self._source.read(len(_ARROW_FILE)) == _ARROW_FILE
        # A file pads its mark to 8 bytes.
        self._start = 8 if self._is_file else 0
        self._source.seek(self._start)
        reader = self._ipc.MessageReader.open_stream(self._source)
        first = reader.read_next_message()
        header = _header_of_message(first)
        if first.type != "schema" or header is None:  # pyarrow would read any message as a schema
            raise ValueError("it does not begin with a schema")
        if _field(header, 0, "<h"):  # endianness of the schema
            raise ValueError("its numbers are big-endian")
        self.schema = self._ipc.read_schema(first)
        # The schema with which record batches are read one by one, without dictionaries.
        self._index_schema = _without_dictionary_types(self.schema, "index_type", budget)
        self._messages: list[Any] = []  # of the record batches
        self.counts: list[int] = []
        dictionaries = 0
        for message in reader:
            batch = _header_of_message(message)
            if message.type == "dictionary":
                batch = _field(batch, 1, None)  # the record batch in a dictionary batch
                # A dictionary may extend a copy of an earlier one, so each is counted with all earlier ones.
                dictionaries += _decompressed_bytes(batch, message.body)
                budget.take("dictionaries", bytes=dictionaries)
            elif message.type == "record batch":
                rows = _field(batch, 0, "<q") or 0
                steps = 1 + max(rows, 0) * (1 + len(self.schema) // _COLUMNS_OF_STEP)
                budget.take("rows", bytes=_decompressed_bytes(batch, message.body), steps=steps)
                self._messages.append(message)
                self.counts.append(rows)
        self._check_end()

    def _check_end(self) -> None:
        """Raise ValueError if the mark for the end is missing: whole batches may be missing."""
        ends = [(self._source.tell(), _END_OF_STREAM)]
        if self._is_file:
            ends.append((self._source.size(), _ARROW_FILE))
        if any(self._source.read_at(len(mark), max(0, end - len(mark))) != mark for end, mark in ends):
            raise ValueError("its end is missing")

    def batches(self, columns: Sequence[str], budget: Budget, groups: Iterable[int] | None = None) -> Iterator[Any]:
        """Yield ``columns`` of each record batch, as a :class:`pyarrow.RecordBatch`.

        Args:
            budget: not used; the constructor's budget counted the batches.
            groups: indices of the record batches; if given, dictionary types hold indices.
        """
        if groups is not None:
            for group in groups:
                yield _validate(self._ipc.read_record_batch(self._messages[group], self._index_schema), columns)
            return
        self._source.seek(self._start)
        fields = [number for number, name in enumerate(self.schema.names) if name in columns]
        options = self._ipc.IpcReadOptions(use_threads=False, included_fields=fields)
        for batch in self._ipc.open_stream(self._source, options=options):
            yield _validate(batch, columns)


#: An open Parquet or Arrow file.
Table: TypeAlias = ParquetTable | ArrowTable


def open_table(path: Path, budget: Budget) -> Table:
    """Open a Parquet file if the suffix is ``.parquet``, or else an Arrow file."""
    is_parquet = path.suffix.partition("?")[0].lower() == ".parquet"
    if is_remote(path):
        if not is_parquet:
            raise InputError(
                "a remote shard must be a Parquet or tar file, because Arrow files have no index: copy it here"
            )
        return ParquetTable(open_remote(str(path), BLOCK_BYTES), budget)
    check_arrived(path)
    return ParquetTable(path, budget) if is_parquet else ArrowTable(path, budget)


def open_rows(path: Path) -> tuple[Table, Budget]:
    """Open a table of short rows; budget one step for each byte of the file."""
    size = path.stat().st_size
    budget = Budget.of(str(path), size, "if it can be trusted, write it uncompressed")
    budget.most_steps = max(budget.most_steps, size)
    return open_table(path, budget), budget


def _validate(batch: Any, columns: Sequence[str]) -> Any:
    batch = batch.select(columns)
    # Without this check, pyarrow would read at an offset outside of the data, and the process might crash.
    batch.validate(full=True)
    return batch


class _FlatTable(NamedTuple):
    """A FlatBuffers table in a message, of which pyarrow has verified the offsets."""

    content: memoryview
    position: int


def _header_of_message(message: Any) -> Any:
    content = memoryview(message.metadata)
    (position,) = struct.unpack_from("<I", content)
    return _field(_FlatTable(content, position), 2, None)


def _field(table: Any, number: int, number_format: str | None) -> Any:
    # A table begins with the distance back to its vtable. The vtable lists the offset of each field in the table.
    content = table.content
    (back,) = struct.unpack_from("<i", content, table.position)
    vtable = table.position - back
    (size,) = struct.unpack_from("<H", content, vtable)
    entry = 4 + 2 * number
    if entry >= size:
        return None
    (offset,) = struct.unpack_from("<H", content, vtable + entry)
    if not offset:
        return None
    position = table.position + offset
    if number_format is not None:
        return struct.unpack_from(number_format, content, position)[0]
    (distance,) = struct.unpack_from("<I", content, position)
    return _FlatTable(content, position + distance)


def _decompressed_bytes(batch: Any, body: Any) -> int:
    # The buffers begin with their decompressed sizes (−1: not compressed).
    # Fields of RecordBatch in Message.fbs: 0 length, 2 buffers, 3 compression.
    buffers = _field(batch, 2, None)
    is_compressed = _field(batch, 3, None) is not None
    if buffers is None:
        return 0
    (count,) = struct.unpack_from("<I", buffers.content, buffers.position)
    first = buffers.position + 4
    total = 0
    for offset, length in struct.iter_unpack("<qq", buffers.content[first : first + 16 * count]):
        stated = -1
        if is_compressed and 0 <= offset <= offset + 8 <= body.size and length:
            (stated,) = struct.unpack_from("<q", body, offset)
        total += stated if stated >= 0 else max(length, 0)
    return total
