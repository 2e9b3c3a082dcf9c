"""GF, LGF and LLGF: equal to the published code."""

import pytest
import torch
from builders import assert_near, zoo

from nes2net.models.registry import create_backend


@pytest.mark.parametrize("name", ["gf_d64_h128", "lgf_d64_h128", "llgf_d48_h128"])
def test_global_feature_back_ends_equal_the_published_code(name):
    """In logits and gradients in eval and train mode, running statistics, embeddings and scores."""
    file = zoo.read(name)
    backend = create_backend(**file["config"])
    backend.load_state_dict(file["state_dict"])
    for case in file["cases"].values():
        logits = zoo.check_case(backend, case, case["features"])
        assert_near(backend.scores(logits), case["score"], zoo.AGREES)
        with torch.no_grad():
            assert_near(backend.embed(case["features"]), case["embedding"], zoo.AGREES)


def test_llgf_drops_70_percent_of_the_outputs_of_its_cnn_and_scales_the_others_up():
    backend = create_backend("llgf", feature_dim=16, hidden_dim=64)
    dropped = backend.m_transform[0][28]
    dropout_output = dropped.train()(torch.ones(20_000))
    assert dropout_output[dropout_output > 0].unique().tolist() == pytest.approx([1 / 0.3])
    assert (dropout_output == 0).float().mean().item() == pytest.approx(0.7, abs=0.02)
