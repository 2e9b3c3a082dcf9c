"""WeSpeaker's encoders: features, and an ONNX file of random weights with their inputs and outputs."""

import numpy as np
import pytest
import torch
from builders import input_error
from builders.hub_server import COMMIT, make_cache, use_cache
from torch import nn

from nes2net.models.speakers import create_speaker_encoder

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

GRAPH = """
<ir_version: 9, opset_import: ["" : 18]>
random (float[B,T,80] feats) => (float[B,256] embs) <int64[1] axes = {1}> {
    squares = Mul(feats, feats)
    matrix = Transpose(weight)
    products = MatMul(squares, matrix)
    frames = Add(products, bias)
    embs = ReduceMean<keepdims = 0>(frames, axes)
}
"""


class Pooled(nn.Module):
    """feats 1×T×80 → embs 1×256."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(80, 256)

    def forward(self, feats):
        return self.linear(feats.square()).mean(1)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("wespeaker") / "random.onnx"
    torch.manual_seed(0)
    network = Pooled().eval()
    weight = network.linear.weight.detach().numpy()
    bias = network.linear.bias.detach().numpy()
    model = onnx.parser.parse_model(GRAPH)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(bias, "bias"))
    onnx.save(model, path)
    return path, network


@pytest.fixture(scope="module")
def wespeaker(onnx_file):
    return create_speaker_encoder("resnet34_lm", checkpoint=onnx_file[0])


@pytest.fixture(scope="module")
def noise():
    return (0.1 * np.random.default_rng(0).standard_normal(24000)).astype(np.float32)


def test_the_embedding_is_the_networks_of_the_features(wespeaker, onnx_file, noise):
    with torch.inference_mode():
        expected = onnx_file[1](torch.from_numpy(wespeaker.features(noise)))[0].numpy()
    np.testing.assert_allclose(wespeaker.embed(noise, 16000), expected / np.linalg.norm(expected), rtol=0, atol=1e-6)
    assert wespeaker.identity.dimension == 256


def test_a_file_of_the_hub_is_named_by_its_repository_and_known_by_its_commit(
    onnx_file, wespeaker, tmp_path, monkeypatch
):
    make_cache(tmp_path, "owner/name", onnx_file[0].parent, "model")
    use_cache(monkeypatch, tmp_path, offline=True)
    encoder = create_speaker_encoder("resnet34_lm", checkpoint="hub:owner/name/random.onnx")
    assert encoder.identity == wespeaker.identity.model_copy(update={"revision": COMMIT})


def test_features_equal_kaldis_of_the_transformers_library_minus_their_mean(wespeaker, noise):
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    options = {"center": False, "preemphasis": 0.97, "remove_dc_offset": True, "log_mel": "log", "power": 2.0}
    options["mel_floor"] = torch.finfo(torch.float32).eps
    options["mel_filters"] = mel_filter_bank(
        257, 80, 20, 8000, 16000, mel_scale="kaldi", triangularize_in_mel_space=True
    )
    window = window_function(400, "hamming", periodic=False)
    samples = noise.astype(np.float64) * 2**15
    bands = spectrogram(samples, window, 400, 160, fft_length=512, **options).T
    features = wespeaker.features(noise)
    assert features.shape == (1, 148, 80)
    expected = bands - bands.mean(0)
    np.testing.assert_allclose(features[0], expected, rtol=0, atol=1e-3)


def test_features_do_not_depend_on_level_or_offset(wespeaker, noise):
    expected = wespeaker.features(noise)
    np.testing.assert_allclose(wespeaker.features(0.5 * noise), expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(wespeaker.features(noise + np.float32(0.05)), expected, rtol=0, atol=1e-2)


def changed(path, folder, change):
    """A copy of an ONNX file whose model ``change`` has changed."""
    model = onnx.load(path)
    change(model)
    onnx.save(model, folder / "changed.onnx")
    return folder / "changed.onnx"


def rename_output(model):
    model.graph.output[0].name = "frames"


def use_foreign_operator(model):
    model.graph.node[0].domain = "com.example"


def move_weights(model):
    onnx.external_data_helper.convert_model_to_external_data(model, location="weights", size_threshold=0)


@pytest.mark.parametrize(
    "change, message",
    [
        (rename_output, "computes no .embs. from .feats."),
        (use_foreign_operator, r"is not a speaker encoder \(it holds operators of 'com.example'\): name another file"),
        (move_weights, "has weights in other files: save it in one file"),
    ],
)
def test_other_onnx_files_are_refused(onnx_file, tmp_path, change, message):
    with input_error(message):
        create_speaker_encoder("resnet34_lm", checkpoint=changed(onnx_file[0], tmp_path, change))


def test_a_missing_file_is_refused(tmp_path):
    with input_error("not found"):
        create_speaker_encoder("resnet34_lm", checkpoint=tmp_path / "missing.onnx")
