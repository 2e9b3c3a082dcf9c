"""Small files and folders for tests."""

import json
from pathlib import Path
from typing import Any


def write(path: Path, text: str = "") -> Path:
    """``path`` with this text, in folders made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def folder(path: Path) -> Path:
    """``path`` as a folder that exists."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def write_json(path: Path, content: Any) -> Path:
    return write(path, json.dumps(content))
