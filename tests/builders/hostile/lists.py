"""Protocols, keys, CSV lists, score files, records of scores and calibrations."""

from __future__ import annotations

from builders.hostile import Case

CASES: list[Case] = []
