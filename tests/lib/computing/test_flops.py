"""Operations of a forward pass."""

import torch
from torch import nn

from nes2net.lib.computing.flops import count_flops


def test_a_convolution_has_two_operations_per_multiply_add():
    convolution = nn.Conv1d(4, 6, 3)
    multiply_adds = 2 * 6 * 8 * 4 * 3  # batch × channels × frames × inputs × kernel
    assert count_flops(convolution, torch.zeros(2, 4, 10)) == 2 * multiply_adds
