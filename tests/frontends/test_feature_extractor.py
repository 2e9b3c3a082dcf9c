"""The convolutions with channels innermost equal the library's own forward."""

import pytest
import torch

from nes2net import create_frontend
from nes2net.frontends.feature_extractor import extract_features
from nes2net.frontends.ssl import SMALL


def extractor(mode):
    torch.manual_seed(0)
    return create_frontend("wav2vec2", **{**SMALL, "extractor_mode": mode}).model.feature_extractor


@pytest.mark.parametrize("mode", ["layer_norm", "default"])
def test_features_and_gradients_are_the_librarys(mode):
    """In float64, where the order of summation does not show."""
    module = extractor(mode).double()
    waveform = torch.randn(3, 4007, dtype=torch.float64)
    expected, found = module(waveform).transpose(1, 2), extract_features(module, waveform)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    gradients = [
        torch.autograd.grad(features.square().sum(), list(module.parameters())) for features in (found, expected)
    ]
    for a, b in zip(*gradients):
        torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-8)
    with torch.no_grad():  # one utterance after the other
        torch.testing.assert_close(extract_features(module, waveform), expected, atol=1e-12, rtol=0)
