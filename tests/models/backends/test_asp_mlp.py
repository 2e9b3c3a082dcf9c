"""ASP + MLP does what its docstring says; there are no published numbers to compare with."""

import torch
from builders import input_error
from torch.testing import assert_close

from nes2net.models.backends.asp_mlp import AspMlp


def test_without_attention_asp_mlp_reads_plain_mean_and_deviation():
    model = AspMlp(feature_dim=6, bottleneck_dim=4, hidden_dim=5).double().eval()
    x = torch.randn(3, 11, 6).double()
    torch.nn.init.zeros_(model.pooling.linear2.weight)
    statistics = torch.cat([x.mean(dim=1), x.std(dim=1, correction=0)], dim=1)
    assert_close(model(x), model.mlp(statistics))


def test_features_without_a_batch_are_refused():
    model = AspMlp(feature_dim=6)
    with input_error("frames × 6, got 11 × 6"):
        model(torch.randn(11, 6))
