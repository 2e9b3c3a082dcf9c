"""A broken or slow part of another package hurts no command that does not use it."""

import os
import subprocess
import sys

import pytest
import yaml
from builders import PATIENCE, slow
from builders.files import write
from builders.small_parts import SPECTRUM
from builders.strangers import install
from conftest import REPOSITORY

BROKEN = "raise RuntimeError('broken')\n"
SLOW = '''"""A slow module."""

import os
import time
from pathlib import Path

Path(os.environ["IMPORTED"]).touch()
time.sleep(8)


def dawdle() -> None:
    """Take eight seconds to start."""
'''
BROKEN_PARTS = {
    "tasks": {"broken_task": "broken_parts:Task"},
    "judgements": {"broken_rows": "broken_parts:Rows"},
    "effects": {"broken_hum": "broken_parts:Hum"},
    "corpora": {"broken_corpus": "broken_parts:CORPUS"},
    "heads": {"broken_head": "broken_parts:Head"},
    "commands": {"broken_command": "broken_parts:command"},
}
SLOW_PARTS = {"commands": {"dawdle": "slow_parts.dawdle:dawdle"}, "tasks": {"slow_task": "slow_parts.dawdle:Task"}}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with an installed package of broken parts, and one whose modules take 8 s to import."""
    folder = tmp_path_factory.mktemp("site")
    install(folder, "broken-parts 0.1", BROKEN_PARTS, {"broken_parts": BROKEN})
    install(folder, "slow-parts 2.0", SLOW_PARTS, {"slow_parts.__init__": SLOW, "slow_parts.dawdle": SLOW})
    return folder


def run(words, folder, *packages):
    """Run a command of nes2net in a new ``folder``, with folders of further packages."""
    folder.mkdir()
    search = os.pathsep.join(map(str, [*packages, REPOSITORY]))
    environment = {**os.environ, "PYTHONPATH": search, "IMPORTED": str(folder / "imported"), "COLUMNS": "80"}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "nes2net", *words.split()]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)


@pytest.fixture
def recipe_file(corpus, tmp_path):
    """A recipe of one epoch on a spectrum."""
    model = {"frontend": SPECTRUM, "backend": {"name": "asp_mlp", "hidden_dim": 8}}
    data = {"corpus": "asvspoof2019_la", "root": str(corpus), "num_samples": 4000, "num_workers": 0}
    values = {"name": "tiny", "date": "0101", "model": model, "data": data, "train": {"epochs": 1, "batch_size": 4}}
    return write(tmp_path / "recipe.yaml", yaml.safe_dump(values))


@pytest.mark.parametrize("words", ["--version", "predict --help", *slow("train RECIPE")])
def test_broken_and_slow_packages_that_a_command_does_not_use_have_no_effect_on_it(words, site, recipe_file, tmp_path):
    """It prints the same, and does not import the slow modules."""
    words = words.replace("RECIPE", str(recipe_file))
    alone = run(words, tmp_path / "alone")
    beside = run(words, tmp_path / "beside", site)
    assert (alone.returncode, beside.returncode) == (0, 0), beside.stderr
    assert beside.stdout == alone.stdout
    assert not (tmp_path / "beside" / "imported").exists()


def test_help_lists_commands_of_other_packages_without_importing_them(site, tmp_path):
    done = run("--help", tmp_path / "beside", site)
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert ["dawdle", "Take eight seconds to start"] in lines
    assert ["broken-command"] in lines
    assert not (tmp_path / "beside" / "imported").exists()


def test_a_broken_command_says_in_one_line_why_it_cannot_run(site, tmp_path):
    done = run("broken-command", tmp_path / "beside", site)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "command 'broken_command'" in done.stderr
    assert "cannot be imported from broken_parts:command (broken)" in done.stderr
