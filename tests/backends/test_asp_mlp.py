"""ASP + MLP does what its docstring says; there are no published numbers to compare with."""

import pytest
import torch
from builders.pinned import check_pinned

from nes2net.backends.asp_mlp import AspMlp
from nes2net.errors import InputError


def small(**options):
    torch.manual_seed(0)
    return AspMlp(feature_dim=6, bottleneck_dim=4, hidden_dim=5, **options).double().eval()


def test_equals_pinned_numbers():
    check_pinned("asp_mlp")


def test_without_attention_it_reads_mean_and_standard_deviation():
    model, x = small(), torch.randn(3, 11, 6, dtype=torch.float64)
    torch.nn.init.zeros_(model.pooling.linear2.weight)
    statistics = torch.cat([x.mean(dim=1), x.std(dim=1, correction=0)], dim=1)
    torch.testing.assert_close(model(x), model.mlp(statistics))


def test_attention_weighs_frames():
    """The bottleneck weighs channel 0 so much that only frames where it is high count."""
    model, x = small(), torch.randn(3, 11, 6, dtype=torch.float64)
    x[:, :, 0] = -5.0
    x[:, 4:7, 0] = 5.0
    with torch.no_grad():
        for layer in (model.pooling.linear1, model.pooling.linear2):
            layer.weight.zero_()
            layer.bias.zero_()
        model.pooling.linear1.weight[0, 0] = 1.0
        model.pooling.linear2.weight[:, 0] = 50.0
        torch.testing.assert_close(model(x), model(x[:, 4:7]))


@pytest.mark.parametrize("shape", [(2, 1, 6), (2, 5, 7), (5, 6)])
def test_features_that_do_not_fit_are_named(shape):
    with pytest.raises(InputError, match="at least 2|frames × 6"):
        small()(torch.zeros(shape, dtype=torch.float64))
