"""Each registered part, from a configuration that states its name alone: exported, loaded and described."""

import pytest
import torch
import yaml
from builders import some
from builders.small_parts import FRONTENDS, frontend_families
from builders.without_weights import detector_without_weights
from conftest import load_detector, seeded_detector

from nes2net import Detector
from nes2net.apps.export.formats import export
from nes2net.apps.info.identify import identify
from nes2net.lib.computing.without_memory import without_memory
from nes2net.lib.parts.options import options_of
from nes2net.models import registry
from nes2net.models.checkpoints.state_dict import save_state_dict
from nes2net.models.provenance import Provenance

#: Role of a part → its registry.
REGISTRIES = dict(zip(("frontend", "aggregation", "backend"), registry.PARTS))
#: Back-ends that read the waveform.
READS_WAVEFORM = ("raw_aasist", "raw_aasist_l")
#: An encoder of few weights, as wide as the narrowest published one and with three hidden states.
ENCODER = {**FRONTENDS["wav2vec2"], "name": "wav2vec2_small", "encoder_embed_dim": 256}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("parts")


def model_with(role, name):
    """A configuration of names, with small parts beside the named one."""
    model = {"frontend": ENCODER, "aggregation": "last", "backend": "mean_linear", role: name}
    if name in READS_WAVEFORM:
        model["frontend"] = "waveform"
    if name == "waveform":
        model["backend"] = READS_WAVEFORM[0]
    return model


def declared_options(role, name):
    """The options of a part whose values the part before it does not determine."""
    return options_of(REGISTRIES[role].get(name)).keys() - set(REGISTRIES[role].given)


def shapes_of(state_dict):
    return {name: tensor.shape for name, tensor in state_dict.items()}


@pytest.mark.parametrize(
    "role, name", some([(role, name) for role in ("backend", "aggregation") for name in REGISTRIES[role].names()])
)
def test_a_part_named_alone_is_exported_loaded_and_described_with_all_its_options(role, name, folder):
    model = model_with(role, name)
    detector = seeded_detector(model)
    assert detector.config[role].keys() == {"name", *declared_options(role, name)}
    to = "safetensors" if model["frontend"] == "waveform" else "hf"
    loaded = load_detector(export(detector, to, folder / "out"))
    assert loaded.config == detector.config
    assert repr(loaded).removesuffix(f"\n  from {folder / 'out'}") == repr(detector)
    tensors = detector.state_dict()
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in loaded.state_dict().items())
    save_state_dict(tensors, folder / "named.pth", model=model)
    identity = identify(folder / "named.pth")
    assert identity.config == detector.config
    assert not identity.misfit


@pytest.mark.parametrize("name", [*frontend_families(), "wav2vec2_base"])
def test_a_front_end_named_alone_is_described_and_built_again_with_all_its_options(name, folder):
    """Without memory for weights; test_sizes.py has the further sizes."""
    detector = detector_without_weights(model_with("frontend", name))
    detector.write_description(folder, Provenance())
    with without_memory():
        loaded = Detector.from_config(yaml.safe_load((folder / "config.yaml").read_text())["model"])
    assert loaded.config == detector.config
    assert repr(loaded) == repr(detector)
    assert shapes_of(loaded.state_dict()) == shapes_of(detector.state_dict())
