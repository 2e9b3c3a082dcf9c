"""The files that an evaluation read, with their SHA-256."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nes2net.corpora.corpus import Corpus, key_digest
from nes2net.corpora.trial import Trial


def score_input(path: Path, sha256: str, kind: str = "scores") -> dict[str, str]:
    """Name a score file."""
    return {"kind": kind, "path": str(path), "sha256": sha256}


def key_input(
    corpus: Corpus,
    keys_path: str | Path,
    phase: str,
    key: Sequence[Trial],
    digests: Mapping[Path, str],
    kind: str = "key",
) -> dict[str, str]:
    """Name the file that ``key`` was read from, the one of ``phase`` if there are several.

    ``digests`` are those of all files that were read for the key.
    """
    path = Path(keys_path)
    if path not in digests and not path.is_file():
        # Labels are in a key, in the protocol, or in the names of folders.
        path = corpus.find_key(path) if corpus.key_files else corpus.find_protocol(path, phase)
    entry = {"kind": kind, "path": str(path)}
    if path in digests:
        entry["sha256"] = digests[path]
    return entry | {"trials_sha256": key_digest(key)}
