"""`nes2net export`: existing files, missing options, and adapted detectors."""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
from builders import input_error
from conftest import load_detector

from nes2net import Detector
from nes2net.apps.export.formats import export
from nes2net.lib.storage.files import exclusive_lock
from nes2net.models.checkpoints.base import save_base


@pytest.fixture
def source(spectral_detector, workdir):
    spectral_detector.save("in.pth")
    return workdir / "in.pth"


def test_an_existing_export_is_replaced_only_by_overwrite(source, output, refused):
    words = "export in.pth --to safetensors --out out"
    output(words)
    weights = source.parent / "out/model.safetensors"
    weights.write_bytes(b"old")
    refused(words, "--overwrite")
    assert weights.read_bytes() == b"old"
    output(f"{words} --overwrite")
    assert weights.read_bytes() != b"old"


def test_the_same_export_goes_on_after_it_was_killed(source, output):
    words = "export in.pth --to safetensors --out out"
    output(words)
    (source.parent / "out/config.yaml").unlink()  # the description is written last
    (source.parent / "out/.writing.lock").touch()
    output(words)
    assert load_detector("out").config == load_detector("in.pth").config


@pytest.mark.parametrize(
    ("to", "out", "lock"),
    [
        ("safetensors", "out", "out/.writing.lock"),
        ("space", "out", "out/.writing.lock"),
        ("onnx", "out.onnx", ".out.onnx.lock"),
    ],
)
def test_an_export_to_where_another_process_writes_is_refused(source, to, out, lock):
    if to == "onnx":
        pytest.importorskip("onnxscript")
    with exclusive_lock(source.parent / lock, ""), ProcessPoolExecutor(1, get_context("fork")) as executor:
        with input_error("another process is writing .*: wait for its end, or name another"):
            executor.submit(export, load_detector("in.pth"), to, out).result()


@pytest.fixture
def adapted_detector(small_model, workdir):
    """A detector in ``lora.pth``, whose base was moved to ``moved.pth``."""
    torch.manual_seed(0)
    adapted = {**small_model["frontend"], "adapt": {"kind": "lora", "rank": 2}}
    detector = Detector.from_config({**small_model, "frontend": adapted}).eval()
    save_base(detector, workdir / "base.pth")
    for parameter in detector.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    detector.save("lora.pth", epoch=2)
    os.rename("base.pth", "moved.pth")
    return detector


MERGE = "export lora.pth --to merged --out merged.pth"


def test_merging_an_adapted_detector_without_its_base_is_refused_with_the_path_of_the_base(
    adapted_detector, workdir, refused
):
    """The message says how to name another one."""
    message = (
        f"lora.pth holds only the trained part of its front-end, and its base '{workdir / 'base.pth'}' is neither there"
    )
    refused(MERGE, message, "nor beside it: name the base with --base\n")


@pytest.fixture
def merged(adapted_detector, output):
    output(f"{MERGE} --base moved.pth")
    return load_detector("merged.pth")


def test_a_merged_detector_has_a_plain_front_end_and_the_logits_of_the_adapted_one(
    merged, adapted_detector, small_model
):
    assert merged.config["frontend"] == Detector.from_config(small_model).config["frontend"]
    waveform = 0.1 * torch.randn(2, 6000)
    torch.testing.assert_close(merged(waveform), adapted_detector(waveform), atol=1e-6, rtol=0)


def test_an_exported_average_of_adapted_detectors_is_merged(merged, output):
    shutil.copy("lora.pth", "copy.pth")
    output("average lora.pth copy.pth --out average.pth")
    output("export average.pth --to pth --out exported.pth --base moved.pth")
    exported = load_detector("exported.pth").state_dict()
    for key, tensor in merged.state_dict().items():
        assert torch.equal(tensor, exported[key])
