"""Files are identified by their content."""

import torch
from builders import input_error

from nes2net import Detector
from nes2net.apps.export.formats import export
from nes2net.apps.info.identify import identify
from nes2net.models.checkpoints.state_dict import save_state_dict


def test_wav2vec2_files_of_pre_training_in_each_packing_are_identified_with_their_configuration(pretrained):
    for packing in ("plain", "namespace", "omegaconf", "taskstate"):
        identity = identify(pretrained / f"tiny_w2v2_{packing}.pt")
        assert identity.kind == "wav2vec 2.0 pre-training file (fairseq)"
        assert identity.models == ["wav2vec2"]
        assert identity.config["frontend"]["encoder_layers"] == 3
        assert not identity.misfit


def test_the_parameters_in_an_identified_file_are_counted_by_their_dtype(pretrained):
    assert identify(pretrained / "tiny_w2v2_plain.pt").dtypes == {"float32": 97_152}


def test_a_pre_training_file_of_wavlm_is_identified_with_its_configuration(pretrained):
    identity = identify(pretrained / "tiny_wavlm_unilm.pt")
    assert identity.kind == "WavLM pre-training file (unilm)"
    assert not identity.misfit
    assert identity.config["frontend"]["num_buckets"] == 320


def test_a_detector_is_identified_with_its_configuration_in_a_checkpoint_and_exported_folders(detector, tmp_path):
    detector.save(tmp_path / "own.pth")
    checkpoint = identify(tmp_path / "own.pth")
    assert checkpoint.kind == "detector checkpoint of this package"
    assert checkpoint.config == detector.config
    for name in ("safetensors", "hf"):
        export(detector, name, tmp_path / name)
        identity = identify(tmp_path / name)
        assert identity.kind == "detector folder"
        assert identity.config == detector.config
        assert not identity.misfit


def test_info_lists_the_tensors_that_a_checkpoint_lacks_or_has_beyond_those_of_its_model(detector, tmp_path, info):
    state_dict = {**detector.state_dict(), "Nested_Res2Net_TDNN.extra": torch.zeros(1)}
    removed = next(k for k in state_dict if k.endswith("fc.weight"))
    del state_dict[removed]
    save_state_dict(state_dict, tmp_path / "other.pth", model=detector.config)
    shown = " ".join(info(tmp_path / "other.pth").split())
    assert f"missing: {removed}; left over: Nested_Res2Net_TDNN.extra" in shown


def test_identify_and_load_refuse_a_checkpoint_with_an_unreadable_model_configuration_and_name_the_file(tmp_path):
    wrong = {"frontend": {"name": "lps", "n_fft": "x"}, "backend": "nes2net_x"}
    for model in (5, {"frontend": 5}, wrong):
        save_state_dict({"w": torch.zeros(1)}, tmp_path / "odd.pth", model=model, other={1, 2})
        for read in (identify, Detector.from_pretrained):
            with input_error(r"odd\.pth"):
                read(tmp_path / "odd.pth")


def test_weights_without_a_known_architecture_are_identified_as_of_an_unknown_model(tmp_path):
    """With the names of DeepFense, so that they are compared with its few models alone."""
    torch.save({"losses.0.fc.weight": torch.zeros(3), "backend.pos_S": torch.zeros(3)}, tmp_path / "x.pth")
    assert identify(tmp_path / "x.pth").kind == "state dict of an unknown model"
