"""RAPTOR equals the published code."""

import pytest
import torch
from builders import assert_near, zoo

from nes2net import create_backend

POSITIONS = "conformer.positional_emb"


@pytest.mark.parametrize("name", ["raptor_d32_l9_h4_k31_n2", "raptor_d24_l5_h3_k16_n1"])
def test_raptor_equals_the_published_code(name):
    """In positions, logits in eval and train mode, gradients, scores, weights of layers and merged layers."""
    file = zoo.read(name)
    options = {key: value for key, value in file["config"].items() if key != "num_layers"}
    backend = create_backend("raptor", **options)
    positions = backend.state_dict()[POSITIONS]
    assert list(positions.shape) == file["positional_emb_shape"]
    assert torch.equal(positions[:, :64], file["positional_emb_first_64_rows"])
    backend.load_state_dict({**file["state_dict"], POSITIONS: positions})
    for case in file["cases"].values():
        logits = zoo.check_case(backend, case, case["hidden_states"])
        assert_near(backend.scores(logits), case["probabilities_spoof_bonafide"][:, 1], zoo.AGREES)
        states = case["hidden_states"].unbind(1)
        with torch.no_grad():
            assert_near(backend.layer_weights(states), case["gates"], zoo.AGREES)
            assert_near(backend.merge(states), case["merged"], zoo.AGREES)


def test_raptor_asks_for_the_last_state_after_the_final_norm_unless_the_option_final_norm_is_false():
    assert create_backend("raptor", feature_dim=16).wants_final_norm
    assert not create_backend("raptor", feature_dim=16, final_norm=False).wants_final_norm
