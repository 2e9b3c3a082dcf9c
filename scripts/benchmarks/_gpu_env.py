"""Environment: versions, GPU and processors; the speed of matrix products in each precision."""

from __future__ import annotations

import os
import platform
from functools import partial

import torch
from _gpu import Run, Stage

from nes2net import __version__
from nes2net.lib.computing.devices import float32_products
from nes2net.lib.process.this_process import processor_name, usable_processors


def measure(stage: Stage) -> None:
    """Add rows of the environment and of matrix products."""
    facts = {"nes2net": __version__, "Python": platform.python_version(), "torch": torch.__version__}
    facts["processors"] = f"{usable_processors()} of {processor_name()}"
    facts["TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"] = os.environ.get("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "not set")
    if stage.cuda:
        properties = torch.cuda.get_device_properties(stage.device)
        facts["GPU"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
        facts["CUDA, cuDNN"] = f"{torch.version.cuda}, {torch.backends.cudnn.version()}"
    for name, fact in facts.items():
        stage.add("environment", name, value=fact)
    stage.attempt("ceilings", "matrix products", partial(_products, stage))


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
