"""Files with the names and shapes of the released ones, held against the rows that they belong to."""

from dataclasses import replace

import pytest
from builders import sparse_checkpoint
from builders.golden_backends import manifest

from nes2net import Detector
from nes2net.apps.experiments.reproduce import compare_conditions, published_architectures
from nes2net.models.published_results import PublishedRow, published_rows

ROWS = published_rows()
XLSR = "xlsr300m_fairseq"
WAVLM = "wavlm_large_unilm"
NES2NET_X = "nes2net_x_main__mean_8_8_se1_d2_o2"
CLASSIFIER = "Nested_Res2Net_TDNN.fc"
#: System of the rows → the encoder and the head of the published code.
RELEASED = {
    "nes2net_x": (XLSR, NES2NET_X),
    "nes2net_x_mean5": (XLSR, NES2NET_X),
    "nes2net_x_val": (XLSR, NES2NET_X),
    "nes2net_x_val_aug": (XLSR, NES2NET_X),
    "svdd_nes2net": (WAVLM, "svdd_WavLM_Nes2Net__SEA_mean_8_8_se1_d1"),
    # No manifest is of Nes2Net-X with ReLU for CtrSVDD: SELU has no tensors.
    "svdd_nes2net_x": (WAVLM, "svdd_WavLM_Nes2Net_X_SeLU__SEA_mean_8_8_se1_d1"),
    "svdd_nes2net_x_selu": (WAVLM, "svdd_WavLM_Nes2Net_X_SeLU__SEA_mean_8_8_se1_d1"),
    "attm_lstm": (WAVLM, "attm_pandarial_full_L12"),
    "aasist": (XLSR, "aasist_w2v_main"),
    "sls": (XLSR, "sls"),
    "tcm": (XLSR, "tcm_full_e144_h4_k31_n4"),
    "mamba": (XLSR, "xlsr_mamba_full_e144_n12"),
    "raw_aasist": (None, "clovaai_AASIST"),
    "raw_aasist_l": (None, "clovaai_AASIST-L"),
}


def shapes_of(encoder: str | None, head: str, num_logits: int | None = None) -> dict[str, list[int]]:
    """Name → shape of each tensor of a released file; ``num_logits`` if the manifest has another number."""
    shapes = {}
    if encoder is not None:
        shapes = {f"ssl_model.model.{name}": shape for name, shape in manifest(encoder).items()}
    shapes |= manifest(head)
    shapes.pop("ssl_model.dummy", None)  # what stood for the encoder when the manifest was made
    if num_logits is not None:
        shapes[f"{CLASSIFIER}.weight"] = [num_logits, shapes[f"{CLASSIFIER}.weight"][1]]
        shapes[f"{CLASSIFIER}.bias"] = [num_logits]
    return shapes


def rows_of(system: str) -> list[PublishedRow]:
    return [row for row in ROWS if row.id.startswith(f"{system}-") and row.train != "partialspoof"]


@pytest.fixture
def differences_of(tmp_path, evaluation):
    """A function that reads a file with these shapes for a row, and compares it with several rows."""

    def compare(shapes: dict[str, list[int]], rows: list[PublishedRow]) -> list[str]:
        path = tmp_path / "released.safetensors"
        sparse_checkpoint.write(path, shapes)
        architecture = next(iter(published_architectures(rows[0]).values()))
        config = Detector.from_pretrained(path, "cpu", config=architecture).config
        differences = []
        for row in rows:
            tiny = replace(row, corpus="tiny", min_tdcf=None)
            differences += compare_conditions(tiny, config, evaluation, tmp_path).differences
        return differences

    return compare


@pytest.mark.slow
@pytest.mark.parametrize("system", RELEASED)
def test_weights_of_the_shapes_of_a_released_file_have_the_architecture_of_its_published_results(
    system, differences_of
):
    assert differences_of(shapes_of(*RELEASED[system]), rows_of(system)) == []


@pytest.mark.slow
def test_weights_of_nes2net_x_with_one_logit_have_the_architecture_of_its_published_results(differences_of):
    rows = []
    for system in RELEASED:
        if system.startswith("nes2net_x"):
            rows += rows_of(system)
    assert len(rows) == 6
    assert differences_of(shapes_of(XLSR, NES2NET_X, num_logits=1), rows) == []
