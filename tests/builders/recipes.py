"""Recipes of short runs on the corpus of a few seconds."""

from pathlib import Path
from typing import Any

from builders.small_parts import SPECTRUM
from nes2net.training.recipes.recipe import Recipe, recipe_from_dict

_BACKEND = {"name": "asp_mlp", "hidden_dim": 8}
_MODEL = {"frontend": SPECTRUM, "aggregation": "last", "backend": _BACKEND}
#: A run of two epochs of three steps on a spectrum.
SPECTRAL_RUN: dict[str, Any] = {"name": "tiny", "model": _MODEL}
SPECTRAL_RUN["data"] = {"num_samples": 4000}
SPECTRAL_RUN["train"] = {"epochs": 2}


def short_run(corpus: Path, folder: Path, values: dict[str, Any], changes: dict[str, Any]) -> Recipe:
    """A recipe of ``values``, with ``changes`` merged into their sections, that writes to ``folder``.

    Batches of four utterances of 8,000 samples are read in this process, for three epochs.
    """
    data = {"root": str(corpus), "num_samples": 8000, "num_workers": 0}
    train = {"epochs": 3, "batch_size": 4, "lr": 1e-3}
    folders = {"output": str(folder / "models"), "logs": str(folder / "logs")}
    merged = {"data": data, "train": train, **folders}
    for section in (values, changes):
        for key, value in section.items():
            merged[key] = {**merged[key], **value} if isinstance(merged.get(key), dict) else value
    return recipe_from_dict(merged)
