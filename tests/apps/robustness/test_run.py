"""Robustness runs on a corpus of a few seconds: complete, resumed, repeatable, and refused."""

import shutil
from unittest import mock

import pytest
from builders import input_error

from nes2net import InputError
from nes2net.apps.robustness import run as robustness
from nes2net.apps.robustness.condition import UnderCondition
from nes2net.apps.robustness.settings import Suite
from nes2net.data.audio.read import load_audio
from nes2net.data.augment import Sources
from nes2net.data.corpora.part import Part
from nes2net.data.corpora.trial import BONAFIDE
from nes2net.evaluation.page import Pages
from nes2net.scoring.corpus import ScoringSettings
from nes2net.scoring.journal import Journal
from nes2net.scoring.score_file import read_scores

CONDITIONS = ["gain:-20", "white:5", "cut:0.5"]
OPTIONS = {"checkpoint": "detector.pth", "num_resamples": 20}


def planned(corpus, conditions=CONDITIONS, **options):
    return robustness.plan(Part("asvspoof2019_la", corpus, "dev"), Suite(conditions=conditions, **options))


@pytest.fixture
def run(spectral_detector):
    """A function that does a planned run with small batches."""

    def run(plan, out, *, num_samples=8000, overwrite=False):
        settings = ScoringSettings(batch_size=4, num_workers=0, overwrite=overwrite)
        return robustness.run(spectral_detector, plan, out, num_samples=num_samples, settings=settings, **OPTIONS)

    return run


def conditions_of(result):
    """The conditions of a result, without the clean trials."""
    return sorted(row.labels["condition"] for row in result.rows("conditions")[1:])


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.txt"))}


def report_of(result, folder):
    pages = Pages(folder / "r.html", folder / "r.json", markdown=folder / "r.md")
    pages.write(result)
    return [(folder / f"r.{suffix}").read_bytes() for suffix in ("html", "json", "md")]


def test_a_robustness_run_that_scores_only_the_rest_writes_what_an_uninterrupted_one_does(
    run, corpus, tmp_path, monkeypatch
):
    uninterrupted = tmp_path / "whole"
    torn = tmp_path / "torn"
    result = run(planned(corpus), uninterrupted)
    add = Journal.add
    batches = []

    def adding(journal, scores, failures=None):
        add(journal, scores, failures)
        batches.append(scores)
        if len(batches) == 5:  # the second of three batches of the first condition
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "add", adding)
    with pytest.raises(KeyboardInterrupt):
        run(planned(corpus), torn)
    batches.clear()
    monkeypatch.setattr(Journal, "add", lambda *args: (batches.append(args[1]), add(*args)))
    again = run(planned(corpus), torn)
    assert sum(map(len, batches)) == 4 + 24  # 8 are in the journal; 4 of the first condition, and two others
    assert files_of(torn) == files_of(uninterrupted)
    assert report_of(again, torn) == report_of(result, uninterrupted)


def test_a_finished_robustness_run_is_not_scored_again(run, corpus, tmp_path, monkeypatch):
    result = run(planned(corpus, ["gain:-20"]), tmp_path)
    monkeypatch.setattr(Journal, "add", lambda *args: pytest.fail("scored again"))
    assert conditions_of(run(planned(corpus, ["gain:-20"]), tmp_path)) == conditions_of(result)


def test_noise_of_an_utterance_depends_only_on_the_utterance_and_the_seed(run, corpus, tmp_path):
    orders = []
    for number, (conditions, options) in enumerate(
        ((["white:5"], {}), (["pink:5", "white:5"], {"num_trials": 8}), (["white:5"], {"seed": 1}))
    ):
        run(planned(corpus, conditions, **options), tmp_path / str(number))
        orders.append(dict(zip(*read_scores(tmp_path / str(number) / "scores" / "white_5.txt"))))
    alone, among_others, other_seed = orders
    assert len(among_others) == 8
    for id, score in among_others.items():
        assert alone[id] == pytest.approx(score, abs=1e-6)
        assert abs(score - other_seed[id]) > 1e-6


def test_a_condition_that_fails_is_named_with_the_reason_and_does_not_end_the_run(run, corpus, tmp_path):
    """Babble fails, of five recordings that are all damaged."""
    root = shutil.copytree(corpus, tmp_path / "corpus")
    bad = planned(root).trials[5].path
    bad.write_bytes(b"RIFF")
    plan = planned(root, ["babble:5", "gain"])
    plan.conditions["babble:5"] = UnderCondition.of("babble:5", Sources(speech=(bad,) * 5), 0)
    result = run(plan, tmp_path / "out")
    assert conditions_of(result) == ["gain:-10", "gain:-20", "gain:-30"]
    assert list(result.header["failed"]) == ["babble:5"]
    assert "not one of 12 utterances" in result.header["failed"]["babble:5"]


def test_a_full_disk_ends_the_run_in_place_of_counting_as_a_failure_of_the_condition(
    run, corpus, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch, input_error("^No space left$"):
        patch.setattr(Journal, "add", mock.Mock(side_effect=InputError("No space left")))
        run(planned(corpus, ["white:0"]), tmp_path)
    assert conditions_of(run(planned(corpus, ["white:0"]), tmp_path)) == ["white:0"]


def test_a_folder_is_continued_only_by_a_robustness_run_with_its_settings_and_trials(run, corpus, tmp_path):
    run(planned(corpus, ["gain:-20"]), tmp_path)
    assert conditions_of(run(planned(corpus, ["gain:-20", "white:0"]), tmp_path)) == ["gain:-20", "white:0"]

    def refused(message, **options):
        with input_error(message):
            run(planned(corpus, **options), tmp_path)

    refused(r"gain_-20\.txt was made by another run or program \(another transform\): pass `overwrite=True`", seed=1)
    refused(r"another run or program \(another trials\)", num_trials=6)


def test_with_overwrite_the_scores_of_a_run_with_another_seed_are_replaced(run, corpus, tmp_path):
    run(planned(corpus, ["white:5"]), tmp_path)
    before = files_of(tmp_path)
    run(planned(corpus, ["white:5"], seed=1), tmp_path, overwrite=True)
    assert files_of(tmp_path) != before


def test_trials_of_asvspoof2021_that_are_drawn_with_its_keys_have_labels_and_babble_of_all_bona_fide_trials(corpus):
    drawn = robustness.plan(Part("asvspoof2021_la", corpus), Suite(keys=corpus / "keys", num_trials=6))
    assert (len(drawn.trials), drawn.num_available) == (6, 12)
    assert None not in [trial.label for trial in drawn.trials]
    of_subset = {trial.path for trial in drawn.trials if trial.label == BONAFIDE}
    speech = drawn.conditions["babble:5"].condition.sources.speech
    assert of_subset < set(speech)
    assert len(speech) == 6


def test_a_report_says_that_its_trials_are_few_and_not_the_official_ones(run, corpus, tmp_path):
    unofficial, few = run(planned(corpus, ["gain:-20"]), tmp_path).notes
    assert unofficial.startswith("not the official trials of ASVspoof 2019 LA, dev: ")
    assert few.startswith("there are only 6 ")


def test_with_whole_utterances_a_cut_utterance_is_scored_in_its_length_after_the_cut(
    run, spectral_detector, corpus, tmp_path
):
    """A cut to half a second leaves 8,000 samples."""
    run(planned(corpus, ["cut:0.5"]), tmp_path, num_samples=None)
    scores = read_scores(tmp_path / "scores" / "cut_0.5.txt")[1]
    for trial, score in zip(planned(corpus).trials[:3], scores):
        waveform = load_audio(trial.path)[:8000]
        assert score == pytest.approx(spectral_detector.score(waveform, 16000), abs=1e-5)
