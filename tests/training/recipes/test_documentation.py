"""The keys of a recipe as they are printed, checked by editors and described in the manual."""

import json
import re

import pytest
import yaml

from nes2net import InputError
from nes2net.cli.main import main
from nes2net.lib.yaml_text import read_yaml
from nes2net.training.recipes.data import CorpusConfig, DataConfig
from nes2net.training.recipes.documentation import SCHEMA, all_keys, describe, json_schema
from nes2net.training.recipes.reading import PACKAGED, load_recipe, packaged_recipes
from nes2net.training.recipes.recipe import Recipe


def test_the_schema_is_that_of_the_models():
    anew = "run: python -m nes2net.training.recipes.documentation"
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == json_schema(), anew


def test_every_key_is_described(capsys):
    names = [
        f"{section}.{key}" if isinstance(values, dict) and section != "model" else section
        for section, values in {**Recipe().to_dict(), "data": dict(DataConfig.model_fields)}.items()
        for key in (values if isinstance(values, dict) and section != "model" else [section])
    ]
    keys = [key.name for key in all_keys()]
    assert [n for n in keys if "[]" not in n] == [n for n in names if "." not in n] + [n for n in names if "." in n]
    items = [f"data.corpora[].{key}" for key in CorpusConfig(name="a").model_dump()]
    assert [n for n in keys if "[]" in n] == items
    assert keys.index(items[0]) < keys.index("augment.algo")
    assert all(key.meaning and key.source and key.takes for key in all_keys())
    assert main(["info", "recipe"]) == 0
    printed = capsys.readouterr().out
    assert "train.lr  (a number above 0; default 2.5e-07)\n    Learning rate;" in printed
    assert str(SCHEMA) in printed
    assert all(f"{name}  (" in printed for name in keys)


def test_one_key_is_printed_with_its_source(capsys):
    """A section is printed by its name, and an unknown key is answered with the nearest."""
    assert main(["info", "recipe", "train.t_max"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "train.t_max",
        "  Number of epochs in which the learning rate falls from its highest to its lowest value.",
        "  takes      a whole number of at least 1",
        "  default    5",
        "  used with  train.schedule=cosine_epochs",
        "  source     CtrSVDD program --T_max",
    ]
    assert main(["info", "nes2net_x", "train.lr"]) == 2
    assert "a key goes with recipe, as in 'nes2net info recipe train.lr'" in capsys.readouterr().err
    named = [line.split()[0] for line in describe("validation").splitlines() if line.startswith("validation.")]
    assert named == [key.name for key in all_keys() if key.name.startswith("validation.")]
    for name, message in (
        ("train.learning_rate", r"did you mean 'train.lr'\? Known: .*`nes2net info recipe` lists them"),
        ("trian", "did you mean 'train'"),
        ("zzzz", "no key 'zzzz'; known: about, augment, augment.algo, "),
    ):
        with pytest.raises(InputError, match=message):
            describe(name)


def test_a_key_whose_value_is_a_mapping_lists_its_options(capsys):
    for name, option in (("train.adapt", "bottleneck"), ("augment.fir", "taps")):
        assert main(["info", "recipe", name]) == 0
        assert f"\n  {option} " in capsys.readouterr().out
        assert main(["info", "recipe", name, "--json"]) == 0
        (facts,) = json.loads(capsys.readouterr().out)
        assert option in [row["option"] for row in facts["options"]]


@pytest.fixture(scope="module")
def wrong():
    """A function that gives the places of a value that do not fit."""
    jsonschema = pytest.importorskip("jsonschema", reason="it comes with nbformat: pip install -e .[docs]")
    validator = jsonschema.Draft202012Validator(json_schema())

    def places(error):
        within = ".".join(map(str, error.absolute_path))
        unknown = re.findall(r"'(\w+)' was unexpected", error.message)
        return [f"{within}.{unknown[0]}".lstrip(".")] if unknown else [within]

    return lambda value: [place for error in validator.iter_errors(value) for place in places(error)]


@pytest.mark.parametrize("name", packaged_recipes())
def test_the_schema_accepts_every_packaged_recipe(wrong, name):
    text = (PACKAGED / f"{name}.yaml").read_text(encoding="utf-8")
    assert wrong(read_yaml(text, None, name)) == [] == wrong(load_recipe(name).to_dict())


@pytest.mark.parametrize(
    "text, places",
    [
        ("train: {lr: 0}", ["train.lr"]),
        *(("train: {lrr: 1}", ["train.lrr"]), ("trian: {}", ["trian"])),
        ("train: {adam_betas: [0.9, -1]}", ["train.adam_betas.1"]),
        ("seed: x", ["seed"]),
        ("augment: {algo: 12}", ["augment.algo"]),
        ("model: {backend: 3}", ["model.backend"]),
        *((text, []) for text in ("date: 0520", "date: 520", "train:", "base: other.yaml", "model: {backend: aasist}")),
    ],
)
def test_the_schema_accepts_what_recipes_accept(wrong, text, places):
    assert wrong(yaml.safe_load(text)) == places


def test_a_packaged_recipe_names_the_schema_beside_it():
    for path in PACKAGED.glob("*.yaml"):
        mark, _, schema = path.read_text(encoding="utf-8").splitlines()[0].partition("=")
        assert mark == "# yaml-language-server: $schema"
        assert (path.parent / schema).read_bytes() == SCHEMA.read_bytes()


def test_the_base_of_a_recipe_is_described_with_the_other_keys():
    assert describe().startswith("base  (")
    assert "Packaged recipe, or file beside this one" in describe("base")
