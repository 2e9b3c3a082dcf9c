"""Which shards a source has: Parquet, Arrow and tar files, and lists of recordings, here or in an object store."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
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

#: A folder, a file, a pattern or a URL of them; or trials; or paths and URLs of recordings or shards.
Source: TypeAlias = str | Path | Sequence[Trial] | Sequence[str | Path]

_LIST_SUFFIXES = (".txt", ".lst", ".list")
#: The stamp of a file if its store says nothing about it.
UNKNOWN = "-"
_ROWS_OF_LIST = 1000  # recordings of a list that are one shard
_HUB = "hub:"
# What stores call the version of a file, or the time of its change.
_CHANGES = ("ETag", "etag", "blob_id", "LastModified", "mtime", "created")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[A-Za-z][A-Za-z0-9+.-]+)*://")


@dataclass(frozen=True)
class Shard:
    """Recordings that are scored together, and whose results are one file."""

    address: str
    """Path or URL of the file; of a list, with the number of its first recording."""
    stamp: str
    """Changes when the file, or the part of the list, changes."""
    name: str = ""
    """Its path from the source; begins the ids of recordings that have none."""
    rows: tuple[tuple[str, str], ...] = ()
    """Id and address of each recording of a list; empty for a file of recordings."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Shard:
        content = json.loads(text)
        rows = tuple((id, address) for id, address in content["rows"])
        return cls(content["address"], content["stamp"], content["name"], rows)


def is_url(address: str | Path) -> bool:
    """Whether ``address`` is one that fsspec opens, rather than a path.

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

    Recordings of a list are a thousand to a shard.

    Raises:
        InputError: if there is nothing, or it cannot be listed.
        MissingLibrary: if a URL needs a library that is not installed.
    """
    if isinstance(source, (str, Path)):
        shards = _shards_at(source)
    elif all(isinstance(item, Trial) for item in source):
        trials = [item for item in source if isinstance(item, Trial)]
        shards = list(_listed("trials", [(trial.id, str(trial.audio_path())) for trial in trials]))
    else:
        addresses = [str(item) for item in source]
        files = [address for address in addresses if _is_shard(address)]
        others = [(_id_of(address), address) for address in addresses if not _is_shard(address)]
        shards = [*_files(files, ""), *_listed("list", others)]
    if not shards:
        raise InputError(
            f"{shown(str(source)) if isinstance(source, (str, Path)) else 'the source'} has no recordings: "
            f"{', '.join(SHARD_SUFFIXES)} files, a list or a folder of recordings are expected"
        )
    return sorted(shards, key=lambda shard: shard.address)


def _shards_at(source: str | Path) -> list[Shard]:
    name = str(source)
    if name.startswith(_HUB):
        source = name = f"hf://datasets/{name.removeprefix(_HUB)}"
    if PurePosixPath(name).suffix.lower() in _LIST_SUFFIXES:
        place, folder = os.path.abspath(name), str(Path(name).parent)
        if is_url(name):
            place, folder = name, name.rpartition("/")[0]
            try:
                with library("fsspec").open(name, "rt", encoding="utf-8") as file:
                    text = file.read()
            except Exception as error:
                raise unreachable(name, error) from error
        else:
            text = read_text(Path(name))
        rows: list[tuple[str, str]] = []
        for number, line in enumerate(text.split("\n"), start=1):
            fields = [field.strip() for field in line.split("\t")]
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            if len(fields) > 2 or not all(fields):
                raise InputError(
                    f"{name}, line {number}: expected a path or URL, or an id, a tab, and a path or URL; found {shown(line)}"
                )
            address = fields[-1]
            rows.append((_id_of(fields[0]), address if is_url(address) else os.path.join(folder, address)))
        return list(_listed(place, rows))
    if is_url(source):
        try:
            files, place = library("fsspec.core").url_to_fs(name)
            if "*" not in place and _is_shard(name):
                return _files([name], name)
            found = files.glob(place) if "*" in place else files.find(place)
        except Exception as error:  # each file system has errors of its own
            raise unreachable(name, error) from error
        return _files([str(files.unstrip_protocol(file)) for file in found if _is_shard(file)], name)
    path = Path(source)
    if path.is_dir():
        found = [str(file) for file in path.rglob("*") if file.is_file() and _is_shard(str(file))]
        if found:
            return _files(found, str(path))
        recordings = ((file.relative_to(path).as_posix(), file) for file in recordings_listed(path))
        return list(_listed(os.path.abspath(name), [(_id_of(inner), str(file)) for inner, file in recordings]))
    if "*" in name:
        files = Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)))
        return _files([str(file) for file in files if _is_shard(str(file))], "")
    if not path.is_file():
        raise InputError(f"{path} not found: a folder, a shard, a list or a URL is expected")
    if not _is_shard(name):
        raise InputError(
            f"{path}: expected {', '.join(SHARD_SUFFIXES)} or a list ({', '.join(_LIST_SUFFIXES)}), by its suffix"
        )
    return _files([name], "")


def _is_shard(address: str) -> bool:
    return is_shard(PurePosixPath(address.partition("?")[0]).name)


def unreachable(address: str, error: Exception) -> InputError:
    """The error for an address that fsspec cannot read; it may need a library or an account."""
    if isinstance(error, ImportError):  # of s3fs, gcsfs, aiohttp …
        return MissingLibrary(f"{address} needs a library of its store ({first_line(error)}): install it with pip")
    return InputError(f"{address} cannot be read ({type(error).__name__}: {first_line(error)})")


def _id_of(name: str) -> str:
    """A name as one word, because spaces separate the fields of score files."""
    return "%20".join(name.split())


def _listed(name: str, rows: Iterable[tuple[str, str]]) -> Iterator[Shard]:
    """Shards of a list; their stamps include the stamps of the local files."""
    rows = ((id, address if is_url(address) else os.path.abspath(address)) for id, address in rows)
    start = 0
    while part := tuple(islice(rows, _ROWS_OF_LIST)):
        digest = hashlib.sha256()
        for id, address in part:
            known = "" if is_url(address) else stamp(address)
            digest.update(f"{json.dumps([id, address, known])}\n".encode())
        yield Shard(f"{name}#{start:09d}", digest.hexdigest(), f"{PurePosixPath(name).name}#{start:09d}", part)
        start += len(part)


def _files(addresses: Iterable[str], source: str) -> list[Shard]:
    shards = []
    for address in addresses:
        name = _name_in(source, address)
        if not is_url(address):
            # The same from any folder and in any process.
            shards.append(Shard(os.path.abspath(address), stamp(address), name))
            continue
        try:  # what its store says of its size and change
            store, path = library("fsspec.core").url_to_fs(address)
            facts: dict[str, Any] = store.info(path)
        except Exception:  # a file that cannot be asked is found out when it is read
            shards.append(Shard(address, UNKNOWN, name))
            continue
        changed = next((facts[key] for key in _CHANGES if facts.get(key)), "")
        shards.append(Shard(address, f"{facts.get('size')}:{changed}", name))
    return shards


def _name_in(source: str, address: str) -> str:
    """The path of ``address`` from the folder ``source``, or its last part.

    >>> _name_in("s3://bucket/set", "s3://bucket/set/data/0.parquet"), _name_in("", "data/0.parquet")
    ('data/0.parquet', '0.parquet')
    """
    if source and is_url(source):
        # A store may write its URLs with another number of slashes.
        source, address = (f"//{url.partition('://')[2].lstrip('/')}" for url in (source, address))
    folder = f"{source.rstrip('/')}/"
    return address.removeprefix(folder) if source and address.startswith(folder) else PurePosixPath(address).name
