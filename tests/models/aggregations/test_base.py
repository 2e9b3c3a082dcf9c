"""Aggregations: equal to the published code, whichever way the layers are added up."""

import pytest
import torch
from builders import assert_near, golden, input_error
from builders import golden_backends as gb
from torch.nn import functional
from torch.testing import assert_close

from nes2net.models import registry
from nes2net.models.aggregations.attm import AttentiveMerging
from nes2net.models.aggregations.sea import SqueezeExcitationAggregation
from nes2net.models.aggregations.weighted_sum import WeightedSum

#: reference file → aggregation. The SVDD2024 code keeps 30 weights and uses one for each layer;
#: it also keeps weights that it does not use.
PUBLISHED = {
    "svdd2024_model_weightedSum": WeightedSum,
    "svdd2024_model_SE": SqueezeExcitationAggregation,
    "svdd2024_model_attention": AttentiveMerging,
    "svdd_WavLM_Nes2Net_X__WeightedSum_mean_8_8_se1_d1": WeightedSum,
    "svdd_WavLM_Nes2Net__SEA_mean_8_8_se1_d1": SqueezeExcitationAggregation,
    "svdd_WavLM_Nes2Net_X_SeLU__SEA_mean_8_8_se1_d1": SqueezeExcitationAggregation,
    "svdd_WavLM_Nes2Net_X__AttM_mean_16_8_se8_d1": AttentiveMerging,
}
CLASSES = {"weighted_sum": WeightedSum, "sea": SqueezeExcitationAggregation, "attm": AttentiveMerging}


@pytest.mark.parametrize("name", PUBLISHED)
def test_equals_published_code(name):
    aggregation = PUBLISHED[name](25, 1024)
    weights = {key.removeprefix("ssl_model."): value for key, value in gb.state_dict(name).items()}
    weights = {key: value for key, value in weights.items() if key in aggregation.state_dict()}
    if "weight_hidd" in weights:
        weights["weight_hidd"] = weights["weight_hidd"][:25]
    aggregation.load_state_dict(weights)
    inputs = golden.read("inputs")
    for case, expected in golden.read(name)["agg_output"].items():
        with torch.no_grad():
            merged = aggregation(inputs[case].unbind(1))
        assert list(merged.shape) == expected["shape"]
        assert_near(merged[:, :2], expected["first_rows"], 1e-5)
        assert merged.double().sum().item() == pytest.approx(expected["sum"], rel=1e-5, abs=1e-3)
        assert merged.double().square().sum().item() == pytest.approx(expected["sumsq"], rel=1e-5)


def test_weights_of_attentive_merging_start_as_those_of_linear_layers():
    """Uniform within 1 / sqrt(inputs), as far as the bound."""
    torch.manual_seed(0)
    aggregation = AttentiveMerging(40, 900)
    for weight, inputs in ((aggregation.W, 900), (aggregation.W1, 40), (aggregation.W2, 20)):
        assert 0.98 * inputs**-0.5 < weight.abs().max() <= inputs**-0.5


def hidden_states(layers=25, dtype=torch.float64):
    return [torch.randn(3, 6, 16, dtype=dtype) for _ in range(layers)]


def formula(aggregation, states):
    """The aggregation of all layers at once, and for AttM the layer index fastest."""
    stacked = torch.stack(states)
    if isinstance(aggregation, WeightedSum):
        return torch.einsum("l,lbtd->btd", torch.softmax(aggregation.weight_hidd, 0), stacked)
    if isinstance(aggregation, SqueezeExcitationAggregation):
        squeeze = aggregation.fc_att_merge[0].weight
        excite = aggregation.fc_att_merge[2].weight
        gates = torch.sigmoid(torch.relu(stacked.mean(dim=(2, 3)).T @ squeeze.T) @ excite.T)
        return torch.einsum("bl,lbtd->btd", gates, stacked)
    gates = functional.silu(stacked.mean(dim=2).transpose(0, 1) @ aggregation.W)[..., 0]
    gates = torch.sigmoid(functional.silu(gates @ aggregation.W1) @ aggregation.W2)
    return aggregation.linear_proj(torch.einsum("bl,lbtd->btdl", gates, stacked).flatten(2))


@pytest.mark.parametrize("name", CLASSES)
def test_equals_formula_on_a_stack_of_layers_with_gradients(name):
    """Adding up layer by layer equals the formula on all layers at once."""
    torch.manual_seed(0)
    aggregation = CLASSES[name](25, 16).double()
    states = hidden_states()
    gradients = []
    for parameter in aggregation.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    for compute in (aggregation, lambda states: formula(aggregation, states)):
        leaves = [state.clone().requires_grad_() for state in states]
        aggregation.zero_grad()
        merged = compute(leaves)
        merged.square().sum().backward()
        gradients.append([merged, *(p.grad for p in aggregation.parameters()), *(leaf.grad for leaf in leaves)])
    for gradient, expected in zip(*gradients):
        assert_close(gradient, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", registry.aggregations.names())
def test_every_registered_aggregation_says_which_layers_it_wants(name):
    aggregation = registry.create_aggregation(name, 25, 16)
    assert aggregation.wants_layers == ("last" if name == "last" else "all")
    states = hidden_states(dtype=torch.float32)
    merged = aggregation(states)
    assert merged.shape == (3, 6, 16)
    if name == "last":
        assert merged is states[-1] is aggregation(states[-1:])
    if name == "weighted_sum":  # it begins as the mean
        assert_close(merged, torch.stack(states).mean(dim=0))
    rounded = aggregation.bfloat16()([state.bfloat16() for state in states])
    assert rounded.dtype == torch.bfloat16
    assert rounded.isfinite().all()


@pytest.mark.parametrize("name, fewest_layers", [("weighted_sum", 1), ("sea", 3), ("attm", 2)])
def test_wrong_numbers_of_layers_and_sizes_are_named(name, fewest_layers):
    with input_error("built for 25 layers, got 13; .* layers='all'"):
        CLASSES[name](25, 16)(hidden_states(13))
    with input_error("feature_dim 12, got hidden states of 16"):
        CLASSES[name](25, 12)(hidden_states())
    assert CLASSES[name](fewest_layers, 16)(hidden_states(fewest_layers, torch.float32)).shape == (3, 6, 16)
    if fewest_layers > 1:
        with input_error(f"needs at least {fewest_layers}"):
            CLASSES[name](fewest_layers - 1, 16)
