"""Run folders: what they hold, whether two hold the same, and runs that are stopped in a step."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from builders import input_error
from nes2net import Detector
from nes2net.lib.errors import Unfinished
from nes2net.training import loop
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.run import train


def refused(recipe: Recipe, message: str, device: str = "auto"):
    """Training refuses ``recipe``, and says what ``message`` matches."""
    with input_error(message):
        train(recipe, device)


def folder_of(recipe: Recipe) -> Path:
    """The run folder of ``recipe``."""
    return Path(recipe.output) / recipe.tag


def detector_of(folder: Path) -> Detector:
    """The detector of the first epoch of a run."""
    return Detector.from_pretrained(folder / "epoch_1.pth", "cpu")


def state_of(folder: Path) -> dict:
    """What ``resume.pt`` holds."""
    return torch.load(folder / "resume.pt", weights_only=True)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of the detector in ``resume.pt``."""
    return state_of(folder)["detector"]


def place_of(folder: Path) -> tuple[int, int]:
    """The epoch and the step of it at which ``resume.pt`` goes on."""
    progress = state_of(folder)["progress"]
    return progress["epoch"], progress["step"]


def history_of(folder: Path) -> list[dict]:
    """The rows of ``history.json``, one for each epoch."""
    return json.loads((folder / "history.json").read_text())


def same(a, b) -> bool:
    """Whether two values are equal bit for bit, and dictionaries but for ``seconds``."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a if k != "seconds")
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def _without_places(state):
    """The state of a run without its recipe and the file of its base, which name the run's folders."""
    base = {key: value for key, value in state.get("base", {}).items() if key != "file"}
    return {key: value for key, value in state.items() if key != "recipe"} | {"base": base}


def assert_same_run(torn: Path, uninterrupted: Path):
    """Everything saved is equal, except the time it took."""
    assert same(*(_without_places(state_of(folder)) for folder in (torn, uninterrupted)))
    assert same(*map(history_of, (torn, uninterrupted)))
    names = sorted(p.name for p in uninterrupted.glob("epoch_*.pth"))
    assert names
    assert names == sorted(p.name for p in torn.glob("epoch_*.pth"))
    files = [[torch.load(folder / name, weights_only=True) for name in names] for folder in (torn, uninterrupted)]
    assert same(*files)
    assert not list(torn.glob(".*.tmp"))


def stop(recipe: Recipe, epoch: int, step: int, device: str = "auto") -> Path:
    """Train until SIGTERM comes in the middle of a step, and return the run folder."""
    original = loop.seed_step

    def seed_step(seed, *position):
        if position[:2] == (epoch, step):
            os.kill(os.getpid(), signal.SIGTERM)
        original(seed, *position)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Unfinished, match="SIGTERM; the same command resumes"):
        patch.setattr(loop, "seed_step", seed_step)
        train(recipe, device)
    return folder_of(recipe)
