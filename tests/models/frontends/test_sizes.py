"""The published sizes: their networks, and files of another size or type."""

from dataclasses import replace
from math import prod

import pytest
import torch
from builders import golden, input_error
from builders.genuine_checkpoint import TINY, tensors_of
from builders.without_weights import frontend_without_weights

from nes2net import create_frontend
from nes2net.cli.main import main
from nes2net.models.frontends.sizes import SIZES


def shapes_of_size(name):
    """Tensor → shape."""
    return {key: list(tensor.shape) for key, tensor in tensors_of(frontend_without_weights(name)).items()}


@pytest.mark.parametrize("name", SIZES)
def test_the_stated_number_of_parameters_of_a_published_size_is_that_of_its_network(name):
    assert sum(map(prod, shapes_of_size(name).values())) == SIZES[name].parameters


@pytest.mark.parametrize("name, is_first", [("wav2vec2_base", False), ("xlsr_300m", True)])
def test_layers_of_xlsr_300m_are_normalised_first_and_those_of_wav2vec2_base_afterwards(name, is_first):
    assert frontend_without_weights(name).layer_norm_first is is_first


def test_no_published_size_normalises_waveforms_without_a_file():
    assert [name for name in SIZES if frontend_without_weights(name).config.get("normalize")] == []


@pytest.mark.parametrize("name, kind", [("xlsr_300m", "xlsr300m_fairseq"), ("wavlm_large", "wavlm_large_unilm")])
def test_xlsr_300m_and_wavlm_large_have_the_tensors_and_shapes_of_their_pre_training_files(name, kind):
    tensors = golden.read("manifests")[kind]["keys"]
    assert shapes_of_size(name) == {key: shape for key, (shape, _) in tensors.items()}


def write(frontend, path, **changes):
    """Save ``frontend`` as fairseq does."""
    options = {**frontend.config, "_name": "hubert", **changes}
    for name in ("name", "normalize", "pretraining_heads"):
        options.pop(name, None)
    torch.save({"cfg": {"model": options}, "model": tensors_of(frontend)}, path)


@pytest.mark.parametrize(
    "name, kind, message",
    [
        (
            "xlsr_1b",
            "wav2vec2",
            r"is not XLS-R 1B \(xlsr_1b\): conv_feature_layers is .*, encoder_layers is 2, not 48, encoder_embed_dim is "
            r"48, not 1280, .* Use `model.frontend=wav2vec2`, which reads any size$",
        ),
        ("unispeech_sat_large", "hubert", r"is not UniSpeech-SAT Large .*: it is HuBERT, .*`model.frontend=hubert`"),
        ("hubert_large", "wav2vec2", r"holds wav2vec 2\.0, not HuBERT or UniSpeech-SAT"),
        ("wav2vec2", "wavlm", r"holds WavLM, not wav2vec 2\.0: `model.frontend=wavlm`"),
    ],
)
def test_a_file_of_another_size_or_type_is_refused_with_what_differs(name, kind, message, tmp_path):
    write(create_frontend(kind, **TINY), tmp_path / "file.pt")
    with input_error(message):
        create_frontend(name, tmp_path / "file.pt")


SMALL_WAV2VEC2 = {**SIZES["xlsr_53"].options, **TINY}


@pytest.fixture
def small_sizes(monkeypatch):
    """Let some published sizes be those of small files."""
    for name in ("hubert", "mhubert_147", "xlsr_53"):
        size = SIZES[name]
        monkeypatch.setitem(SIZES, name, replace(size, options={**size.options, **TINY}))


@pytest.mark.parametrize(
    "kind, options, names", [("wav2vec2", SMALL_WAV2VEC2, "xlsr_53"), ("hubert", TINY, "hubert or mhubert_147")]
)
def test_info_names_every_published_size_that_a_file_may_have(small_sizes, tmp_path, capsys, kind, options, names):
    path = tmp_path / "file.pt"
    write(create_frontend(kind, **options), path)
    assert main(["info", str(path)]) == 0
    assert names in " ".join(capsys.readouterr().out.split())


def test_a_file_of_another_published_size_is_refused_with_the_name_of_its_size(small_sizes, tmp_path):
    write(create_frontend("wav2vec2", **SMALL_WAV2VEC2), tmp_path / "wav2vec2.pt")
    with input_error(r"is not XLS-R 300M .* or `model\.frontend=xlsr_53`$"):
        create_frontend("xlsr_300m", tmp_path / "wav2vec2.pt")


def test_published_sizes_with_equal_options_are_told_apart_by_the_name_of_the_file(small_sizes, tmp_path, monkeypatch):
    monkeypatch.setitem(SIZES, "mms_300m", replace(SIZES["mms_300m"], options=SMALL_WAV2VEC2))
    write(create_frontend("wav2vec2", **SMALL_WAV2VEC2), tmp_path / "xlsr_53_56k.pt")
    message = r"indicates XLSR-53, but the front-end is MMS 300M.*`ssl_checkpoint` \(base_300m\.pt from .*\)"
    with input_error(message):
        create_frontend("mms_300m", tmp_path / "xlsr_53_56k.pt")
    assert create_frontend("xlsr_53", tmp_path / "xlsr_53_56k.pt").out_dim == 48


@pytest.mark.parametrize("name", ["mms_1b", "hubert", "whisper_tiny", "w2v_bert2"])
def test_a_missing_pre_training_file_is_refused_with_the_place_to_download_it(name):
    with input_error(f"none not found: download it .*{SIZES[name].hub}.* with `ssl_checkpoint`"):
        create_frontend(name, "none")
