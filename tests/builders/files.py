"""Small files and folders for tests."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path


def write(path: Path, content: str | Iterable[str] = "") -> Path:
    """``path`` with this text, or with these lines, in folders made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else "".join(f"{line}\n" for line in content))
    return path


def folder(path: Path) -> Path:
    """``path`` as a folder that exists."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def read_json(path: Path):
    return json.loads(path.read_text())


def write_json(path: Path, content) -> Path:
    return write(path, json.dumps(content))


def write_scores(path: Path, scores: Mapping[str, object]) -> Path:
    """A score file with a line for each utterance."""
    return write(path, [f"{id} {score}" for id, score in scores.items()])


def write_record(scores: Path, **facts) -> Path:
    """The record of a run beside the file ``scores``, with these facts."""
    return write_json(scores.with_name(f"{scores.name}.json"), {"run": {}, "failures": {}, **facts})
