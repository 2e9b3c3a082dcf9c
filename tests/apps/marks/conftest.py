"""Readers of marks, and recordings with them."""

import json
from importlib.metadata import PackageNotFoundError, version

import pytest
import soundfile
from builders import shared_path
from builders.marks import reader

from nes2net.scoring.registry import evidence


@pytest.fixture(scope="session")
def golden():
    """The folder of recordings with and without marks."""
    return shared_path("golden", "marks")


@pytest.fixture(scope="session")
def perth_golden(golden):
    """Values of Perth's own decoder."""
    return json.loads((golden / "perth.json").read_text())


@pytest.fixture(scope="session")
def needs_perth():
    """Skips without the package of Perth's weights, which is never imported."""
    try:
        version("resemble-perth")
    except PackageNotFoundError:
        pytest.skip("resemble-perth is not installed")


@pytest.fixture
def without_readers(monkeypatch):
    """A function that removes the readers of marks from the registry, as a copy without their app has it."""

    def remove():
        for kind in ("perth", "c2pa"):
            monkeypatch.delitem(evidence._table, kind)

    return remove


@pytest.fixture
def read_perth(needs_perth):
    """A function that returns what Perth's reader finds in a recording."""
    return reader("perth")


@pytest.fixture
def read_samples(read_perth, tmp_path):
    """A function that returns the facts about samples, which it writes in 64 bits."""

    def read(samples, rate, name="a.wav"):
        soundfile.write(tmp_path / name, samples, rate, subtype="DOUBLE")
        return read_perth(tmp_path / name).facts

    return read
