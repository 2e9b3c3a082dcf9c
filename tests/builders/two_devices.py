"""Train recipes on simulated CUDA devices, one for each process; a program for torchrun, or for one process.

torchrun --nproc-per-node 2 two_devices.py RECIPE.yaml …
"""

from __future__ import annotations

import os
import sys

from nes2net.training.recipes.reading import load_recipe
from nes2net.training.run import train


def main():
    for path in sys.argv[1:]:
        train(load_recipe(path), "cuda")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # autograd's thread for the device does not end


if __name__ == "__main__":
    main()
