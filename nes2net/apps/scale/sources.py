"""List the shards of a source: Parquet, Arrow and tar files, and lists of recordings."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import glob
from itertools import chain, islice
from pathlib import Path, PurePosixPath

from nes2net.data.audio.files import list_recordings, walk
from nes2net.data.audio.packed import SHARD_SUFFIXES
from nes2net.data.corpora.shards import is_shard, shard_addresses
from nes2net.lib.errors import InputError, Unreachable, at_line, readable_size, short_repr
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.text_files import MAX_BYTES, check_utf8, decode_text, read_text
from nes2net.lib.web.remote import RemotePath, address_of, forget, is_address, open_remote, status_of
from nes2net.scoring.journal import stamp

_LIST_SUFFIXES = (".txt", ".lst", ".list")
#: The stamp of a file if the store of the file gives no facts about the file.
UNKNOWN = "-"
_ROWS_OF_LIST = 1000  # number of recordings in a shard of a list
_LIST_BYTES = 1 << 20  # of a list that a request brings


@dataclass(frozen=True)
class Shard:
    """Recordings that are scored together, with results in one file."""

    address: str
    """Path or URL of the file, or of a list, with the number of the part's first recording."""
    stamp: str
    """Text that changes if the file, or the part of the list, changes."""
    name: str = ""
    """Path relative to the source, part of the id of a recording without an id."""
    rows: tuple[tuple[str, str], ...] = ()
    """Id and address of each recording of a list; empty for a file of recordings."""


def shards_of(source: AnyPath) -> list[Shard]:
    """List the shards of ``source``, sorted by address.

    docs/scale.md lists the sources. A list is divided into shards of a thousand recordings.

    Raises:
        InputError: if the source has no recordings, or cannot be listed.
        MissingLibrary: if a URL needs a library that is not installed.
    """
    shards = _unsorted_shards(str(source))
    if not shards:
        raise InputError(
            f"{short_repr(str(source))} has no recordings: name {', '.join(SHARD_SUFFIXES)} files, a list, or a folder of "
            "recordings"
        )
    for shard in shards:
        check_utf8([shard.address, *chain(*shard.rows)])
    return sorted(shards, key=lambda shard: shard.address)


def _unsorted_shards(name: str) -> list[Shard]:
    address = _absolute_path_or_url(name)
    if PurePosixPath(name).suffix.lower() in _LIST_SUFFIXES:
        return list(_shards_of_list(address, _rows_of_list(address)))
    if is_address(name):
        files = shard_addresses(address)
    elif "*" in name:
        files = glob(address, recursive=True)
    elif os.path.isdir(address):
        files = []
        for folder, _, names in walk(address):
            files += [os.path.join(folder, name) for name in names]
    else:
        files = [address]
        if not os.path.exists(address):
            raise InputError(f"{name} not found: name a folder, a shard, a list or a URL")
        if not is_shard(os.path.basename(address)):
            raise InputError(
                f"{name}: its suffix must be {', '.join(SHARD_SUFFIXES)}, or for a list {', '.join(_LIST_SUFFIXES)}"
            )
    source_folder = f"{address.rstrip('/')}/"
    shards = []
    for file in files:
        if is_address(file) or is_shard(os.path.basename(file)):
            name_in_source = file.removeprefix(source_folder)
            shards.append(_file_shard(file, "" if name_in_source == file else name_in_source))
    if shards or not os.path.isdir(address):
        return shards
    # A local folder without shards may hold recordings.
    recordings = list_recordings(Path(address))
    return list(_shards_of_list(address, [(_as_id(os.path.relpath(file, address)), str(file)) for file in recordings]))


def _absolute_path_or_url(address: str) -> str:
    return address_of(address, with_query=True) if is_address(address) else os.path.abspath(address)


def _rows_of_list(name: str) -> Iterator[tuple[str, str]]:
    if is_address(name):
        forget(name)  # the list may have changed
        file = open_remote(name, _LIST_BYTES)
        if file.size > MAX_BYTES:
            raise InputError(f"{name}: is longer than {readable_size(MAX_BYTES)}, the most that is read here; split it")
        text = decode_text(RemotePath(name), file.read())
    else:
        text = read_text(Path(name))
    for number, line in enumerate(text.split("\n"), start=1):
        fields = [field.strip() for field in line.split("\t")]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if len(fields) > 2 or not all(fields):
            raise InputError(
                f"{name}, line {number}: expected a path or URL, or an id, a tab, and a path or URL; found {short_repr(line)}; correct it"
            )
        address = fields[-1]
        if not is_address(address):
            address = os.path.join(os.path.dirname(name), address)
        with at_line(name, number):
            address = _absolute_path_or_url(address)
        yield _as_id(fields[0]), address


def _as_id(name: str) -> str:
    """Replace spaces, because they separate the fields of score files."""
    return "%20".join(name.split())


def _shards_of_list(name: str, rows: Iterable[tuple[str, str]]) -> Iterator[Shard]:
    """Divide a list; the stamp of a shard changes if one of its local files changes."""
    rows = iter(rows)
    start = 0
    while rows_of_shard := tuple(islice(rows, _ROWS_OF_LIST)):
        digest = hashlib.sha256()
        for id, address in rows_of_shard:
            file_stamp = "" if is_address(address) else stamp(address)
            # Another text would make results of earlier runs look outdated.
            digest.update(f"{json.dumps([id, address, file_stamp])}\n".encode())
        yield Shard(f"{name}#{start:09d}", digest.hexdigest(), f"{PurePosixPath(name).name}#{start:09d}", rows_of_shard)
        start += len(rows_of_shard)


def _file_shard(address: str, name: str = "") -> Shard:
    name = name or PurePosixPath(address).name
    if not is_address(address):
        return Shard(address, stamp(address), name)
    try:
        return Shard(address, str(status_of(address)), name)
    except (InputError, Unreachable):  # reading the shard later will report the error
        return Shard(address, UNKNOWN, name)
