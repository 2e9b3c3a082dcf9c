"""Comparison of measured and published conditions: trials, architecture and ASV system."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nes2net.corpora.corpus import Corpus
from nes2net.corpora.protocol import canonical_phase
from nes2net.detector import Detector
from nes2net.errors import counted, listed
from nes2net.evaluation.evaluate import Evaluation
from nes2net.experiments.published import PublishedRow
from nes2net.published_models import PUBLISHED_MODELS
from nes2net.recipes.reading import PACKAGED, load_recipe
from nes2net.registry import Registry, aggregations, backends, corpora, frontends

_PARTS: dict[str, tuple[str, Registry[Any]]] = {
    "frontend": ("front-end", frontends),
    "aggregation": ("aggregation", aggregations),
    "backend": ("back-end", backends),
}
# Options that no score depends on: the source of the weights, settings of training, and sizes of
# tensors that only pre-training uses.
_IRRELEVANT = frozenset(
    "checkpoint engine dropout attention_dropout activation_dropout dropout_input encoder_layerdrop feature_grad_mult "
    "pretraining_heads final_dim latent_vars latent_groups".split()
)


@dataclass
class Conditions:
    """The differences between a measurement and a published one, and what could not be checked.

    Each is one text.
    """

    differences: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


def compare_conditions(row: PublishedRow, config: dict[str, Any], evaluation: Evaluation, keys: Path) -> Conditions:
    """Compare the conditions of a measurement with those of ``row``.

    Args:
        config: The architecture of the detector, :attr:`nes2net.detector.Detector.config`.
        evaluation: The evaluation of its scores.
        keys: The file or folder of the labels.

    Raises:
        InputError: if the keys or the ASV scores cannot be read.
    """
    conditions = Conditions()
    if row.protocol == "unknown":
        conditions.unchecked.append("the length of what is scored: the source does not say; here whole utterances")
    if evaluation.is_partial:
        evaluated = evaluation.num_bonafide + evaluation.num_spoof
        conditions.differences.append(
            f"PARTIAL: rests on {evaluated:,} of {counted(evaluation.num_expected, 'trial')}; {evaluation.left_out}"
        )
    corpus, phase = corpora.get(row.corpus), canonical_phase(row.phase)
    _compare_trials(conditions, corpus, phase, keys)
    _compare_architecture(conditions, row, config)
    if row.min_tdcf is not None and evaluation.min_tdcf is not None:
        _compare_asv_scores(conditions, corpus, phase, keys)
    return conditions


def published_architecture(row: PublishedRow) -> dict[str, Any]:
    """Return the architecture of ``row.model``, as ``Detector.from_config`` takes it.

    That of a back-end is the one of the row's recipe, unless the row names a front-end.

    Raises:
        InputError: if the recipe cannot be read.
    """
    if row.model in PUBLISHED_MODELS:
        return PUBLISHED_MODELS[row.model]
    if row.recipe is not None and row.frontend is None:
        return load_recipe(recipe_path(row.recipe), row.overrides).model
    return {"frontend": row.frontend or "xlsr_300m", "aggregation": "last", "backend": row.model}


def recipe_path(recipe: str) -> Path:
    """Find the ``recipe`` of a row: a packaged one by the name of its file, or any file."""
    packaged = PACKAGED / Path(recipe).name
    return packaged if packaged.is_file() else Path(recipe)


def _compare_trials(conditions: Conditions, corpus: Corpus, phase: str, keys: Path) -> None:
    if corpus.labelled_counts(phase) is None:
        conditions.unchecked.append(f"the trials: the official numbers of {corpus.title}, phase {phase}, are not known")
    elif differences := corpus.differences_from_official(corpus.keys(keys, phase), phase):
        text = f"the trials are not the official ones of {corpus.title}, phase {phase}: {listed(differences)}"
        conditions.differences.append(text)


def _compare_architecture(conditions: Conditions, row: PublishedRow, config: dict[str, Any]) -> None:
    if row.model is None:
        conditions.unchecked.append("the architecture: the row names no model")
        return
    with torch.device("meta"):
        expected = _options(Detector.from_config(published_architecture(row)).config)
    found = _options(config)
    differences = []
    for part, (role, _) in _PARTS.items():
        name, published_name = found[part].pop("name"), expected[part].pop("name")
        if name != published_name:
            differences.append(f"{role} {name} instead of {published_name}")
            continue
        differences += [
            f"{role} {option} {found[part].get(option)} instead of {value}"
            for option, value in expected[part].items()
            if found[part].get(option) != value
        ]
    if differences:
        conditions.differences.append(f"the architecture is not that of {row.model}: {listed(differences)}")


def _compare_asv_scores(conditions: Conditions, corpus: Corpus, phase: str, keys: Path) -> None:
    official = corpus.asv_counts.get(phase)
    if official is None or corpus.asv_scores is None:
        text = f"the speaker-verification scores: the official numbers of {corpus.title}, phase {phase}, are not known"
        conditions.unchecked.append(text)
        return
    found = tuple(len(scores) for scores in corpus.asv_scores(keys, phase))
    if found != official:
        there, expected = (
            f"{target:,} target, {other:,} nontarget, {spoof:,} spoof" for target, other, spoof in (found, official)
        )
        text = f"the speaker-verification scores are not the organisers': {there} instead of {expected}"
        conditions.differences.append(text)


def _options(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Collect the name and the options of each part that scores depend on, as JSON has them."""
    options = {}
    for part, (_, registry) in _PARTS.items():
        parameters = inspect.signature(registry.get(config[part]["name"])).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        options[part] = json.loads(
            json.dumps({name: value for name, value in {**defaults, **config[part]}.items() if name not in _IRRELEVANT})
        )
    return options
