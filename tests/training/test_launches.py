"""What a training step of the published recipe may launch on a GPU, counted on the simulated CUDA device."""

import shutil
import sys

import pytest
from builders.files import read_json
from builders.scripts import run
from conftest import REPOSITORY

#: Operations of a step, forward and backward, before weights were converted together: 2,022 in fp32 and 3,352 in bf16, of
#: which 1,335 were casts, and 656 in the forward pass of Nes2Net-X. With attention taken apart, which a GPU does in one
#: kernel, they are 2,456 and 4,002.
FP32_BEFORE = 2022
BACKEND_BEFORE = 656
BEFORE_THE_OPTIMIZER = ("waits, forward", "waits, backward", "waits, norm")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ for the simulated CUDA device"),
]


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    """The counts of builders/launch_counts.py, by precision."""
    file = tmp_path_factory.mktemp("launches") / "counts.json"
    program = REPOSITORY / "tests" / "builders" / "launch_counts.py"
    done = run("simulated_cuda", "--run", sys.executable, program, file, PYTHONPATH=str(REPOSITORY / "tests"))
    assert done.returncode == 0, done.stderr[-2000:]
    return read_json(file)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_no_precision_launches_more_operations_than_fp32_did(counts, precision):
    launched = counts[precision]
    assert launched["forward"] + launched["backward"] <= FP32_BEFORE
    assert launched["casts"] <= 60


def test_the_back_end_launches_at_most_two_thirds_of_what_it_did(counts):
    assert counts["bf16"]["back-end"] <= BACKEND_BEFORE * 2 / 3
    assert counts["fp32"]["back-end"] <= counts["bf16"]["back-end"]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_a_step_waits_only_for_the_result_of_the_step_before(counts, precision):
    launched = counts[precision]
    assert [launched[phase] for phase in BEFORE_THE_OPTIMIZER] == [0, 0, 0]
    assert launched["waits, optimizer"] == 0
    assert launched["waits, result"] == 1  # for the result of the step before


def test_the_optimizer_launches_at_most_three_kernels(counts):
    """One updates the weights; the counter of steps is raised, and lowered again if a gradient was not finite."""
    assert counts["bf16"]["optimizer"] <= 3
