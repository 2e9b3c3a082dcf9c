"""A store in memory, which only these tests read."""

import pytest

from nes2net.lib.web import remote


@pytest.fixture(autouse=True)
def _memory(monkeypatch):
    monkeypatch.setattr(remote, "SCHEMES", remote.SCHEMES | {"memory"})
