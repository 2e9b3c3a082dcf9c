"""`import nes2net` is light, and every public name is there, for editors and type checkers too."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import nes2net


def test_importing_the_package_imports_nothing_heavy():
    heavy = {"torch", "transformers", "librosa", "matplotlib", "av", "scipy", "soundfile", "tensorboard", "pydantic"}
    code = "import sys, nes2net, nes2net.cli.main, nes2net.cli.published.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy.isdisjoint(done.stdout.split())


def test_help_imports_no_numpy():
    code = "import sys, nes2net.cli.main as cli; cli.build_parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "numpy" not in done.stdout.split()


@pytest.fixture(scope="module")
def aasist_l(tmp_path_factory):
    """A recording, and random weights of AASIST-L without the name of their architecture."""
    place = tmp_path_factory.mktemp("light")
    torch.save(nes2net.Detector.from_config("AASIST-L").state_dict(), place / "model.pth")
    soundfile.write(place / "a.wav", np.zeros(32000), 16000)
    return place


def test_scoring_without_a_transformer_imports_no_library_of_transformers_nor_of_training(aasist_l):
    heavy = {"transformers", "torch._dynamo", "sympy", "peft", "accelerate", "scipy", "sklearn", "tensorboard"}
    heavy |= {"matplotlib", "huggingface_hub", "httpx"}
    code = "import sys; from nes2net.cli.main import main; print(main(sys.argv[1:]), *sys.modules)"
    words = ["predict", "a.wav", "--model", "model.pth", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, cwd=aasist_l
    )
    status, *modules = done.stdout.splitlines()[-1].split()
    assert status == "0" and "detector: AASIST-L" in done.stdout and heavy.isdisjoint(modules)


@pytest.mark.parametrize("words", [["info"], ["info", "corpora"], ["models"]])
def test_lists_of_names_are_made_without_torch(words):
    code = "import sys; from nes2net.cli.main import main; main(sys.argv[1:]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert {"torch", "transformers", "scipy", "av"}.isdisjoint(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("name", nes2net.__all__)
def test_public_names(name):
    assert getattr(nes2net, name) is not None
    assert name in dir(nes2net)


def test_editors_see_the_same_names():
    """Imports under TYPE_CHECKING, those of `__getattr__`, and `__all__` are the same names."""
    tree = ast.parse(Path(nes2net.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    imported = {alias.name: statement.module for statement in block.body for alias in statement.names}
    assert imported == nes2net._MODULE_OF
    assert sorted(imported) == sorted(nes2net.__all__)


def test_type_checkers_are_told_that_the_package_has_types():
    assert (Path(nes2net.__file__).parent / "py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(nes2net, "nothing")  # noqa: B009
