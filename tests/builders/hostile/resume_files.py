"""Run folders: resume files, histories and epoch checkpoints.

Each resume file is the good one of a tiny run with one change.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from builders import tiny_corpus
from builders.hostile import Case, nes2net

_VICTIM = "epoch_7.pth"


@functools.cache
def _good_run() -> Path:
    """A folder with a corpus and a run that was stopped in its second epoch."""
    from nes2net.errors import Unfinished
    from nes2net.recipes.reading import load_recipe
    from nes2net.training import loop
    from nes2net.training.run import train

    place = Path(tempfile.mkdtemp(prefix="hostile-run-"))
    tiny_corpus.make(place / "corpus", per_class=2)
    values = {
        "model": {
            "frontend": {"name": "lps", "n_fft": 256, "hop_length": 256, "num_bins": 32},
            "backend": {"name": "asp_mlp", "hidden_dim": 8},
        },
        "data": {"root": str(place / "corpus"), "num_samples": 4000, "num_workers": 0},
        "augment": {"algo": 3, "rng": "legacy"},
        "train": {"epochs": 2, "batch_size": 2, "lr": 1e-3},
        "validation": {"augmented": False},
        "output": str(place / "models"),
        "logs": str(place / "logs"),
    }
    (place / "recipe.yaml").write_text(yaml.safe_dump(values))
    step = loop.Trainer.train_step

    def stopped(self: Any, batches: Any, epoch: int, number: int, due: bool) -> tuple[int, bool]:
        known = step(self, batches, epoch, number, due)
        return (signal.SIGTERM, True) if epoch == 2 else known

    loop.Trainer.train_step = stopped
    try:
        train(load_recipe(place / "recipe.yaml"), "cpu")
    except Unfinished:
        return place
    finally:
        loop.Trainer.train_step = step
    raise AssertionError("the run was not stopped")


def _copy(folder: Path) -> tuple[Path, Path]:
    """Copy the good run into ``folder``: its recipe, and its run folder."""
    place = _good_run()
    shutil.copytree(place / "models", folder / "models")
    values = yaml.safe_load((place / "recipe.yaml").read_text())
    values |= {"output": str(folder / "models"), "logs": str(folder / "logs")}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    (folder / _VICTIM).write_text("not of the run")
    (run,) = (folder / "models").iterdir()
    return folder / "recipe.yaml", run


def _train(recipe: Path) -> str:
    try:
        return nes2net("train", recipe, "--device", "cpu")
    finally:
        assert (recipe.parent / _VICTIM).is_file(), "a file outside the run folder was deleted"


def _resume(recipe: Path) -> str:
    """Read the resume file, and go on with the run if that is possible; to begin with the run takes far longer."""
    from nes2net.training.resume_file import read_resume_file

    (run,) = (recipe.parent / "models").iterdir()
    read_resume_file(run)
    return _train(recipe)


def _changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Path]:
    """A resume file whose content ``change`` has changed, or has put something else in place of."""

    def make(folder: Path) -> Path:
        recipe, run = _copy(folder)
        content = torch.load(run / "resume.pt", weights_only=True)
        content = change(content) or content
        torch.save(content, run / "resume.pt")
        return recipe

    return make


def _put(place: str, value: Any) -> Callable[[Path], Path]:
    """``value``, or what it makes of the good one, at ``place``: keys with dots between them."""

    def change(content: dict[str, Any]) -> None:
        *parents, last = (int(key) if key.isdigit() else key for key in place.split("."))
        for parent in parents:
            content = content[parent]
        if value is _MISSING:
            del content[last]
        else:
            content[last] = value(content[last]) if callable(value) else value

    return _changed(change)


_MISSING = object()


def _doubled() -> list[Any]:
    inner: list[Any] = ["x"]
    for _ in range(40):
        inner = [inner, inner]
    return inner


def _deep() -> list[Any]:
    inner: list[Any] = []
    for _ in range(200):
        inner = [inner]
    return inner


def _filled(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tensor: torch.full_like(tensor, value)


_NAN = float("nan")
_KEYS = ("version", "recipe", "data", "model", "detector", "optimizer", "selection", "scaler", "stream", "progress")
_VALUES: list[tuple[str, Any]] = [
    *((key, _MISSING) for key in _KEYS[1:]),
    *((key, ["x"]) for key in _KEYS),
    ("version", 5),
    *((f"progress.{key}", _MISSING) for key in ("epoch", "step")),
    *(("progress.epoch", value) for value in (0, 1, 4, 1.0, True, None, 10**8, 10**5000, f"../../{_VICTIM}")),
    *(("progress.step", value) for value in (-1, 5, 0.5)),
    *(("progress.lr", value) for value in (_NAN, -1.0)),
    *((f"progress.{key}", _NAN) for key in ("loss_sum", "seconds", "utterances")),
    ("progress", lambda progress: {**progress, "more": 1}),
    *(("selection.0.epoch", value) for value in (f"../../{_VICTIM[6:-4]}", f"/../../../{_VICTIM}", 0, 2, 1.0)),
    *(("selection.0.loss", value) for value in (_NAN, "1", torch.zeros(()), _MISSING)),
    *(("selection.0.val_loss_wo_aug", value) for value in (_NAN, "0.5")),
    ("selection.0.val_eer_wo_aug_low", _MISSING),
    *(("selection.0.improved", value) for value in ("yes", 2)),
    ("selection", []),
    ("selection", lambda rows: rows * 2),
    ("selection", lambda rows: rows * 10**5),
    ("selection.0", lambda row: {**row, **{str(number): 0.0 for number in range(10**5)}}),
    *((f"data.training.{key}", 1.5) for key in ("trials", "digest")),
    ("data.training", _MISSING),
    ("data.training.digest", "0" * 64),
    ("recipe.train", [1]),
    ("recipe.train", {"lr": _NAN}),
    ("recipe.model", {5: "x", "backend": 5}),
    ("recipe.model", lambda model: {**model, "frontend": {**model["frontend"], "num_bins": torch.zeros(3)}}),
    ("model.frontend", _MISSING),
    *(("model.frontend", value) for value in ("lps", {}, {"name": 5}, {"name": "no such"}, {"name": "lps", "more": 1})),
    ("model.more", 5),
    ("model.backend.hidden_dim", 9),
    ("detector.more", torch.zeros(1)),
    ("detector", {}),
    ("detector", {str(number): 0 for number in range(20_000)}),
    ("detector", {str(number): 0 for number in range(9_000)}),
    ("optimizer.state", ["x"]),
    ("optimizer.state", {"x": {}}),
    ("optimizer.state", {number: 5 for number in range(9_000)}),
    ("optimizer.state", lambda state: {**state, 999: state[0]}),
    ("optimizer.state", lambda state: {**state, -1: state[0]}),
    *((f"optimizer.state.0.{key}", _MISSING) for key in ("step", "exp_avg")),
    *((f"optimizer.state.0.{key}", torch.zeros(2)) for key in ("step", "exp_avg", "more", "max_exp_avg_sq")),
    ("optimizer.state.0.step", torch.tensor(_NAN)),
    ("optimizer.state.0.exp_avg_sq", _filled(_NAN)),
    ("optimizer.state.0.exp_avg", lambda tensor: tensor.double()),
    ("optimizer.state.0.exp_avg", lambda tensor: tensor.long()),
    ("optimizer.state.0.exp_avg", None),
    ("scaler", {"scale": 1.0}),
    *(("stream.keys", value) for value in (torch.zeros(10, dtype=torch.int64), torch.zeros(624), _filled(2**40))),
    *(("stream.gates", value) for value in (torch.zeros(10, dtype=torch.int64), _filled(-1), _filled(700), [0])),
    *(("stream.position", value) for value in (-1, 625, "x")),
    *((f"stream.{key}", value) for key, value in (("gates_version", 2), ("has_gauss", 2), ("cached_gaussian", _NAN))),
    *((key, _doubled()) for key in ("recipe.model", "recipe.name", "model.frontend", "data", "selection", "scaler")),
    *((key, _deep()) for key in ("recipe.model", "model.frontend", "progress", "selection.0.loss")),
    *((key, ["x"] * 10**5) for key in ("recipe.model", "selection")),
    ("optimizer.param_groups", ["x"] * 10**6),
]


def _weights(change: Callable[[torch.Tensor], Any]) -> Callable[[Path], Path]:
    def changed(content: dict[str, Any]) -> None:
        name = next(name for name, value in content["detector"].items() if value.ndim > 1)
        content["detector"][name] = change(content["detector"].pop(name))
        if content["detector"][name] is _MISSING:
            del content["detector"][name]

    return _changed(changed)


def _odd_metadata(content: dict[str, Any]) -> dict[str, Any]:
    weights = OrderedDict(content["detector"])
    weights._metadata = OrderedDict({name.rpartition(".")[0]: 5 for name in weights})
    return {**content, "detector": weights}


_WEIGHTS: dict[str, Callable[[torch.Tensor], Any]] = {
    "missing": lambda _: _MISSING,
    "flat": lambda tensor: tensor.flatten(),
    "double": lambda tensor: tensor.double(),
    "complex": lambda tensor: tensor.to(torch.complex64),
    "bool": lambda tensor: tensor > 0,
    "NaN": _filled(_NAN),
    "no tensor": lambda tensor: tensor.tolist(),
}


def _leftover(name: str, kind: Callable[[Path], Any]) -> Callable[[Path], Path]:
    """Something of another ``kind`` in place of a file of the run folder."""

    def make(folder: Path) -> Path:
        recipe, run = _copy(folder)
        (run / name).unlink(missing_ok=True)
        kind(run / name)
        return recipe

    return make


def _linked_out(path: Path) -> None:
    path.symlink_to(path.parents[2] / "elsewhere")


def _text(name: str, text: str, attempt: Callable[[Path], Any], says: str | None) -> Callable[[str], Case]:
    """A case whose run folder has ``text`` in its file ``name``."""

    def make(folder: Path) -> Path:
        recipe, run = _copy(folder)
        (run / name).write_text(text)
        return recipe

    return lambda title: Case(f"{name}: {title}", make, attempt, says)


def _average(recipe: Path) -> str:
    (run,) = (recipe.parent / "models").iterdir()
    return nes2net("average", run, "--best", 1, "--by", "val_loss_wo_aug")


_NO_HISTORY = r"history\.json: (not a history that training wrote|is longer than) .*move it away"
_HISTORIES = {
    "nested": "[" * 10**5,
    "nested in a row": '[{"epoch": 1, "x": ' + "[" * 10**5,
    "no rows": '{"epoch": 1}',
    "a number of 5,000 digits": f'[{{"epoch": {"1" * 5000}}}]',
    "an epoch that is a path": f'[{{"epoch": "../../{_VICTIM[6:-4]}", "val_loss_wo_aug": 0.1}}]',
    "an epoch below 0": '[{"epoch": -1, "val_loss_wo_aug": 0.1}]',
    "an epoch twice": '[{"epoch": 1, "val_loss_wo_aug": 0.1}, {"epoch": 1, "val_loss_wo_aug": 0.1}]',
    "a million rows of nothing": "[" + ",".join(["0"] * 10**6) + "]",
    "20 MB": "[" + " " * 20_000_000 + "]",
}
_RECIPES = {
    "aliases": "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 41)),
    "a tag": "name: !!python/object/apply:os.system [true]\n",
    "a list": "- 1\n",
    "long": "name: " + "x" * 10**6,
    "nested": "model: " + "[" * 1000,
}

CASES: list[Case] = [
    Case("a good resume file", lambda folder: _copy(folder)[0], _train, None),
    Case("a resume file without its data", _put("data", _MISSING), _train, r"resume\.pt"),
    *(
        Case(f"{number}: {place}", _put(place, value), _resume, r"resume\.pt|holds a(nother)? run|with another")
        for number, (place, value) in enumerate(_VALUES)
    ),
    Case(
        "version of no numbers", _put("version", torch.zeros(3)), _train, r"resume\.pt was written by another version"
    ),
    *(Case(f"weights: {name}", _weights(change), _train, r"resume\.pt") for name, change in _WEIGHTS.items()),
    Case("metadata of the state dict", _changed(_odd_metadata), _train, None),
    *(
        Case(
            f"a {what} in place of {name}",
            _leftover(name, kind),
            _train,
            rf"{name} is not a regular file.*move it away",
        )
        for what, kind in (("folder", Path.mkdir), ("pipe", os.mkfifo))
        for name in (
            "resume.pt",
            "history.json",
            "recipe.yaml",
            "epoch_1.pth",
            "epoch_2.pth",
            ".lock",
            ".resume.pt.5.tmp",
        )
    ),
    Case("a lock outside", _leftover(".lock", _linked_out), _train, r"\.lock is not a regular file"),
    Case("a checkpoint outside", _leftover("epoch_2.pth", _linked_out), _train, None),
    # A run goes on by its resume file, and writes the history anew.
    _text("history.json", _HISTORIES["nested"], _train, None)("nested"),
    *(_text("history.json", text, _average, _NO_HISTORY)(f"{name}, averaged") for name, text in _HISTORIES.items()),
    *(_text("recipe.yaml", text, _train, r"recipe\.yaml cannot be used")(name) for name, text in _RECIPES.items()),
]
