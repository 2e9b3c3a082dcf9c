"""Detectors as ONNX files: written and checked by :func:`export_onnx`, run by onnxruntime in :class:`OnnxDetector`.

A file takes ``waveform``, B×N float32 at 16 kHz in [−1, 1], and gives ``scores`` (B,), higher meaning more bona fide, and ``logits`` B×n,
for any batch and any number of samples (a back-end of fixed length: for one number). Under ``nes2net`` in its metadata stands,
as JSON, what scoring has to know besides. It uses operators of the ONNX standard only and holds the weights itself up to 2 GB.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import mmap
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nes2net import __version__
from nes2net.data.audio import SAMPLE_RATE
from nes2net.data.crop import ASVSPOOF_SAMPLES
from nes2net.detector import Detector, bonafide_scores
from nes2net.devices import named_device
from nes2net.errors import InputError
from nes2net.onnx_translations import translations
from nes2net.score_record import fingerprint

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: The opset that torch.onnx translates to; a later one is a conversion of it.
OPSET = 18
#: onnxruntime's and torch's logits may differ by so much, relative to the largest logit where that is above 1.
TOLERANCE = 1e-4
#: For the shortest waveform: a standard deviation of two nearly equal frames is rounding, magnified.
ROUGH_TOLERANCE = 1e-2
#: Bytes of weights that one file holds: protobuf ends at 2 GiB, and the graph needs some of it.
LARGEST_FILE = 2**31 - 2**26
_METADATA = "nes2net"
_CHECKS_LOCATIONS = (1, 24, 4)  # the onnxruntime that refuses weights outside a file's folder; 1.23.2 does not


class _WithScores(nn.Module):
    """The outputs of the file."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.detector(waveform)
        return bonafide_scores(logits), logits


def export_onnx(detector: Detector, path: str | Path, *, num_samples: int | None = None) -> Path:
    """Write ``detector``, which is on the CPU in float32, as an ONNX file that :class:`OnnxDetector` and any ONNX runtime read.

    What is written is the detector in eval mode. Before the file appears, under its name by renaming, onnxruntime's logits are
    compared with torch's on other batches and lengths than those it was traced with, roughly for the shortest length. Weights
    above 2 GB go to ``{path}.data``, which has to stay beside the file. Memory: three to four times the weights, besides the detector.

    Args:
        path: ends in ``.onnx``.
        num_samples: take waveforms of this length only. A back-end that reads one number of frames (SLS) always has such a length:
            64,600 where that gives its frames, as in the published recipes, else its shortest.

    Raises:
        InputError: onnx, onnxscript or onnxruntime is missing, the detector is elsewhere or of another dtype, ``num_samples``
            does not fit, torch.onnx cannot translate it, or the two results differ by more than 1e-4 (1e-2 at the shortest
            length, where a standard deviation of two frames is mostly rounding).
    """
    _require("onnx", "onnxscript", "onnxruntime")
    path = Path(path)
    if path.suffix != ".onnx":
        raise InputError(f"{path}: the name of an ONNX file ends in .onnx")
    if detector.device.type != "cpu" or detector.dtype != torch.float32:
        raise InputError(
            f"a detector is exported to ONNX on the CPU in float32, not on {detector.device} in {detector.dtype}: "
            "call detector.cpu().float() first"
        )
    shortest, longest = _lengths(detector, num_samples)
    description = {
        "nes2net": __version__,
        "torch": torch.__version__,
        "config": detector.config,
        "fingerprint": fingerprint(detector),
        "sample_rate": SAMPLE_RATE,
        "min_samples": shortest,
        "max_samples": longest,
        "scores": "scores = logits[:, -1]; higher means more bona fide; no probability",
        "external_data": f"{path.name}.data" if _num_bytes(detector) > LARGEST_FILE else None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    was_training = detector.training
    detector.eval()
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            unchecked = Path(folder) / path.name
            _write(detector, description, unchecked)
            _check(detector, unchecked, path)
            for file in sorted(Path(folder).iterdir(), reverse=True):  # the weights before the graph that names them
                os.replace(file, path.parent / file.name)
    finally:
        detector.train(was_training)
    return path


def _lengths(detector: Detector, num_samples: int | None) -> tuple[int, int | None]:
    """The shortest and the longest waveform in samples, None for no limit; the same number twice where time is fixed."""
    frontend, backend = detector.frontend, detector.backend
    shortest = detector.min_samples
    most_frames = backend.fixed_frames or getattr(backend, "max_frames", None)
    longest = most_frames and frontend.min_samples + most_frames * frontend.hop_length - 1
    if num_samples is None and backend.fixed_frames:
        num_samples = ASVSPOOF_SAMPLES if shortest <= ASVSPOOF_SAMPLES <= longest else shortest
    if num_samples is None:
        return shortest, longest
    if num_samples < shortest or (longest and num_samples > longest):
        limit = f"{shortest} to {longest}" if longest else f"at least {shortest}"
        raise InputError(f"this detector takes {limit} samples, so it cannot be exported for {num_samples}")
    return num_samples, num_samples


def _num_bytes(detector: Detector) -> int:
    return sum(t.numel() * t.element_size() for t in (*detector.parameters(), *detector.buffers()))


def _write(detector: Detector, description: dict[str, Any], path: Path) -> None:
    from onnxscript.optimizer import fold_constants

    waveform = _noise(2, _traced_samples(detector, description))
    with torch.inference_mode():
        detector(waveform)  # what is wrong with the detector itself is said before torch.onnx wraps it up
    try:
        with _quiet(), torch.no_grad():  # with gradients attention is traced as one kernel and translated as another
            program = torch.onnx.export(
                _WithScores(detector),
                (waveform,),
                dynamo=True,
                dynamic_shapes=({0: "batch"} if _is_fixed(description) else {0: "batch", 1: "samples"},),
                input_names=["waveform"],
                output_names=["scores", "logits"],
                opset_version=OPSET,
                optimize=False,  # onnxscript drops the addition of a constant below 1e-8, such as the floor of a logarithm
                custom_translation_table=translations(),
                verbose=False,
            )
            fold_constants(program.model)  # some are computed in float64, for which onnxruntime has not every operator
    except Exception as error:  # whatever a back-end of someone else's makes torch.onnx stumble over
        reason = _first_line(error.__cause__ or error)
        raise InputError(
            f"{path.name} was not written: torch.onnx cannot translate this detector ({reason})"
        ) from error
    for node in program.model.graph.all_nodes():  # where in whose folders it was traced
        node.metadata_props.clear()
        node.doc_string = None
    program.model.metadata_props[_METADATA] = json.dumps(description)
    program.save(path, external_data=description["external_data"] is not None)


def _is_fixed(description: dict[str, Any]) -> bool:
    return description["min_samples"] == description["max_samples"]


def _traced_samples(detector: Detector, description: dict[str, Any]) -> int:
    """So many that several nodes are left after a back-end's poolings: torch.export takes a size of one for a constant."""
    if _is_fixed(description):
        return description["min_samples"]
    frames = max(32, 8 * detector.backend.min_frames)
    return detector.frontend.min_samples + (frames - 1) * detector.frontend.hop_length


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on what it looks for and leaves out."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _check(detector: Detector, unchecked: Path, path: Path) -> None:
    exported = OnnxDetector(unchecked, device="cpu")
    traced = _traced_samples(detector, exported.description)
    if exported.min_samples == exported.max_samples:
        sizes = [(1, traced, TOLERANCE), (3, traced, TOLERANCE)]
    else:
        sizes = [
            (3, exported.min_samples, ROUGH_TOLERANCE),
            (1, traced + 37, TOLERANCE),
            (4, 2 * traced + 1, TOLERANCE),
        ]
    for batch, samples, tolerance in sizes:
        waveform = _noise(batch, samples)
        with torch.inference_mode():
            expected = detector(waveform)
        difference = (exported(waveform) - expected).abs().max().item()
        if not difference <= tolerance * max(1.0, expected.abs().max().item()):
            raise InputError(
                f"{path} was not written: for {batch} × {samples} samples onnxruntime's logits differ from torch's by {difference:.1e}, "
                f"more than {tolerance:.0e}; another version of torch, onnxscript or onnxruntime may do better"
            )


def _noise(batch: int, samples: int) -> Tensor:
    """White noise B×N; the last one falls silent, where a logarithm needs its floor."""
    waveform = 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(samples))
    waveform[-1, samples // 2 :] = 0
    return waveform


class OnnxDetector:
    """A detector from an ONNX file of :func:`export_onnx`, for :func:`nes2net.scoring.score_trials` and for tensors.

    onnxruntime computes, with as many threads as torch would. Nothing in a file can run code: custom operators are never loaded.
    Weights that lie outside the file's folder are refused.

    Args:
        path: the file.
        device: ``"auto"`` takes CUDA where onnxruntime has it (the package onnxruntime-gpu), ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Attributes:
        config: of the detector that was exported, for :meth:`Detector.from_config`.
        min_samples, max_samples: shortest and longest waveform, the longest None without a limit; the same number where time is fixed.
        description: all that the file says of itself.
        device, dtype: where and as what :meth:`scores` wants a waveform, the CPU and float32 whatever computes.

    Raises:
        InputError: no such file, it is damaged, it is none of this toolkit's, onnxruntime is missing or has no CUDA.
    """

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, path: str | Path, device: str = "auto") -> None:
        _require("onnxruntime")
        self.path = Path(path)
        self.session = _open(self.path, device)
        self.description = _read_description(self.session, self.path)
        self.config = self.description["config"]
        self.min_samples, self.max_samples = self.description["min_samples"], self.description["max_samples"]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the file and of the weights beside it, if any."""
        digest = hashlib.sha256()
        beside = self.description["external_data"]
        for file in [self.path] + ([self.path.with_name(beside)] if beside else []):
            with open(file, "rb") as stream:
                while block := stream.read(2**20):
                    digest.update(block)
        return digest.hexdigest()

    def train(self, mode: bool = True) -> OnnxDetector:
        """Nothing for ``mode=False``: a file holds a detector in eval mode, and :class:`InputError` says so otherwise."""
        if mode:
            raise InputError(
                f"{self.path} holds a detector in eval mode; train mode needs the checkpoint and --engine torch"
            )
        return self

    def __call__(self, waveform: Tensor) -> Tensor:
        """Logits B×n of ``waveform`` B×N, on the CPU."""
        return self._run("logits", waveform)

    def scores(self, waveform: Tensor) -> Tensor:
        """Scores (B,) of ``waveform`` B×N, on the CPU; higher means more bona fide."""
        return self._run("scores", waveform)

    def _run(self, output: str, waveform: Tensor) -> Tensor:
        samples = waveform.shape[1]
        if samples < self.min_samples or (self.max_samples and samples > self.max_samples):
            limit = f"{self.min_samples} to {self.max_samples}" if self.max_samples else f"at least {self.min_samples}"
            if self.min_samples == self.max_samples:
                limit = f"only {self.min_samples}"
            raise InputError(f"{self.path} takes {limit} samples, got {samples}: crop or repeat the waveform")
        array = np.ascontiguousarray(waveform.numpy(), dtype=np.float32)
        return torch.from_numpy(self.session.run([output], {"waveform": array})[0])


def _open(path: Path, device: str) -> InferenceSession:
    import onnxruntime

    if path.suffix != ".onnx":
        raise InputError(
            f"{path} is no ONNX file: the onnx engine reads FILE.onnx, which `nes2net export --to onnx` writes"
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
            f"{path} is no ONNX file or is damaged ({_first_line(error)}): copy it again or export it anew"
        ) from error
    if device.startswith("cuda") and "CUDAExecutionProvider" not in session.get_providers():
        raise InputError(
            "onnxruntime could not start CUDA, its libraries do not fit: --device cpu, or mend onnxruntime-gpu"
        )
    return session


def _check_weights(path: Path, version: str) -> None:
    """Raise :class:`InputError` for weights outside the file, unless this onnxruntime refuses those outside its folder.

    A file that names another one holds the word ``location``, the key of that name (onnx.proto, ``TensorProto.external_data``).
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
    import onnxruntime

    cpu = "CPUExecutionProvider"
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    wanted = named_device(("cuda" if has_cuda else "cpu") if device == "auto" else device)
    if wanted.type == "cpu":
        return [cpu]
    if wanted.type != "cuda" or not has_cuda:
        raise InputError(f"this onnxruntime has no {wanted.type}: install onnxruntime-gpu, or choose --device cpu")
    # TF32 products have ten bits of mantissa, and the scores would not be torch's.
    return [("CUDAExecutionProvider", {"device_id": wanted.index or 0, "use_tf32": 0}), cpu]


def _read_description(session: InferenceSession, path: Path) -> dict[str, Any]:
    try:
        description = json.loads(session.get_modelmeta().custom_metadata_map[_METADATA])
        shortest, longest, beside = (description[k] for k in ("min_samples", "max_samples", "external_data"))
        whole = isinstance(description["config"], dict) and isinstance(shortest, int)
        whole &= longest is None or isinstance(longest, int)
        whole &= beside is None or Path(beside).name == beside
        whole &= [i.name for i in session.get_inputs()] == ["waveform"]
        whole &= [o.name for o in session.get_outputs()] == ["scores", "logits"]
    except (KeyError, TypeError, json.JSONDecodeError):
        whole = False
    if not whole:
        raise InputError(f"{path} is no detector of this toolkit: `nes2net export --to onnx` writes one")
    return description


def _require(*modules: str) -> None:
    for name in modules:
        try:
            __import__(name)
        except ImportError as error:
            raise InputError(f"{name} is not installed: pip install nes2net[onnx]") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
