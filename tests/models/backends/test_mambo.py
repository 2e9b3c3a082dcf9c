"""XLSR-MamBo equals the published code, with the libraries' own formulas of its mixers."""

import pytest
import torch
import torch.nn.functional as F
from builders import zoo

from nes2net import create_backend
from nes2net.models.backends.mambo import Mamba2


@pytest.mark.parametrize("name", ["mambo_1_mamba2_l1_n2", "mambo_3_hydra_l2_n1", "mambo_4_hydra_l1_n1"])
def test_xlsr_mambo_equals_the_published_code(name):
    """In logits and gradients."""
    file = zoo.read(name)
    options = {key: value for key, value in file["config"].items() if key != "conv_width"}  # the mixer's own
    backend = create_backend("mambo", **options)
    backend.load_state_dict(file["state_dict"])
    for case in file["cases"].values():
        zoo.check_case(backend, case, case["features"])


M = "mamba"
MLP = "mlp"
MHA = "mha"
GROUPS = {
    "mambo_1": [M, M, MLP],
    "mambo_2": [M, M, MHA],
    "mambo_3": [M, M, MLP, MHA, MLP],
    "mambo_4": [M, M, MLP, M, M, MHA],
}


def small(topology, mixer):
    sizes = {"feature_dim": 6, "embed_dim": 16, "state_dim": 4, "head_dim": 8, "num_layers": 2, "num_mixers": 2}
    return create_backend("mambo", topology=topology, mixer=mixer, **sizes).eval()


@pytest.mark.parametrize("topology", GROUPS)
def test_each_topology_of_xlsr_mambo_has_its_kinds_of_blocks_in_order(topology):
    blocks = small(topology, "hydra").stacked_mamba2["layers"].layers
    assert [block.kind for block in blocks] == 2 * GROUPS[topology]


def test_logits_of_xlsr_mambo_with_the_mixer_mamba_are_finite():
    assert small("mambo_3", "mamba")(torch.randn(2, 9, 6)).isfinite().all()


def test_xlsr_mambo_scores_by_the_difference_of_its_logits():
    """As `eval_asv_txt.py` of its authors does."""
    assert small("mambo_1", "mamba2").scores(torch.tensor([[1.0, 3.5]])).tolist() == [2.5]


def test_step_sizes_of_mamba2_start_between_a_thousandth_and_a_tenth():
    delta = F.softplus(Mamba2(64, 4, 1, 2).dt_bias)
    assert 1e-3 * 0.99 < delta.min() < delta.max() < 1e-1 * 1.01
