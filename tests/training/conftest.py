"""Fixtures of the tests of training."""

import pytest


@pytest.fixture
def drawn_curves() -> None:
    """Asked for by a test that looks at curves.png."""


@pytest.fixture(autouse=True)
def _curves_on_request(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no curves where nobody looks at them: they are a quarter of the time of a short run."""
    if "drawn_curves" not in request.fixturenames:
        monkeypatch.setattr("nes2net.training.monitor.plot_curves", lambda *_: None)
