"""Lets commands say at once what they say after a second of work."""

from threading import Timer

import pytest

from nes2net.lib.output import progress


class _AtOnce(Timer):
    def start(self):
        self.function()


@pytest.fixture
def speaking_at_once(monkeypatch):
    """All work says what it does when it begins."""
    monkeypatch.setattr(progress, "Timer", _AtOnce)
    monkeypatch.delenv(progress.SECONDS)
