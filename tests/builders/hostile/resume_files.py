"""Run folders: resume files, histories and epoch checkpoints.

Each resume file is the good one of a tiny run with one change.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from pathlib import Path

import torch
import yaml

from builders import tiny_corpus
from builders.hostile import Case, cases, nes2net
from builders.hostile.making import maker, written
from builders.runs import stop

_VICTIM = "epoch_7.pth"


@functools.cache
def _good_run():
    """A folder with a corpus and a run that was stopped in its second epoch."""
    from nes2net.training.recipes.reading import load_recipe

    folder = Path(tempfile.mkdtemp(prefix="hostile-run-"))
    tiny_corpus.make(folder / "corpus", per_class=2)
    values = {
        "model": {
            "frontend": {"name": "lps", "n_fft": 256, "hop_length": 256, "num_bins": 32},
            "backend": {"name": "asp_mlp", "hidden_dim": 8},
        },
        "data": {"root": str(folder / "corpus"), "num_samples": 4000, "num_workers": 0},
        "augment": {"algo": 3, "rng": "legacy"},
        "train": {"epochs": 2, "batch_size": 2, "lr": 1e-3},
        "validation": {"augmented": False},
        "output": str(folder / "models"),
        "logs": str(folder / "logs"),
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    stop(load_recipe(folder / "recipe.yaml"), 2, 1, "cpu")
    return folder


def _copy(folder):
    """Copy the good run into ``folder``, and return its recipe."""
    run_folder = _good_run()
    shutil.copytree(run_folder / "models", folder / "models")
    values = yaml.safe_load((run_folder / "recipe.yaml").read_text())
    values |= {"output": str(folder / "models"), "logs": str(folder / "logs")}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    (folder / _VICTIM).write_text("not of the run")
    return folder / "recipe.yaml"


def _run_of(recipe):
    (run,) = (recipe.parent / "models").iterdir()
    return run


def _train(recipe):
    try:
        return nes2net("train", recipe, "--device", "cpu")
    finally:
        assert (recipe.parent / _VICTIM).is_file(), "a file outside the run folder was deleted"


def _resume(recipe):
    """Read the resume file, and go on with the run if that is possible; to begin with the run takes far longer."""
    from nes2net.training.resume_file import read_resume_file

    read_resume_file(_run_of(recipe))
    return _train(recipe)


@maker
def _changed(folder, change):
    """A resume file whose content ``change`` has changed, or has put something else in place of."""
    recipe = _copy(folder)
    file = _run_of(recipe) / "resume.pt"
    content = torch.load(file, weights_only=True)
    torch.save(change(content) or content, file)
    return recipe


def _put(path, value):
    """Put ``value``, or what it makes of the good one, at ``path``: keys with dots between them."""

    def change(content):
        *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
        for parent in parents:
            content = content[parent]
        if value is _MISSING:
            del content[last]
        else:
            content[last] = value(content[last]) if callable(value) else value

    return _changed(change)


_MISSING = object()
_NAN = float("nan")


def _doubled():
    doubled = ["x"]
    for _ in range(40):
        doubled = [doubled, doubled]
    return doubled


def _filled(value):
    return lambda tensor: torch.full_like(tensor, value)


def _weight(change):
    """Change one tensor of the detector."""
    name = "pooling.linear1.weight"
    return lambda state: {**state, name: change(state[name])}


_VALUES = {
    **{key: (["x"],) for key in ("recipe", "data", "model", "optimizer", "stream", "scaler")},
    "progress": (["x"],),
    "progress.epoch": (_MISSING, 4, 10**5000, f"../../{_VICTIM}"),
    "progress.step": (5,),
    "progress.loss_sum": (_NAN,),
    "selection": ([], lambda rows: rows * 10**5),
    "selection.0.epoch": (f"../../{_VICTIM[6:-4]}", 2),
    "data.training.digest": ("0" * 64,),
    "model.frontend": ({"name": "no such"}, {"name": "lps", "more": 1}),
    "model.backend": (_doubled(),),
    "model.backend.hidden_dim": (9,),
    "detector": (["x"], *map(_weight, (torch.flatten, torch.Tensor.double, _filled(_NAN)))),
    "detector.more": (torch.zeros(1),),
    "optimizer.more": (["x"] * 10**6,),
    "optimizer.state": (lambda state: {**state, 999: state[0]},),
    "optimizer.state.0.exp_avg": (_MISSING, torch.zeros(2), torch.Tensor.double),
    "stream.keys": (torch.zeros(10, dtype=torch.int64), torch.zeros(624), _filled(2**40)),
    "stream.position": (625,),
}


@maker
def _with(folder, name, put):
    """What ``put`` makes, in place of a file of the run folder."""
    recipe = _copy(folder)
    path = _run_of(recipe) / name
    path.unlink(missing_ok=True)
    put(path)
    return recipe


def _linked_out(path):
    path.symlink_to(path.parents[2] / "elsewhere")


def _text(name, text):
    return _with(name, lambda path: written(name, text)(path.parent))


def _average(recipe):
    return nes2net("average", _run_of(recipe), "--best", 1, "--by", "val_loss_wo_aug")


_NO_HISTORY = r"history\.json: (not a history that training wrote|is longer than) .*move it away"
_HISTORIES = {
    "nested": "[" * 10**5,
    "an epoch that is a path": f'[{{"epoch": "../../{_VICTIM[6:-4]}", "val_loss_wo_aug": 0.1}}]',
    "a million rows of nothing": "[" + ",".join(["0"] * 10**6) + "]",
    "20 MB": "[" + " " * 20_000_000 + "]",
}
_OURS = "resume.pt history.json recipe.yaml epoch_1.pth .lock train.log .resume.pt.5.tmp".split()

CASES = [
    Case("a good resume file", _copy, _train, None),
    *(
        Case(f"{place}, {number}", _put(place, value), _resume, r"resume\.pt|holds a run|with another")
        for place, values in _VALUES.items()
        for number, value in enumerate(values)
    ),
    Case("another version", _put("version", 6), _train, "was written by another version"),
    *(Case(f"a pipe in place of {name}", _with(name, os.mkfifo), _train, "not a regular file") for name in _OURS),
    Case("a folder in place of resume.pt", _with("resume.pt", Path.mkdir), _train, "not a regular file.*move it away"),
    Case("a lock outside", _with(".lock", _linked_out), _train, r"\.lock is not a regular file"),
    Case("a checkpoint outside", _with("epoch_2.pth", _linked_out), _train, None),
    *cases(
        _average,
        {name: (_text("history.json", text), _NO_HISTORY) for name, text in _HISTORIES.items()},
        "history.json, averaged: ",
    ),
    Case("recipe.yaml: an alias", _text("recipe.yaml", "a: &a [x]\nb: *a"), _train, r"recipe\.yaml cannot be used"),
]
