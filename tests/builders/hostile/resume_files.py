"""Run folders: resume files, histories and epoch checkpoints."""

from __future__ import annotations

from builders.hostile import Case

CASES: list[Case] = []
