"""Logistic regression as a run of training: scikit-learn's scores, an ordinary run folder, resumed."""

import shutil

import numpy as np
import pytest
import torch
from builders import input_error
from builders.runs import detector_of, folder_of, history_of, same
from numpy.testing import assert_allclose

from nes2net import Detector
from nes2net.data.audio.read import load_audio
from nes2net.training.run import train
from nes2net.training.seeding import seed_everything
from nes2net.training.tasks import logistic
from nes2net.training.tasks.logistic import EMBEDDINGS_FILE, fit_logistic
from nes2net.training.validation import Validator


@pytest.fixture
def probe(recipe):
    """A function that builds the recipe of a probe on a small spectrum, with changes merged into it."""
    plain_loss = {"name": "focal", "gamma": 0, "alpha": 1}
    settings = {"train": {"optimizer": "logistic", "epochs": 1, "loss": plain_loss}, "data": {"num_samples": None}}
    settings["model"] = {"backend": {"name": "logistic", "num_logits": 1}}
    return lambda **changes: recipe(
        **{**changes, **{section: values | changes.get(section, {}) for section, values in settings.items()}}
    )


def decisions(embeddings, targets, rows, c=1e6):
    """Scores that scikit-learn gives ``rows``."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=10_000))
    return model.fit(embeddings, targets).decision_function(rows)


@pytest.fixture
def folder(probe):
    """The run folder of a probe."""
    return train(probe(), device="cpu")


def embeddings_in(folder):
    return np.load(folder / EMBEDDINGS_FILE).astype(np.float64)


def targets_of(trials):
    return np.array([trial.target for trial in trials])


def scores_of(detector, trials):
    return np.array([detector.score(trial.path) for trial in trials])


def test_scores_of_a_logistic_regression_are_those_of_scikit_learn(folder, trials, dev_trials):
    detector = detector_of(folder)
    with torch.inference_mode():
        waveforms = [torch.from_numpy(load_audio(trial.path))[None] for trial in dev_trials]
        rows = torch.cat([detector.embeddings(waveform, "backend") for waveform in waveforms]).double().numpy()
    expected = decisions(embeddings_in(folder), targets_of(trials), rows)
    weights = np.abs(detector.backend.linear.weight.numpy(force=True)[0])  # terms of a sum, which may cancel
    largest_score = (np.abs(rows) @ weights).max()
    assert_allclose(scores_of(detector, dev_trials), expected, rtol=0, atol=1e-6 * largest_score)


def mean_loss(odds, targets):
    return np.logaddexp(0, np.where(targets, -odds, odds)).mean()


def test_the_training_loss_of_a_logistic_regression_is_that_of_scikit_learn(folder, trials):
    embeddings = embeddings_in(folder)
    targets = targets_of(trials)
    expected = mean_loss(decisions(embeddings, targets, embeddings), targets)
    assert history_of(folder)[0]["loss"] == pytest.approx(expected, abs=1e-5)


def test_the_development_loss_of_a_logistic_regression_is_the_mean_log_loss_of_its_scores(folder, dev_trials):
    expected = mean_loss(scores_of(detector_of(folder), dev_trials), targets_of(dev_trials))
    assert history_of(folder)[0]["val_loss_wo_aug"] == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("c", [1e-2, 1e6])
def test_a_logistic_fit_equals_that_of_scikit_learn_for_any_scale_of_the_embedding_dimensions(c):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 200)
    plain = rng.standard_normal((200, 5)) + 0.7 * targets[:, None]
    scaled = np.column_stack([plain * [1e-3, 1, 10, 1e3, 1] + [0, 5, -100, 1e4, 0], np.full(200, 3.0)])
    scores = []
    for embeddings in (plain, scaled):
        weight, bias, _ = fit_logistic(embeddings, targets, c)
        scores.append(embeddings @ weight + bias)
    assert_allclose(*scores, atol=1e-6)
    assert_allclose(scores[0], decisions(plain, targets, plain, c), atol=1e-9)


def test_a_logistic_regression_trains_only_the_last_layer(probe, small_model):
    model = {"frontend": small_model["frontend"], "aggregation": "weighted_sum"}
    folder = train(probe(model=model, data={"num_samples": 4000}), device="cpu")
    seed_everything(probe().seed)
    before = Detector.from_config({**model, "backend": {"name": "logistic", "num_logits": 1}}).state_dict()
    after = detector_of(folder).state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"linear.weight", "linear.bias"}


def test_a_logistic_regression_pairs_labels_with_their_embeddings_if_a_file_cannot_be_read(
    probe, corpus, trials, tmp_path
):
    copy = shutil.copytree(corpus, tmp_path / "copy")
    (copy / trials[0].path.relative_to(corpus)).write_bytes(b"fLaC")
    folder = train(probe(data={"root": str(copy)}), device="cpu")
    embeddings = embeddings_in(folder)
    weight, bias, _ = fit_logistic(embeddings, targets_of(trials[1:]), 1e6)
    scores = scores_of(detector_of(folder), trials[1:])
    assert_allclose(scores, embeddings @ weight + bias, rtol=1e-3, atol=1e-3)


def test_a_logistic_regression_has_the_same_score_and_loss_with_one_and_with_two_logits(probe, dev_trials):
    cross_entropy = {"name": "cross_entropy", "class_weights": [1.0, 1.0]}
    scores = []
    two = {"model": {"backend": {"name": "logistic", "num_logits": 2}}, "train": {"loss": cross_entropy}}
    for name, changes in (("one", {}), ("two", two)):
        folder = train(probe(data={"num_samples": 8000}, comment=name, **changes), device="cpu")
        scores.append((detector_of(folder).score(dev_trials[0].path), history_of(folder)[0]["val_loss_wo_aug"]))
    assert scores[0] == pytest.approx(scores[1], rel=1e-4, abs=1e-7)


@pytest.fixture
def interrupted(probe, monkeypatch):
    """The recipe of a run that was interrupted before the fit and in validation, and both times of its embeddings."""
    recipe = probe(comment="parts")
    written = []

    def interrupt(*_):
        raise KeyboardInterrupt

    for owner, name in ((logistic, "fit_logistic"), (Validator, "run")):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(owner, name, interrupt)
            train(recipe, device="cpu")
        written.append((folder_of(recipe) / EMBEDDINGS_FILE).stat().st_mtime_ns)
    return recipe, written


def test_a_logistic_regression_interrupted_before_its_fit_resumes_without_embedding_again(interrupted):
    first, second = interrupted[1]
    assert second == first


def test_an_interrupted_logistic_regression_resumes_to_the_weights_of_an_uninterrupted_one(probe, interrupted):
    recipe, _ = interrupted
    (folder_of(recipe) / EMBEDDINGS_FILE).unlink()  # it is not needed after the fit
    folders = (train(recipe, device="cpu"), train(probe(comment="whole"), device="cpu"))
    assert same(*(dict(detector_of(folder).state_dict()) for folder in folders))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"augment": {"algo": 4}}, "remove the section augment"),
        ({"train": {"optimizer": "adam"}}, "whole utterances, needs `train.optimizer=logistic`"),
        (
            {"model": {"backend": {"name": "logistic", "num_logits": 3}}},
            "but `model.backend` has spoof_1, spoof_2, bonafide",
        ),
        ({"model": {"backend": {"name": "logistic", "head": "cosine"}}}, "linear last layer"),
    ],
)
def test_settings_that_a_logistic_regression_cannot_use_are_refused_before_anything_is_embedded(
    probe, changes, message, tmp_path
):
    with input_error(message):
        train(probe(**changes), device="cpu")
    assert not list(tmp_path.rglob("*.npy"))
