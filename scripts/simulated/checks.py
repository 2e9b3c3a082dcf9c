"""What scripts/simulated_cuda runs: what users call, on the simulated device, against the same on the CPU.

A check is a function of a :class:`Place`. It fails if it raises, or if anything was done that a CUDA device refuses.
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
#: Largest difference of two scores in float32, and in the others.
EXACT, ROUNDED = 1e-4, 0.1


@dataclass(frozen=True)
class Place:
    """A folder with a corpus of a few seconds, and detectors with random weights."""

    folder: Path
    trials: list[Trial]

    @classmethod
    def made(cls, folder: Path) -> Place:
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
        return str(self.folder / name)

    def detector(self, name: str, device: str) -> Detector:
        return Detector.from_pretrained(self.folder / f"{name}.pth", device)

    def nes2net(self, *words: str, status: int = 0) -> str:
        """Run a command in this process; return what it printed.

        Raises:
            AssertionError: if it ends with another ``status``.
        """
        out, notes = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(notes):
            found = main(list(words))
        assert found == status, f"nes2net {' '.join(words)}: status {found}\n{notes.getvalue()}"
        return out.getvalue() + notes.getvalue()


def close(found: Any, expected: Any, most: float = EXACT) -> None:
    """Raise AssertionError if two arrays of numbers differ by more than ``most``."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    assert found.shape == expected.shape, f"{found.shape} where {expected.shape} is expected"
    gap = np.abs(found - expected).max() if found.size else math.nan
    assert gap <= most, f"differs by {gap:.3g} from the CPU's"


def numbers_of(path: Path) -> tuple[list[str], list[float]]:
    """The ids and scores of a score file; an id for each frame in a file of frames."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return [row[0] for row in rows], [float(value) for row in rows for value in row[1:]]


def scored(place: Place, *flags: str, name: str, most: float = EXACT, device: str = "cuda") -> None:
    """`nes2net score` on the device against the CPU, in float32 there."""
    common = ["score", "generic", place.file("list.csv"), "--batch-size", "4"]
    on_cpu = [flag for number, flag in enumerate(flags) if "--dtype" not in flags[max(0, number - 1) : number + 1]]
    for where, own in (("cpu", on_cpu), (device, list(flags))):
        out = place.file(f"{name}_{where}.txt")
        place.nes2net(*common, *own, "--out", out, "--device", where, "--overwrite")
    ids, found = numbers_of(place.folder / f"{name}_{device}.txt")
    expected_ids, expected = numbers_of(place.folder / f"{name}_cpu.txt")
    assert ids == expected_ids and len(ids) >= 6
    close(found, expected, most)


def embedded(place: Place, *flags: str) -> None:
    """`nes2net embed` on the device against the CPU."""
    found = []
    for where in ("cpu", "cuda"):
        out = place.folder / f"embedded_{where}.npy"
        words = ["embed", "generic", place.file("list.csv"), "--out", str(out), "--model", place.file("small.pth")]
        place.nes2net(*words, "--device", where, "--overwrite", *flags)
        found.append(np.load(out))
    close(found[1], found[0])


def train_mode(place: Place) -> None:
    """Scores in train mode, as published: the same twice."""
    detector = place.detector("dropout", "cuda")
    files = [place.folder / f"train_mode_{number}.txt" for number in range(2)]
    for file in files:
        judge_trials(
            detector,
            place.trials[:6],
            file,
            Scores(),
            settings=ScoringSettings(num_samples=16000, num_workers=0, legacy_train_mode=True),
        )
    assert files[0].read_bytes() == files[1].read_bytes()


def too_little_memory(place: Place) -> None:
    """A batch that does not fit is scored in parts; what does not fit alone has a reason."""
    options: dict[str, Any] = {"num_samples": 48000, "num_workers": 0, "batch_size": 6}
    judge_trials(
        place.detector("small", "cpu"),
        place.trials[:6],
        place.folder / "fits.txt",
        Scores(),
        settings=ScoringSettings(**options),
    )
    detector = place.detector("small", "cuda")
    before = tensors.memory.peak = tensors.memory.held
    judge_trials(detector, place.trials[:6], place.folder / "whole.txt", Scores(), settings=ScoringSettings(**options))
    needed = tensors.memory.peak - before
    try:
        tensors.Device.most = before + needed // 3
        judge_trials(
            detector, place.trials[:6], place.folder / "parts.txt", Scores(), settings=ScoringSettings(**options)
        )
        tensors.Device.most = before + needed // 40
        try:
            judge_trials(
                detector, place.trials[:6], place.folder / "none.txt", Scores(), settings=ScoringSettings(**options)
            )
        except NothingDone as error:
            assert "do not fit into the memory of cuda:0" in str(error), error
        else:
            raise AssertionError("scored in a fortieth of the memory")
    finally:
        tensors.Device.most = None
    expected = numbers_of(place.folder / "fits.txt")
    for name in ("whole", "parts"):
        found = numbers_of(place.folder / f"{name}.txt")
        assert found[0] == expected[0]
        close(found[1], expected[1])


def unreadable(place: Place) -> None:
    """A torn and a missing file are named, and the others scored."""
    out = place.folder / "torn.txt"
    words = ["score", "generic", place.file("torn.csv"), "--model", place.file("small.pth"), "--out", str(out)]
    told = place.nes2net(*words, "--device", "cuda", "--workers", "2", status=1)
    assert "torn.flac" in told and "absent.flac" in told, told
    ids, scores = numbers_of(out)
    assert len(ids) == 2 and np.isfinite(scores).all()


def recipe(place: Place, name: str, changes: dict[str, Any]) -> Recipe:
    """Two epochs of three steps of four utterances."""
    values: dict[str, Any] = {
        "name": "tiny",
        "model": MODELS["small"],
        "data": {"corpus": "generic", "root": place.file("list.csv"), "num_samples": 8000, "num_workers": 0},
        "augment": {"algo": 4},
        "train": {"epochs": 2, "batch_size": 4, "lr": 1e-3},
        "output": place.file(name),
        "logs": place.file(name),
    }
    for key, value in changes.items():
        values[key] = {**values.get(key, {}), **value} if key != "model" else value
    return recipe_from_dict(values)


def trained(place: Place, name: str, device: str, **changes: Any) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """Train a recipe; return the weights and the history."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        folder = train(recipe(place, name, changes), device)
    state = torch.load(folder / "resume.pt", weights_only=True, map_location="cpu")
    return state["detector"], json.loads((folder / "history.json").read_text())


def training(place: Place, device: str = "cuda", most: float = 1e-3, **changes: Any) -> None:
    """A run on the device against the CPU: loss and validation of the first epoch, before errors add up."""
    name = f"run{len(list(place.folder.glob('run*')))}"
    weights, found = trained(place, name, device, **changes)
    on_cpu = {key: value for key, value in changes.get("train", {}).items() if key != "precision"}
    expected = trained(place, f"{name}_cpu", "cpu", **{**changes, "train": on_cpu})[1]
    for key in ("loss", "val_loss_wo_aug"):
        close(found[0][key], expected[0][key], most * max(1.0, abs(expected[0][key])))
    assert all(value.isfinite().all() for value in weights.values() if value.is_floating_point())


def resumed(place: Place, **train_keys: Any) -> None:
    """SIGTERM in the middle of a step, and the same end bit for bit."""
    changes = {"model": MODELS["dropout"], "train": train_keys}
    name = "resume" + "".join(map(str, train_keys.values()))
    whole = trained(place, f"{name}_whole", "cuda", **changes)[0]
    seed_step = loop.seed_step

    def stopping(seed: int, epoch: int, step: int, rank: int = 0) -> None:
        if (epoch, step) == (1, 1):
            os.kill(os.getpid(), signal.SIGTERM)
        seed_step(seed, epoch, step, rank)

    try:
        with patch.object(loop, "seed_step", stopping):
            trained(place, f"{name}_torn", "cuda", **changes)
    except Unfinished:
        torch.manual_seed(99)
    else:
        raise AssertionError("SIGTERM did not stop the run")
    torn = trained(place, f"{name}_torn", "cuda", **changes)[0]
    assert all(torch.equal(torn[key], value) for key, value in whole.items()), "the resumed weights differ"


def of_detector(place: Place, ask: Callable[[Detector, Path], Any], model: str = "small") -> None:
    """What ``ask`` finds of a recording, by a detector on the device against one on the CPU."""
    path = place.trials[3].path
    assert isinstance(path, Path)
    found, expected = (ask(place.detector(model, device), path) for device in ("cuda", "cpu"))
    close(found, expected)


def long_track(detector: Detector, path: Path) -> np.ndarray:
    """Scores along a recording of 50 s, whose frames are scored in windows."""
    waveform = np.resize(soundfile.read(path, dtype="float32")[0], 16000 * 50)
    return detector.frame_scores(waveform, 16000).scores


def saved(place: Place) -> None:
    """A detector that was saved from the device scores alike on both."""
    detector, path = place.detector("small", "cuda"), place.trials[0].path
    expected = detector.score(path)
    for file in (place.folder / "again.pth", place.folder / "again"):
        detector.save(file)
        for device in ("cuda", "cuda:1", "cpu"):
            close(Detector.from_pretrained(file, device).score(path), expected)


def command(place: Place, *words: str, read: Callable[[str], Any]) -> None:
    """A command with ``--device`` on the device against the CPU."""
    found, expected = (read(place.nes2net(*words, "--device", device)) for device in ("cuda", "cpu"))
    close(found, expected)


def json_of(*keys: str) -> Callable[[str], list[float]]:
    """Read numbers under ``keys`` from lines of JSON."""

    def read(printed: str) -> list[float]:
        found: list[float] = []
        for line in printed.splitlines():
            if line.startswith("{"):
                value: Any = json.loads(line)
                for key in keys:
                    value = value[key]
                found += np.ravel(value).tolist()
        assert found, printed
        return found

    return read


def no_int8(place: Place) -> None:
    words = ["score", "generic", place.file("list.csv"), "--model", place.file("small.pth"), "--dtype", "int8"]
    told = place.nes2net(*words, "--out", place.file("int8.txt"), "--device", "cuda", status=2)
    assert "is for the CPU" in told, told


def bench(place: Place) -> None:
    words = ["--model", place.file("small.pth"), "--seconds", "1", "--batch-size", "2", "--rounds", "1"]
    printed = place.nes2net("bench", *words, "--device", "cuda", "--workers", "0")
    assert "simulated GPU" in printed and "files to scores, batch 2" in printed, printed


def page(place: Place) -> None:
    """What the page to listen with computes."""
    found = []
    for device in ("cuda", "cpu"):
        (folder := place.folder / f"desk_{device}").mkdir()
        row = Desk(place.detector("small", device), folder).score(place.trials[3].path, "a.flac", look=True).row()
        found.append([row["score"], *row["scores"]])
    close(*found)


def on_the_second(place: Place, check: Callable[[Place], None]) -> None:
    """``check``, which computes on cuda:1, puts nothing on cuda:0."""
    before = tensors.made_on.copy()
    check(place)
    made = tensors.made_on - before
    assert made[torch.device("cuda", 1)], "nothing was computed on cuda:1"
    assert not made[torch.device("cuda", 0)], f"{made[torch.device('cuda', 0)]} tensors landed on cuda:0"


def score(*flags: str, model: str = "small", **options: Any) -> Callable[[Place], None]:
    """A check of `nes2net score` with these flags."""
    name = "".join((*flags, model, options.get("device", ""))).replace("-", "").replace(":", "")
    return lambda place: scored(place, "--model", place.file(f"{model}.pth"), *flags, name=name, **options)


def explain(model: str, *flags: str) -> Callable[[Place], None]:
    """A check of `nes2net explain` with these flags."""

    def check(place: Place) -> None:
        words = ["explain", place.file("3.flac"), "--model", place.file(f"{model}.pth"), "--duration", "1", "--json"]
        command(place, *words, *flags, read=json_of("score"))

    return check


def predict(*flags: str, read: Callable[[str], Any]) -> Callable[[Place], None]:
    """A check of `nes2net predict` with these flags."""

    def check(place: Place) -> None:
        words = ["predict", place.file("3.flac"), place.file("4.flac"), "--model", place.file("small.pth"), "--json"]
        command(place, *words, *flags, read=read)

    return check


SPECMIX = {"model": {"frontend": SPECTRUM, "backend": "asp_mlp"}, "augment": {"specmix": {"mix_labels": True}}}
#: The checks by name.
CHECKS: dict[str, Callable[[Place], None]] = {
    "scores, 4sec": score("--samples", "4sec"),
    "scores, 4sec, two readers": score("--samples", "4sec", "--workers", "2", model="frames"),
    "scores, full": score("--samples", "full", "--workers", "0"),
    "scores, bfloat16": score("--dtype", "bfloat16", "--workers", "0", most=ROUNDED),
    "scores, float16": score("--dtype", "float16", "--workers", "0", most=ROUNDED),
    "scores of frames": score("--segments", "--workers", "0", model="frames"),
    "scores by a recurrent back-end": score("--workers", "0", model="recurrent"),
    "embeddings of the last layer": lambda p: embedded(p, "--of", "backend"),
    "embeddings of all hidden states": lambda p: embedded(p, "--layer", "all"),
    "published train mode": train_mode,
    "too little memory": too_little_memory,
    "unreadable files": unreadable,
    "training, fp32": training,
    "training, tf32": lambda p: training(p, most=0.05, train={"precision": "tf32"}),
    "training, bf16": lambda p: training(p, most=0.1, train={"precision": "bf16"}),
    "training, fp16": lambda p: training(p, most=0.05, train={"precision": "fp16"}),
    "training in parts": lambda p: training(p, train={"accumulate": 2}),
    "training, Specmix": lambda p: training(p, **SPECMIX),
    "training, latent augmentation": lambda p: training(p, augment={"latent": {"probability": 1.0}}),
    "training, validation in train mode": lambda p: training(p, validation={"mode": "train"}),
    "resuming, fp32": resumed,
    "resuming, bf16": lambda p: resumed(p, precision="bf16"),
    "resuming, fp16": lambda p: resumed(p, precision="fp16"),
    "score": lambda p: of_detector(p, lambda d, path: d.score(path)),
    "score_files": lambda p: of_detector(p, lambda d, path: [score for _, score in d.score_files([path] * 3)]),
    "score_track": lambda p: of_detector(p, lambda d, path: d.score_track(path, window=1.0).scores),
    "frame_scores": lambda p: of_detector(p, lambda d, path: d.frame_scores(path).scores, "frames"),
    "frame_scores, 50 s": lambda p: of_detector(p, long_track, "frames"),
    "explain, occlusion": explain("small"),
    "explain, gradients": explain("small", "--method", "integrated_gradients", "--steps", "4"),
    "explain, gradients, recurrent": explain("recurrent", "--method", "integrated_gradients", "--steps", "4"),
    "save and load": saved,
    "int8 is refused": no_int8,
    "predict": predict(read=json_of("score")),
    "predict --track": predict("--track", read=json_of("scores")),
    "bench": bench,
    "the page": page,
    "cuda:1, scores": lambda p: on_the_second(p, score("--samples", "full", device="cuda:1")),
    "cuda:1, training": lambda p: on_the_second(p, partial(training, device="cuda:1")),
}
