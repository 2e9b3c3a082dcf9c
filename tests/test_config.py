"""Recipes: YAML, overrides, errors, and the published run-folder names."""

import json
from pathlib import Path

import pytest

from nes2net import Detector, InputError
from nes2net.config import AugmentConfig, Recipe, TrainConfig, load_recipe, recipe_from_dict

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


def test_run_folder_names_are_the_published(golden):
    for case in json.loads((golden / "losses_schedules_names.json").read_text())["itw_model_tags"]:
        args = case["args"]
        seed = args.get("seed", 1234)
        ratios = {k: v for k, v in args.items() if k.endswith("_ratio")}
        recipe = Recipe(
            name=args["model_name"],
            date=args["date"],
            seed=seed,
            augment=AugmentConfig(args["algo"], ratios),
            train=TrainConfig(epochs=args["num_epochs"], batch_size=args["batch_size"], lr=args["lr"]),
        )
        published = case["tag"] if "seed" in case["tag"] else f"{case['tag']}_seed{seed}"  # which is kept here
        assert recipe.tag == published
        recipe.comment = "again"
        assert recipe.tag == f"{published}_again"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_shipped_recipes_are_valid(path):
    import torch

    recipe = load_recipe(path)
    assert recipe_from_dict(recipe.to_dict()) == recipe
    with torch.device("meta"):
        Detector.from_config(recipe.model)


def test_overrides_and_types(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("train: {lr: 1e-6, epochs: 3}\nmodel: {frontend: lps, backend: nes2net_x}\n")
    recipe = load_recipe(
        path, ["train.epochs=5", "data.root=DB", "model.backend.dilation=1", "train.max_grad_norm=1", "seed=7"]
    )
    assert (recipe.train.lr, recipe.train.epochs, recipe.data.root, recipe.seed) == (1e-6, 5, "DB", 7)
    assert recipe.model["backend"] == {"name": "nes2net_x", "dilation": 1}
    assert recipe.train.max_grad_norm == 1.0


@pytest.mark.parametrize(
    "override, message",
    [
        ("train.learning=1", "unknown key 'train.learning' in the recipe"),
        ("train.epoch=1", "did you mean 'epochs'"),
        ("seed=abc", "'seed' is a whole number, not 'abc'"),
        ("train.epochs=1.5", "'train.epochs' is a whole number"),
        ("train=3", "train. is a mapping"),
        ("seed", "not of the form key=value"),
        ("seed=[1", "not valid YAML"),
        ("train.class_weights=0.1", "'train.class_weights' is a list"),
    ],
)
def test_wrong_overrides(tmp_path, override, message):
    (tmp_path / "recipe.yaml").write_text("seed: 1\n")
    with pytest.raises(InputError, match=message):
        load_recipe(tmp_path / "recipe.yaml", [override])


def test_wrong_files(tmp_path):
    with pytest.raises(InputError, match="not found"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(InputError, match="not valid YAML"):
        load_recipe(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("- 1\n")
    with pytest.raises(InputError, match="mapping"):
        load_recipe(tmp_path / "b.yaml")
