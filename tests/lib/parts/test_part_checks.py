"""The check of a part at the border: one sentence for each fault that is planted in a good part."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from nes2net import Detector, create_backend
from nes2net.data.augment.conditions import check_effect
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import BrokenPart
from nes2net.lib.parts import part_checks
from nes2net.lib.parts.part_checks import check_part
from nes2net.models.contract_checks import check_aggregation, check_backend, check_computing, check_frontend
from nes2net.scoring.judgement import check_judgement
from nes2net.training.dataset import PreparedTrial
from nes2net.training.losses.by_name import check_loss
from nes2net.training.task_contract import check_task

TABLE = yaml.safe_load(Path(__file__).with_name("planted_faults.yaml").read_text(encoding="utf-8"))
MAKE_BATCH = {
    "backend": partial(check_backend, num_logits=2),
    "frontend": check_frontend,
    "aggregation": check_aggregation,
    "loss": partial(check_loss, embedding_dim=None),
    "effect": check_effect,
    "judgement": check_judgement,
    "task": lambda *_: None,
}
FAULTS = [(kind, *fault) for kind, faults in TABLE["faults"].items() for fault in faults]


def built(kind, text="", replacement=""):
    """A part from its source, in which `replacement` stands for `text`."""
    space = {"__name__": "stranger"}
    exec(TABLE["imports"] + TABLE["sources"][kind].replace(text, replacement), space)
    stranger = space["Part"]()
    if kind not in ("judgement", "task"):
        stranger.config = {"name": "part"}
    return stranger


def detector_of_strangers():
    backend = create_backend("asp_mlp", feature_dim=8, hidden_dim=8)
    return Detector(built("frontend"), built("aggregation"), backend).eval()


class Noises(list):
    """Stands in for the training set of two noises, the second of bona fide."""

    augmentation = SimpleNamespace(in_turn=False)
    num_samples = 4000
    trials = (Trial("a", None, "spoof"), Trial("b", None, "bonafide"))

    def __getitem__(self, item):
        return PreparedTrial(0.1 * torch.randn(item[2]), item[1], trial_index=item[1])


def check(kind, *fault):
    stranger = built(kind, *fault)
    check_part("part 'test'", stranger, MAKE_BATCH[kind], partial(built, kind, *fault))
    if kind == "judgement":
        check_computing("part 'test'", stranger, detector_of_strangers())
    if kind == "task":
        stranger.subject = "part 'test'"
        check_task(stranger, stranger.objective(detector_of_strangers()), Noises())


@pytest.mark.parametrize("kind", TABLE["sources"])
def test_a_part_without_fault_passes_the_check(kind):
    check(kind)


@pytest.mark.parametrize("kind, text, replacement, words", FAULTS)
def test_a_fault_of_a_part_is_told_in_words(kind, text, replacement, words):
    with pytest.raises(BrokenPart) as raised:
        check(kind, text, replacement)
    assert words in str(raised.value)


def test_a_part_is_checked_once_for_its_class_and_the_way_it_is_built():
    calls = []
    effect = built("effect")
    for _ in range(2):
        check_part("part 'once'", effect, lambda *arguments: calls.append(1) or check_effect(*arguments), built)
    assert len(calls) == 3  # lengths


def test_parts_of_other_packages_keep_weights_of_one_name_apart_in_files():
    detectors = [detector_of_strangers(), detector_of_strangers()]
    saved = detectors[0].state_dict()
    assert {"frontend.weights.bias", "aggregation.weights.bias"} < saved.keys()
    detectors[1].load_state_dict(saved)
    waveforms = torch.randn(2, 16000)
    assert torch.equal(detectors[0](waveforms), detectors[1](waveforms))


def test_a_large_part_is_tried_with_its_own_parameters_which_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(part_checks, "MAX_PARAMETERS", 10)
    backend = built("backend")
    weights = []
    backend.conv.register_forward_hook(lambda module, *_: weights.append(module.weight))
    before = backend.conv.weight.clone()
    check_part("part 'large'", backend, MAKE_BATCH["backend"], pytest.fail)
    assert weights
    assert all(weight is backend.conv.weight for weight in weights)
    assert torch.equal(before, backend.conv.weight)
    assert backend.conv.weight.grad is None


def test_a_layer_that_a_large_part_does_not_train_is_told_in_words():
    with pytest.raises(BrokenPart, match=r"no gradient reaches \['huge.weight', 'huge.bias'\]"):
        check("backend", "(8, 2)\n\n", "(8, 2)\n        self.huge = nn.Linear(20_000, 501)\n\n")
