"""Faults of parts of other packages that show only in use: one line names part, package and method."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import late_faults
from builders.command_fixtures import command, one_parser  # noqa: F401
from builders.strangers import install, installed_in

pytestmark = pytest.mark.slow

RECIPE = """
name: tones
date: "0101"
model: {frontend: late_frontend, aggregation: late_aggregation, backend: late_backend}
data: {corpus: generic, root: tones, num_samples: 4000, num_workers: 0}
augment: {conditions: [late_effect], condition_probability: 1.0}
train: {epochs: 1, batch_size: 4, loss: late_loss, task: late_task}
"""
PACKAGE = "(package late-parts 1.0): "
TASK = f"task 'late_task' {PACKAGE}"
NOT_FINITE = "gave numbers that are not finite"
#: Fault → the beginning of the message.
FAULTS = {
    "frontend raises": f"front-end 'late_frontend' {PACKAGE}forward raised KeyError: 'in use' (late_faults.py, line ",
    "frontend exits": f"front-end 'late_frontend' {PACKAGE}forward raised SystemExit: 3",
    "frontend nan": f"front-end 'late_frontend' {PACKAGE}{NOT_FINITE}",
    "aggregation raises": f"aggregation 'late_aggregation' {PACKAGE}forward raised KeyError: 'in use'",
    "aggregation nan": f"aggregation 'late_aggregation' {PACKAGE}{NOT_FINITE}",
    "penalty nan": f"aggregation 'late_aggregation' {PACKAGE}{NOT_FINITE}",
    "backend raises": f"back-end 'late_backend' {PACKAGE}embed raised KeyError: 'in use'",
    "backend exits": f"back-end 'late_backend' {PACKAGE}embed raised SystemExit: 3",
    "backend none": f"back-end 'late_backend' {PACKAGE}",
    "backend nan": f"back-end 'late_backend' {PACKAGE}{NOT_FINITE}",
    "loss raises": f"loss 'late_loss' {PACKAGE}numerator raised KeyError: 'in use'",
    "loss exits": f"loss 'late_loss' {PACKAGE}numerator raised SystemExit: 3",
    "loss nan": f"loss 'late_loss' {PACKAGE}{NOT_FINITE}",
    "effect raises": f"condition 'late_effect' {PACKAGE}__call__ raised KeyError: 'in use'",
    "effect exits": f"condition 'late_effect' {PACKAGE}__call__ raised SystemExit: 3",
    "effect nan": f"condition 'late_effect' {PACKAGE}__call__ returned an array (8000,) of float32; expected finite",
    "effect empty": f"condition 'late_effect' {PACKAGE}__call__ returned an array (0,) of float32",
    "effect 2d": f"condition 'late_effect' {PACKAGE}__call__ returned an array (1, 8000) of float32",
    "effect none": f"condition 'late_effect' {PACKAGE}__call__ returned None",
    "numerators raises": f"{TASK}numerators raised KeyError: 'in use'",
    "numerators nan": f"{TASK}{NOT_FINITE}",
    "figures raises": f"{TASK}figures raised KeyError: 'in use'",
    "figures exits": f"{TASK}figures raised SystemExit: 3",
    "extra_tensors raises": f"{TASK}extra_tensors raised KeyError: 'in use'",
    "trials raises": f"{TASK}trials raised KeyError: 'in use'",
    "trials none": f"{TASK}trials raised TypeError",
    "constructor raises": f"{TASK}objective raised KeyError: 'in use'",
    "objective none": f"{TASK}objective raised AttributeError",
    "begin raises": f"{TASK}begin raised KeyError: 'in use'",
    "check exits": f"{TASK}check raised SystemExit: 3",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with recordings and the recipe, in which the package is installed."""
    folder = tmp_path_factory.mktemp("late")
    source = Path(late_faults.__file__).read_text(encoding="utf-8")
    install(folder / "site", "late-parts 1.0", late_faults.POINTS, {"late_faults": source})
    rng = np.random.default_rng(0)
    rows = ["path,label,split"]
    (folder / "tones").mkdir()
    for split in ("train", "dev", "eval"):
        for number in range(8):
            samples = 0.1 * (1 + number % 2) * rng.standard_normal(8000).clip(-3, 3)
            soundfile.write(folder / "tones" / f"{split}_{number}.wav", samples / 3, 16000)
            rows.append(f"{split}_{number}.wav,{('bonafide', 'spoof')[number % 2]},{split}")
    (folder / "tones" / "trials.csv").write_text("\n".join(rows))
    (folder / "tones.yaml").write_text(RECIPE)
    with installed_in(folder / "site"):
        yield folder


@pytest.fixture
def plant(installed, tmp_path, monkeypatch):
    """A function that plants a fault; the current folder has the recordings and the recipe."""
    for name in ("tones", "tones.yaml"):
        (tmp_path / name).symlink_to(installed / name)
    monkeypatch.chdir(tmp_path)
    return lambda fault: monkeypatch.setattr(importlib.import_module("late_faults"), "FAULT", fault)


def only_error(error: str) -> str:
    """The error message of a command, which prints no traceback."""
    assert "Traceback" not in error
    (message,) = [line for line in error.splitlines() if line.startswith("nes2net: error: ")]
    return message


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_training_is_one_line_that_names_the_part(plant, command, fault):  # noqa: F811
    plant(fault)
    status, _, error = command("train tones.yaml")
    assert status == 2
    assert FAULTS[fault] in only_error(error)


@pytest.mark.parametrize("fault", ["effect exits", "effect nan", "extra_tensors raises"])
def test_a_fault_in_a_worker_is_one_line_that_names_the_part(plant, command, fault):  # noqa: F811
    plant(fault)
    status, _, error = command("train tones.yaml data.num_workers=1")
    assert status == 2
    assert FAULTS[fault] in only_error(error)


def test_a_fault_of_a_judgement_names_it_in_place_of_damaged_weights(plant, command):  # noqa: F811
    assert command("train tones.yaml")[0] == 0
    (model,) = Path().glob("models/*/epoch_1.pth")
    score = f"score generic tones --model {model} --judgement late_rows --out "
    for fault, words in (("raises", "KeyError: 'in use'"), ("exits", "SystemExit: 3")):
        plant(f"judgement {fault}")
        status, _, error = command(f"{score}{fault}.tsv")
        assert status == 2
        assert f"judgement 'late_rows' {PACKAGE}compute raised {words}" in only_error(error)
    plant("judgement nan")
    words = "rows of judgement 'late_rows' (package late-parts 1.0) have nan: its features and logits are finite"
    assert words in only_error(command(f"{score}nan.tsv")[2])
