"""Building a network stops at a limit, and only there; tests/test_registry.py tries the limits."""

import threading

import torch
from torch import nn

from nes2net.machine.module_size import MOST_MODULES, limited_size


def test_a_tensor_that_replaces_another_counts_once():
    with limited_size("it"):
        linear = nn.Linear(2**15, 2**15, bias=False, device="meta")
        for _ in range(10):
            linear.weight = nn.Parameter(torch.empty(2**15, 2**15, device="meta"))


def test_other_threads_and_what_comes_after_are_not_limited():
    def build() -> None:
        built.append(nn.ModuleList(nn.Identity() for _ in range(MOST_MODULES + 1)))

    built: list[nn.Module] = []
    with limited_size("it"):
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
    build()
    assert len(built) == 2
