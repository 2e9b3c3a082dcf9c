"""`import nes2net` is light, and every public name is there, for editors and type checkers too."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import nes2net


def imported_by(code, *words, cwd=None):
    """What a program prints, and the modules that it has imported at its end."""
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)", *words]
    *said, modules = subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd).stdout.splitlines()
    return said, set(modules.split())


HEAVY = "torch transformers librosa matplotlib av scipy soundfile tensorboard pydantic"
MAIN = "from nes2net.cli.main import main; print(main(sys.argv[1:]))"


@pytest.mark.parametrize(
    "code, words, heavy",
    [
        ("import nes2net, nes2net.cli.main, nes2net.cli.published.main", "", HEAVY),
        ("import nes2net.cli.main as cli; cli.build_parser().format_help()", "", "numpy"),
        (MAIN, "info", "torch transformers scipy av"),
        (MAIN, "info corpora", "torch transformers scipy av"),
        (MAIN, "models", "torch transformers scipy av"),
    ],
)
def test_what_is_light_imports_nothing_heavy(code, words, heavy):
    assert imported_by(code, *words.split())[1].isdisjoint(heavy.split())


def test_scoring_without_a_transformer_imports_no_library_of_transformers_nor_of_training(tmp_path):
    torch.save(nes2net.Detector.from_config("AASIST-L").state_dict(), tmp_path / "model.pth")
    soundfile.write(tmp_path / "a.wav", np.zeros(32000), 16000)
    said, modules = imported_by(MAIN, *"predict a.wav --model model.pth --device cpu".split(), cwd=tmp_path)
    assert said[-1] == "0" and "architecture of AASIST-L" in "".join(said)  # recognised by its shapes
    assert modules.isdisjoint({"transformers", "torch._dynamo", "sympy", "peft", "accelerate", "scipy", "sklearn"})
    assert modules.isdisjoint({"tensorboard", "matplotlib", "huggingface_hub", "httpx"})


def test_onnxruntime_keeps_no_identity_of_this_machine(tmp_path):
    """It would make files in the home folder as soon as it is imported, and ask a name server."""
    pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    environment = {name: value for name, value in os.environ.items() if name not in nes2net.NO_REPORTS}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    code = "from nes2net.models.checkpoints.onnx_file import require; require('onnxruntime')"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_wish_of_the_user_about_reports_is_kept():
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "1"}
    code = "import os, nes2net; print(os.environ['RAY_USAGE_STATS_ENABLED'])"
    printed = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert printed.stdout == "1\n"


def test_public_names_can_be_imported_from_the_package():
    for name in nes2net.__all__:
        assert getattr(nes2net, name) is not None
    assert {*nes2net.__all__} <= {*dir(nes2net)}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(nes2net, "nothing")  # noqa: B009


def test_editors_see_the_same_names():
    """Imports under TYPE_CHECKING, those of `__getattr__`, and `__all__` are the same names."""
    tree = ast.parse(Path(nes2net.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    imported = {alias.name: statement.module for statement in block.body for alias in statement.names}
    assert imported == nes2net._MODULE_OF
    assert sorted(imported) == sorted(nes2net.__all__)
