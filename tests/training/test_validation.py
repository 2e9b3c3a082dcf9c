"""Validation: its epochs, the published loss, rates with interval, and train mode."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from builders import golden, input_error, slow, small_parts
from builders.runs import same
from torch.nn.functional import cross_entropy

from nes2net import Detector, metrics
from nes2net.training.data import development_batches
from nes2net.training.dataset import Examples, TrainingSet
from nes2net.training.measures import NUM_RESAMPLES, Validated, error_rates
from nes2net.training.monitor import Monitor
from nes2net.training.objective import Objective
from nes2net.training.recipes.recipe import recipe_from_dict
from nes2net.training.selection import Selection
from nes2net.training.validation import Validator, is_due

GOLDEN = golden.read("losses_schedules_names")
# 12 trials: the last batch has two
SAMPLES = 4000
BATCH = 5


def recipe_of(**sections):
    data = {"num_samples": SAMPLES, "num_workers": 0}
    return recipe_from_dict({"data": data, "train": {"batch_size": BATCH}, **sections})


def due(last, t_max=5, **validation):
    train = {"epochs": last, "schedule": "cosine_epochs", "t_max": t_max}
    recipe = recipe_of(train=train, validation=validation)
    return [epoch for epoch in range(1, last + 1) if is_due(epoch, recipe.train, recipe.validation)]


@pytest.mark.parametrize("t_max", [5, 4])
def test_around_minima_validates_the_published_epochs_around_minima_of_the_learning_rate(t_max):
    assert due(75, t_max, epochs="around_minima") == GOLDEN[f"ctrsvdd_validation_epochs_Tmax{t_max}"]


def test_only_epochs_from_first_epoch_of_the_recipe_on_are_validated():
    assert due(15, first_epoch=10) == [10, 11, 12, 13, 14, 15]


def test_the_last_epoch_is_validated_even_before_first_epoch_of_the_recipe():
    assert due(3, first_epoch=10) == [3]


#: The trials that validate, and a detector of a spectrum.
trials = pytest.fixture(lambda dev_trials: dev_trials)
detector = pytest.fixture(lambda spectral_detector: spectral_detector)


SMALL_SPEECH = {"name": "wav2vec2_small", **small_parts.FRONTENDS["wav2vec2"]}


def make(detector, trials, recipe):
    loaders = development_batches(recipe, Examples(trials), None)
    monitor = Monitor(Selection("run", recipe.train, recipe.validation, list(loaders)), Path("log"))
    return Validator(Objective(detector, recipe), loaders, Accelerator(cpu=True), monitor, recipe)


def waveforms_of(trials):
    dataset = TrainingSet(Examples(trials), SAMPLES)
    return torch.stack([torch.from_numpy(dataset.prepare(index, 1)[0]) for index in range(len(trials))])


def targets_of(trials):
    return torch.tensor([trial.target for trial in trials])


def damaged(trials, folder, which):
    """Trials of which those at the places ``which`` cannot be read."""
    file = folder / "damaged.flac"
    file.write_bytes(b"damaged")
    return [replace(trial, path=file) if number in which else trial for number, trial in enumerate(trials)]


@pytest.fixture
def validated(detector, trials):
    """What a validation with RawBoost found, and logits and targets of the trials without it."""
    values = make(detector, trials, recipe_of(augment={"algo": 4})).run(1)
    with torch.no_grad():
        # In batches of another size, some processors round differently.
        logits = torch.cat([detector(batch) for batch in waveforms_of(trials).split(BATCH)]).double()
    return values, logits, targets_of(trials)


def test_the_development_loss_is_the_published_mean_of_the_losses_of_batches(validated):
    """The loss is Σ(weighted mean of a batch × its size)/N, not the weighted mean of the set."""
    values, logits, targets = validated
    weights = torch.tensor([0.1, 0.9]).double()
    total = 0.0
    for logits_of_batch, truth in zip(logits.split(BATCH), targets.split(BATCH)):
        total += len(truth) * cross_entropy(logits_of_batch, truth, weights).item()
    assert values["val_loss_wo_aug"] == pytest.approx(total / len(targets), rel=1e-5)


def classes_of(logits, targets):
    """The scores of bona fide and of spoofed trials."""
    return logits[targets == 1, 1].numpy(), logits[targets == 0, 1].numpy()


def test_the_development_eer_its_threshold_and_the_min_dcf_are_those_of_the_metrics(validated):
    values, logits, targets = validated
    expected = metrics.compute_eer(*classes_of(logits, targets))
    assert (values["val_eer_wo_aug"], values["eer_threshold"]) == expected
    assert values["val_min_dcf_wo_aug"] == metrics.compute_min_dcf(*classes_of(logits, targets))


BOOTSTRAP = {"num_resamples": NUM_RESAMPLES, "seed": 1234}


def test_the_interval_of_the_development_eer_is_that_of_bootstrap_interval_over_trials(validated):
    """There are fewer than ten speakers."""
    values, logits, targets = validated
    interval = metrics.bootstrap_interval(metrics.compute_eer, *classes_of(logits, targets), **BOOTSTRAP)
    assert (values["val_eer_wo_aug_low"], values["val_eer_wo_aug_high"]) == interval


@pytest.fixture
def eer_rules(monkeypatch):
    """Corpus → the rule of its EER, in which a test may delete corpora."""
    rules = {"la": "asvspoof", "wild": "sklearn", "bona": "asvspoof"}
    monkeypatch.setattr("nes2net.training.objective.eer_methods", lambda data: rules)
    return rules


def scores_of(detector, trials):
    detector.eval()
    with torch.no_grad():
        return detector(waveforms_of(trials))[:, 1].double().numpy()


@pytest.fixture
def of_corpora(detector, trials, tmp_path, eer_rules):
    """What a validation on three corpora found, with a damaged file, and the scores of the classes of corpora."""
    several = []
    for name, trial in zip(["la", "wild", "wild"] * 4 + ["bona"] * 2, [*trials, *trials[:2]], strict=True):
        attack = "A1" if trial.target == 0 else None  # too few trials for a rate of its own
        several.append(replace(trial, id=f"{name}:{trial.id}", extra=(("corpus", name),), attack=attack))
    values = make(detector, damaged(several, tmp_path, {4}), recipe_of()).run(1)
    readable = several[:4] + several[5:]
    scores = scores_of(detector, readable)

    def by_class(*corpora):
        targets = np.array([trial.target if trial.get("corpus") in corpora else -1 for trial in readable])
        return scores[targets == 1], scores[targets == 0]

    return values, by_class


def test_each_of_several_development_corpora_has_its_eer_and_its_min_dcf(of_corpora, eer_rules):
    """Except a corpus of a single class."""
    values, by_class = of_corpora
    eers = {name: metrics.compute_eer(*by_class(name), eer_rules[name])[0] for name in ("la", "wild")}
    costs = {name: metrics.compute_min_dcf(*by_class(name)) for name in eers}
    expected = {f"val_eer_wo_aug/{name}": eer for name, eer in eers.items()}
    expected |= {f"val_min_dcf_wo_aug/{name}": cost for name, cost in costs.items()}
    assert {key: value for key, value in values.items() if "/" in key} == expected


@pytest.mark.parametrize("rate", ["eer", "min_dcf"])
@pytest.mark.parametrize("over, combine", [("mean", np.mean), ("worst", max)])
def test_a_rate_over_corpora_combines_those_of_the_corpora_that_have_the_rate(of_corpora, rate, over, combine):
    values, _ = of_corpora
    rates = [values[f"val_{rate}_wo_aug/{name}"] for name in ("la", "wild")]
    assert values[f"val_{rate}_wo_aug_{over}"] == pytest.approx(combine(rates))


def test_the_pooled_eer_of_corpora_with_different_rules_for_the_eer_follows_that_of_asvspoof(of_corpora, eer_rules):
    values, by_class = of_corpora
    assert values["val_eer_wo_aug"] == metrics.compute_eer(*by_class(*eer_rules), "asvspoof")[0]


def test_the_pooled_eer_of_corpora_with_one_rule_for_the_eer_follows_that_rule(detector, trials, eer_rules):
    del eer_rules["la"], eer_rules["bona"]
    values = make(detector, trials, recipe_of()).run(1)
    scores = scores_of(detector, trials)
    targets = targets_of(trials).numpy()
    expected = metrics.compute_eer(scores[targets == 1], scores[targets == 0], "sklearn")[0]
    assert values["val_eer_wo_aug"] == expected


def assert_interval(trials, num_failed, **groups):
    """The interval of the EER over trials of a speaker each is that over ``groups``."""
    trials = [replace(trial, speaker=f"s{number}") for number, trial in enumerate(trials)]
    targets = targets_of(trials).numpy()
    scores = np.random.default_rng(0).normal(targets, 1)
    validated = Validated("wo_aug", trials, targets, {"scores": scores}, num_failed)
    rates = error_rates(validated, 1, {"la": "asvspoof"}, 1234)
    by_class = scores[targets == 1], scores[targets == 0]
    expected = metrics.bootstrap_interval(metrics.compute_eer, *by_class, **groups, **BOOTSTRAP)
    assert (rates["val_eer_wo_aug_low"], rates["val_eer_wo_aug_high"]) == expected


def test_the_interval_of_the_eer_resamples_speakers(trials):
    speakers = np.array([f"s{number}" for number in range(12)])
    targets = targets_of(trials).numpy()
    assert_interval(trials, 0, bonafide_groups=speakers[targets == 1], spoof_groups=speakers[targets == 0])


def test_the_interval_of_the_eer_resamples_trials_if_a_file_failed(trials):
    assert_interval(trials, 1)


def test_a_damaged_development_file_is_reported_once_for_all_epochs(detector, trials, tmp_path, capsys):
    validator = make(detector, damaged(trials, tmp_path, {0}), recipe_of(augment={"algo": 4}))
    for epoch in (1, 2):
        validator.run(epoch)
    assert capsys.readouterr().err.count("failed: ") == 1


def test_a_development_set_without_usable_files_of_a_class_ends_the_run(detector, trials, tmp_path):
    spoofed = damaged(trials, tmp_path, {number for number, trial in enumerate(trials) if trial.target == 1})
    with input_error("the development set has 0 bona fide and 6 spoofed usable files"):
        make(detector, spoofed, recipe_of()).run(1)


def test_a_development_loss_of_nan_ends_the_run(detector, trials):
    torch.nn.init.constant_(detector.backend.last_layer.bias, float("nan"))
    with input_error(r"development loss is nan after epoch 3.*lower the learning rate"):
        make(detector, trials, recipe_of()).run(3)


TRAIN_MODE = {"validation": {"mode": "train"}}


def test_validation_in_train_mode_is_a_training_pass_without_steps(detector, trials):
    """It has the loss of such a pass, and batch statistics learn from the development set; published for GF, LGF and LLGF."""
    recipe = recipe_of(**TRAIN_MODE)
    total = 0.0
    detector_copy = deepcopy(detector).train()
    validator = make(detector, trials, recipe)
    criterion = Objective(detector_copy, recipe).criterion
    values = validator.run(1)
    with torch.no_grad():
        for waveforms, targets in zip(waveforms_of(trials).split(BATCH), targets_of(trials).split(BATCH)):
            total += len(targets) * criterion(detector_copy(waveforms), targets).item()
    assert values["val_loss_wo_aug"] == pytest.approx(total / len(trials), rel=1e-6)
    assert same(dict(detector.state_dict()), dict(detector_copy.state_dict()))


def test_validation_in_train_mode_is_refused_in_several_processes(detector, trials):
    recipe = recipe_of(**TRAIN_MODE)
    validator = make(detector, trials, recipe)
    with input_error("one after the other, but there are 2 processes: train in one"):
        Validator(validator.objective, {}, SimpleNamespace(num_processes=2), validator.monitor, recipe)


@pytest.fixture
def loss_with_dropout(trials, model_with_dropout):
    """A function that gives the loss of a validation in train mode after a seed was set, at an epoch."""
    detector = Detector.from_config(model_with_dropout)

    def validated(seed, epoch):
        validator = make(deepcopy(detector), trials, recipe_of(**TRAIN_MODE))
        torch.manual_seed(seed)
        return validator.run(epoch)["val_loss_wo_aug"]

    return validated


def test_dropout_in_train_mode_validation_does_not_depend_on_earlier_draws(loss_with_dropout):
    assert loss_with_dropout(seed=1, epoch=1) == loss_with_dropout(seed=2, epoch=1)


def test_dropout_in_train_mode_validation_differs_between_epochs(loss_with_dropout):
    assert loss_with_dropout(seed=1, epoch=1) != loss_with_dropout(seed=1, epoch=2)


@pytest.fixture
def values_in(detector, trials):
    """A function that validates with a precision of training, and perhaps with one of validation."""

    def validated(of_training, **validation):
        train = {"batch_size": BATCH, "precision": of_training}
        return make(detector, trials, recipe_of(train=train, validation=validation)).run(1)

    return validated


def test_validation_computes_in_the_precision_of_training_by_default(values_in):
    assert not same(values_in("bf16"), values_in("fp32"))


@pytest.mark.parametrize("of_training, precision", [("bf16", "fp32"), ("fp32", "bf16")])
def test_the_precision_of_validation_is_used_in_place_of_that_of_training(values_in, of_training, precision):
    assert same(values_in(of_training, precision=precision), values_in(precision))


@pytest.mark.parametrize("size", [2 * BATCH, *slow(3 * BATCH)])
@pytest.mark.parametrize("frontend", [{"name": "lps", "num_bins": 64}, SMALL_SPEECH], ids=["lps", "wav2vec2"])
def test_validation_in_larger_batches_gives_the_same_values_as_in_the_batches_of_training(
    trials, tmp_path, frontend, size
):
    """To the bit, also if files of such a batch, or all of them, cannot be read. There are 12 trials in batches of five."""
    torch.manual_seed(0)
    backend = {"name": "nes2net_x", "nes_ratio": [4, 4]}
    detector = Detector.from_config({"frontend": frontend, "backend": backend})
    rawboost = {"algo": 4}
    in_groups = recipe_of(augment=rawboost)
    in_larger_batches = recipe_of(augment=rawboost, validation={"batch_size": size})
    for broken in ((1,), (5, 6, 7, 8, 9)):
        usable = damaged(trials, tmp_path, broken)
        expected = make(detector, usable, in_groups).run(1)
        computed = make(detector, usable, in_larger_batches).run(1)
        assert same(computed, expected)


def test_a_validation_batch_size_that_is_no_multiple_of_that_of_training_is_refused():
    with input_error(r"several groups of `train.batch_size` \(5\) at once"):
        recipe_of(validation={"batch_size": BATCH + 1})


def test_larger_validation_batches_are_refused_if_the_front_end_normalises_over_a_batch(trials):
    model = {"frontend": {"name": "wav2vec2_small", "normalize": "batch"}, "backend": "asp_mlp"}
    with input_error("normalises over the utterances computed at once"):
        make(Detector.from_config(model), trials, recipe_of(validation={"batch_size": 10}))
