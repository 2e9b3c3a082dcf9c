"""wav2vec 2.0: fairseq's outputs, the library's own forward, and the published names."""

from itertools import pairwise

import pytest
import torch
from builders import assert_near, golden, input_error, zoo
from builders.genuine_checkpoint import FORMS, configuration, tensors_of, write_form
from torch.testing import assert_close

from nes2net import create_frontend
from nes2net.cli.main import main
from nes2net.models.checkpoints.fairseq import to_fairseq
from nes2net.models.frontends.adaptation import merge
from nes2net.models.frontends.feature_extractor import extract_features
from nes2net.models.frontends.ssl import SMALL
from nes2net.models.registry import frontends


@pytest.mark.parametrize("packing", ["plain", "namespace", "omegaconf", "taskstate"])
def test_hidden_states_of_wav2vec2_equal_those_of_fairseq_in_four_forms_of_its_file(pretrained, packing):
    frontend = create_frontend("wav2vec2", pretrained / f"tiny_w2v2_{packing}.pt").eval()
    golden.check_tiny_wav2vec2(frontend)


@pytest.mark.parametrize("name, kind, file", [("wav2vec2", "w2v2", "w2v2_plain"), ("wavlm", "wavlm", "wavlm_unilm")])
def test_norms_of_gradients_of_wav2vec2_and_wavlm_equal_those_of_fairseq_and_unilm(pretrained, name, kind, file):
    frontend = create_frontend(name, pretrained / f"tiny_{file}.pt").eval()
    frontend.set_normalize(False)
    published = golden.read(f"frontends/tiny_{kind}")
    for length, expected in published["gradient_norms"].items():
        frontend.zero_grad()
        frontend(torch.from_numpy(published["arrays"][f"in_{length}"]))[-1].square().mean().backward()
        norms = {to_fairseq(name): p.grad.norm().item() for name, p in frontend.model.named_parameters()}
        assert norms == {k: pytest.approx(v, rel=1e-3, abs=1e-7) for k, v in expected.items() if v is not None}


DROPOUTS = {"dropout": 0.1, "attention_dropout": 0.2, "activation_dropout": 0.3, "dropout_input": 0.4}


TRAINING = {**DROPOUTS, "encoder_layerdrop": 0.05, "feature_grad_mult": 0.1}
#: The configuration in the file of a network, from that of the model.
PACKED = {"wav2vec2": lambda cfg: {"model": cfg}, "wavlm": lambda cfg: cfg}


@pytest.fixture(params=PACKED)
def file_with_dropouts(request, tmp_path):
    """Name of a network, and its pre-training file, whose configuration has the options TRAINING."""
    options = {**SMALL, "pretraining_heads": True}
    state_dict = tensors_of(create_frontend(request.param, **options))
    cfg = {**options, **TRAINING, "conv_feature_layers": str(list(SMALL["conv_feature_layers"]))}
    torch.save({"cfg": PACKED[request.param](cfg), "model": state_dict}, tmp_path / "file.pt")
    return request.param, tmp_path / "file.pt"


def test_training_options_of_wav2vec2_and_wavlm_come_from_the_configuration_in_their_file(file_with_dropouts):
    """Dropouts, layer drop, and the factor of the gradients of the convolutions, unless others are stated."""
    frontend = create_frontend(*file_with_dropouts)
    assert frontend.encoder_layerdrop == 0.05
    assert frontend.config["feature_grad_mult"] == 0.1
    assert frontend.model.feature_projection.dropout.p == 0.4
    assert frontend.model.encoder.dropout.p == 0.1
    for layer in frontend.model.encoder.layers:
        assert layer.dropout.p == 0.1
        assert layer.feed_forward.output_dropout.p == 0.1
        assert layer.attention.dropout == 0.2
        assert layer.feed_forward.intermediate_dropout.p == 0.3
    frontend = create_frontend(*file_with_dropouts, **dict.fromkeys(TRAINING, 0), encoder_layers=1)
    assert {name: frontend.config[name] for name in TRAINING} == dict.fromkeys(TRAINING, 0)
    assert frontend.encoder_layerdrop == frontend.model.encoder.dropout.p == 0
    assert frontend.config["encoder_layers"] == SMALL["encoder_layers"]  # no option of training


@pytest.mark.parametrize(
    "name, option",
    [
        *((name, option) for name in ("wav2vec2", "wavlm") for option in (*DROPOUTS, "encoder_layerdrop")),
        ("hubert", "dropout"),
    ],
)
def test_dropouts_of_self_supervised_front_ends_are_drawn_only_in_train_mode(name, option):
    torch.manual_seed(0)
    waveform = torch.randn(1, 4000)
    with torch.no_grad():
        frontend = create_frontend(name, **{**SMALL, option: 0.5})
        train = {frontend(waveform)[-1].sum().item() for _ in range(6)}
        frontend.eval()
        assert len({frontend(waveform)[-1].sum().item() for _ in range(3)}) == 1
    assert len(train) > 1


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm"])
def test_each_layer_is_dropped_with_the_probability_encoder_layerdrop(name):
    torch.manual_seed(0)
    frontend = create_frontend(name, **{**SMALL, "encoder_layers": 10, "encoder_layerdrop": 0.3})
    waveform = torch.randn(1, 1000)
    dropped = torch.zeros(10)
    with torch.no_grad():
        for _ in range(50):
            states = frontend(waveform, layers="all", final_norm=False)
            dropped += torch.tensor([torch.equal(a, b) for a, b in pairwise(states)])
    assert dropped.sum().item() / 500 == pytest.approx(0.3, abs=0.08)  # four standard deviations
    # every layer alike, the first and the last too
    assert dropped.min() > 2
    assert dropped.max() < 28


def test_a_published_size_has_its_own_dropouts_only_where_its_file_states_none(tmp_path):
    small = create_frontend("wav2vec2", **SMALL)
    cfg = {key: value for key, value in small.config.items() if key not in TRAINING} | {"encoder_layerdrop": 0.25}
    torch.save({"cfg": {"model": cfg}, "model": tensors_of(small)}, tmp_path / "file.pt")
    frontend = frontends.create("wav2vec2_base", checkpoint=tmp_path / "file.pt")
    assert frontend.config["encoder_layerdrop"] == 0.25  # 0.05 in the published file
    assert frontend.config["dropout"] == 0.1


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm"])
def test_feature_grad_mult_0_freezes_the_convolutions_which_compute_without_a_graph(name):
    frontend = create_frontend(name, **SMALL, feature_grad_mult=0.0)
    waveform = torch.randn(1, 4000)
    assert not extract_features(frontend.model.feature_extractor, waveform).requires_grad
    frontend(waveform.requires_grad_())[-1].sum().backward()
    without_gradient = {name for name, parameter in frontend.named_parameters() if parameter.grad is None}
    convolutions = {name for name, _ in frontend.named_parameters() if ".feature_extractor." in name}
    assert without_gradient == convolutions
    assert waveform.grad.any()  # explanations need it


def test_convolutions_stay_frozen_when_an_adaptation_is_merged():
    frontend = create_frontend("wav2vec2", **SMALL, feature_grad_mult=0.0, adapt={"kind": "lora", "rank": 2})
    merge(frontend)
    frozen = {name for name, parameter in frontend.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in frontend.named_parameters() if ".feature_extractor." in name}


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm"])
def test_feature_grad_mult_scales_only_the_gradients_of_the_convolutions(name):
    waveform = torch.randn(1, 4000)
    frontends = [create_frontend(name, **{**SMALL, "feature_grad_mult": factor}) for factor in (1.0, 0.1)]
    frontends[1].load_state_dict(frontends[0].state_dict())
    outputs = [frontend(waveform)[-1] for frontend in frontends]
    assert torch.equal(*outputs)
    weights = torch.randn_like(outputs[0])
    for output in outputs:
        (output * weights).sum().backward()
    unscaled, scaled = (dict(frontend.model.named_parameters()) for frontend in frontends)
    for key, parameter in unscaled.items():
        factor = 0.1 if key.startswith("feature_extractor.") else 1.0
        assert_close(scaled[key].grad, factor * parameter.grad, atol=1e-5, rtol=1e-5)


def test_files_without_tensors_of_wav2vec2_are_refused_with_what_they_lack(pretrained, tmp_path):
    other_weights = {"model": {"weight": torch.zeros(2)}}
    torn = torch.load(pretrained / "tiny_w2v2_plain.pt", weights_only=True)
    del torn["model"]["encoder.layers.1.fc1.weight"]
    for content, message in (
        (other_weights, r"not a checkpoint of wav2vec 2\.0, HuBERT or WavLM"),
        (torn, r"missing: model\.encoder\.layers\.1\.fc1\.weight"),
    ):
        torch.save(content, tmp_path / "file.pt")
        with input_error(message):
            create_frontend("wav2vec2", tmp_path / "file.pt")


@pytest.mark.parametrize("form", FORMS)
def test_files_of_wav2vec2_in_other_published_forms_give_the_same_options_and_tensors(tmp_path, form):
    frontend = create_frontend("wav2vec2", **SMALL)
    path = write_form(frontend, tmp_path / "file.pt", form)
    read = create_frontend("wav2vec2", path)
    expected = frontend.state_dict()
    assert read.config == frontend.config
    assert all(torch.equal(tensor, expected[name]) for name, tensor in read.state_dict().items())


def test_info_calls_a_pre_training_file_with_nan_unusable_and_not_complete(tmp_path, capsys):
    frontend = create_frontend("wav2vec2", **SMALL)
    content = {"model": tensors_of(frontend), "cfg": {"model": configuration(frontend)}}
    content["model"]["encoder.layers.0.fc1.weight"][0, 0] = float("nan")
    torch.save(content, tmp_path / "file.pt")
    assert main(["info", str(tmp_path / "file.pt")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "not usable as a front-end" in shown
    assert "all there" not in shown


TORCHAUDIO = {
    "encoder_layers": 3,
    "encoder_embed_dim": 24,
    "encoder_ffn_embed_dim": 40,
    "encoder_attention_heads": 4,
    "conv_pos": 16,
    "conv_pos_groups": 4,
    "conv_feature_layers": zoo.CONVOLUTIONS,
}


def test_a_batch_normalised_as_a_whole_has_the_hidden_states_of_torchaudio(tmp_path):
    file = zoo.read("frontend_torchaudio_tiny")
    torch.save(file["state_dict_torchaudio"], tmp_path / "encoder.pt")
    frontend = create_frontend("wav2vec2", tmp_path / "encoder.pt", normalize="batch", **TORCHAUDIO).eval()
    for case in ("alone", "batch"):
        expected = file["cases"][case]
        with torch.inference_mode():
            states = frontend(expected["waveform"], layers="all", final_norm=False)
            (last,) = frontend(expected["waveform"])
        assert_near(torch.stack(states[1:], 1), expected["extract_features"], 1e-5)
        assert_near(last, expected["forward"], 1e-5)


def test_with_the_option_normalize_each_waveform_is_normalised_by_itself():
    torch.manual_seed(0)
    frontend = create_frontend("wav2vec2", **SMALL, normalize=True).eval()
    waveform = torch.randn(2, 8000)
    waveform[1] *= 10
    with torch.inference_mode():
        together = frontend(waveform)[0]
        alone = torch.cat([frontend(5 * x[None] + 1)[0] for x in waveform])
    assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_wav2vec2_does_not_normalise_waveforms_by_default_and_uses_every_sample_of_a_normalised_batch():
    assert not create_frontend("wav2vec2", **SMALL).normalize
    assert create_frontend("wav2vec2", **SMALL, normalize="batch").used_samples(6399) == 6399
