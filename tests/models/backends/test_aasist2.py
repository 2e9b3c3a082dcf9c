"""The Res2Net block of AASIST2."""

import pytest
import torch
from torch.testing import assert_close

from nes2net.models.backends.aasist2 import EncoderBlock


@pytest.mark.parametrize("channels", [8, 12])
def test_squeeze_excitation_of_aasist2_scales_the_block_but_not_its_skip(channels):
    """Gates of σ(0) = ½ halve what gates of 1 leave unchanged."""
    torch.manual_seed(0)
    block = EncoderBlock(8, channels, width=4, scale=3, se_ratio=4).eval()
    x = torch.randn(2, 8, 5, 6)
    last = block.se[2]

    def residual(bias: float) -> torch.Tensor:
        with torch.no_grad():
            last.weight.zero_()
            last.bias.fill_(bias)
            return block(x) - block.skip(x)

    scaled_fully = residual(100.0)
    assert scaled_fully.abs().max() > 0.1
    assert_close(residual(0.0), 0.5 * scaled_fully)
