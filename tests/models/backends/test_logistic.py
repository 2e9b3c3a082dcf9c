"""The linear probe is the mean over time and one linear layer."""

import torch
from torch.nn import functional as F
from torch.testing import assert_close

from nes2net import create_backend


def test_the_back_end_logistic_is_a_linear_layer_on_the_mean_over_time():
    torch.manual_seed(0)
    probe = create_backend("logistic", feature_dim=6, num_logits=1).double()
    x = torch.randn(3, 11, 6, dtype=torch.float64)
    assert_close(probe(x), F.linear(x.sum(1) / 11, probe.linear.weight, probe.linear.bias))
