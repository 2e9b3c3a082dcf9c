"""Environment: versions, GPU, shared memory, matrix products in each precision, copies to the device."""

from __future__ import annotations

import os
import platform
import shutil
from functools import partial

import accelerate
import numpy as np
import torch
import transformers
from _gpu import Run, Stage
from torch import Tensor

from nes2net import __version__
from nes2net.lib.devices import float32_products
from nes2net.lib.this_process import processor_name, usable_processors


def measure(stage: Stage) -> None:
    """Add rows of the environment, of matrix products and of copies."""
    versions = {"nes2net": __version__, "Python": platform.python_version(), "torch": torch.__version__}
    versions |= {
        "transformers": transformers.__version__,
        "accelerate": accelerate.__version__,
        "NumPy": np.__version__,
    }
    if stage.cuda:
        properties = torch.cuda.get_device_properties(stage.device)
        versions |= {"CUDA": torch.version.cuda, "cuDNN": torch.backends.cudnn.version()}
        stage.add("environment", "GPU", value=f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    for name, version in versions.items():
        stage.add("environment", name, value=str(version))
    stage.add("environment", "system", value=f"{platform.system()} {platform.release()}")
    stage.add("environment", "processors", value=f"{usable_processors()} of {processor_name()}")
    stage.add("environment", "threads of PyTorch", value=torch.get_num_threads())
    if os.path.isdir("/dev/shm"):
        stage.add("environment", "/dev/shm in GiB", value=shutil.disk_usage("/dev/shm").total / 2**30)
    override = os.environ.get("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "not set")
    stage.add("environment", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", value=override)
    stage.attempt("ceilings", "matrix products", partial(_products, stage))
    stage.attempt("ceilings", "copies", partial(_copies, stage))


def _products(stage: Stage) -> None:
    size = 256 if stage.small else 8192

    def product(precision: str) -> Run:
        dtype = torch.float32 if precision == "tf32" else getattr(torch, precision)
        a, b = (torch.randn(size, size, device=stage.device, dtype=dtype) for _ in range(2))

        def run(count: int) -> None:
            with float32_products(precision), torch.inference_mode():
                for _ in range(count):
                    a @ b

        return run

    seconds = stage.race("ceilings", {precision: product(precision) for precision in stage.precisions})
    for precision, each in seconds.items():
        stage.add("ceilings", f"product of {size} × {size}, {precision}", **{"TFLOP/s": 2 * size**3 / each / 1e12})


def _copies(stage: Stage) -> None:
    size = 1 << (20 if stage.small else 28)

    def copy(to: Tensor, source: Tensor) -> Run:

        def run(count: int) -> None:
            for _ in range(count):
                to.copy_(source, non_blocking=True)

        return run

    on_device, second = (torch.empty(size, dtype=torch.uint8, device=stage.device) for _ in range(2))
    on_cpu = torch.empty(size, dtype=torch.uint8)
    runs = {"device to device": copy(on_device, second), "pageable memory to device": copy(on_device, on_cpu)}
    if stage.cuda:
        pinned = on_cpu.pin_memory()
        runs |= {
            "pinned memory to device": copy(on_device, pinned),
            "device to pinned memory": copy(pinned, on_device),
        }
    for name, each in stage.race("ceilings", runs).items():
        stage.add("ceilings", name, **{"GB/s": size / each / 1e9})
