"""Aggregations: equal to the published code, and what they refuse."""

import pytest
import torch
from builders import assert_near, golden, input_error
from builders import golden_backends as gb
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
}
CLASSES = {"weighted_sum": WeightedSum, "sea": SqueezeExcitationAggregation, "attm": AttentiveMerging}


@pytest.mark.parametrize("name", PUBLISHED)
def test_aggregations_equal_the_published_code(name):
    """In merged hidden states: shape, first rows, sum and sum of squares."""
    aggregation = gb.empty(lambda: PUBLISHED[name](25, 1024))
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


def test_weights_of_attentive_merging_start_within_the_bound_of_linear_layers_and_near_it():
    """1 / sqrt(inputs)."""
    torch.manual_seed(0)
    aggregation = AttentiveMerging(40, 900)
    for weight, inputs in ((aggregation.W, 900), (aggregation.W1, 40), (aggregation.W2, 20)):
        assert 0.98 * inputs**-0.5 < weight.abs().max() <= inputs**-0.5


def hidden_states(layers=25, dtype=torch.float64):
    return [torch.randn(3, 6, 16, dtype=dtype) for _ in range(layers)]


@pytest.mark.parametrize("name", registry.aggregations.names())
def test_every_registered_aggregation_gives_finite_states_of_the_shape_and_type_of_its_inputs(name):
    aggregation = registry.create_aggregation(name, 25, 16)
    for dtype in (torch.float32, torch.bfloat16):
        merged = aggregation.to(dtype)(hidden_states(dtype=dtype))
        assert merged.shape == (3, 6, 16)
        assert merged.dtype == dtype
        assert merged.isfinite().all()


def test_only_the_aggregation_last_reads_a_single_layer():
    names = registry.aggregations.names()
    assert [name for name in names if registry.create_aggregation(name, 25, 16).wants_layers == "last"] == ["last"]


def test_the_aggregation_last_gives_the_last_hidden_state():
    states = hidden_states()
    last = registry.create_aggregation("last", 25, 16)
    assert last(states) is states[-1] is last(states[-1:])


def test_a_weighted_sum_begins_as_the_mean_of_its_hidden_states():
    states = hidden_states(dtype=torch.float32)
    assert_close(WeightedSum(25, 16)(states), torch.stack(states).mean(dim=0))


@pytest.mark.parametrize("name", CLASSES)
def test_weighted_sum_sea_and_attm_refuse_another_number_of_hidden_states_than_they_were_built_for(name):
    with input_error("built for 25 layers, got 13; .* layers='all'"):
        CLASSES[name](25, 16)(hidden_states(13))


@pytest.mark.parametrize("name", CLASSES)
def test_weighted_sum_sea_and_attm_refuse_hidden_states_of_another_size_than_they_were_built_for(name):
    with input_error("feature_dim 12, got hidden states of 16"):
        CLASSES[name](25, 12)(hidden_states())
