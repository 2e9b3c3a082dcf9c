"""The detectors that are fetched by name."""

import pytest
from builders.without_weights import published_detector

from nes2net.lib.storage.files import sha256_of
from nes2net.models.catalogue import list_models
from nes2net.models.published_models import PUBLISHED


@pytest.mark.parametrize("name", [model.name for model in list_models()])
def test_the_stated_number_of_parameters_of_a_published_model_is_that_of_its_architecture(name):
    assert PUBLISHED[name].parameters == sum(parameter.numel() for parameter in published_detector(name).parameters())


def test_stated_sizes_and_digests_of_aasist_are_those_of_the_published_files(shared):
    for name in ("AASIST", "AASIST-L"):
        file = PUBLISHED[name].file
        path = shared / "real" / "aasist" / f"{name}.pth"
        assert file.size == path.stat().st_size
        assert file.sha256 == sha256_of(path)
