"""HuBERT, UniSpeech-SAT and the encoders of AntiDeepfake: the published outputs and files."""

import pytest
import torch
from builders import assert_near, input_error, zoo
from builders.genuine_checkpoint import TINY, tensors_of

from nes2net import create_frontend

GOLDEN = {
    "antideepfake_base": "wav2vec2",
    "antideepfake_large": "wav2vec2",
    "antideepfake_xlsr_ocsoftmax": "wav2vec2",
    "antideepfake_hubert": "hubert",
}
PREFIX = "m_ssl.model."


def encoder_file(name, path):
    """Write the encoder of a published detector as a file of fairseq; return the file of the detector."""
    file = zoo.read(name)
    tensors = {k.removeprefix(PREFIX): v for k, v in file["state_dict"].items() if k.startswith(PREFIX)}
    torch.save({"cfg": {"model": file["config"]["model"]}, "model": tensors}, path)
    return file


@pytest.mark.parametrize("name, dropout", [*zip(GOLDEN, (0.1, 0.0, 0.0, 0.0), strict=True)])
def test_frames_of_the_encoders_of_antideepfake_equal_those_of_their_own_code(name, dropout, tmp_path):
    """Dropouts are those of the file, or else the default of fairseq."""
    file = encoder_file(name, tmp_path / "encoder.pt")
    frontend = create_frontend(GOLDEN[name], tmp_path / "encoder.pt", normalize=True).eval()
    assert frontend.config["dropout"] == frontend.config["attention_dropout"] == dropout
    for case in file["cases"].values():
        with torch.inference_mode():
            (frames,) = frontend(case["waveform"][None])
        assert_near(frames, case["frames"], atol=1e-5)


@pytest.fixture
def hubert():
    torch.manual_seed(0)
    return create_frontend("hubert", **TINY, num_targets=20, final_dim=16)


def save(path, tensors, **config):
    torch.save({"cfg": {"model": {"_name": "hubert", **TINY, **config}}, "model": tensors}, path)


def test_pre_training_heads_come_from_the_file_with_their_sizes(hubert, tmp_path):
    tensors = tensors_of(hubert)
    save(tmp_path / "hubert.pt", tensors)
    read = create_frontend("hubert", tmp_path / "hubert.pt")
    assert read.config["num_targets"] == 20
    assert read.config["final_dim"] == 16
    assert all(torch.equal(read.state_dict()[k], v) for k, v in hubert.state_dict().items())


def test_a_file_without_heads_is_known_as_hubert_by_its_configuration(hubert, tmp_path):
    tensors = {k: v for k, v in tensors_of(hubert).items() if not k.startswith(("mask_emb", "label", "final"))}
    save(tmp_path / "encoder.pt", tensors)
    assert create_frontend("hubert", tmp_path / "encoder.pt").state_dict().keys() == {f"model.{k}" for k in tensors}
    with input_error("holds HuBERT, not wav2vec"):
        create_frontend("wav2vec2", tmp_path / "encoder.pt")


def test_unispeech_sat_is_recognised_by_the_tensors_of_its_heads_and_read_without_them(hubert, tmp_path):
    heads = {"spk_proj.weight": torch.zeros(16, 48), "encoder.layer_norm_for_extract.weight": torch.zeros(48)}
    save(tmp_path / "sat.pt", {**tensors_of(hubert), **heads, "quantizer.vars": torch.zeros(1, 8, 8)})
    unispeech_sat = create_frontend("hubert", tmp_path / "sat.pt")
    assert unispeech_sat.model_type == "unispeech-sat"
    tensors = hubert.state_dict()
    assert not unispeech_sat.config["pretraining_heads"]
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in unispeech_sat.state_dict().items())


def test_an_encoder_whose_positions_pass_a_batch_norm_is_refused(hubert, tmp_path):
    save(tmp_path / "norm.pt", tensors_of(hubert), conv_pos_batch_norm=True)
    with input_error("conv_pos_batch_norm"):
        create_frontend("hubert", tmp_path / "norm.pt")
