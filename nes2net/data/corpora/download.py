"""Plan and download the freely available files of a corpus.

``nes2net_download.json`` records what was fetched, so that a second run only checks it. Zenodo's
API states sizes and MD5 sums.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, Field

from nes2net.data.corpora.corpus import Corpus, Download
from nes2net.lib.errors import InputError, as_input_error, join_names, readable_size, refuse, short_repr
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.storage.files import exclusive_lock, is_absent, make_folder, path_below, write_text
from nes2net.lib.storage.plain_data import read_json_as, validate_json
from nes2net.lib.storage.unpacking import is_archive, unpack
from nes2net.lib.web.http_files import HttpFiles, RemoteFile, digests_of, size_of
from nes2net.lib.web.hub import HUB_PREFIX, hub_errors

RECORD = "nes2net_download.json"
# Address of a record, or of one of its files, of InvenioRDM, such as Zenodo: server, number, file name.
_INVENIO = re.compile(r"(https?://[^/]+)/records/(\d+)(?:/files/([^/?#]+))?(?:\?download=1)?")
_MAX_LISTING_BYTES = 20_000_000  # bytes
_MAX_RECORD_BYTES = 50_000_000  # bytes
_MAX_LICENCE_LENGTH = 100  # characters
_MAX_SMALL_BYTES = 10_000_000
_NUM_THREADS = 8  # small files that are fetched at the same time
_CHECKSUM = re.compile(r"(md5(?=:.{32}$)|sha256(?=:.{64}$)):([0-9a-f]+)")  # algorithm, digest


@dataclass(frozen=True)
class PlannedFile:
    """A file to fetch: ``name`` below the folder, ``unpack`` as of a ``Download``."""

    remote: RemoteFile
    name: str
    what: str = ""
    licence: str = ""
    unpack: str = "."


@dataclass(frozen=True)
class DownloadPlan:
    """The files of a corpus to fetch, and the ``steps`` that a user has to do by hand."""

    files: Sequence[PlannedFile] = ()
    steps: Sequence[str] = ()

    @property
    def size(self) -> int:
        """In bytes, of the files of known size."""
        return sum(file.remote.size or 0 for file in self.files)

    @property
    def licences(self) -> list[str]:
        return list(dict.fromkeys(file.licence for file in self.files if file.licence))


class _InvenioFile(BaseModel):
    """A file in an InvenioRDM record; ``checksum`` is ``md5:DIGEST``."""

    key: str
    size: int = Field(ge=0)
    checksum: str = ""


class _InvenioRecord(BaseModel):
    files: list[_InvenioFile] = Field(max_length=10_000)
    metadata: dict[str, object] = {}


class _Received(BaseModel):
    """A fetched file."""

    url: str
    digests: Mapping[str, str] = {}
    unpacked: bool = False


class _DownloadRecord(BaseModel):
    """``nes2net_download.json``: name → fetched file, if it was unpacked or has no published digest."""

    files: dict[str, _Received] = {}


def plan_downloads(corpus: Corpus, client: HttpFiles, only: Sequence[str] = ()) -> DownloadPlan:
    """Plan the download of ``corpus``, with sizes, checksums and licences, and the steps by hand.

    Args:
        only: patterns of file names, such as ``"flac_E*"``; by default all files.

    Raises:
        InputError: if a server lacks a file of the corpus, or if no file matches ``only``.
        Unfinished: if a server cannot be reached.
    """
    files: list[PlannedFile] = []
    for download in corpus.downloads:
        record = _INVENIO.fullmatch(download.url)
        if download.url.startswith(HUB_PREFIX):
            files += _plan_hub_set(download)
        elif record is not None:
            server, number, file_name = record.groups()
            files += _plan_record(download, client, server, number, file_name and unquote(file_name))
        else:
            remote = client.ask_size_and_digest(RemoteFile(download.url, download.size, download.digests))
            name = download.name or unquote(PurePosixPath(urlsplit(download.url).path).name)
            files.append(_planned(remote, name, download, download.url))
    names = [file.name for file in files]
    if len(set(names)) < len(names):
        raise InputError(
            f"{corpus.title}: several files would have the same name: {join_names(sorted(names))}; give each Download its own name"
        )
    if only:
        files = [file for file in files if any(fnmatch(file.name, pattern) for pattern in only)]
        if not files:
            available = join_names(names) or "none"
            raise InputError(f"`only` matches no file of {corpus.title}; it has {available}: name one of these")
    by_hand = [file.name for file in files if file.name.lower().endswith((".rar", ".7z"))]
    steps = [*(f"unpack {name} into the folder by hand" for name in by_hand), *corpus.by_hand]
    if not corpus.downloads and not corpus.by_hand:
        steps = [f"{kind}: get {source}" for kind, source in corpus.obtain.items()]
    return DownloadPlan(files, steps)


def _plan_hub_set(download: Download) -> list[PlannedFile]:
    from huggingface_hub import HfApi, hf_hub_url  # start-up
    from huggingface_hub.utils import build_hf_headers  # start-up

    repository, _, revision = download.url.removeprefix(HUB_PREFIX).partition("@")
    page = f"https://huggingface.co/datasets/{repository}"
    with hub_errors(f"{page} cannot be read", page, "what has come"):
        info = HfApi().dataset_info(repository, revision=revision or None, files_metadata=True)
        headers = build_hf_headers()
    licence = info.card_data and info.card_data.get("license")
    planned = []
    for file in info.siblings or []:
        if "/." in f"/{file.rfilename}":  # hidden, such as .gitattributes
            continue
        url = hf_hub_url(repository, file.rfilename, repo_type="dataset", revision=info.sha)
        digests = {"sha256": file.lfs.sha256} if file.lfs else {}
        remote = RemoteFile(url, file.size, digests, headers)
        planned.append(_planned(remote, file.rfilename, download, page, licence))
    return planned


def _plan_record(
    download: Download, client: HttpFiles, server: str, number: str, file_name: str | None
) -> list[PlannedFile]:
    page = f"{server}/records/{number}"
    content = client.read(f"{server}/api/records/{number}", _MAX_LISTING_BYTES)
    with as_input_error(f"{page}: not the listing of a record", ValueError, remedy="open the page in a browser"):
        record = validate_json(_InvenioRecord, content)
    licence = record.metadata.get("license")
    if isinstance(licence, Mapping):
        licence = licence.get("id")
    planned = []
    for file in record.files:
        if file_name not in (None, file.key):  # None: all files
            continue
        checksum = _CHECKSUM.fullmatch(file.checksum)  # a digest of another algorithm is not checked
        digests = dict(download.digests)  # they replace the server's
        if checksum:
            digests.setdefault(checksum[1], checksum[2])
        remote = RemoteFile(f"{page}/files/{quote(file.key)}?download=1", file.size, digests)
        name = f"{download.name}/{file.key}" if download.name else file.key
        planned.append(_planned(remote, name, download, page, licence))
    if not planned:
        missing = f"no file {short_repr(file_name)}" if file_name else "no files"
        raise InputError(f"{page}: has {missing}; open the page in a browser")
    return planned


def _planned(
    remote: RemoteFile, name: str, download: Download, page: str, stated_licence: object = None
) -> PlannedFile:
    """Raise InputError if a server's file name would be hidden, or outside the folder."""
    is_hidden = any(level[:1] in ("", ".") for level in name.split("/"))
    if is_hidden or "\\" in name or not name.isprintable():
        raise InputError(f"{page}: {short_repr(name)} is not allowed as the name of a file; download it with a browser")
    licence = download.licence or str(stated_licence or "")[:_MAX_LICENCE_LENGTH]
    return PlannedFile(remote, name, download.what, licence, download.unpack)


def fetch_all(
    plan: DownloadPlan, folder: Path, client: HttpFiles, *, unpacking: bool = True, keep_archives: bool = True
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
        record = _DownloadRecord()
        remedy = "remove it, and run the same command again"
        if not is_absent(folder / RECORD):
            record = read_json_as(
                _DownloadRecord, folder / RECORD, _MAX_RECORD_BYTES, "the record of a download", remedy
            )
        needed = 0  # bytes; recordings are assumed to take as much room as their archive
        for file in plan.files:
            received = record.files.get(file.name)
            if received is not None and received.unpacked:
                continue
            size = file.remote.size or 0
            fetched = size_of(folder / file.name) + size_of(folder / f"{file.name}.part")
            needed += max(0, size - fetched)
            if unpacking and is_archive(file.name):
                needed += size
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise InputError(
                f"{folder}: about {readable_size(needed)} are needed for the files and their unpacked content, but "
                f"{readable_size(free)} are free; make room, name another folder, or fetch some of the files with `only`"
            )
        digests_of_small = _fetch_small_files(plan, folder, client, record)
        for number, file in enumerate(plan.files, 1):
            path = folder / file.name
            path_below(folder, *PurePosixPath(file.name).parent.parts)
            progress = f"{number} of {len(plan.files)}: {file.name}"
            received = record.files.get(file.name) or _Received(url=file.remote.url)
            if path.exists() or not received.unpacked:  # an archive may be removed once it is unpacked
                received.digests = digests_of_small.get(file.name) or _fetch_one(
                    file.remote, path, client, received.digests, progress
                )
                if not file.remote.digests:
                    _write_record(folder, record, file.name, received)
            if unpacking and is_archive(file.name) and not received.unpacked:
                unpack(path, path_below(folder, *PurePosixPath(file.unpack).parts), f"unpacking {progress}")
                received.unpacked = True
                _write_record(folder, record, file.name, received)
            if received.unpacked and not keep_archives:
                path.unlink(missing_ok=True)


def _fetch_small_files(
    plan: DownloadPlan, folder: Path, client: HttpFiles, record: _DownloadRecord
) -> Mapping[str, Mapping[str, str]]:
    """Fetch the missing small files of published size several at a time, as a set of the hub may have 150,000.

    Returns:
        Name of each → its digests.
    """
    small = [file for file in plan.files if file.remote.size is not None and file.remote.size <= _MAX_SMALL_BYTES]
    missing = [file for file in small if is_absent(folder / file.name) and file.name not in record.files]

    def fetch(file: PlannedFile) -> tuple[str, Mapping[str, str]]:
        path_below(folder, *PurePosixPath(file.name).parent.parts)
        return file.name, client.fetch(file.remote, folder / file.name, file.name, shown=False)

    with ThreadPoolExecutor(_NUM_THREADS) as threads:
        fetched = threads.map(fetch, missing)
        try:
            return dict(ProgressDisplay(fetched, title="downloading small files", unit="file", total=len(missing)))
        finally:
            threads.shutdown(cancel_futures=True)


def _fetch_one(
    remote: RemoteFile, path: Path, client: HttpFiles, recorded: Mapping[str, str], progress: str
) -> Mapping[str, str]:
    expected = remote.digests or recorded
    # If there is a copy, check it by the published or the recorded checksum, or else by the published size.
    if path.is_file():
        digests = digests_of(path, expected or ("sha256",), f"checking {progress}")
        size = path.stat().st_size
        origin = "published" if remote.digests else f"recorded in {RECORD}"
        remedy = "remove the file, and run the same command again"
        refuse(
            (
                any(digests[name] != digest.lower() for name, digest in expected.items()),
                f"{path}: its checksum differs from the one {origin}; {remedy}",
            ),
            (
                not expected and remote.size not in (None, size),
                f"{path}: has {size:,} bytes, not {remote.size}; {remedy}",
            ),
        )
        if expected or remote.size is not None:
            return digests
    # If there is no copy, or neither checksum nor size is known, download the file.
    return client.fetch(remote, path, f"downloading {progress}")


def _write_record(folder: Path, record: _DownloadRecord, name: str, received: _Received) -> None:
    record.files[name] = received
    write_text(folder / RECORD, json.dumps(record.model_dump(), indent=1) + "\n")
