"""ONNX files: one good file of two nodes, and everything that can be wrong with it."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from builders.hostile import Case, cases, nes2net
from builders.hostile.making import maker

if find_spec("onnx") and find_spec("onnxruntime"):
    import onnx
    from onnx import TensorProto, helper

CONFIG = {"frontend": {"name": "lfcc"}, "aggregation": {"name": "last"}, "backend": {"name": "asp_mlp"}}
DESCRIPTION = {
    **{"config": CONFIG, "min_samples": 4, "max_samples": None, "external_data": None},
    **{"quantize": None, "score_rule": "logit", "training": {}},
}
WEIGHTS = "weights.data"


def good(description=DESCRIPTION) -> onnx.ModelProto:
    """A detector whose logits are the mean of the waveform times two weights, and whose score is their sum."""
    value = helper.make_tensor_value_info
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("ReduceMean", ["waveform", "axis"], ["mean"], keepdims=1),
            node("Mul", ["mean", "w"], ["logits"]),
            node("ReduceSum", ["logits", "axis"], ["scores"], keepdims=0),
        ],
        "detector",
        [value("waveform", TensorProto.FLOAT, ["batch", "samples"])],
        [value("scores", TensorProto.FLOAT, ["batch"]), value("logits", TensorProto.FLOAT, ["batch", 2])],
        [_tensor("w", np.ones(2, np.float32)), _tensor("axis", np.array([1]))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    text = description if isinstance(description, str) else json.dumps(description)
    helper.set_model_props(model, {"nes2net": text})
    return model


def external(tensor: onnx.TensorProto, location: str = WEIGHTS) -> onnx.TensorProto:
    """Move a tensor's bytes to another file, which is not written; return the tensor."""
    fields = {"location": location, "offset": 0, "length": len(tensor.raw_data)}
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in fields.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def write(folder: Path, model: onnx.ModelProto | bytes) -> Path:
    """Write a model as ``m.onnx``."""
    path = folder / "m.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def score(path: Path) -> list[float]:
    """Open an ONNX file, and score two waveforms."""
    from nes2net.models.onnx_detector import OnnxDetector
    from nes2net.scoring.kernel import score_or_raise

    detector = OnnxDetector(path)
    assert len(detector.fingerprint()) == 64
    return score_or_raise(detector, torch.ones(2, 8))


def _tensor(name, array):
    return onnx.numpy_helper.from_array(array, name)


@maker
def _changed(folder, change):
    """A good model after ``change``."""
    model = good()
    change(model)
    return write(folder, model)


def _described(description):
    return lambda folder: write(folder, good(description))


def _bytes(content):
    return lambda folder: write(folder, content(good().SerializeToString()))


@maker
def _beside(folder, make, location=WEIGHTS, declared=WEIGHTS):
    """A model with weights in another file, which ``make`` writes."""
    model_folder = folder / "model"
    model_folder.mkdir()
    _ones(folder / "outside")
    make(model_folder / WEIGHTS)
    model = good({**DESCRIPTION, "external_data": declared})
    external(model.graph.initializer[0], location)
    return write(model_folder, model)


def _ones(path):
    np.ones(2, np.float32).tofile(path)


def _add(model, *nodes):
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def _undeclared_within(model):
    """Weights in an undeclared file, of a Constant in a branch."""
    node = helper.make_node
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])
    constant = node("Constant", [], ["out"], value=external(_tensor("t", np.ones(2, np.float32))))
    branch = helper.make_graph([constant], "body", [], [out])
    _add(model, node("If", ["c"], ["unused"], then_branch=branch, else_branch=branch))


def _filled(size):
    """One node that makes ``size`` numbers, on which the logits depend."""

    def change(model):
        model.graph.initializer.extend([_tensor("size", np.array([size])), _tensor("all", np.array([0]))])
        filled = helper.make_node("ConstantOfShape", ["size"], ["filled"])
        _add(model, filled, helper.make_node("ReduceMean", ["filled", "all"], ["m"]))
        model.graph.node[-2].input[1] = "m"

    return change


def _graphs_within_graphs(depth):
    """Nodes with an attribute with a graph with a node, without end."""
    content = b""
    for field in [0x3A, *[0x0A, 0x2A, 0x32] * depth][::-1]:
        size = len(content)
        length = b""
        while size > 127:
            length = length + bytes([size & 127 | 128])
            size = size >> 7
        content = bytes([field]) + length + bytes([size]) + content
    return content


def _texts(model):
    for number in range(200):
        model.metadata_props.add(key=str(number), value="x" * 500_000)


def _more_scores(model):
    """Three scores, whatever the batch, under a declared shape of (batch,)."""
    model.graph.initializer.append(_tensor("three", np.ones(3, np.float32)))
    model.graph.node[-1].CopyFrom(helper.make_node("Identity", ["three"], ["scores"]))


def _large(folder):
    path = write(folder, good())
    os.truncate(path, 1 << 40)
    return path


_FOREIGN = r"m\.onnx is not a detector of this toolkit"
_DAMAGED = r"m\.onnx is not an ONNX file or is damaged"
_UNDECLARED = r"m\.onnx has weights in .*, but its description names .* so they cannot be verified"
_ELSEWHERE = "needs its weights in .*missing or not a file"
_DESCRIBED = {
    "config": ([], {**CONFIG, "x": {"name": "x"}}, {**CONFIG, "backend": {"name": 1}}),
    "min_samples": (0, True, 1 << 40),
    "max_samples": (0, 1 << 62),
    "external_data": ("", "a/b", "a\\b", "a\0b", "x" * 300),
}


def _cases():
    deep = "[" * 100_000 + "]" * 100_000
    rows = {
        "good": (_described(DESCRIPTION), None),
        "good, weights beside it": (_beside(_ones), None),
        # Weights in other files.
        "undeclared weights": (_changed(lambda m: external(m.graph.initializer[0])), _UNDECLARED),
        "undeclared weights within a graph": (_changed(_undeclared_within), _UNDECLARED),
        "weights elsewhere, declared": (_beside(_ones, "../outside", "../outside"), _FOREIGN),
        "weights missing": (_beside(lambda _: None), _ELSEWHERE),
        "weights behind a link": (_beside(lambda path: path.symlink_to("../outside")), "link to another folder"),
        "weights too long": (_beside(lambda path: path.write_bytes(bytes(99_999))), "99,999 bytes, but .* declares 8"),
        "weights declared, but in the file": (_described({**DESCRIPTION, "external_data": "none"}), _ELSEWHERE),
        # Tensors and operators.
        # Fields of ModelProto and GraphProto (onnx.proto), each empty.
        "a sparse tensor": (_bytes(lambda c: c + b"\x3a\x02\x7a\0"), "holds sparse tensors"),
        "a function": (_bytes(lambda c: c + b"\xca\x01\0"), "holds functions"),
        "2^61 numbers": (_changed(_filled(1 << 61)), r"m\.onnx fails"),
        "graphs within graphs": (lambda folder: write(folder, _graphs_within_graphs(5000)), _DAMAGED),
        "operators of others": (
            _changed(lambda m: setattr(m.graph.node[0], "domain", "com.microsoft")),
            "operators of",
        ),
        # Inputs and outputs.
        "as many scores as it likes": (_changed(_more_scores), r"computed scores of shape \(3,\) for 2 waveforms"),
        # Bytes.
        "cut": (_bytes(lambda c: c[: len(c) * 5 // 8]), _DAMAGED),
        "a terabyte of zeros": (_large, "has 1.1 TB"),
        "a million empty nodes": (
            _bytes(lambda _: b"\x3a\x80\x89\x7a" + b"\n\0" * 1_000_000),
            "1,000,001 numbers outside",
        ),
        # The description.
        "200 texts of 500 kB": (_changed(_texts), "grows to 1.5 MB of texts"),
        "deep JSON": (_described('{"config":' + deep + "}"), _FOREIGN),
        **{
            f"described with {key} {json.dumps(value)[-25:]}": (_described({**DESCRIPTION, key: value}), _FOREIGN)
            for key, values in _DESCRIBED.items()
            for value in values
        },
    }
    described = Case("good, described", _described(DESCRIPTION), lambda path: nes2net("info", path), None)
    return [*cases(score, rows), described]


CASES = _cases() if find_spec("onnx") and find_spec("onnxruntime") else []
