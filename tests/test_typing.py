"""What a type checker knows of the public names."""

import re

import pytest
from builders.scripts import python
from conftest import REPOSITORY

SCRIPT = """\
from pathlib import Path

from nes2net import Detector, InputError, average_checkpoints, create_backend, create_frontend, metrics
from torch import zeros


def score(checkpoint: Path) -> float:
    detector = Detector.from_pretrained(checkpoint, device="cpu")
    reveal_type(detector)  # nes2net.detector.Detector
    reveal_type(detector(zeros(1, 16000)))  # torch._tensor.Tensor
    reveal_type(detector.score("a.wav"))  # float
    for _, value in detector.score_files(["a.wav"]):
        reveal_type(value)  # float
    states = create_frontend("lps")(zeros(1, 16000))
    reveal_type(states)  # list[torch._tensor.Tensor]
    reveal_type(create_backend("nes2net_x")(states))  # torch._tensor.Tensor
    reveal_type(average_checkpoints(["a.pth"])["w"])  # torch._tensor.Tensor
    reveal_type(metrics.compute_eer([1.0], [0.0]))  # tuple[float, float]
    try:
        return detector.score("x.wav")
    except InputError as error:
        reveal_type(error)  # nes2net.lib.errors.InputError
        return 0.0
"""


@pytest.mark.weekly
def test_mypy_strict_accepts_a_users_script_and_knows_the_types_of_public_names(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    # Only the script is judged, as if the package were installed.
    options = ["--strict", "--follow-imports=silent", "--no-error-summary", f"--cache-dir={tmp_path}"]
    printed = python("-m", "mypy", *options, "script.py", cwd=tmp_path, MYPYPATH=str(REPOSITORY))
    revealed = re.findall(r'^script\.py:\d+: note: Revealed type is "(.*)"$', printed, re.MULTILINE)
    expected = re.findall(r"reveal_type.*  # (.*)", SCRIPT)
    assert [kind.split("[")[0] for kind in revealed] == [kind.split("[")[0] for kind in expected]
