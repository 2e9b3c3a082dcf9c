"""The check of a part at the border: one sentence for each fault that is planted in a good part."""

from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from nes2net import Detector, create_backend
from nes2net.data.augment.conditions import check_effect
from nes2net.lib.errors import BrokenPart
from nes2net.lib.parts.part_checks import check_part
from nes2net.models.contract_checks import check_aggregation, check_backend, check_frontend
from nes2net.training.losses.by_name import check_loss

TABLE = yaml.safe_load(Path(__file__).with_name("planted_faults.yaml").read_text(encoding="utf-8"))
MAKE_BATCH = {
    "backend": partial(check_backend, num_logits=2),
    "frontend": check_frontend,
    "aggregation": check_aggregation,
    "loss": partial(check_loss, embedding_dim=None),
    "effect": check_effect,
}
FAULTS = [(kind, *fault) for kind, faults in TABLE["faults"].items() for fault in faults]


def built(kind, text="", replacement=""):
    """A part from its source, in which `replacement` stands for `text`."""
    space = {"__name__": "stranger"}
    exec(TABLE["imports"] + TABLE["sources"][kind].replace(text, replacement), space)
    stranger = space["Part"]()
    stranger.config = {"name": "part"}
    return stranger


def check(kind, *fault):
    check_part("part 'test'", built(kind, *fault), MAKE_BATCH[kind], partial(built, kind, *fault))


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
    detectors = []
    for _ in range(2):
        backend = create_backend("mean_linear", feature_dim=8)
        detectors.append(Detector(built("frontend"), built("aggregation"), backend).eval())
    saved = detectors[0].state_dict()
    assert {"frontend.weights.bias", "aggregation.weights.bias", "proj_fc.bias"} < saved.keys()
    detectors[1].load_state_dict(saved)
    waveforms = torch.randn(2, 16000)
    assert torch.equal(detectors[0](waveforms), detectors[1](waveforms))
