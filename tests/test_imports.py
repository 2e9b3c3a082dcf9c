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
from builders.files import write
from builders.scripts import python

import nes2net


def imported_by(code, *words, cwd=None):
    """What a program prints, and the modules that it has imported at its end."""
    *printed, modules = python("-c", f"import sys; {code}\nprint(*sys.modules)", *words, cwd=cwd).splitlines()
    return printed, set(modules.split())


MAIN = "from nes2net.cli.main import main; print(main(sys.argv[1:]))"
START = """
from contextlib import suppress
from nes2net.cli.main import main
for words in sys.argv[1:]:
    with suppress(SystemExit):
        main(words.split())
"""
#: Libraries whose import takes long or much memory.
HEAVY = set(
    "accelerate av httpx huggingface_hub librosa matplotlib numpy pandas peft pydantic scipy sklearn soundfile "
    "sympy tensorboard torch torch._dynamo torchaudio transformers".split()
)
#: Heavy libraries → commands that may import no others.
MAY_IMPORT = {
    "": ["--version", "--help", "predict --help", "train --help"],
    "numpy pydantic": ["info", "info corpora", "models", "models Nes2Net-X"],
    "numpy pydantic scipy": [
        "evaluate asvspoof2019_la two.txt --keys key.txt --resamples 10",
        "evaluate asvspoof2019_la four.txt --keys key.txt --resamples 10",
    ],
    "av numpy pydantic soundfile": [
        "experiment reproduce nes2net_x-2021_df --data nowhere",
        "train asvspoof2019_nes2net_x data.root=nowhere",
        "train asvspoof2019_nes2net_x",
    ],
}


@pytest.fixture
def score_files(tmp_path):
    """Scores of a few trials of ASVspoof 2019 LA, in two columns and in four, and a key."""
    write(tmp_path / "two.txt", "LA_E_1 1.0\nLA_E_2 -1.0\nLA_E_3 0.5\n")
    write(tmp_path / "four.txt", "LA_E_1 - bonafide 1.0\nLA_E_2 A07 spoof -1.0\nLA_E_3 A08 spoof 0.5\n")
    write(tmp_path / "key.txt", "LA_1 LA_E_1 - - bonafide\nLA_1 LA_E_2 - A07 spoof\nLA_1 LA_E_3 - A08 spoof\n")
    return tmp_path


def test_the_packages_of_the_command_line_import_no_heavy_library_but_numpy():
    modules = imported_by("import nes2net, nes2net.cli.main, nes2net.cli.published.main")[1]
    assert modules & HEAVY <= {"numpy"}


@pytest.mark.parametrize("libraries", MAY_IMPORT)
def test_commands_import_no_heavy_library_that_they_do_not_need(libraries, score_files):
    """Those that may import the same ones run in one process."""
    modules = imported_by(START, *MAY_IMPORT[libraries], cwd=score_files)[1]
    assert modules & HEAVY <= set(libraries.split())


@pytest.mark.slow
def test_scoring_with_aasist_imports_no_heavy_library_that_it_does_not_need(tmp_path):
    torch.save(nes2net.Detector.from_config("AASIST-L").state_dict(), tmp_path / "model.pth")
    soundfile.write(tmp_path / "a.wav", np.zeros(32000), 16000)
    printed, modules = imported_by(MAIN, *"predict a.wav --model model.pth --device cpu".split(), cwd=tmp_path)
    assert printed[-1] == "0"
    assert modules.isdisjoint({"transformers", "torch._dynamo", "sympy", "peft", "accelerate", "scipy", "sklearn"})
    assert modules.isdisjoint({"tensorboard", "matplotlib", "huggingface_hub", "httpx"})


@pytest.mark.slow
def test_importing_onnxruntime_through_nes2net_makes_no_file_in_the_home_folder(tmp_path):
    """It would write an identity of this machine."""
    pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
    environment = {name: value for name, value in os.environ.items() if name not in nes2net.NO_REPORTS}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    code = "from nes2net.models.onnx_detector import require; require('onnxruntime')"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_importing_nes2net_does_not_override_ray_usage_stats_enabled():
    code = "import os, nes2net; print(os.environ['RAY_USAGE_STATS_ENABLED'])"
    assert python("-c", code, RAY_USAGE_STATS_ENABLED="1") == "1\n"


def test_public_names_can_be_imported_from_the_package_and_are_listed_by_dir():
    for name in nes2net.__all__:
        assert getattr(nes2net, name) is not None
    assert {*nes2net.__all__} <= {*dir(nes2net)}


def test_the_names_that_are_imported_for_type_checkers_are_the_public_names():
    """Imports under TYPE_CHECKING, those of `__getattr__`, and `__all__` are the same names."""
    tree = ast.parse(Path(nes2net.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    aliases = [(statement.module, alias) for statement in block.body for alias in statement.names]
    imported = {alias.asname: f"{module}.{alias.name}" for module, alias in aliases}
    assert imported == {name: text.rstrip(":").replace(":", ".") for name, text in nes2net._ADDRESSES.items()}
    assert sorted(imported) == sorted(nes2net.__all__)
