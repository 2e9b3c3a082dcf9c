"""Published files on this machine: downloaded once, checked, and kept in huggingface_hub's folders.

A file of the hub is in huggingface_hub's cache, any other in ``nes2net/models/NAME/FILE`` below
``HF_ASSETS_CACHE`` (by default in ``HF_HOME``), where a user may put it by hand. Address and digest
are recorded in ``NAME.json`` beside the folder ``NAME`` when a file is first seen.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from nes2net.lib.errors import InputError, Unfinished
from nes2net.lib.output.terminal import print_note
from nes2net.lib.storage.files import is_absent, make_folder, sha256_of, write_json
from nes2net.lib.storage.plain_data import StrictModel, read_json_as
from nes2net.lib.web.hub import HUB_PAGES, check_fetched, hub_errors
from nes2net.models.checkpoints.published_file import COMMIT, PublishedFile

_MAX_RECORD = 10_000  # bytes

_MAX_TRIES = 3  # a download ends after this many failed tries in a row; without a network, the tries take 3 s


class FirstSeen(StrictModel):
    """Facts about a file when it was first seen: downloaded, or added by a user."""

    url: str
    """Address, as :attr:`PublishedFile.url`."""
    first_seen: str
    """Date, in UTC."""
    sha256: str = ""
    """SHA-256; empty for a folder."""
    size: int | None = None
    """Size in bytes; None for a folder."""
    revision: str = ""
    """Commit on the hub; empty for other files."""


@dataclass(frozen=True)
class Shelf:
    """Where a published file is kept on this machine; :meth:`fetch_if_missing` downloads a missing one."""

    name: str
    """Model or front-end, such as ``"AASIST"``."""
    file: PublishedFile
    licence: str = ""
    """Licence, printed at a download."""

    @property
    def folder(self) -> Path:
        """Folder of files from other servers than the hub, and of files added by hand."""
        from huggingface_hub import constants  # start-up

        return Path(constants.HF_ASSETS_CACHE) / "nes2net" / "models" / self.name

    @property
    def path_outside_hub(self) -> Path:
        """Path of the file outside the hub's cache, downloaded or put there by the user."""
        return self.folder / self.file.name  # for a folder, the name is empty, and the path is the folder itself

    @property
    def record(self) -> Path:
        """Path of ``NAME.json``, with :class:`FirstSeen`."""
        return self.folder.with_name(f"{self.name}.json")

    def first_seen(self) -> FirstSeen | None:
        """Read the record; None if the file was never seen at this address."""
        if is_absent(self.record):
            return None
        record = read_json_as(FirstSeen, self.record, _MAX_RECORD, "the record of a published file", "remove it")
        return record if record.url == self.file.url else None

    def holds(self, path: Path) -> bool:
        """Whether the published file, ``path`` or in the folder ``path``, has the published digest.

        Without one, the digest when the file was first seen counts; False if none is known.
        """
        if path.is_dir() and self.file.name:
            path = path / self.file.name
        if not path.is_file():
            return False
        identity = self.file if self.file.sha256 else self.first_seen()
        if identity is None or identity.size not in (None, path.stat().st_size):
            return False
        return sha256_of(path) == identity.sha256

    def find(self) -> Path | None:
        """Find the file or folder on this machine, without asking a server."""
        if self.path_outside_hub.exists():
            return self.path_outside_hub
        if (hub := self.file.hub) is None:
            return None
        from huggingface_hub import snapshot_download, try_to_load_from_cache  # start-up

        repository = hub["repository"]
        revision = hub["revision"]
        if hub["file"]:
            cached_path = try_to_load_from_cache(repository, hub["file"], revision=revision)
            return Path(cached_path) if isinstance(cached_path, str) else None
        with suppress(OSError):
            folder = Path(snapshot_download(repository, revision=revision, local_files_only=True))
            # The folder must have weights: another program may have downloaded only the
            # configuration.
            if any(path.suffix in (".safetensors", ".bin") for path in folder.iterdir()):
                return folder
        return None

    def fetch_if_missing(self) -> Path:
        """Return the path of the file or folder on this machine; download it if it is missing.

        A file is checked when first seen or changed.

        Raises:
            InputError: if the file cannot be downloaded, or has another digest than published or
                first seen.
            Unfinished: if the connection breaks; the same call resumes the download.
        """
        path = self.find()
        first_seen = self.first_seen()
        if path is not None and first_seen is not None and self.file.sha256 in ("", first_seen.sha256):
            # Do not hash a file again if its size is unchanged, because hashing gigabytes takes long.
            if path.is_dir() or path.stat().st_size == first_seen.size:
                return path
        if path is None:
            path = self._fetch()
        self._check_digest(path, first_seen)
        return path

    def _fetch(self) -> Path:
        print_note(f"{self.name} is fetched once from {self.file.address}; its licence: {self.licence or 'not stated'}")
        try:
            if self.file.hub is None:
                return self._from_server()
            return self._from_hub(self.file.hub)
        except (InputError, Unfinished) as error:
            part = self.path_outside_hub.with_name(f"{self.path_outside_hub.name}.part")
            if isinstance(error, Unfinished) and part.exists():
                raise  # the same command resumes from the partial file
            files = "the file" if self.file.name else "the files of"
            pronoun = "it" if self.file.name else "them"
            raise InputError(
                f"{self.name} is not on this machine and was not fetched ({error.problem}): get {files} "
                f"{self.file.address} ({self.file.known_by}) and put {pronoun} at {self.path_outside_hub}"
            ) from error

    def _from_hub(self, hub: re.Match[str]) -> Path:
        from huggingface_hub import hf_hub_download, snapshot_download  # start-up

        from nes2net.models.checkpoints.huggingface import MODEL_FILES  # start-up: torch

        repository = hub["repository"]
        revision = hub["revision"]
        with hub_errors("the hub did not give it", f"{HUB_PAGES}{repository}"):
            if hub["file"]:
                return Path(hf_hub_download(repository, hub["file"], revision=revision))
            return Path(snapshot_download(repository, revision=revision, allow_patterns=list(MODEL_FILES)))

    def _from_server(self) -> Path:
        from huggingface_hub import constants  # start-up
        from huggingface_hub.utils import WeakFileLock  # start-up

        from nes2net.lib.web.http_files import HttpFiles, RemoteFile  # start-up

        if constants.HF_HUB_OFFLINE:
            raise InputError("HF_HUB_OFFLINE is set")
        make_folder(self.folder)
        digests = {}
        if self.file.sha256:
            digests["sha256"] = self.file.sha256
        remote = RemoteFile(self.file.url, self.file.size, digests)
        # One process downloads the file; other processes wait.
        with WeakFileLock(self.folder / ".lock"), HttpFiles(most_tries=_MAX_TRIES) as client:
            if not self.path_outside_hub.exists():
                client.fetch(client.ask_size_and_digest(remote), self.path_outside_hub, f"fetching {self.name}")
        return self.path_outside_hub

    def _check_digest(self, path: Path, first_seen: FirstSeen | None) -> None:
        """Compare with all known digests; record a new file, with a note if it is not pinned."""
        from nes2net.lib.web.http_files import digests_of  # start-up

        sha256 = revision = ""
        size = None
        if self.file.hub is not None and path != self.path_outside_hub:
            revision = next(filter(COMMIT.fullmatch, reversed(path.parts)), "")
            check_fetched(path)
        if path.is_file():
            size = path.stat().st_size
            sha256 = digests_of(path, ("sha256",), f"checking {path.name}")["sha256"]
        # Each known digest must equal the computed digest.
        expected_digests = {"published": self.file.sha256}
        if first_seen is not None:
            expected_digests[f"first seen ({self.record})"] = first_seen.sha256
        for source, expected in expected_digests.items():
            if expected and sha256 != expected:
                raise InputError(
                    f"{path} is not {self.name}: its SHA-256 is {sha256}, the one {source} is {expected}. Remove the file, and run "
                    "the same command again; if the publisher replaced it and you trust that, give its path instead"
                )
        if first_seen is None:
            today = datetime.now(timezone.utc).date().isoformat()
            first_seen = FirstSeen(url=self.file.url, first_seen=today, sha256=sha256, size=size, revision=revision)
            write_json(self.record, first_seen.model_dump())
            if not self.file.pinned:
                identity = f"SHA-256 {sha256}" if sha256 else f"revision {revision or 'unknown'}"
                print_note(f"{self.name} is not pinned; first seen with {identity}, as {self.record} records")
