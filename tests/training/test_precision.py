"""Savings of memory or time: precision, accumulation, recomputation, a frozen front-end."""

import pytest
import torch
from builders.runs import same, state_of
from torch.optim.optimizer import register_optimizer_step_pre_hook

from nes2net import Detector, InputError
from nes2net.checkpoints.state_dict import load_state_dict
from nes2net.recipes.recipe import Recipe
from nes2net.recipes.train import TrainConfig
from nes2net.training import run
from nes2net.training.objective import Objective
from nes2net.training.run import train


@pytest.fixture
def gradients():
    """Gradients of each optimisation step of the test: a list of lists of tensors."""
    steps = []

    def keep(optimizer, *_):
        steps.append(
            [p.grad.clone() for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        )

    hook = register_optimizer_step_pre_hook(keep)
    yield steps
    hook.remove()


def test_bf16_after_fp32_in_one_process(recipe):
    options = {"epochs": 1, "lr": 1e-4}
    full, half, again = (
        state_of(train(recipe(train={**options, "precision": precision}, comment=comment)))
        for comment, precision in (("one", "fp32"), ("two", "bf16"), ("three", "fp32"))
    )
    loss, rounded = (state["selection"][0]["loss"] for state in (full, half))
    assert loss != rounded and rounded == pytest.approx(loss, rel=0.05)
    kept = [half["detector"], *half["optimizer"]["state"].values()]
    assert {t.dtype for tensors in kept for t in tensors.values() if t.is_floating_point()} == {torch.float32}
    assert same(full["detector"], again["detector"])


def test_fp16_scales_gradients_and_skips_what_overflows(recipe, monkeypatch, gradients):
    """PyTorch's CPU scales and casts as a GPU does; skipped steps count for the schedule."""
    create = run.create_accelerator

    def on_cpu(*_):
        accelerator = create("cpu", "fp32")
        accelerator.state._mixed_precision, accelerator.native_amp = "fp16", True
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, backoff_factor=2.0**-15)
        return accelerator

    options = {"epochs": 2, "lr": 1e-5, "schedule": "cosine", "max_grad_norm": 0.5}
    plain = state_of(train(recipe(train=options)))
    expected = list(gradients)
    gradients.clear()
    monkeypatch.setattr(run, "create_accelerator", on_cpu)
    scaled = state_of(train(recipe(train=options, comment="scaled")))
    assert 0 < len(gradients) < len(expected) == 6
    assert [row["lr"] for row in scaled["selection"]] == [row["lr"] for row in plain["selection"]]
    assert scaled["scaler"]["scale"] < 2.0**40  # goes into what a run goes on from
    for step in gradients:  # unscaled before they were clipped
        assert 0.4 < torch.cat([g.flatten() for g in step]).norm() <= 0.5 + 1e-6
    losses = [state["selection"][0]["val_loss_wo_aug"] for state in (scaled, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.parametrize(
    "data, options",
    [
        ({}, {}),
        ({}, {"loss": {"name": "cross_entropy", "normalize": False}}),
        ({"crop": "dynamic", "chunk_samples": [3000, 5000]}, {}),
        ({"crop": "pieces", "min_piece": 2000}, {}),
    ],
    ids=["head", "plain mean", "dynamic", "pieces"],
)
def test_accumulated_parts_have_the_gradients_of_the_batch(recipe, gradients, data, options):
    """Parts of 4, 4 and 3 utterances have classes in uneven shares, and the length of the batch.

    The model has no batch normalisation, whose statistics are those of a part.
    """
    model = {"frontend": {"name": "lps", "n_fft": 128, "num_bins": 20, "normalize": True}, "backend": "mean_linear"}
    found = {}
    for accumulate in (1, 3):
        gradients.clear()
        options = {**options, "epochs": 1, "batch_size": 11, "accumulate": accumulate, "max_grad_norm": 0.5}
        folder = train(recipe(model=model, data=data, train=options, comment=str(accumulate)))
        found[accumulate] = [list(gradients[0]), state_of(folder)["selection"][0]["loss"]]
        assert len(gradients) == 1 or data.get("crop") == "pieces"
        norm = torch.cat([g.flatten() for g in gradients[0]]).norm()
        assert norm <= 0.5 + 1e-6  # clipped as a whole, not part by part
    torch.testing.assert_close(found[3][0], found[1][0], rtol=1e-4, atol=1e-7)
    assert found[3][1] == pytest.approx(found[1][1], rel=1e-6)


@pytest.mark.parametrize("frontend", ["wav2vec2_small", "wavlm"])
def test_recomputed_activations_change_no_gradient(model_with_dropout, frontend):
    """Dropout draws the same numbers again, and less is kept for the backward pass."""
    config = {**model_with_dropout["frontend"], "name": frontend}
    if frontend == "wavlm":
        config |= {"encoder_attention_heads": 4, "conv_pos": 16, "conv_pos_groups": 4}
    waveforms, targets = 0.1 * torch.randn(2, 8000), torch.tensor([0, 1])
    torch.manual_seed(0)
    detector = Detector.from_config({**model_with_dropout, "frontend": config})
    objective = Objective(detector, Recipe(train=TrainConfig()))
    found, kept = [], []

    def keep(tensor):
        kept[-1] += tensor.nbytes
        return tensor

    for recomputed in (False, True):
        if recomputed:
            detector.frontend.checkpoint_activations()
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            torch.manual_seed(1)
            numerator = objective(waveforms, targets)
        detector.zero_grad()
        numerator.backward()
        found.append({name: p.grad.clone() for name, p in detector.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys() and all(torch.equal(found[0][k], found[1][k]) for k in found[0])
    assert kept[1] < kept[0]
    assert "ssl_model.model.encoder.layers.0.fc1.weight" in detector.state_dict()  # names stay


def test_a_front_end_frozen_at_first(recipe, model_with_dropout):
    """Its weights stay, bit for bit, without weight decay or dropout; then it is trained."""
    values = recipe(model=model_with_dropout, train={"freeze_frontend_epochs": 1, "keep": "all", "weight_decay": 0.1})
    folder = train(values)
    first, second = (load_state_dict(folder / f"epoch_{n}.pth") for n in (1, 2))
    torch.manual_seed(values.seed)
    start = Detector.from_config(values.model).state_dict()
    ours = [k for k in start if k.startswith("ssl_model.") and start[k].is_floating_point()]
    assert all(torch.equal(first[k], start[k]) for k in ours)
    assert not any(torch.equal(first[k], start[k]) for k in start.keys() - set(ours) if start[k].ndim > 1)
    assert not any(torch.equal(second[k], start[k]) for k in ours if k.endswith("fc1.weight"))

    for mode in ("eval", "train"):
        config = TrainConfig(freeze_frontend_epochs=1, frontend_mode=mode)
        objective = Objective(Detector.from_config(values.model), Recipe(train=config))
        objective.begin_training(1)
        assert all(m.training == (mode == "train") for m in objective.detector.frontend.modules())
        assert objective.detector.backend.training
        assert not objective.features(torch.randn(1, 8000)).requires_grad
        objective.begin_training(2)
        assert all(m.training for m in objective.detector.modules())
        assert objective.features(torch.randn(1, 8000)).requires_grad


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_front_end_never_trained(recipe, model_with_dropout, capsys, mode):
    """It has no gradients and no place in the optimiser, and computes in the mode of the recipe."""
    options = {"freeze_frontend": True, "frontend_mode": mode, "epochs": 1, "weight_decay": 0.1}
    values = recipe(model=model_with_dropout, train=options)
    folder = train(values)
    torch.manual_seed(values.seed)
    start = Detector.from_config(values.model)
    after = load_state_dict(folder / "epoch_1.pth")
    ours = [k for k in start.state_dict() if k.startswith("ssl_model.")]
    assert all(torch.equal(after[k], start.state_dict()[k]) for k in ours)
    assert not all(torch.equal(after[k], v) for k, v in start.state_dict().items())
    size, trained = (sum(p.numel() for p in part.parameters()) for part in (start, start.backend))
    assert (
        f"{size:,} parameters, {trained:,} of them trained ({100 * trained / size:.3g} %), on cpu"
        in capsys.readouterr().out
    )
    moments = state_of(folder)["optimizer"]["state"].values()
    assert sum(moment["exp_avg"].numel() for moment in moments) == trained

    objective = Objective(start, values)
    assert {id(p) for p in objective.trained_parameters()} == {id(p) for p in start.backend.parameters()}
    objective.begin_training(50)
    assert all(module.training is (mode == "train") for module in start.frontend.modules())
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        features = objective.features(torch.randn(2, 8000))
    assert not kept and not features.requires_grad and start.backend.training
    torch.manual_seed(0)
    with torch.no_grad():
        first, second = (objective.features(torch.ones(1, 8000)) for _ in range(2))
    assert torch.equal(first, second) is (mode == "eval")


@pytest.mark.parametrize("norm_first", [True, False])
def test_the_lower_part_of_a_front_end_never_trained(small_model, norm_first):
    """Convolutions and first layers ask for no gradient and keep no activations."""
    frontend = {**small_model["frontend"], "encoder_layers": 3, "layer_norm_first": norm_first}
    detector = Detector.from_config({**small_model, "frontend": frontend})
    objective = Objective(detector, Recipe(train=TrainConfig(freeze_layers=1)))
    trained = {name for name, p in detector.named_parameters() if p.requires_grad and name.startswith("frontend.")}
    tops = ["encoder.layers.1.", "encoder.layers.2.", *(["encoder.layer_norm."] if norm_first else [])]
    assert {top for top in tops if any(top in name for name in trained)} == set(tops)
    assert all(any(top in name for top in tops) for name in trained)
    assert len(objective.trained_parameters()) == len(trained) + len(list(detector.backend.parameters()))
    with pytest.raises(InputError, match="`train.freeze_layers=4` is more than the 3 transformer layers"):
        Objective(detector, Recipe(train=TrainConfig(freeze_layers=4)))


OFF = {"freeze_frontend": False}


@pytest.mark.parametrize(
    "values, message",
    [
        ({"freeze_frontend_epochs": 2}, "`train.freeze_frontend_epochs` changes nothing with `train.freeze_frontend"),
        ({"activation_checkpointing": True}, "`train.activation_checkpointing=true` changes nothing"),
        ({"freeze_layers": 1}, "`train.freeze_layers` changes nothing with `train.freeze_frontend=true`"),
        ({"adapt": {"kind": "lora"}}, "`train.adapt` changes nothing with `train.freeze_frontend=true`"),
        ({"layer_decay": 0.9}, "`train.layer_decay` changes nothing with `train.freeze_frontend=true`"),
        ({**OFF, "adapt": {}, "freeze_layers": 0}, "changes nothing with `train.adapt`"),
        ({**OFF, "layer_decay": 0.9, "optimizer": "logistic"}, "changes nothing with `train.optimizer=logistic`"),
        ({"layer_decay": 1.5}, "`train.layer_decay` is a number above 0 and at most 1, not 1.5"),
        ({**OFF, "frontend_mode": "train"}, "`train.frontend_mode=train` changes nothing"),
    ],
)
def test_freezing_that_does_not_fit(values, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**{"freeze_frontend": True, **values})


NOTHING_TO_TRAIN, NO_LAYERS = ("front-end 'lps' has " + what for what in ("nothing to train", "no transformer layers"))


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("freeze_frontend", True, NOTHING_TO_TRAIN),
        ("freeze_frontend_epochs", 1, NOTHING_TO_TRAIN),
        ("activation_checkpointing", True, NO_LAYERS),
        ("adapt", {"kind": "lora"}, NO_LAYERS),
        ("freeze_layers", 0, NO_LAYERS),
        ("layer_decay", 0.9, NO_LAYERS),
    ],
)
def test_options_that_would_do_nothing(recipe, key, value, message, tmp_path):
    """Some are refused before the corpus is read."""
    data = {"root": str(tmp_path / "nowhere")} if key in ("adapt", "freeze_layers", "layer_decay") else {}
    out = "" if key == "activation_checkpointing" else f": leave `train.{key}` out"
    with pytest.raises(InputError, match=message + out):
        train(recipe(train={key: value}, data=data))
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_compiled(recipe):
    """Names of weights stay, and the weights agree up to rounding."""
    options = {"epochs": 1, "lr": 1e-4, "adam_eps": 1.0}
    plain = state_of(train(recipe(train=options)))
    compiled = state_of(train(recipe(train={**options, "compile": True}, comment="compiled")))
    assert plain["detector"].keys() == compiled["detector"].keys()
    for key, value in plain["detector"].items():
        torch.testing.assert_close(compiled["detector"][key], value, rtol=1e-4, atol=1e-5)
    assert compiled["selection"][0]["loss"] == pytest.approx(plain["selection"][0]["loss"], rel=1e-4)
