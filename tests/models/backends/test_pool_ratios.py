"""The pool ratios of AASIST: the published configurations state a fourth one, which no graph uses."""

import torch

from nes2net import create_backend

PUBLISHED = [0.5, 0.7, 0.5, 0.5]  # of AASIST.conf in the authors' repository


def logits_with(ratios) -> torch.Tensor:
    torch.manual_seed(0)
    backend = create_backend("aasist", feature_dim=16, pool_ratios=ratios).eval()
    features = torch.randn(2, 30, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return backend(features)


def test_the_fourth_pool_ratio_of_aasist_changes_no_logit():
    expected = logits_with(PUBLISHED[:3])
    assert torch.equal(logits_with(PUBLISHED), expected)
    assert torch.equal(logits_with([*PUBLISHED[:3], 0.9]), expected)
    assert not torch.equal(logits_with([0.5, 0.5, 0.5]), expected)
