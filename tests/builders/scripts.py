"""The repository's scripts as modules."""

import importlib.util
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from builders import PATIENCE

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def loaded(name: str) -> ModuleType:
    """The file ``scripts/NAME``, read anew."""
    loader = SourceFileLoader(f"script_{Path(name).stem}", str(SCRIPTS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


def _run(words, cwd, variables):
    command = [sys.executable, *map(str, words)]
    options = {"cwd": cwd, "env": {**os.environ, **variables}, "timeout": PATIENCE}
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def run(name: str | Path, *words, **variables: str) -> subprocess.CompletedProcess[str]:
    """What ``scripts/NAME WORDS …``, or the program of a path, prints with these variables of the environment."""
    return _run([SCRIPTS / name, *words], None, variables)


def python(*words, cwd: Path | None = None, **variables: str) -> str:
    """What ``python WORDS …`` prints; it must succeed."""
    done = _run(words, cwd, variables)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout
