"""Options of published models, read from the shapes of tensors that take no memory."""

import pytest
from builders import slow
from builders.without_weights import detector_without_weights

from nes2net.models.fitting import changed_options
from nes2net.models.loading import fitting_models, recognise
from nes2net.models.published_models import PUBLISHED_MODELS


@pytest.mark.parametrize(
    "name, options, found_as, changes",
    [
        ("wav2vec2_Nes2Net_X", {"num_logits": 1}, "Nes2Net-X", []),
        *slow(  # many tries
            ("wav2vec2_Nes2Net_X", {"pool": "astp"}, "wav2vec2_Nes2Net_X", ["backend.pool=astp"]),
            (
                "wav2vec2_Nes2Net_X",
                {"nes_ratio": [8, 4], "se_ratio": 8},
                "wav2vec2_Nes2Net_X",
                ["backend.nes_ratio=[8, 4]", "backend.se_ratio=8"],
            ),
        ),
        ("wav2vec2_AASIST", {"num_logits": 1}, "wav2vec2_AASIST", ["backend.num_logits=1"]),
        (
            "spoof_superb_xlsr_300m",
            {"num_logits": 1, "projection_dim": 128},
            "spoof_superb_xlsr_300m",
            ["backend.projection_dim=128", "backend.num_logits=1"],
        ),
    ],
)
def test_the_published_model_and_its_changed_options_are_read_from_shapes_of_tensors(name, options, found_as, changes):
    config = PUBLISHED_MODELS[name]
    backend = config["backend"]
    backend = {"name": backend} if isinstance(backend, str) else backend
    state_dict = detector_without_weights({**config, "backend": {**backend, **options}}).state_dict()
    models = fitting_models(state_dict, recognise(state_dict))
    assert {key: changed_options(PUBLISHED_MODELS[key], value) for key, value in models.items()} == {found_as: changes}
