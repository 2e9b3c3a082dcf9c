"""Weights of layers: those with which each aggregation and back-end adds up the layers."""

import numpy as np
import pytest
import torch
from builders.small_parts import AGGREGATIONS, BACKENDS
from conftest import seeded_detector

from nes2net import Detector, create_aggregation, create_backend
from nes2net.apps.explanation.layers import weigh_layers
from nes2net.apps.explanation.subject import Subject
from nes2net.models import registry


def states(count, dim=32):
    return list(torch.randn(count, 2, 31, dim, generator=torch.Generator().manual_seed(1)))


def merged(weights, hidden_states):
    return torch.einsum("bl,lbtd->btd", weights, torch.stack(hidden_states))


@pytest.mark.parametrize("name", registry.aggregations.names())
def test_the_layer_weights_of_an_aggregation_make_its_feature_map(name):
    aggregation = create_aggregation(name, 5, 32, **AGGREGATIONS[name]).eval()
    hidden_states = states(5)
    weights = aggregation.layer_weights(hidden_states)
    if name == "last":
        assert weights is None
        return
    assert weights.shape == (2, 5)
    assert (weights >= 0).all()
    if name in ("sea", "weighted_sum"):  # the weights make the feature map
        torch.testing.assert_close(aggregation(hidden_states), merged(weights, hidden_states))
    if name in ("weighted_sum", "moe"):
        torch.testing.assert_close(weights.sum(1), torch.ones(2))


#: Back-ends that weigh layers → how many of the states of their front-end they do not read, at the beginning and the end.
WEIGHING = {"asp_cosine": 1, "attm_lstm": 1, "raptor": 0, "sls": 1, "multires_gmlp": 0}


@pytest.mark.parametrize("name", WEIGHING)
def test_layers_that_a_backend_does_not_read_have_weight_0(name):
    unread = WEIGHING[name]
    dim = 128 if name == "multires_gmlp" else 32
    count = {} if name == "raptor" else {"num_layers": 4}
    hidden_states = states(4 + unread, dim=dim)
    backend = create_backend(name, feature_dim=dim, **count, **BACKENDS[name]).eval()
    weights = backend.layer_weights(hidden_states)
    assert weights.shape == (2, 4 + unread)
    assert ((weights == 0).sum(1) == unread).all()
    assert (weights[:, :unread] == 0).all()
    if name == "raptor":
        torch.testing.assert_close(backend.merge(hidden_states), merged(weights, hidden_states))


def test_layers_of_a_recording_are_weighed(small_model):
    detector = seeded_detector({**small_model, "aggregation": "sea"})
    subject = Subject(detector, np.random.default_rng(0).standard_normal(16000).astype(np.float32) / 10)
    layers = weigh_layers(subject)
    with torch.inference_mode():
        hidden_states = detector.hidden_states(subject.waveform[None])
        gates = detector.aggregation.layer_weights(hidden_states)[0]
    np.testing.assert_allclose(layers.weights, gates, rtol=1e-5)
    sizes = [gate * state.square().mean().sqrt() for gate, state in zip(gates, hidden_states)]
    np.testing.assert_allclose(layers.shares, np.array(sizes) / sum(sizes), rtol=1e-5)
    assert layers.strongest()[0] == int(np.argmax(sizes))
    assert layers.shares.sum() == pytest.approx(1)
    detector = Detector.from_config(small_model).eval()
    assert weigh_layers(Subject(detector, np.zeros(16000, np.float32))) is None
    frontend = {**small_model["frontend"], "encoder_layers": 1}
    two_states = Detector.from_config({**small_model, "frontend": frontend, "aggregation": "weighted_sum"}).eval()
    layers = weigh_layers(Subject(two_states, subject.waveform.numpy()))
    assert layers.weights.shape == (2,)
    assert layers.shares.sum() == pytest.approx(1)
