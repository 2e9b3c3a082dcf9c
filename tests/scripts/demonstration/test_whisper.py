"""Whisper models of CTranslate2 become folders of the front-end `whisper`; damaged files are refused."""

import struct

import numpy as np
import pytest
import torch
from builders import input_error
from demonstration import whisper

from nes2net import create_frontend

SIZES = {"encoder_layers": 2, "encoder_embed_dim": 8, "encoder_ffn_embed_dim": 16, "encoder_attention_heads": 2}
TYPES = {"float32": 0, "int8": 1, "int16": 2, "float16": 4}


def text(name):
    return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"


def variable(name, array):
    array = np.asarray(array)
    shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
    return text(name) + shape + struct.pack("<BI", TYPES[array.dtype.name], array.nbytes) + array.tobytes()


def model_bin(variables):
    """The bytes of a model as CTranslate2's converters write it, with one alias."""
    content = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(variables))
    content += b"".join(variable(name, array) for name, array in variables.items())
    return content + struct.pack("<I", 1) + text("decoder/projection/weight") + text("decoder/embeddings/weight")


def variables_of(frontend, dtype="float32"):
    """The variables of the encoder of `frontend` under CTranslate2's names, and one of a decoder."""
    tensors = {name: tensor.numpy().astype(dtype) for name, tensor in frontend.model.state_dict().items()}
    variables = {
        "decoder/embeddings/weight": np.zeros((5, 8), dtype),
        "encoder/num_heads": np.int16(2),
        "encoder/position_encodings/encodings": tensors["embed_positions.weight"],
    }
    plain = {"conv1": "conv1", "conv2": "conv2"}
    norms = {"layer_norm": "layer_norm"}
    for n in range(2):
        attention = f"encoder/layer_{n}/self_attention"
        tensor = f"layers.{n}.self_attn"
        no_bias = np.zeros(8, dtype)
        weights = [tensors[f"{tensor}.{kind}_proj.weight"] for kind in "qkv"]
        biases = [tensors[f"{tensor}.q_proj.bias"], no_bias, tensors[f"{tensor}.v_proj.bias"]]
        variables[f"{attention}/linear_0/weight"] = np.concatenate(weights)
        variables[f"{attention}/linear_0/bias"] = np.concatenate(biases)
        plain[f"layer_{n}/self_attention/linear_1"] = f"{tensor}.out_proj"
        plain[f"layer_{n}/ffn/linear_0"] = f"layers.{n}.fc1"
        plain[f"layer_{n}/ffn/linear_1"] = f"layers.{n}.fc2"
        norms[f"layer_{n}/self_attention/layer_norm"] = f"{tensor}_layer_norm"
        norms[f"layer_{n}/ffn/layer_norm"] = f"layers.{n}.final_layer_norm"
    for variable, tensor in plain.items():
        variables[f"encoder/{variable}/weight"] = tensors[f"{tensor}.weight"]
        variables[f"encoder/{variable}/bias"] = tensors[f"{tensor}.bias"]
    for variable, tensor in norms.items():
        variables[f"encoder/{variable}/gamma"] = tensors[f"{tensor}.weight"]
        variables[f"encoder/{variable}/beta"] = tensors[f"{tensor}.bias"]
    return variables


@pytest.fixture(scope="module")
def frontend():
    torch.manual_seed(0)
    frontend = create_frontend("whisper", **SIZES, num_mel_bins=12, chunk_length=2).eval()
    for parameter in frontend.parameters():
        torch.nn.init.normal_(parameter.data, 0.0, 0.3)
    return frontend


@pytest.fixture
def convert(tmp_path):
    """A function that converts the bytes of a model, and returns the front-end of the folder."""

    def run(content, seconds=2):
        (tmp_path / "model.bin").write_bytes(content)
        whisper.convert(tmp_path / "model.bin", tmp_path / "folder", seconds=seconds)
        return create_frontend("whisper", tmp_path / "folder").eval()

    return run


def test_a_converted_whisper_encoder_has_the_hidden_states_of_the_original(frontend, convert):
    converted = convert(model_bin(variables_of(frontend)))
    waveform = 0.1 * torch.randn(1, 20_000)
    for state, expected in zip(converted(waveform, layers="all"), frontend(waveform, layers="all"), strict=True):
        torch.testing.assert_close(state, expected)


def test_the_positional_embeddings_of_a_converted_float16_encoder_are_cut_to_the_seconds_asked_for(frontend, convert):
    converted = convert(model_bin(variables_of(frontend, "float16")), seconds=1)
    assert converted.most_samples == 16_000
    assert converted.model.embed_positions.weight.shape == (50, 8)
    # the first layer reads the same of the positions that are left
    waveform = 0.1 * torch.randn(1, 8_000)
    first, expected = (f(waveform, layers="all")[0] for f in (converted, frontend))
    torch.testing.assert_close(first, expected, atol=5e-3, rtol=5e-3)  # of float16


def test_the_layers_of_a_converted_whisper_encoder_are_cut_to_the_number_asked_for(frontend, tmp_path):
    (tmp_path / "model.bin").write_bytes(model_bin(variables_of(frontend)))
    words = [str(tmp_path / "model.bin"), str(tmp_path / "folder"), "--seconds", "2", "--layers", "1"]
    assert whisper.main(words) == 0
    converted = create_frontend("whisper", tmp_path / "folder").eval()
    waveform = 0.1 * torch.randn(1, 8_000)
    first_output = frontend(waveform, layers="all")[1]
    torch.testing.assert_close(converted(waveform)[0], frontend.model.layer_norm(first_output))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"encoder/conv1/weight_scale": np.float32(1)}, "quantised weights"),
        ({"encoder/conv1/weight": np.zeros((8, 12, 3), "int8")}, "conv1.weight.* is not float32 or float16"),
        ({"encoder/layer_1/self_attention/linear_0/bias": np.ones(24, "float32")}, "bias of the keys"),
    ],
)
def test_a_whisper_encoder_that_the_front_end_cannot_compute_is_refused(frontend, convert, changes, message):
    with input_error(message):
        convert(model_bin(variables_of(frontend) | changes))


def test_a_whisper_model_that_is_cut_off_is_refused_as_damaged(frontend, convert):
    content = model_bin(variables_of(frontend))
    aliases = len(text("decoder/projection/weight") + text("decoder/embeddings/weight")) + 4
    for length in (*range(0, 400), *range(400, len(content) - aliases, 997)):
        with input_error("is damaged: "):
            convert(content[:length])
