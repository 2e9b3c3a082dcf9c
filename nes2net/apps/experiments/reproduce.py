"""Reproduce a published result: train if necessary, score, evaluate and compare."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nes2net.actions.evaluation import evaluate
from nes2net.actions.scoring import score_corpus
from nes2net.apps.experiments.missing import Paths, recipe_path, recipe_with_folders
from nes2net.apps.experiments.settings import Machine
from nes2net.data.corpora.part import Part
from nes2net.data.corpora.protocol import canonical_phase
from nes2net.data.registry import corpora
from nes2net.detector import Detector
from nes2net.evaluation.page import Pages
from nes2net.evaluation.result import Result
from nes2net.evaluation.tables import EER, column
from nes2net.lib.errors import InputError, join_names
from nes2net.lib.parts.options import PARTS, Options
from nes2net.lib.storage.files import path_below
from nes2net.models.frontends.base import TRAINING_OPTIONS
from nes2net.models.provenance import Provenance
from nes2net.models.published_models import PUBLISHED_MODELS
from nes2net.models.published_results import PublishedRow
from nes2net.models.registry import PARTS as REGISTRIES
from nes2net.scoring.corpus import ScoringSettings
from nes2net.scoring.kernel import check_takes_audio_alone
from nes2net.training.averaging import average
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.run import train
from nes2net.training.selection import best_epochs, saved_epochs

_REGISTRIES = dict(zip(PARTS, REGISTRIES))
# Options that change no score: the source of the weights, settings of training, and sizes of tensors that only
# pre-training uses.
_WITHOUT_EFFECT = TRAINING_OPTIONS.union(
    "checkpoint engine pretraining_heads final_dim latent_vars latent_groups".split()
)


@dataclass
class Conditions:
    """What a comparison of conditions found, in sentences. There is a verdict only without ``differences``."""

    differences: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


def compare_conditions(row: PublishedRow, config: Options, evaluation: Result, keys: Path) -> Conditions:
    """Compare the conditions of a measurement with those of ``row``.

    Raises:
        InputError: if the keys or the ASV scores cannot be read.
    """
    conditions = Conditions()
    if row.protocol == "unknown":
        conditions.unchecked.append("the score length: the source does not state it; here whole utterances")
    if partial := evaluation.header["systems"][0]["partial"]:
        conditions.differences.append(partial)
    corpus = corpora.get(row.corpus)
    phase = canonical_phase(row.phase)
    if phase not in (corpus.key_counts or corpus.counts):
        conditions.unchecked.append(f"the trials: the official numbers of {corpus.title}, phase {phase}, are not known")
    elif differences := corpus.differences_from_official(corpus.keys(keys, phase), phase):
        text = f"the trials are not the official ones of {corpus.title}, phase {phase}: {join_names(differences)}"
        conditions.differences.append(text)
    differences_by_model = {}
    for name, architecture in published_architectures(row).items():
        with torch.device("meta"):
            published_config = Detector.from_config(architecture).config
        differences_by_model[name] = _architecture_differences(config, published_config)
    if not differences_by_model:
        conditions.unchecked.append("the architecture: the row names no model")
    elif all(differences_by_model.values()):
        name, differences = min(differences_by_model.items(), key=lambda item: len(item[1]))
        conditions.differences.append(f"the architecture differs from {name}: {join_names(differences)}")
    if row.min_tdcf is None or evaluation.rows("systems")[0]["min_tdcf"].value is None:
        return conditions
    official = corpus.asv_counts.get(phase)
    if official is None or corpus.asv_scores is None:
        text = f"the speaker-verification scores: the official numbers of {corpus.title}, phase {phase}, are not known"
        conditions.unchecked.append(text)
    else:
        counts = tuple(map(len, corpus.asv_scores(keys, phase)))
        if counts != official:
            numbers = f"{_asv_numbers(counts)} instead of {_asv_numbers(official)}"
            conditions.differences.append(f"the speaker-verification scores are not the organisers': {numbers}")
    return conditions


def compare_weights(row: PublishedRow, provenance: Provenance, conditions: Conditions) -> None:
    """Add differences between the origins of the weights to ``conditions``."""
    if provenance.recipe is None and row.released is not None:
        if row.released:
            conditions.unchecked.append("whether the checkpoint is the file that was released for this row")
        else:
            text = "no checkpoint of this row was released, and this file records no training"
            conditions.differences.append(f"{text}: its figure need not be the row's")
    average = provenance.facts.get("average")
    if isinstance(average, dict):
        digests = average.get("sha256")
        count = len(digests) if isinstance(digests, list) else 0
        measured = _average_words(count, average.get("mode"))
    elif "epoch" in provenance.training:
        measured = _average_words(1)
    else:
        return
    published = _average_words(row.averaged or row.average, row.average_mode)
    if measured != published:
        conditions.differences.append(f"the checkpoint is {measured} instead of {published}")


def _average_words(count: int, mode: Any = "mean") -> str:
    if count == 1:
        return "a single epoch"
    if mode == "legacy":
        return f"{count} checkpoints averaged as the published code does, without the first, with the second twice (deviation 1)"
    return f"the true mean of {count} checkpoints"


def _asv_numbers(counts: tuple[int, ...]) -> str:
    target, nontarget, spoof = counts
    return f"{target:,} target, {nontarget:,} nontarget, {spoof:,} spoof"


def _architecture_differences(config: Options, published_config: Options) -> list[str]:
    measured = _relevant_options(config)
    published = _relevant_options(published_config)
    differences = []
    for role, options in published.items():
        kind = _REGISTRIES[role].kind
        name = measured[role]["name"]
        if name != options["name"]:
            differences.append(f"{kind} {name} instead of {options['name']}")
            continue
        for option, value in options.items():
            if measured[role].get(option) != value:
                differences.append(f"{kind} {option} {measured[role].get(option)} instead of {value}")
    return differences


def published_architectures(row: PublishedRow) -> dict[str, Options]:
    """Return name → architecture, as ``Detector.from_config`` takes it.

    A back-end gets the front-end of the row. If the row has none, the architecture of its recipe is
    returned; without a recipe, the front-end is XLS-R 300M.

    Raises:
        InputError: if the recipe cannot be read.
    """
    architectures: dict[str, Options] = {}
    for name in row.models:
        if name in PUBLISHED_MODELS:
            architectures[name] = PUBLISHED_MODELS[name]
        elif row.recipe is not None and row.frontend is None:
            architectures[name] = load_recipe(recipe_path(row.recipe), row.overrides).model
        else:
            architectures[name] = {"frontend": row.frontend or "xlsr_300m", "aggregation": "last", "backend": name}
    return architectures


def _relevant_options(config: Options) -> dict[str, Options]:
    """Omit options that change no score; values are JSON types."""
    options = {}
    for role, registry in _REGISTRIES.items():
        parameters = inspect.signature(registry.get(config[role]["name"])).parameters.values()
        values = {p.name: p.default for p in parameters if p.default is not p.empty} | config[role]
        relevant = {name: value for name, value in values.items() if name not in _WITHOUT_EFFECT}
        # As read from a file: tuples become lists, or equal options would seem to differ.
        options[role] = json.loads(json.dumps(relevant))
    return options


@dataclass(frozen=True)
class Reproduction:
    row: PublishedRow
    result: Result
    conditions: Conditions

    @property
    def is_identical(self) -> bool:
        """Whether the conditions are the published ones, and the EER is, as printed, the best or the mean."""
        eer = self.row.percent(100 * self.result.rows("systems")[0].value("eer"))
        published = [self.row.percent(self.row.best), self.row.percent(self.row.mean)]
        return eer in published and not self.conditions.differences

    def text(self) -> str:
        """Describe the published and the measured figures, with a verdict if no condition differs."""
        row = self.row
        figures_of_system = self.result.rows("systems")[0]
        interval = figures_of_system["eer"].interval
        assert interval is not None  # an EER is always computed with its interval
        low, high = (100 * bound for bound in interval)
        published = {"best": row.best, "mean": row.mean}
        figures = "   ".join(f"{name} {row.percent(value)} %" for name, value in published.items() if value is not None)
        lines = [
            f"published  {figures}   ({row.metric} on {row.test}, {row.source})",
            f"measured   {EER.write(figures_of_system['eer'].value)} %   95 % interval {low:.2f} to {high:.2f} %   "
            f"({figures_of_system.value('num_bonafide')} bona fide and {figures_of_system.value('num_spoof')} spoofed "
            f"trials, bootstrap over {self.result.header['systems'][0]['interval_over']})",
        ]
        if row.min_tdcf is not None:
            measured = column("min_tdcf").write(figures_of_system["min_tdcf"].value)
            lines.append(f"min t-DCF  published {row.min_tdcf:.4f}   measured {measured}")
        if row.legacy_train_mode:
            lines.append("scored in train mode, as the published figure was (deviation 2)")
        if row.average > 1:
            lines.append(f"the published figure is of {_average_words(row.average, row.average_mode)}")
        lines += [f"not checked: {text}" for text in self.conditions.unchecked]
        if self.conditions.differences:
            lines.append("no verdict, for measured and published figures cannot be compared:")
            lines += [f"- {difference}" for difference in self.conditions.differences]
            return "\n".join(lines)
        for name, value in (("single best", row.best), ("mean over runs", row.mean)):
            if value is not None:
                verdict = judge(value, low, high, row.digits)
                lines.append(f"against the published {name}, {row.percent(value)} %: {verdict}")
        lines.append(
            "The interval covers the choice of trials, not the choice of seeds: another training run may differ by "
            "more."
        )
        return "\n".join(lines)


def reproduce(
    row: PublishedRow,
    paths: Paths,
    machine: Machine,
    *,
    allow_partial: bool = False,
    num_resamples: int = 1000,
) -> Reproduction:
    """Train if there is no checkpoint, score, evaluate, and compare the conditions with ``row``.

    Results go to ``paths.out``. Finished work is not repeated; interrupted work resumes.

    Args:
        allow_partial: evaluate even if scores are missing.

    Raises:
        InputError: if an input is missing (see :func:`find_missing`) or malformed, or if
            ``paths.out`` holds another run.
    """
    # Train if there is no checkpoint. Of a run, take the epoch or the average that the row names.
    checkpoint = paths.checkpoint
    if checkpoint is None:
        path = paths.recipe_of(row)
        if path is None:
            raise InputError(f"there is no recipe to train {row.id}: add `checkpoint` or `recipe`")
        recipe = recipe_with_folders(path, row, paths)
        training = path_below(paths.out.parent, "training")
        recipe.output = str(training)
        recipe.logs = str(path_below(training, "logs"))
        checkpoint = train(recipe, machine.device)
    if saved_epochs(checkpoint):
        epochs = best_epochs(checkpoint, row.average, row.select)
        if len(epochs) > 1:
            checkpoint = average(checkpoint, epochs, row.average_mode).path
        else:
            checkpoint = checkpoint / f"epoch_{epochs[0]}.pth"
    scores = paths.out / "scores.txt"
    config = next(iter(published_architectures(row).values()), None)  # used if the checkpoint has no configuration
    detector = Detector.from_pretrained(checkpoint, machine.device, config=config)
    check_takes_audio_alone(detector)
    score_corpus(
        detector,
        Part(row.corpus, paths.root(row.corpus), row.split, paths.protocols),
        scores,
        checkpoint=checkpoint,
        num_samples=row.samples if row.protocol == "4sec" else None,
        settings=ScoringSettings(
            batch_size=machine.batch_size,
            num_workers=machine.num_workers,
            overwrite=machine.overwrite,
            legacy_train_mode=row.legacy_train_mode,
        ),
    )
    result = evaluate(
        row.corpus,
        [scores],
        paths.key(row),
        row.phase,
        allow_partial=allow_partial,
        exclude=row.exclude,
        num_resamples=num_resamples,
        names=[row.system],
    )
    Pages(paths.out / "report.html", paths.out / "report.json").write(result)
    conditions = compare_conditions(row, detector.config, result, paths.key(row))
    compare_weights(row, detector.provenance, conditions)
    return Reproduction(row, result, conditions)


def judge(published: float, low: float, high: float, digits: int = 2) -> str:
    """Say whether a published figure (in %) lies within, above or below a measured interval (in %).

    The published figure is rounded to ``digits`` decimal places.

    >>> judge(1.65, 1.50, 1.80), judge(1.65, 1.10, 1.40), judge(1.65, 1.654, 1.9)
    ('within the interval', 'better: the whole interval lies below it', 'within the interval')
    """
    rounding = 0.5 * 10**-digits
    if published + rounding < low:
        return "worse: the whole interval lies above it"
    if published - rounding > high:
        return "better: the whole interval lies below it"
    return "within the interval"
