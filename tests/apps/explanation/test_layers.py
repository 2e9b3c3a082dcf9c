"""Weights of layers: those with which each aggregation and back-end adds up the layers."""

import numpy as np
import pytest
import torch
from builders.small_parts import AGGREGATIONS, BACKENDS
from conftest import seeded_detector

from nes2net import create_aggregation, create_backend
from nes2net.apps.explanation.layers import Layers, weigh_layers
from nes2net.apps.explanation.subject import Subject
from nes2net.models import registry


def states(count, dim=32):
    return list(torch.randn(count, 2, 31, dim, generator=torch.Generator().manual_seed(1)))


def merged(weights, hidden_states):
    return torch.einsum("bl,lbtd->btd", weights, torch.stack(hidden_states))


def aggregation_of(name):
    return create_aggregation(name, 5, 32, **AGGREGATIONS[name]).eval()


@pytest.mark.parametrize("name", sorted({*registry.aggregations.names()} - {"last"}))
def test_an_aggregation_gives_each_layer_a_weight_that_is_not_negative(name):
    weights = aggregation_of(name).layer_weights(states(5))
    assert weights.shape == (2, 5)
    assert (weights >= 0).all()


@pytest.mark.parametrize("name", ["sea", "weighted_sum"])
def test_sea_and_the_weighted_sum_add_up_the_layers_by_their_weights(name):
    aggregation = aggregation_of(name)
    weights = aggregation.layer_weights(states(5))
    torch.testing.assert_close(aggregation(states(5)), merged(weights, states(5)))


@pytest.mark.parametrize("name", ["weighted_sum", "moe"])
def test_layer_weights_of_the_weighted_sum_and_of_moe_add_up_to_1(name):
    weights = aggregation_of(name).layer_weights(states(5))
    torch.testing.assert_close(weights.sum(1), torch.ones(2))


@pytest.mark.parametrize("name", ["asp_cosine", "attm_lstm", "sls"])
def test_a_backend_that_does_not_read_the_first_hidden_state_gives_it_alone_the_weight_0(name):
    backend = create_backend(name, feature_dim=32, num_layers=4, **BACKENDS[name]).eval()
    weights = backend.layer_weights(states(5))
    assert (weights == 0).tolist() == [[True, False, False, False, False]] * 2


def test_multires_gmlp_gives_every_layer_a_weight_other_than_0():
    backend = create_backend("multires_gmlp", feature_dim=128, num_layers=4, **BACKENDS["multires_gmlp"]).eval()
    weights = backend.layer_weights(states(4, dim=128))
    assert weights.shape == (2, 4)
    assert (weights != 0).all()


def test_the_backend_raptor_merges_the_layers_by_their_weights():
    backend = create_backend("raptor", feature_dim=32, **BACKENDS["raptor"]).eval()
    weights = backend.layer_weights(states(4))
    torch.testing.assert_close(backend.merge(states(4)), merged(weights, states(4)))


def subject_of(config):
    noise = np.random.default_rng(0).standard_normal(16000)
    return Subject(seeded_detector(config), noise.astype(np.float32) / 10)


@pytest.fixture
def gated(small_model):
    """The layers of a detector with the aggregation `sea` as they are weighed, its hidden states, and their gates."""
    subject = subject_of({**small_model, "aggregation": "sea"})
    detector = subject.detector
    with torch.inference_mode():
        hidden_states = detector.hidden_states(subject.waveform[None])
        gates = detector.aggregation.layer_weights(hidden_states)[0]
    return weigh_layers(subject), hidden_states, gates


def test_the_weights_of_layers_of_a_detector_with_sea_are_its_gates(gated):
    layers, _, gates = gated
    np.testing.assert_allclose(layers.weights, gates, rtol=1e-5)


def test_the_share_of_a_layer_is_proportional_to_its_gate_times_the_root_mean_square_of_its_states(gated):
    layers, hidden_states, gates = gated
    sizes = [gate * state.square().mean().sqrt() for gate, state in zip(gates, hidden_states)]
    np.testing.assert_allclose(layers.shares, np.array(sizes) / sum(sizes), rtol=1e-5)


def test_the_strongest_layers_are_the_three_with_the_largest_shares_the_largest_first():
    assert Layers(np.ones(4), np.array([0.1, 0.2, 0.4, 0.3])).strongest() == [2, 3, 1]


def test_a_detector_with_the_aggregation_last_has_no_weights_of_layers(small_model):
    assert weigh_layers(subject_of(small_model)) is None


def test_both_states_of_a_front_end_of_one_layer_are_weighed(small_model):
    """Its states are the input and the output of the layer."""
    frontend = {**small_model["frontend"], "encoder_layers": 1}
    layers = weigh_layers(subject_of({**small_model, "frontend": frontend, "aggregation": "weighted_sum"}))
    assert layers.weights.shape == (2,)
