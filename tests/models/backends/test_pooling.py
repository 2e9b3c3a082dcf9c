"""Attentive statistics of hardly varying features; test_mfa.py has their formula."""

import pytest
import torch
from builders import assert_near
from torch.testing import assert_close

from nes2net.models.backends.pooling import AttentiveStatisticsPooling


@pytest.mark.parametrize("frames", [1, 5])
def test_the_attentive_deviation_of_constant_features_has_a_floor(frames):
    """So that its gradient is finite."""
    x = torch.ones(2, 8, frames, requires_grad=True)
    pooled = AttentiveStatisticsPooling(8)(x)
    assert_near(pooled[:, 8:], torch.full((2, 8), 1e-5), 1e-3)
    assert pooled.min() > 0.9e-5
    pooled.sum().backward()
    assert x.grad.isfinite().all()


def test_attentive_statistics_in_bfloat16_keep_the_variance_of_features_with_a_large_mean():
    """The difference of squares would lose it in bfloat16, where numbers near 100² are 64 apart."""
    torch.manual_seed(0)
    pooling = AttentiveStatisticsPooling(8)
    x = (100 + torch.randn(2, 8, 400)).bfloat16()
    expected = pooling(x.float())
    pooled = pooling.bfloat16()(x)
    assert_close(pooled.float(), expected, rtol=0.05, atol=0.05)
