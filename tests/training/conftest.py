"""A recipe that trains in a moment."""

import pytest

from nes2net.recipes.recipe import recipe_from_dict


@pytest.fixture
def recipe(corpus, small_model, tmp_path):
    """Builds a recipe of three epochs of three steps; mappings given by name are merged in."""

    def make(**changes):
        values = {
            "name": "tiny",
            "model": small_model,
            "data": {"root": str(corpus), "num_samples": 8000, "num_workers": 0},
            "augment": {"algo": 4},
            "train": {"epochs": 3, "batch_size": 4, "lr": 1e-3},
            "output": str(tmp_path / "models"),
            "logs": str(tmp_path / "logs"),
        }
        for key, value in changes.items():
            values[key] = {**values[key], **value} if isinstance(values.get(key), dict) else value
        return recipe_from_dict(values)

    return make


@pytest.fixture
def model_with_dropout(small_model):
    """A small model with dropout and layer drop, which draw from the global generator."""
    drop = {"dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1, "encoder_layerdrop": 0.3}
    return {**small_model, "frontend": {**small_model["frontend"], **drop}}
