"""One training run from a recipe: corpus, detector, run folder, resume — and then the loop."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
import yaml
from torch.utils.data import DataLoader

from nes2net.atomic import write_text
from nes2net.augment.noise import NoiseAugmentation
from nes2net.augment.rawboost import ALGORITHMS, RawBoostParameters
from nes2net.checkpoint import load_state_dict
from nes2net.config import Recipe, recipe_from_dict
from nes2net.data.dataset import TrainingSet, training_loader
from nes2net.data.trial import Trial
from nes2net.detector import Detector, choose_device
from nes2net.errors import InputError
from nes2net.registry import corpora
from nes2net.torch_file import read_torch_file
from nes2net.training.loop import Trainer

RECIPE_FILE = "recipe.yaml"
RESUME_FILE = "resume.pt"

# May differ between the runs that fill one folder: where things lie and how fast they come.
_NOT_COMPARED = ("data.root", "data.protocols", "data.num_workers", "ssl_checkpoint", "output", "logs")
_COMPARED_IF_GIVEN = ("augment.musan", "augment.rir")  # folders, too: whether there is one matters


def train(recipe: Recipe, device: str = "auto") -> Path:
    """Train as ``recipe`` says and return the run folder ``{output}/{tag}``.

    Written there: ``epoch_{n}.pth`` (n from 0) whenever a development loss is at most its best so far, ``recipe.yaml``, and ``resume.pt``
    after each epoch; the same recipe run again goes on after the last finished epoch, to the same weights.

    Raises:
        InputError: something in the recipe or on disk is missing or wrong, or the folder holds another run.
    """
    corpus = corpora.get(recipe.data.corpus)
    if recipe.data.root is None:
        raise InputError("where is the corpus? give --database_path, or data.root in the recipe")
    train_trials = corpus.trials(recipe.data.root, "train", protocols=recipe.data.protocols)
    dev_trials = corpus.trials(recipe.data.root, "dev", protocols=recipe.data.protocols)
    for part, trials in (("training", train_trials), ("development", dev_trials)):
        _check_trials(part, trials)
    if len(train_trials) < recipe.train.batch_size:
        raise InputError(
            f"{len(train_trials)} training trials do not fill one batch of {recipe.train.batch_size}: lower the batch size"
        )

    folder = Path(recipe.output) / recipe.tag
    resume = _resume_state(folder, recipe)
    device = choose_device(device)
    # Before a large model is read: looks through the folders of noise.
    loaders = _loaders(recipe, train_trials, dev_trials, device)
    seed_everything(recipe.seed)
    detector = _build_detector(recipe, resume).to(device)
    trainer = Trainer(detector, recipe, folder, *loaders)
    if resume is not None:
        trainer.load_state(resume)
    if not (folder / RECIPE_FILE).is_file():
        _write_recipe(folder, recipe)
    for line in _summary(detector, train_trials, dev_trials):
        print(line)
    trainer.fit()
    return folder


def _summary(detector: Detector, train_trials: list[Trial], dev_trials: list[Trial]) -> list[str]:
    def count(trials: list[Trial]) -> str:
        bonafide = sum(t.target for t in trials)
        return f"{len(trials)} ({bonafide} bona fide, {len(trials) - bonafide} spoof)"

    parts = " + ".join(detector.config[part]["name"] for part in ("frontend", "aggregation", "backend"))
    return [
        f"detector: {parts}, {sum(p.numel() for p in detector.parameters()):,} parameters on {detector.device}",
        f"training trials: {count(train_trials)}",
        f"development trials: {count(dev_trials)}",
    ]


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators (weight initialisation and dropout draw from the last)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _check_trials(part: str, trials: list[Trial]) -> None:
    if {t.target for t in trials} != {0, 1}:
        raise InputError(
            f"the {part} set needs bona fide and spoofed trials, it has {len(trials)} trials of one class or none"
        )
    missing = [t for t in trials if not t.path.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(trials)} audio files of the {part} set are missing, the first of them {missing[0].path}: "
            "complete the corpus or name its folder with --database_path"
        )


def _resume_state(folder: Path, recipe: Recipe) -> dict | None:
    """What the run in ``folder`` left to go on from, None where there is nothing; a folder of another run is an error."""
    recipe_file, resume_file = folder / RECIPE_FILE, folder / RESUME_FILE
    if not recipe_file.is_file():
        if any(folder.glob("*.pth")):
            raise InputError(
                f"{folder} holds checkpoints and no {RECIPE_FILE}: give this run a --comment of its own or move the folder away"
            )
        return None
    try:
        # As a recipe, so that a key added since has its default.
        there = recipe_from_dict(yaml.safe_load(recipe_file.read_text(encoding="utf-8"))).to_dict()
    except (yaml.YAMLError, InputError) as error:
        raise InputError(f"{recipe_file} cannot be used ({error}): move the folder away and start again") from error
    if differing := _differences(recipe.to_dict(), there):
        raise InputError(
            f"{folder} holds another run, which differs in {', '.join(differing)}: give this one a --comment of its own "
            "(comment in a recipe) or move the folder away"
        )
    return read_torch_file(resume_file)[0] if resume_file.is_file() else None


def _write_recipe(folder: Path, recipe: Recipe) -> None:
    write_text(folder / RECIPE_FILE, yaml.safe_dump(recipe.to_dict(), sort_keys=False, allow_unicode=True))


def _differences(ours: dict, theirs: dict | None, prefix: str = "") -> list[str]:
    theirs = theirs if isinstance(theirs, dict) else {}
    differing = []
    for key in sorted({*ours, *theirs}):
        name, a, b = prefix + key, ours.get(key), theirs.get(key)
        if name in _NOT_COMPARED:
            continue
        if name in _COMPARED_IF_GIVEN:
            a, b = a is None, b is None
        if isinstance(a, dict) and isinstance(b, dict):
            differing += _differences(a, b, f"{name}.")
        elif a != b:
            differing.append(name)
    return differing


def _build_detector(recipe: Recipe, resume: dict | None) -> Detector:
    frontend = recipe.model.get("frontend", {})
    name = frontend if isinstance(frontend, str) else frontend.get("name")
    if resume is not None:  # neither pre-training file is read again: architecture and weights are those of the run
        model = resume.get("model") or recipe.model
        if not isinstance(frontend, str) and "engine" in frontend:
            model = {**model, "frontend": {**model["frontend"], "engine": frontend["engine"]}}
        return Detector.from_config(model)
    if name == "xlsr_300m" and not recipe.ssl_checkpoint and not recipe.train.init_from:
        raise InputError(
            "training XLS-R 300M from random weights is not what you want: name its pre-training file with --ssl_checkpoint "
            "(ssl_checkpoint in a recipe), or take --ssl_config small"
        )
    detector = Detector.from_config(recipe.model, recipe.ssl_checkpoint)
    if recipe.train.init_from:
        detector.load_published(load_state_dict(recipe.train.init_from), recipe.train.init_from)
    return detector


def training_batches(recipe: Recipe, device: torch.device) -> DataLoader:
    """The training batches of ``recipe``, as in its first epoch."""
    corpus = corpora.get(recipe.data.corpus)
    trials = corpus.trials(recipe.data.root, "train", protocols=recipe.data.protocols)
    _check_trials("training", trials)
    return _loaders(recipe, trials, trials[:1], device)[0]


def _loaders(recipe: Recipe, train_trials: list[Trial], dev_trials: list[Trial], device: torch.device) -> tuple:
    """Loaders of training, of development with augmentation, and without."""
    algo, data, augment = recipe.augment.algo, recipe.data, recipe.augment
    if algo not in ALGORITHMS:
        raise InputError(f"RawBoost has the algorithms 0 (none) to {ALGORITHMS[-1]}, not {algo}")
    parameters = RawBoostParameters.of(**augment.parameters)
    noise = NoiseAugmentation(augment.musan, augment.rir, augment.noise_probability)

    def loader(trials: list[Trial], part: str, algo: int) -> object:
        training = part == "train"  # noise and another crop than the head belong to training alone
        options = {"noise": noise, "crop": data.crop} if training else {}
        dataset = TrainingSet(trials, data.num_samples, algo, parameters, recipe.seed, part, **options)
        return training_loader(dataset, recipe.train.batch_size, training, data.num_workers, device.type == "cuda")

    return loader(train_trials, "train", algo), loader(dev_trials, "dev", algo), loader(dev_trials, "dev", 0)
