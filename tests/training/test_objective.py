"""The objective: mixed spectrograms, perturbed embeddings, losses over vectors of a head, frozen parts."""

import pytest
import torch
from builders.runs import detector_of, refused, same
from builders.systems import systems
from builders.training_steps import STEPS, batch_of, recipe_of, trainer_of
from conftest import seeded_detector
from torch.autograd.graph import saved_tensors_hooks
from torch.testing import assert_close

from nes2net import Detector
from nes2net.lib.errors import BrokenPart
from nes2net.training.losses.by_name import with_head
from nes2net.training.objective import Objective, StepPart
from nes2net.training.recipes.recipe import Recipe, recipe_from_dict
from nes2net.training.recipes.train import TrainConfig
from nes2net.training.registry import losses
from nes2net.training.run import train

SPECTRUM = {"name": "lps", "n_fft": 256, "hop_length": 256, "num_bins": 32, "normalize": True}
SMALL = {"frontend": SPECTRUM, "aggregation": "last", "backend": {"name": "asp_mlp", "hidden_dim": 8}}
SPECMIX = {"frequency_bands": 3, "time_bands": 0, "gamma": 0.3, "probability": 0.5, "mix_labels": True}
TARGETS = torch.arange(8) % 2


def objective_of(detector, loss="cross_entropy", seed=3, **augment):
    return Objective(detector, recipe_from_dict({"train": {"loss": loss}, "augment": augment, "seed": seed})).eval()


def validate(objective, waveforms):
    return objective.validate(objective.features(waveforms), StepPart(waveforms, TARGETS))


def training_loss(objective, waveforms, targets, epoch, step, part_number=0):
    iteration = (epoch - 1) * 3 + step  # of three steps an epoch
    mixed, _ = objective.mix(StepPart(waveforms, targets, iteration=iteration), targets, epoch, step, part_number)
    return (objective(mixed).squeeze(0) / objective.criterion.weight_of(mixed.targets)).item()


@pytest.mark.parametrize(
    "kind, settings, loss",
    [
        ("specmix", SPECMIX, "angular_softmax"),
        ("latent", {}, "cross_entropy"),
        ("latent", {}, "oc_softmax"),
        ("adversarial", {"attack": "pgd:30", "steps": 1}, "cross_entropy"),
    ],
)
def test_each_part_of_a_step_draws_its_mixing_of_inputs_or_embeddings_from_its_own_stream(kind, settings, loss):
    """The stream belongs to (seed, epoch, step, part)."""
    detector = seeded_detector(with_head(SMALL, loss))  # the same batch statistics whatever is mixed
    waveforms = torch.randn(8, 8000)

    def loss_of(position, seed=3):
        objective = objective_of(detector, loss, seed, **{kind: {**settings, "probability": 1.0}})
        return training_loss(objective, waveforms, TARGETS, *position)

    positions = [(epoch, step, part_number) for epoch in (1, 2) for step in range(3) for part_number in range(2)]
    losses = {position: loss_of(position) for position in positions}
    unmixed = training_loss(objective_of(detector, loss), waveforms, TARGETS, 1, 2)
    assert len({unmixed, *losses.values()}) == 13
    torch.manual_seed(99)  # no global state counts
    assert loss_of((1, 2)) == losses[1, 2, 0] != loss_of((1, 2), seed=7)


@pytest.mark.parametrize("kind, settings", [("specmix", SPECMIX), ("latent", {}), ("adversarial", {})])
def test_validation_mixes_neither_inputs_nor_embeddings(kind, settings):
    detector = seeded_detector(SMALL)
    waveforms = torch.randn(8, 8000)
    outcome = validate(objective_of(detector, **{kind: {**settings, "probability": 1.0}}), waveforms)
    assert outcome.loss == validate(objective_of(detector), waveforms).loss
    assert_close(outcome.outputs["scores"], detector.scores(waveforms))


BY_DURATION = {"name": "am_softmax", "margin": ["duration", 0.06, 0.14]}
HEAD_OF = {name: losses.get(name).needs_head for name in losses.names() if losses.get(name).takes_embeddings}
each_loss_of_a_head = pytest.mark.parametrize("loss", sorted(HEAD_OF))


@each_loss_of_a_head
def test_a_loss_over_vectors_of_a_head_refuses_another_head_before_anything_is_written(recipe, loss, tmp_path):
    linear = recipe(model={"backend": {**SMALL["backend"], "head": "linear"}}, train={"loss": loss})
    needs = f"`train.loss={loss}` needs the head {HEAD_OF[loss]}, the back-end has L[a-zA-Z]+: set `model.backend.head"
    refused(linear, needs)
    assert not (tmp_path / "models").exists()


SAVED_HEADS = {
    "aam_softmax": {"name": "cosine", "scale": 30.0},
    "p2sgrad": "p2sgrad",
}


def trained_by(loss, recipe):
    """The detector that a run by ``loss`` has saved after an epoch."""
    folder = train(recipe(train={"loss": loss, "epochs": 1}), "cpu")
    return detector_of(folder)


@pytest.mark.parametrize("loss", SAVED_HEADS)
def test_a_run_saves_the_head_that_its_loss_needs_with_each_of_its_parameters_trained(recipe, loss):
    detector = trained_by(loss, recipe)
    assert detector.config["backend"]["head"] == SAVED_HEADS[loss]
    trained = dict(detector.backend.last_layer.named_parameters())
    torch.manual_seed(1234)
    first = Detector.from_config(with_head(recipe().model, loss))
    assert trained
    for name, parameter in trained.items():
        assert (parameter != first.backend.last_layer.get_parameter(name)).any()


@pytest.mark.parametrize("seconds", [1, 2])
def test_a_margin_by_duration_follows_the_duration_of_the_utterances_in_the_batch(seconds):
    """In training, with mixed labels, and in validation."""
    detector = seeded_detector(with_head(SMALL, "am_softmax"))
    loss_values = []
    x = torch.randn(8, seconds * 16000)
    shares = torch.nn.functional.one_hot(TARGETS, 2).double()
    for loss in (BY_DURATION, {**BY_DURATION, "margin": 0.06 * seconds + 0.14}):
        objective = objective_of(detector, loss)
        for targets in (TARGETS, shares):
            loss_values.append(objective(StepPart(x, targets)).squeeze(0) / 8)
        loss_values.append(validate(objective, x).loss)
    for loss in loss_values[1:]:
        assert_close(loss, loss_values[0])


@pytest.fixture(
    params=[
        {"name": "wav2vec2_small"},
        {"name": "wavlm", "encoder_attention_heads": 4, "conv_pos": 16, "conv_pos_groups": 4},
    ],
    ids=["wav2vec2_small", "wavlm"],
)
def sizes_and_gradients(model_with_dropout, request):
    """The bytes of activations that are saved, and the gradients: without and with recomputation."""
    config = {**model_with_dropout["frontend"], **request.param}
    waveforms = 0.1 * torch.randn(2, 8000)
    targets = torch.tensor([0, 1])
    torch.manual_seed(0)
    detector = Detector.from_config({**model_with_dropout, "frontend": config})
    objective = Objective(detector, Recipe())

    def size_and_gradients():
        saved_bytes = []
        with saved_tensors_hooks(lambda t: saved_bytes.append(t.nbytes) or t, lambda t: t):
            torch.manual_seed(1)
            numerator = objective(StepPart(waveforms, targets))
        size = sum(saved_bytes)
        detector.zero_grad()
        numerator.backward()
        return size, {name: p.grad.clone() for name, p in detector.named_parameters() if p.grad is not None}

    stored = size_and_gradients()
    detector.frontend.checkpoint_activations()
    return zip(stored, size_and_gradients())


def test_recomputing_activations_saves_memory(sizes_and_gradients):
    (size, recomputed_size), _ = sizes_and_gradients
    assert recomputed_size < size


def test_recomputing_activations_gives_the_same_gradients(sizes_and_gradients):
    """Dropout draws the same numbers again."""
    _, gradients = sizes_and_gradients
    assert same(*gradients)


def test_recomputing_activations_keeps_the_names_of_weights(small_model):
    detector = Detector.from_config(small_model)
    names = list(detector.state_dict())
    detector.frontend.checkpoint_activations()
    assert list(detector.state_dict()) == names


def begun(model, **settings):
    """The objective of a detector at the beginning of training."""
    objective = Objective(Detector.from_config(model), Recipe(train=TrainConfig(**settings)))
    objective.begin_training(1)
    return objective


def test_a_frozen_front_end_keeps_no_activations_for_gradients(model_with_dropout):
    objective = begun(model_with_dropout, freeze_frontend=True, frontend_mode="train")
    saved_shapes = []
    with saved_tensors_hooks(lambda t: saved_shapes.append(t.shape) or t, lambda t: t):
        objective.features(torch.randn(2, 8000))
    assert not saved_shapes


def test_a_front_end_that_gives_another_number_of_rows_than_waveforms_is_refused(small_model):
    """Rows of development trials would be cut off unseen."""
    objective = begun(small_model)
    objective.detector.frontend.register_forward_hook(lambda _, __, states: [state[[0, 0, 1]] for state in states])
    with pytest.raises(BrokenPart, match="3 rows for a batch of 2"):
        objective.features(torch.randn(2, 8000))


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_frozen_front_end_computes_in_the_mode_of_the_recipe(model_with_dropout, mode):
    objective = begun(model_with_dropout, freeze_frontend=True, frontend_mode=mode)
    assert all(m.training == (mode == "train") for m in objective.detector.frontend.modules())


LAYERS_ABOVE = ["encoder.layers.1.", "encoder.layers.2."]


@pytest.mark.parametrize("norm_first, tops", [(True, [*LAYERS_ABOVE, "encoder.layer_norm."]), (False, LAYERS_ABOVE)])
def test_freeze_layers_trains_only_the_front_end_layers_above_the_frozen_ones_and_a_norm_after_them(
    small_model, norm_first, tops
):
    """There is such a norm if the front-end normalises first. Convolutions and the first layers require no gradient."""
    frontend = {**small_model["frontend"], "encoder_layers": 3, "layer_norm_first": norm_first}
    detector = Detector.from_config({**small_model, "frontend": frontend})
    Objective(detector, Recipe(train=TrainConfig(freeze_layers=1)))
    trained = {name for name, p in detector.named_parameters() if p.requires_grad and name.startswith("frontend.")}
    assert {top for name in trained for top in tops if top in name} == set(tops)
    assert all(any(top in name for top in tops) for name in trained)


def test_freeze_layers_leaves_weights_frozen_that_the_front_end_froze_itself(small_model):
    detector = Detector.from_config(small_model)
    *_, top_layer = detector.frontend.transformer_layers
    frozen_weight = next(top_layer.parameters()).requires_grad_(False)
    Objective(detector, Recipe(train=TrainConfig(freeze_layers=1)))
    assert not frozen_weight.requires_grad
    assert any(weight.requires_grad for weight in top_layer.parameters())


@pytest.mark.slow
def test_an_objective_that_declares_all_its_weights_used_gives_each_of_them_a_gradient(tmp_path):
    """DDP does not look for weights without a gradient then, and would wait for them."""
    recipes = [{"model": model} for model in systems().values()]
    recipes += [changes for changes, _ in STEPS.values()]
    num_declared = 0
    for changes in recipes:
        trainer = trainer_of(recipe_of(changes, tmp_path), tmp_path)
        objective = trainer.objective
        if objective.uses_all_weights:
            mixed_part, _ = trainer.prepare_part(batch_of(trainer, 0, {}), 1, 0, 0)
            objective(mixed_part).sum().backward()
            without = [name for name, p in objective.named_parameters() if p.requires_grad and p.grad is None]
            assert not without, objective.detector.config
            num_declared += 1
    assert num_declared >= 5
