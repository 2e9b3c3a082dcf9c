"""Recipes and the options on the command line."""

from __future__ import annotations

from builders.hostile import Case

CASES: list[Case] = []
