"""Every part scores and trains on a second device as on the CPU (builders/simulated_device.py, in a process of its own)."""

import os

import pytest
from builders.files import read_json
from builders.scripts import SCRIPTS, run
from conftest import REPOSITORY

pytestmark = pytest.mark.slow
TESTS = REPOSITORY / "tests"
#: How often the CPU waits for the device in a forward pass and its gradient, a whole step of training, and a scored batch:
#: for the sizes of the experts' shares, which are of no fixed size; for the loss and the norm of the gradient, together;
#: for the scores; and for an attack's labels, hashes and random numbers, and once for each of its two gradients. Nothing
#: else waits.
WAITS = {"aggregation moe": 1, "a scored batch": 1, "whole step, adversarial training": 7}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each check found: waits by place, or an error. One check plants faults."""
    file = tmp_path_factory.mktemp("simulated") / "found.json"
    path = os.pathsep.join(map(str, (REPOSITORY, TESTS, SCRIPTS, SCRIPTS / "benchmarks")))
    done = run(TESTS / "builders" / "simulated_checks.py", file, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr[-2000:]
    return read_json(file)


def test_logits_losses_and_gradients_on_a_simulated_device_equal_those_of_the_cpu(results):
    assert not {name: row["error"] for name, row in results.items() if "error" in row}
    assert len(results) > 60


def test_the_cpu_waits_for_the_device_only_in_moe_in_attacks_and_once_per_training_step_or_scored_batch(results):
    steps = dict.fromkeys([name for name in results if name.startswith("whole step")], 1)
    waits = {name: sum(row["waits"].values()) for name, row in results.items()}
    assert {name: number for name, number in waits.items() if number} == {**steps, **WAITS}
    assert len(steps) > 15
