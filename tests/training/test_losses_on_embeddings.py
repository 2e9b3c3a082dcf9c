"""Training with losses that compare embeddings with the vectors of a head, and with perturbed embeddings."""

import pytest
import torch

from nes2net import Detector, InputError
from nes2net.losses.by_name import with_head
from nes2net.recipes.recipe import recipe_from_dict
from nes2net.registry import losses
from nes2net.training.objective import Objective, Part
from nes2net.training.run import train

SMALL = {
    "frontend": {"name": "lps", "n_fft": 256, "hop_length": 256, "num_bins": 32, "normalize": True},
    "aggregation": "last",
    "backend": {"name": "asp_mlp", "hidden_dim": 8},
}
RULES = {
    "angular": "logit",
    "cosine": "difference",
    "one_class": "cosine",
    "p2sgrad": "cosine",
    "prototypes": "difference",
}
BY_DURATION = {"name": "am_softmax", "margin": ["duration", 0.06, 0.14]}
HEAD_OF = {name: losses.get(name).needs_head for name in losses.names() if losses.get(name).takes_embeddings}


@pytest.mark.parametrize("loss", sorted(HEAD_OF))
def test_training_brings_the_head_of_its_loss(recipe, loss):
    """The head is trained, saved in the checkpoint, and makes the score."""
    named = BY_DURATION if loss == "am_softmax" else loss
    folder = train(recipe(train={"loss": named, "keep": "last"}), "cpu")
    detector = Detector.from_pretrained(folder / "epoch_2.pth", device="cpu")
    head = HEAD_OF[loss]
    assert detector.config["backend"]["head"] == head and detector.score_rule == RULES[head]
    torch.manual_seed(1234)
    first = Detector.from_config(with_head(recipe().model, loss))
    trained = dict(detector.backend.last_layer.named_parameters())
    assert trained and all((p != first.backend.last_layer.get_parameter(n)).any() for n, p in trained.items())


def test_a_recipe_may_name_the_head_and_its_options(recipe):
    backend = {**SMALL["backend"], "head": {"name": "prototypes", "spoof_prototypes": 3}}
    folder = train(recipe(model={**SMALL, "backend": backend}, train={"loss": "prototypes", "keep": "last"}), "cpu")
    detector = Detector.from_pretrained(folder / "epoch_2.pth", device="cpu")
    assert detector.config["backend"] == {**backend, "feature_dim": 32}
    assert detector.backend.last_layer.spoof.shape == (3, 8)


@pytest.mark.parametrize("loss", sorted(HEAD_OF))
def test_another_head_is_refused(recipe, loss, tmp_path):
    backend = {**SMALL["backend"], "head": "linear"}
    message = f"`train.loss={loss}` needs the head {HEAD_OF[loss]}, the back-end has linear: set `model.backend.head"
    with pytest.raises(InputError, match=message):
        train(recipe(model={**SMALL, "backend": backend}, train={"loss": loss}), "cpu")
    assert not (tmp_path / "models").exists()


def test_the_margin_follows_the_length_of_the_batch():
    """Longer waveforms have a larger margin, in training and in validation."""
    torch.manual_seed(0)
    detector = Detector.from_config(with_head(SMALL, "am_softmax")).eval()
    waveforms, targets = torch.randn(4, 16000).repeat(1, 2), torch.arange(4) % 2
    for seconds in (1, 2):
        x = waveforms[:, : seconds * 16000]
        losses = []
        for loss in (BY_DURATION, {**BY_DURATION, "margin": 0.06 * seconds + 0.14}):
            objective = Objective(detector, recipe_from_dict({"train": {"loss": loss}})).eval()
            losses += [objective(x, targets).squeeze(0) / 4, objective.validated(Part(x, targets)).loss]
        for loss in losses[1:]:
            torch.testing.assert_close(loss, losses[0])


@pytest.mark.parametrize("loss", ["am_softmax", "oc_softmax", "p2sgrad", "prototypes"])
def test_mixed_labels_count_by_their_shares(loss):
    """A mixed label of one class is that class."""
    torch.manual_seed(0)
    detector = Detector.from_config(with_head(SMALL, loss)).eval()
    objective = Objective(detector, recipe_from_dict({"train": {"loss": loss}})).eval()
    waveforms, targets = torch.randn(4, 8000), torch.arange(4) % 2
    whole = torch.nn.functional.one_hot(targets, 2).double()
    losses = [objective(waveforms, q) for q in (targets, whole, 1 - whole, whole.flip(1) / 2 + whole / 2)]
    torch.testing.assert_close(losses[1], losses[0])
    if loss != "p2sgrad":  # linear in the shares
        torch.testing.assert_close(losses[3], (losses[0] + losses[2]) / 2)
