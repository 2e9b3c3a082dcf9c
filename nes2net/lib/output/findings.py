"""Findings about a file or setting: what is missing or wrong, or what a file holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import wrap_text


@dataclass(frozen=True)
class Finding:
    """A file or setting that is missing or wrong, or a fact about a file.

    >>> print(Finding("keys", "not there", "get them from the organisers"))
    keys: not there; get them from the organisers
    """

    subject: str
    problem: str
    remedy: str = ""
    """Empty if the problem says what to do, or nothing is known."""
    spares_some: bool = False
    """Whether only some needed files are missing, so that a partial result is possible."""
    facts: Facts = field(default_factory=dict)
    """Plain data for JSON beside the text."""

    def __str__(self) -> str:
        text = f"{self.subject}: {self.problem}"
        return f"{text}; {self.remedy}" if self.remedy else text


def listing(findings: Iterable[Finding]) -> list[str]:
    """List ``findings`` for a terminal, each after a dash."""
    lines = []
    for finding in findings:
        lines += wrap_text(str(finding), "  - ", "    ")
    return lines
