"""Optimisers and schedules agree with the published learning rates."""

import pytest
import torch
from builders import golden
from torch import nn

from nes2net.recipes.recipe import TrainConfig
from nes2net.training.optimisation import create_optimizer, learning_rate, plateaus

GOLDEN = golden.read("losses_schedules_names")


def rates(train, steps_per_epoch, steps):
    rate = learning_rate(train, steps_per_epoch)
    return [rate(step) for step in range(steps)]


def test_ctrsvdd_changes_once_an_epoch():
    expected = GOLDEN["ctrsvdd_lr_per_epoch_Tmax5"]
    train = TrainConfig(epochs=75, lr=1e-6, min_lr=1e-9, schedule="cosine_epochs", t_max=5)
    taken = rates(train, 3, 3 * len(expected))
    assert taken[::3] == pytest.approx(expected, rel=0, abs=1e-18)
    assert taken[::3] == taken[1::3] == taken[2::3]


def test_asvspoof5_changes_every_step():
    published = GOLDEN["asv5_cosine_factor"]
    train = TrainConfig(epochs=10, lr=1e-6, min_lr=1e-7, schedule="cosine")
    rate = learning_rate(train, published["total_steps"] // 10)
    taken = [rate(step) / train.lr for step in range(published["total_steps"] + 1)]
    assert taken == pytest.approx(
        published["factors"][: len(taken)], rel=0, abs=1e-12
    )  # steps beyond the last never come


def test_inverse_square_root_is_the_mpif_groups():
    """64^−0.5 · min(s^−0.5, s · 1000^−1.5), s from 1."""
    train = TrainConfig(lr=64**-0.5 * 1000**-0.5, schedule="inverse_sqrt", warmup_steps=1000)
    rate = learning_rate(train, 100)
    for s in (1, 2, 999, 1000, 1001, 20000):
        assert rate(s - 1) == pytest.approx(64**-0.5 * min(s**-0.5, s * 1000**-1.5), rel=1e-12)


def test_constant_and_warm_up():
    assert rates(TrainConfig(lr=2.5e-7), 4, 5) == [2.5e-7] * 5
    assert rates(TrainConfig(lr=1.0, warmup_steps=3), 4, 6) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("name, kind", [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_a_step_is_the_named_optimisers(name, kind):
    train = TrainConfig(optimizer=name, lr=0.1, weight_decay=0.5, adam_betas=[0.8, 0.9], adam_eps=1e-3, amsgrad=True)
    ours, theirs = (nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    options = {"lr": 0.1, "weight_decay": 0.5, "betas": (0.8, 0.9), "eps": 1e-3, "amsgrad": True}
    for parameter, optimizer in ((ours, create_optimizer([ours], train)), (theirs, kind([theirs], **options))):
        for gradient in ([1.0, 2.0], [-0.5, 0.1]):
            parameter.grad = torch.tensor(gradient)
            optimizer.step()
    assert torch.equal(ours, theirs) and not torch.equal(ours, torch.tensor([1.0, -2.0]))


def test_moments_pass_between_the_fused_optimiser_and_the_other():
    """On CUDA it is fused, so a run that moves between a GPU and a CPU hands them over."""
    taken = []
    for first, then in ((None, None), (None, True), (True, None)):
        parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
        state = None
        for fused in (first, then):
            optimizer = torch.optim.Adam([parameter], lr=0.1, fused=fused)
            if state is not None:  # as RunState.load does
                optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
            parameter.grad = torch.tensor([1.0, 2.0])
            optimizer.step()
            state = optimizer.state_dict()["state"]
        taken.append(parameter.detach())
    torch.testing.assert_close(taken[1], taken[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(taken[2], taken[0], rtol=1e-6, atol=0)


def test_a_frozen_parameter_stays_as_it_is():
    """Without a gradient nothing is subtracted, not even weight decay."""
    frozen, trained = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = create_optimizer([frozen, trained], TrainConfig(optimizer="adamw", lr=0.1, weight_decay=0.5))
    trained.grad = torch.ones(1)
    optimizer.step()
    assert frozen.item() == 1 and trained.item() < 1


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ([3.0, 2.0, 1.0], 0),
        ([1.0, 1.0, 2.0], 0),  # the first is the best, two wait
        ([1.0, 1.0, 2.0, 3.0], 1),
        ([1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0], 2),
        ([1.0, 2.0, 2.0, 0.5, 2.0, 2.0], 0),
    ],
)
def test_plateaus_are_three_losses_in_a_row_that_are_not_lower(losses, found):
    assert plateaus(losses, patience=3) == found
