"""Audio files."""

from __future__ import annotations

from builders.hostile import Case

CASES: list[Case] = []
