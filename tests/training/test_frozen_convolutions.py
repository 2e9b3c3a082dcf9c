"""The packaged recipe of CtrSVDD on a small WavLM: its convolutions are not trained, as s3prl leaves them."""

import copy
from typing import NamedTuple

import pytest
import torch
from builders import genuine_checkpoint, slow
from builders.training_steps import batch_of, trainer_of
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, layer_norm
from transformers import WavLMModel

from nes2net import Detector, create_frontend
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.recipes.recipe import recipe_from_dict

STEPS = 4
#: Options in the pre-training file, which trains the convolutions and drops layers.
SMALL = {
    **{"encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4},
    **{"conv_feature_layers": [[8, 10, 5], [8, 8, 8], [8, 8, 8]], "conv_pos": 16, "encoder_layerdrop": 0.5},
}


class Epoch(NamedTuple):
    """The losses of an epoch in float64, and the detector before and after it."""

    losses: list[float]
    expected_losses: list[float]
    before: Detector
    after: Detector
    optimised: int  # number of parameters that the optimiser holds


@pytest.fixture(scope="module", params=["stored", *slow("recomputed")])
def epoch(request, tmp_path_factory):
    """An epoch of four steps, with stored or recomputed activations."""
    folder = tmp_path_factory.mktemp("run")
    genuine_checkpoint.write(create_frontend("wavlm", **SMALL), folder / "WavLM.pt")
    values = load_recipe("ctrsvdd_nes2net_sea", ["train.batch_size=100", "train.lr=0.001"]).to_dict()
    values["model"]["frontend"]["name"] = "wavlm"
    values["ssl_checkpoint"] = str(folder / "WavLM.pt")
    values["train"]["activation_checkpointing"] = request.param == "recomputed"
    trainer = trainer_of(recipe_from_dict(values), folder)
    assert trainer.steps_per_epoch == STEPS
    objective = trainer.objective.double()
    before = copy.deepcopy(objective.detector)
    batches = [batch_of(trainer, step, {}) for step in range(STEPS)]
    batches = [batch._replace(part=batch.part._replace(inputs=batch.part.inputs.double())) for batch in batches]
    expected_losses = plain_loop(copy.deepcopy(before), batches, trainer.recipe.train)
    losses = []
    for step, batch in enumerate(batches):
        sum_before = trainer.state.progress.loss_sum
        trainer.train_step([batch], 1, step, False)
        trainer.read_result()
        losses.append((trainer.state.progress.loss_sum - sum_before) / len(batch.part.targets))
    optimised = sum(p.numel() for group in trainer.state.optimizer.param_groups for p in group["params"])
    return Epoch(losses, expected_losses, before, objective.detector, optimised)


def plain_loop(detector, batches, train):
    """Train in plain torch, with transformers' WavLM, whose convolutions compute without gradients; return the losses."""
    wavlm = WavLMModel(detector.frontend.model.config).double()
    wavlm.load_state_dict(detector.frontend.model.state_dict())
    wavlm.feature_extractor.forward = torch.no_grad()(wavlm.feature_extractor.forward)
    modules = nn.ModuleList([wavlm, detector.aggregation, detector.backend]).train()
    optimizer = torch.optim.AdamW(
        modules.parameters(), train.lr, betas=train.adam_betas, eps=train.adam_eps, weight_decay=train.weight_decay
    )
    losses = []
    for waveform, targets, *_ in (batch.part for batch in batches):
        outputs = wavlm(layer_norm(waveform, waveform.shape[-1:]), output_hidden_states=True)
        states = [*outputs.hidden_states[:-1], outputs.last_hidden_state]
        logits = detector.backend(detector.aggregation(states)).squeeze(1)
        smoothed = 0.05 + 0.9 * targets.double()
        errors = binary_cross_entropy_with_logits(logits, smoothed, reduction="none")
        loss = (0.25 * (1 - torch.exp(-errors)) ** 2 * errors).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_losses_of_an_epoch_equal_those_of_a_plain_loop_with_the_convolutions_under_no_grad(epoch):
    assert epoch.losses == pytest.approx(epoch.expected_losses, abs=1e-9, rel=0)
    assert len(set(epoch.losses)) == STEPS


def test_an_epoch_moves_all_weights_but_the_convolutions_which_the_optimiser_does_not_hold(epoch):
    before = dict(epoch.before.named_parameters())
    after = dict(epoch.after.named_parameters())
    still = {name for name, parameter in after.items() if torch.equal(parameter, before[name])}
    assert still == {name for name in after if ".feature_extractor." in name}
    assert still
    assert epoch.optimised == sum(parameter.numel() for name, parameter in after.items() if name not in still)
