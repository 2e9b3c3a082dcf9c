"""Savings of memory or time in a run: precision, accumulation, a frozen front-end."""

from contextlib import contextmanager

import pytest
import torch
from builders.recipes import SPECTRAL_RUN, short_run
from builders.runs import same, state_of, weights_of
from builders.small_parts import SPECTRUM
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.testing import assert_close

from nes2net import Detector
from nes2net.models.checkpoints.state_dict import load_state_dict
from nes2net.training import run
from nes2net.training.run import train


@contextmanager
def recorded_gradients():
    """Gradients of each optimisation step: a list of lists of tensors."""
    steps = []

    def keep(optimizer, *_):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        steps.append([p.grad.clone() for p in parameters if p.grad is not None])

    hook = register_optimizer_step_pre_hook(keep)
    yield steps
    hook.remove()


@pytest.fixture
def gradients():
    with recorded_gradients() as steps:
        yield steps


FP16 = {"lr": 1e-5, "schedule": "cosine", "max_grad_norm": 0.5}


def norm_of(gradients):
    return torch.cat([g.flatten() for g in gradients]).norm()


@pytest.fixture
def in_bf16(recipe):
    """The state after a run of one epoch in bf16."""
    return state_of(train(recipe(train={"epochs": 1, "precision": "bf16"})))


def test_a_run_in_bf16_changes_no_later_run_in_fp32(one_epoch, in_bf16, recipe):
    before = weights_of(one_epoch)
    assert not same(in_bf16["detector"], before)
    assert same(weights_of(train(recipe(train={"epochs": 1}, comment="later"))), before)


def test_a_run_in_bf16_saves_its_weights_and_moments_in_float32(in_bf16):
    saved = in_bf16
    for tensors in (saved["detector"], *saved["optimizer"]["state"].values()):
        types = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
        assert types == {torch.float32}


@pytest.fixture(scope="module")
def fp16(corpus, tmp_path_factory):
    """State and gradients of a run in fp16, which skips steps. PyTorch's CPU scales and casts as a GPU does."""
    create = run.create_accelerator

    def on_cpu(*_):
        accelerator = create("cpu", "fp32")
        accelerator.state._mixed_precision = "fp16"
        accelerator.native_amp = True
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, backoff_factor=2.0**-15)
        return accelerator

    recipe = short_run(corpus, tmp_path_factory.mktemp("fp16"), SPECTRAL_RUN, {"train": FP16})
    with pytest.MonkeyPatch.context() as patch, recorded_gradients() as steps:
        patch.setattr(run, "create_accelerator", on_cpu)
        return state_of(train(recipe)), steps


def test_fp16_skips_steps_whose_gradients_overflow(fp16):
    assert 0 < len(fp16[1]) < 6  # of two epochs of three steps


def test_steps_that_fp16_skips_count_for_the_schedule_of_the_learning_rate(fp16, recipe):
    plain = state_of(train(recipe(train=FP16)))
    assert [row["lr"] for row in fp16[0]["selection"]] == [row["lr"] for row in plain["selection"]]


def test_the_loss_scale_of_fp16_that_an_overflow_lowered_is_saved(fp16):
    assert fp16[0]["scaler"]["scale"] < 2.0**40


def test_gradients_of_fp16_are_clipped_to_max_grad_norm_after_they_are_unscaled(fp16):
    assert all(0.4 < norm_of(step) <= 0.5 + 1e-6 for step in fp16[1])


@pytest.mark.parametrize(
    "data, options",
    [
        ({}, {}),
        ({}, {"loss": {"name": "cross_entropy", "normalize": False}}),
        ({"crop": "pieces", "min_piece": 2000}, {}),
    ],
)
def test_accumulated_parts_of_a_batch_give_the_gradients_and_the_loss_of_the_whole_batch(
    recipe, gradients, data, options
):
    """Parts of 4, 4 and 3 utterances have classes in uneven shares, and the length of the batch.

    The model has no batch normalisation, whose statistics are those of a part.
    """
    model = {"frontend": SPECTRUM | {"normalize": True}, "backend": "mean_linear"}
    gradients_of_runs = {}
    for accumulate in (1, 3):
        gradients.clear()
        options = {**options, "epochs": 1, "batch_size": 11, "accumulate": accumulate, "max_grad_norm": 0.5}
        folder = train(recipe(model=model, data=data, train=options, comment=str(accumulate)))
        gradients_of_runs[accumulate] = [list(gradients[0]), state_of(folder)["selection"][0]["loss"]]
    assert_close(gradients_of_runs[3][0], gradients_of_runs[1][0], rtol=1e-4, atol=1e-7)
    assert gradients_of_runs[3][1] == pytest.approx(gradients_of_runs[1][1], rel=1e-6)


@pytest.fixture
def frontend_weights(recipe, model_with_dropout):
    """A function that gives the weights of the front-end at the start of a run and after each of its two epochs."""

    def of_epochs(**settings):
        values = recipe(model=model_with_dropout, train={**settings, "keep": "all", "weight_decay": 0.1})
        folder = train(values)
        torch.manual_seed(values.seed)
        start = Detector.from_config(values.model).state_dict()
        keys = [key for key, tensor in start.items() if key.startswith("ssl_model.") and tensor.is_floating_point()]
        states = [start, *(load_state_dict(folder / f"epoch_{epoch}.pth") for epoch in (1, 2))]
        return [{key: state[key] for key in keys} for state in states]

    return of_epochs


def test_a_frozen_front_end_keeps_its_weights(frontend_weights):
    """Bit for bit, although the recipe has weight decay."""
    start, first, second = frontend_weights(freeze_frontend=True)
    assert same(first, start)
    assert same(second, start)


def test_a_front_end_that_is_frozen_in_the_first_epoch_is_trained_in_the_second(frontend_weights):
    start, first, second = frontend_weights(freeze_frontend_epochs=1)
    assert same(first, start)
    key = next(key for key in second if key.endswith("fc1.weight"))
    assert not torch.equal(second[key], start[key])
