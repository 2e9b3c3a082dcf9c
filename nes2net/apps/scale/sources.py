"""List the shards of a source: Parquet, Arrow and tar files, and lists of recordings, here or in an object store."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from nes2net.apps.scale.libraries import library
from nes2net.data.audio.files import recordings_listed
from nes2net.data.audio.packed import SHARD_SUFFIXES
from nes2net.data.corpora.shards import is_shard
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError, MissingLibrary, first_line, shown
from nes2net.lib.text_files import read_text
from nes2net.scoring.journal import stamp

#: A folder, file or pattern, or a URL of one of these; or trials; or paths and URLs of recordings or shards.
Source: TypeAlias = str | Path | Sequence[Trial] | Sequence[str | Path]

_LIST_SUFFIXES = (".txt", ".lst", ".list")
#: The stamp of a file if its store gives no facts about the file.
UNKNOWN = "-"
_ROWS_OF_LIST = 1000  # recordings of a list that make a shard
_HUB = "hub:"
# Names that stores use for the version of a file, or for the time of its last change.
_CHANGES = ("ETag", "etag", "blob_id", "LastModified", "mtime", "created")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[A-Za-z][A-Za-z0-9+.-]+)*://")


@dataclass(frozen=True)
class Shard:
    """Recordings that are scored together, and whose results are one file."""

    address: str
    """Path or URL of the file, or of a list with the number of the first recording."""
    stamp: str
    """Text that changes if the file, or the part of the list, changes."""
    name: str = ""
    """Path of the shard relative to the source; ids of recordings without an id begin with this name."""
    rows: tuple[tuple[str, str], ...] = ()
    """Id and address of each recording of a list; empty for a file of recordings."""


def is_url(address: str | Path) -> bool:
    """Whether ``address`` is a URL, which fsspec opens, and not a path.

    >>> is_url("s3://bucket/a.parquet"), is_url("data/a.parquet"), is_url(Path("C:/a.parquet"))
    (True, False, False)
    """
    return isinstance(address, str) and _URL.match(address) is not None


def shards_of(source: Source) -> list[Shard]:
    """The shards of ``source``, sorted by address.

    ========================================== =========================================================
    folder, or URL of one                      all ``.parquet``, ``.arrow`` and ``.tar`` files below it but
                                               ``labels.parquet``; if it has none, its recordings
    file, pattern with ``*``, or URL of these  shards of these kinds
    ``hub:OWNER/NAME[@REVISION]``              the shards of a data set of the Hugging Face hub, which stay there
    ``.txt``, ``.lst`` or ``.list``            a list: a path or URL per line, or an id, a tab, and a path or
                                               URL; paths are relative to the list, ``#`` begins a comment
    trials                                     their ids and audio
    several paths and URLs                     shards of these kinds, and recordings
    ========================================== =========================================================

    A thousand recordings of a list make a shard.

    Raises:
        InputError: if the source has no recordings, or cannot be listed.
        MissingLibrary: if a URL needs a library that is not installed.
    """
    if isinstance(source, (str, Path)):
        shards = _shards_at(str(source))
    else:
        shards = []
        recordings = []
        for item in source:
            if isinstance(item, Trial):
                recordings.append((item.id, str(item.audio_path())))
            elif _is_shard(str(item)):
                shards.append(_shard(str(item)))
            else:
                recordings.append((_id_of(str(item)), str(item)))
        shards += _listed("list", recordings)
    if not shards:
        source_name = "the source"
        if isinstance(source, (str, Path)):
            source_name = shown(str(source))
        raise InputError(
            f"{source_name} has no recordings: "
            f"{', '.join(SHARD_SUFFIXES)} files, a list or a folder of recordings are expected"
        )
    return sorted(shards, key=lambda shard: shard.address)


def _shards_at(name: str) -> list[Shard]:
    """The shards of a source given as a text."""
    if name.startswith(_HUB):
        name = f"hf://datasets/{name.removeprefix(_HUB)}"
    if PurePosixPath(name).suffix.lower() in _LIST_SUFFIXES:
        return list(_listed(_absolute(name), _rows_of_list(name)))
    address = _absolute(name)
    if "*" not in name and not is_url(name) and not os.path.exists(address):
        raise InputError(f"{name} not found: a folder, a shard, a list or a URL is expected")
    if "*" not in name and _is_shard(name) and not os.path.isdir(address):
        return [_shard(name)]
    if os.path.isfile(address):
        raise InputError(
            f"{name}: expected {', '.join(SHARD_SUFFIXES)} or a list ({', '.join(_LIST_SUFFIXES)}), by its suffix"
        )
    try:
        store, path = library("fsspec.core").url_to_fs(address)
        if "*" in path:
            files = store.glob(path)
        else:
            files = store.find(path)
    except Exception as error:  # each file system has errors of its own
        raise unreachable(name, error) from error
    folder = f"{path.rstrip('/')}/"
    shards = []
    for file in filter(_is_shard, files):
        name_in_folder = ""
        if file.startswith(folder):
            name_in_folder = file.removeprefix(folder)
        if is_url(name):
            file = str(store.unstrip_protocol(file))
        shards.append(_shard(file, name_in_folder))
    if shards or not os.path.isdir(address):
        return shards
    recordings = recordings_listed(Path(address))
    return list(_listed(address, [(_id_of(os.path.relpath(file, address)), str(file)) for file in recordings]))


def _absolute(address: str) -> str:
    return address if is_url(address) else os.path.abspath(address)


def _rows_of_list(name: str) -> Iterator[tuple[str, str]]:
    """The id and the address of the recording in each line of a list."""
    if is_url(name):
        folder = name.rpartition("/")[0]
        try:
            with library("fsspec").open(name, "rt", encoding="utf-8") as file:
                text = file.read()
        except Exception as error:
            raise unreachable(name, error) from error
    else:
        folder = os.path.dirname(name)
        text = read_text(Path(name))
    for number, line in enumerate(text.split("\n"), start=1):
        fields = [field.strip() for field in line.split("\t")]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if len(fields) > 2 or not all(fields):
            raise InputError(
                f"{name}, line {number}: expected a path or URL, or an id, a tab, and a path or URL; found {shown(line)}"
            )
        address = fields[-1]
        if not is_url(address):
            address = os.path.join(folder, address)
        yield _id_of(fields[0]), address


def _is_shard(address: str) -> bool:
    return is_shard(PurePosixPath(address.partition("?")[0]).name)


def unreachable(address: str, error: Exception) -> InputError:
    """The error for an address that fsspec cannot read, for example because it needs a library or an account."""
    if isinstance(error, ImportError):  # of s3fs, gcsfs, aiohttp …
        return MissingLibrary(f"{address} needs a library of its store ({first_line(error)}): install it with pip")
    return InputError(f"{address} cannot be read ({type(error).__name__}: {first_line(error)})")


def _id_of(name: str) -> str:
    """``name`` as an id: one word, because spaces separate the fields of score files."""
    return "%20".join(name.split())


def _listed(name: str, rows: Iterable[tuple[str, str]]) -> Iterator[Shard]:
    """Make shards of a list; their stamps include the stamps of local files."""
    absolute_rows = ((id, _absolute(address)) for id, address in rows)
    start = 0
    while rows_of_shard := tuple(islice(absolute_rows, _ROWS_OF_LIST)):
        digest = hashlib.sha256()
        for id, address in rows_of_shard:
            file_stamp = "" if is_url(address) else stamp(address)
            digest.update(f"{json.dumps([id, address, file_stamp])}\n".encode())
        yield Shard(f"{name}#{start:09d}", digest.hexdigest(), f"{PurePosixPath(name).name}#{start:09d}", rows_of_shard)
        start += len(rows_of_shard)


def _shard(address: str, name: str = "") -> Shard:
    """The shard at ``address``; without a ``name``, it is named after the last part of the address."""
    name = name or PurePosixPath(address).name
    if not is_url(address):
        # An absolute path is the same in any folder and in any process.
        return Shard(os.path.abspath(address), stamp(address), name)
    try:  # ask the store for size and last change of the file
        store, path = library("fsspec.core").url_to_fs(address)
        facts: dict[str, Any] = store.info(path)
    except Exception:  # reading the shard later will report the error
        return Shard(address, UNKNOWN, name)
    changed = next((facts[key] for key in _CHANGES if facts.get(key)), "")
    return Shard(address, f"{facts.get('size')}:{changed}", name)
