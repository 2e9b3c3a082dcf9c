"""The keys of a recipe as they are printed, checked by editors and described in the manual."""

import json
import re

import pytest
import yaml
from builders.scripts import loaded

from nes2net.cli.main import main
from nes2net.lib.storage.yaml_text import read_yaml
from nes2net.training.recipes.data import CorpusConfig, DataConfig
from nes2net.training.recipes.documentation import SCHEMA, all_keys
from nes2net.training.recipes.reading import PACKAGED, load_recipe, packaged_recipes
from nes2net.training.recipes.recipe import Recipe


def test_the_stored_json_schema_of_recipes_is_as_generated_anew():
    anew = "run: python scripts/site/recipe_schema.py"
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == loaded("site/recipe_schema.py").json_schema(), anew


@pytest.fixture
def described_keys():
    return [key.name for key in all_keys()]


def test_all_keys_lists_each_key_at_the_top_of_a_recipe_and_then_each_key_of_its_sections_in_order(described_keys):
    """Except the keys of a corpus."""
    top = []
    nested = []
    for section, values in {**Recipe().to_dict(), "data": dict(DataConfig.model_fields)}.items():
        if isinstance(values, dict) and section != "model":
            nested += [f"{section}.{key}" for key in values]
        else:
            top.append(section)
    assert [name for name in described_keys if "[]" not in name] == top + nested


def test_all_keys_lists_every_key_of_a_corpus(described_keys):
    of_corpora = [f"data.corpora[].{key}" for key in CorpusConfig(name="a").model_dump()]
    assert [name for name in described_keys if "[]" in name] == of_corpora


def test_each_key_that_all_keys_lists_has_a_meaning_a_source_and_a_type():
    for key in all_keys():
        assert key.meaning
        assert key.source
        assert key.takes


def test_info_recipe_prints_every_key_of_a_recipe(described_keys, capsys):
    assert main(["info", "recipe"]) == 0
    printed = capsys.readouterr().out
    for name in described_keys:
        assert f"  {name} " in printed


@pytest.fixture(scope="module")
def wrong():
    """A function that gives the places of a value that do not fit."""
    jsonschema = pytest.importorskip("jsonschema", reason="it comes with nbformat: pip install -e .[docs]")
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))

    def keys_of(error):
        within = ".".join(map(str, error.absolute_path))
        unknown = re.findall(r"'(\w+)' was unexpected", error.message)
        return [f"{within}.{unknown[0]}".lstrip(".")] if unknown else [within]

    return lambda value: [key for error in validator.iter_errors(value) for key in keys_of(error)]


@pytest.mark.parametrize("name", packaged_recipes())
def test_the_schema_accepts_every_packaged_recipe(wrong, name):
    """Its file, and the recipe with all defaults filled in."""
    text = (PACKAGED / f"{name}.yaml").read_text(encoding="utf-8")
    assert wrong(read_yaml(text, None, name)) == []
    assert wrong(load_recipe(name).to_dict()) == []


@pytest.mark.parametrize(
    "text, wrong_keys",
    [
        ("train: {lr: 0}", ["train.lr"]),
        ("train: {lrr: 1}", ["train.lrr"]),
        ("trian: {}", ["trian"]),
        ("train: {adam_betas: [0.9, -1]}", ["train.adam_betas.1"]),
        ("model: {backend: 3}", ["model.backend"]),
        *((text, []) for text in ("date: 0520", "date: 520", "train:", "base: other.yaml", "model: {backend: aasist}")),
    ],
)
def test_the_schema_rejects_exactly_the_keys_with_an_unknown_name_or_an_invalid_value(wrong, text, wrong_keys):
    assert wrong(yaml.safe_load(text)) == wrong_keys
