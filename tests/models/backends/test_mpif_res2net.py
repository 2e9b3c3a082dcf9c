"""MPIF-Res2Net: equal to a plain transcription of its parts, and its options."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nes2net import create_backend

SMALL = {"planes": (8, 16), "blocks": (2, 2), "strides": (1, 2), "scale": 4, "num_frames": None}


def small(**options):
    torch.manual_seed(0)
    return create_backend("mpif_res2net", **{"feature_dim": 20, **SMALL, **options})


def settled(backend):
    """A model in eval mode whose running statistics are not the initial ones."""
    generator = torch.Generator().manual_seed(1)
    for module in backend.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(1 + 0.2 * torch.rand(module.num_features, generator=generator))
    return backend.eval()


def transcribed(backend, features, scale=4):
    """The forward pass written out from the docstring's assumptions, with the weights by name."""
    state = backend.state_dict()

    def conv(x, name, stride=1):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, weight.shape[-1] // 2)

    def bn(x, name):
        mean = state[f"{name}.running_mean"]
        var = state[f"{name}.running_var"]
        shape = (1, -1, 1, 1)
        normal = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
        return normal * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)

    def fused(split, previous, name):
        gates = []
        for perspective, axes in (("channel", (2, 3)), ("time", (3,)), ("frequency", (2,))):
            if f"{name}.gates.{perspective}.0.weight" in state:
                pooled = (split + previous).mean(axes, keepdim=True)
                hidden = F.silu(conv(pooled, f"{name}.gates.{perspective}.0"))
                gates.append(torch.sigmoid(conv(hidden, f"{name}.gates.{perspective}.2")))
        if not gates:
            return split + previous
        gate = sum(gates) / len(gates)
        return gate * split + (1 - gate) * previous

    x = features.unsqueeze(1)
    for layer in range(3):
        x = torch.relu(bn(conv(x, f"stem.{3 * layer}"), f"stem.{3 * layer + 1}"))
    for number, stride in enumerate((1, None, 2, None)):
        name = f"blocks.{number}"
        splits = torch.relu(bn(conv(x, f"{name}.conv1"), f"{name}.bn1")).chunk(scale, 1)
        groups = []
        previous = None
        for i, split in enumerate(splits[:-1]):
            joined = split if previous is None or stride else fused(split, previous, f"{name}.joins.{i - 1}")
            previous = torch.relu(bn(conv(joined, f"{name}.convs.{i}", stride or 1), f"{name}.bns.{i}"))
            groups.append(previous)
        groups.append(F.avg_pool2d(splits[-1], 3, stride, 1) if stride else splits[-1])
        y = bn(conv(torch.cat(groups, 1), f"{name}.conv3"), f"{name}.bn3")
        if f"{name}.attention.conv.weight" in state:
            neighbours = F.pad(y.mean((2, 3)), (1, 1)).unfold(1, 3, 1)  # B×C×3
            y = y * torch.sigmoid((neighbours * state[f"{name}.attention.conv.weight"][0, 0]).sum(2))[:, :, None, None]
        if stride:
            x = x if stride == 1 else F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
            x = bn(conv(x, f"{name}.shortcut.1"), f"{name}.shortcut.2")
        x = torch.relu(x + y)
    return x.mean((2, 3))


@pytest.mark.parametrize(
    "options, frames",
    [({}, 30), ({}, 31), ({"fusion": False, "attention_kernel": 0}, 30), ({"perspectives": ("time",)}, 31)],
)
def test_embeddings_and_logits_of_mpif_res2net_equal_a_plain_transcription(options, frames):
    backend = settled(small(**options)).double()
    features = torch.randn(2, frames, 20, dtype=torch.float64)
    with torch.no_grad():
        embeddings = backend.embed(features)
        assert_close(embeddings, transcribed(backend, features), rtol=1e-10, atol=1e-12)
        cosines = F.cosine_similarity(embeddings.unsqueeze(1), backend.head.weight, dim=2)
        score = embeddings.norm(dim=1) * (cosines[:, 1] - cosines[:, 0])
        logits = backend(features)
    assert_close(logits[:, 1], score)
    assert (logits[:, 0] == 0).all()


def test_default_options_of_mpif_res2net_give_the_published_size():
    """Groups of 6, 13, 26 and 52 channels, seven convolutions a block, embeddings of 256, a stem of 16 channels."""
    backend = create_backend("mpif_res2net")
    assert [block.convs[0].in_channels for block in backend.blocks] == [6, 6, 13, 13, 26, 26, 52, 52]
    assert [len(block.convs) for block in backend.blocks] == [7] * 8
    assert backend.head.weight.shape == (2, 256)
    assert [m.out_channels for m in convolutions_of_the_stem(backend)] == [16, 16, 16]


def convolutions_of_the_stem(backend):
    return [module for module in backend.stem if isinstance(module, torch.nn.Conv2d)]


def test_convolutions_of_the_stem_of_mpif_res2net_start_with_the_variance_of_kaiming():
    stem = convolutions_of_the_stem(create_backend("mpif_res2net"))
    std = torch.cat([m.weight.flatten() * (m.out_channels * 9 / 2) ** 0.5 for m in stem]).std()
    assert std.item() == pytest.approx(1, abs=0.05)  # Kaiming, fan out


@torch.no_grad()
def test_mpif_res2net_repeats_shorter_features_up_to_num_frames_and_cuts_longer_ones():
    short = torch.randn(2, 25, 20)
    repeated = torch.cat([short, short[:, :15]], 1)
    long = torch.randn(2, 61, 20)
    for features, expected in ((short, repeated), (long, long[:, :40])):
        assert_close(settled(small(num_frames=40))(features), settled(small())(expected))
