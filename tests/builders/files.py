"""Small files and folders for tests."""

from pathlib import Path


def write(path: Path, text: str = "") -> Path:
    """``path`` with this text, in folders made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def folder(path: Path) -> Path:
    """``path`` as a folder that exists."""
    path.mkdir(parents=True, exist_ok=True)
    return path
