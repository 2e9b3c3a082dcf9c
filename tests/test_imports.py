"""`import nes2net` is light, and every public name is there."""

import subprocess
import sys

import pytest

import nes2net


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, nes2net, nes2net.cli.main, nes2net.cli.published.main; print([m for m in sys.modules if m in HEAVY])"
    heavy = "{'torch', 'transformers', 'librosa', 'matplotlib', 'av', 'scipy', 'soundfile', 'tensorboard'}"
    done = subprocess.run(
        [sys.executable, "-c", code.replace("HEAVY", heavy)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", nes2net.__all__)
def test_public_names(name):
    assert getattr(nes2net, name) is not None
    assert name in dir(nes2net)


def test_what_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(nes2net, "nothing")  # noqa: B009
