"""Reads the reference numbers of the further systems, ``golden/zoo`` of the folder of real files."""

import copy
import json
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from builders import SHARED, assert_near, shared_path
from builders import golden_backends as gb
from nes2net.lib.parts.options import options_of
from nes2net.models.registry import frontends

#: Tolerances: float32 as the numbers were published, float64 and gradient norms far below.
AGREES = 1e-5
AGREES_F64 = 1e-10
GRADIENTS = 1e-8
#: Convolutions of the tiny encoders.
CONVOLUTIONS = [[16, 10, 5], *[[16, 3, 2]] * 4, *[[16, 2, 2]] * 2]


@cache
def _load(name):
    return torch.load(SHARED / "golden" / "zoo" / f"{name}.pt", weights_only=True)


def read(name: str) -> dict[str, Any]:
    """The file ``name``; the test skips if there is no such folder."""
    shared_path("golden", "zoo")
    return _load(name)


def check_case(model: nn.Module, case: dict[str, Any], x: Tensor) -> Tensor:
    """Outputs in float32; in float64 outputs, gradients, and, if the case has them, those of train mode without dropout.

    Parameters that the published code does not train need not be listed. Returns the logits in float32.
    """
    model.eval()
    with torch.no_grad():
        logits = gb.logits_of(model, x)
    assert_near(logits, case["output"], AGREES)
    double = gb.without_dropout(copy.deepcopy(model)).double()
    for prefix, output in (("", "output_f64"), ("train_", "train_mode_output_f64")):
        if output in case:
            outputs, norms = gb.published_gradients(double.train(prefix == "train_"), x.double())
            assert_near(outputs, case[output], AGREES_F64)
            expected = case.get(f"{prefix}grad_norms", norms)
            listed = {key: norm for key, norm in norms.items() if norm is not None or key in expected}
            gb.check_norms(listed, expected, GRADIENTS)
    if "bn_after_train_abs_sums" in case:
        gb.check_statistics(double, case, rel=1e-12)
    return logits


def manifest(name: str, kind: str) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """What the manifest ``name`` says of a published model or size, and the shapes of its tensors."""
    manifests = read_manifest(name)
    return manifests[kind], shapes_of(manifests[kind]["state_dict"])


def read_manifest(name: str) -> dict[str, Any]:
    """The manifest ``name``."""
    return json.loads(shared_path("golden", "zoo", f"manifest_{name}.json").read_text())


def shapes_of(described: dict[str, Any]) -> dict[str, list[int]]:
    """The shapes of the tensors that a manifest describes; ``x.{i}.y i=0..1`` stands for two."""
    shapes = {}
    for name, shape in described.items():
        name, _, span = name.partition(" i=")
        first, _, last = span.partition("..")
        for i in range(int(first), int(last) + 1) if span else [0]:
            shapes[name.replace("{i}", str(i))] = shape["int64"] if isinstance(shape, dict) else shape
    return shapes


def antideepfake_config(name: str) -> dict[str, Any]:
    """The configuration of a published detector on a tiny encoder; fairseq's defaults where its own says nothing."""
    file = read(name)
    model = {"extractor_mode": "default", "layer_norm_first": False, "conv_bias": False, **file["config"]["model"]}
    frontend = {key: value for key, value in model.items() if key in options_of(frontends.get(model["_name"]))}
    frontend["conv_feature_layers"] = CONVOLUTIONS
    if model["_name"] == "hubert":
        frontend["num_targets"] = len(file["state_dict"]["m_ssl.model.label_embs_concat"])
    head = "one_class" if file["config"]["head"] == "ocsoftmax" else "linear"
    return {
        "frontend": {"name": model["_name"], **frontend, "normalize": True},
        "backend": {"name": "mean_linear", "head": head},
    }
