"""SpeechBrain's ECAPA-TDNN: a file of random weights with its names, against the formulas written one by one."""

import numpy as np
import pytest
import torch
from builders import input_error
from builders.hub_server import COMMIT, make_cache, use_cache
from torch.nn import functional as F

from nes2net.models.speakers import create_speaker_encoder


class Published(dict):
    """Random tensors in SpeechBrain's names."""

    def __init__(self):
        self.rng = torch.Generator().manual_seed(0)
        self.layer("blocks.0", 80, 1024, 5)
        for block in ("blocks.1", "blocks.2", "blocks.3"):
            self.layer(f"{block}.tdnn1", 1024, 1024)
            for group in range(7):
                self.layer(f"{block}.res2net_block.blocks.{group}", 128, 128, 3)
            self.layer(f"{block}.tdnn2", 1024, 1024)
            self.convolution(f"{block}.se_block.conv1.conv", 1024, 128)
            self.convolution(f"{block}.se_block.conv2.conv", 128, 1024)
        self.layer("mfa", 3072, 3072)
        self.layer("asp.tdnn", 9216, 128)
        self.convolution("asp.conv.conv", 128, 3072)
        self.norm("asp_bn.norm", 6144)
        self.convolution("fc.conv", 6144, 192)

    def normal(self, *shape):
        return torch.randn(shape, generator=self.rng)

    def convolution(self, name, inputs, outputs, kernel=1):
        weight = self.normal(outputs, inputs, kernel)
        self[f"{name}.weight"] = weight / np.sqrt(inputs * kernel)
        self[f"{name}.bias"] = self.normal(outputs)

    def norm(self, name, size):
        self[f"{name}.weight"] = self.normal(size)
        self[f"{name}.bias"] = self.normal(size)
        self[f"{name}.running_mean"] = self.normal(size)
        self[f"{name}.running_var"] = 0.5 + self.normal(size) ** 2
        self[f"{name}.num_batches_tracked"] = torch.tensor(1)

    def layer(self, name, inputs, outputs, kernel=1):
        self.convolution(f"{name}.conv.conv", inputs, outputs, kernel)
        self.norm(f"{name}.norm.norm", outputs)


@pytest.fixture(scope="module")
def tensors():
    return dict(Published())


@pytest.fixture(scope="module")
def checkpoint(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("speechbrain") / "embedding_model.ckpt"
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def ecapa(checkpoint):
    return create_speaker_encoder("ecapa", checkpoint=checkpoint)


@pytest.fixture(scope="module")
def noise():
    samples = np.random.default_rng(0).standard_normal(8000)
    rising = samples * np.linspace(0.0001, 0.1, 8000)
    return rising.astype(np.float32)


def expected_features(waveform):
    """1×80×T: NumPy, frame by frame."""
    padded = np.pad(waveform.astype(np.float64), 200)
    phase = 2 * np.pi * np.arange(400) / 400
    window = 0.54 - 0.46 * np.cos(phase)
    starts = range(0, len(waveform) + 1, 160)
    frames = np.stack([padded[start : start + 400] for start in starts])
    spectrum = np.fft.rfft(frames * window)
    powers = np.abs(spectrum) ** 2  # T×201
    top = 2595 * np.log10(1 + 8000 / 700)
    mels = np.linspace(0, top, 82)
    edges = 700 * (10 ** (mels / 2595) - 1)
    width = np.diff(edges)[:-1]
    frequencies = np.linspace(0, 8000, 201)[:, None]
    distances = np.abs(frequencies - edges[1:-1])
    filters = np.maximum(1 - distances / width, 0)
    bands = np.maximum(powers @ filters, 1e-10)
    decibels = 10 * np.log10(bands)
    decibels = np.maximum(decibels, decibels.max() - 80)
    decibels -= decibels.mean(0)
    return torch.from_numpy(decibels.T[None]).float()


def convolved(tensors, name, x, dilation=1):
    weight = tensors[f"{name}.weight"]
    bias = tensors[f"{name}.bias"]
    reach = weight.shape[2] // 2
    padding = dilation * reach
    padded = F.pad(x, (padding, padding), "reflect")
    return F.conv1d(padded, weight, bias, dilation=dilation)


def normalised(tensors, name, x):
    mean = tensors[f"{name}.running_mean"]
    variance = tensors[f"{name}.running_var"]
    weight = tensors[f"{name}.weight"]
    bias = tensors[f"{name}.bias"]
    scale = weight / (variance + 1e-5).sqrt()
    offset = bias - mean * scale
    return x * scale[:, None] + offset[:, None]


def frame_layer(tensors, name, x, dilation=1):
    positive = convolved(tensors, f"{name}.conv.conv", x, dilation).relu()
    return normalised(tensors, f"{name}.norm.norm", positive)


def block(tensors, name, x, dilation):
    first = frame_layer(tensors, f"{name}.tdnn1", x)
    groups = list(first.split(128, dim=1))
    previous = torch.zeros(1)
    for number in range(7):
        layer = f"{name}.res2net_block.blocks.{number}"
        total = groups[number + 1] + previous
        previous = frame_layer(tensors, layer, total, dilation)
        groups[number + 1] = previous
    joined = torch.cat(groups, 1)
    y = frame_layer(tensors, f"{name}.tdnn2", joined)
    means = y.mean(2, keepdim=True)
    hidden = convolved(tensors, f"{name}.se_block.conv1.conv", means).relu()
    gates = convolved(tensors, f"{name}.se_block.conv2.conv", hidden).sigmoid()
    return x + y * gates


def mean_and_deviation(x, weights):
    mean = (x * weights).sum(2)
    squares = (x - mean[..., None]) ** 2
    variance = (weights * squares).sum(2)
    return mean, variance.clamp(1e-12).sqrt()


def expected_embedding(waveform, tensors):
    x = frame_layer(tensors, "blocks.0", expected_features(waveform))
    first = block(tensors, "blocks.1", x, 2)
    second = block(tensors, "blocks.2", first, 3)
    third = block(tensors, "blocks.3", second, 4)
    joined = torch.cat([first, second, third], 1)
    x = frame_layer(tensors, "mfa", joined)
    mean, deviation = mean_and_deviation(x, 1 / x.shape[2])
    mean_of_frames = mean[..., None].expand_as(x)
    deviation_of_frames = deviation[..., None].expand_as(x)
    context = torch.cat([x, mean_of_frames, deviation_of_frames], 1)
    attention = frame_layer(tensors, "asp.tdnn", context).tanh()
    weights = convolved(tensors, "asp.conv.conv", attention).softmax(2)
    pooled = torch.cat(mean_and_deviation(x, weights), 1)
    unit = normalised(tensors, "asp_bn.norm", pooled[..., None])
    vector = convolved(tensors, "fc.conv", unit)
    return F.normalize(vector.flatten(), dim=0).numpy()


def test_the_published_file_has_231_tensors(tensors):
    assert len(tensors) == 231


def test_the_embedding_is_that_of_the_formulas(ecapa, noise, tensors):
    embedding = ecapa.embed(noise, 16000)
    expected = expected_embedding(noise, tensors)
    assert embedding.shape == (192,)
    np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-5)


def test_silence_has_no_embedding(ecapa):
    with input_error("no speech found"):
        ecapa.embed(np.zeros(8000, np.float32), 16000)


@pytest.fixture
def refused(tensors, tmp_path):
    """A function that expects an error about a copy of the tensors, which it gets to change."""

    def expect(message, change):
        changed = dict(tensors)
        change(changed)
        path = tmp_path / "changed.ckpt"
        torch.save(changed, path)
        with input_error(message):
            create_speaker_encoder("ecapa", checkpoint=path)

    return expect


def test_a_missing_tensor_is_refused(refused):
    refused(r"missing: fc\.bias", lambda tensors: tensors.pop("fc.conv.bias"))


def test_a_further_tensor_is_refused(refused):
    def change(tensors):
        tensors["mean"] = torch.zeros(1)

    refused("left over: mean", change)


def test_a_tensor_of_another_shape_is_refused(refused):
    def change(tensors):
        tensors["fc.conv.bias"] = torch.zeros(256)

    refused(r"fc\.bias", change)


def test_the_file_of_the_hub_is_the_default(ecapa, checkpoint, tmp_path, monkeypatch):
    make_cache(tmp_path, "speechbrain/spkrec-ecapa-voxceleb", checkpoint.parent, "model")
    use_cache(monkeypatch, tmp_path, offline=True)
    assert create_speaker_encoder("ecapa").identity == ecapa.identity.model_copy(update={"revision": COMMIT})
