"""Fetching the freely available files of a corpus: the plan, the transfer, and the record.

``nes2net_download.json`` in the folder lists what was fetched, so that a second run checks the
files instead of fetching them again. Records of Zenodo are listed by its API, which states size and
MD5 of every file.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, Field

from nes2net.data.corpora.corpus import Corpus, Download
from nes2net.lib.errors import InputError, Unfinished, counted, listed, readable_size, shown
from nes2net.lib.files import exclusive_lock, make_folder, write_text
from nes2net.lib.http_files import HttpFiles, RemoteFile, digests_of
from nes2net.lib.hub_errors import hub_errors
from nes2net.lib.plain_data import read_json_as, validated_json
from nes2net.lib.unpacking import is_archive, unpack

RECORD = "nes2net_download.json"
_HUB = "hub:"
_SETS = "https://huggingface.co/datasets/"
# Servers of InvenioRDM, such as Zenodo: a record, or one of its files.
_INVENIO = re.compile(r"(https?://[^/]+)/records/(\d+)(?:/files/([^/?#]+))?(?:\?download=1)?")
# bytes
_LONGEST_LISTING = 20_000_000
_LONGEST_RECORD = 50_000_000
_DIGESTS = {"md5": 32, "sha256": 64}  # letters of each


@dataclass(frozen=True)
class PlannedFile:
    """A file to fetch: ``name`` is its path below the folder, ``unpack`` as in :class:`Download`."""

    remote: RemoteFile
    name: str
    what: str = ""
    licence: str = ""
    unpack: str | None = None


@dataclass(frozen=True)
class PlannedHubSet:
    """A data set of the Hugging Face hub to fetch, or its files that match ``only``.

    ``files`` are their names and sizes in bytes.
    """

    repository: str
    revision: str | None
    files: Mapping[str, int] = field(default_factory=dict)
    licence: str = ""
    only: Sequence[str] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


@dataclass(frozen=True)
class Plan:
    """What there is to fetch of a corpus; ``steps`` remain to be done by hand."""

    files: Sequence[PlannedFile] = ()
    hub_sets: Sequence[PlannedHubSet] = ()
    steps: Sequence[str] = ()

    @property
    def size(self) -> int:
        """The known bytes."""
        return sum(file.remote.size or 0 for file in self.files) + sum(hub_set.size for hub_set in self.hub_sets)

    @property
    def licences(self) -> list[str]:
        """The licences that the servers state, each once."""
        stated = [*(file.licence for file in self.files), *(hub_set.licence for hub_set in self.hub_sets)]
        return list(dict.fromkeys(filter(None, stated)))


class _InvenioFile(BaseModel):
    key: str
    size: int = Field(ge=0)
    checksum: str = ""


class _InvenioRecord(BaseModel):
    files: list[_InvenioFile] = Field(max_length=10_000)
    metadata: dict[str, Any] = {}


class _Received(BaseModel):
    """A file that was fetched; ``published`` says whether its publisher states the digests."""

    url: str
    size: int
    digests: dict[str, str]
    published: bool
    unpacked: bool = False


class _Record(BaseModel):
    files: dict[str, _Received] = {}


def plan_downloads(corpus: Corpus, client: HttpFiles, only: Sequence[str] = ()) -> Plan:
    """List what there is to fetch of ``corpus``, with sizes, checksums and licences.

    Args:
        only: Patterns of file names, such as ``"flac_E*"``; by default all files.

    Raises:
        InputError: if a server does not have what the corpus names, or no file matches ``only``.
        Unfinished: if a server cannot be reached.
    """
    files: list[PlannedFile] = []
    hub_sets: list[PlannedHubSet] = []
    for download in corpus.downloads:
        if download.url.startswith(_HUB):
            from huggingface_hub import HfApi  # start-up

            repository, _, revision = download.url.removeprefix(_HUB).partition("@")
            with _of_hub(repository):
                info = HfApi().dataset_info(repository, revision=revision or None, files_metadata=True)
            sizes = {file.rfilename: file.size or 0 for file in info.siblings or [] if _matches(file.rfilename, only)}
            licence = download.licence or str((info.card_data and info.card_data.get("license")) or "")[:100]
            hub_sets.append(PlannedHubSet(repository, info.sha, sizes, licence, only))
        elif record := _INVENIO.fullmatch(download.url):
            server, number, wanted = record.groups()
            page = f"{server}/records/{number}"
            wanted = wanted and unquote(wanted)
            content = client.read(f"{server}/api/records/{number}", _LONGEST_LISTING)
            try:
                listing = validated_json(_InvenioRecord, content)
            except ValueError as error:
                raise InputError(
                    f"{page}: not the listing of a record ({error}); open the page in a browser"
                ) from error
            stated = listing.metadata.get("license")
            licence = download.licence or (str(stated.get("id", ""))[:100] if isinstance(stated, Mapping) else "")
            there = [file for file in listing.files if wanted in (None, file.key)]
            if not there:
                missing = f"no file {shown(wanted)}" if wanted else "no files"
                raise InputError(f"{page}: has {missing}; open the page in a browser")
            for file in there:
                algorithm, _, digest = file.checksum.partition(":")
                is_digest = len(digest) == _DIGESTS.get(algorithm) and set(digest) <= set("0123456789abcdef")
                digests = {**({algorithm: digest} if is_digest else {}), **_stated(download)}
                remote = RemoteFile(f"{page}/files/{quote(file.key)}?download=1", file.size, digests)
                packed = is_archive(file.key) or file.key.lower().endswith((".rar", ".7z"))
                name = _checked_name(f"{download.name}/{file.key}" if download.name else file.key, page)
                files.append(PlannedFile(remote, name, download.what, licence, download.unpack if packed else None))
        else:
            remote = client.described(RemoteFile(download.url, download.size, _stated(download)))
            name = download.name or unquote(PurePosixPath(urlsplit(download.url).path).name)
            name = _checked_name(name, download.url)
            files.append(PlannedFile(remote, name, download.what, download.licence, download.unpack))
    names = [file.name for file in files]
    if len(set(names)) < len(names):
        raise InputError(f"{corpus.title}: several files would have the same name: {listed(sorted(names))}")
    if only:
        files = [file for file in files if _matches(file.name, only)]
        hub_sets = [hub_set for hub_set in hub_sets if hub_set.files]
        if not files and not hub_sets:
            raise InputError(f"`only` matches no file of {corpus.title}; it has {listed(names) if names else 'none'}")
    if not corpus.downloads and not corpus.by_hand:
        return Plan(files, hub_sets, [f"{what}: get {where}" for what, where in corpus.obtain.items()])
    to_unpack = [
        f"unpack {file.name} into the folder by hand"
        for file in files
        if file.unpack is not None and not is_archive(file.name)
    ]
    return Plan(files, hub_sets, [*to_unpack, *corpus.by_hand])


def _matches(name: str, only: Sequence[str]) -> bool:
    return not only or any(fnmatch(name, pattern) for pattern in only)


def _stated(download: Download) -> dict[str, str]:
    return {name: value for name in _DIGESTS if (value := getattr(download, name))}


def _checked_name(name: str, page: str) -> str:
    """``name``, which a server gave, if it names a visible file below the folder."""
    if (
        not name
        or "\\" in name
        or not name.isprintable()
        or any(part in ("", "..") or part[0] == "." for part in name.split("/"))
    ):
        raise InputError(f"{page}: {shown(name)} cannot be the name of a file here; get it with a browser")
    return name


def _of_hub(repository: str) -> AbstractContextManager[None]:
    page = f"{_SETS}{repository}"
    return hub_errors(f"{page} cannot be read", page, "what has come")


def fetch_all(
    plan: Plan, folder: Path, client: HttpFiles, *, unpacking: bool = True, keep_archives: bool = True
) -> None:
    """Fetch and unpack the files of ``plan`` into ``folder``; files that are there and whole are left alone.

    Each file is recorded as soon as it is whole, so the same call goes on after an interruption.

    Args:
        unpacking: Whether archives are unpacked.
        keep_archives: Whether an archive stays after it was unpacked.

    Raises:
        InputError: if another process downloads into ``folder``, the disk is too small, or a file
            cannot be had, is not what was published or cannot be unpacked.
        Unfinished: if a server breaks off or the disk is full; the same call goes on.
    """
    make_folder(folder)
    with exclusive_lock(folder / f".{RECORD}.lock", f"{folder}: another process downloads into it; wait for its end"):
        record = _Record()
        remedy = "remove it, and run the same command again"
        if (folder / RECORD).exists():
            record = read_json_as(_Record, folder / RECORD, _LONGEST_RECORD, "the record of a download", remedy)
        # Recordings are hardly smaller in an archive, so unpacking takes as much again.
        needed = sum(hub_set.size for hub_set in plan.hub_sets)
        for file in plan.files:
            received = record.files.get(file.name)
            size = file.remote.size or 0
            come = sum(_size_of(folder / name) or 0 for name in (file.name, f"{file.name}.part"))
            if received is None or not received.unpacked:
                needed += max(0, size - come) + (size if unpacking and file.unpack is not None else 0)
        if needed > (free := shutil.disk_usage(folder).free):
            raise InputError(
                f"{folder}: about {readable_size(needed)} are needed for the files and their unpacked content, but "
                f"{readable_size(free)} are free; make room, name another folder, or fetch some of the files with `only`"
            )
        for number, file in enumerate(plan.files, 1):
            place = f"{number} of {len(plan.files)}"
            received = record.files.get(file.name)
            gone = received is not None and received.unpacked and not (folder / file.name).exists()
            if not gone:  # an unpacked archive may have been removed
                received = _fetch_one(file, folder, client, received, place)
                _write_record(folder, record, file.name, received)
            assert received is not None
            if unpacking and file.unpack is not None and is_archive(file.name) and not received.unpacked:
                unpack(folder / file.name, folder / file.unpack, f"unpacking {place}: {file.name}")
                received = received.model_copy(update={"unpacked": True})
                _write_record(folder, record, file.name, received)
            if received.unpacked and not keep_archives:
                (folder / file.name).unlink(missing_ok=True)
        for hub_set in plan.hub_sets:
            from huggingface_hub import snapshot_download  # start-up

            with _of_hub(hub_set.repository):
                snapshot_download(
                    hub_set.repository,
                    repo_type="dataset",
                    revision=hub_set.revision,
                    local_dir=folder,
                    allow_patterns=list(hub_set.only) or None,
                )
            # If the server does not answer, the folder is accepted as it is.
            missing = [name for name, size in hub_set.files.items() if _size_of(folder / name) != size]
            if missing:
                raise Unfinished(
                    f"{counted(len(missing), 'file')} of {hub_set.repository} did not come: {listed(missing)}; run the same command again"
                )


def _fetch_one(file: PlannedFile, folder: Path, client: HttpFiles, received: _Received | None, place: str) -> _Received:
    path = folder / file.name
    published = bool(file.remote.digests)
    if path.is_file():
        digests = file.remote.digests or (received.digests if received else {})
        found = digests_of(path, digests or ("sha256",), f"checking {place}: {file.name}")
        if any(found[name] != digest.lower() for name, digest in digests.items()):
            origin = "published" if published else f"recorded in {RECORD}"
            raise InputError(
                f"{path}: its checksum is not the one {origin}; remove the file, and run the same command again"
            )
        if digests or path.stat().st_size == file.remote.size:
            unpacked = received is not None and received.unpacked
            return _Received(
                url=file.remote.url, size=path.stat().st_size, digests=found, published=published, unpacked=unpacked
            )
        if file.remote.size is not None:
            raise InputError(
                f"{path}: has {path.stat().st_size:,} bytes, not {file.remote.size:,}; remove the file, and run the same command "
                "again"
            )
    found = client.fetch(file.remote, path, f"downloading {place}: {file.name}")
    return _Received(url=file.remote.url, size=path.stat().st_size, digests=found, published=published)


def _size_of(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _write_record(folder: Path, record: _Record, name: str, received: _Received) -> None:
    record.files[name] = received
    write_text(folder / RECORD, json.dumps(record.model_dump(), indent=1) + "\n")
