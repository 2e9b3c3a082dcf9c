"""``PublishedFile``: the address of a file that others publish, and the digest that identifies it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from nes2net.lib.errors import readable_size

_HUB = re.compile(
    r"hub:(?P<repository>\w[\w.-]*/[\w.-]+?)(?:@(?P<revision>[\w.-]+))?(?:/(?P<file>[\w./-]+))?", re.ASCII
)
#: Pattern of the hash of a commit on the hub.
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class PublishedFile:
    """The address of a published file, and its digest.

    >>> PublishedFile("hub:owner/name@main/model.safetensors").address
    'https://huggingface.co/owner/name/resolve/main/model.safetensors'
    """

    url: str
    """A web address, or ``hub:OWNER/NAME[@REVISION]/FILE`` on the Hugging Face hub; without ``/FILE``, a folder."""
    size: int | None = None
    sha256: str = ""

    @property
    def hub(self) -> re.Match[str] | None:
        """Match of a hub address: ``repository``, ``revision`` and ``file``; None for other servers."""
        return _HUB.fullmatch(self.url)

    @property
    def address(self) -> str:
        """Web address for a browser."""
        if (hub := self.hub) is None:
            return self.url
        page = f"https://huggingface.co/{hub['repository']}"
        revision = hub["revision"] or "main"
        if hub["file"]:
            return f"{page}/resolve/{revision}/{hub['file']}"
        return f"{page}/tree/{revision}"

    @property
    def name(self) -> str:
        """Name of the file; empty for a folder."""
        if (hub := self.hub) is None:
            path = unquote(urlsplit(self.url).path)
        else:
            path = hub["file"] or ""
        return PurePosixPath(path).name

    @property
    def pinned(self) -> str:
        """Digest or commit on the hub that identifies the file; empty if unknown."""
        if self.sha256:
            return f"SHA-256 {self.sha256}"
        hub = self.hub
        if hub and COMMIT.fullmatch(hub["revision"] or ""):
            return f"revision {hub['revision']}"
        return ""

    @property
    def known_by(self) -> str:
        """Digest or commit, and size, in words."""
        identity = self.pinned or "not pinned"
        if self.size is None:
            return identity
        return f"{identity}, {readable_size(self.size)}"
