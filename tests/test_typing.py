"""What a type checker knows of the public names."""

import re
import sys
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import pytest
from builders.files import write
from builders.scripts import python
from conftest import REPOSITORY

import nes2net

SCRIPT = """\
from collections.abc import Mapping
from pathlib import Path

from nes2net import (
    Callback,
    Detector,
    InputError,
    average,
    average_checkpoints,
    conditions,
    corpora,
    create_aggregation,
    create_backend,
    create_frontend,
    evaluate,
    export,
    load_recipe,
    load_state_dict,
    metrics,
    score_file,
    train,
)
from numpy import float32, ones
from numpy.random import default_rng
from torch import nn, zeros


def load(checkpoint: str) -> Detector:
    with open(checkpoint, "rb") as file:
        reveal_type(Detector.from_pretrained(file))  # nes2net.detector.Detector
    reveal_type(Detector.from_pretrained(load_state_dict(checkpoint)))  # nes2net.detector.Detector
    return Detector(create_frontend("lfcc"), create_aggregation("last", 1, 60), nn.Linear(60, 2))


def score(checkpoint: Path) -> float:
    detector = Detector.from_pretrained(checkpoint, device="cpu")
    reveal_type(detector)  # nes2net.detector.Detector
    reveal_type(detector(zeros(1, 16000)))  # torch._tensor.Tensor
    reveal_type(detector.score("a.wav"))  # float
    reveal_type(detector.score({"array": ones(16000, float32), "sampling_rate": 16000}))  # float
    reveal_type(detector.decide(b"RIFF", "calibration.json"))  # nes2net.scoring.decisions.decision.Decision
    reveal_type(conditions.create_condition("mp3:16")(ones(16000, float32), default_rng(0)))  # numpy.ndarray
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


def train_and_evaluate(scores: str) -> None:
    def stop(event: str, facts: Mapping[str, object]) -> bool:
        return event == "epoch"

    callback: Callback = stop
    folder = train(load_recipe("asvspoof2019_nes2net_x"), callbacks=[callback])
    reveal_type(folder)  # pathlib.Path
    detector = Detector.from_pretrained(average(folder, last=2).path)
    reveal_type(export(detector, "onnx", "detector.onnx"))  # pathlib.Path
    waveform, target = corpora.Part("asvspoof2019_la", "DB", "dev")[0]
    reveal_type(target)  # int | None
    ids, values = score_file.read_scores(Path(scores))
    score_file.write_scores("negated.txt", ids, -values)
    result = evaluate("asvspoof2019_la", scores, "DB", "dev")
    reveal_type(result["eer"].value)  # float | None
"""


@pytest.fixture(scope="module")
def editable(tmp_path_factory):
    """The interpreter of an environment with an editable install of a checkout, and with this environment's libraries."""
    folder = tmp_path_factory.mktemp("editable")
    checkout = folder / "checkout"
    copytree(REPOSITORY / "nes2net", checkout / "nes2net", ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        copy(REPOSITORY / name, checkout)
    python("-m", "venv", "--without-pip", folder / "environment")
    interpreter = folder / "environment" / "bin" / "python"
    (packages,) = folder.rglob("site-packages")
    # The .pth files in the folders that are named here, such as that of this environment's nes2net, are not read.
    write(packages / "libraries.pth", [entry for entry in sys.path if Path(entry).name == "site-packages"])
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    python("-m", "pip", "--python", interpreter, "install", *options, "--editable", checkout, PYTHONPATH="")
    return interpreter


@pytest.fixture
def reveal(editable, tmp_path):
    """A function that returns the types that `reveal_type` gets in a script without an error of `mypy --strict`."""

    def revealed(script):
        (tmp_path / "script.py").write_text(script)
        options = [
            "--strict",
            "--no-error-summary",
            f"--cache-dir={editable.parents[1]}",
            f"--python-executable={editable}",
        ]
        printed = python("-m", "mypy", *options, "script.py", cwd=tmp_path, PYTHONPATH="", MYPYPATH="")
        return re.findall(r'^script\.py:\d+: note: Revealed type is "(.*)"$', printed, re.MULTILINE)

    return revealed


@pytest.mark.slow
def test_mypy_strict_accepts_a_users_script_and_knows_the_types_of_public_names(reveal):
    expected = re.findall(r"reveal_type.*  # (.*)", SCRIPT)
    assert [kind.split("[")[0] for kind in reveal(SCRIPT)] == [kind.split("[")[0] for kind in expected]


@pytest.mark.slow
def test_mypy_knows_the_type_of_every_public_name(reveal):
    lines = ["import nes2net", *(f"reveal_type(nes2net.{name})" for name in nes2net.__all__)]
    kinds = reveal("\n".join(lines))
    assert len(kinds) == len(nes2net.__all__)
    assert "Any" not in kinds
