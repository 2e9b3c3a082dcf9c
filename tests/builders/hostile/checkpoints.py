"""Checkpoints: torch files and safetensors, their records, and what is made of them.

tests/checkpoints/test_torch_file.py tries programs that would do harm at once.
"""

from __future__ import annotations

import argparse
import json
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.hostile import Case, cases, nes2net
from builders.hostile.making import written
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


def _of_program(program: Callable[[], bytes]) -> Callable[[Path], Path]:
    """A checkpoint as torch.save writes it, with a pickle of our own."""

    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "evil.pth", "w") as archive:
            archive.writestr("archive/data.pkl", program())
            archive.writestr("archive/data/0", bytes(16))
        return folder / "evil.pth"

    return make


def _of_content(content: Callable[[], Any], legacy: bool = False) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        torch.save(content(), folder / "evil.pth", _use_new_zipfile_serialization=not legacy)
        return folder / "evil.pth"

    return make


# Pickles: a value, and programs that use it often.

_LIST_OF_200_000 = b"](" + b"K\x00" * 100_000 + b"e"
_TUPLE_OF_100_000 = b"(" + b"K\x01" * 100_000 + b"t"
_TEXT_OF_A_MEGABYTE = b"X" + struct.pack("<I", _MEGABYTE) + b"x" * _MEGABYTE
_REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def _storage(key: bytes = b"X\x01\0\0\x000") -> bytes:
    return b"(X\x07\0\0\0storagectorch\nFloatStorage\n" + key + b"X\x03\0\0\0cpuJ\x04\0\0\0tQ"


_TENSOR = _REBUILD + b"(" + _storage() + b"K\x00K\x04\x85K\x01\x85\x89NtR"


def _often(call: bytes, shared: bytes = _LIST_OF_200_000) -> Callable[[], bytes]:
    """A program that does something with memo 0 many times."""
    return lambda: b"\x80\x04" + shared + b"\x940" + call * 80_000 + b"}."


def _numbers_as_keys() -> bytes:
    return b"\x80\x02}(" + b"".join(b"J%sK\x00" % struct.pack("<i", number) for number in range(200_000)) + b"u."


def _classes() -> bytes:
    return b"\x80\x02" + b"".join(b"cmine\nC%d\n0" % number for number in range(2000)) + b"}."


def _tensors() -> bytes:
    """400,000 names of one tensor; torch.save itself would take minutes for so many tensors."""
    names = b"".join(b"X\x08\0\0\0w%07dh\x00" % number for number in range(400_000))
    return b"\x80\x02" + _TENSOR + b"q\x000}(" + names + b"u."


_PICKLES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a storage key of a doubled tuple": (
        lambda: b"\x80\x02" + _storage(b")" + b"2\x86" * 60) + b".",
        "storage is described in an unknown way",
    ),
    "numbers as keys": (_numbers_as_keys, "more than 100,000 of its keys are numbers"),
    "copies of a list": (_often(b"cbuiltins\nlist\nh\x00\x85R0"), "6,000,000 are accepted"),
    "copies of a set": (_often(b"cbuiltins\nset\nh\x00\x85R0"), "keys are numbers"),
    "copies of arguments": (_often(b"cmine\nOwn\nh\x00R0", _TUPLE_OF_100_000), "6,000,000 are accepted"),
    "copies of arguments of a new object": (
        _often(b"cmine\nOwn\nh\x00\x810", _TUPLE_OF_100_000),
        "6,000,000 are accepted",
    ),
    "text encoded often": (
        _often(b"c_codecs\nencode\nh\x00X\x06\0\0\0latin1\x86R", _TEXT_OF_A_MEGABYTE),
        "holds no state dict",
    ),
    "shapes of 100,000 dimensions": (
        _often(_REBUILD + b"(" + _storage() + b"K\x00h\x00h\x00\x89NtR0", _TUPLE_OF_100_000),
        "shape is described in an unknown way",
    ),
    "many classes": (_classes, "names more than 1,000 classes"),
    "a class name of a megabyte": (_often(b"h\x00h\x00\x930", _TEXT_OF_A_MEGABYTE), "is not the name of a class"),
    "a class name that a terminal obeys": (
        lambda: b"\x80\x04\x8c\x01m\x8c\x05\x1b[2Jx\x930}.",
        "not the name of a class",
    ),
    "a lazy module of torch": (lambda: b"\x80\x02ctorch\n_dynamo\n.", "asks for torch._dynamo"),
    "very many memos": (lambda: b"\x80\x04]" + b"\x94" * 1_200_001 + b"}.", "6,000,000 are accepted"),
    "very many memos and records": (
        lambda: b"\x80\x04]" + b"\x94" * 1_000_000 + b"cmine\nOwn\n)R" * 130_000 + b"}.",
        "6,000,000 are accepted",
    ),
    "nested lists": (lambda: b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".", "found a list"),
    "a name that is a number": (lambda: b"\x80\x02}K\x05" + _TENSOR + b"s.", "holds no state dict: .* 5"),
    "a long name": (lambda: b"\x80\x02}" + _TEXT_OF_A_MEGABYTE + _TENSOR + b"s.", "holds no state dict: .*'xxx"),
    "400,000 tensors": (_tensors, "holds 400,000 tensors, more than any model"),
}


# Metadata that multiply.


def _doubled(of: Any = "x") -> Any:
    for _ in range(40):
        of = [of, of]
    return of


_RECORDS: dict[str, tuple[Any, str]] = {
    "doubled lists": (_doubled(), "its metadata is nested more than"),
    "200,000 values": (list(range(200_000)), "its metadata was refused .* 100,001 values"),
    "long text, often": (["x" * 10**5] * 1000, "its metadata was refused .* MB of values"),
    "a megabyte as a key": ({"x" * 2 * 10**6: 1}, "its metadata was refused .* MB of values"),
}


def _with_metadata(metadata: Any) -> Callable[[Path], Path]:
    """A detector's state dict with these metadata, as they are: save_state_dict would make them plain."""
    return _of_content(lambda: with_metadata(Detector.from_config(_DETECTOR).state_dict(), metadata))


def _of_record(record: Any) -> Callable[[Path], Path]:
    facts = {"model": Detector.from_config(_DETECTOR).config, "extra": record}
    return _with_metadata(OrderedDict({"": {"version": 1, "nes2net": facts}}))


_PACKINGS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "cfg": lambda config: {"cfg": {"model": config}},
    "args": lambda config: {"args": argparse.Namespace(**config)},
}


def _of_fairseq(packing: str, key: str, value: Any) -> Callable[[Path], Path]:
    """A pre-training file whose configuration has another ``value``."""

    def make(folder: Path) -> Path:
        frontend = create_frontend("wav2vec2_small", **_FRONTEND)
        model = {name.removeprefix("model."): tensor for name, tensor in frontend.state_dict().items()}
        config = {**frontend.config, key: value}
        torch.save({"model": model, **_PACKINGS[packing](config)}, folder / "evil.pt")
        return folder / "evil.pt"

    return make


_CONVOLUTIONS = {
    "that repeats": "[(16,3,2)]" + "*64" * 30,
    "that nests": "(" * 900 + ")" * 900,
    "that negates": "-" * 1900 + "1",
    "of a huge number": "[(16,3,2)]+[" + "9" * 1900 + "]",
    "of 20,000 characters": "[(16,3,2)]" + "+[(16,3,2)]" * 2000,
}

# Tensors.


def _state(dtype: torch.dtype) -> dict[str, Tensor]:
    state = Detector.from_config(_DETECTOR).state_dict()
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def _of_types(*types: torch.dtype) -> Callable[[Path], list[Path]]:
    """Files of a detector with numbers of these types."""

    def make(folder: Path) -> list[Path]:
        paths = [folder / f"{place}.pth" for place in range(len(types))]
        for path, dtype in zip(paths, types):
            save_state_dict(_state(dtype), path, model=_DETECTOR | {"aggregation": "last"})
        return paths

    return make


def _score(paths: list[Path]) -> float:
    return float(Detector.from_pretrained(paths[-1], device="cpu").score(torch.zeros(16000).numpy(), 16000))


def _mean(paths: list[Path]) -> int:
    return len(average_checkpoints(paths))


def _legacy_mean(paths: list[Path]) -> int:
    return len(average_checkpoints(paths, "legacy"))


def _many_names() -> dict[str, Tensor]:
    tensor = torch.zeros(200_000)
    return {f"w{number}": tensor for number in range(1000)}


def _shared_dictionaries() -> dict[str, Any]:
    inner = {"a": torch.zeros(200_000)}
    return {"model": {"w": torch.zeros(1)}, "optimizer": {number: inner for number in range(1000)}}


_EXPANDED: dict[str, Callable[[], dict[str, Any]]] = {
    "a stride of 0": lambda: {"w": torch.zeros(200_000).as_strided((2000, 100_000), (0, 1))},
    "one tensor under many names": _many_names,
    "one dictionary in many places": _shared_dictionaries,
}


def _safetensors(header: bytes, length: int | None = None) -> Callable[[Path], Path]:
    stated = (len(header) if length is None else length).to_bytes(8, "little")
    return written("evil.safetensors", stated + header + bytes(16))


_BEYOND = json.dumps({"w": {"dtype": "F32", "shape": [1 << 30], "data_offsets": [0, 1 << 32]}}).encode()


def _legacy_without_a_storage(folder: Path) -> Path:
    """A file in which no storage follows the tensors, which would hold whatever is in memory."""
    path = _of_content(lambda: {"w": torch.ones(1000)}, legacy=True)(folder)
    content = path.read_bytes()
    keys = content.rindex(b"\x80\x02]q\x00")  # the last pickle, a list of keys
    path.write_bytes(content[:keys] + b"\x80\x02]q\x00." + content[keys:][-4008:])
    return path


def _load_published(path: Path) -> None:
    Detector.from_config(_DETECTOR).load_published(load_state_dict(path), str(path))


def _load_frontend(path: Path) -> None:
    create_frontend("wav2vec2", path)


def _info(path: Path) -> str:
    return nes2net("info", path)


_EXPANDS = "grows to .* of tensors, repeated parts included"
_DAMAGED = r"evil\.safetensors is not a safetensors file or is damaged"
CASES: list[Case] = [
    *cases(_info, {name: (_of_program(program), says) for name, (program, says) in _PICKLES.items()}),
    *cases(load_state_dict, {name: (_of_content(content), _EXPANDS) for name, content in _EXPANDED.items()}),
    Case("a legacy file without a storage", _legacy_without_a_storage, load_state_dict, "does not hold the storages"),
    *cases(
        load_state_dict,
        {name: (_of_record(record), says) for name, (record, says) in _RECORDS.items()},
        "in a record: ",
    ),
    *(
        Case(f"metadata of {metadata!r}", _with_metadata(metadata), _load_published, None)
        for metadata in ({"": 5}, {"": {"version": "x"}}, {5: {}})
    ),
    *(
        Case(
            f"doubled layers in {packing}",
            _of_fairseq(packing, "conv_feature_layers", _doubled((16, 3, 2))),
            _load_frontend,
            "its metadata is nested more than",
        )
        for packing in _PACKINGS
    ),
    Case("a fairseq option doubled, info", _of_fairseq("cfg", "encoder_layers", _doubled()), _info, None),
    Case("a fairseq option of text", _of_fairseq("cfg", "encoder_layers", "x"), _load_frontend, "encoder_layers is"),
    *(
        Case(
            f"an expression {name}",
            _of_fairseq("cfg", "conv_feature_layers", text),
            _load_frontend,
            "must be a list of",
        )
        for name, text in _CONVOLUTIONS.items()
    ),
    Case("a detector of int64", _of_types(torch.int64), _score, "other type: .* where float32"),
    Case("a detector of float8", _of_types(torch.float8_e4m3fn), _score, "other type: .* where float32"),
    Case("a detector of float16", _of_types(torch.float16), _score, None),
    Case("float32 and float16", _of_types(torch.float32, torch.float16), _mean, None),
    Case("float32 and int64", _of_types(torch.float32, torch.int64), _mean, "does not fit this model; other type"),
    Case("float32 and float8", _of_types(torch.float32, torch.float8_e4m3fn), _mean, "neither weights nor counters"),
    Case("complex numbers", _of_types(*[torch.complex64] * 2), _legacy_mean, "neither weights nor counters"),
    Case("safetensors: a header longer than the file", _safetensors(b"{}", 1 << 40), load_state_dict, _DAMAGED),
    Case("safetensors: 17 MB of header", _safetensors(b" " * (17 << 20)), load_state_dict, _DAMAGED + ".*its header"),
    Case("safetensors: tensors beyond the file", _safetensors(_BEYOND), load_state_dict, _DAMAGED),
]
