"""Checkpoints: torch files and safetensors, their records, and what is made of them."""

from __future__ import annotations

import argparse
import json
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.hostile import Case, nes2net
from nes2net import Detector, average_checkpoints, create_frontend, load_state_dict
from nes2net.checkpoints.state_dict import save_state_dict, with_metadata

_DETECTOR = {"frontend": {"name": "lps", "n_fft": 128, "num_bins": 20}, "backend": "asp_mlp"}
_FRONTEND = {
    "encoder_layers": 1,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 32,
    "conv_feature_layers": [(16, 100, 64), (16, 3, 2)],
}
_MEGABYTE = 1 << 20
_MUCH_METADATA = "its metadata (was refused to save memory|is nested more than)"


def _written(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _of_program(program: Callable[[], bytes], storage: int = 16) -> Callable[[Path], Path]:
    """A checkpoint as torch.save writes it, with a pickle of our own."""

    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "evil.pth", "w") as archive:
            archive.writestr("archive/data.pkl", program())
            archive.writestr("archive/data/0", bytes(storage))
        return folder / "evil.pth"

    return make


def _of_content(content: Callable[[], Any], legacy: bool = False) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        torch.save(content(), folder / "evil.pth", _use_new_zipfile_serialization=not legacy)
        return folder / "evil.pth"

    return make


# Pickles. A value that shares its parts, and programs that use it.

_TUPLE = b")" + b"2\x86" * 60
_LIST_OF_200_000 = b"](" + b"K\x00" * 100_000 + b"e"
_REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def _storage(key: bytes = b"X\x01\0\0\x000", numel: int = 4) -> bytes:
    return b"(X\x07\0\0\0storagectorch\nFloatStorage\n" + key + b"X\x03\0\0\0cpuJ" + struct.pack("<i", numel) + b"tQ"


def _nested_frozensets() -> bytes:
    """Sixty times a set of the set before and of a set of it; each takes the two before to write."""
    program, number = b"(\x91\x940", count(1)
    for place in number:
        before = b"j" + struct.pack("<I", 2 * (place - 1))
        single = b"(" + before + b"\x91\x940"
        program += single + b"(" + before + b"j" + struct.pack("<I", 2 * place - 1) + b"\x91\x940"
        if place == 60:
            return program + b"j" + struct.pack("<I", 2 * place)
    raise AssertionError


def _copies(call: bytes, times: int = 80_000, shared: bytes = _LIST_OF_200_000) -> Callable[[], bytes]:
    """A program that asks for copies of one value: ``call`` makes one of memo 0, and drops it."""
    return lambda: b"\x80\x04" + shared + b"\x940" + call * times + b"}."


def _class_names() -> bytes:
    return b"\x80\x02" + b"".join(b"cmine\nC%d\n0" % number for number in range(2000)) + b"}."


_COPIES = {
    "list": b"cbuiltins\nlist\nh\x00\x85R0",
    "set": b"cbuiltins\nset\nh\x00\x85R0",
    "frozenset": b"cbuiltins\nfrozenset\nh\x00\x85R0",
    "deque": b"ccollections\ndeque\nh\x00\x85R0",
    "size": b"ctorch\nSize\nh\x00\x85R0",
}
_COPIES_OF_A_TUPLE = {
    "arguments": b"cmine\nOwn\nh\x00R0",
    "arguments of a new object": b"cmine\nOwn\nh\x00\x810",
    "a storage": b"h\x00Q0",
}
_COPIES_OF_A_DICT = {
    "dict": b"cbuiltins\ndict\nh\x00\x85R0",
    "OrderedDict": b"ccollections\nOrderedDict\nh\x00\x85R0",
    "Counter": b"ccollections\nCounter\nh\x00\x85R0",
    "defaultdict": b"ccollections\ndefaultdict\nNh\x00\x86R0",
}
_TEXT_OF_A_MEGABYTE = b"X" + struct.pack("<I", _MEGABYTE) + b"x" * _MEGABYTE
_DICT = b"}(" + b"".join(b"X\x05\0\0\0%05dK\x00" % number for number in range(40_000)) + b"u"


def _steps(instruction: bytes) -> Callable[[], bytes]:
    return lambda: b"\x80\x04]" + instruction * 6_000_001 + b"}."


def _colliding() -> bytes:
    """Numbers as keys, more than any state needs."""
    return b"\x80\x02}(" + b"".join(b"J%sK\x00" % struct.pack("<i", number) for number in range(200_000)) + b"u."


_PICKLES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a storage key of a doubled tuple": (
        lambda: b"\x80\x02" + _storage(_TUPLE) + b".",
        "storage is described in an unknown way",
    ),
    **{
        f"a nested frozenset as a {what}": (lambda rest=rest: b"\x80\x04" + _nested_frozensets() + rest, "evil")
        for what, rest in {"key": b"\x8c\x01a\x86}2K\x00s.", "value": b"}\x8c\x01ah\x00s.", "file": b"."}.items()
    },
    **{
        f"a doubled tuple as a key by {name}": (lambda program=program: program, "a key has the type tuple")
        for name, program in {
            "an item": b"\x80\x02}" + _TUPLE + b"K\x00s.",
            "items": b"\x80\x02}(" + _TUPLE + b"K\x00u.",
            "the old dictionary": b"\x80\x02(" + _TUPLE + b"K\x00d.",
            "pairs": b"\x80\x02ccollections\nOrderedDict\n](" + _TUPLE + b"K\x00\x86e\x85R.",
            "a set": b"\x80\x04\x8f(" + _TUPLE + b"\x90.",
        }.items()
    },
    "a key of a million bits, often": (
        lambda: (
            b"\x80\x02\x8b" + struct.pack("<i", 1 << 17) + b"\x7f" * (1 << 17) + b"q\x000}(" + b"h\x00N" * 9**5 + b"u."
        ),
        "a key has the type int",
    ),
    "numbers as keys": (_colliding, "more than 100,000 of its keys are numbers"),
    **{
        f"copies as {name}": (_copies(call), "6,000,000 are accepted|keys are numbers")
        for name, call in _COPIES.items()
    },
    **{
        f"copies of {name}": (
            _copies(call, shared=b"(" + b"K\x00" * 100_000 + b"t"),
            "6,000,000 are accepted|described in an unknown way",
        )
        for name, call in _COPIES_OF_A_TUPLE.items()
    },
    **{
        f"copies of a dictionary as {name}": (_copies(call, shared=_DICT), "6,000,000 are accepted")
        for name, call in _COPIES_OF_A_DICT.items()
    },
    "text encoded often": (
        _copies(b"c_codecs\nencode\nh\x00X\x06\0\0\0latin1\x86R0", shared=_TEXT_OF_A_MEGABYTE),
        "holds no state dict",
    ),
    "text encoded often and kept": (
        lambda: _copies(b"c_codecs\nencode\nh\x00X\x06\0\0\0latin1\x86R", shared=_TEXT_OF_A_MEGABYTE)(),
        "holds no state dict",
    ),
    "shapes of 200,000 dimensions": (
        _copies(_REBUILD + b"(" + _storage() + b"K\x00h\x00h\x00\x89NtR0", shared=b"(" + b"K\x01" * 200_000 + b"t"),
        "shape is described in an unknown way",
    ),
    "class names": (_class_names, "names more than 1,000 classes"),
    "a class name of a megabyte": (
        lambda: b"\x80\x04" + _TEXT_OF_A_MEGABYTE + b"\x940" + b"h\x00h\x00\x930" * 10**5 + b"}.",
        "is not the name of a class",
    ),
    "a class name that a terminal obeys": (
        lambda: b"\x80\x04\x8c\x01m\x8c\x05\x1b[2Jx\x930}.",
        "not the name of a class",
    ),
    "a lazy module of torch": (lambda: b"\x80\x02ctorch\n_dynamo\n.", "asks for torch._dynamo"),
    **{
        f"very many {name}": (_steps(instruction), "6,000,000 are accepted")
        for name, instruction in {
            "memos": b"\x94",
            "records": b"cmine\nOwn\n)R",
            "protocol frames": b"\x95" + struct.pack("<Q", 4) + b"]]]]",
        }.items()
    },
    "nested lists": (lambda: b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".", "found a list"),
    "a number of 10,000 digits": (lambda: b"\x80\x02I" + b"9" * 10_000 + b"\n.", "evil.pth is not a checkpoint"),
    "a name that is a number": (lambda: b"\x80\x02}K\x05" + _tensor() + b"s.", "holds no state dict: .* 5"),
    "a long name": (
        lambda: b"\x80\x02}" + _TEXT_OF_A_MEGABYTE + _tensor() + b"s.",
        "holds no state dict: .*'xxx",
    ),
}


def _tensor(size: bytes = b"K\x04\x85", stride: bytes = b"K\x01\x85", numel: int = 4) -> bytes:
    return _REBUILD + b"(" + _storage(numel=numel) + b"K\x00" + size + stride + b"\x89NtR"


# Metadata that multiply.


def _doubled(times: int = 40, of: Any = "x") -> Any:
    for _ in range(times):
        of = [of, of]
    return of


def _chain(levels: int = 100_000) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def _circle() -> Any:
    circle: list[Any] = []
    circle.append(circle)
    return circle


_METADATA: dict[str, Callable[[], Any]] = {
    "doubled lists": _doubled,
    "doubled mappings": lambda: _doubled_mapping(),
    "a circle": _circle,
    "a million values": lambda: list(range(200_000)),
    "long text, often": lambda: ["x" * 10**5] * 1000,
    "a megabyte as a key": lambda: {"x" * 2 * 10**6: 1},
}


def _doubled_mapping() -> Any:
    value: Any = {}
    for _ in range(40):
        value = {"a": value, "b": value}
    return value


def _of_record(record: Callable[[], Any], **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        detector = Detector.from_config(_DETECTOR)
        facts = {"model": detector.config, "extra": record(), **options}
        metadata = OrderedDict({"": {"version": 1, "nes2net": facts}})  # as it is: save_state_dict writes no circles
        torch.save(with_metadata(detector.state_dict(), metadata), folder / "evil.pth")
        return folder / "evil.pth"

    return make


def _of_fairseq(packed: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], Path]:
    """A pre-training file whose configuration is ``packed``."""

    def make(folder: Path) -> Path:
        frontend = create_frontend("wav2vec2_small", **_FRONTEND)
        model = {name.removeprefix("model."): tensor for name, tensor in frontend.state_dict().items()}
        torch.save({"model": model, **packed(dict(frontend.config))}, folder / "evil.pt")
        return folder / "evil.pt"

    return make


_PACKINGS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "cfg": lambda config: {"cfg": {"model": config}},
    "args": lambda config: {"args": argparse.Namespace(**config)},
}
_OPTIONS = {
    "doubled layers": ("conv_feature_layers", _doubled(of=(16, 3, 2)), _MUCH_METADATA),
    "a circle": ("conv_feature_layers", _circle(), _MUCH_METADATA),
    "an expression that repeats": ("conv_feature_layers", "[(16,3,2)]" + "*64" * 30, "must be a list of"),
    "an expression that nests": ("conv_feature_layers", "(" * 1000 + ")" * 1000, "must be a list of"),
    "an expression that negates": ("conv_feature_layers", "-" * 1900 + "1", "must be a list of"),
    "an expression of a huge number": ("conv_feature_layers", "[(16,3,2)]+[" + "9" * 1900 + "]", "must be a list of"),
}


def _with(packing: str, key: str, value: Any) -> Callable[[Path], Path]:
    return _of_fairseq(lambda config: _PACKINGS[packing]({**config, key: value}))


# Tensors.


def _state(dtype: torch.dtype | None = None, **others: Any) -> dict[str, Any]:
    state = Detector.from_config(_DETECTOR).state_dict()
    if dtype is not None:
        state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    return {**state, **others}


def _of_state(state: Callable[[], dict[str, Any]], number: int = 1) -> Callable[[Path], list[Path]]:
    """Files of a detector with these tensors, after one that is sound if there are two."""

    def make(folder: Path) -> list[Path]:
        paths = [folder / f"{place}.pth" for place in range(number)]
        for path, tensors in zip(paths, [_state, state][-number:], strict=True):
            save_state_dict(tensors(), path, model=_DETECTOR | {"aggregation": "last"})
        return paths

    return make


def _score(paths: list[Path]) -> float:
    return float(Detector.from_pretrained(paths[-1], device="cpu").score(torch.zeros(16000).numpy(), 16000))


def _first(state: dict[str, Any], change: Callable[[Tensor], Any]) -> dict[str, Any]:
    """``state`` with its first floating-point tensor changed."""
    name = next(k for k, v in state.items() if v.is_floating_point())
    return {**state, name: change(state[name])}


_TYPES = [torch.int64, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.int32]
_SPECIAL: dict[str, Callable[[Tensor], Any]] = {
    "sparse": lambda tensor: tensor.to_sparse(),
    "quantized": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    "nested": lambda tensor: torch.nested.as_nested_tensor([tensor, tensor]),
    "of another number of dimensions": lambda tensor: tensor[None],
    "a list": lambda tensor: tensor.tolist(),
    "meta": lambda tensor: tensor.to("meta"),
}


def _expanded(side: int = 100_000, rows: int = 2000) -> dict[str, Tensor]:
    return {"w": torch.zeros(side * 2).as_strided((rows, side), (0, 1))}


def _overlapping() -> dict[str, Tensor]:
    return {"w": torch.zeros(200_000).as_strided((100_000, 100_000), (1, 1))}


def _many_names() -> dict[str, Tensor]:
    tensor = torch.zeros(200_000)
    return {f"w{number}": tensor for number in range(1000)}


def _many_views() -> dict[str, Tensor]:
    tensor = torch.zeros(200_000)
    return {f"w{number}": tensor[number:] for number in range(1000)}


def _shared_dictionaries() -> dict[str, Any]:
    inner = {"a": torch.zeros(200_000)}
    return {"model": {"w": torch.zeros(1)}, "optimizer": {number: inner for number in range(1000)}}


_EXPANDED: dict[str, Callable[[], dict[str, Any]]] = {
    "a stride of 0": _expanded,
    "overlapping strides": _overlapping,
    "one tensor under many names": _many_names,
    "many views of one storage": _many_views,
    "one dictionary in many places": _shared_dictionaries,
}

# safetensors.


def _safetensors(header: bytes, data: bytes = bytes(16), length: int | None = None) -> Callable[[Path], Path]:
    content = (len(header) if length is None else length).to_bytes(8, "little") + header + data
    return _written("evil.safetensors", content)


def _entry(dtype: str = "F32", shape: Any = (4,), offsets: Any = (0, 16)) -> bytes:
    return json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()


_SAFETENSORS: dict[str, Callable[[Path], Path]] = {
    "a header longer than the file": _safetensors(b"{}", length=1 << 40),
    "a header of 2^64 - 1 bytes": _safetensors(b"{}", length=(1 << 64) - 1),
    "a header of 17 MB": _safetensors(b'{"__metadata__":{"a":"' + b"x" * (17 << 20) + b'"}}'),
    "tensors larger than the file": _safetensors(_entry(shape=(1 << 30,), offsets=(0, 1 << 32))),
    "a shape that overflows": _safetensors(_entry(shape=(1 << 62, 4, 4))),
    "a shape of other bytes": _safetensors(_entry(shape=(5,))),
    "a type that is none": _safetensors(_entry(dtype="X")),
    "numbers of 5,000 digits": _safetensors(_entry().replace(b"16]", b"9" * 5000 + b"]")),
    "a deep header": _safetensors(b"[" * 10**6),
    "a header that is no text": _safetensors(b"\xff" * 100),
    "metadata of NaN": _safetensors(b'{"__metadata__":{"a":NaN}}'),
    "nothing": _written("evil.safetensors", b""),
}


def _many_entries(folder: Path) -> Path:
    """400,000 names of one tensor; torch.save itself would take minutes for so many tensors."""
    names = b"".join(b"X\x08\0\0\0w%07dh\x00" % number for number in range(400_000))
    return _of_program(lambda: b"\x80\x02" + _tensor() + b"q\x000}(" + names + b"u.")(folder)


def _legacy_without_a_storage(folder: Path) -> Path:
    """A file in which no storage follows the tensors, which would hold whatever is in memory."""
    path = _of_content(lambda: {"w": torch.ones(1000)}, legacy=True)(folder)
    content = path.read_bytes()
    keys = content.rindex(b"\x80\x02]q\x00")  # the last pickle, a list of keys
    path.write_bytes(content[:keys] + b"\x80\x02]q\x00." + content[keys:][-4008:])
    return path


def _of_hostile_metadata(metadata: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        state = OrderedDict(_state())
        state._metadata = metadata  # type: ignore[attr-defined]
        torch.save(state, folder / "evil.pth")
        return folder / "evil.pth"

    return make


def _load_published(path: Path) -> None:
    Detector.from_config(_DETECTOR).load_published(load_state_dict(path), str(path))


def _info(path: Path) -> str:
    return nes2net("info", path)


CASES = [
    Case("text", _written("text.pth", b"not a checkpoint\n"), _info, r"text\.pth"),
    *[Case(name, _of_program(program), _info, says) for name, (program, says) in _PICKLES.items()],
    *[
        Case(f"{what} in a record, {reading}", _of_record(record), read, _MUCH_METADATA)
        for what, record in _METADATA.items()
        for reading, read in {"info": _info, "load": lambda path: Detector.from_pretrained(path)}.items()
    ],
    Case("a deep record", _of_program(lambda: _deep_record()), _info, _MUCH_METADATA),
    *[
        Case(f"{what} in {packing}", _with(packing, key, value), lambda path: create_frontend("wav2vec2", path), says)
        for packing in _PACKINGS
        for what, (key, value, says) in _OPTIONS.items()
    ],
    Case("a fairseq option doubled, info", _with("cfg", "encoder_layers", _doubled()), _info, None),
    *[
        Case(
            f"fairseq's {key} of {value!r}",
            _with("cfg", key, value),
            lambda path: create_frontend("wav2vec2", path),
            "evil|must|is",
        )
        for key, value in {"encoder_layers": "x", "encoder_embed_dim": [1], "dropout": {"a": 1}}.items()
    ],
    *[
        Case(f"{what}, {reading}", _of_content(content), read, "grows to .* of tensors, repeated parts included")
        for what, content in _EXPANDED.items()
        for reading, read in {
            "loaded": load_state_dict,
            "averaged": lambda path: average_checkpoints([path, path]),
        }.items()
    ],
    *[
        Case(
            f"a detector of {str(dtype)[6:]}",
            _of_state(lambda dtype=dtype: _state(dtype)),
            _score,
            "other type: .* where float32",
        )
        for dtype in _TYPES
    ],
    *[
        Case(
            f"a detector with one tensor of {str(dtype)[6:]}",
            _of_state(lambda dtype=dtype: _first(_state(), lambda t: t.to(dtype))),
            _score,
            None,
        )
        for dtype in (torch.float16, torch.bfloat16, torch.float64)
    ],
    *[
        Case(
            f"a detector with a tensor {what}",
            _of_state(lambda change=change: _first(_state(), change)),
            _score,
            r"0\.pth",
        )
        for what, change in _SPECIAL.items()
    ],
    *[
        Case(
            f"{mode} of float32 and {str(dtype)[6:]}",
            _of_state(lambda dtype=dtype: _state(dtype), number=2),
            lambda paths, mode=mode: average_checkpoints(paths, mode),
            "does not fit this model; other type|are neither weights nor counters",
        )
        for dtype, mode in zip(_TYPES, ("mean", "legacy") * 3)
    ],
    *[
        Case(
            f"{mode} of float32 and {str(dtype)[6:]}",
            _of_state(lambda dtype=dtype: _state(dtype), number=2),
            lambda paths, mode=mode: len(average_checkpoints(paths, mode)),
            None,
        )
        for dtype in (torch.float16, torch.float64)
        for mode in ("mean", "legacy")
    ],
    *[
        Case(
            f"safetensors: {what}", make, load_state_dict, r"evil\.safetensors is not a safetensors file or is damaged"
        )
        for what, make in _SAFETENSORS.items()
    ],
    Case(
        "safetensors: numbers of 4 bits",
        _safetensors(_entry(dtype="F4", shape=(32,))),
        lambda path: average_checkpoints([path]),
        "is damaged|neither weights nor counters",
    ),
    Case("400,000 names", _many_entries, _info, "holds 400,000 tensors, more than any model"),
    Case("a legacy file without a storage", _legacy_without_a_storage, load_state_dict, "does not hold the storages"),
    *[
        Case(
            f"metadata of {metadata!r}",
            _of_hostile_metadata(metadata),
            _load_published,
            None,
        )
        for metadata in ({"": 5}, {"backend": {"version": "x"}}, {"": {"version": "x"}}, {5: {}})
    ],
]


def _deep_record() -> bytes:
    """A state dict whose record is a list in a list, 100,000 times."""
    deep = b"]" * 100_000 + b"a" * 99_999
    record = (
        b"}X\x00\0\0\0}X\x07\0\0\0nes2net}X\x05\0\0\0modelX".replace(b"X\x05\0\0\0modelX", b"X\x05\0\0\0model")
        + deep
        + b"sss"
    )
    ordered = b"ccollections\nOrderedDict\n)RX\x01\0\0\0w" + _tensor() + b"s"
    return b"\x80\x02" + ordered + b"}X\x09\0\0\0_metadata" + record + b"sb."
