"""Run ONNX files by onnxruntime. They cannot run code."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from nes2net.lib.computing.devices import parse_device
from nes2net.lib.errors import InputError, expecting, first_line, pluralise, refuse, short_repr
from nes2net.lib.parts.options import ModelDescription, Options
from nes2net.lib.process.installation import optional
from nes2net.lib.process.this_process import is_out_of_memory
from nes2net.lib.storage.files import AnyPath, Unchanged, sha256_of
from nes2net.lib.storage.plain_data import validate_json
from nes2net.models.backends.base import ScoreRule
from nes2net.models.checkpoints.onnx_format import foreign_error, read_onnx
from nes2net.models.frontends.base import UsedSamples
from nes2net.models.provenance import Provenance

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: Key of the description of the detector (as JSON) in a file's metadata.
METADATA = "nes2net"
#: Packages that an export imports.
EXPORT_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
#: Inputs and outputs of the graph: name, type and number of dimensions.
_INTERFACE = [
    [("waveform", "tensor(float)", 2)],
    [("scores", "tensor(float)", 1), ("logits", "tensor(float)", 2)],
]
_MAX_SAMPLES = 16_000 * 3600  # upper limit of ``min_samples`` and ``max_samples``: an hour, in samples
_ALIGNMENT = 2**16  # a file of weights may have this many bytes more than its tensors, because ONNX aligns tensors
_MAX_CONSTANT_BYTES = 2**28  # largest number of bytes of constants that onnxruntime may compute when it loads a file
_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"


class OnnxDetector:
    """A detector in an ONNX file of :func:`nes2net.apps.export.onnx.export_onnx`, opened by onnxruntime.

    It scores in eval mode, with as many threads as PyTorch.
    :func:`nes2net.models.checkpoints.onnx_format.read_onnx` checks the file; its description may
    name another file with the weights.

    A quantised file computes one waveform at a time: onnxruntime quantises activations with one
    range for a batch, so that scores would depend on other utterances.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``. ``"auto"`` uses CUDA if onnxruntime supports
            it (the package onnxruntime-gpu) and the file is not quantised.
        runs: whether the graph will run and be optimised.

    Attributes:
        device: the CPU, where waveforms must be.
        computes_on: where the session computes.
        min_samples, max_samples: shortest and longest waveform, in samples; ``max_samples`` is None
            for no limit.
        pre_emphasis: coefficient; 0 for none.
        provenance: facts about training data.

    Raises:
        InputError: if the file is missing, damaged or not written by this toolkit; if onnxruntime
            is missing or cannot start CUDA; or if ``device`` is CUDA for a quantised file.
    """

    device = torch.device("cpu")
    num_scores = 0
    resolutions = ()  # empty, because the exported graph does not score segments
    trained_on_segments = False

    def __init__(self, path: AnyPath, device: str = "auto", runs: bool = True) -> None:
        self.path = Path(path)
        described_file = Unchanged(self.path)
        description = _read_description(self.path)
        self._files = [self.path]  # the ONNX file, and the file of its weights if the description names one
        if description.external_data:
            self._files.append(self.path.parent / description.external_data)
        self.precision: str = description.quantize or "float32"
        # fingerprint() notices files that change after this line; the check after it, an ONNX file that changed since its
        # description was read.
        self._unchanged = Unchanged(*self._files)
        described_file.check()
        self.session = self._start_session(device, runs)
        self._check_interface()
        self.computes_on = device_in_use(self.session.get_provider_options())
        self.description = description.model_dump()
        self.config: Options = self.description["config"]
        self.min_samples = description.min_samples
        self.max_samples = description.max_samples
        self.pre_emphasis = description.pre_emphasis
        self.provenance = Provenance.read(description.training).without_weights()
        self.score_rule: ScoreRule = description.score_rule
        self.used_samples = UsedSamples(most=description.used_samples)

    def _start_session(self, device: str, runs: bool) -> InferenceSession:
        if self.precision == "int8":
            # On a GPU, onnxruntime needs TensorRT for quantised graphs.
            if device != "auto" and parse_device(device).type == "cuda":
                raise InputError(
                    f"{self.path} is quantised to int8, which computes on the CPU only: use `device=cpu`, or export it "
                    "again without `quantize`"
                )
            if device == "auto":
                device = "cpu"
        return start_session(self._files, device, runs)

    def _check_interface(self) -> None:
        try:
            interface = [
                [(tensor.name, tensor.type, len(tensor.shape)) for tensor in tensors]
                for tensors in (self.session.get_inputs(), self.session.get_outputs())
            ]
        except UnicodeDecodeError:
            raise foreign_error(self.path, "names of its inputs and outputs are not UTF-8") from None
        if interface != _INTERFACE:
            raise foreign_error(self.path, f"inputs and outputs are {short_repr(interface)}, expected {_INTERFACE}")

    def fingerprint(self) -> str:
        """Compute one SHA-256 over the files; raise :class:`InputError` if one has changed since it was opened."""
        digest = sha256_of(*self._files)
        self._unchanged.check()
        return digest

    def __call__(self, waveform: Tensor) -> Tensor:
        """Compute logits B×n of ``waveform`` B×N."""
        return self._run("logits", waveform)

    def check_score(self) -> None:
        """Do nothing: exported detectors have a score."""

    def scores(self, waveform: Tensor, system_scores: Tensor | None = None) -> Tensor:
        """Compute scores (B,) of ``waveform`` B×N."""
        return self._run("scores", waveform)

    def modules(self) -> Iterable[nn.Module]:
        """Return no modules; callers look for some in train mode."""
        return ()

    def train(self, mode: bool = True) -> OnnxDetector:
        """Do nothing for eval mode; raise :class:`InputError` for train mode."""
        if mode:
            raise InputError(
                f"{self.path} holds a detector that only works in eval mode: to train it, load the checkpoint that it was exported from"
            )
        return self

    def compile(self, **_: Any) -> None:
        """Raise :class:`InputError`."""
        raise InputError(f"{self.path} is an exported detector, which cannot be compiled: remove `compile=True`")

    def _run(self, output: str, waveform: Tensor) -> Tensor:
        """Compute ``"logits"`` B×n or ``"scores"`` (B,)."""
        samples = waveform.shape[1]
        if samples < self.min_samples or (self.max_samples and samples > self.max_samples):
            limit = describe_lengths(self.min_samples, self.max_samples)
            raise InputError(f"{self.path} requires {limit} samples, got {samples}: crop or repeat the waveform")
        array = np.ascontiguousarray(waveform.detach().numpy(), dtype=np.float32)
        computed: list[np.ndarray] = []
        batches = [array]
        if self.precision == "int8":  # compute one waveform at a time, see the docstring of the class
            batches = np.split(array, len(array))
        for batch in batches:
            try:
                computed += self.session.run([output], {"waveform": batch})
            except Exception as error:  # onnxruntime's exceptions have no common class
                if is_out_of_memory(error):
                    raise
                raise InputError(
                    f"{self.path} fails for {len(batch)} × {samples} samples ({first_line(error)}): export it again"
                ) from error
            shape = computed[-1].shape
            expected_shape = len(batch), *shape[1:2]  # logits have the shape B×n, for any n
            if output == "scores":
                expected_shape = (len(batch),)
            if shape != expected_shape:
                raise InputError(
                    f"{self.path} computed {output} of shape {shape} for {pluralise(batch, 'waveform')}: export it again"
                )
        return torch.from_numpy(np.concatenate(computed))


def start_session(files: Sequence[Path], device: str, runs: bool = True) -> InferenceSession:
    """Load the first of ``files``, which is checked; others hold its weights."""
    require("onnxruntime")
    import onnxruntime  # optional

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # log only fatal errors, because all errors are also raised as exceptions
    if not runs:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry(
        "optimization.constant_folding_max_output_size_in_bytes",
        str(max(_MAX_CONSTANT_BYTES, sum(file.stat().st_size for file in files))),
    )
    used_providers = providers(device, onnxruntime.get_available_providers())
    path = files[0]
    with expecting("an ONNX file", path, "copy or export it again"):
        session: InferenceSession = onnxruntime.InferenceSession(str(path), options, providers=used_providers)
    if device.startswith("cuda") and _CUDA not in session.get_providers():
        raise InputError(
            "onnxruntime could not start CUDA, because onnxruntime-gpu does not fit the CUDA libraries of this machine: "
            "use `device=cpu`, or install the onnxruntime-gpu for your CUDA"
        )
    return session


def require(*modules: str) -> None:
    """Import the ``modules``; raise :class:`MissingLibrary`, which says how to install a missing one."""
    for name in modules:
        optional(name, f"{name} is not installed", "onnx")


def describe_lengths(shortest: int, longest: int | None) -> str:
    """Say which lengths in samples a detector takes.

    >>> describe_lengths(400, None), describe_lengths(400, 64_000), describe_lengths(64_000, 64_000)
    ('at least 400', '400 to 64000', 'only 64000')
    """
    if shortest == longest:
        return f"only {shortest}"
    if longest:
        return f"{shortest} to {longest}"
    return f"at least {shortest}"


def providers(device: str, available: Collection[str]) -> list[str | tuple[str, Options]]:
    """List onnxruntime's execution providers for ``device``: names, or pairs of name and options.

    On CUDA, TF32 is off, because with 10 bits of mantissa scores would differ from PyTorch's, and
    cuDNN chooses algorithms by a heuristic, because onnxruntime would search for each length.

    Raises:
        InputError: if the device is unknown or onnxruntime does not support it.

    >>> providers("auto", ["CPUExecutionProvider"])
    ['CPUExecutionProvider']
    """
    if device == "auto":
        device = "cuda" if _CUDA in available else "cpu"
    chosen_device = parse_device(device)
    if chosen_device.type == "cpu":
        return [_CPU]
    if chosen_device.type != "cuda" or _CUDA not in available:
        raise InputError(f"this onnxruntime has no {chosen_device.type}: install onnxruntime-gpu, or use `device=cpu`")
    return [
        (_CUDA, {"device_id": chosen_device.index or 0, "use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}),
        _CPU,
    ]


def device_in_use(options: Mapping[str, Mapping[str, str]]) -> torch.device:
    """Find the device of a session of onnxruntime from its provider → ``options``.

    >>> device_in_use({"CUDAExecutionProvider": {"device_id": "1"}, "CPUExecutionProvider": {}})
    device(type='cuda', index=1)
    """
    return torch.device("cuda", int(options[_CUDA]["device_id"])) if _CUDA in options else torch.device("cpu")


class _Description(BaseModel):
    """Describes a detector in the metadata of its file, which may have further keys.

    ``external_data`` names the file of the weights; None if they are in the ONNX file.
    """

    model_config = ConfigDict(strict=True, extra="allow")

    config: ModelDescription
    min_samples: int = Field(ge=1, le=_MAX_SAMPLES)
    max_samples: int | None = Field(ge=1, le=_MAX_SAMPLES)
    used_samples: int | None = Field(default=None, ge=1, le=_MAX_SAMPLES)
    pre_emphasis: float = Field(default=0.0, ge=0, lt=1)
    external_data: Annotated[str, Field(pattern=r"^[^/\\\x00]{1,255}$")] | None
    quantize: Literal["int8"] | None
    score_rule: Literal["logit", "difference", "probability", "cosine"]
    training: dict[str, Any]


def _read_description(path: Path) -> _Description:
    refuse(
        (
            path.suffix != ".onnx",
            f"{path} is not an ONNX file: give the name of one that ends in .onnx, as `nes2net export --to onnx` writes",
        ),
        (not os.path.isfile(path), f"{path} not found: `nes2net export --to onnx` writes such a file"),
    )
    content = read_onnx(path)
    if METADATA not in content.metadata:
        raise foreign_error(path, f"its metadata {METADATA} are missing")
    try:
        description = validate_json(_Description, content.metadata[METADATA].encode())
    except ValueError as error:
        raise foreign_error(path, f"its metadata {METADATA}: {error}") from None
    # If the weights are in another file, this file must lie beside the ONNX file, and the description must contain its
    # name.
    weights_name = description.external_data
    if undeclared := sorted(content.external_files.keys() - {weights_name}):
        raise InputError(
            f"{path} has weights in {short_repr(undeclared[0])}, but its description names {short_repr(weights_name)} as their "
            "file, so they cannot be verified: export the detector again"
        )
    if weights_name is not None:
        weights = path.parent / weights_name
        tensor_bytes = content.external_files.get(weights_name, 0)
        is_file = os.path.isfile(weights)  # isfile() returns False, and raises no error, if a name is too long
        refuse((not is_file, f"{path} needs its weights in {weights}, which is missing or not a file: copy both"))
        is_outside = weights.resolve().parent not in (path.parent.resolve(), path.resolve().parent)
        refuse((is_outside, f"{weights} with the weights of {path} is a link to another folder: copy the file itself"))
        file_bytes = weights.stat().st_size
        if not tensor_bytes <= file_bytes <= tensor_bytes + _ALIGNMENT:
            raise InputError(
                f"{weights} has {file_bytes:,} bytes, but {path} declares {tensor_bytes:,}: copy both again or export again"
            )
    return description
