"""Training with losses that compare embeddings with the vectors of a head, and with perturbed embeddings."""

import pytest
import torch
from builders.recipes import short_run

from nes2net import Detector
from nes2net.training.objective import HEAD_OF, with_head
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
by_duration = {"slope": 0.06, "intercept": 0.14}


@pytest.fixture
def recipe(corpus, tmp_path):
    values = {"name": "heads", "model": SMALL, "train": {"epochs": 2}}
    return lambda **changes: short_run(corpus, tmp_path, values, changes)


@pytest.mark.parametrize("loss", sorted(HEAD_OF))
def test_training_brings_the_head_of_its_loss(recipe, loss):
    """The head is trained, saved in the checkpoint, and makes the score."""
    margin = {"am_margin": by_duration} if loss == "am_softmax" else {}
    folder = train(recipe(train={"loss": loss, "keep": "last", **margin}), "cpu")
    detector = Detector.from_pretrained(folder / "epoch_2.pth", device="cpu")
    head = HEAD_OF[loss]
    assert detector.config["backend"]["head"] == head and detector.score_rule == RULES[head]
    torch.manual_seed(1234)
    first = Detector.from_config(with_head(SMALL, loss))
    trained = dict(detector.backend.last_layer.named_parameters())
    assert trained and all((p != first.backend.last_layer.get_parameter(n)).any() for n, p in trained.items())
