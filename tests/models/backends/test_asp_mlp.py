"""ASP + MLP does what its docstring says; there are no published numbers to compare with."""

import torch
from torch.testing import assert_close

from nes2net.models.backends.asp_mlp import AspMlp


def test_without_attention_asp_mlp_reads_the_plain_mean_and_deviation_over_time():
    model = AspMlp(feature_dim=6, bottleneck_dim=4, hidden_dim=5).double().eval()
    x = torch.randn(3, 11, 6).double()
    torch.nn.init.zeros_(model.pooling.linear2.weight)
    statistics = torch.cat([x.mean(dim=1), x.std(dim=1, correction=0)], dim=1)
    assert_close(model(x), model.mlp(statistics))
