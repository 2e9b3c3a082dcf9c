"""The whole way in a notebook, by the names of `nes2net`: corpora, score files, results, training on own data."""

from dataclasses import asdict
from functools import partial

import numpy as np
import pytest
import torch
from builders import input_error
from builders.files import read_json
from builders.runs import place_of
from builders.small_parts import SPECTRAL_MODEL
from numpy.testing import assert_array_equal
from torch.utils.data import DataLoader, Dataset

import nes2net
from nes2net import (
    Detector,
    Recipe,
    Result,
    average,
    conditions,
    corpora,
    evaluate,
    export,
    load_recipe,
    score_file,
    train,
)


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


def test_the_figures_of_a_result_are_a_table_of_pandas(result):
    pandas = pytest.importorskip("pandas")
    systems, calibration = pandas.json_normalize(result.to_dict()["tables"], "rows").to_dict("records")
    assert systems["on.system"] == "scores"
    assert systems["eer.value"] == result["eer"].value
    assert calibration["cllr.value"] == result["cllr"].value


# Train on own data


def pairs(number, seed):
    """Pairs of noise and label; the fakes are louder."""
    rng = np.random.default_rng(seed)
    labelled = []
    for _ in range(number // 2):
        labelled.append((0.1 * rng.standard_normal(4000), "bonafide"))
        labelled.append((0.5 * rng.standard_normal(4000), "spoof"))
    return labelled


class Squares(Dataset):
    """A data set of torch, of dictionaries with their rate, and of classes as numbers."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        is_fake = index % 2
        samples = np.full(4000, 0.1 + 0.1 * index, np.float32)
        samples[::2] *= -1
        return {"array": samples, "sampling_rate": 8000}, 1 - is_fake


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    data = {"num_samples": 4000, "num_workers": 0}
    settings = {"epochs": 3, "batch_size": 4, "lr": 0.01}
    folders = {"output": str(folder), "logs": str(folder)}
    return Recipe(model=SPECTRAL_MODEL, data=data, train=settings, **folders)


class Log:
    """A callback that keeps what it gets, and stops the run after its second epoch."""

    def __init__(self):
        self.events = []

    def __call__(self, event, facts):
        self.events.append((event, facts))
        return event == "epoch" and facts["epoch"] == 2

    def of(self, event):
        return [facts for name, facts in self.events if name == event]


@pytest.fixture(scope="module")
def log():
    return Log()


@pytest.fixture(scope="module")
def run(recipe, log):
    """A run folder, and the callback of the run, which was stopped after two of three epochs."""
    return train(recipe, "cpu", train=pairs(8, seed=0), dev=pairs(8, seed=1), sample_rate=16000, callbacks=[log])


def test_a_callback_that_returns_true_stops_a_run_after_the_epoch_is_saved(run):
    assert (run / "epoch_2.pth").is_file()
    assert len(read_json(run / "history.json")) == 2


def test_a_callback_is_told_of_the_start_each_step_validation_and_epoch_and_the_end(run, log):
    epoch = ["step", "step", "validation", "epoch"]
    assert [event for event, _ in log.events] == ["start", *epoch, *epoch, "end"]
    assert [(facts["epoch"], facts["step"]) for facts in log.of("step")] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert log.of("end") == [{"error": None}]


def test_a_callback_gets_the_values_of_the_history(run, log):
    history = read_json(run / "history.json")
    for event in ("epoch", "validation"):
        for row, facts in zip(history, log.of(event), strict=True):
            assert facts["values"].items() <= row.items()
    losses = [facts["loss"] for facts in log.of("step")]
    assert history[0]["loss"] == pytest.approx(np.mean(losses[:2]))


def test_own_data_become_a_corpus_that_the_recipe_of_the_run_names(run, recipe):
    corpus = load_recipe(run / "recipe.yaml").data.corpora[0]
    assert corpus.root == str(run.with_name(f"{run.name}_data") / "list.jsonl")
    listed = corpora.Part("generic", corpus.root, "train")
    assert [target for _, target in listed] == [1, 0] * 4
    assert_array_equal(listed[3][0], pairs(8, seed=0)[3][0].astype(np.float32))


def test_a_run_is_averaged_and_scores_recordings(run):
    detector = Detector.from_pretrained(average(run, last=2).path, "cpu")
    assert np.isfinite(detector.score(pairs(2, seed=3)[0][0], 16000))


def test_a_detector_is_exported(run, tmp_path):
    detector = Detector.from_pretrained(run, "cpu")
    exported = Detector.from_pretrained(export(detector, "safetensors", tmp_path / "exported"), "cpu")
    samples = pairs(2, seed=3)[0][0]
    assert exported.fingerprint() == detector.fingerprint()
    assert exported.score(samples, 16000) == pytest.approx(detector.score(samples, 16000), rel=1e-6)


@pytest.fixture
def short_run(recipe, tmp_path):
    """A function that trains on a data set of torch."""
    recipe = recipe.model_copy(update={"output": str(tmp_path)})
    return partial(train, recipe, "cpu", train=Squares(), dev=Squares())


def test_a_run_that_a_callback_stopped_after_a_step_is_resumed_by_the_same_call(short_run):
    folder = short_run(callbacks=[lambda event, _: event == "start"])
    assert place_of(folder) == (1, 1)
    assert short_run() == folder
    assert len(read_json(folder / "history.json")) == 3


def test_a_run_logs_its_epochs_and_prints_nothing(short_run, caplog, capsys):
    caplog.set_level("INFO", "nes2net")
    folder = short_run()
    assert capsys.readouterr() == ("", "")
    epochs = [line.split(" - ")[0] for line in caplog.messages if line.startswith("epoch 3 - ")]
    assert epochs == ["epoch 3"]
    assert caplog.messages[-1].startswith(f"checkpoints are in {folder}")


def test_a_run_does_not_resume_on_other_recordings(short_run):
    short_run(callbacks=[lambda event, _: event == "start"])
    with input_error("holds a run on another training set"):
        short_run(train=pairs(8, seed=2), sample_rate=16000, dev=pairs(8, seed=1))


def test_a_data_set_of_torch_is_resampled(short_run):
    folder = short_run(callbacks=[lambda event, _: event == "start"])
    corpus = load_recipe(folder / "recipe.yaml").data.corpora[0]
    listed = corpora.Part("generic", corpus.root, "train")
    assert [(len(waveform), target) for waveform, target in listed] == [(8000, 1), (8000, 0)] * 4


def test_a_label_is_a_number_of_python_numpy_or_torch(short_run):
    items = []
    for kind in (int, bool, float, np.int64, np.bool_, np.array, torch.tensor):
        items.append((np.ones(4000), kind(1)))
        items.append((np.zeros(4000), kind(0)))
    folder = short_run(train=items, dev=items, sample_rate=16000, callbacks=[lambda event, _: event == "start"])
    corpus = load_recipe(folder / "recipe.yaml").data.corpora[0]
    targets = [target for _, target in corpora.Part("generic", corpus.root, "dev")]
    assert targets == [1, 0] * 7


@pytest.mark.parametrize("sets", [{"train": []}, {"dev": []}], ids=list)
def test_own_data_must_train_and_validate(recipe, sets):
    with input_error("own data must train and validate: give `(train|dev)`, too"):
        train(recipe, "cpu", **sets)


#: An item → the error.
WRONG = {"a label": (("a.wav", "unsure"), "`train`, pair 0: unknown label 'unsure'; expected one of bonafide, spoof")}
WRONG["two classes"] = (("a.wav", torch.tensor([0, 1])), r"unknown label '\[0, 1\]'; expected one of bonafide, spoof")
WRONG["samples without a rate"] = ((np.zeros(4000), "spoof"), "the sample rate must be a number of Hz")
WRONG["a missing file"] = (("a.wav", 0), "2 of 2 audio files of the training set are missing, .*a.wav")


@pytest.mark.parametrize("item, message", WRONG.values(), ids=WRONG)
def test_a_wrong_item_is_refused(short_run, item, message):
    with input_error(message):
        short_run(train=[item, ("b.wav", 1)], dev=[("c.wav", 0)])
