"""Training with losses that compare embeddings with the vectors of a head, and with perturbed embeddings."""

import pytest
import torch

from nes2net import Detector, InputError
from nes2net.losses.by_name import with_head
from nes2net.recipes.recipe import recipe_from_dict
from nes2net.registry import losses
from nes2net.training.objective import Objective, Part
from nes2net.training.run import train

SPECTRUM = {"name": "lps", "n_fft": 256, "hop_length": 256, "num_bins": 32, "normalize": True}
SMALL = {"frontend": SPECTRUM, "aggregation": "last", "backend": {"name": "asp_mlp", "hidden_dim": 8}}
RULES = {"angular": "logit", "one_class": "cosine", "p2sgrad": "cosine"}  # the others: difference
BY_DURATION = {"name": "am_softmax", "margin": ["duration", 0.06, 0.14]}
HEAD_OF = {name: losses.get(name).needs_head for name in losses.names() if losses.get(name).takes_embeddings}


@pytest.mark.parametrize("loss", sorted(HEAD_OF))
def test_training_brings_the_head_of_its_loss(recipe, loss, tmp_path):
    """The head is trained, saved in the checkpoint, and makes the score; another head is refused."""
    head = HEAD_OF[loss]
    linear = recipe(model={"backend": {**SMALL["backend"], "head": "linear"}}, train={"loss": loss})
    message = f"`train.loss={loss}` needs the head {head}, the back-end has linear: set `model.backend.head"
    with pytest.raises(InputError, match=message):
        train(linear, "cpu")
    assert not (tmp_path / "models").exists()
    named = BY_DURATION if loss == "am_softmax" else loss
    folder = train(recipe(train={"loss": named, "epochs": 1}), "cpu")
    detector = Detector.from_pretrained(folder / "epoch_1.pth", device="cpu")
    assert detector.config["backend"]["head"] == head and detector.score_rule == RULES.get(head, "difference")
    torch.manual_seed(1234)
    first = Detector.from_config(with_head(recipe().model, loss))
    trained = dict(detector.backend.last_layer.named_parameters())
    assert trained and all((p != first.backend.last_layer.get_parameter(n)).any() for n, p in trained.items())


def test_a_recipe_may_name_the_head_and_its_options(recipe):
    backend = {**SMALL["backend"], "head": {"name": "prototypes", "spoof_prototypes": 3}}
    folder = train(recipe(model={"backend": backend}, train={"loss": "prototypes", "epochs": 1}), "cpu")
    detector = Detector.from_pretrained(folder / "epoch_1.pth", device="cpu")
    assert detector.config["backend"] == {**backend, "feature_dim": 20}
    assert detector.backend.last_layer.spoof.shape == (3, 8)


def objective_of(detector, loss):
    return Objective(detector, recipe_from_dict({"train": {"loss": loss}})).eval()


@pytest.mark.parametrize("seconds", [1, 2])
def test_the_margin_follows_the_length_of_the_batch(seconds):
    """Longer waveforms have a larger margin, in training and in validation."""
    torch.manual_seed(0)
    detector = Detector.from_config(with_head(SMALL, "am_softmax")).eval()
    x, targets, found = torch.randn(4, seconds * 16000), torch.arange(4) % 2, []
    for loss in (BY_DURATION, {**BY_DURATION, "margin": 0.06 * seconds + 0.14}):
        objective = objective_of(detector, loss)
        found += [objective(x, targets).squeeze(0) / 4, objective.validated(Part(x, targets)).loss]
    for loss in found[1:]:
        torch.testing.assert_close(loss, found[0])


@pytest.mark.parametrize("loss", ["am_softmax", "oc_softmax", "p2sgrad", "prototypes"])
def test_mixed_labels_count_by_their_shares(loss):
    """A mixed label of one class is that class."""
    torch.manual_seed(0)
    objective = objective_of(Detector.from_config(with_head(SMALL, loss)).eval(), loss)
    waveforms, targets = torch.randn(4, 8000), torch.arange(4) % 2
    whole = torch.nn.functional.one_hot(targets, 2).double()
    losses = [objective(waveforms, q) for q in (targets, whole, 1 - whole, whole.flip(1) / 2 + whole / 2)]
    torch.testing.assert_close(losses[1], losses[0])
    if loss != "p2sgrad":  # linear in the shares
        torch.testing.assert_close(losses[3], (losses[0] + losses[2]) / 2)
