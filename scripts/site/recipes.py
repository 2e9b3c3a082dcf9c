"""Write the table of the packaged recipes into a page of the manual: what each trains, and what it costs.

``python scripts/site/recipes.py docs/published.md`` writes it again, between its marks, in a minute.
"""

from __future__ import annotations

import torch
from marked import filled, rewrite
from memory_estimate import training_memory

from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.data.registry import corpora
from nes2net.detector import Detector
from nes2net.lib.computing.flops import count_flops
from nes2net.lib.output.terminal import markdown_table
from nes2net.lib.parts.options import PARTS, ModelConfig, name_and_options
from nes2net.models.distillation import TeacherStudent
from nes2net.training.recipes.reading import load_recipe, packaged_recipes
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.tasks.task import create_task

#: The recipe of which steps were measured.
MEASURED_RECIPE = "asvspoof2019_nes2net_x"
#: Precision → operations per second of these steps on an H200: 12 × 447·10⁹ in 215 ms and in 120 ms (docs/speed.md).
SPEED = {"fp32": 25e12, "bf16": 45e12}
GIBIBYTE = 2**30
COLUMNS = (
    "recipe",
    "front-end + aggregation + back-end",
    "epochs × utterances",
    "training hours (float32, H200)",
    "GPU memory in GiB",
)
BLOCK = """\
{table}

- *utterances*: number of utterances in an epoch. One-class distillation reads only bona fide utterances, source tracing
  only spoofed ones.
- *training hours*: number of operations of all training steps, divided by {fp32:.0f}·10¹² operations a second. An
  [H200](speed.md#gpus) reaches this speed with batches of {batch_size} of `{example}` in float32, the published
  precision. In bfloat16 or TF32, training takes {bf16_percent:.0f} % of these hours.
- The hours do not include validation. Per utterance, validation takes a third of the time of training, or two thirds
  with `validation.augmented`.
- *GPU memory*, in the recipe's precision (–: not estimated): the sum of 16 bytes for each trained parameter, 4 bytes for
  every other parameter, and the activations of a batch. CUDA's libraries add about 1 GB.
- If your GPU has less memory, `train.accumulate=2` halves the activations, and
  `train.activation_checkpointing=true` removes most of the activations.
"""


def page(text: str) -> str:
    """Replace the table in the page ``text`` by the current table."""
    return filled(text, {"recipes": recipes_block()})


def recipes_block() -> str:
    """Write the table of all packaged recipes in Markdown, and the meaning of its columns."""
    recipes = {name.removesuffix(".yaml"): load_recipe(name) for name in packaged_recipes()}
    measured = recipes[MEASURED_RECIPE]
    rows = [recipe_row(name, recipe) for name, recipe in recipes.items()]
    return BLOCK.format(
        example=MEASURED_RECIPE,
        table=markdown_table(COLUMNS, rows).replace("---:", "---", 1),
        batch_size=measured.train.batch_size,
        fp32=SPEED["fp32"] / 1e12,
        bf16_percent=100 * SPEED["fp32"] / SPEED["bf16"],
    )


def recipe_row(name: str, recipe: Recipe) -> list[str]:
    """Make the cells of a recipe in the order of COLUMNS."""
    memory = training_memory(recipe)
    utterances = utterances_of(recipe)
    training_hours = hours(recipe, recipe.train.epochs * utterances)["fp32"]
    return [
        f"`{name}`",
        f"`{part_names(recipe.model)}`",
        f"{recipe.train.epochs}×{utterances:,}",
        f"{training_hours:.0f}" if training_hours >= 10 else f"{training_hours:.2g}",
        f"{memory.total / GIBIBYTE:.0f}" if memory.activations else "–",
    ]


def part_names(config: ModelConfig) -> str:
    """Write the names of the parts of a detector without their options."""
    return " + ".join(name_and_options(config, role)[0] for role in PARTS if config.get(role) is not None)


def utterances_of(recipe: Recipe) -> int:
    """Count the utterances that an epoch reads of the first training corpus, by the official protocol."""
    (corpus, *_) = recipe.data.parts("train")
    counts = corpora.get(corpus.name).counts[corpus.split("train")]
    sizes = {(SPOOF, BONAFIDE): counts.trials, (BONAFIDE,): counts.bonafide, (SPOOF,): counts.spoof}
    size = sizes[create_task(recipe).reads("train")]
    assert size is not None
    return size


def hours(recipe: Recipe, utterances: float) -> dict[str, float]:
    """Estimate the hours that training steps of so many utterances take, by precision."""
    operations = utterances * operations_of(recipe)
    return {precision: operations / speed / 3600 for precision, speed in SPEED.items()}


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
            elif detector.frontend.config.get("feature_grad_mult") == 0:  # none of the convolutions
                _operations[key] -= 2 * count_flops(detector.frontend.model.feature_extractor, inputs[0])
            if isinstance(detector.frontend, TeacherStudent):
                _operations[key] -= 2 * count_flops(detector.frontend.model["teacher"], inputs[0])
    return _operations[key]


if __name__ == "__main__":
    rewrite(page)
