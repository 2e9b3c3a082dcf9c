"""The manual's page of the packaged recipes: what each trains, what it aims at, and what it takes.

``python scripts/site/recipes.py docs/recipes.md`` writes the page anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from nes2net.audio.crop import ASVSPOOF_SAMPLES
from nes2net.detector import Detector
from nes2net.distillation import TeacherStudent
from nes2net.experiments.published import PublishedRow, published_rows
from nes2net.inspect.info import count_flops
from nes2net.machine.terminal import markdown_table
from nes2net.recipes.recipe import Recipe, load_recipe, packaged_recipes
from nes2net.registry import corpora

#: Operations per second that a training step is assumed to reach: a fifth of an H100's or H200's dense peak in
#: bfloat16 (989·10¹²), two fifths of its peak in float32 (67·10¹²).
SPEED = {"bf16": 200e12, "fp32": 27e12}
#: Bytes for each trained number: weight, gradient and the two averages of Adam, in float32.
BYTES = 16

PAGE = """\
# Recipes

A recipe says what is trained on what and how. Those of this page come with the package, so their
name is enough:

```bash
nes2net train {example} data.root=DB ssl_checkpoint=xlsr2_300m.pt
```

Each value in a recipe's file has its source beside it. [Recipe keys](recipe-keys.md) explains the
keys, and [Train](train.md) what a run writes. To see a recipe with all its values, look into
`recipe.yaml` in the run folder.

## What they train, and the result they aim at

EER in %, best (mean) of the runs that the source reports, for one checkpoint if nothing else is
said. None of these has been measured here, because that takes the corpora and a GPU. `nes2net
reproduce` lists the rows with their sources, trains and judges ([Reproduce](reproduce.md)).
[Published results](results.md) says where a recipe assumes what its system's authors did not publish.

{aims}

The two recipes of ASVspoof 5, those of CtrSVDD without SEA, and some of ASVspoof 2019 have no
published EER that this recipe alone is known to give. All but MPIF-Res2Net need the pre-training
file of their front-end ([Install](install.md#the-front-ends-pre-training-files)), or a teacher in
the case of one-class distillation ([Train](train.md#one-class-distillation)). ASVspoof 5 needs the
noises too ([Data](own-data.md#published-corpora)).

## What they take

**All times and all memory of this table are estimates.** They are computed from the network and the
recipe, as below, and nothing of them was measured. Measure them on your machine, then trust that:

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
  three times those of the forward pass, which are counted on the network (a multiply-add is two).
  Those of the teacher of a distillation count once.
- *Hours* are utterances × operations / speed. The speed is assumed: {fp32:.0f}·10¹² operations per
  second in float32 (`train.precision=fp32`, the published one) and {bf16:.0f}·10¹² in bfloat16
  (`train.precision=bf16`), as an H100 or H200 may reach. An A100 takes two to three times as long,
  and a small network, such as MPIF-Res2Net, longer than this says, because it does not keep a GPU
  busy. Not counted are waiting for audio and validation, a third of a step for each utterance of the
  development part (twice that with `validation.augmented`).
- *Memory* is {bytes} bytes for each trained number (weight, gradient, Adam) and what the forward pass
  of the whole batch keeps for the backward pass, in float32, counted on the network. The library's
  own memory, about 1 GB, comes on top. If it is too much, `train.accumulate=2` halves the second
  part, and `train.activation_checkpointing=true` leaves little of it.

This page is made from the recipes: `python scripts/site/recipes.py docs/recipes.md`.
"""


def page() -> str:
    """Write the page in Markdown."""
    recipes = {name.removesuffix(".yaml"): load_recipe(name) for name in packaged_recipes()}
    return PAGE.format(
        example="asvspoof2019_nes2net_x",
        aims=markdown_table(
            ["recipe", "trained on", "front-end, aggregation, back-end", "published EER"],
            [aim(name, recipe) for name, recipe in recipes.items()],
        ).replace("---:", "---"),
        takes=markdown_table(
            ["recipe", "parameters", "utterances", "10⁹ operations", "hours, fp32", "hours, bf16", "memory"],
            [cost(name, recipe) for name, recipe in recipes.items()],
        ),
        fp32=SPEED["fp32"] / 1e12,
        bf16=SPEED["bf16"] / 1e12,
        bytes=BYTES,
    )


def aim(name: str, recipe: Recipe) -> list[str]:
    """The row of a recipe in the first table."""
    parts = [part if isinstance(part, str) else part["name"] for part in recipe.model.values()]
    results = [result(row) for row in published_rows() if Path(row.recipe or "").stem == name and not row.overrides]
    return [
        f"`{name}`",
        corpora.get(recipe.data.corpus).title,
        ", ".join(f"`{part}`" for part in parts),
        "<br>".join(results) or "–",
    ]


def result(row: PublishedRow) -> str:
    """A published figure, with the corpus and what is left out of it."""
    mean = "" if row.mean is None else f" ({row.percent(row.mean)})"
    values = [value for values in row.exclude.values() for value in values]
    left_out = f" without {', '.join(values)}" if values else ""
    part = "" if row.phase == "eval" else f" {row.phase}"
    how = [f"mean of {row.average}"] if row.average > 1 else []
    how += ["selected with RawBoost"] if row.select == "val_loss_w_aug" else []
    tail = f" ({', '.join(how)})" if how else ""
    best = "–" if row.best is None else f"**{row.percent(row.best)}**"
    return f"{corpora.get(row.corpus).title}{part}{left_out}{tail}: {best}{mean}"


def cost(name: str, recipe: Recipe) -> list[str]:
    """The row of a recipe in the second table."""
    parameters, frozen, operations, kept = network(repr(recipe.model), recipe)
    counts = corpora.get(recipe.data.corpus).counts[recipe.data.train_split]
    utterances = (counts.bonafide if recipe.train.loss == "distillation" else counts.trials) * recipe.train.epochs
    hours = [utterances * operations / speed / 3600 for speed in (SPEED["fp32"], SPEED["bf16"])]
    memory = BYTES * parameters + 4 * frozen + kept * recipe.train.batch_size
    return [
        f"`{name}`", f"{parameters:,}", f"{recipe.train.epochs} × {utterances // recipe.train.epochs:,}", f"{operations / 1e9:,.0f}",
        *(f"{hour:.0f}" if hour >= 10 else f"{hour:.2g}" for hour in hours), f"{memory / 2**30:.0f} GiB" if kept else "–",
    ]  # fmt: skip


_networks: dict[str, tuple[int, int, float, float]] = {}


def network(key: str, recipe: Recipe) -> tuple[int, int, float, float]:
    """Trained and frozen parameters, operations of a training step, and bytes it keeps, both for one utterance."""
    num_samples = recipe.data.num_samples or ASVSPOOF_SAMPLES
    key += f"{num_samples} {recipe.train.optimizer} {recipe.train.freeze_frontend}"
    if key not in _networks:
        with torch.device("meta"):
            detector = Detector.from_config(recipe.model)
            inputs = [torch.zeros(2, num_samples)]
            if detector.num_scores:
                inputs.append(torch.zeros(2, detector.num_scores))
            forward = count_flops(detector, *(x[:1] for x in inputs))
            if recipe.train.optimizer == "logistic":  # one forward pass; the last layer alone is trained
                trained = sum(parameter.numel() for parameter in detector.backend.last_layer.parameters())
                _networks[key] = trained, 0, forward, 0.0
                return _networks[key]
            if recipe.train.freeze_frontend:
                detector.frontend.requires_grad_(False)
            parameters = sum(parameter.numel() for parameter in detector.parameters() if parameter.requires_grad)
            operations, frozen = 3 * forward, 0
            if recipe.train.freeze_frontend:  # no gradients: a third of the operations
                operations -= 2 * count_flops(detector.frontend, inputs[0][:1])
                frozen = sum(parameter.numel() for parameter in detector.frontend.parameters())
            if isinstance(detector.frontend, TeacherStudent):
                operations -= 2 * count_flops(detector.frontend.model["teacher"], inputs[0][:1])
            _networks[key] = parameters, frozen, operations, kept_bytes(detector, inputs) / 2
    return _networks[key]


def kept_bytes(detector: nn.Module, inputs: list[Tensor]) -> int:
    """Bytes that the forward pass keeps for the backward pass, without the parameters."""
    own = {id(parameter) for parameter in detector.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if id(tensor) not in own and id(tensor._base) not in own:
            kept[id(tensor if tensor._base is None else tensor._base)] = (
                tensor if tensor._base is None else tensor._base
            )
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        detector.train()(*inputs)
    return sum(tensor.nbytes for tensor in kept.values())


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
