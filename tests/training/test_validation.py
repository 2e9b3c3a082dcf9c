"""Validation: its epochs, the published loss, rates with interval, and several processes."""

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from builders import golden

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
SAMPLES, BATCH = 8000, 5  # 12 trials: the last batch has two


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


def make(detector, corpus, recipe, rank=0, world_size=1, *, copies=1, batch_size=BATCH, num_workers=0):
    trials = asvspoof2019_la.CORPUS.trials(corpus, "dev") * copies
    loaders = {}
    for name in passes(recipe.augment, recipe.validation):
        algo = recipe.augment.algo if name == "w_aug" else 0
        dataset = TrainingSet(Examples(trials), SAMPLES, [RawBoost(algo)] if algo else (), seed=recipe.seed, part="dev")
        batches = EpochBatches(
            len(trials), batch_size, recipe.seed, False, share=StepShare(rank=rank, world_size=world_size)
        )
        loaders[name] = training_loader(dataset, batches, num_workers, False)
    monitor = Monitor(Selection("run", recipe.train, recipe.validation, list(loaders)), Path("log"))
    objective = Objective(detector, recipe)
    return Validator(objective, loaders, Accelerator(cpu=True), monitor, recipe, {"asvspoof2019_la": "asvspoof"})


def test_values_are_the_published_ones(detector, corpus):
    """The loss is Σ(weighted mean of a batch × its size)/N, not the weighted mean of the set.

    Rates are those that evaluation computes from the scores.
    """
    recipe = recipe_of(augment={"algo": 4})
    values = make(detector, corpus, recipe).run(1)
    trials = asvspoof2019_la.CORPUS.trials(corpus, "dev")
    detector.eval()
    dataset = TrainingSet(Examples(trials), SAMPLES)
    waveforms = torch.stack([torch.from_numpy(dataset.prepare(index, 1)[0]) for index in range(len(trials))])
    with torch.no_grad():
        logits = detector(waveforms).double()
    targets = torch.tensor([t.target for t in trials])
    total = 0.0
    for start in range(0, len(trials), BATCH):
        part, truth = logits[start : start + BATCH], targets[start : start + BATCH]
        total += len(truth) * torch.nn.functional.cross_entropy(part, truth, torch.tensor([0.1, 0.9]).double()).item()
    assert values["val_loss_wo_aug"] == pytest.approx(total / len(trials), rel=1e-5)
    whole = torch.nn.functional.cross_entropy(logits, targets, torch.tensor([0.1, 0.9]).double()).item()
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


def test_each_of_several_corpora_has_its_values(detector, own_corpus):
    """Also if a file is left out: scores are told apart by their trials."""
    trials = [
        replace(trial, id=f"{name}:{trial.id}", extra=(("corpus", name),), attack="A1" if trial.target == 0 else None)
        for name, trial in zip(
            ["la", "wild", "wild"] * 4, asvspoof2019_la.CORPUS.trials(own_corpus, "dev"), strict=True
        )
    ] + [
        replace(trial, id=f"bona:{trial.id}", extra=(("corpus", "bona"),))
        for trial in asvspoof2019_la.CORPUS.trials(own_corpus, "dev")[:2]
    ]
    trials[4].path.write_bytes(b"damaged")
    validator = make(detector, own_corpus, recipe_of())
    validator.eer_methods = {"la": "asvspoof", "wild": "sklearn", "bona": "asvspoof"}
    dataset = TrainingSet(Examples(trials), SAMPLES, part="dev")
    validator.loaders = {"wo_aug": training_loader(dataset, EpochBatches(14, 5, 1, False), 0, False)}
    values = validator.run(1)
    used = [trial for place, trial in enumerate(trials) if place != 4]
    waveforms = torch.stack(
        [torch.from_numpy(dataset.prepare(place, 1)[0]) for place in range(len(trials)) if place != 4]
    )
    with torch.no_grad():
        scores = detector.eval()(waveforms)[:, 1].double().numpy()
    eers, costs = {}, {}
    for name, method in (("la", "asvspoof"), ("wild", "sklearn")):
        of_class = [
            scores[[trial.get("corpus") == name and trial.target == target for trial in used]] for target in (1, 0)
        ]
        eers[name] = metrics.compute_eer(*of_class, method)[0]
        costs[name] = metrics.compute_min_dcf(*of_class)
    assert {key: value for key, value in values.items() if "/" in key} == {
        **{f"val_eer_wo_aug/{name}": eer for name, eer in eers.items()},
        **{f"val_min_dcf_wo_aug/{name}": cost for name, cost in costs.items()},
    }  # the third corpus has one class, and no attack has enough trials
    assert values["val_eer_wo_aug_mean"] == pytest.approx(np.mean(list(eers.values())))
    assert values["val_min_dcf_wo_aug_worst"] == max(costs.values())
    assert (
        values["val_eer_wo_aug"]
        == metrics.compute_eer(*(scores[[trial.target == target for trial in used]] for target in (1, 0)))[0]
    )


def _validate_in_a_process(rank, world_size, corpus, folder):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "LOCAL_WORLD_SIZE": str(world_size)}
    torch.set_num_threads(1)
    # They meet in a file, because a port found free may be taken by then.
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=world_size)
    values = make(small_detector(), corpus, recipe_of(), rank, world_size).run(1)
    (folder / f"{rank}.json").write_text(json.dumps(values))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_values_of_one(corpus, tmp_path):
    """Both processes have them, bit for bit, if all compute in one thread."""
    torch.multiprocessing.spawn(_validate_in_a_process, (2, corpus, tmp_path), nprocs=2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = make(small_detector(), corpus, recipe_of()).run(1)
    torch.set_num_threads(threads)
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)] == [alone, alone]


def test_speakers_are_drawn_where_there_are_enough(detector, corpus):
    trials = [
        type(t)(t.id, t.path, t.label, speaker=f"s{i}")
        for i, t in enumerate(asvspoof2019_la.CORPUS.trials(corpus, "dev"))
    ]
    validator = make(detector, corpus, recipe_of())
    rng = np.random.default_rng(0)
    targets = np.array([t.target for t in trials])
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


def test_results_are_in_the_order_of_the_set(detector, corpus, monkeypatch):
    """The interval draws from scores in the order of trials, whatever order they arrive in."""
    validator = make(detector, corpus, recipe_of())
    results = [_BatchResult(n, 0.0, np.array([float(n)]), np.array([0]), [], [], {}) for n in (0, 2, 4, 1, 3)]
    orders = []
    monkeypatch.setattr(validator, "_pass", lambda *of_pass: list(results))
    monkeypatch.setattr(
        validator, "_values", lambda name, found, *rest: orders.append([one.number for one in found]) or {}
    )
    validator.run(1)
    assert orders == [[0, 1, 2, 3, 4]] * len(validator.loaders)


def test_a_pass_of_many_batches_keeps_no_files_open(detector, corpus):
    """Tensors from workers lie in shared memory and keep a file open each."""
    resource = pytest.importorskip("resource")
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files are counted in /proc")
    validator = make(detector, corpus, recipe_of(), copies=25, batch_size=1, num_workers=1)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 150, limits[1]))
    try:
        values = validator.run(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert math.isfinite(values["val_loss_wo_aug"]) and len(validator.loaders["wo_aug"]) == 300


@pytest.fixture
def own_corpus(corpus, tmp_path):
    """A copy of the development set that a test may damage."""
    for name in ("ASVspoof2019_LA_dev", "ASVspoof_LA_cm_protocols"):
        shutil.copytree(corpus / name, tmp_path / name)
    return tmp_path


def test_damaged_files_are_left_out_and_named_once(detector, own_corpus, capsys):
    trials = asvspoof2019_la.CORPUS.trials(own_corpus, "dev")
    trials[0].path.write_bytes(b"damaged")
    validator = make(detector, own_corpus, recipe_of(augment={"algo": 4}))
    values = validator.run(1)
    assert all(math.isfinite(value) for value in values.values())
    validator.run(2)
    assert capsys.readouterr().err.count("left out: ") == 1
    for trial in trials:
        if trial.label == "bonafide":
            trial.path.write_bytes(b"damaged")
    with pytest.raises(InputError, match="the development set has 0 bona fide and 6 spoofed usable files"):
        make(detector, own_corpus, recipe_of()).run(1)


def test_speakers_are_not_drawn_where_files_are_left_out(detector, own_corpus):
    """The interval does not know whose scores are missing."""
    trials = asvspoof2019_la.CORPUS.trials(own_corpus, "dev")
    trials[0].path.write_bytes(b"damaged")
    found = []
    for speakers in (False, True):
        validator = make(detector, own_corpus, recipe_of())
        dataset = validator.loaders["wo_aug"].dataset
        dataset.trials = [
            type(t)(t.id, t.path, t.label, speaker=f"s{i}" if speakers else None) for i, t in enumerate(trials)
        ]
        found.append(validator.run(1))
    assert found[0] == found[1]


def test_a_network_that_has_lost_itself_is_said(detector, corpus):
    broken = Detector.from_config(detector.config)
    with torch.no_grad():
        broken.backend.fc.bias.fill_(float("nan"))
    with pytest.raises(InputError, match=r"development loss is nan after epoch 3.*lower the learning rate"):
        make(broken, corpus, recipe_of()).run(3)


def test_in_train_mode_batch_statistics_learn_from_the_development_set(corpus):
    """As published for GF, LGF and LLGF: the loss is that of a pass of training without steps."""
    recipe = recipe_of(validation={"mode": "train"})
    detector, other = small_detector(), small_detector()
    other.load_state_dict(detector.state_dict())
    values = make(detector, corpus, recipe).run(1)
    trials = asvspoof2019_la.CORPUS.trials(corpus, "dev")
    total, criterion = 0.0, Objective(other, recipe).criterion
    other.train()
    with torch.no_grad():
        for first in range(0, len(trials), BATCH):
            batch = trials[first : first + BATCH]
            dataset = TrainingSet(Examples(batch), SAMPLES)
            waveforms = torch.stack([torch.from_numpy(dataset.prepare(i, 1)[0]) for i in range(len(batch))])
            total += len(batch) * criterion(other(waveforms), torch.tensor([t.target for t in batch])).item()
    assert values["val_loss_wo_aug"] == pytest.approx(total / len(trials), rel=1e-6)
    for (name, found), expected in zip(detector.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(found, expected), name
    fresh = small_detector().state_dict()
    assert any(not torch.equal(value, fresh[name]) for name, value in detector.state_dict().items())


def test_dropout_in_validation_draws_by_seed_epoch_and_batch(corpus, model_with_dropout):
    """What was drawn before does not matter."""
    detector = Detector.from_config(model_with_dropout)
    validator = make(detector, corpus, recipe_of(validation={"mode": "train"}))
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    found = []
    for seed, epoch in ((1, 1), (2, 1), (1, 2)):
        detector.load_state_dict(before)
        torch.manual_seed(seed)
        found.append(validator.run(epoch)["val_loss_wo_aug"])
    assert found[0] == found[1] != found[2]


def test_train_mode_is_for_one_process(detector, corpus):
    validator = make(detector, corpus, recipe_of())
    many = SimpleNamespace(num_processes=2)
    with pytest.raises(InputError, match="one after the other, but there are 2 processes: train in one"):
        Validator(validator.objective, {}, many, validator.monitor, recipe_of(validation={"mode": "train"}), {})
