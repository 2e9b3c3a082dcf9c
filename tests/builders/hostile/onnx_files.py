"""ONNX files: one good file of two nodes, and everything that can be wrong with it."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from builders.hostile import Case, nes2net

if find_spec("onnx") and find_spec("onnxruntime"):
    import onnx
    from onnx import TensorProto, helper

CONFIG = {"frontend": {"name": "lfcc"}, "aggregation": {"name": "last"}, "backend": {"name": "asp_mlp"}}
DESCRIPTION = {
    **{"config": CONFIG, "min_samples": 4, "max_samples": None, "external_data": None},
    **{"quantize": None, "score_rule": "logit", "training": {}},
}
INT8 = {**DESCRIPTION, "quantize": "int8"}
WEIGHTS = "weights.data"


def good(description: Any = DESCRIPTION) -> onnx.ModelProto:
    """A detector whose logits are the mean of the waveform times two weights, and whose score is their sum."""
    value, node = helper.make_tensor_value_info, helper.make_node
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


def external(tensor: onnx.TensorProto, location: str = WEIGHTS, **entries: Any) -> onnx.TensorProto:
    """Move a tensor's bytes to another file, which is not written; return the tensor."""
    places = {"location": location, "offset": 0, "length": len(tensor.raw_data), **entries}
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in places.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return tensor


def write(folder: Path, model: onnx.ModelProto | bytes) -> Path:
    """Write a model as ``m.onnx``."""
    path = folder / "m.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def score(path: Path) -> list[float]:
    """Open an ONNX file, and score two waveforms."""
    from nes2net.export.onnx_detector import OnnxDetector
    from nes2net.scoring.kernel import score_or_raise

    detector = OnnxDetector(path)
    assert len(detector.fingerprint()) == 64
    return score_or_raise(detector, torch.ones(2, 8))


def _tensor(name: str, array: np.ndarray) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(array, name)


def _changed(change: Callable[[Any], None], description: Any = DESCRIPTION) -> Callable[[Path], Path]:
    """A good model after ``change``."""

    def make(folder: Path) -> Path:
        model = good(description)
        change(model)
        return write(folder, model)

    return make


def _described(description: Any) -> Callable[[Path], Path]:
    return lambda folder: write(folder, good(description))


def _bytes(content: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    return lambda folder: write(folder, content(good().SerializeToString()))


def _beside(
    place: Callable[[Path], Any], location: str = WEIGHTS, declared: str | None = WEIGHTS, **entries: Any
) -> Callable[[Path], Path]:
    """A model with weights in another file, which ``place`` makes."""

    def make(folder: Path) -> Path:
        (inside := folder / "model").mkdir()
        np.ones(2, np.float32).tofile(folder / "outside")
        place(inside / WEIGHTS)
        model = good({**DESCRIPTION, "external_data": declared})
        external(model.graph.initializer[0], location.replace("FOLDER", str(folder)), **entries)
        return write(inside, model)

    return make


def _ones(path: Path) -> None:
    np.ones(2, np.float32).tofile(path)


def _subgraph(*nodes: Any, initializer: Any = ()) -> Any:
    return helper.make_graph(
        list(nodes) or [helper.make_node("Identity", ["w"], ["out"])],
        "body",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])],
        list(initializer),
    )


def _add(model: Any, *nodes: Any) -> None:
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def _hidden() -> dict[str, Callable[[Any], None]]:
    """Tensors in an undeclared file, at each place of a model that holds a tensor."""
    node, away = helper.make_node, lambda: external(_tensor("t", np.ones(2, np.float32)))
    condition = _tensor("c", np.array(True))

    def within(graph: Any, depth: int) -> Any:
        for _ in range(depth):
            graph = _subgraph(node("If", ["c"], ["out"], then_branch=graph, else_branch=_subgraph()))
        return graph

    def body(initializer: Any = (), *nodes: Any, depth: int = 0) -> Callable[[Any], None]:
        def change(model: Any) -> None:
            model.graph.initializer.append(condition)
            graph = within(_subgraph(*nodes, initializer=initializer), depth)
            _add(model, node("If", ["c"], ["unused"], then_branch=graph, else_branch=_subgraph()))

        return change

    def tensors(model: Any) -> None:
        model.graph.node[0].attribute.append(helper.make_attribute("many", [away(), away()]))

    def graphs(model: Any) -> None:
        model.graph.node[0].attribute.append(helper.make_attribute("many", [_subgraph(initializer=[away()])]))

    return {
        "an initialiser": lambda model: model.graph.initializer.append(away()),
        "the weights": lambda model: external(model.graph.initializer[0]) and None,
        "a Constant": lambda model: _add(model, node("Constant", [], ["unused"], value=away())),
        "a list of tensors": tensors,
        "a list of graphs": graphs,
        "the body of an If": body([away()]),
        "a Constant in the body of an If": body((), node("Constant", [], ["out"], value=away())),
        "an If in an If in an If": body([away()], depth=2),
    }


def _function(model: Any, levels: int) -> None:
    """Functions that call the next one twice each."""
    node, name = helper.make_node, "own"
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(name, 1)]
    for level in range(levels):
        call = ("Identity", "") if level == levels - 1 else (f"f{level + 1}", name)
        nodes = [node(call[0], ["x"], ["y"], domain=call[1]), node(call[0], ["y"], ["z"], domain=call[1])]
        model.functions.append(helper.make_function(name, f"f{level}", ["x"], ["z"], nodes, opsets))
    model.opset_import.append(opsets[1])
    _add(model, node("f0", ["waveform"], ["unused"], domain=name))


def _sparse(shape: list[int]) -> Any:
    values, indices = _tensor("s", np.ones(1, np.float32)), _tensor("i", np.zeros(1, np.int64))
    return helper.make_sparse_tensor(values, indices, shape)


def _sized(model: Any, *dims: int) -> None:
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend(dims)


def _repeated(model: Any) -> None:
    """Weights that are put behind themselves 1,000 times, and the result 1,000 times, and so on."""
    names = ["w", *(f"r{i}" for i in range(10))]
    _add(model, *(helper.make_node("Concat", [a] * 1000, [b], axis=0) for a, b in itertools.pairwise(names)))
    _add_output(model, names[-1])


def _add_output(model: Any, name: str) -> None:
    """Let the logits depend on a tensor, so that it has to be computed."""
    model.graph.initializer.append(_tensor("all", np.array([0])))
    mean, mul = helper.make_node("ReduceMean", [name, "all"], ["m"]), model.graph.node[-2]
    model.graph.node.insert(len(model.graph.node) - 2, mean)
    mul.input[1] = "m"


def _filled(kind: str, size: int) -> Callable[[Any], None]:
    """One node that makes ``size`` numbers from one."""

    def change(model: Any) -> None:
        model.graph.initializer.extend([_tensor("size", np.array([size])), _tensor("one", np.ones(1, np.float32))])
        inputs = {"ConstantOfShape": ["size"], "Expand": ["one", "size"], "Tile": ["one", "size"]}[kind]
        model.graph.node.insert(0, helper.make_node(kind, inputs, ["filled"]))
        _add_output(model, "filled")

    return change


def _graphs_within_graphs(depth: int) -> bytes:
    """Nodes with an attribute with a graph with a node, without end."""
    content = b""
    for field in [0x3A, *[0x0A, 0x2A, 0x32] * depth][::-1]:
        size, length = len(content), b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        content = bytes([field]) + length + bytes([size]) + content
    return content


def _of_value(kind: str, name: str, elem: int, shape: list[Any] | None) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for value in getattr(model.graph, kind):
            if value.name == name:
                value.CopyFrom(helper.make_tensor_value_info(name, elem, shape))

    return change


def _renamed(model: Any) -> None:
    model.graph.output[0].name, model.graph.node[-1].output[0] = "other", "other"


def _texts(model: Any) -> None:
    for number in range(200):
        model.metadata_props.add(key=str(number), value="x" * 500_000)


def _more_scores(model: Any) -> None:
    """Three scores, whatever the batch, under a declared shape of (batch,)."""
    model.graph.initializer.append(_tensor("three", np.ones(3, np.float32)))
    model.graph.node[-1].CopyFrom(helper.make_node("Identity", ["three"], ["scores"]))


def _large_int8(model: Any) -> None:
    weights = _tensor("q", np.ones(4, np.int8))
    weights.dims[0] = 1 << 40
    model.graph.initializer.append(weights)


def _fused(model: Any) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    inputs = ["waveform", "q", "s", "z"]
    _add(model, helper.make_node("DynamicQuantizeMatMul", inputs, ["unused"], domain="com.microsoft"))


def _integer_scores(model: Any) -> None:
    cast = helper.make_node("Cast", ["sum"], ["scores"], to=TensorProto.INT64)
    model.graph.node[-1].output[0] = "sum"
    model.graph.node.append(cast)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("scores", TensorProto.INT64, ["batch"]))


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _large(folder: Path) -> Path:
    path = write(folder, good())
    os.truncate(path, 1 << 40)
    return path


_FOREIGN = r"m\.onnx is not a detector of this toolkit"
_DAMAGED = r"m\.onnx is not an ONNX file or is damaged"
_UNDECLARED = r"m\.onnx has weights in .*, but declares .* part of its identity"
_ELSEWHERE = "needs its weights in .*missing or not a file"
_DECLARED = r"m\.onnx (declares|has weights|needs)"


def _cases() -> list[Case]:
    deep = "[" * 100_000 + "]" * 100_000
    made = [
        ("good", _changed(lambda _: None), None),
        ("good, weights beside it", _beside(_ones), None),
        ("good, called int8", _described(INT8), None),
        # Quantised graphs.
        ("int8 weights of a terabyte", _changed(_large_int8), "a tensor of 1,.* numbers has"),
        ("an operator that onnxruntime makes of others", _changed(_fused), "operators of"),
        ("as many int8 scores as it likes", _changed(_more_scores, INT8), r"of shape \(3,\) for 1 waveform:"),
        # Weights in other files.
        *(
            (f"undeclared weights in {place}", _changed(change), f"{_UNDECLARED}|{_DAMAGED}")
            for place, change in _hidden().items()
        ),
        ("weights missing", _beside(lambda _: None), _ELSEWHERE),
        ("weights in a folder", _beside(Path.mkdir), _ELSEWHERE),
        ("weights in a pipe", _beside(_pipe), _ELSEWHERE),
        ("weights in /dev/zero", _beside(lambda path: path.symlink_to("/dev/zero")), _ELSEWHERE),
        ("weights behind a link", _beside(lambda path: path.symlink_to("../outside")), "link to another folder"),
        ("weights in a link to itself", _beside(lambda path: path.symlink_to(path)), _ELSEWHERE),
        ("weights cut", _beside(lambda path: path.write_bytes(bytes(7))), "has 7 bytes, but .* declares 8"),
        ("weights too long", _beside(lambda path: path.write_bytes(bytes(99_999))), "99,999 bytes, but .* declares 8"),
        *(
            (f"weights at {location!r}, declared {declared!r}", _beside(_ones, location, declared), pattern)
            for location in ("../outside", "FOLDER/outside", "x/../../outside", "*/_ORT_MEM_ADDR_/*", "", "\0", "..")
            for declared, pattern in ((WEIGHTS, _UNDECLARED), (location, f"{_FOREIGN}|{_UNDECLARED}|{_ELSEWHERE}"))
        ),
        *(
            (f"weights with {key} {str(value)[:20]}", _beside(_ones, **{key: value}), f"{_DAMAGED}|has 8 bytes")
            for key in ("offset", "length")
            for value in ("-1", "x", "9" * 5000, "9" * 17, "٣", "", None, "1e9")
        ),
        ("weights in a file of too long a name", _described({**DESCRIPTION, "external_data": "é" * 250}), _ELSEWHERE),
        ("weights declared, but in the file", _described({**DESCRIPTION, "external_data": "none"}), _ELSEWHERE),
        # Tensors.
        ("numbers without data", _changed(lambda m: _sized(m, 1 << 40)), _DAMAGED),
        ("numbers to the power of eight", _changed(lambda m: _sized(m, *[1 << 20] * 8)), _DAMAGED),
        ("a negative size", _changed(lambda m: _sized(m, -2)), _DAMAGED),
        ("too few numbers", _changed(lambda m: _sized(m, 4)), _DAMAGED),
        ("a sparse tensor", _changed(lambda m: m.graph.sparse_initializer.append(_sparse([1 << 40]))), "sparse"),
        (
            "a sparse Constant",
            _changed(lambda m: _add(m, helper.make_node("Constant", [], ["s"], sparse_value=_sparse([1 << 40])))),
            "sparse",
        ),
        # What a graph makes of small constants.
        ("repeated 1,000 times ten times", _changed(_repeated), f"memory|{_DAMAGED}"),
        *(
            (f"{kind} of 2^{power} numbers", _changed(_filled(kind, 1 << power)), rf"memory|{_DAMAGED}|m\.onnx fails")
            for kind in ("ConstantOfShape", "Expand", "Tile")
            for power in (31, 40, 61)
        ),
        ("functions that double 60 times", _changed(lambda m: _function(m, 60)), "functions|operators of"),
        ("graphs within graphs", lambda folder: write(folder, _graphs_within_graphs(5000)), _DAMAGED),
        *(
            (
                f"operators of {domain[:20]!r}",
                _changed(lambda m, d=domain: setattr(m.graph.node[0], "domain", d)),
                "operators",
            )
            for domain in ("com.example", "com.microsoft", "ai.onnx.ml", "x" * 10_000, "\x1b[2J")
        ),
        (
            "an operator's domain of 100 MB",
            _changed(lambda m: setattr(m.graph.node[0], "domain", "x" * 10**8)),
            "operators",
        ),
        ("200 texts of 500 kB", _changed(_texts), "grows to 1.5 MB of texts"),
        ("an unknown operator", _changed(lambda m: setattr(m.graph.node[0], "op_type", "Nothing")), _DAMAGED),
        ("a circle", _changed(lambda m: m.graph.node[0].input.__setitem__(0, "logits")), _DAMAGED),
        ("a missing tensor", _changed(lambda m: m.graph.node[0].input.__setitem__(1, "none")), _DAMAGED),
        ("an opset of the future", _changed(lambda m: setattr(m.opset_import[0], "version", 10**6)), _DAMAGED),
        ("a format of the future", _changed(lambda m: setattr(m, "ir_version", 10**6)), _DAMAGED),
        # Inputs and outputs.
        ("scores of another name", _changed(_renamed), _FOREIGN),
        ("scores in whole numbers", _changed(_integer_scores), _FOREIGN),
        (
            "scores of two dimensions",
            _changed(_of_value("output", "scores", 1, ["batch", 1])),
            f"{_FOREIGN}|{_DAMAGED}",
        ),
        ("as many scores as it likes", _changed(_more_scores), r"computed scores of shape \(3,\) for 2 waveforms"),
        ("a waveform whose name is no text", _bytes(lambda c: c.replace(b"waveform", b"wave\xff\xfeor")), _FOREIGN),
        ("no logits", _changed(lambda m: m.graph.output.pop()), _FOREIGN),
        ("no outputs", _changed(lambda m: m.graph.ClearField("output")), f"{_FOREIGN}|{_DAMAGED}"),
        ("no graph", _changed(lambda m: m.ClearField("graph")), f"{_FOREIGN}|{_DAMAGED}"),
        ("a waveform of text", _changed(_of_value("input", "waveform", 8, ["b", "n"])), f"{_FOREIGN}|{_DAMAGED}"),
        ("a waveform of 3 samples", _changed(_of_value("input", "waveform", 1, ["b", 3])), r"m\.onnx fails for 2 × 8"),
        ("a waveform of three dimensions", _changed(_of_value("input", "waveform", 1, [1, 1, "n"])), _FOREIGN),
        (
            "two inputs",
            _changed(lambda m: m.graph.input.append(helper.make_tensor_value_info("b", 1, [1]))),
            f"{_FOREIGN}|{_DAMAGED}",
        ),
        # Bytes.
        ("empty", _bytes(lambda _: b""), "is not an ONNX file"),
        ("text", _bytes(lambda _: b"not a model\n"), _DAMAGED),
        *((f"cut to {n} eighths", _bytes(lambda c, n=n: c[: len(c) * n // 8]), r"m\.onnx is not") for n in range(1, 8)),
        ("zeros", _bytes(lambda _: bytes(10**6)), _DAMAGED),
        ("a number without end", _bytes(lambda _: b"\x08" + b"\xff" * 10**6), _DAMAGED),
        ("a group", _bytes(lambda c: c + b"\x0b" * 10**6), _DAMAGED),
        ("a terabyte of zeros", _large, "has 1.1 TB"),
        (
            "a million empty nodes",
            _bytes(lambda _: b"\x3a\x80\x89\x7a" + b"\x0a\x00" * 1_000_000),
            "1,000,001 numbers outside",
        ),
        ("a part longer than the file", _bytes(lambda c: c + b"\x3a\xff\xff\xff\x7f"), _DAMAGED),
        ("a length of 64 bits", _bytes(lambda c: c + b"\x3a" + b"\xff" * 9 + b"\x01"), _DAMAGED),
        # The description.
        ("no metadata", _changed(lambda m: m.ClearField("metadata_props")), _FOREIGN),
        *(
            (f"description {text[:10]!r}", _described(text), f"{_FOREIGN}|{_DAMAGED}|2.1 MB of texts")
            for text in (
                "",
                "null",
                "[]",
                "{}",
                "{",
                deep,
                '{"config":' + deep + "}",
                "9" * 5000,
                " " * 2**21,
                "\ud7ff",
            )
        ),
        *(
            (f"description with {key} {json.dumps(value)[-20:]}", _described({**DESCRIPTION, key: value}), _FOREIGN)
            for key, values in {
                "config": (
                    *([], None, "x", {}, {"frontend": {"name": "lfcc"}}, {**CONFIG, "x": {"name": "x"}}, 10**400),
                    *(
                        {**CONFIG, "backend": part}
                        for part in ("asp_mlp", [], {}, {"name": 1}, {"name": "x", "a": [1e999]})
                    ),
                ),
                "min_samples": (0, -1, True, "4", 4.5, None, [], 10**400, 1 << 40),
                "max_samples": (0, -1, False, "4", 10**400, 1 << 62, {}),
                "quantize": ("int4", "", 8, True, [], {"int8": 1}),
                "external_data": (3, "", "a/b", "../x", "/etc/passwd", "x" * 300, "a\0b", [], "a\\b"),
            }.items()
            for value in values
        ),
    ]
    named = [Case(name, make, score, says) for name, make, says in made]
    return [
        *named,
        Case("good, described", _described(DESCRIPTION), lambda path: nes2net("info", path), None),
        Case("text, described", _bytes(lambda _: b"text"), lambda path: nes2net("info", path), _DAMAGED),
        Case("a pipe", lambda folder: _pipe(folder / "m.onnx") or folder / "m.onnx", score, "not found"),
        Case("a folder", lambda folder: (folder / "m.onnx").mkdir() or folder / "m.onnx", score, "not found"),
    ]


CASES = _cases() if find_spec("onnx") and find_spec("onnxruntime") else []
