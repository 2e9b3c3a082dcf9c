"""Checkpoints of adapted detectors: what they hold, how the base is found and checked, and merged files."""

import copy
import os
import re

import pytest
import torch
from builders import input_error

from nes2net import Detector
from nes2net.apps.export.formats import export
from nes2net.models.checkpoints.averaging import average_checkpoints
from nes2net.models.checkpoints.base import base_names, save_base, trained_tensors
from nes2net.models.checkpoints.state_dict import load_state_dict, read_record, save_state_dict
from nes2net.models.loading import Checkpoint, load_weights

WAVEFORM = 0.1 * torch.randn(2, 6000, generator=torch.Generator().manual_seed(0))


def shaken(detector, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for parameter in detector.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return detector.eval()


def adapted(config, checkpoint=None, kind="lora"):
    options = {"kind": kind, "rank": 2} if kind in ("lora", "dora") else {"kind": kind}
    return Detector.from_config({**config, "frontend": {**config["frontend"], "adapt": options}}, checkpoint)


def logits(detector):
    with torch.no_grad():
        return detector(WAVEFORM)


@pytest.fixture
def trained(small_model, tmp_path):
    """An adapted detector whose base is in ``base.pth``, saved as ``lora.pth``."""
    torch.manual_seed(0)
    detector = adapted(small_model)
    save_base(detector, tmp_path / "base.pth")
    shaken(detector).save(tmp_path / "lora.pth", epoch=3)
    return detector


def test_a_checkpoint_of_an_adapted_detector_holds_only_the_tensors_that_were_trained(trained, tmp_path):
    """It records its base, epoch and model."""
    saved = load_state_dict(tmp_path / "lora.pth")
    assert set(saved) == set(trained_tensors(trained)) == set(trained.state_dict()) - base_names(trained)
    assert {key for key in saved if key.startswith("ssl_model.")} == {
        f"ssl_model.model.encoder.layers.{number}.self_attn.{projection}_proj.lora_{matrix}"
        for number in (0, 1)
        for projection in ("q", "k", "v", "out")
        for matrix in "AB"
    }
    record = read_record(saved)
    assert record["base"] == {"digest": trained.base["digest"], "file": str(tmp_path / "base.pth")}
    assert record["epoch"] == 3
    assert record["model"] == trained.config


def test_a_detector_is_loaded_from_a_trained_part_and_the_base_that_its_record_names(trained, tmp_path):
    loaded = Detector.from_pretrained(tmp_path / "lora.pth", "cpu")
    assert torch.equal(logits(loaded), logits(trained))
    assert loaded.base == trained.base


@pytest.fixture
def moved(trained, tmp_path):
    """The folder into which both files were moved, with a folder of the trained part."""
    (tmp_path / "moved").mkdir()
    for name in ("base.pth", "lora.pth"):
        os.rename(tmp_path / name, tmp_path / "moved" / name)
    trained.save(tmp_path / "moved" / "folder")
    return tmp_path / "moved"


def test_a_base_that_was_moved_is_found_beside_the_checkpoint(trained, moved):
    for name in ("lora.pth", "folder"):
        assert torch.equal(logits(Detector.from_pretrained(moved / name, "cpu")), logits(trained))


def test_a_checkpoint_whose_base_is_not_found_is_refused_with_the_path_of_the_base(moved, tmp_path):
    """A trained part with the file name of its base is not taken for the base."""
    (moved / "base.pth").unlink()
    with input_error(f"base '{tmp_path / 'base.pth'}' is neither there nor beside it"):
        Detector.from_pretrained(moved / "lora.pth", "cpu")
    os.rename(moved / "lora.pth", moved / "base.pth")
    with input_error("neither there nor beside it"):
        Detector.from_pretrained(moved / "base.pth", "cpu")


def test_the_base_that_is_named_for_a_trained_part_may_be_its_file_or_a_whole_detector(
    trained, moved, small_model, tmp_path
):
    full_detector = Detector.from_config(small_model)
    full_detector.load_state_dict({**full_detector.state_dict(), **load_state_dict(moved / "base.pth")})
    full_detector.save(tmp_path / "whole.pth")
    full_detector.save(tmp_path / "whole")
    os.rename(moved / "base.pth", tmp_path / "weights.pth")
    for base in ("weights.pth", "whole.pth", "whole"):
        loaded = Detector.from_pretrained(moved / "lora.pth", "cpu", base=tmp_path / base)
        assert torch.equal(logits(loaded), logits(trained))


def test_a_pre_training_file_or_folder_serves_as_the_base_of_a_detector_adapted_from_it(pretrained, tmp_path):
    """In fairseq's form, and as a folder of the transformers library."""
    config = {"frontend": {"name": "wav2vec2"}, "backend": {"name": "nes2net_x", "nes_ratio": [2, 2]}}
    file = pretrained / "tiny_w2v2_namespace.pt"
    export(Detector.from_config({**config, "frontend": {"name": "wav2vec2"}}, file), "hf", tmp_path / "folder")
    for checkpoint in (file, tmp_path / "folder"):
        detector = shaken(adapted(config, checkpoint))
        detector.save(tmp_path / "lora.pth")
        assert torch.equal(logits(Detector.from_pretrained(tmp_path / "lora.pth", "cpu")), logits(detector))


@pytest.mark.parametrize("kind", ["dora", "bitfit", "prompt", "adapter"])
def test_dora_bitfit_prompts_and_adapters_are_restored_from_their_trained_part_and_base(kind, small_model, tmp_path):
    torch.manual_seed(0)
    detector = adapted(small_model, kind=kind)
    save_base(detector, tmp_path / "base.pth")
    shaken(detector).save(tmp_path / "part.pth")
    loaded = Detector.from_pretrained(tmp_path / "part.pth", "cpu")
    assert torch.equal(logits(loaded), logits(detector))


def test_trained_parts_with_different_bases_are_not_averaged_or_read_with_the_base_of_another(
    trained, small_model, tmp_path
):
    torch.manual_seed(1)
    detector = adapted(small_model)
    save_base(detector, tmp_path / "other.pth")
    detector.save(tmp_path / "third.pth")
    for mode in ("mean", "legacy"):
        with input_error("third.pth cannot be averaged with the first checkpoint: its base has the SHA-256"):
            average_checkpoints([tmp_path / "lora.pth", tmp_path / "third.pth"], mode)
    with input_error("other.pth is not the base of .*lora.pth"):
        Detector.from_pretrained(tmp_path / "lora.pth", "cpu", base=tmp_path / "other.pth")


def test_a_trained_part_without_a_record_of_its_base_is_refused(trained, tmp_path):
    save_state_dict(load_state_dict(tmp_path / "lora.pth"), tmp_path / "bare.pth", model=trained.config)
    with input_error("bare.pth holds only the trained part .* no record of its base"):
        Detector.from_pretrained(tmp_path / "bare.pth", "cpu", base=tmp_path / "base.pth")


def test_an_adapted_detector_without_a_saved_base_is_restored_from_its_checkpoint_alone(small_model, tmp_path):
    detector = shaken(adapted(small_model))
    detector.save(tmp_path / "whole.pth")
    loaded = Detector.from_pretrained(tmp_path / "whole.pth", "cpu")
    assert torch.equal(logits(loaded), logits(detector))
    assert loaded.base is None


def test_a_trained_part_loads_into_a_detector_with_its_base(trained, tmp_path):
    """As when a run is resumed or returns to its best epoch."""
    another_detector = shaken(copy.deepcopy(trained), seed=2)
    assert not torch.equal(logits(another_detector), logits(trained))
    record = {"base": trained.base}
    load_weights(another_detector, Checkpoint.of(tmp_path / "epoch_1.pth", trained_tensors(trained), record))
    assert torch.equal(logits(another_detector), logits(trained))


def test_an_incomplete_trained_part_is_refused(trained, tmp_path):
    state_dict = dict(trained_tensors(trained))
    key = next(key for key in state_dict if key.endswith("lora_A"))
    del state_dict[key]
    with input_error(re.escape(f"does not fit this model; missing: {key}")):
        load_weights(trained, Checkpoint.of(tmp_path / "epoch_1.pth", state_dict, {"base": trained.base}))


def test_an_average_of_trained_parts_records_their_base(trained, tmp_path):
    shaken(trained, seed=3).save(tmp_path / "second.pth")
    average = average_checkpoints([tmp_path / "lora.pth", tmp_path / "second.pth"])
    assert read_record(average)["base"] == trained.base


def test_an_adapted_detector_in_int8_has_the_logits_of_the_merged_one_in_int8(trained):
    merged = logits(trained.merged().set_precision("int8"))
    trained.set_precision("int8")
    assert torch.equal(logits(trained), merged)


def test_int8_refuses_adapters(small_model):
    with input_error("int8 does not work with adapters, which this front-end has: use bfloat16 or float32"):
        adapted(small_model, kind="adapter").eval().set_precision("int8")
