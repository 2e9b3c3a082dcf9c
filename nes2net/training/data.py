"""The data of a run: the trials of its corpus, and the batches of training and development."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from numpy.typing import NDArray

from nes2net.audio.cache import AudioCache
from nes2net.audio.crop import pieces
from nes2net.audio.packed import is_there
from nes2net.audio.read import count_samples
from nes2net.augment.fir import LowPass
from nes2net.augment.legacy import LegacyStream
from nes2net.augment.noise import NoiseAugmentation
from nes2net.augment.rawboost import RawBoostParameters
from nes2net.conditions.augmentation import OneOf
from nes2net.conditions.base import Sources
from nes2net.corpora.corpus import Corpus
from nes2net.corpora.trial import BONAFIDE, Trial
from nes2net.errors import InputError, counted
from nes2net.machine.progress import ProgressDisplay
from nes2net.recipes.data import DataConfig
from nes2net.recipes.recipe import Recipe
from nes2net.recipes.segments import LABEL_SAMPLES
from nes2net.recipes.train import TrainConfig
from nes2net.registry import corpora, create_condition
from nes2net.scoring.system_scores import Ranges, ranges_of, with_system_scores
from nes2net.training.balance import balance_of
from nes2net.training.dataset import (
    BatchLoader,
    TrainingSet,
    check_readable,
    longest_first,
    training_loader,
)
from nes2net.training.frame_labels import check_lengths
from nes2net.training.sampling import EpochBatches
from nes2net.training.validation import passes


def training_trials(recipe: Recipe) -> list[Trial]:
    """List the trials that ``recipe`` trains on: with ``train.loss: distillation`` the bona fide ones.

    Raises:
        InputError: as :func:`read_trials`.
    """
    return read_trials(recipe.data, "train", bonafide_only=recipe.train.loss == "distillation")


def read_trials(data: DataConfig, part: Literal["train", "dev"], bonafide_only: bool = False) -> list[Trial]:
    """List the trials of ``part``, ``train`` or ``dev``, of its corpus, or of its corpora one after the other.

    They have the scores of other systems that the recipe names. With ``data.corpora`` the id of a
    trial begins with the alias of its corpus, as ``for:LA_T_1``, and so trials of several corpora
    differ; ``trial.get("corpus")`` is the alias.

    Args:
        bonafide_only: leave out spoofed trials, which then need not be there.

    Raises:
        InputError: if the corpus is not named, an audio file or a score is missing, or a class has
            no trials.
    """
    name, of_dev = ("training", False) if part == "train" else ("development", True)
    files = data.dev_scores if of_dev else data.train_scores
    trials = [trial for alias, own in data.parts(part).items() for trial in _named(_trials_of(own, part, alias), alias)]
    if bonafide_only:
        trials = [trial for trial in trials if trial.label == BONAFIDE]
        if not trials:
            raise InputError(f"the {name} set has no bona fide trials, which `train.loss=distillation` learns from")
    elif {trial.target for trial in trials} != {0, 1}:
        raise InputError(
            f"the {name} set needs bona fide and spoofed trials, it has {counted(len(trials), 'trial')}, of one class or none"
        )
    missing = [trial for trial in trials if not is_there(trial.audio_path())]
    if missing:
        key = "data.dev_root" if of_dev and (data.dev_corpus or data.dev_root) else "data.root"
        if data.corpora:
            key = f"data.corpora.{missing[0].get('corpus')}.root"
        raise InputError(
            f"{len(missing)} of {len(trials)} audio files of the {name} set are missing, the first of them "
            f"{missing[0].path}: complete the corpus or name its folder with `{key}`"
        )
    if not files:
        return trials
    for key in ("dev_scores" if of_dev else "train_scores", "range_scores"):
        for path in getattr(data, key):
            if not Path(path).is_file():
                raise InputError(
                    f"`data.{key}` names {path}, which is not there: give a score file of each of the other systems, in "
                    "the order of the recipe"
                )
    return with_system_scores(trials, files, score_ranges(data))


def _trials_of(data: DataConfig, part: Literal["train", "dev"], alias: str | None) -> list[Trial]:
    """List the labelled trials of ``part`` of one corpus; ``alias`` names it if it is one of several."""
    if data.root is None and corpora.get(data.corpus).home is None:
        key, what = ("data.root", "the corpus") if alias is None else (f"data.corpora.{alias}.root", f"corpus {alias}")
        raise InputError(f"where is {what}? name its folder with `{key}`")
    root = str(data.root or ".")
    try:
        if part == "train":
            return _labelled_trials(data.corpus, root, data.train_split, data.protocols, root, None)
        corpus, root = data.dev_corpus or data.corpus, data.dev_root or root
        return _labelled_trials(
            corpus, root, data.dev_split, _dev_protocols(data), data.dev_keys or root, data.dev_phase
        )
    except InputError as error:
        if alias is None:
            raise
        text = re.sub(r"`(?:data\.)?(root|protocols|dev_keys|dev_phase)`", rf"`data.corpora.{alias}.\1`", str(error))
        raise InputError(f"corpus {alias} of `data.corpora`: {text}") from error


def _named(trials: list[Trial], alias: str | None) -> list[Trial]:
    """Name the corpus of ``trials`` in their ids, and in ``extra`` in place of a column of that name."""
    if alias is None:
        return trials
    return [
        replace(
            trial,
            id=f"{alias}:{trial.id}",
            extra=(("corpus", alias), *(column for column in trial.extra if column[0] != "corpus")),
        )
        for trial in trials
    ]


def eer_methods(data: DataConfig) -> dict[str | None, str]:
    """The rule for the EER of each development corpus, by its alias; that of the only one by None."""
    return {alias: corpora.get(own.dev_corpus or own.corpus).eer_method for alias, own in data.parts("dev").items()}


def check_unseen(data: DataConfig, train_trials: Sequence[Trial], dev_trials: Sequence[Trial]) -> None:
    """Raise :class:`InputError` if all development trials of a corpus are training trials too.

    Trials of a class that is not trained on do not count.
    """
    classes = {trial.target for trial in train_trials}  # one-class distillation trains on bona fide speech alone
    which, trained = "" if len(classes) == 2 else "bona fide ", {trial.path for trial in train_trials}
    known: dict[str | None, list[Path | None]] = {}
    for trial in dev_trials:
        if trial.target in classes:
            known.setdefault(trial.get("corpus") if data.corpora else None, []).append(trial.path)
    for alias, paths in known.items():
        if trained.issuperset(paths):
            of = "" if alias is None else f" of {alias}"
            key = "data.root" if alias is None else f"data.corpora.{alias}.root"
            raise InputError(
                f"all {len(paths)} {which}development trials{of} are training trials too, so they would choose the epoch "
                "that knows them best: in a list of your own, fill a column 'split' with train and dev; or name another "
                f"list or folder with `{key}`"
            )


def _dev_protocols(data: DataConfig) -> str | None:
    """Where the protocols of the development set are, if not in the folder of its corpus."""
    return data.dev_protocols or (data.protocols if data.dev_corpus in (None, data.corpus) else None)


def _labelled_trials(
    name: str, root: str, split: str, protocols: str | None, keys: str, phase: str | None
) -> list[Trial]:
    """List the trials of ``split`` that have a label, which some corpora keep in a file of their own."""
    corpus = corpora.get(name)
    trials = corpus.trials(root, split, protocols=protocols)
    if not corpus.key_files:
        if phase is not None:
            raise InputError(f"{corpus.title} has no keys with phases: leave out `data.dev_phase`")
        if keys != root:
            raise InputError(f"the protocols of {corpus.title} hold its labels: leave out `data.dev_keys`")
        return trials
    labelled = {trial.id: trial for trial in corpus.keys(keys, phase)}
    return [replace(labelled[trial.id], path=trial.path) for trial in trials if trial.id in labelled]


def score_ranges(data: DataConfig) -> Ranges:
    """The ranges by which scores of other systems are normalised: of training, validation and later scoring."""
    return "test" if data.score_range == "test" else ranges_of(data.range_scores or data.train_scores)


def frame_labels(recipe: Recipe, part: Literal["train", "dev"], trials: Sequence[Trial]) -> dict[str, NDArray] | None:
    """Labels of the frames of 10 ms of ``trials``, by their ids; None if ``recipe`` trains on none.

    Args:
        part: ``train`` or ``dev``.

    Raises:
        InputError: if the corpus has no labels of segments, or none of these trials.
    """
    if not recipe.segments.resolutions:
        return None
    found, titles = dict[str, NDArray](), list[str]()
    labelled = False
    for alias, data in recipe.data.parts(part).items():
        corpus, labels = _segment_labels(data, part)
        titles.append(corpus.title)
        if labels is None:
            continue
        labelled = True
        found |= labels if alias is None else {f"{alias}:{id}": of_frames for id, of_frames in labels.items()}
    if not labelled:
        raise InputError(
            f"{' and '.join(titles)} has labels of whole utterances only: leave out `segments.resolutions`, or take a "
            "corpus with labels of segments, such as partialspoof"
        )
    labels = {trial.id: found[trial.id] for trial in trials if trial.id in found}
    if not labels:
        raise InputError(
            f"{' and '.join(titles)} has labels of segments, but of none of the {counted(len(trials), 'trial')} of {part}"
        )
    return labels


def _segment_labels(data: DataConfig, part: str) -> tuple[Corpus, dict[str, NDArray] | None]:
    """A corpus, and the labels of frames of its trials of ``part`` by id; None if it has no such labels."""
    of_dev = part == "dev"
    name, split = (data.dev_corpus or data.corpus, data.dev_split) if of_dev else (data.corpus, data.train_split)
    root, corpus = (data.dev_root if of_dev else None) or data.root, corpora.get(name)
    protocols = _dev_protocols(data) if of_dev else data.protocols
    if corpus.segment_labels is None:
        return corpus, None
    return corpus, corpus.segment_labels(root, split, 10, protocols=protocols)


class Examples(NamedTuple):
    """What a part of the corpus consists of: its trials, or the pieces of their recordings."""

    trials: list[Trial]
    #: first sample and number of samples of each piece; None if recordings are not cut
    excerpts: list[tuple[int, int]] | None = None
    #: one for each recording whose length cannot be known or is not that of its labels; it has no pieces
    errors: Sequence[str] = ()
    #: labels of the frames of 10 ms, by the id of a trial; None if frames are not trained on
    labels: Mapping[str, NDArray] | None = None


def examples(
    data: DataConfig,
    trials: list[Trial],
    part: str = "training",
    *,
    labels: Mapping[str, NDArray] | None = None,
    shown: bool = True,
) -> Examples:
    """List the examples that ``trials`` give: with ``data.crop: pieces`` the pieces of each.

    A piece is a trial of its own, ``LA_T_1000137[64000:128000]`` by its first sample and the one
    behind its last. Headers tell the lengths of most recordings.

    Args:
        part: name of the part, for the progress.
        labels: labels of the frames of the ``trials``, by id.
        shown: whether this process shows it.

    Raises:
        LostFile: if a file cannot be read at present.
        InputError: if a class of ``trials`` has no pieces.
    """
    if data.crop != "pieces" or data.num_samples is None:
        return Examples(trials, labels=labels)
    of_pieces: dict[str, NDArray] = {}
    cut, excerpts, errors = list[Trial](), list[tuple[int, int]](), list[str]()
    for trial in ProgressDisplay(trials, title=f"lengths of the {part} set", unit="file", delay=1.0, shown=shown):
        path = trial.audio_path()
        try:
            length = count_samples(path)
            if labels is not None and trial.id in labels:
                check_lengths(len(labels[trial.id]), length, trial.id)
        except InputError as error:
            check_readable(path)
            errors.append(str(error))
            continue
        if not length:
            errors.append(f"audio file {path} has no samples")
        for start, size in pieces(length, data.num_samples, data.min_piece):
            cut.append(replace(trial, id=f"{trial.id}[{start}:{start + size}]"))
            excerpts.append((start, size))
            if labels is not None and trial.id in labels:
                first, behind = start // LABEL_SAMPLES, -(-(start + size) // LABEL_SAMPLES)
                of_pieces[cut[-1].id] = labels[trial.id][first:behind]
    if {trial.target for trial in cut} != {trial.target for trial in trials}:
        raise InputError(
            f"the {part} set needs pieces of each class of recordings, but {len(errors):,} of {counted(len(trials), 'file')} cannot "
            f"be cut; the first of them: {errors[0]}"
        )
    return Examples(cut, excerpts, errors, None if labels is None else of_pieces)


def check_fills_a_batch(number: int, train: TrainConfig) -> None:
    """Raise :class:`InputError` if ``number`` training trials are fewer than a batch."""
    if number < train.batch_size:
        raise InputError(
            f"{number} training trials do not fill one batch of {train.batch_size}: lower `train.batch_size`"
        )


def training_batches(
    recipe: Recipe,
    training: Examples,
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
    balance = balance_of(data, training.trials)
    check_fills_a_batch(len(training.trials) if balance is None else balance.draws, recipe.train)
    recipe.check_noise()
    probability = augment.noise_probability or 0.0  # AugmentConfig leaves no None here
    musan, rir = (augment.musan, augment.rir) if probability else (None, None)  # else they are for conditions alone
    noise = NoiseAugmentation(musan, rir, probability, aligned=training.labels is not None)
    dataset = _dataset(
        recipe,
        training,
        "train",
        augment.algo,
        data.num_samples,
        stream,
        speed=augment.speed,
        noise=noise,
        conditions=training_conditions(recipe, training),
        fir=None if augment.fir is None else LowPass.of(**augment.fir),
        crop=data.crop,
        boundary_share=recipe.segments.boundary_share,
    )
    batches = EpochBatches(
        len(training.trials),
        recipe.train.batch_size,
        recipe.seed,
        True,
        rank=rank,
        world_size=world_size,
        accumulate=accumulate,
        chunk_samples=data.chunk_samples if data.crop == "dynamic" else None,
        lengths=_lengths(data, training),
        balance=balance,
    )
    return training_loader(dataset, batches, data.num_workers, pin_memory)


def training_conditions(recipe: Recipe, training: Examples) -> OneOf | None:
    """The conditions that training utterances meet; None if ``recipe`` names none.

    Raises:
        InputError: if a condition is unknown, cannot be had here or moves what labels of frames are
            about, or a folder is named that nothing uses.
    """
    augment = recipe.augment
    if not augment.conditions:
        return None
    speech = tuple(dict.fromkeys(trial.audio_path() for trial in training.trials))
    musan, rir = (None if folder is None else Path(folder) for folder in (augment.musan, augment.rir))
    sources = Sources(musan, rir, speech)
    found = [create_condition(text, sources) for text in augment.conditions]
    for text, condition in zip(augment.conditions, found):
        if condition.time_moves and (training.labels is not None or recipe.data.crop == "pieces"):
            other = "segments.resolutions" if training.labels is not None else "data.crop=pieces"
            raise InputError(
                f"condition '{text}' of `augment.conditions` changes the length or moves sounds in time, which "
                f"`{other}` does not follow: leave one of them out"
            )
    for folder in ("musan", "rir"):
        used = augment.noise_probability or any(folder in condition.needs for condition in found)
        if getattr(augment, folder) and not used:
            raise InputError(
                f"`augment.{folder}` changes nothing: no condition needs it, and `augment.noise_probability` is 0 beside "
                "`augment.conditions` unless it is given"
            )
    return OneOf(found, augment.condition_probability)


def development_batches(
    recipe: Recipe,
    development: Examples,
    stream: LegacyStream | None,
    *,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> dict[str, BatchLoader]:
    """Load process ``rank``'s batches of each pass over the development set.

    Only training changes the speed, adds noise, filters or takes another crop than the head. Whole
    utterances and pieces are in order of length, the longest first.
    """
    data = recipe.data
    whole = recipe.validation.whole_utterances or data.num_samples is None
    if whole:
        assert development.excerpts is None
        development = development._replace(trials=longest_first(development.trials))
    elif development.excerpts is not None:
        development = _longest_pieces_first(development)
    num_samples, batch_size = (None, 1) if whole else (data.num_samples, recipe.train.batch_size)
    loaders = {}
    for name in passes(recipe.augment, recipe.validation):
        algo = recipe.augment.algo if name == "w_aug" else 0
        dataset = _dataset(recipe, development, "dev", algo, num_samples, stream if algo else None)
        batches = EpochBatches(
            len(development.trials),
            batch_size,
            recipe.seed,
            False,
            rank=rank,
            world_size=world_size,
            lengths=_lengths(data, development),
        )
        loaders[name] = training_loader(dataset, batches, data.num_workers, pin_memory)
    return loaders


def _longest_pieces_first(found: Examples) -> Examples:
    assert found.excerpts is not None
    order = sorted(range(len(found.trials)), key=lambda index: -found.excerpts[index][1])  # type: ignore[index]
    trials, excerpts = [found.trials[i] for i in order], [found.excerpts[i] for i in order]
    return found._replace(trials=trials, excerpts=excerpts)


def _lengths(data: DataConfig, found: Examples) -> list[int] | None:
    """Give the lengths to which pieces are padded if alone, at least ``data.min_piece``."""
    return None if found.excerpts is None else [max(size, data.min_piece) for _, size in found.excerpts]


def _dataset(
    recipe: Recipe,
    found: Examples,
    part: str,
    algo: int,
    num_samples: int | None,
    stream: LegacyStream | None,
    *,
    speed: Sequence[float] | None = None,
    noise: NoiseAugmentation | None = None,
    conditions: OneOf | None = None,
    fir: LowPass | None = None,
    crop: str = "head",
    boundary_share: float | None = None,
) -> TrainingSet:
    parameters = RawBoostParameters.of(**recipe.augment.parameters)
    cache = AudioCache(recipe.data.cache) if recipe.data.cache else None
    return TrainingSet(
        found.trials,
        num_samples,
        algo,
        parameters,
        recipe.seed,
        part,
        speed=speed,
        noise=noise,
        conditions=conditions,
        fir=fir,
        crop=crop,
        cache=cache,
        stream=stream,
        excerpts=found.excerpts,
        labels=found.labels,
        boundary_share=boundary_share,
    )
