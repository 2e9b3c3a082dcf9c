"""Building a network stops at a limit, and only there."""

import threading

import pytest
import torch
from torch import nn

from nes2net import InputError
from nes2net.machine.module_size import MOST_MODULES, limited_size


def test_too_many_weights_and_modules():
    with pytest.raises(InputError, match="^it has more than 5,000,000,000 weights"), limited_size("it"):
        nn.Sequential(*(nn.Linear(2**15, 2**15, device="meta") for _ in range(9)))
    with pytest.raises(InputError, match="^it has more than 3,000 modules"), limited_size("it"):
        nn.ModuleList(nn.Identity() for _ in range(MOST_MODULES + 1))


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
