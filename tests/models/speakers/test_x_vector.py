"""X-vector models give the embeddings of the transformers library."""

import json

import numpy as np
import pytest
import torch
from builders import input_error, shared_path
from builders.files import write
from safetensors.torch import load_file, save_file

from nes2net.models.speakers import create_speaker_encoder

CASES = ("wavlm_stable", "wavlm_base", "wav2vec2", "unispeech_sat", "data2vec_audio")


@pytest.fixture(scope="module")
def golden_x_vectors():
    folder = shared_path("golden", "person")
    with np.load(folder / "xvector.npz") as arrays:
        cases = json.loads((folder / "xvector.json").read_text(encoding="utf-8"))["cases"]
        return dict(arrays), cases


def write_folder(folder, golden_x_vectors, case, do_normalize=False, **changes):
    """A Hugging Face folder of a golden model, with ``changes`` of its configuration."""
    arrays, cases = golden_x_vectors
    names = [name for name in arrays if name.startswith(f"{case}/") and not name.endswith("_f64")]
    tensors = {name.removeprefix(f"{case}/"): torch.from_numpy(arrays[name]) for name in names}
    config = {"architectures": [cases[case]["class"]], **cases[case]["config"], **changes}
    save_file(tensors, folder / "model.safetensors")
    write(folder / "config.json", json.dumps(config))
    write(folder / "preprocessor_config.json", json.dumps({"do_normalize": do_normalize}))
    return folder


def encoder_of(folder):
    return create_speaker_encoder("x_vector", checkpoint=folder)


@pytest.mark.parametrize("case", CASES)
def test_embeddings_equal_those_of_transformers(tmp_path, golden_x_vectors, case):
    arrays, _ = golden_x_vectors
    encoder = encoder_of(write_folder(tmp_path, golden_x_vectors, case))
    unit = arrays[f"{case}/out_f64"] / np.linalg.norm(arrays[f"{case}/out_f64"])
    np.testing.assert_allclose(encoder.embed(arrays["x"], 16000), unit, rtol=0, atol=2e-6)
    encoder.network.double()
    with torch.inference_mode():
        for samples, expected in (("x", "out_f64"), ("x2", "out2_f64")):
            embedding = encoder.forward(torch.from_numpy(arrays[samples]).double()).numpy()
            np.testing.assert_allclose(embedding, arrays[f"{case}/{expected}"], rtol=0, atol=1e-9)


def test_normalised_waveforms_give_one_embedding_at_any_level(tmp_path, golden_x_vectors):
    samples = golden_x_vectors[0]["x"]
    encoder = encoder_of(write_folder(tmp_path, golden_x_vectors, "wavlm_base", do_normalize=True))
    np.testing.assert_allclose(encoder.embed(2 * samples, 16000), encoder.embed(samples, 16000), rtol=0, atol=1e-5)


def test_a_recording_of_too_few_frames_is_refused(tmp_path, golden_x_vectors):
    """Nine frames of the small model's TDNN make one output, whose standard deviation would be NaN."""
    encoder = encoder_of(write_folder(tmp_path, golden_x_vectors, "wavlm_base"))
    samples = golden_x_vectors[0]["x"]
    encoder.embed(samples[: encoder.min_samples], 16000)
    assert encoder.network._get_feat_extract_output_lengths(encoder.min_samples) == 10
    with input_error("no speech found: the recording has 0.01 s"):
        encoder.embed(samples[: encoder.min_samples - 1], 16000)


def test_a_model_of_the_published_size_needs_16_frames():
    from transformers import WavLMConfig

    from nes2net.models.speakers.x_vector import _shortest

    assert _shortest(WavLMConfig()) == 400 + 15 * 320


def test_weight_norm_of_older_releases_is_read(tmp_path, golden_x_vectors):
    folder = write_folder(tmp_path, golden_x_vectors, "wav2vec2")
    samples = golden_x_vectors[0]["x"]
    encoder = encoder_of(folder)
    expected = encoder.embed(samples, 16000)
    tensors = load_file(folder / "model.safetensors")
    prefix = "wav2vec2.encoder.pos_conv_embed.conv"
    tensors[f"{prefix}.weight_g"] = tensors.pop(f"{prefix}.parametrizations.weight.original0")
    tensors[f"{prefix}.weight_v"] = tensors.pop(f"{prefix}.parametrizations.weight.original1")
    save_file(tensors, folder / "model.safetensors")
    encoder_of_older_file = encoder_of(folder)
    np.testing.assert_array_equal(encoder_of_older_file.embed(samples, 16000), expected)
    assert encoder_of_older_file.identity != encoder.identity


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"architectures": ["WavLMForCTC"]}, "no speaker encoder has the class 'WavLMForCTC'; did you mean"),
        ({"architectures": None}, "describes no x-vector model"),
        ({"conv_kernel": [10, 3]}, "describes no x-vector model"),
        ({"tdnn_dim": [12, 12, 24]}, "does not fit this model"),
    ],
    ids=["other class", "no class", "damaged", "other size"],
)
def test_other_folders_are_refused(tmp_path, golden_x_vectors, changes, message):
    folder = write_folder(tmp_path, golden_x_vectors, "wavlm_base", **changes)
    with input_error(message):
        encoder_of(folder)


def test_a_configuration_cannot_choose_code_to_load(tmp_path, golden_x_vectors):
    """transformers would fetch and run an attention of another repository."""
    changes = {"attn_implementation": "owner/kernel", "_attn_implementation": "owner/kernel", "return_dict": False}
    encoder = encoder_of(write_folder(tmp_path, golden_x_vectors, "wavlm_base", **changes))
    assert encoder.network.config._attn_implementation in ("sdpa", "eager")
    encoder.embed(golden_x_vectors[0]["x"], 16000)
