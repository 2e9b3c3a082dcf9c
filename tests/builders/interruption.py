"""Runs over a corpus that are interrupted between two batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from nes2net.scoring.journal import Journal


@contextmanager
def journalled(stop_after: int | None = None) -> Iterator[list[dict]]:
    """The rows of each batch that enters the journal; Ctrl-C is pressed after a number of batches."""
    add = Journal.add
    added = []

    def adding(journal, rows, failures=None):
        add(journal, rows, failures)
        if rows:
            added.append(rows)
        if len(added) == stop_after:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt) if stop_after else nullcontext():
        patch.setattr(Journal, "add", adding)
        yield added
