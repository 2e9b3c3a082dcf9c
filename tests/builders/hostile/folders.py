"""Detector folders and Hugging Face folders, and the options of parts."""

from __future__ import annotations

from builders.hostile import Case

CASES: list[Case] = []
