"""A part of a corpus, and the folders to look for it in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple


class Part(NamedTuple):
    """Which trials are meant, and where they are."""

    corpus: str
    root: str | Path | None
    split: str = "eval"
    protocols: str | Path | None = None
    """Folder of the protocols; None if they are searched for in ``root``."""
    revision: str | None = None
    """Commit of a data set of the hub, if it was downloaded."""

    def facts(self) -> dict[str, Any]:
        """Plain data for a record."""
        revision = {"revision": self.revision} if self.revision else {}
        return {"name": self.corpus, **revision, "root": str(self.root), "split": self.split}
