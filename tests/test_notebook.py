"""The whole way in a notebook, by the names of `nes2net`: corpora, score files, results."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from builders import input_error
from numpy.testing import assert_array_equal
from torch.utils.data import DataLoader

import nes2net
from nes2net import Result, conditions, corpora, evaluate, score_file


def test_dir_shows_the_public_names():
    assert dir(nes2net) == sorted(nes2net.__all__)


# Corpora


@pytest.fixture(scope="module")
def dev_set(corpus):
    return corpora.Part("asvspoof2019_la", corpus, "dev")


def test_the_trials_of_a_corpus_are_a_list(dev_set):
    assert len(dev_set.trials) == len(dev_set) == 12
    assert {trial.label for trial in dev_set.trials} == {"bonafide", "spoof"}


def test_a_part_of_a_corpus_is_a_data_set_of_waveforms_and_classes(dev_set):
    batches = list(DataLoader(dev_set, batch_size=None))
    assert [target for _, target in batches] == [trial.target for trial in dev_set.trials]
    assert batches[0][0].dtype == torch.float32
    assert batches[0][0].ndim == 1


def test_a_part_that_does_not_exist_is_refused_with_its_name(corpus):
    with input_error("has no split 'exam'"):
        len(corpora.Part("asvspoof2019_la", corpus, "exam"))


def test_the_trials_of_a_corpus_are_a_table_of_pandas(dev_set):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(dev_set.trials)
    assert frame["id"].tolist() == [trial.id for trial in dev_set.trials]
    assert frame["label"].value_counts().to_dict() == {"bonafide": 6, "spoof": 6}
    assert set(frame.columns) == set(asdict(dev_set.trials[0]))


def test_a_condition_changes_a_waveform_of_a_corpus(dev_set):
    waveform, _ = dev_set[0]
    noisy = conditions.create_condition("white:10")(waveform, np.random.default_rng(0))
    assert noisy.shape == waveform.shape
    assert not np.array_equal(noisy, waveform)


# Score files and results


@pytest.fixture(scope="module")
def scores(dev_set, tmp_path_factory):
    """A score file of the development set, in which 2 of 6 fakes are above the lowest bona fide score."""
    path = tmp_path_factory.mktemp("scores") / "scores.txt"
    values = [float(trial.target) for trial in dev_set.trials]
    values[-1] = values[-2] = 2.0
    score_file.write_scores(path, [trial.id for trial in dev_set.trials], values)
    return path


def test_a_score_file_is_a_table_of_pandas_and_back(scores, tmp_path):
    pandas = pytest.importorskip("pandas")
    ids, values = score_file.read_scores(scores)
    frame = pandas.DataFrame({"id": ids, "score": values})
    score_file.write_scores(tmp_path / "halved.txt", frame["id"], frame["score"] / 2)
    assert_array_equal(score_file.read_scores(tmp_path / "halved.txt")[1], values / 2)


@pytest.fixture(scope="module")
def result(corpus, scores):
    return evaluate("asvspoof2019_la", scores, corpus, "dev", num_resamples=20)


def test_a_result_is_shown_in_ten_lines(result):
    assert isinstance(result, Result)
    shown = repr(result).splitlines()
    assert len(shown) == 10
    assert shown[:9] == result.text().splitlines()[:9]
    assert shown[-1] == "… print(result.text()) prints all"


def test_a_result_is_a_dictionary_of_figures(result):
    figures = dict(result)
    assert figures["eer"].value == pytest.approx(1 / 3)
    assert {"min_dcf", "act_dcf", "num_spoof"} <= figures.keys()


def test_the_rows_of_a_result_are_records_for_pandas(result):
    assert result.records()[0]["system"] == "scores"
    assert result.records()[0]["eer"] == result["eer"].value
    assert list(result.records("calibration")[0]) == ["system", "act_dcf", "cllr"]
