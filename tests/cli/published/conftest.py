"""A case of the published evaluation programs."""

import pytest
from builders import golden_metrics


@pytest.fixture
def g200(tmp_path, monkeypatch):
    """Scores and keys of 200 trials, in the working folder."""
    case = golden_metrics.load("g200", tmp_path)
    monkeypatch.chdir(case.folder)
    return case
