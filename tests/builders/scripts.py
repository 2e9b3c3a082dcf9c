"""The repository's scripts as modules."""

import importlib.util
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from builders import PATIENCE

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def loaded(name: str) -> ModuleType:
    """The file ``scripts/NAME``, read anew."""
    loader = SourceFileLoader(f"script_{Path(name).stem}", str(SCRIPTS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


def run(name: str | Path, *words: Any, **variables: str) -> subprocess.CompletedProcess[str]:
    """What ``scripts/NAME WORDS …``, or the program of a path, prints with these variables of the environment."""
    command = [sys.executable, SCRIPTS / name, *words]
    environment = {**os.environ, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
