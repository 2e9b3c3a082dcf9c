"""The data of a run: the trials of its corpus, and the batches of training and development."""

from __future__ import annotations

from collections.abc import Sequence

from nes2net.audio.cache import AudioCache
from nes2net.augment.legacy import LegacyStream
from nes2net.augment.noise import NoiseAugmentation
from nes2net.augment.rawboost import RawBoostParameters
from nes2net.corpora.trial import BONAFIDE, Trial
from nes2net.errors import InputError
from nes2net.recipes.recipe import DataConfig, Recipe
from nes2net.registry import corpora
from nes2net.training.dataset import BatchLoader, TrainingSet, longest_first, training_loader
from nes2net.training.sampling import EpochBatches
from nes2net.training.validation import passes


def training_trials(recipe: Recipe) -> list[Trial]:
    """List the trials that ``recipe`` trains on: with ``train.loss: distillation`` the bona fide ones.

    Raises:
        InputError: as :func:`read_trials`.
    """
    return read_trials(recipe.data, "train", bonafide_only=recipe.train.loss == "distillation")


def read_trials(data: DataConfig, part: str, bonafide_only: bool = False) -> list[Trial]:
    """List the trials of ``part``, ``train`` or ``dev``, of the corpus.

    Args:
        bonafide_only: leave out spoofed trials, which then need not be there.

    Raises:
        InputError: if the corpus is not named, an audio file is missing, or a class has no trials.
    """
    if data.root is None:
        raise InputError("where is the corpus? name its folder with `data.root`")
    trials = corpora.get(data.corpus).trials(data.root, part, protocols=data.protocols)
    name = "training" if part == "train" else "development"
    if bonafide_only:
        trials = [trial for trial in trials if trial.label == BONAFIDE]
        if not trials:
            raise InputError(f"the {name} set has no bona fide trials, which `train.loss=distillation` learns from")
    elif {trial.target for trial in trials} != {0, 1}:
        raise InputError(
            f"the {name} set needs bona fide and spoofed trials, it has {len(trials)} trials of one class or none"
        )
    missing = [trial for trial in trials if not trial.audio_path().is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(trials)} audio files of the {name} set are missing, the first of them "
            f"{missing[0].path}: complete the corpus or name its folder with `data.root`"
        )
    return trials


def training_batches(
    recipe: Recipe,
    trials: list[Trial],
    stream: LegacyStream | None,
    *,
    rank: int = 0,
    world_size: int = 1,
    accumulate: int = 1,
    pin_memory: bool = False,
) -> BatchLoader:
    """Load the batches of training: process ``rank``'s parts of each step.

    Args:
        stream: what RawBoost draws from if ``augment.rng`` is ``legacy``.
        accumulate: number of parts of a process; with one part and one process, batches are whole.
    """
    data, augment = recipe.data, recipe.augment
    recipe.check_noise()
    probability = augment.noise_probability or 0.0  # AugmentConfig leaves no None here
    noise = NoiseAugmentation(augment.musan, augment.rir, probability)
    dataset = _dataset(
        recipe,
        trials,
        "train",
        augment.algo,
        data.num_samples,
        stream,
        speed=augment.speed,
        noise=noise,
        crop=data.crop,
    )
    batches = EpochBatches(
        len(trials),
        recipe.train.batch_size,
        recipe.seed,
        True,
        rank=rank,
        world_size=world_size,
        accumulate=accumulate,
    )
    return training_loader(dataset, batches, data.num_workers, pin_memory)


def development_batches(
    recipe: Recipe,
    trials: list[Trial],
    stream: LegacyStream | None,
    *,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> dict[str, BatchLoader]:
    """Load process ``rank``'s batches of each pass over the development set.

    Only training changes the speed, adds noise or takes another crop than the head.
    """
    whole = recipe.validation.whole_utterances
    trials = longest_first(trials) if whole else trials
    num_samples, batch_size = (None, 1) if whole else (recipe.data.num_samples, recipe.train.batch_size)
    loaders = {}
    for name in passes(recipe.augment, recipe.validation):
        algo = recipe.augment.algo if name == "w_aug" else 0
        dataset = _dataset(recipe, trials, "dev", algo, num_samples, stream if algo else None)
        batches = EpochBatches(len(trials), batch_size, recipe.seed, False, rank=rank, world_size=world_size)
        loaders[name] = training_loader(dataset, batches, recipe.data.num_workers, pin_memory)
    return loaders


def _dataset(
    recipe: Recipe,
    trials: list[Trial],
    part: str,
    algo: int,
    num_samples: int | None,
    stream: LegacyStream | None,
    *,
    speed: Sequence[float] | None = None,
    noise: NoiseAugmentation | None = None,
    crop: str = "head",
) -> TrainingSet:
    parameters = RawBoostParameters.of(**recipe.augment.parameters)
    cache = AudioCache(recipe.data.cache) if recipe.data.cache else None
    return TrainingSet(
        trials,
        num_samples,
        algo,
        parameters,
        recipe.seed,
        part,
        speed=speed,
        noise=noise,
        crop=crop,
        cache=cache,
        stream=stream,
    )
