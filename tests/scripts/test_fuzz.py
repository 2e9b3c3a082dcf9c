"""The files that scripts/fuzz spoils are good before."""

import shutil
import sys
from contextlib import nullcontext

import pytest
from builders import input_error
from builders.scripts import loaded
from fuzzing import FIXED, boundaries

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on memory is Linux's")


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """The folder of the examples that a hunt writes."""
    folder = tmp_path_factory.mktemp("hunt")
    fuzz = loaded("fuzz")
    fuzz.main(fuzz.arguments(["--minutes", "0.1", "--out", str(folder)]))
    return folder / "examples"


@pytest.mark.slow
@pytest.mark.parametrize("boundary", boundaries.BOUNDARIES)
def test_the_good_examples_of_a_boundary_are_accepted(examples, boundary, tmp_path):
    """Otherwise an attack would find only the mistake of the example."""
    target = boundaries.BOUNDARIES[boundary]
    for example in sorted((examples / boundary).iterdir()):
        for attempt in target.only.get(example.name) or target.attempts:
            folder = tmp_path / attempt / example.name
            shutil.copytree(example, folder, ignore=shutil.ignore_patterns(FIXED))
            if (example / FIXED).exists():
                (folder / FIXED).symlink_to(example / FIXED)
            no_corpus = input_error("nowhere")
            with no_corpus if (boundary, attempt) == ("recipe", "train") else nullcontext():
                boundaries.attempt(boundary, attempt, folder)
