"""Recipes: YAML, overrides, errors, and the published run-folder names."""

import json
from pathlib import Path

import pytest

from nes2net import InputError
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
def test_shipped_recipes_are_read_back_as_written(path):
    recipe = load_recipe(path)
    assert recipe_from_dict(recipe.to_dict()) == recipe


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
        ("train.epoch=1", r"did you mean 'train.epochs'\?"),
        ("seed=abc", "'seed' is a whole number, not 'abc'"),
        ("train.epochs=1.5", "'train.epochs' is a whole number"),
        ("train=3", "train. is a mapping"),
        ("seed", "not of the form key=value"),
        ("seed=[1", "not valid YAML"),
        ("train.class_weights=0.1", r"'train.class_weights' is a list, \[a, b\]"),
        ("train.class_weights=[0.1, heavy]", "'train.class_weights' is a number, not 'heavy'"),
        ("trian.lr=1", "unknown key 'trian' in the recipe; did you mean 'train'\\?"),
        ("epochs=3", "unknown key 'epochs' in the recipe; did you mean 'train.epochs'\\?"),
        ("train.patience=3", "unknown key 'train.patience' in the recipe; did you mean 'validation.patience'\\?"),
        ("train.lr.max=1", "'train.lr' is a number, not {'max': 1}"),
        ("train.optimizer=adamm", "'train.optimizer' is one of adam, adamw, not 'adamm'; did you mean 'adam'\\?"),
        ("train.schedule=linear", "is one of constant, cosine, cosine_epochs, inverse_sqrt, not 'linear'"),
        ("data.crop=random_tile", "did you mean 'random_tiled'"),
        ("train.keep=newest", "train.keep is improved, all, or any of last, best and a number"),
        ("train.keep=improved,last", "train.keep is improved, all, or any of"),
        ("train.keep=0", "train.keep is improved, all, or any of"),
        ("validation.patience=0", "validation.patience is at least 1, not 0"),
        ("train.epochs=0", "train.epochs is at least 1, not 0"),
        # what would change nothing
        ("train.label_smoothing=0.1", "changes nothing with train.loss=cross_entropy: it goes with focal"),
        ("train.min_lr=1e-9", "changes nothing with train.schedule=constant: it goes with cosine and cosine_epochs"),
        ("train.t_max=4", "it goes with cosine_epochs"),
        ("validation.epochs=around_minima", "goes with train.schedule=cosine_epochs"),
        ("augment={musan: m, noise_probability: 0}", "change nothing with augment.noise_probability=0"),
    ],
)
def test_wrong_overrides(tmp_path, override, message):
    (tmp_path / "recipe.yaml").write_text("seed: 1\n")
    with pytest.raises(InputError, match=message):
        load_recipe(tmp_path / "recipe.yaml", [override])


def test_what_is_used_can_be_set(tmp_path):
    (tmp_path / "recipe.yaml").write_text("seed: 1\n")
    focal = load_recipe(tmp_path / "recipe.yaml", ["train.loss=focal", "train.label_smoothing=0.1"])
    assert focal.train.label_smoothing == 0.1
    for keep in ("all", "last,best,3", "last, 2"):
        assert load_recipe(tmp_path / "recipe.yaml", [f"train.keep={keep}"]).train.keep == keep


def test_noise_is_as_likely_as_published_where_there_is_some():
    assert AugmentConfig().noise_probability == 0
    assert AugmentConfig(musan="m").noise_probability == 0.5
    assert AugmentConfig(rir="r", noise_probability=0.2).noise_probability == 0.2
    Recipe(augment=AugmentConfig(rir="r")).check_noise()
    with pytest.raises(
        InputError, match=r"adds noise .* to 50% of the utterances: name .* augment\.musan=.*augment\.rir="
    ):
        Recipe(augment=AugmentConfig(noise_probability=0.5)).check_noise()


def test_a_recipe_on_top_of_another(tmp_path):
    """Sections are merged key by key, parts of the model replaced whole, overrides last; what is saved has no base."""
    (tmp_path / "plain.yaml").write_text(
        "name: plain\nseed: 3\ntrain: {lr: 1e-6, epochs: 3}\n"
        "model: {frontend: lps, backend: {name: nes2net_x, dilation: 1}}\n"
    )
    (tmp_path / "other.yaml").write_text(
        "base: plain.yaml\nname: other\ntrain: {epochs: 4}\nmodel: {backend: {name: aasist}}\n"
    )
    recipe = load_recipe(tmp_path / "other.yaml", ["train.batch_size=2"])
    assert (recipe.name, recipe.seed) == ("other", 3)
    assert (recipe.train.lr, recipe.train.epochs, recipe.train.batch_size) == (1e-6, 4, 2)
    assert recipe.model == {"frontend": "lps", "backend": {"name": "aasist"}}
    assert "base" not in recipe.to_dict()
    (tmp_path / "third.yaml").write_text("base: other.yaml\n")
    with pytest.raises(InputError, match=r"other\.yaml, which has a base itself: name plain\.yaml as base"):
        load_recipe(tmp_path / "third.yaml")
    (tmp_path / "itself.yaml").write_text("base: itself.yaml\n")
    with pytest.raises(InputError, match="has a base itself"):
        load_recipe(tmp_path / "itself.yaml")
    (tmp_path / "lost.yaml").write_text("base: none.yaml\n")
    with pytest.raises(InputError, match=r"lost\.yaml builds on .*none\.yaml, which is not there"):
        load_recipe(tmp_path / "lost.yaml")


def test_wrong_files(tmp_path):
    with pytest.raises(InputError, match="not found"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(InputError, match="not valid YAML"):
        load_recipe(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("- 1\n")
    with pytest.raises(InputError, match="mapping"):
        load_recipe(tmp_path / "b.yaml")
