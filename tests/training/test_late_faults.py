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
PACKAGE = "(package late-parts 1.0)"
#: Fault: beginning of the message.
TABLE = """
frontend raises: front-end 'late_frontend' PACKAGE: forward raised KeyError: 'in use' (late_faults.py, line
frontend exits: front-end 'late_frontend' PACKAGE: forward raised SystemExit: 3
frontend nan: front-end 'late_frontend' PACKAGE: gave numbers that are not finite
aggregation raises: aggregation 'late_aggregation' PACKAGE: forward raised KeyError: 'in use'
aggregation nan: aggregation 'late_aggregation' PACKAGE: gave numbers that are not finite
penalty nan: aggregation 'late_aggregation' PACKAGE: gave numbers that are not finite
backend raises: back-end 'late_backend' PACKAGE: embed raised KeyError: 'in use'
backend exits: back-end 'late_backend' PACKAGE: embed raised SystemExit: 3
backend none: back-end 'late_backend' PACKAGE:
backend nan: back-end 'late_backend' PACKAGE: gave numbers that are not finite
loss raises: loss 'late_loss' PACKAGE: numerator raised KeyError: 'in use'
loss exits: loss 'late_loss' PACKAGE: numerator raised SystemExit: 3
loss nan: loss 'late_loss' PACKAGE: gave numbers that are not finite
effect raises: condition 'late_effect' PACKAGE: __call__ raised KeyError: 'in use'
effect exits: condition 'late_effect' PACKAGE: __call__ raised SystemExit: 3
effect nan: condition 'late_effect' PACKAGE: __call__ returned an array (8000,) of float32; expected finite
effect empty: condition 'late_effect' PACKAGE: __call__ returned an array (0,) of float32
effect 2d: condition 'late_effect' PACKAGE: __call__ returned an array (1, 8000) of float32
effect none: condition 'late_effect' PACKAGE: __call__ returned None
numerators raises: task 'late_task' PACKAGE: numerators raised KeyError: 'in use'
numerators nan: task 'late_task' PACKAGE: gave numbers that are not finite
figures raises: task 'late_task' PACKAGE: figures raised KeyError: 'in use'
figures none: task 'late_task' PACKAGE: figures returned None; expected a dictionary
figures exits: task 'late_task' PACKAGE: figures raised SystemExit: 3
target raises: task 'late_task' PACKAGE: target raised KeyError: 'in use'
extra_tensors raises: task 'late_task' PACKAGE: extra_tensors raised KeyError: 'in use'
trials raises: task 'late_task' PACKAGE: trials raised KeyError: 'in use'
trials none: task 'late_task' PACKAGE: trials raised TypeError
constructor raises: task 'late_task' PACKAGE: objective raised KeyError: 'in use'
objective none: task 'late_task' PACKAGE: objective raised AttributeError
begin raises: task 'late_task' PACKAGE: begin raised KeyError: 'in use'
trainer raises: task 'late_task' PACKAGE: trainer raised KeyError: 'in use'
check exits: task 'late_task' PACKAGE: check raised SystemExit: 3
"""
FAULTS = dict(line.split(": ", 1) for line in TABLE.replace("PACKAGE", PACKAGE).strip().splitlines())


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
        assert f"judgement 'late_rows' {PACKAGE}: compute raised {words}" in only_error(error)
    plant("judgement nan")
    words = f"rows of judgement 'late_rows' {PACKAGE} have nan: its features and logits are finite"
    assert words in only_error(command(f"{score}nan.tsv")[2])
