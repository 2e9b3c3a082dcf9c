"""Each app can be deleted: the command line lists the other commands, and the rest works as before."""

import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders.scripts import python
from conftest import REPOSITORY

import nes2net
from nes2net.cli.main import COMMANDS

APPS = sorted(path.parent.name for path in (REPOSITORY / "nes2net" / "apps").glob("*/__init__.py"))
COMMAND_OF = {name: target for group in COMMANDS.values() for name, target in group.items()}
#: The package of a copy is the only one that Python finds; every module of it is imported.
IMPORT_ALL = """
import importlib, pathlib, nes2net
root = pathlib.Path(nes2net.__file__).parent
for path in sorted(root.rglob("*.py")):
    if path.name != "__main__.py":
        name = ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name.startswith("nes2net"):
                raise
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of noise; a detector stands beside it."""
    folder = tmp_path_factory.mktemp("recording")
    nes2net.Detector.from_config("AASIST-L").save(folder / "detector")
    samples = 0.1 * np.random.default_rng(0).standard_normal(16000)
    soundfile.write(folder / "noise.wav", samples, 16000)
    return folder / "noise.wav"


@pytest.fixture(scope="module", params=APPS)
def app(request):
    return request.param


@pytest.fixture(scope="module")
def python_without(app, tmp_path_factory):
    """A function that runs Python with a copy of the package without the app."""
    copy = tmp_path_factory.mktemp("copy")
    for folder in ("nes2net", "configs"):
        shutil.copytree(REPOSITORY / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(copy / "nes2net" / "apps" / app)
    return partial(python, cwd=copy, PYTHONPATH=str(copy), PYTHONDONTWRITEBYTECODE="1", COLUMNS="80")


@pytest.mark.slow
def test_without_an_app_every_other_module_can_be_imported(python_without):
    python_without("-c", IMPORT_ALL)


@pytest.mark.slow
def test_without_an_app_the_help_lists_the_other_commands_but_not_those_of_the_app(app, python_without):
    # continued lines lie deeper
    listed = set(re.findall(r"^  (\w+) ", python_without("-m", "nes2net", "--help"), re.MULTILINE))
    missing_commands = {name for name, target in COMMAND_OF.items() if target.startswith(f"nes2net.apps.{app}.")}
    if app != "marks":  # which has no command
        assert missing_commands
    assert listed.isdisjoint(missing_commands)
    assert set(COMMAND_OF) - missing_commands <= listed


@pytest.mark.slow
def test_without_an_app_predict_scores_a_recording(python_without, recording):
    detector = ["--model", recording.parent / "detector", "--device", "cpu"]
    assert "noise.wav" in python_without("-m", "nes2net", "predict", recording, *detector)


@pytest.mark.slow
@pytest.mark.parametrize("app", ["export"], indirect=True)
def test_without_its_app_the_function_export_names_the_folder(python_without):
    code = """
import nes2net
try:
    nes2net.export(None, "pth", "detector.pth")
except nes2net.InputError as error:
    print(error)
"""
    expected = "nes2net.export needs the folder nes2net/apps/export, which was deleted: install nes2net again\n"
    assert python_without("-c", code) == expected


@pytest.mark.slow
def test_the_files_of_source_tracing_can_be_deleted(recording, tmp_path):
    """Every other module is imported, no registry names a deleted one, and a score file is recognised."""
    shutil.copytree(REPOSITORY / "nes2net", tmp_path / "nes2net", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "nes2net" / "training" / "tasks" / "source_tracing.py").unlink()
    (tmp_path / "nes2net" / "evaluation" / "classes.py").unlink()
    (tmp_path / "scores.txt").write_text("utterance score label\na 1.0 bonafide\n")
    code = f"""{IMPORT_ALL}
from nes2net.scoring.registry import judgements
from nes2net.training.registry import tasks
from nes2net.scoring.judgement import ScoreFile
assert "source_tracing" not in tasks.names() and "classes" not in judgements.names()
assert ScoreFile.of("scores.txt").judgement.name == "scores"
"""
    python("-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
