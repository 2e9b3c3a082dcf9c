"""Validation: its epochs, the published loss, rates with interval, and several processes."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from builders import golden
from builders.runs import same

from nes2net import Detector, InputError, metrics
from nes2net.augment.rawboost import RawBoost
from nes2net.corpora import asvspoof2019_la
from nes2net.recipes.augment import AugmentConfig
from nes2net.recipes.recipe import recipe_from_dict
from nes2net.recipes.train import TrainConfig
from nes2net.recipes.validation import ValidationConfig
from nes2net.training.dataset import Examples, TrainingSet, training_loader
from nes2net.training.monitor import Monitor
from nes2net.training.objective import Objective
from nes2net.training.sampling import EpochBatches, StepShare
from nes2net.training.selection import Selection
from nes2net.training.validation import NUM_RESAMPLES, Validator, _BatchResult, is_due, passes

GOLDEN = golden.read("losses_schedules_names")
SAMPLES, BATCH = 4000, 5  # 12 trials: the last batch has two


def recipe_of(**sections):
    values = {"data": {"num_samples": SAMPLES}, **sections}
    return recipe_from_dict(values)


@pytest.mark.parametrize("t_max", [5, 4])
def test_ctrsvdd_is_validated_at_the_published_epochs(t_max):
    recipe = recipe_of(
        train={"epochs": 75, "schedule": "cosine_epochs", "t_max": t_max}, validation={"epochs": "around_minima"}
    )
    due = [epoch for epoch in range(1, 76) if is_due(epoch, recipe.train, recipe.validation)]
    assert due == GOLDEN[f"ctrsvdd_validation_epochs_Tmax{t_max}"]


def test_a_first_epoch_and_always_the_last():
    late = ValidationConfig(first_epoch=10)
    assert [epoch for epoch in range(1, 16) if is_due(epoch, TrainConfig(epochs=15), late)] == [10, 11, 12, 13, 14, 15]
    assert [epoch for epoch in range(1, 4) if is_due(epoch, TrainConfig(epochs=3), late)] == [3]
    assert all(is_due(epoch, TrainConfig(), ValidationConfig()) for epoch in range(1, 101))


@pytest.mark.parametrize(
    "algo, augmented, expected",
    [(4, True, ("w_aug", "wo_aug")), (4, False, ("wo_aug",)), (0, True, ("wo_aug",))],
)
def test_passes(algo, augmented, expected):
    assert passes(AugmentConfig(algo=algo), ValidationConfig(augmented=augmented)) == expected


@pytest.fixture(scope="module")
def detector():
    return small_detector()


def small_detector():
    torch.manual_seed(0)
    frontend = {"name": "lps", "n_fft": 256, "hop_length": 256, "num_bins": 32, "normalize": True}
    return Detector.from_config({"frontend": frontend, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}})


@pytest.fixture(scope="module")
def trials(corpus):
    return asvspoof2019_la.CORPUS.trials(corpus, "dev")


def make(detector, trials, recipe, rank=0, world_size=1, *, batch_size=BATCH, num_workers=0, rules=("asvspoof",)):
    loaders = {}
    for name in passes(recipe.augment, recipe.validation):
        algo = recipe.augment.algo if name == "w_aug" else 0
        dataset = TrainingSet(Examples(trials), SAMPLES, [RawBoost(algo)] if algo else (), seed=recipe.seed, part="dev")
        share = StepShare(rank=rank, world_size=world_size)
        batches = EpochBatches(len(trials), batch_size, recipe.seed, False, share=share)
        loaders[name] = training_loader(dataset, batches, num_workers, False)
    monitor = Monitor(Selection("run", recipe.train, recipe.validation, list(loaders)), Path("log"))
    methods = dict(zip(("la", "wild"), rules))
    return Validator(Objective(detector, recipe), loaders, Accelerator(cpu=True), monitor, recipe, methods)


def waveforms_of(trials):
    dataset = TrainingSet(Examples(trials), SAMPLES)
    return torch.stack([torch.from_numpy(dataset.prepare(index, 1)[0]) for index in range(len(trials))])


def targets_of(trials):
    return torch.tensor([trial.target for trial in trials])


def damaged(trials, folder, which):
    """Trials of which those at the places ``which`` cannot be read."""
    file = folder / "damaged.flac"
    file.write_bytes(b"damaged")
    return [replace(trial, path=file) if place in which else trial for place, trial in enumerate(trials)]


def test_values_are_the_published_ones(detector, trials):
    """The loss is Σ(weighted mean of a batch × its size)/N, not the weighted mean of the set.

    Rates are those that evaluation computes from the scores.
    """
    recipe = recipe_of(augment={"algo": 4})
    values = make(detector, trials, recipe).run(1)
    detector.eval()
    with torch.no_grad():
        logits = detector(waveforms_of(trials)).double()
    targets, weights, total = targets_of(trials), torch.tensor([0.1, 0.9]).double(), 0.0
    for start in range(0, len(trials), BATCH):
        part, truth = logits[start : start + BATCH], targets[start : start + BATCH]
        total += len(truth) * torch.nn.functional.cross_entropy(part, truth, weights).item()
    assert values["val_loss_wo_aug"] == pytest.approx(total / len(trials), rel=1e-5)
    whole = torch.nn.functional.cross_entropy(logits, targets, weights).item()
    assert values["val_loss_wo_aug"] != pytest.approx(whole, rel=1e-5)
    bonafide, spoof = logits[targets == 1, 1].numpy(), logits[targets == 0, 1].numpy()
    assert values["val_eer_wo_aug"] == metrics.compute_eer(bonafide, spoof)[0]
    assert values["val_min_dcf_wo_aug"] == metrics.compute_min_dcf(bonafide, spoof)
    low, high = metrics.bootstrap_interval(
        metrics.compute_eer, bonafide, spoof, num_resamples=NUM_RESAMPLES, seed=recipe.seed
    )  # fewer than ten speakers: over trials
    assert (values["val_eer_wo_aug_low"], values["val_eer_wo_aug_high"]) == (low, high)
    assert values["val_loss_w_aug"] != values["val_loss_wo_aug"] and not detector.training
    assert set(values) - {"val_eer_wo_aug_low", "val_eer_wo_aug_high"} == {
        f"val_{what}_{name}" for what in ("loss", "eer", "min_dcf") for name in ("w_aug", "wo_aug")
    }


def test_each_of_several_corpora_has_its_values(detector, trials, tmp_path):
    """Also if a file is left out: scores are told apart by their trials."""
    several = [
        replace(trial, id=f"{name}:{trial.id}", extra=(("corpus", name),), attack="A1" if trial.target == 0 else None)
        for name, trial in zip(["la", "wild", "wild"] * 4, trials, strict=True)
    ] + [replace(trial, id=f"bona:{trial.id}", extra=(("corpus", "bona"),)) for trial in trials[:2]]
    validator = make(detector, damaged(several, tmp_path, {4}), recipe_of(), rules=("asvspoof", "sklearn"))
    validator.eer_methods["bona"] = "asvspoof"
    values = validator.run(1)
    used = [trial for place, trial in enumerate(several) if place != 4]
    with torch.no_grad():
        scores = detector.eval()(waveforms_of(used))[:, 1].double().numpy()

    def of_class(*corpora):
        chosen = [[t.get("corpus") in corpora and t.target == target for t in used] for target in (1, 0)]
        return [scores[places] for places in chosen]

    eers = {
        name: metrics.compute_eer(*of_class(name), method)[0]
        for name, method in validator.eer_methods.items()
        if name != "bona"
    }
    costs = {name: metrics.compute_min_dcf(*of_class(name)) for name in eers}
    assert {key: value for key, value in values.items() if "/" in key} == {
        **{f"val_eer_wo_aug/{name}": eer for name, eer in eers.items()},
        **{f"val_min_dcf_wo_aug/{name}": cost for name, cost in costs.items()},
    }  # the third corpus has one class, and no attack has enough trials
    assert values["val_eer_wo_aug_mean"] == pytest.approx(np.mean(list(eers.values())))
    assert values["val_min_dcf_wo_aug_worst"] == max(costs.values())
    assert values["val_eer_wo_aug"] == metrics.compute_eer(*of_class("la", "wild", "bona"), "asvspoof")[0]
    assert make(detector, trials, recipe_of(), rules=("sklearn",)).eer_method == "sklearn"


def _validate_in_a_process(rank, world_size, corpus, folder):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "LOCAL_WORLD_SIZE": str(world_size)}
    torch.set_num_threads(1)
    # They meet in a file, because a port found free may be taken by then.
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=world_size)
    trials = asvspoof2019_la.CORPUS.trials(corpus, "dev")
    values = make(small_detector(), trials, recipe_of(), rank, world_size).run(1)
    (folder / f"{rank}.json").write_text(json.dumps(values))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_values_of_one(corpus, trials, tmp_path):
    """Both processes have them, bit for bit, if all compute in one thread."""
    torch.multiprocessing.spawn(_validate_in_a_process, (2, corpus, tmp_path), nprocs=2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = make(small_detector(), trials, recipe_of()).run(1)
    torch.set_num_threads(threads)
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)] == [alone, alone]


def with_speakers(trials):
    return [replace(trial, speaker=f"s{place}") for place, trial in enumerate(trials)]


def test_speakers_are_drawn_where_there_are_enough(detector, trials):
    trials, rng, targets = with_speakers(trials), np.random.default_rng(0), targets_of(trials).numpy()
    validator = make(detector, trials, recipe_of())
    bonafide, spoof = rng.normal(1, 1, sum(targets)), rng.normal(0, 1, sum(1 - targets))
    groups = {f"{k}_groups": [t.speaker for t in trials if t.label == k] for k in ("bonafide", "spoof")}
    expected = metrics.bootstrap_interval(
        metrics.compute_eer, bonafide, spoof, num_resamples=NUM_RESAMPLES, seed=1234, **groups
    )
    scores = np.zeros(len(trials))
    scores[targets == 1], scores[targets == 0] = bonafide, spoof
    results = [_BatchResult(0, 0.5, scores, targets, [], [], {})]
    found, of_some = (validator._values("wo_aug", results, of, 1) for of in (trials, [*trials, trials[0]]))
    assert (found["val_eer_wo_aug_low"], found["val_eer_wo_aug_high"]) == expected
    assert (of_some["val_eer_wo_aug_low"], of_some["val_eer_wo_aug_high"]) != expected


def test_speakers_are_not_drawn_where_files_are_left_out(detector, trials, tmp_path):
    """The interval does not know whose scores are missing."""
    trials = damaged([replace(trial, speaker=None) for trial in trials], tmp_path, {0})
    assert same(*(make(detector, of, recipe_of()).run(1) for of in (trials, with_speakers(trials))))


def test_results_are_in_the_order_of_the_set(detector, trials, monkeypatch):
    """The interval draws from scores in the order of trials, whatever order they arrive in."""
    validator = make(detector, trials, recipe_of())
    results = [_BatchResult(n, 0.0, np.array([float(n)]), np.array([0]), [], [], {}) for n in (0, 2, 4, 1, 3)]
    orders = []
    monkeypatch.setattr(validator, "_pass", lambda *of_pass: list(results))
    monkeypatch.setattr(
        validator, "_values", lambda name, found, *rest: orders.append([one.number for one in found]) or {}
    )
    validator.run(1)
    assert orders == [[0, 1, 2, 3, 4]] * len(validator.loaders)


def test_a_pass_of_many_batches_keeps_no_files_open(detector, trials):
    """Tensors from workers lie in shared memory and keep a file open each."""
    resource = pytest.importorskip("resource")
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files are counted in /proc")
    validator = make(detector, trials * 10, recipe_of(), batch_size=1, num_workers=1)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 60, limits[1]))
    try:
        values = validator.run(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert math.isfinite(values["val_loss_wo_aug"]) and len(validator.loaders["wo_aug"]) == 120


def test_damaged_files_are_left_out_and_named_once(detector, trials, tmp_path, capsys):
    validator = make(detector, damaged(trials, tmp_path, {0}), recipe_of(augment={"algo": 4}))
    values = validator.run(1)
    assert all(math.isfinite(value) for value in values.values())
    validator.run(2)
    assert capsys.readouterr().err.count("left out: ") == 1
    spoofed = damaged(trials, tmp_path, {place for place, trial in enumerate(trials) if trial.target == 1})
    with pytest.raises(InputError, match="the development set has 0 bona fide and 6 spoofed usable files"):
        make(detector, spoofed, recipe_of()).run(1)


def test_a_network_that_has_lost_itself_is_said(detector, trials):
    broken = Detector.from_config(detector.config)
    with torch.no_grad():
        broken.backend.fc.bias.fill_(float("nan"))
    with pytest.raises(InputError, match=r"development loss is nan after epoch 3.*lower the learning rate"):
        make(broken, trials, recipe_of()).run(3)


def test_in_train_mode_batch_statistics_learn_from_the_development_set(trials):
    """As published for GF, LGF and LLGF: the loss is that of a pass of training without steps."""
    recipe = recipe_of(validation={"mode": "train"})
    detector, other = small_detector(), small_detector().train()
    values = make(detector, trials, recipe).run(1)
    total, criterion = 0.0, Objective(other, recipe).criterion
    with torch.no_grad():
        for first in range(0, len(trials), BATCH):
            batch = trials[first : first + BATCH]
            total += len(batch) * criterion(other(waveforms_of(batch)), targets_of(batch)).item()
    assert values["val_loss_wo_aug"] == pytest.approx(total / len(trials), rel=1e-6)
    assert same(dict(detector.state_dict()), dict(other.state_dict()))
    assert not same(dict(detector.state_dict()), dict(small_detector().state_dict()))


def test_dropout_in_validation_draws_by_seed_epoch_and_batch(trials, model_with_dropout):
    """What was drawn before does not matter."""
    detector = Detector.from_config(model_with_dropout)
    validator = make(detector, trials, recipe_of(validation={"mode": "train"}))
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    found = []
    for seed, epoch in ((1, 1), (2, 1), (1, 2)):
        detector.load_state_dict(before)
        torch.manual_seed(seed)
        found.append(validator.run(epoch)["val_loss_wo_aug"])
    assert found[0] == found[1] != found[2]


def test_train_mode_is_for_one_process(detector, trials):
    validator = make(detector, trials, recipe_of())
    many = SimpleNamespace(num_processes=2)
    with pytest.raises(InputError, match="one after the other, but there are 2 processes: train in one"):
        Validator(validator.objective, {}, many, validator.monitor, recipe_of(validation={"mode": "train"}), {})
