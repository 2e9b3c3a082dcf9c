"""Write the manual's page of the packaged recipes: what each trains, which result it aims at, and what it costs.

``python scripts/site/recipes.py docs/recipes.md`` writes the page again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import torch
from memory_estimate import training_memory

from nes2net.apps.experiments.description import load_experiment
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.data.registry import corpora
from nes2net.detector import Detector
from nes2net.lib.flops import count_flops
from nes2net.lib.terminal import markdown_table
from nes2net.models.distillation import TeacherStudent
from nes2net.models.published_results import PublishedRow, published_rows
from nes2net.training.recipes.reading import load_recipe, packaged_recipes
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.tasks.task import create_task

#: The recipe of which steps were measured.
MEASURED_RECIPE = "asvspoof2019_nes2net_x"
#: Precision → operations per second of these steps on an H200: 12 × 447·10⁹ in 215 ms and in 120 ms (docs/speed.md).
SPEED = {"fp32": 25e12, "bf16": 45e12}
GIBIBYTE = 2**30
PAGE = """\
# Recipes

A recipe says what is trained on what and how. Those of this page come with the package, so their
name is enough:

```bash
nes2net train {example} data.root=DB ssl_checkpoint=xlsr2_300m.pt
```

A recipe's file ends with the `sources` of its values; `nes2net info NAME` shows them.
`nes2net info recipe` explains the keys, and [Train](train.md) what a run writes. To see a recipe
with all its values, look into `recipe.yaml` in the run folder.

## What they train, and the result they aim at

EER in %, best (mean) of the runs that the source reports, for one checkpoint if nothing else is
said. None of these has been measured here, because the corpora were not at hand.
`nes2net experiment reproduce` lists the rows with their sources, trains and judges ([Published
systems](published.md#measure-a-published-figure-again)). [The last
table](published.md#how-they-are-measured-again) there says where a recipe assumes what its system's
authors did not publish.

{aims}

The two recipes of ASVspoof 5, those of CtrSVDD without SEA, and some of ASVspoof 2019, such as those
with LoRA, have no published EER that this recipe alone is known to give. All but MPIF-Res2Net need
the pre-training file of their front-end ([Install](install.md#the-front-ends-pre-training-files)), or
a teacher in the case of one-class distillation ([Adaptation and distillation](adaptation.md#one-class-distillation)). ASVspoof 5 needs the
noises too ([Data](data.md#published-corpora)).

## What they take

**All times and all memory of this table are estimates**, computed from the network and the recipe as
below. Only the steps of `{example}` were measured, on one H200. Measure on your
machine, then trust that:

```bash
nes2net bench --dtype bfloat16    # scoring
scripts/bench gpu speed           # training steps, their memory, and scoring
```

{takes}

- *Parameters* are those that are trained, front-end included. They are counted. Logistic regression
  trains the last layer alone, after one forward pass for each utterance, of 4 s here.
- *Utterances* are those of the training part by its official protocol, times the epochs; in one-class
  distillation the bona fide ones.
- *Operations* are those of matrix products and convolutions for one utterance in a training step:
  three times those of the forward pass, which are counted on the network (a multiply-add is two);
  of a front-end that LoRA adapts twice.
  Those of the teacher of a distillation count once.
- *Hours* are utterances × operations / speed. The speed is that of `{example}` in
  batches of {batch_size} on an H200 ([Speed](speed.md#gpus)): {fp32:.0f}·10¹² operations per second in float32
  (`train.precision=fp32`, the published one) and {bf16:.0f}·10¹² in bfloat16 (`train.precision=bf16`; `tf32` is as
  fast). A small network, such as MPIF-Res2Net, takes longer than this says, because it does not keep a
  GPU busy. Not counted are waiting for audio and validation, a third of a step for each utterance of the
  development part (twice that with `validation.augmented`). With validation, the three trainings of
  the experiment `nes2net_x_2019` take {experiment_fp32:.0f} hours in float32 and {experiment_bf16:.0f} in bfloat16.
- *Memory* is 16 bytes for each trained number (weight, gradient, Adam), 4 for each other one, and
  what the forward pass of the whole batch keeps for the backward pass in the recipe's precision,
  counted on the network (`scripts/site/memory_estimate.py`). The library's own memory, about 1 GB,
  and what a kernel needs while it computes come on top. If it is too much, `train.accumulate=2`
  halves the second part, and `train.activation_checkpointing=true` leaves little of it. For
  `{example}` in bfloat16, gradients and activations are {step_memory:.1f} GiB by this estimate, and
  {checkpointed_memory:.1f} with activation checkpointing; an H200 [took 4.4 and 2.8](speed.md#gpus). A run on a GPU ends
  with the peak of its memory.

This page is made from the recipes: `python scripts/site/recipes.py docs/recipes.md`.
"""


def page() -> str:
    """Write the page in Markdown."""
    recipes = {name.removesuffix(".yaml"): load_recipe(name) for name in packaged_recipes()}
    measured = recipes[MEASURED_RECIPE]
    experiment_hours = hours(measured, len(load_experiment("nes2net_x_2019").seeds) * with_validation(measured))
    return PAGE.format(
        example=MEASURED_RECIPE,
        aims=markdown_table(
            ["recipe", "trained on", "front-end, aggregation, back-end", "published EER"],
            [aim(name, recipe) for name, recipe in recipes.items()],
        ).replace("---:", "---"),
        takes=markdown_table(
            ["recipe", "parameters", "utterances", "10⁹ operations", "hours, fp32", "hours, bf16", "memory"],
            [cost(name, recipe) for name, recipe in recipes.items()],
        ),
        batch_size=measured.train.batch_size,
        fp32=SPEED["fp32"] / 1e12,
        bf16=SPEED["bf16"] / 1e12,
        experiment_fp32=experiment_hours["fp32"],
        experiment_bf16=experiment_hours["bf16"],
        step_memory=step_memory("train.precision=bf16"),
        checkpointed_memory=step_memory("train.precision=bf16", "train.activation_checkpointing=true"),
    )


def aim(name: str, recipe: Recipe) -> list[str]:
    """Make the row of a recipe in the first table: corpus, parts, and published EERs."""
    components = [component if isinstance(component, str) else component["name"] for component in recipe.model.values()]
    results = [result(row) for row in published_rows() if Path(row.recipe or "").stem == name and not row.overrides]
    return [
        f"`{name}`",
        corpora.get(recipe.data.corpora[0].name).title,
        ", ".join(f"`{component}`" for component in components),
        "<br>".join(results) or "–",
    ]


def result(row: PublishedRow) -> str:
    """Write a published EER: best and mean of the runs, the corpus, and how it was measured."""
    mean = "" if row.mean is None else f" ({row.percent(row.mean)})"
    values = [value for values in row.exclude.values() for value in values]
    left_out = f" without {', '.join(values)}" if values else ""
    phase = "" if row.phase == "eval" else f" {row.phase}"
    conditions = [f"mean of {row.average}"] if row.average > 1 else []
    conditions += ["selected with RawBoost"] if row.select == "val_loss_w_aug" else []
    tail = f" ({', '.join(conditions)})" if conditions else ""
    best = "–" if row.best is None else f"**{row.percent(row.best)}**"
    return f"{corpora.get(row.corpus).title}{phase}{left_out}{tail}: {best}{mean}"


def cost(name: str, recipe: Recipe) -> list[str]:
    """Make the row of a recipe in the second table: parameters, utterances, operations, hours, memory."""
    memory = training_memory(recipe)
    utterances = utterances_of(recipe, "train")
    hours_by_precision = hours(recipe, recipe.train.epochs * utterances)
    return [
        f"`{name}`",
        f"{memory.trained:,}",
        f"{recipe.train.epochs} × {utterances:,}",
        f"{operations_of(recipe) / 1e9:,.0f}",
        *(f"{hour:.0f}" if hour >= 10 else f"{hour:.2g}" for hour in hours_by_precision.values()),
        f"{memory.total / GIBIBYTE:.0f} GiB" if memory.activations else "–",
    ]


def utterances_of(recipe: Recipe, split: Literal["train", "dev"]) -> int:
    """Count the utterances that an epoch reads of ``split`` of the first corpus, by the official protocol."""
    (corpus, *_) = recipe.data.parts(split)
    counts = corpora.get(corpus.name).counts[corpus.split(split)]
    sizes = {(SPOOF, BONAFIDE): counts.trials, (BONAFIDE,): counts.bonafide, (SPOOF,): counts.spoof}
    return sizes[create_task(recipe).reads(split)]


def with_validation(recipe: Recipe) -> float:
    """Count the utterances of all epochs in training steps; a validated utterance is a third of one."""
    passes = 2 if recipe.validation.augmented else 1
    return recipe.train.epochs * (utterances_of(recipe, "train") + passes * utterances_of(recipe, "dev") / 3)


def hours(recipe: Recipe, utterances: float) -> dict[str, float]:
    """Estimate the hours that training steps of so many utterances take, by precision."""
    operations = utterances * operations_of(recipe)
    return {precision: operations / speed / 3600 for precision, speed in SPEED.items()}


def step_memory(*overrides: str) -> float:
    """Estimate the GiB of gradients and activations of MEASURED_RECIPE; weights and Adam's averages stay in memory."""
    memory = training_memory(load_recipe(MEASURED_RECIPE, overrides))
    gradients = memory.optimizer / 3  # the other two are Adam's averages
    return (gradients + memory.activations) / GIBIBYTE


_operations: dict[str, float] = {}


def operations_of(recipe: Recipe) -> float:
    """Count the operations of a training step for one utterance."""
    num_samples = recipe.data.num_samples or ASVSPOOF_SAMPLES
    frozen = recipe.train.freeze_frontend
    key = f"{recipe.model} {num_samples} {recipe.train.optimizer} {frozen} {recipe.train.adapt}"
    if key not in _operations:
        with torch.device("meta"):
            detector = Detector.from_config(recipe.model)
            inputs = [torch.zeros(1, num_samples)]
            if detector.num_scores:
                inputs.append(torch.zeros(1, detector.num_scores))
            forward = count_flops(detector, *inputs)
            _operations[key] = forward if recipe.train.optimizer == "logistic" else 3 * forward
            if frozen:  # no gradients: a third of the operations
                _operations[key] -= 2 * count_flops(detector.frontend, inputs[0])
            elif recipe.train.adapt is not None:  # none of the weights
                _operations[key] -= count_flops(detector.frontend, inputs[0])
            if isinstance(detector.frontend, TeacherStudent):
                _operations[key] -= 2 * count_flops(detector.frontend.model["teacher"], inputs[0])
    return _operations[key]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
