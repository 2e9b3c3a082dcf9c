"""The simulated device as ``cuda:0`` and ``cuda:1``, to Python and to PyTorch's C++.

Branches on ``device.type == "cuda"``, CUDA's lists of autocast, its fused optimisers, GradScaler
and accelerate therefore run as they do on a GPU. Graphs, random numbers, memory and waits are
simulated. The device needs g++ for guard.cpp, and is tied to PyTorch's version.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Bytes of memory of each device.
TOTAL = 2**37
#: Number of devices.
COUNT = 2


def build_library() -> Path:
    """Build the library of guard.cpp, once for each version of PyTorch, and return its path.

    Raises:
        FileNotFoundError: if there is no g++.
    """
    if shutil.which("g++") is None:
        raise FileNotFoundError("the simulated CUDA device needs g++, which is not there: install it (apt install g++)")
    source = Path(__file__).with_name("guard.cpp")
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    torch = Path(spec.origin).parent
    key = hashlib.sha256(source.read_bytes() + str(torch).encode() + (torch / "version.py").read_bytes()).hexdigest()
    library = Path(tempfile.gettempdir(), f"simulated-cuda-{os.getuid()}", f"{key[:16]}.so")
    if not library.is_file():
        library.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = library.with_suffix(f".{os.getpid()}")
        includes = [f"-I{torch}/include", f"-I{torch}/include/torch/csrc/api/include"]
        links = [f"-L{torch}/lib", f"-Wl,-rpath,{torch}/lib", "-ltorch_cpu", "-lc10"]
        flags = ["-shared", "-fPIC", "-O1", "-std=c++20", "-w"]
        subprocess.run(["g++", *flags, *includes, "-o", str(temporary), str(source), *links], check=True)
        temporary.replace(library)
    return library


def install() -> None:
    """Put the device in place in this process, for good. PyTorch must not be imported before."""
    library = ctypes.CDLL(str(build_library()), ctypes.RTLD_GLOBAL)
    import torch  # after the library: functions of the library then replace those of PyTorch

    from simulated import tensors
    from simulated.kernels import as_cudnn, as_one_kernel
    from simulated.rules import no_gradients_in_eval_mode, within_a_grid
    from simulated.streams import patches

    torch._C._set_only_lift_cpu_tensors(True)  # so that torch.tensor(…, device="cuda") is dispatched
    torch.utils.deterministic.fill_uninitialized_memory = False
    tensors.Device.type = "cuda"
    tensors.Device.current = library.simulated_current_device
    for name, value in patches(library, COUNT, TOTAL).items():
        setattr(torch.cuda, name, value)
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.Tensor.pin_memory = lambda self, *_: tensors.pin(self)
    torch.Tensor.is_pinned = lambda self, *_: tensors.is_pinned(self)

    def cuda(self: Any, device: Any = None, non_blocking: bool = False, **_: Any) -> Any:
        if isinstance(device, int):
            device = torch.device("cuda", device)
        return self.to(tensors.Device.named("cuda" if device is None else device), non_blocking=non_blocking)

    torch.Tensor.cuda = cuda

    def on_device(x: Any) -> bool:
        return isinstance(x, tensors.OnDevice)

    for layer in (torch.nn.LSTM, torch.nn.GRU):
        layer.forward = no_gradients_in_eval_mode(layer.forward, on_device)
    torch._VF.lstm = as_cudnn(torch._VF.lstm, on_device)
    functional = torch.nn.functional
    attention = as_one_kernel(functional.scaled_dot_product_attention, on_device)
    functional.scaled_dot_product_attention = within_a_grid(attention, on_device)
    torch.profiler.profile = _without_kernels(torch.profiler.profile)
    torch.distributed.init_process_group = _without_nccl(torch.distributed.init_process_group)
    # DDP's logger wants a timer of the device, which only real devices have.
    torch._C._distributed_c10d.Logger.set_runtime_stats_and_log = lambda _: None
    torch.nn.Module._apply = _swap_parameters(torch.nn.Module._apply)
    _enter_in_threads(tensors.Mode)


def _swap_parameters(apply: Any) -> Any:
    """Wrap ``Module._apply`` so that it replaces parameters instead of their data.

    Data cannot be assigned to a tensor of another class.
    """
    from torch import __future__ as future

    def swapping(self: Any, fn: Any, recurse: bool = True) -> Any:
        future.set_swap_module_params_on_conversion(True)
        try:
            return apply(self, fn, recurse)
        finally:
            future.set_swap_module_params_on_conversion(False)

    return swapping


def _without_kernels(profile: Any) -> Any:

    class Profile(profile):
        def __init__(self, *, activities: Any = None, **options: Any) -> None:
            from torch.profiler import ProfilerActivity

            super().__init__(activities=[ProfilerActivity.CPU], **options)

    return Profile


def _without_nccl(init_process_group: Any) -> Any:
    """Wrap ``init_process_group`` so that processes talk by gloo, on the CPU, where a GPU has NCCL."""

    def by_gloo(*_: Any, **options: Any) -> None:
        init_process_group("gloo", **{name: options[name] for name in options.keys() - {"backend", "device_id"}})

    return by_gloo


def _enter_in_threads(mode: type) -> None:
    mode().__enter__()
    run = threading.Thread.run

    def run_inside(self: threading.Thread) -> None:
        with mode():
            run(self)

    threading.Thread.run = run_inside  # type: ignore[method-assign]


@contextmanager
def watched() -> Iterator[dict[str, Any]]:
    """Collect what happens on the device within this context.

    The dictionary is filled at the end: ``waits`` by line of the package, ``made`` (tensors by
    device), and ``refused`` (messages of what a CUDA device would have refused).
    """
    from simulated import rules, tensors

    waits_before = tensors.waits.copy()
    observed: dict[str, Any] = {}
    tensors_before = tensors.made_on.copy()
    num_refusals = len(rules.refusals)
    try:
        yield observed
    finally:
        observed["waits"] = tensors.waits - waits_before
        observed["made"] = tensors.made_on - tensors_before
        observed["refused"] = rules.refusals[num_refusals:]
