"""Read files in object stores, on HTTP servers and on the Hugging Face hub through fsspec, and keep parts on the disk."""

from __future__ import annotations

import math
import os
import re
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from itertools import chain
from pathlib import Path
from threading import Semaphore
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import quote

from nes2net.lib.errors import InputError, MissingLibrary, first_line
from nes2net.lib.process.installation import optional
from nes2net.lib.storage.files import AnyPath, locked, make_folder, never_linked, path_below
from nes2net.lib.web.hub import HUB_PREFIX

if TYPE_CHECKING:
    from nes2net.lib.web.http_files import HttpFiles

T = TypeVar("T")

#: Bytes that the folder of fetched parts may hold, unless the recipe has another limit.
CACHE_BYTES = 10_000_000_000
#: Requests of a process at the same time.
NUM_THREADS = 16

#: Schemes of addresses, beside ``hub:``.
SCHEMES = frozenset({"s3", "gs", "az", "http", "https"})
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.:-]+):/+")
_ADDRESS = re.compile(
    r"hub:[\w.-]+/[\w.-]+(?:@[^/].*|/.*)?"
    r"|(?P<scheme>\w+)://(?P<password>[^/@:]*:[^/]*@)?[^/:?\s]+(?::\d{1,5})?(?:/[^?]*)?(?P<query>\?.*)?"
)
# What may hold a password or a signature.
_SECRETS = re.compile(r"(?<=//).*@|\?.*", re.DOTALL)
# A series in an address, such as {000..127}.
_SERIES = re.compile(r"\{(?:(\d{1,6})\.\.(\d{1,6})|([^{}]*,[^{}]*))\}")
# Names that stores use for the version of a file, or for the time of its last change.
_TAGS = ("ETag", "etag", "blob_id", "LastModified", "last-modified", "mtime", "created")


class ChangedFile(InputError):
    """A file was replaced after it was listed."""


class Status(NamedTuple):
    size: int
    """In bytes."""
    tag: str | int
    """ETag or time of the last change; empty if the store states neither."""

    def __str__(self) -> str:
        return f"{self.size}:{self.tag}"


@dataclass
class Remote:
    """What a process, and its workers, know of remote files."""

    #: limit of the folder of parts; 0 keeps nothing
    cache_bytes: int = CACHE_BYTES
    #: address → status when the file was listed, which all later reading requires
    statuses: dict[str, Status] = field(default_factory=dict)


_remote = Remote()
# The file systems in use. A forked process makes its own, and must not collect those of its parent: fsspec would then
# close connections, for which asyncio shares an epoll with the parent.
_stores: dict[int, Any] = {}
_uncounted = {"bytes": CACHE_BYTES}  # bytes written since the folder was last measured


# One for each request. A fork waits until it has them all, because the new process would not have the threads that
# answer requests, but the locks that these threads hold.
_requests = Semaphore(NUM_THREADS)


def _await_requests() -> None:
    for _ in range(NUM_THREADS):  # before a fork
        _requests.acquire()


def _begin_requests() -> None:
    global _requests
    _http.cache_clear()  # connections of the parent
    _requests = Semaphore(NUM_THREADS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_await_requests,
        after_in_parent=lambda: _requests.release(NUM_THREADS),
        after_in_child=_begin_requests,
    )


def remote() -> Remote:
    return _remote


def adopt(state: Remote) -> None:
    global _remote  # in a worker: what the main process knows
    _remote = state


class RemotePath(type(Path())):  # type: ignore[misc]  # a PosixPath or WindowsPath
    """The address of a remote file or recording; other paths are local."""

    def __str__(self) -> str:
        return _SCHEME.sub(r"\1://", super().__str__())  # a path keeps one slash


def is_remote(path: AnyPath) -> bool:
    return isinstance(path, RemotePath)


def is_address(text: AnyPath) -> bool:
    text = os.fspath(text)
    return text.startswith(HUB_PREFIX) or _SCHEME.match(text) is not None


def address_of(path: AnyPath, *, with_query: bool = False) -> str:
    """Write the address; raise :class:`InputError` if it is malformed or holds credentials."""
    address = _SCHEME.sub(r"\1://", os.fspath(path))
    shown = _SECRETS.sub("", address)
    match = _ADDRESS.fullmatch(address)
    if match is None or match["scheme"] not in {None, *SCHEMES}:
        schemes = ", ".join(sorted(SCHEMES))
        raise InputError(
            f"{shown} is not an address: write SCHEME://HOST/PATH (SCHEME is one of {schemes}) or hub:OWNER/NAME[@REVISION]"
        )
    if match["password"] or (match["query"] and not with_query):
        raise InputError(
            f"{shown}: an address may hold neither a password nor a query, which records would keep: use the variables "
            "or files from which the store's own programs read credentials"
        )
    return address


@cache
def _http() -> HttpFiles:
    from nes2net.lib.web.http_files import HttpFiles  # start-up

    return HttpFiles()


def _store_of(address: str) -> tuple[Any, str]:
    address = address_of(address, with_query=True)
    if address.startswith(HUB_PREFIX):
        address = f"hf://datasets/{address.removeprefix(HUB_PREFIX)}"
    fsspec = optional("fsspec.core", "it needs fsspec", "remote")
    try:
        store, path = fsspec.url_to_fs(address, use_listings_cache=False)
    except ImportError as error:  # the library of the store, such as gcsfs, is not installed
        raise MissingLibrary(f"it needs a library of its store ({first_line(error)}): install it with pip") from error
    _stores[id(store)] = store  # kept, see above
    return store, path


def _persistently(address: str, ask: Callable[[], T], may_be_missing: bool = False) -> T:
    def ask_in_turn() -> T:
        with _requests:
            return ask()

    # fsspec's file systems raise errors of many types.
    return _http().persistently(ask_in_turn, address, errors=(Exception,), may_be_missing=may_be_missing)


def _status_from(facts: Mapping[str, Any]) -> Status:
    size = facts.get("size")
    if not isinstance(size, int):
        raise InputError(
            "the server does not state the size of the file, which shards require: copy them to this machine"
        )
    tag = next((facts[key] for key in _TAGS if facts.get(key)), "")
    return Status(size, quote(str(tag), safe='"+-:', errors="replace"))  # without spaces


def _ask_status(address: str) -> Status:
    if address.startswith("http"):
        return _status_from(_http().ask_facts(address))
    store, path = _store_of(address)
    store.invalidate_cache()
    return _status_from(store.info(path))


def status_of(address: str) -> Status:
    """Return the status when the file was listed.

    Raises:
        InputError: if the file is missing or refused.
        Unreachable: if the store cannot be reached.
    """
    if address not in _remote.statuses:
        _remote.statuses[address] = _persistently(address, lambda: _ask_status(address), may_be_missing=True)
    return _remote.statuses[address]


def forget(address: str) -> None:
    _remote.statuses.pop(address, None)


def expand_series(address: str) -> list[str]:
    """Write the addresses of series in braces, as Bash does, without asking whether there are such files.

    Raises:
        InputError: if they may be more than a million.

    >>> expand_series("https://host/{08..10}.tar")
    ['https://host/08.tar', 'https://host/09.tar', 'https://host/10.tar']
    >>> expand_series("https://host/{train-{0..1},dev}.tar")
    ['https://host/train-0.tar', 'https://host/dev.tar', 'https://host/train-1.tar']
    """
    series = _SERIES.search(address)
    if series is None:
        return [address]
    if math.prod(map(int, re.findall(r"\.\.(\d+)\}", address))) > 1_000_000:
        raise InputError("names more than a million files", subject=address, remedy="name the folder, or fewer files")
    first, last, words = series.groups()
    if words:
        alternatives = words.split(",")
    else:
        alternatives = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    start, end = series.span()
    addresses = [expand_series(f"{address[:start]}{alternative}{address[end:]}") for alternative in alternatives]
    return list(dict.fromkeys(chain.from_iterable(addresses)))


def list_folder(address: str) -> list[str]:
    """List the files below a folder, or of a pattern with ``*``, with the errors of :func:`status_of`."""
    if address.startswith("http"):
        names = _http().list_files(address)
        statuses = {}
    else:
        statuses = _persistently(address, lambda: _ask_statuses(address), may_be_missing=True)
        names = list(statuses)
    for name in names:
        forget(name)
    _remote.statuses.update(statuses)
    return sorted(names)


def _ask_statuses(address: str) -> dict[str, Status]:
    store, path = _store_of(address)
    store.invalidate_cache()
    files = store.glob(path, detail=True) if "*" in path else store.find(path, detail=True)
    scheme = address.partition(":")[0]
    statuses = {}
    for name, facts in files.items():
        if facts["type"] != "directory":  # a pattern matches folders, too
            listed = f"{scheme}://{name.lstrip('/')}".replace("hub://datasets/", HUB_PREFIX, 1)
            statuses[listed] = _status_from(facts)
    return statuses


def _read_range(address: str, start: int, size: int) -> bytes:
    url = address
    headers: dict[str, str] = {}
    if not address.startswith("http"):
        store, path = _store_of(address)
        if address.startswith("s3:"):
            url = store.url(path, **store.req_kw)  # signed
        elif address.startswith(HUB_PREFIX):
            from huggingface_hub.utils import build_hf_headers  # start-up

            url = store.url(path)
            headers = build_hf_headers()
        else:
            return store.cat_file(path, start=start, end=start + size)  # type: ignore[no-any-return]
    return _http().read_range(url, start, size, headers)


def fetch(address: str, start: int, size: int) -> bytes:
    """Return bytes of the file that was listed.

    Raises:
        ChangedFile: if the file was replaced since.
        Unreachable: if the bytes cannot be read.
        InputError: if the server sends other bytes.
    """
    listed = status_of(address)

    def ask() -> bytes:
        content = _read_range(address, start, size)
        now = _ask_status(address)  # asked after reading, so that the bytes are of this file
        if now != listed:
            raise changed_file(address, listed, now)
        if len(content) != size:
            raise OSError(f"{len(content):,} bytes arrived instead of {size:,}")
        return content

    return read_cached(address, f"{start}\0{size}", lambda: _persistently(address, ask), size)


def changed_file(address: str, before: object, now: object) -> ChangedFile:
    return ChangedFile(
        f"has changed since it was listed (size and tag {before} then, {now} now): bring the file back, or begin a new run",
        subject=address,
    )


def cache_folder() -> Path:
    from huggingface_hub import constants  # start-up

    return path_below(constants.HF_ASSETS_CACHE, "nes2net", "shards")


def read_cached(address: str, part: str, read: Callable[[], bytes], max_bytes: int = 1 << 30) -> bytes:
    """Return the ``part`` of this name from :func:`cache_folder`, or else from ``read``, called by one process at a time."""
    if not _remote.cache_bytes:
        return read()
    # An entry ends with the CRC-32 of its content, so that a half-written one is read again.
    path = cache_folder() / sha256(f"{address}\0{status_of(address)}\0{part}".encode()).hexdigest()[:40]
    try:
        make_folder(path.parent)
        entry = open(path, "a+b", buffering=0, opener=never_linked)  # truncated only under the lock
    except OSError:  # the folder cannot be used
        return read()
    with entry, locked(entry.fileno()):
        entry.seek(0)
        content = entry.read(max_bytes + 4)
        if content and zlib.crc32(content[:-4]).to_bytes(4, "little") == content[-4:]:
            os.utime(entry.fileno())  # as the part that was used last
            return content[:-4]
        content = read()
        with suppress(OSError):  # a full disk is no error: the part is read again when it is needed again
            _make_room(path.parent, len(content))
            entry.truncate(0)
            entry.write(content + zlib.crc32(content).to_bytes(4, "little"))
        return content


def _make_room(folder: Path, size: int) -> None:
    # Remove the parts that were not used for the longest time, a sixteenth more than needed.
    _uncounted["bytes"] += size
    # Listing the folder takes long: do it after each 64th of the limit.
    if _uncounted["bytes"] < _remote.cache_bytes // 64:
        return
    _uncounted["bytes"] = 0
    entries = []
    for entry in os.scandir(folder):
        with suppress(OSError):  # another process has removed it
            status = entry.stat(follow_symlinks=False)
            entries.append((status.st_mtime_ns, status.st_size, entry.path))
    kept_bytes = size
    for _, entry_size, path in sorted(entries, reverse=True):  # the newest first
        kept_bytes += entry_size
        if kept_bytes > _remote.cache_bytes * 15 // 16:
            with suppress(OSError):
                os.unlink(path)


def open_remote(address: str, block_bytes: int) -> Any:
    """Open a file as a :class:`nes2net.lib.web.remote_file.OpenRemoteFile`."""
    from nes2net.lib.web.remote_file import OpenRemoteFile  # start-up

    return OpenRemoteFile(address, status_of(address).size, block_bytes, fetch)
