"""Optimisers and schedules agree with the published learning rates."""

import pytest
import torch
from builders import golden
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from nes2net import Detector
from nes2net.training.optimisation import (
    count_plateaus,
    create_optimizer,
    learning_rate_schedule,
    parameter_groups,
    set_learning_rate,
)
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.recipes.train import TrainConfig

GOLDEN = golden.read("losses_schedules_names")


def rates(steps_per_epoch, steps, **train):
    rate = learning_rate_schedule(TrainConfig(**train), steps_per_epoch)
    return [rate(step) for step in range(steps)]


def test_the_learning_rate_of_ctrsvdd_changes_once_an_epoch_as_published():
    expected = GOLDEN["ctrsvdd_lr_per_epoch_Tmax5"]
    rates_of_steps = rates(3, 3 * len(expected), epochs=75, lr=1e-6, min_lr=1e-9, schedule="cosine_epochs", t_max=5)
    assert rates_of_steps[::3] == pytest.approx(expected, abs=1e-18)
    assert rates_of_steps[::3] == rates_of_steps[1::3] == rates_of_steps[2::3]


def test_the_learning_rate_of_asvspoof5_changes_every_step_as_published():
    published = GOLDEN["asv5_cosine_factor"]
    steps = published["total_steps"]
    rates_of_steps = rates(
        steps // 10, steps + 1, epochs=10, lr=1e-6, min_lr=1e-7, schedule="cosine"
    )  # later ones never come
    factors = [rate / 1e-6 for rate in rates_of_steps]
    assert factors == pytest.approx(published["factors"][: len(rates_of_steps)], abs=1e-12)


def test_a_constant_learning_rate_without_a_warm_up_is_the_same_in_each_step():
    assert rates(4, 5, lr=2.5e-7) == [2.5e-7] * 5


def test_a_constant_learning_rate_rises_by_equal_steps_in_its_warm_up_and_stays():
    assert rates(4, 6, lr=1.0, warmup_steps=3) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_the_learning_rate_of_the_schedule_step_is_halved_every_five_epochs_by_default():
    """As published for GF, LGF and LLGF."""
    rates_of_steps = rates(2, 24, lr=3e-4, schedule="step")
    assert rates_of_steps[::2] == rates_of_steps[1::2] == [3e-4] * 5 + [1.5e-4] * 5 + [7.5e-5] * 2


def test_the_learning_rate_of_the_schedule_step_is_lower_during_a_warm_up():
    warmed_up = rates(1, 3, lr=1.0, schedule="step", decay_epochs=1, decay_factor=0.1, warmup_steps=1)
    assert warmed_up == pytest.approx([0.5, 0.1, 0.01], rel=1e-12)


def test_the_learning_rate_of_mpif_res2net_follows_its_formula_with_the_inverse_square_root():
    """64^−0.5 · min(s^−0.5, s · 1000^−1.5), s from 1; the recipe has rounded its lr."""
    train = load_recipe("asvspoof2019_mpif_res2net").train
    exact = TrainConfig(lr=64**-0.5 * 1000**-0.5, schedule="inverse_sqrt", warmup_steps=1000)
    for config, precision in ((train, 1e-4), (exact, 1e-12)):
        rate = learning_rate_schedule(config, steps_per_epoch=100)
        for s in (1, 2, 999, 1000, 1001, 20000):
            assert rate(s - 1) == pytest.approx(64**-0.5 * min(s**-0.5, s * 1000**-1.5), rel=precision)


def test_the_learning_rate_of_moe_rises_from_zero_for_three_epochs_and_falls_as_published():
    """PyTorch computes the published schedule: a multiplier for each epoch."""
    rise, fall = (torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1e-5) for _ in range(2))
    expected = []
    for schedule, epochs in ((LambdaLR(rise, lambda epoch: epoch / 3), 3), (CosineAnnealingLR(fall, 47), 47)):
        for _ in range(epochs):
            expected += schedule.get_last_lr() * 4
            schedule.optimizer.step()
            schedule.step()
    rates_of_steps = rates(4, 200, lr=1e-5, schedule="cosine_epochs", t_max=50, warmup_epochs=3, warmup_from_zero=True)
    assert rates_of_steps == pytest.approx(expected, rel=1e-9, abs=1e-18)


def test_the_learning_rate_in_a_warm_up_of_epochs_starts_above_zero_by_default():
    gentle = rates(1, 6, lr=1.0, schedule="cosine_epochs", t_max=5, warmup_epochs=3)
    assert gentle == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.5, 0.0])


def test_layer_decay_lowers_the_learning_rate_of_each_layer_from_the_top_down(small_model):
    """As in BEiT's code: x^(L + 1 − depth), depth 0 before the layers, L + 1 for the head."""
    detector = Detector.from_config(small_model)  # two layers, normalised first
    groups = parameter_groups(detector, detector.parameters(), 0.5)
    optimizer = create_optimizer(groups, TrainConfig(lr=1.0))
    set_learning_rate(optimizer, 8.0)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    expected = {
        "encoder.layers.0.": 2.0,
        "encoder.layers.1.": 4.0,
        "encoder.layer_norm.": 8.0,
        "backend.": 8.0,
        "": 1.0,
    }
    for name, parameter in detector.named_parameters():
        assert rates.pop(id(parameter)) == next(rate for layer, rate in expected.items() if layer in name), name
    assert not rates


@pytest.mark.parametrize("name, kind", [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_the_optimiser_and_its_options_are_those_of_the_recipe(name, kind):
    train = TrainConfig(optimizer=name, lr=0.1, weight_decay=0.5, adam_betas=[0.8, 0.9], adam_eps=1e-3, amsgrad=True)
    optimizer = create_optimizer([nn.Parameter(torch.ones(1))], train)
    options = {"lr": 0.1, "weight_decay": 0.5, "betas": (0.8, 0.9), "eps": 1e-3, "amsgrad": True}
    assert type(optimizer) is kind
    assert options.items() <= optimizer.defaults.items()


def test_a_plateau_of_patience_three_is_three_losses_in_a_row_not_below_the_best_so_far():
    losses = ([1.0, 1.0, 2.0], [1.0, 1.0, 2.0, 3.0], [1.0, *[2.0] * 6], [1.0, 2.0, 2.0, 0.5, 2.0, 2.0])
    assert [count_plateaus(dev_losses, 3) for dev_losses in losses] == [0, 1, 2, 0]  # the first is the best, two wait
