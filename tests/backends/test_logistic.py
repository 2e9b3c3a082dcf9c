"""The linear probe is the mean over time and one linear layer."""

import torch
from torch.nn import functional as F

from nes2net import create_backend


def test_is_a_linear_layer_on_the_mean_over_time():
    torch.manual_seed(0)
    probe = create_backend("logistic", feature_dim=6, num_logits=1).double()
    x = torch.randn(3, 11, 6, dtype=torch.float64)
    assert {name: tuple(value.shape) for name, value in probe.state_dict().items()} == {
        "linear.weight": (1, 6),
        "linear.bias": (1,),
    }
    torch.testing.assert_close(probe.embed(x), x.sum(1) / 11)
    torch.testing.assert_close(probe(x), F.linear(x.sum(1) / 11, probe.linear.weight, probe.linear.bias))


def test_has_fewer_than_2000_parameters_on_xls_r_2b():
    probe = create_backend("logistic", feature_dim=1920, num_logits=1)
    assert sum(p.numel() for p in probe.parameters()) == 1921
