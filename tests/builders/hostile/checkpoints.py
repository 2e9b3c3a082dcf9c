"""Checkpoints: torch files and safetensors, their records, and what is made of them."""

from __future__ import annotations

from pathlib import Path

from builders.hostile import Case, nes2net


def _of_text(folder: Path) -> Path:
    path = folder / "text.pth"
    path.write_text("not a checkpoint\n")
    return path


CASES = [
    Case("text", _of_text, lambda path: nes2net("info", path), r"text\.pth"),
]
