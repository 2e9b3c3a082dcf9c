"""Comparing the conditions of measurements: trials, architecture, speaker verification."""

import lzma
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from builders import some
from builders.experiments import ROW as PUBLISHED
from builders.files import write
from builders.small_parts import SPECTRUM
from conftest import REPOSITORY

from nes2net import Detector
from nes2net.actions.evaluation import evaluate
from nes2net.apps.experiments.reproduce import compare_conditions, published_architectures
from nes2net.data.corpora import asvspoof2019_la, asvspoof2021_la, generic
from nes2net.data.corpora.corpus import Counts, key_digest
from nes2net.models.published_results import PublishedRow, published_rows
from nes2net.training.recipes.reading import load_recipe

SPECTRAL = {"frontend": SPECTRUM, "aggregation": "last", "backend": "asp_mlp"}
ROW = PublishedRow(**PUBLISHED | {"corpus": "tiny", "model": "asp_mlp", "frontend": SPECTRAL["frontend"]})


def built(config: dict) -> dict:
    """Return the full configuration of a detector built from ``config``."""
    with torch.device("meta"):
        return Detector.from_config(config).config


@pytest.fixture
def conditions_of(corpus, tmp_path):
    """A function that compares the conditions of a measurement with scores that are not of a detector."""

    def compared(row: PublishedRow, config: dict = SPECTRAL, keys: Path = corpus / "keys"):
        ids = [line.split()[1] for line in (keys / "LA" / "CM" / "trial_metadata.txt").read_text().splitlines()]
        scores = write(tmp_path / "s.txt", "".join(f"{id} {n % 5}\n" for n, id in enumerate(ids)))
        evaluation = evaluate(row.corpus, scores, keys, num_resamples=2)
        return compare_conditions(row, built(config), evaluation, keys)

    return compared


@pytest.fixture
def tiny(register_corpus):
    """Register ASVspoof 2021 LA with the numbers of the tiny corpus as its official ones."""

    def register(name="tiny", **facts):
        key_counts = {"eval": Counts(12, 6, 6, {"attack": {"A07": 6}})}
        facts = {"title": "Tiny LA", "key_counts": key_counts, **facts}
        register_corpus(name, replace(asvspoof2021_la.CORPUS, **facts))

    return register


def test_that_trials_have_other_ids_than_the_official_ones_is_listed_as_a_difference(
    conditions_of, corpus, tmp_path, tiny
):
    tiny(key_digests={"eval": key_digest(asvspoof2021_la.CORPUS.keys(corpus / "keys"))})
    assert conditions_of(ROW).differences == []
    text = (corpus / "keys" / "LA" / "CM" / "trial_metadata.txt").read_text()
    write(tmp_path / "keys/LA/CM/trial_metadata.txt", text.replace("LA_E_1000001", "LA_E_9000001"))
    (difference,) = conditions_of(ROW, keys=tmp_path / "keys").differences
    assert difference.endswith(" official ones of Tiny LA, phase eval: as many trials, but other ids or labels")


def test_numbers_of_trials_other_than_the_official_ones_are_listed_as_a_difference(conditions_of, tiny):
    tiny(key_counts=asvspoof2021_la.CORPUS.key_counts)
    (difference,) = conditions_of(ROW).differences
    numbers = "12 trials instead of 148,176, 6 bona fide instead of 14,816, 6 spoofed instead of 133,360"
    assert difference == f"the trials are not the official ones of Tiny LA, phase eval: {numbers}"


def test_trials_of_a_corpus_without_official_numbers_are_listed_as_not_checked(tmp_path, register_corpus):
    register_corpus("tiny", replace(generic.CORPUS, title="Mine"))
    keys = write(tmp_path / "list.csv", "path,label\na.wav,real\nb.wav,fake\n")
    evaluation = evaluate("tiny", write(tmp_path / "s.txt", "a 1\nb 0\n"), keys, num_resamples=2)
    conditions = compare_conditions(ROW, built(SPECTRAL), evaluation, keys)
    unchecked = ["the trials: the official numbers of Mine, phase eval, are not known"]
    assert (conditions.differences, conditions.unchecked) == ([], unchecked)


#: Numbers of speaker-verification scores: target, nontarget, spoof.
ORGANISERS = {"eval": (5370, 33327, 63882)}


def test_numbers_of_speaker_verification_scores_other_than_the_organisers_are_listed_as_a_difference(
    conditions_of, tiny
):
    row = replace(ROW, min_tdcf=0.1)
    tiny(asv_counts={"eval": (5, 5, 5)})
    assert conditions_of(row).differences == []
    tiny("other", asv_counts=ORGANISERS)
    assert conditions_of(replace(ROW, corpus="other")).differences == []  # no published min t-DCF
    (difference,) = conditions_of(replace(row, corpus="other")).differences
    assert difference.startswith("the speaker-verification scores are not the organisers': ")
    assert difference.endswith(" instead of 5,370 target, 33,327 nontarget, 63,882 spoof")


def test_the_official_numbers_of_speaker_verification_scores_are_those_of_the_organisers_files(shared, tmp_path):
    """Of ASVspoof 2019 LA, for the phases dev and eval."""
    for phase in ("dev", "eval"):
        name = f"ASVspoof2019.LA.asv.{phase}.gi.trl.scores.txt"
        source = shared / "real" / "scores" / "asvspoof2019_la" / f"{name}.xz"
        (tmp_path / name).write_bytes(lzma.open(source).read())
        numbers = tuple(map(len, asvspoof2019_la.asv_scores(tmp_path, phase)))
        assert asvspoof2019_la.CORPUS.asv_counts[phase] == numbers


def test_each_part_and_option_in_which_an_architecture_differs_from_the_published_one_is_listed(conditions_of, tiny):
    tiny()
    wider = {"frontend": {"name": "lps", "n_fft": 128, "num_bins": 30}}
    for change, difference in (
        ({"backend": "mean_linear"}, "back-end mean_linear instead of asp_mlp"),
        ({"backend": {"name": "asp_mlp", "hidden_dim": 8}}, "back-end hidden_dim 8 instead of 256"),
        (wider, "front-end num_bins 30 instead of 20, back-end feature_dim 30 instead of 20"),
        ({"aggregation": "weighted_sum"}, "aggregation weighted_sum instead of last"),
    ):
        differences = conditions_of(ROW, SPECTRAL | change).differences
        assert differences == [f"the architecture differs from asp_mlp: {difference}"]


@pytest.fixture
def nes2net_x(tiny, small_model):
    """A row of Nes2Net-X whose front-end normalises, and its architecture."""
    tiny()
    row = replace(ROW, model="nes2net_x", frontend={**small_model["frontend"], "normalize": True})
    return row, published_architectures(row)["nes2net_x"]


def test_options_that_do_not_change_the_shapes_of_weights_are_compared_with_the_published_ones(
    conditions_of, nes2net_x
):
    row, published = nes2net_x
    config = {**published, "backend": {"name": published["backend"], "dilation": 3}}
    config["frontend"] = {**published["frontend"], "normalize": False}
    (difference,) = conditions_of(row, config).differences
    of_parts = "front-end normalize None instead of True, back-end dilation 3 instead of 2"
    assert difference == f"the architecture differs from nes2net_x: {of_parts}"


def test_another_dropout_is_not_listed_as_a_difference_of_an_architecture(conditions_of, nes2net_x):
    """It acts only in training."""
    row, published = nes2net_x
    config = {**published, "frontend": {**published["frontend"], "dropout": 0.1, "encoder_layerdrop": 0.05}}
    assert conditions_of(row, config).differences == []


@pytest.mark.parametrize("recipe", some(sorted({row.recipe for row in published_rows() if row.recipe})))
def test_every_recipe_of_published_results_trains_their_architecture(recipe, tmp_path, evaluation):
    rows = [row for row in published_rows() if row.recipe == recipe]
    for row in {(*row.overrides, *row.models, str(row.frontend)): row for row in rows}.values():
        config = built(load_recipe(REPOSITORY / recipe, row.overrides).model)
        assert compare_conditions(replace(row, corpus="tiny"), config, evaluation, tmp_path).differences == []
