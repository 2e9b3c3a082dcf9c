"""The device that computes, and its precision: types, TF32, and float32 within autocast."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from nes2net.lib.errors import InputError, nearest, refuse


def choose_device(device: str = "auto") -> torch.device:
    """Find a device by name; ``"auto"`` is CUDA if there is a GPU, otherwise the CPU.

    Raises:
        InputError: if the name is unknown, or if this machine does not have the device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch_device = parse_device(device)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = ["cpu", *(f"cuda:{number}" for number in range(count))]
    if torch.backends.mps.is_available():
        devices.append("mps")
    # A device without a number is the first of its kind.
    if torch_device.type != "cpu" and not {str(torch_device), f"{torch_device.type}:{torch_device.index or 0}"} & set(
        devices
    ):
        available = ", ".join(devices)
        raise InputError(
            f"device '{device}' is not available: PyTorch {torch.__version__} finds only {available}; choose one of these"
        )
    return torch_device


def parse_device(device: str) -> torch.device:
    """Convert a name to a PyTorch device, which this machine need not have; raise :class:`InputError` if it is unknown."""
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise InputError(f"unknown device '{device}': expected auto, cpu, cuda or cuda:N") from error


def own_device(device: str) -> str:
    """Replace ``auto`` or ``cuda`` by this ``torchrun`` process's GPU; processes share GPUs if there are too few.

    >>> own_device("cpu")
    'cpu'
    """
    if device in ("auto", "cuda") and "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    return device


def at_least_float32(tensor: Tensor) -> Tensor:
    """Convert ``tensor`` to float32; float32 and float64 are unchanged.

    >>> at_least_float32(torch.zeros(2, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def without_autocast(device: torch.device) -> AbstractContextManager[None]:
    """Compute in the types of the tensors even under autocast; if it is off, leave no trace in an exported graph."""
    if not torch.amp.is_autocast_available(device.type) or not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


@contextmanager
def differentiable(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Make the gradients of a detector in eval mode computable: those of recurrent layers are not by cuDNN.

    Args:
        modules: all modules of the detector, also nested ones.
    """
    before = torch.backends.cudnn.enabled
    if any(isinstance(module, nn.RNNBase) for module in modules):
        torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


class QueuedCopy:
    """A copy of a tensor on the CPU, which a GPU may still be computing.

    It is queued directly after the computation; queued later, it would wait for all work in
    between.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.computed: torch.cuda.Event | None = None
        self.copy = tensor
        if tensor.is_cuda:
            self.copy = tensor.to("cpu", non_blocking=True)  # PyTorch pins its memory
            self.computed = torch.cuda.current_stream(tensor.device).record_event()

    def wait(self) -> Tensor:
        if self.computed is not None:
            self.computed.synchronize()
        return self.copy


#: Name of a precision → type of the weights. For ``int8``, this is the type before the weights are quantised
#: (:mod:`nes2net.models.quantisation`).
PRECISIONS = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
    "int8": torch.float32,
}


def parse_precision(precision: str | torch.dtype) -> str:
    """Return the name of a precision or of a type of PyTorch; raise :class:`InputError` if unknown.

    >>> parse_precision(torch.bfloat16), parse_precision("tf32")
    ('bfloat16', 'tf32')
    """
    name = str(precision).removeprefix("torch.")
    # torch.int8 is refused: the precision int8 quantises the weights, and computes with float32 beside them.
    if name in PRECISIONS and not (name == "int8" and isinstance(precision, torch.dtype)):
        return name
    meant = nearest(name.replace("fp", "float"), PRECISIONS, cutoff=0.5)  # for "bf16", this cutoff still finds bfloat16
    raise InputError(f"unknown dtype '{precision}': expected one of auto, fastest, {', '.join(PRECISIONS)}{meant}")


def check_precision(precision: str, device: torch.device, instead: str = "float16 or float32") -> None:
    """Raise :class:`InputError` if ``device`` lacks a precision or emulates it; for an old GPU, advise ``instead``."""
    refuse(
        (
            precision == "tf32" and device.type != "cuda",
            f"`dtype=tf32` is a precision of NVIDIA GPUs, not of {device}: use float32 or bfloat16",
        ),
        (precision == "int8" and device.type != "cpu", f"`dtype=int8` is for the CPU, not for {device}: use bfloat16"),
    )
    if device.type != "cuda" or precision not in ("tf32", "bfloat16"):
        return
    major, minor = torch.cuda.get_device_capability(device)
    if major < 8 and torch.version.hip is None:
        name = torch.cuda.get_device_name(device)
        raise InputError(
            f"{name} (compute capability {major}.{minor}) does not compute {precision}, which needs 8.0 or more: use "
            f"{instead}"
        )


@contextmanager
def float32_products(precision: str = "float32") -> Iterator[None]:
    """Within this context, compute float32 products, convolutions and recurrences with all 23 mantissa bits.

    By default, PyTorch computes convolutions on a GPU in TF32, with 10 bits. A program or container
    may lower products as well (``torch.set_float32_matmul_precision``,
    ``TORCH_ALLOW_TF32_CUBLAS_OVERRIDE``): to TF32 on a GPU, to bfloat16 with 7 bits on a CPU.

    PyTorch's settings are those of the process: the first thread in the context changes them, and
    the last one restores them.

    Args:
        precision: ``"tf32"`` allows TF32 on a GPU, unless another thread is here with another
            precision.
    """
    exact = precision != "tf32"
    with _lock:
        if not _needs_exact:
            _before.clear()
            _before.update(_present_settings())
        _needs_exact.append(exact)
        _set_precision(any(_needs_exact))
    try:
        yield
    finally:
        with _lock:
            _needs_exact.remove(exact)
            if _needs_exact:
                _set_precision(any(_needs_exact))
            else:
                _apply_settings(_before)


def float32_settings() -> dict[str, str]:
    """Read PyTorch's present settings for float32 products, for the record of a scoring run.

    >>> with float32_products():
    ...     set(float32_settings().values()) <= {"ieee", "highest", "False"}
    True
    """
    return {name: str(value) for name, value in _present_settings().items()}


_lock = threading.Lock()
_needs_exact: list[bool] = []  # for each thread in the context, whether it needs all 23 bits
_before: dict[str, str | bool] = {}  # PyTorch's settings before the first thread entered the context

# Settings of torch 2.9 and later, which alone the kernels read; the first three are CUDA's. torch.compile also reads
# the older "matmul" and "cudnn" below, and refuses contradictions.
_NEW = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")


def _set_precision(exact: bool) -> None:
    # TF32 exists only on CUDA, so the CPU's settings stay if not all 23 bits are needed.
    new_settings = dict.fromkeys(_NEW, "ieee") if exact else dict.fromkeys(_NEW[:3], "tf32")
    _apply_settings({"matmul": "highest" if exact else "high", "cudnn": not exact, **new_settings})


def _present_settings() -> dict[str, str | bool]:
    """Read PyTorch's settings, except older ones that contradict newer ones, which PyTorch refuses to read."""
    settings: dict[str, str | bool] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that the older settings are deprecated
        with suppress(RuntimeError):
            settings["matmul"] = torch.get_float32_matmul_precision()
        with suppress(RuntimeError):
            settings["cudnn"] = torch.backends.cudnn.allow_tf32
    return settings | {name: owner.fp32_precision for name, owner in _owners_of_new_settings().items()}


def _apply_settings(settings: Mapping[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "matmul" in settings:
            torch.set_float32_matmul_precision(settings["matmul"])
        if "cudnn" in settings:
            torch.backends.cudnn.allow_tf32 = settings["cudnn"]
    for name, owner in _owners_of_new_settings().items():
        if name in settings:
            owner.fp32_precision = settings[name]


def _owners_of_new_settings() -> dict[str, Any]:
    """Map each setting in _NEW to the object with its ``fp32_precision``; empty before torch 2.9."""
    backends = torch.backends
    if not hasattr(backends, "fp32_precision"):
        return {}
    return {name: attrgetter(name)(backends) for name in _NEW}
