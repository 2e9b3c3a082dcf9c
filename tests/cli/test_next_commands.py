"""The commands that come next."""

from pathlib import Path

import pytest
from builders import tiny_corpus

from nes2net.cli.next_commands import after_averaging, after_scoring, after_training
from nes2net.recipes.recipe import recipe_from_dict

MODEL = Path("models/run/epoch_1.pth")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    return tiny_corpus.make_all(tmp_path_factory.mktemp("corpora"))


def recipe(corpus, root, **data):
    return recipe_from_dict({"data": {"corpus": corpus, "root": None if root is None else str(root), **data}})


def test_the_evaluation_part_if_it_is_there(corpora, corpus):
    scores = Path("models/run/epoch_1_asvspoof2019_la_eval.txt")
    assert after_averaging(MODEL, recipe("asvspoof2019_la", corpora)) == [
        ["score", "asvspoof2019_la", str(corpora), "--model", MODEL, "--out", scores],
        ["evaluate", "asvspoof2019_la", scores, "--keys", str(corpora)],
    ]
    assert after_averaging(MODEL, recipe("asvspoof2019_la", corpus, train_split="dev")) == []  # nothing else is there


def test_each_of_several_corpora(corpora):
    several = [{"name": "asvspoof2019_la", "root": str(corpora), "alias": "la"}]
    several += [{"name": "in_the_wild", "root": str(corpora), "train_split": None, "dev_split": "eval"}]
    scores = Path("models/run/epoch_1_la_eval.txt")
    assert after_averaging(MODEL, recipe_from_dict({"data": {"corpora": several}})) == [
        ["score", "asvspoof2019_la", str(corpora), "--model", MODEL, "--out", scores],
        ["evaluate", "asvspoof2019_la", scores, "--keys", str(corpora)],
    ]


def test_protocols_elsewhere_hold_the_labels(corpora):
    protocols = str(corpora / "ASVspoof_LA_cm_protocols")
    score, evaluate = after_averaging(MODEL, recipe("asvspoof2019_la", corpora, protocols=protocols))
    assert score[-2:] == ["--protocols", protocols] and evaluate[-2:] == ["--keys", protocols]


def test_nothing_that_could_not_be_pasted(tmp_path):
    assert after_averaging(MODEL, recipe("asvspoof2019_la", tmp_path / "moved away")) == []
    assert after_averaging(MODEL, recipe("asvspoof2019_la", None)) == []
    assert after_averaging(MODEL, recipe("a_corpus_of_another_package", tmp_path)) == []
    assert after_scoring("asvspoof2021_la", tmp_path, "dev", "scores.txt") == []  # its labels have no such part
    assert after_training(tmp_path, recipe("asvspoof2019_la", tmp_path)) == []  # nothing was kept
