"""ONNX files of detectors, opened by onnxruntime. Nothing in a file can run code."""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nes2net.errors import InputError, MissingLibrary, first_line
from nes2net.machine.devices import named_device

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Key of the file's metadata under which its description stands, as JSON.
METADATA = "nes2net"
_CHECKS_LOCATIONS = (1, 24, 4)  # the onnxruntime that refuses weights outside a file's folder; 1.23.2 does not


class OnnxFile:
    """A detector's ONNX file, open for computing.

    onnxruntime computes with as many threads as torch would. Custom operators are never loaded, and
    weights outside the file's folder are refused.

    Args:
        path: the file.
        device: ``"auto"`` takes CUDA if onnxruntime has it (the package onnxruntime-gpu); or
            ``"cpu"``, ``"cuda"``, ``"cuda:N"``.

    Attributes:
        session: onnxruntime's.
        description: the description in the file, as JSON holds it.
        config: configuration of the detector that was exported.
        min_samples, max_samples: lengths of the shortest and longest waveform that it takes. The
            longest is None without a limit, and equal to the shortest if time is fixed.

    Raises:
        InputError: if the file is missing, damaged or not of this toolkit, or if onnxruntime is
            missing or has no CUDA.
    """

    def __init__(self, path: str | Path, device: str = "auto") -> None:
        require("onnxruntime")
        self.path = Path(path)
        self.session = _open(self.path, device)
        self.description = _read_description(self.session, self.path)
        self.config: dict[str, Any] = self.description["config"]
        self.min_samples: int = self.description["min_samples"]
        self.max_samples: int | None = self.description["max_samples"]

    def sha256(self) -> str:
        """Return the hash of the file and of the weights beside it, if there are any."""
        digest = hashlib.sha256()
        beside = self.description["external_data"]
        for file in [self.path] + ([self.path.with_name(beside)] if beside else []):
            with open(file, "rb") as stream:
                while block := stream.read(2**20):
                    digest.update(block)
        return digest.hexdigest()


def require(*modules: str) -> None:
    """Raise :class:`MissingLibrary` unless the libraries that ONNX files need can be imported."""
    for name in modules:
        try:
            __import__(name)
        except ImportError as error:
            raise MissingLibrary(f"{name} is not installed: pip install nes2net[onnx]") from error


def _open(path: Path, device: str) -> InferenceSession:
    import onnxruntime  # optional

    if path.suffix != ".onnx":
        raise InputError(
            f"{path} is not an ONNX file: the onnx engine reads FILE.onnx, which `nes2net export --to onnx` writes"
        )
    if not path.is_file():
        raise InputError(f"{path} not found: `nes2net export --to onnx` writes such a file")
    _check_weights(path, onnxruntime.__version__)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what goes wrong is raised
    providers = _providers(device)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions have no common class
        raise InputError(
            f"{path} is not an ONNX file or is damaged ({first_line(error)}): copy it again or export it anew"
        ) from error
    if device.startswith("cuda") and "CUDAExecutionProvider" not in session.get_providers():
        raise InputError(
            "onnxruntime could not start CUDA, because its libraries do not fit: take `device=cpu`, or mend onnxruntime-gpu"
        )
    return session


def _check_weights(path: Path, version: str) -> None:
    """Check that weights lie in the file, unless this onnxruntime refuses those outside its folder.

    A file that names another one holds the word ``location``, the key of that name (onnx.proto,
    ``TensorProto.external_data``).

    Raises:
        InputError: if there may be weights outside the file.
    """
    if tuple(map(int, re.findall(r"\d+", version)[:3])) >= _CHECKS_LOCATIONS or not path.stat().st_size:
        return
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"location") >= 0:
            raise InputError(
                f"{path} may have weights in other files, and onnxruntime {version} would read them wherever they lie: "
                f"onnxruntime {'.'.join(map(str, _CHECKS_LOCATIONS))} or later keeps to the folder"
            )


def _providers(device: str) -> list[Any]:
    import onnxruntime  # optional

    cpu = "CPUExecutionProvider"
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    wanted = named_device(("cuda" if has_cuda else "cpu") if device == "auto" else device)
    if wanted.type == "cpu":
        return [cpu]
    if wanted.type != "cuda" or not has_cuda:
        raise InputError(f"this onnxruntime has no {wanted.type}: install onnxruntime-gpu, or take `device=cpu`")
    # TF32 products have ten bits of mantissa, and the scores would not be torch's.
    return [("CUDAExecutionProvider", {"device_id": wanted.index or 0, "use_tf32": 0}), cpu]


def _read_description(session: InferenceSession, path: Path) -> dict[str, Any]:
    try:
        description = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
        shortest, longest, beside = (description[k] for k in ("min_samples", "max_samples", "external_data"))
        complete = (
            isinstance(description["config"], dict)
            and isinstance(shortest, int)
            and isinstance(longest, int | None)
            and (beside is None or Path(beside).name == beside)
            and [i.name for i in session.get_inputs()] == ["waveform"]
            and [o.name for o in session.get_outputs()] == ["scores", "logits"]
        )
    except (KeyError, TypeError, json.JSONDecodeError):
        complete = False
    if not complete:
        raise InputError(f"{path} is not a detector of this toolkit: `nes2net export --to onnx` writes one")
    return description
