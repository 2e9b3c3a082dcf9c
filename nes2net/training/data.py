"""The data of a run: the trials of its corpus, and the batches of training and development."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nes2net.audio.cache import AudioCache
from nes2net.augment.legacy import LegacyStream
from nes2net.augment.noise import NoiseAugmentation
from nes2net.augment.rawboost import RawBoostParameters
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError
from nes2net.recipes.recipe import DataConfig, Recipe
from nes2net.registry import corpora
from nes2net.scoring.system_scores import Ranges, ranges_of, with_system_scores
from nes2net.training.dataset import BatchLoader, TrainingSet, longest_first, training_loader
from nes2net.training.sampling import EpochBatches
from nes2net.training.validation import passes


def read_trials(data: DataConfig, part: str) -> list[Trial]:
    """List the trials of ``part``, ``train`` or ``dev``, of its corpus.

    They have the scores of other systems that the recipe names.

    Raises:
        InputError: if the corpus is not named, an audio file or a score is missing, or a class has
            no trials.
    """
    if data.root is None:
        raise InputError("where is the corpus? name its folder with `data.root`")
    name, of_dev = ("training", False) if part == "train" else ("development", True)
    root, files = str(data.root), data.dev_scores if of_dev else data.train_scores
    if not of_dev:
        trials = _labelled_trials(data.corpus, root, data.train_split, data.protocols, root, None)
    else:
        corpus, root = data.dev_corpus or data.corpus, data.dev_root or root
        protocols = data.dev_protocols or (data.protocols if corpus == data.corpus else None)
        trials = _labelled_trials(corpus, root, data.dev_split, protocols, data.dev_keys or root, data.dev_phase)
    if {trial.target for trial in trials} != {0, 1}:
        raise InputError(
            f"the {name} set needs bona fide and spoofed trials, it has {len(trials)} trials of one class or none"
        )
    missing = [trial for trial in trials if not trial.audio_path().is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(trials)} audio files of the {name} set are missing, the first of them "
            f"{missing[0].path}: complete the corpus or name its folder with `data.root`"
        )
    return with_system_scores(trials, files, score_ranges(data)) if files else trials


def _labelled_trials(
    name: str, root: str, split: str, protocols: str | None, keys: str, phase: str | None
) -> list[Trial]:
    """List the trials of ``split`` that have a label, which some corpora keep in a file of their own."""
    corpus = corpora.get(name)
    trials = corpus.trials(root, split, protocols=protocols)
    if corpus.find_key is None:
        if phase is not None:
            raise InputError(f"{corpus.title} has no keys with phases: leave out `data.dev_phase`")
        return trials
    labelled = {trial.id: trial for trial in corpus.keys(keys, phase)}
    return [replace(labelled[trial.id], path=trial.path) for trial in trials if trial.id in labelled]


def score_ranges(data: DataConfig) -> Ranges:
    """The ranges by which scores of other systems are normalised: of training, validation and later scoring."""
    return "test" if data.score_range == "test" else ranges_of(data.range_scores or data.train_scores)


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
