"""The checks of scripts/simulated_cuda: what users call, on the simulated device, compared with the same on the CPU.

A check is a function of a :class:`Workspace`. It fails if it raises, or if it does anything that a
CUDA device refuses.
"""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import soundfile
import torch
from train import generated_trials  # of scripts/benchmarks

from nes2net import Detector
from nes2net.apps.serve.desk import Desk
from nes2net.cli.main import main
from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.judgements import Scores
from nes2net.lib.errors import Unfinished
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.engine import NothingDone
from nes2net.training import loop
from nes2net.training.recipes.recipe import Recipe, recipe_from_dict
from nes2net.training.run import train
from simulated import tensors

FRONTEND: dict[str, Any] = {
    "name": "wav2vec2_small", "encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 64,
    "conv_feature_layers": [[32, 16, 8], [32, 4, 4], [32, 4, 4], [32, 4, 2]],
}  # fmt: skip
DROP = {"dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1, "encoder_layerdrop": 0.3}
SPECTRUM = {"name": "lps", "n_fft": 320, "hop_length": 320, "num_bins": 32}
MODELS: dict[str, dict[str, Any]] = {
    "small": {"frontend": FRONTEND, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}},
    "frames": {
        "frontend": FRONTEND,
        "backend": {"name": "nes2net_x", "nes_ratio": [4, 4], "pool": None, "utterance": "min"},
    },
    "recurrent": {"frontend": SPECTRUM, "backend": {"name": "llgf"}},
    "dropout": {"frontend": {**FRONTEND, **DROP}, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}},
}
#: Largest difference of two scores in float32.
EXACT = 1e-4
#: Largest difference of two scores in half precision.
ROUNDED = 0.1


@dataclass(frozen=True)
class Workspace:
    """A folder with a corpus of a few seconds, and detectors with random weights."""

    folder: Path
    trials: list[Trial]

    @classmethod
    def create(cls, folder: Path) -> Workspace:
        """Generate recordings, lists of them, and detectors in ``folder``."""
        trials = generated_trials(folder, 24)
        for name, numbers in {"train": range(12), "dev": range(12, 18), "eval": range(18, 24)}.items():
            rows = [f"{trials[n].path.name},{trials[n].label},{name}" for n in numbers]
            with open(folder / "list.csv", "a") as file:
                file.write("\n".join([*([] if name != "train" else ["path,label,split"]), *rows, ""]))
        (folder / "torn.flac").write_bytes((folder / "20.flac").read_bytes()[:9000])
        rows = ["path,label,split", "18.flac,spoof,eval", "torn.flac,spoof,eval", "19.flac,bonafide,eval"]
        (folder / "torn.csv").write_text("\n".join([*rows, "absent.flac,bonafide,eval", ""]))
        for name, config in MODELS.items():
            torch.manual_seed(0)
            Detector.from_config(config).eval().save(folder / f"{name}.pth")
        return cls(folder, trials)

    def file(self, name: str) -> str:
        """The path of a file in the folder, as text."""
        return str(self.folder / name)

    def detector(self, name: str, device: str) -> Detector:
        """Load the detector ``name``, a key of MODELS."""
        return Detector.from_pretrained(self.folder / f"{name}.pth", device)

    def nes2net(self, *words: str, status: int = 0) -> str:
        """Run a command in this process, and return what it printed.

        Raises:
            AssertionError: if its exit status is not ``status``.
        """
        out = StringIO()
        notes = StringIO()
        with redirect_stdout(out), redirect_stderr(notes):
            exit_status = main(list(words))
        assert exit_status == status, f"nes2net {' '.join(words)}: status {exit_status}\n{notes.getvalue()}"
        return out.getvalue() + notes.getvalue()


def close(values: Any, expected: Any, tolerance: float = EXACT) -> None:
    """Raise AssertionError if two arrays of numbers differ by more than ``tolerance``."""
    values = np.asarray(values, float)
    expected = np.asarray(expected, float)
    assert values.shape == expected.shape, f"{values.shape} where {expected.shape} is expected"
    gap = np.abs(values - expected).max() if values.size else math.nan
    assert gap <= tolerance, f"differs by {gap:.3g} from the CPU's"


def numbers_of(path: Path) -> tuple[list[str], list[float]]:
    """Read the ids and scores of a score file, or of a file of frame scores, which has an id for each frame."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return [row[0] for row in rows], [float(value) for row in rows for value in row[1:]]


def check_scores(workspace: Workspace, *flags: str, name: str, tolerance: float = EXACT, device: str = "cuda") -> None:
    """Compare the scores of `nes2net score` on the device with those on the CPU in float32.

    Args:
        name: unique name of the score files.
    """
    common = ["score", "generic", workspace.file("list.csv"), "--batch-size", "4"]
    on_cpu = [flag for number, flag in enumerate(flags) if "--dtype" not in flags[max(0, number - 1) : number + 1]]
    for scoring_device, own_flags in (("cpu", on_cpu), (device, list(flags))):
        out = workspace.file(f"{name}_{scoring_device}.txt")
        workspace.nes2net(*common, *own_flags, "--out", out, "--device", scoring_device, "--overwrite")
    ids, scores = numbers_of(workspace.folder / f"{name}_{device}.txt")
    expected_ids, expected_scores = numbers_of(workspace.folder / f"{name}_cpu.txt")
    assert ids == expected_ids and len(ids) >= 6
    close(scores, expected_scores, tolerance)


def check_embeddings(workspace: Workspace, *flags: str) -> None:
    """Compare the embeddings of `nes2net embed` on the device with those on the CPU."""
    embeddings = []
    for computing_device in ("cpu", "cuda"):
        out = workspace.folder / f"embedded_{computing_device}.npy"
        words = [
            "embed",
            "generic",
            workspace.file("list.csv"),
            "--out",
            str(out),
            "--model",
            workspace.file("small.pth"),
        ]
        workspace.nes2net(*words, "--device", computing_device, "--overwrite", *flags)
        embeddings.append(np.load(out))
    close(embeddings[1], embeddings[0])


def check_train_mode(workspace: Workspace) -> None:
    """Scores in train mode, as published, are the same if they are computed twice."""
    detector = workspace.detector("dropout", "cuda")
    files = [workspace.folder / f"train_mode_{number}.txt" for number in range(2)]
    for file in files:
        judge_trials(
            detector,
            workspace.trials[:6],
            file,
            Scores(),
            settings=ScoringSettings(num_samples=16000, num_workers=0, legacy_train_mode=True),
        )
    assert files[0].read_bytes() == files[1].read_bytes()


def check_too_little_memory(workspace: Workspace) -> None:
    """A batch that does not fit into the memory is scored in parts, with the same scores.

    If a single utterance does not fit, the error says so.
    """
    options: dict[str, Any] = {"num_samples": 48000, "num_workers": 0, "batch_size": 6}
    judge_trials(
        workspace.detector("small", "cpu"),
        workspace.trials[:6],
        workspace.folder / "fits.txt",
        Scores(),
        settings=ScoringSettings(**options),
    )
    detector = workspace.detector("small", "cuda")
    used_before = tensors.memory.peak = tensors.memory.used
    judge_trials(
        detector, workspace.trials[:6], workspace.folder / "whole.txt", Scores(), settings=ScoringSettings(**options)
    )
    needed = tensors.memory.peak - used_before
    try:
        tensors.Device.memory_limit = used_before + needed // 3
        judge_trials(
            detector,
            workspace.trials[:6],
            workspace.folder / "parts.txt",
            Scores(),
            settings=ScoringSettings(**options),
        )
        tensors.Device.memory_limit = used_before + needed // 40
        try:
            judge_trials(
                detector,
                workspace.trials[:6],
                workspace.folder / "none.txt",
                Scores(),
                settings=ScoringSettings(**options),
            )
        except NothingDone as error:
            assert "do not fit into the memory of cuda:0" in str(error), error
        else:
            raise AssertionError("scored in a fortieth of the memory")
    finally:
        tensors.Device.memory_limit = None
    expected = numbers_of(workspace.folder / "fits.txt")
    for name in ("whole", "parts"):
        scores_in_parts = numbers_of(workspace.folder / f"{name}.txt")
        assert scores_in_parts[0] == expected[0]
        close(scores_in_parts[1], expected[1])


def check_unreadable_files(workspace: Workspace) -> None:
    """Files that are torn or missing are named, and the other files are scored."""
    out = workspace.folder / "torn.txt"
    words = ["score", "generic", workspace.file("torn.csv"), "--model", workspace.file("small.pth"), "--out", str(out)]
    printed = workspace.nes2net(*words, "--device", "cuda", "--workers", "2", status=1)
    assert "torn.flac" in printed and "absent.flac" in printed, printed
    ids, scores = numbers_of(out)
    assert len(ids) == 2 and np.isfinite(scores).all()


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
    workspace: Workspace, name: str, device: str, **changes: Any
) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """Train a recipe; return the weights, by name, and the history."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        folder = train(recipe(workspace, name, changes), device)
    state = torch.load(folder / "resume.pt", weights_only=True, map_location="cpu")
    return state["detector"], json.loads((folder / "history.json").read_text())


def check_training(workspace: Workspace, device: str = "cuda", tolerance: float = 1e-3, **changes: Any) -> None:
    """Compare loss and validation of the first epoch on the device with those on the CPU.

    Later epochs are not compared, because small differences grow.
    """
    name = f"run{len(list(workspace.folder.glob('run*')))}"
    weights, history = train_recipe(workspace, name, device, **changes)
    on_cpu = {key: value for key, value in changes.get("train", {}).items() if key != "precision"}
    expected = train_recipe(workspace, f"{name}_cpu", "cpu", **{**changes, "train": on_cpu})[1]
    for key in ("loss", "val_loss_wo_aug"):
        close(history[0][key], expected[0][key], tolerance * max(1.0, abs(expected[0][key])))
    assert all(value.isfinite().all() for value in weights.values() if value.is_floating_point())


def check_resuming(workspace: Workspace, **train_keys: Any) -> None:
    """A run that SIGTERM stops in the middle of a step, and that is resumed, ends with the same weights."""
    changes = {"model": MODELS["dropout"], "train": train_keys}
    name = "resume" + "".join(map(str, train_keys.values()))
    uninterrupted = train_recipe(workspace, f"{name}_whole", "cuda", **changes)[0]
    seed_step = loop.seed_step

    def stopping(seed: int, epoch: int, step: int, rank: int = 0) -> None:
        """Send SIGTERM to this process in step 1 of epoch 1; called in place of ``seed_step``."""
        if (epoch, step) == (1, 1):
            os.kill(os.getpid(), signal.SIGTERM)
        seed_step(seed, epoch, step, rank)

    try:
        with patch.object(loop, "seed_step", stopping):
            train_recipe(workspace, f"{name}_torn", "cuda", **changes)
    except Unfinished:
        torch.manual_seed(99)
    else:
        raise AssertionError("SIGTERM did not stop the run")
    resumed_weights = train_recipe(workspace, f"{name}_torn", "cuda", **changes)[0]
    assert all(torch.equal(resumed_weights[key], value) for key, value in uninterrupted.items()), (
        "the resumed weights differ"
    )


def check_detector(workspace: Workspace, ask: Callable[[Detector, Path], Any], model: str = "small") -> None:
    """Compare what a detector on the device says of a recording with what it says on the CPU.

    Args:
        ask: calls a method of the detector with the path of the recording, and returns numbers.
    """
    path = workspace.trials[3].path
    assert isinstance(path, Path)
    values, expected = (ask(workspace.detector(model, device), path) for device in ("cuda", "cpu"))
    close(values, expected)


def long_track(detector: Detector, path: Path) -> np.ndarray:
    """Score the frames of a recording of 50 s, which is scored in windows."""
    waveform = np.resize(soundfile.read(path, dtype="float32")[0], 16000 * 50)
    return detector.frame_scores(waveform, 16000).scores


def check_saving(workspace: Workspace) -> None:
    """A detector that was saved from the device has the same scores when it is loaded on any device."""
    detector = workspace.detector("small", "cuda")
    path = workspace.trials[0].path
    expected = detector.score(path)
    for file in (workspace.folder / "again.pth", workspace.folder / "again"):
        detector.save(file)
        for device in ("cuda", "cuda:1", "cpu"):
            close(Detector.from_pretrained(file, device).score(path), expected)


def check_command(workspace: Workspace, *words: str, read: Callable[[str], Any]) -> None:
    """Compare what a command prints with ``--device cuda`` and with ``--device cpu``.

    Args:
        read: reads numbers from the printed text.
    """
    values, expected = (read(workspace.nes2net(*words, "--device", device)) for device in ("cuda", "cpu"))
    close(values, expected)


def json_of(*keys: str) -> Callable[[str], list[float]]:
    """Make a function that reads the numbers under ``keys`` from printed lines of JSON."""

    def read(printed: str) -> list[float]:
        """Read the numbers from the lines of JSON in ``printed``."""
        numbers: list[float] = []
        for line in printed.splitlines():
            if line.startswith("{"):
                value: Any = json.loads(line)
                for key in keys:
                    value = value[key]
                numbers += np.ravel(value).tolist()
        assert numbers, printed
        return numbers

    return read


def check_int8_refused(workspace: Workspace) -> None:
    """int8 on a GPU is an error."""
    words = ["score", "generic", workspace.file("list.csv"), "--model", workspace.file("small.pth"), "--dtype", "int8"]
    printed = workspace.nes2net(*words, "--out", workspace.file("int8.txt"), "--device", "cuda", status=2)
    assert "is for the CPU" in printed, printed


def check_bench(workspace: Workspace) -> None:
    """`nes2net bench` names the GPU and measures."""
    words = ["--model", workspace.file("small.pth"), "--seconds", "1", "--batch-size", "2", "--rounds", "1"]
    printed = workspace.nes2net("bench", *words, "--device", "cuda", "--workers", "0")
    assert "simulated GPU" in printed and "files to scores, batch 2" in printed, printed


def check_page(workspace: Workspace) -> None:
    """Compare what the page to listen with computes on the device and on the CPU."""
    scores_by_device = []
    for device in ("cuda", "cpu"):
        (folder := workspace.folder / f"desk_{device}").mkdir()
        row = (
            Desk(workspace.detector("small", device), folder).score(workspace.trials[3].path, "a.flac", look=True).row()
        )
        scores_by_device.append([row["score"], *row["scores"]])
    close(*scores_by_device)


def check_second_gpu(workspace: Workspace, check: Callable[[Workspace], None]) -> None:
    """``check``, which computes on cuda:1, makes no tensors on cuda:0."""
    num_before = tensors.made_on.copy()
    check(workspace)
    num_made = tensors.made_on - num_before
    assert num_made[torch.device("cuda", 1)], "nothing was computed on cuda:1"
    assert not num_made[torch.device("cuda", 0)], f"{num_made[torch.device('cuda', 0)]} tensors landed on cuda:0"


def score(*flags: str, model: str = "small", **options: Any) -> Callable[[Workspace], None]:
    """Make a check of `nes2net score` with these flags."""
    name = "".join((*flags, model, options.get("device", ""))).replace("-", "").replace(":", "")
    return lambda workspace: check_scores(
        workspace, "--model", workspace.file(f"{model}.pth"), *flags, name=name, **options
    )


def explain(model: str, *flags: str) -> Callable[[Workspace], None]:
    """Make a check of `nes2net explain` with these flags."""

    def check(workspace: Workspace) -> None:
        """Run `nes2net explain` on both devices, and compare the scores."""
        words = [
            "explain",
            workspace.file("3.flac"),
            "--model",
            workspace.file(f"{model}.pth"),
            "--duration",
            "1",
            "--json",
        ]
        check_command(workspace, *words, *flags, read=json_of("score"))

    return check


def predict(*flags: str, read: Callable[[str], Any]) -> Callable[[Workspace], None]:
    """Make a check of `nes2net predict` with these flags."""

    def check(workspace: Workspace) -> None:
        """Run `nes2net predict` on both devices, and compare the numbers."""
        words = [
            "predict",
            workspace.file("3.flac"),
            workspace.file("4.flac"),
            "--model",
            workspace.file("small.pth"),
            "--json",
        ]
        check_command(workspace, *words, *flags, read=read)

    return check


SPECMIX = {"model": {"frontend": SPECTRUM, "backend": "asp_mlp"}, "augment": {"specmix": {"mix_labels": True}}}
#: The checks by name.
CHECKS: dict[str, Callable[[Workspace], None]] = {
    "scores, 4sec": score("--samples", "4sec"),
    "scores, 4sec, two readers": score("--samples", "4sec", "--workers", "2", model="frames"),
    "scores, full": score("--samples", "full", "--workers", "0"),
    "scores, bfloat16": score("--dtype", "bfloat16", "--workers", "0", tolerance=ROUNDED),
    "scores, float16": score("--dtype", "float16", "--workers", "0", tolerance=ROUNDED),
    "scores of frames": score("--segments", "--workers", "0", model="frames"),
    "scores by a recurrent back-end": score("--workers", "0", model="recurrent"),
    "embeddings of the last layer": lambda p: check_embeddings(p, "--of", "backend"),
    "embeddings of all hidden states": lambda p: check_embeddings(p, "--layer", "all"),
    "published train mode": check_train_mode,
    "too little memory": check_too_little_memory,
    "unreadable files": check_unreadable_files,
    "training, fp32": check_training,
    "training, tf32": lambda p: check_training(p, tolerance=0.1, train={"precision": "tf32"}),
    "training, bf16": lambda p: check_training(p, tolerance=0.1, train={"precision": "bf16"}),
    "training, fp16": lambda p: check_training(p, tolerance=0.05, train={"precision": "fp16"}),
    "training in parts": lambda p: check_training(p, train={"accumulate": 2}),
    "training, Specmix": lambda p: check_training(p, **SPECMIX),
    "training, latent augmentation": lambda p: check_training(p, augment={"latent": {"probability": 1.0}}),
    "training, validation in train mode": lambda p: check_training(p, validation={"mode": "train"}),
    "resuming, fp32": check_resuming,
    "resuming, bf16": lambda p: check_resuming(p, precision="bf16"),
    "resuming, fp16": lambda p: check_resuming(p, precision="fp16"),
    "score": lambda p: check_detector(p, lambda d, path: d.score(path)),
    "score_files": lambda p: check_detector(p, lambda d, path: [score for _, score in d.score_files([path] * 3)]),
    "score_track": lambda p: check_detector(p, lambda d, path: d.score_track(path, window=1.0).scores),
    "frame_scores": lambda p: check_detector(p, lambda d, path: d.frame_scores(path).scores, "frames"),
    "frame_scores, 50 s": lambda p: check_detector(p, long_track, "frames"),
    "explain, occlusion": explain("small"),
    "explain, gradients": explain("small", "--method", "integrated_gradients", "--steps", "4"),
    "explain, gradients, recurrent": explain("recurrent", "--method", "integrated_gradients", "--steps", "4"),
    "save and load": check_saving,
    "int8 is refused": check_int8_refused,
    "predict": predict(read=json_of("score")),
    "predict --track": predict("--track", read=json_of("scores")),
    "bench": check_bench,
    "the page": check_page,
    "cuda:1, scores": lambda p: check_second_gpu(p, score("--samples", "full", device="cuda:1")),
    "cuda:1, training": lambda p: check_second_gpu(p, partial(check_training, device="cuda:1")),
}
