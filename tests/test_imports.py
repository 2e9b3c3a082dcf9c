"""`import nes2net` is light, and every public name is there, for editors and type checkers too."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

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
