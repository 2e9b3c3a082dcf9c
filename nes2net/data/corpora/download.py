"""Plan and download the freely available files of a corpus.

``nes2net_download.json`` records what was fetched, so that a second run only checks it. Zenodo's
API states sizes and MD5 sums.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, Field

from nes2net.data.corpora.corpus import Corpus, Download
from nes2net.lib.errors import InputError, Unfinished, as_input_error, join_names, pluralise, readable_size, short_repr
from nes2net.lib.files import check_not_linked, exclusive_lock, is_absent, make_folder, path_below, write_text
from nes2net.lib.http_files import HttpFiles, RemoteFile, digests_of
from nes2net.lib.hub import HUB_PREFIX, compare_once, hub_errors
from nes2net.lib.plain_data import read_json_as, validate_json
from nes2net.lib.unpacking import is_archive, unpack

RECORD = "nes2net_download.json"
_SETS = "https://huggingface.co/datasets/"
# Address of a record, or of one of its files, of InvenioRDM, such as Zenodo: server, number, file name.
_INVENIO = re.compile(r"(https?://[^/]+)/records/(\d+)(?:/files/([^/?#]+))?(?:\?download=1)?")
_MAX_LISTING_BYTES = 20_000_000  # bytes
_MAX_RECORD_BYTES = 50_000_000  # bytes
_MAX_LICENCE_LENGTH = 100  # characters
_DIGESTS = {"md5": 32, "sha256": 64}  # algorithm → number of hexadecimal digits of its digest


@dataclass(frozen=True)
class PlannedFile:
    """A file to fetch: ``name`` below the folder, ``unpack`` as of a ``Download``."""

    remote: RemoteFile
    name: str
    what: str = ""
    licence: str = ""
    unpack: str = "."


@dataclass(frozen=True)
class PlannedHubSet:
    """A hub data set to fetch, or files that match ``only``; ``files`` are of the hub's listing."""

    repository: str
    revision: str | None
    files: Sequence[Any] = ()
    licence: str = ""
    only: Sequence[str] = ()

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.size or 0 for file in self.files)


@dataclass(frozen=True)
class Plan:
    """The files of a corpus to fetch, and the ``steps`` that a user has to do by hand."""

    files: Sequence[PlannedFile] = ()
    hub_sets: Sequence[PlannedHubSet] = ()
    steps: Sequence[str] = ()

    @property
    def size(self) -> int:
        """In bytes, of the files of known size."""
        return sum(file.remote.size or 0 for file in self.files) + sum(hub_set.size for hub_set in self.hub_sets)

    @property
    def licences(self) -> list[str]:
        stated = [*(file.licence for file in self.files), *(hub_set.licence for hub_set in self.hub_sets)]
        return list(dict.fromkeys(filter(None, stated)))


class _InvenioFile(BaseModel):
    """A file in an InvenioRDM record; ``checksum`` is ``md5:DIGEST``."""

    key: str
    size: int = Field(ge=0)
    checksum: str = ""


class _InvenioRecord(BaseModel):
    files: list[_InvenioFile] = Field(max_length=10_000)
    metadata: dict[str, object] = {}


class _Received(BaseModel):
    """A fetched file; ``published`` unless we computed the digests."""

    url: str
    size: int
    digests: dict[str, str]
    published: bool
    unpacked: bool = False


class _Record(BaseModel):
    """``nes2net_download.json``: name → fetched file."""

    files: dict[str, _Received] = {}


def plan_downloads(corpus: Corpus, client: HttpFiles, only: Sequence[str] = ()) -> Plan:
    """Plan the download of ``corpus``, with sizes, checksums and licences, and the steps by hand.

    Args:
        only: patterns of file names, such as ``"flac_E*"``; by default all files.

    Raises:
        InputError: if a server lacks a file of the corpus, or if no file matches ``only``.
        Unfinished: if a server cannot be reached.
    """
    files: list[PlannedFile] = []
    hub_sets: list[PlannedHubSet] = []
    for download in corpus.downloads:
        record = _INVENIO.fullmatch(download.url)
        if download.url.startswith(HUB_PREFIX):
            hub_sets.append(_plan_hub_set(download, only))
        elif record is not None:
            server, number, file_name = record.groups()
            files += _plan_record(download, client, server, number, file_name and unquote(file_name))
        else:
            remote = client.ask_size_and_digest(RemoteFile(download.url, download.size, _stated_digests(download)))
            name = download.name or unquote(PurePosixPath(urlsplit(download.url).path).name)
            name = _check_name(name, download.url)
            files.append(PlannedFile(remote, name, download.what, download.licence, download.unpack))
    names = [file.name for file in files]
    if len(set(names)) < len(names):
        raise InputError(
            f"{corpus.title}: several files would have the same name: {join_names(sorted(names))}; give each Download its own name"
        )
    if only:
        files = [file for file in files if _matches(file.name, only)]
        hub_sets = [hub_set for hub_set in hub_sets if hub_set.files]
        if not files and not hub_sets:
            available = join_names(names) if names else "none"
            raise InputError(f"`only` matches no file of {corpus.title}; it has {available}: name one of these")
    steps = []
    for file in files:
        if file.name.lower().endswith((".rar", ".7z")):
            steps.append(f"unpack {file.name} into the folder by hand")
    steps += corpus.by_hand
    if not corpus.downloads and not corpus.by_hand:
        steps = [f"{kind}: get {source}" for kind, source in corpus.obtain.items()]
    return Plan(files, hub_sets, steps)


def _plan_hub_set(download: Download, only: Sequence[str]) -> PlannedHubSet:
    from huggingface_hub import HfApi  # start-up

    repository, _, revision = download.url.removeprefix(HUB_PREFIX).partition("@")
    with _named_hub_errors(repository):
        info = HfApi().dataset_info(repository, revision=revision or None, files_metadata=True)
    files = [file for file in info.siblings or [] if _matches(file.rfilename, only)]
    licence = download.licence
    if not licence and info.card_data:
        licence = str(info.card_data.get("license") or "")[:_MAX_LICENCE_LENGTH]
    return PlannedHubSet(repository, info.sha, files, licence, only)


def _plan_record(
    download: Download, client: HttpFiles, server: str, number: str, file_name: str | None
) -> list[PlannedFile]:
    page = f"{server}/records/{number}"
    content = client.read(f"{server}/api/records/{number}", _MAX_LISTING_BYTES)
    with as_input_error(f"{page}: not the listing of a record", ValueError, remedy="open the page in a browser"):
        record = validate_json(_InvenioRecord, content)
    licence = download.licence
    stated_licence = record.metadata.get("license")
    if not licence and isinstance(stated_licence, Mapping):
        licence = str(stated_licence.get("id", ""))[:_MAX_LICENCE_LENGTH]
    planned = []
    for file in record.files:
        if file_name not in (None, file.key):  # None: all files
            continue
        digests = {}
        algorithm, _, digest = file.checksum.partition(":")
        is_hexadecimal = set(digest) <= set("0123456789abcdef")
        if is_hexadecimal and len(digest) == _DIGESTS.get(algorithm):  # a digest of another algorithm is not checked
            digests[algorithm] = digest
        digests.update(_stated_digests(download))  # the corpus's own digests replace the server's
        remote = RemoteFile(f"{page}/files/{quote(file.key)}?download=1", file.size, digests)
        name = f"{download.name}/{file.key}" if download.name else file.key
        planned.append(PlannedFile(remote, _check_name(name, page), download.what, licence, download.unpack))
    if not planned:
        missing = f"no file {short_repr(file_name)}" if file_name else "no files"
        raise InputError(f"{page}: has {missing}; open the page in a browser")
    return planned


def _matches(name: str, only: Sequence[str]) -> bool:
    return not only or any(fnmatch(name, pattern) for pattern in only)


def _stated_digests(download: Download) -> dict[str, str]:
    return {name: getattr(download, name) for name in _DIGESTS if getattr(download, name)}


def _check_name(name: str, page: str) -> str:
    """Raise InputError if a server's file name would be hidden, or outside the folder."""
    is_visible = not any(level in ("", "..") or level[0] == "." for level in name.split("/"))
    if not is_visible or "\\" in name or not name.isprintable():
        raise InputError(f"{page}: {short_repr(name)} is not allowed as the name of a file; download it with a browser")
    return name


def _named_hub_errors(repository: str) -> AbstractContextManager[None]:
    page = f"{_SETS}{repository}"
    return hub_errors(f"{page} cannot be read", page, "what has come")


def fetch_all(
    plan: Plan, folder: Path, client: HttpFiles, *, unpacking: bool = True, keep_archives: bool = True
) -> None:
    """Fetch and unpack the files of ``plan`` into ``folder``; the same call resumes.

    Args:
        keep_archives: whether archives are kept after unpacking.

    Raises:
        InputError: if another process downloads into ``folder``; if the disk is too small; or if a
            file is not available, differs from the published file or cannot be unpacked.
        Unfinished: if a server breaks off, or if the disk is full; the same call resumes.
    """
    make_folder(folder)
    with exclusive_lock(folder / f".{RECORD}.lock", f"{folder}: another process downloads into it; wait for its end"):
        record = _Record()
        remedy = "remove it, and run the same command again"
        if not is_absent(folder / RECORD):
            record = read_json_as(_Record, folder / RECORD, _MAX_RECORD_BYTES, "the record of a download", remedy)
        needed = _needed_bytes(plan, folder, record, unpacking)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise InputError(
                f"{folder}: about {readable_size(needed)} are needed for the files and their unpacked content, but "
                f"{readable_size(free)} are free; make room, name another folder, or fetch some of the files with `only`"
            )
        # Fetch or verify each file, unpack it, and record each step at once.
        for number, file in enumerate(plan.files, 1):
            path_below(folder, *PurePosixPath(file.name).parent.parts)
            progress = f"{number} of {len(plan.files)}"
            received = record.files.get(file.name)
            is_removed = received is not None and received.unpacked and not (folder / file.name).exists()
            if not is_removed:  # an archive may be removed once it is unpacked
                received = _fetch_one(file, folder, client, received, progress)
                _write_record(folder, record, file.name, received)
            assert received is not None  # for mypy: only a file in the record can have been removed
            if unpacking and is_archive(file.name) and not received.unpacked:
                target = path_below(folder, *PurePosixPath(file.unpack).parts)
                unpack(folder / file.name, target, f"unpacking {progress}: {file.name}")
                received = received.model_copy(update={"unpacked": True})
                _write_record(folder, record, file.name, received)
            if received.unpacked and not keep_archives:
                (folder / file.name).unlink(missing_ok=True)
        for hub_set in plan.hub_sets:
            _fetch_hub_set(hub_set, folder)


def _needed_bytes(plan: Plan, folder: Path, record: _Record, unpacking: bool) -> int:
    """Bytes that are still to be written. Recordings are assumed to take as much room as their archive."""
    # Sets of the hub count in full: their library does not tell how much it has fetched.
    needed = sum(hub_set.size for hub_set in plan.hub_sets)
    for file in plan.files:
        received = record.files.get(file.name)
        if received is not None and received.unpacked:
            continue
        size = file.remote.size or 0
        fetched = (_size_of(folder / file.name) or 0) + (_size_of(folder / f"{file.name}.part") or 0)
        needed += max(0, size - fetched)
        if unpacking and is_archive(file.name):
            needed += size
    return needed


def _fetch_hub_set(hub_set: PlannedHubSet, folder: Path) -> None:
    from huggingface_hub import snapshot_download  # start-up

    for path in path_below(folder, ".cache").rglob("*"):  # snapshot_download keeps its own files there
        check_not_linked(path)
    for file in hub_set.files:
        path_below(folder, *PurePosixPath(file.rfilename).parent.parts)
    with _named_hub_errors(hub_set.repository):
        snapshot_download(
            hub_set.repository,
            repo_type="dataset",
            revision=hub_set.revision,
            local_dir=folder,
            allow_patterns=list(hub_set.only) or None,
        )
    # snapshot_download returns without an error if the server does not answer.
    missing = [file.rfilename for file in hub_set.files if _size_of(folder / file.rfilename) != file.size]
    if missing:
        raise Unfinished(
            f"{pluralise(len(missing), 'file was', 'files were')} not downloaded from {hub_set.repository}: "
            f"{join_names(missing)}; run the same command again"
        )
    for file in hub_set.files:
        if file.lfs:
            compare_once(folder / file.rfilename, file.lfs.sha256)


def _fetch_one(
    file: PlannedFile, folder: Path, client: HttpFiles, received: _Received | None, progress: str
) -> _Received:
    path = folder / file.name
    published = bool(file.remote.digests)
    unpacked = False
    # If there is a copy, check it by the published or the recorded checksum, or else by the published size.
    if path.is_file():
        expected: Mapping[str, str] = file.remote.digests
        if received is not None:
            expected = expected or received.digests
            unpacked = received.unpacked
        digests = digests_of(path, expected or ("sha256",), f"checking {progress}: {file.name}")
        if any(digests[name] != digest.lower() for name, digest in expected.items()):
            origin = "published" if published else f"recorded in {RECORD}"
            raise InputError(
                f"{path}: its checksum differs from the one {origin}; remove the file, and run the same command again"
            )
        size = path.stat().st_size
        if expected or size == file.remote.size:
            return _Received(url=file.remote.url, size=size, digests=digests, published=published, unpacked=unpacked)
        if file.remote.size is not None:
            raise InputError(
                f"{path}: has {size:,} bytes, not {file.remote.size:,}; remove the file, and run the same command again"
            )
    # If there is no copy, or neither checksum nor size is known, download the file.
    digests = client.fetch(file.remote, path, f"downloading {progress}: {file.name}")
    return _Received(url=file.remote.url, size=path.stat().st_size, digests=digests, published=published)


def _size_of(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _write_record(folder: Path, record: _Record, name: str, received: _Received) -> None:
    record.files[name] = received
    write_text(folder / RECORD, json.dumps(record.model_dump(), indent=1) + "\n")
