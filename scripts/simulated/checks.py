"""The checks of scripts/simulated_cuda: what users call, on the simulated device, compared with the same on the CPU.

A check takes a :class:`Workspace`. It fails if it raises, or if it does anything that a CUDA device
refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _harness import generated_trials  # of scripts/benchmarks
from numpy.typing import NDArray

from nes2net import Detector
from nes2net.cli.main import main
from nes2net.training.recipes.recipe import Recipe, recipe_from_dict
from nes2net.training.run import train
from simulated import tensors

FRONTEND = {
    "name": "wav2vec2_small", "encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 64,
    "conv_feature_layers": [[32, 16, 8], [32, 4, 4], [32, 4, 4], [32, 4, 2]],
}  # fmt: skip
SPECTRUM = {"name": "lps", "n_fft": 320, "hop_length": 320, "num_bins": 32}
MODELS = {
    "small": {"frontend": FRONTEND, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}},
    "frames": {
        "frontend": FRONTEND,
        "backend": {"name": "nes2net_x", "nes_ratio": [4, 4], "pool": None, "utterance": "min"},
    },
    "recurrent": {"frontend": SPECTRUM, "backend": {"name": "llgf"}},
}
#: Largest difference of two scores in float32.
EXACT = 1e-4
#: Largest difference of two scores in half precision.
ROUNDED = 0.1


@dataclass(frozen=True)
class Workspace:
    """A folder with a corpus of a few seconds, and detectors with random weights."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Workspace:
        """Generate recordings, lists of them, and detectors in ``folder``."""
        trials = generated_trials(folder, 24)
        splits = ["train"] * 12 + ["dev"] * 6 + ["eval"] * 6
        rows = []
        for trial, split in zip(trials, splits):
            assert trial.path is not None
            rows.append(f"{trial.path.name},{trial.label},{split}")
        (folder / "list.csv").write_text("\n".join(["path,label,split", *rows, ""]))
        for name, config in MODELS.items():
            torch.manual_seed(0)
            Detector.from_config(config).eval().save(folder / f"{name}.pth")
        return cls(folder)

    def file(self, name: str) -> str:
        """The path of a file in the folder, as text."""
        return str(self.folder / name)

    def nes2net(self, *words: str) -> str:
        """Run a command in this process, and return what it printed.

        Raises:
            AssertionError: if it fails.
        """
        out = StringIO()
        notes = StringIO()
        with redirect_stdout(out), redirect_stderr(notes):
            exit_status = main(list(words))
        assert exit_status == 0, f"nes2net {' '.join(words)}: status {exit_status}\n{notes.getvalue()}"
        return out.getvalue() + notes.getvalue()


def close(values: Any, expected: Any, tolerance: float = EXACT) -> None:
    """Raise AssertionError if two arrays of numbers differ by more than ``tolerance``."""
    np.testing.assert_allclose(np.asarray(values, float), np.asarray(expected, float), rtol=0, atol=tolerance)


@dataclass(frozen=True)
class Command:
    """A command whose numbers on the device are compared with those on the CPU.

    - ``words`` are those of the command; FOLDER stands for the workspace, OUT for a file of numbers.
    - ``device_words`` are added on the device.
    - ``key`` is that of the numbers in the JSON that the command prints, if it has no OUT.
    """

    words: str
    device_words: str = ""
    tolerance: float = EXACT
    key: str = ""
    device: str = "cuda"

    def __call__(self, workspace: Workspace) -> None:
        expected = self.numbers(workspace, "cpu", self.words)
        numbers = self.numbers(workspace, self.device, f"{self.words} {self.device_words}")
        assert numbers.size
        close(numbers, expected, self.tolerance)

    def numbers(self, workspace: Workspace, device: str, words: str) -> NDArray:
        """Run the command on a device, and read its numbers."""
        out = workspace.folder / f"out_{device.replace(':', '')}"
        path = out.with_suffix(".npy" if words.startswith("embed") else ".txt")
        path.unlink(missing_ok=True)
        words = words.replace("FOLDER", str(workspace.folder)).replace("OUT", str(path))
        printed = workspace.nes2net(*words.split(), "--device", device)
        if self.key:
            lines = [line for line in printed.splitlines() if line.startswith("{")]
            return np.concatenate([np.ravel(json.loads(line)[self.key]) for line in lines])
        if path.suffix == ".npy":
            return np.load(path)
        rows = [line.split()[1:] for line in path.read_text().splitlines()]
        return np.array([float(number) for row in rows for number in row])


def recipe(workspace: Workspace, name: str, changes: dict[str, Any]) -> Recipe:
    """Make a recipe of two epochs of three steps of four utterances.

    Args:
        name: folder of the run.
        changes: section of the recipe → keys to change.
    """
    values: dict[str, Any] = {
        "name": "tiny",
        "model": MODELS["small"],
        "data": {"corpus": "generic", "root": workspace.file("list.csv"), "num_samples": 8000, "num_workers": 0},
        "augment": {"algo": 4},
        "train": {"epochs": 2, "batch_size": 4, "lr": 1e-3},
        "output": workspace.file(name),
        "logs": workspace.file(name),
    }
    for key, value in changes.items():
        values[key] = {**values.get(key, {}), **value} if key != "model" else value
    return recipe_from_dict(values)


def train_recipe(
    workspace: Workspace, name: str, device: str, changes: dict[str, Any]
) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """Train a recipe; return the weights, by name, and the history."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        folder = train(recipe(workspace, name, changes), device)
    state = torch.load(folder / "resume.pt", weights_only=True, map_location="cpu")
    return state["detector"], json.loads((folder / "history.json").read_text())


@dataclass(frozen=True)
class Training:
    """A recipe whose loss and validation of the first epoch on the device are compared with those on the CPU.

    Later epochs are not compared, because small differences grow.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    precision: str = "fp32"
    tolerance: float = 1e-3
    device: str = "cuda"

    def __call__(self, workspace: Workspace) -> None:
        name = f"run{len(list(workspace.folder.glob('run*')))}"
        on_device = {**self.changes, "train": {**self.changes.get("train", {}), "precision": self.precision}}
        weights, history = train_recipe(workspace, name, self.device, on_device)
        _, expected = train_recipe(workspace, f"{name}_cpu", "cpu", self.changes)
        for key in ("loss", "val_loss_wo_aug"):
            close(history[0][key], expected[0][key], self.tolerance * max(1.0, abs(expected[0][key])))
        for value in weights.values():
            assert value.isfinite().all()


def check_bench(workspace: Workspace) -> None:
    """`nes2net bench` names the GPU and measures."""
    words = ["--model", workspace.file("small.pth"), "--seconds", "1", "--batch-size", "2", "--rounds", "1"]
    printed = workspace.nes2net("bench", *words, "--device", "cuda", "--workers", "1")
    assert "simulated GPU" in printed, printed
    assert "files to scores, batch 2" in printed, printed


def check_second_gpu(workspace: Workspace, check: Callable[[Workspace], None]) -> None:
    """``check``, which computes on cuda:1, makes no tensors on cuda:0."""
    num_before = tensors.made_on.copy()
    check(workspace)
    num_made = tensors.made_on - num_before
    assert num_made[torch.device("cuda", 1)], "nothing was computed on cuda:1"
    assert not num_made[torch.device("cuda", 0)], f"{num_made[torch.device('cuda', 0)]} tensors landed on cuda:0"


SCORE = "score generic FOLDER/list.csv --out OUT --batch-size 4 --model FOLDER/{}.pth"
SMALL_SCORES = SCORE.format("small")
EXPLAIN = "explain FOLDER/3.flac --duration 1 --json --model FOLDER/{}.pth"
PREDICT = "predict FOLDER/3.flac FOLDER/4.flac --json --model FOLDER/small.pth"
GRADIENTS = "--method integrated_gradients --steps 4"
EMBED = "embed generic FOLDER/list.csv --out OUT --model FOLDER/small.pth"
SPECMIX = {"model": {"frontend": SPECTRUM, "backend": "asp_mlp"}, "augment": {"specmix": {"mix_labels": True}}}
SECOND_SCORES = Command(f"{SMALL_SCORES} --samples full", device="cuda:1")
#: The checks by name.
CHECKS = {
    "scores, 4sec": Command(f"{SMALL_SCORES} --samples 4sec"),
    "scores, 4sec, two readers": Command(f"{SCORE.format('frames')} --samples 4sec --workers 2"),
    "scores, bfloat16": Command(f"{SMALL_SCORES} --workers 0", "--dtype bfloat16", ROUNDED),
    "scores of frames": Command(f"{SCORE.format('frames')} --judgement frames --workers 0"),
    "scores by a recurrent back-end": Command(f"{SCORE.format('recurrent')} --workers 0"),
    "embeddings of the last layer": Command(f"{EMBED} --of backend"),
    "embeddings of all hidden states": Command(f"{EMBED} --layer all"),
    "training, fp32": Training(),
    "training, tf32": Training(precision="tf32", tolerance=0.1),
    "training, bf16": Training(precision="bf16", tolerance=0.1),
    "training, fp16": Training(precision="fp16", tolerance=0.05),
    "training in parts": Training({"train": {"accumulate": 2}}),
    "training, Specmix": Training(SPECMIX),
    "training, latent augmentation": Training({"augment": {"latent": {"probability": 1.0}}}),
    "training, validation in train mode": Training({"validation": {"mode": "train"}}),
    "explain, occlusion": Command(EXPLAIN.format("small"), key="score"),
    "explain, gradients": Command(f"{EXPLAIN.format('small')} {GRADIENTS}", key="score"),
    "explain, gradients, recurrent": Command(f"{EXPLAIN.format('recurrent')} {GRADIENTS}", key="score"),
    "predict": Command(PREDICT, key="score"),
    "predict --track": Command(f"{PREDICT} --track", key="scores"),
    "bench": check_bench,
    "cuda:1, scores": partial(check_second_gpu, check=SECOND_SCORES),
    "cuda:1, training": partial(check_second_gpu, check=Training(device="cuda:1")),
}
