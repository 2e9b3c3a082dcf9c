"""The detectors that are fetched by name."""

import pytest
import torch

import nes2net
from nes2net import Detector
from nes2net.experiments.catalogue import list_models
from nes2net.machine.files import sha256_of
from nes2net.published_models import PUBLISHED


def test_what_is_listed():
    models = {model.name: model for model in nes2net.list_models()}
    assert {"AASIST", "AASIST-L", "antideepfake_xlsr_1b", "df_arena_1b"} <= models.keys() <= PUBLISHED.keys()
    assert [*models] == sorted(models, key=lambda name: models[name].parameters)
    aasist = models["AASIST"]
    assert aasist.reported == ("EER on asvspoof2019_la 0.83 %, min t-DCF 0.0275",)
    assert (aasist.size, aasist.licence, aasist.until) == (1_281_532, "MIT", 2019)
    assert aasist.known_by.startswith("SHA-256 51d2d9cf0738") and aasist.address.endswith("/AASIST.pth")
    antideepfake = models["antideepfake_xlsr_1b"]
    assert antideepfake.score == "probability" and antideepfake.known_by == "not pinned"
    assert antideepfake.address.startswith("https://huggingface.co/nii-yamagishilab/xls-r-1b-anti-deepfake/")
    assert all(model.good_for and model.trained_on and model.licence != "not stated" for model in models.values())


@pytest.mark.parametrize("name", [model.name for model in list_models()])
def test_the_number_of_parameters_is_the_architecture_s(name):
    with torch.device("meta"):
        detector = Detector.from_config(name)
    assert PUBLISHED[name].parameters == sum(parameter.numel() for parameter in detector.parameters())


def test_the_pinned_files_are_the_ones_at_hand(shared):
    for name in ("AASIST", "AASIST-L"):
        file, path = PUBLISHED[name].file, shared / "real" / "aasist" / f"{name}.pth"
        assert (file.size, file.sha256, file.name) == (path.stat().st_size, sha256_of(path), path.name)
