"""What the tests of the demonstration share."""

from pathlib import Path

import pytest
from builders.demonstration import folder_of_voices


@pytest.fixture(scope="session")
def bonafide(tmp_path_factory) -> Path:
    """Recordings of four speakers."""
    return folder_of_voices(tmp_path_factory.mktemp("voices"))
