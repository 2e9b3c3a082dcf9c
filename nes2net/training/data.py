"""The data of a run: its examples, and the batches of training and development.

In reading order: ``describe_data``; ``list_examples`` cuts recordings into pieces;
``training_batches`` and ``development_batches`` load batches of examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from numpy.typing import NDArray

from nes2net.data.audio.cache import AudioCache
from nes2net.data.audio.packed import blocks_of, size_of
from nes2net.data.audio.read import count_samples
from nes2net.data.audio.waveform import pieces
from nes2net.data.augment.legacy import LegacyStream
from nes2net.data.augment.rawboost import RawBoost
from nes2net.data.corpora.trial import Trial, Trials
from nes2net.data.registry import corpora
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.sheet import FactsDict
from nes2net.lib.web.remote import is_remote
from nes2net.training.augmentation import training_effects
from nes2net.training.balance import balance_of
from nes2net.training.card import describe_trials
from nes2net.training.dataset import (
    BatchLoader,
    Examples,
    TrainingSet,
    check_readable,
    training_loader,
)
from nes2net.training.frame_labels import FrameLabels, check_lengths
from nes2net.training.read_ahead import ReadAhead
from nes2net.training.recipes.data import DataConfig, SetName
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recipes.segments import LABEL_SAMPLES
from nes2net.training.recipes.train import TrainConfig
from nes2net.training.sampling import WHOLE, EpochBatches, ItemBlocks, StepShare, count_steps
from nes2net.training.validation import passes


def describe_data(data: DataConfig, part: SetName, trials: Trials) -> list[FactsDict]:
    """Describe the ``trials`` of ``part`` corpus by corpus, for provenance and model card."""
    described: list[FactsDict] = []
    for corpus_config in data.parts(part):
        prefix = data.prefix_of(corpus_config, part)
        own_trials = (trial for trial in trials if trial.id.startswith(prefix))
        corpus_trials = [replace(trial, id=trial.id.removeprefix(prefix)) for trial in own_trials]
        split = corpus_config.split(part)
        phase = corpus_config.dev_phase if part == "dev" else None
        facts = corpora.get(corpus_config.name).describe_trials(corpus_trials, split, phase)
        own_facts = {"alias": corpus_config.called, **describe_trials(corpus_trials)}
        described.append({"part": part, "corpus": corpus_config.name, "split": split, **facts, **own_facts})
    return described


def list_examples(
    data: DataConfig,
    trials: list[Trial],
    part: str = "training",
    *,
    labels: FrameLabels | None = None,
) -> Examples:
    """List the pieces of ``trials`` with ``data.crop: pieces``, otherwise the trials themselves.

    The id of a piece states its samples: ``LA_T_1000137[64000:128000]`` has samples 64000 to
    127999. Most lengths are read from headers. ``errors`` of the result names recordings that
    cannot be cut.

    Args:
        labels: labels of the frames of the ``trials``.

    Raises:
        LostFile: if a file cannot be read at present.
        InputError: if a class of ``trials`` has no pieces.
    """
    if data.crop != "pieces" or data.num_samples is None:
        return Examples(trials, labels=labels)
    labels_of_pieces: dict[str, NDArray] = {}
    cut_pieces = list[Trial]()
    excerpts = list[tuple[int, int]]()
    errors = list[str]()
    for trial in ProgressDisplay(trials, title=f"lengths of the {part} set", unit="file"):
        recording = trial.recording()
        frames = None if labels is None else labels.of_trial.get(trial.id)
        try:
            length = count_samples(recording)
            if frames is not None:
                check_lengths(len(frames), length, trial.id)
        except InputError as error:
            check_readable(recording)
            errors.append(str(error))
            continue
        if not length:
            errors.append(f"audio file {recording} has no samples")
        for start, size in pieces(length, data.num_samples, data.min_piece):
            piece = replace(trial, id=f"{trial.id}[{start}:{start + size}]")
            cut_pieces.append(piece)
            excerpts.append((start, size))
            if frames is not None:
                end = -(-(start + size) // LABEL_SAMPLES)  # rounded up
                labels_of_pieces[piece.id] = frames[start // LABEL_SAMPLES : end]
    if {piece.target for piece in cut_pieces} != {trial.target for trial in trials}:
        raise InputError(
            f"the {part} set needs pieces of each class of recordings, but {len(errors):,} of {pluralise(trials, 'file')} cannot "
            f"be cut: correct or replace them; the first: {errors[0]}"
        )
    if labels is not None:
        labels = replace(labels, of_trial=labels_of_pieces)
    return Examples(cut_pieces, excerpts, errors, labels)


def check_fills_a_batch(number: int, train: TrainConfig) -> None:
    """Raise :class:`InputError` if an epoch with this ``number`` of trials has no step."""
    if not count_steps(number, train.batch_size, train.drop_last):
        remedy = "lower `train.batch_size`"
        if not train.is_logistic and number:
            remedy += ", or set `train.drop_last=false`"
        raise InputError(f"{number} training trials do not fill one batch of {train.batch_size}: {remedy}")


def training_batches(
    recipe: Recipe,
    training: Examples,
    stream: LegacyStream | None,
    share: StepShare = WHOLE,
    *,
    pin_memory: bool = False,
) -> BatchLoader:
    """Make the loader of this process's training batches, each a part of a step.

    Args:
        stream: random stream of RawBoost with ``augment.rng: legacy``.
        pin_memory: put batches into pinned memory, from which a GPU copies quickly.

    Raises:
        InputError: if an epoch has fewer trials than a batch, or as :func:`training_effects` and
            :func:`balance_of`.
    """
    data = recipe.data
    balance = balance_of(data, training.trials)
    blocks = None
    ahead = None
    if data.order == "blocks":
        paths = [trial.audio_path() for trial in training.trials]
        blocks = ItemBlocks(blocks_of(paths), data.open_blocks)
        if balance is not None:
            balance.shuffle_items = blocks.shuffle
        if data.cache_bytes and any(map(is_remote, paths)):
            ahead = ReadAhead(paths, blocks.of_item)
    check_fills_a_batch(len(training.trials) if balance is None else balance.draws, recipe.train)
    dataset = TrainingSet(
        training,
        data.num_samples,
        training_effects(recipe, training.trials, stream, labelled=training.labels is not None),
        seed=recipe.seed,
        crop=data.crop,
        cache=AudioCache(data.cache) if data.cache else None,
    )
    batches = EpochBatches(
        len(training.trials),
        recipe.train.batch_size,
        recipe.seed,
        shuffle=True,
        share=share,
        chunk_samples=data.chunk_samples if data.crop == "dynamic" else None,
        lengths=_piece_lengths(data, training.excerpts),
        balance=balance,
        blocks=blocks,
        ahead=ahead,
        drop_last=recipe.train.drop_last,
    )
    return training_loader(dataset, batches, data.num_workers, pin_memory)


def development_batches(
    recipe: Recipe,
    development: Examples,
    stream: LegacyStream | None,
    share: StepShare = WHOLE,
    *,
    pin_memory: bool = False,
) -> dict[str, BatchLoader]:
    """Make a loader for each pass over the development set; ``share`` chooses this process's batches.

    RawBoost is the only effect, and crops are heads. Whole utterances and pieces are sorted by
    length, longest first.

    Returns:
        Name of a pass (:func:`nes2net.training.validation.passes`) → its loader.
    """
    data = recipe.data
    excerpts = development.excerpts
    whole_utterances = recipe.validation.whole_utterances or data.num_samples is None
    if whole_utterances and data.order == "random":  # sizes of files in blocks would cost as much as reading them
        assert excerpts is None  # Run.examples makes pieces only if utterances are cropped
        # The largest file comes first: a lack of memory then shows at once.
        trials = sorted(development.trials, key=lambda trial: -size_of(trial.audio_path()))
        development = development._replace(trials=trials)
    elif excerpts is not None:
        pairs = sorted(zip(development.trials, excerpts), key=lambda pair: -pair[1][1])
        sorted_trials, sorted_excerpts = zip(*pairs)
        development = development._replace(trials=sorted_trials, excerpts=sorted_excerpts)
    num_samples = None if whole_utterances else data.num_samples
    batch_size = 1 if whole_utterances else recipe.validation_batch_size
    loaders = {}
    for name in passes(recipe.augment, recipe.validation):
        effects = []
        if name == "w_aug":
            effects.append(RawBoost(recipe.augment.algo, parameters=recipe.augment.parameters, stream=stream))
        dataset = TrainingSet(
            development,
            num_samples,
            effects,
            seed=recipe.seed,
            part="dev",
            cache=AudioCache(data.cache) if data.cache else None,
        )
        batches = EpochBatches(
            len(development.trials),
            batch_size,
            recipe.seed,
            shuffle=False,
            share=share,
            lengths=_piece_lengths(data, development.excerpts),
        )
        loaders[name] = training_loader(dataset, batches, data.num_workers, pin_memory)
    return loaders


def _piece_lengths(data: DataConfig, excerpts: Sequence[tuple[int, int]] | None) -> list[int] | None:
    return None if excerpts is None else [max(size, data.min_piece) for _, size in excerpts]
