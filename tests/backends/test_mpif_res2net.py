"""MPIF-Res2Net: equal to a plain transcription of its parts, and its options."""

import math

import pytest
import torch
import torch.nn.functional as F

from nes2net import Detector, InputError, create_backend
from nes2net.backends.heads import AngularHead
from nes2net.backends.mpif_res2net import LocalChannelAttention, MpifRes2Net, PerspectiveFusion

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
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        shape = (1, -1, 1, 1)
        normal = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
        return normal * state[f"{name}.weight"].view(shape) + state[f"{name}.bias"].view(shape)

    def fused(own, previous, name):
        gates = []
        for perspective, axes in (("channel", (2, 3)), ("time", (3,)), ("frequency", (2,))):
            if f"{name}.gates.{perspective}.0.weight" in state:
                pooled = (own + previous).mean(axes, keepdim=True)
                hidden = F.silu(conv(pooled, f"{name}.gates.{perspective}.0"))
                gates.append(torch.sigmoid(conv(hidden, f"{name}.gates.{perspective}.2")))
        if not gates:
            return own + previous
        gate = sum(gates) / len(gates)
        return gate * own + (1 - gate) * previous

    x = features.unsqueeze(1)
    for layer in range(3):
        x = torch.relu(bn(conv(x, f"stem.{3 * layer}"), f"stem.{3 * layer + 1}"))
    for number, stride in enumerate((1, None, 2, None)):
        name = f"blocks.{number}"
        splits = torch.relu(bn(conv(x, f"{name}.conv1"), f"{name}.bn1")).chunk(scale, 1)
        groups, previous = [], None
        for i, own in enumerate(splits[:-1]):
            joined = own if previous is None or stride else fused(own, previous, f"{name}.joins.{i - 1}")
            previous = torch.relu(bn(conv(joined, f"{name}.convs.{i}", stride or 1), f"{name}.bns.{i}"))
            groups.append(previous)
        groups.append(F.avg_pool2d(splits[-1], 3, stride, 1) if stride else splits[-1])
        y = bn(conv(torch.cat(groups, 1), f"{name}.conv3"), f"{name}.bn3")
        neighbours = F.pad(y.mean((2, 3)), (1, 1)).unfold(1, 3, 1)  # B×C×3
        y = y * torch.sigmoid((neighbours * state[f"{name}.attention.conv.weight"][0, 0]).sum(2))[:, :, None, None]
        if stride:
            x = x if stride == 1 else F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
            x = bn(conv(x, f"{name}.shortcut.1"), f"{name}.shortcut.2")
        x = torch.relu(x + y)
    return x.mean((2, 3))


@pytest.mark.parametrize(
    ("options", "frames"), [({}, 30), ({}, 31), ({"fusion": False}, 30), ({"perspectives": ("time",)}, 31)]
)
def test_forward_is_what_the_docstring_says(options, frames):
    backend = settled(small(**options)).double()
    features = torch.randn(2, frames, 20, dtype=torch.float64)
    with torch.no_grad():
        embeddings = backend.embed(features)
        torch.testing.assert_close(embeddings, transcribed(backend, features), rtol=1e-10, atol=1e-12)
        cosines = F.cosine_similarity(embeddings.unsqueeze(1), backend.head.weight, dim=2)
        score = embeddings.norm(dim=1) * (cosines[:, 1] - cosines[:, 0])
        logits = backend(features)
    torch.testing.assert_close(logits[:, 1], score)
    assert (logits[:, 0] == 0).all()


def test_published_size():
    """45 bins, 600 frames: groups of 6, 13, 26, 52 channels and embeddings of 256."""
    backend = create_backend("mpif_res2net")
    assert [block.convs[0].in_channels for block in backend.blocks] == [6, 6, 13, 13, 26, 26, 52, 52]
    assert [len(block.convs) for block in backend.blocks] == [7] * 8
    assert backend.head.weight.shape == (2, 256)
    assert [block.joins is not None for block in backend.blocks] == [False, True] * 4
    stem = [m for m in backend.stem if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in stem] == [16, 16, 16]
    std = torch.cat([m.weight.flatten() * (m.out_channels * 9 / 2) ** 0.5 for m in stem]).std()
    assert std.item() == pytest.approx(1, abs=0.05)  # Kaiming, fan out


def test_repeats_or_cuts_to_so_many_frames():
    fixed, free = settled(small(num_frames=40)), settled(small())
    features = torch.randn(2, 25, 20)
    with torch.no_grad():
        torch.testing.assert_close(fixed(features), free(torch.cat([features, features[:, :15]], 1)))
        longer = torch.randn(2, 61, 20)
        torch.testing.assert_close(fixed(longer), free(longer[:, :40]))


def test_the_gate_chooses_between_own_and_previous():
    fusion = PerspectiveFusion(5, ("channel", "time", "frequency"), 4)
    own, previous = torch.randn(2, 5, 7, 9), torch.randn(2, 5, 7, 9)
    for bias, expected in ((100.0, own), (-100.0, previous)):
        for gate in fusion.gates.values():
            torch.nn.init.constant_(gate[2].bias, bias)
        torch.testing.assert_close(fusion(own, previous), expected)


@pytest.mark.parametrize("perspective, same", [("channel", (2, 3)), ("time", (3,)), ("frequency", (2,))])
def test_a_perspective_is_blind_to_what_it_pools(perspective, same):
    """With own − previous = 1 the output shows the gate: constant along the pooled axes only."""
    fusion = PerspectiveFusion(5, (perspective,), 4)
    previous = torch.randn(2, 5, 7, 9)
    with torch.no_grad():
        gate = fusion(previous + 1, previous) - previous
    for axis in (2, 3):
        assert bool(gate.std(axis).max() < 1e-5) == (axis in same)


def test_attention_sees_neighbouring_channels_only():
    attention = LocalChannelAttention(3)
    x = torch.randn(1, 8, 4, 4)
    changed = x.clone()
    changed[:, 2] += 1
    with torch.no_grad():
        differs = (attention(x) != attention(changed)).any(-1).any(-1)[0]
    assert differs.tolist() == [False, True, True, True, False, False, False, False]


def test_heads():
    linear = small(head="linear", num_logits=3)
    assert isinstance(linear.head, torch.nn.Linear) and linear(torch.randn(2, 9, 20)).shape == (2, 3)
    head = AngularHead(16, 2)
    embeddings = torch.randn(4, 16)
    with torch.no_grad():
        before = head(embeddings)
        head.weight *= 7  # only directions count
        torch.testing.assert_close(head(embeddings), before)
        torch.testing.assert_close(head(3 * embeddings), 3 * before)


def test_options_switch_parts_off():
    with_all, plain = small(), small(fusion=False, attention_kernel=0)
    names = set(dict(with_all.named_parameters())) - set(dict(plain.named_parameters()))
    assert names and all(".joins." in name or ".attention." in name for name in names)
    assert set(dict(plain.named_parameters())) <= set(dict(with_all.named_parameters()))


def test_whole_detector_of_the_recipe():
    """The first 80,000 samples, the F0 sub-band, 600 frames: later samples change nothing."""
    frontend = {"name": "lps", "num_bins": 45, "num_samples": 80000}
    detector = Detector.from_config({"frontend": frontend, "backend": "mpif_res2net"}).eval()
    time = torch.arange(90000) / 16000
    waveform = 0.1 * torch.sin(2 * math.pi * 150 * time)
    cut = detector.score(waveform.numpy()[:80000], 16000)
    assert detector.score(waveform.numpy(), 16000) == cut
    waveform[79000:] = 0.5  # beyond frame 600, which ends at sample 599·130 + 1,728
    assert 599 * 130 + 1728 > 79000
    assert detector.score(waveform.numpy(), 16000) != cut
    assert detector.min_samples == 1728


def test_lfcc_fit_too():
    detector = Detector.from_config({"frontend": "lfcc", "backend": {"name": "mpif_res2net", **SMALL}})
    assert detector(torch.randn(2, 8000)).shape == (2, 2)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"planes": (16, 32)}, "lists of one length"),
        ({"strides": (1, 2, 2, 0)}, "strides is a list of 1 to 8 whole numbers from 1 to 8, not"),
        ({"scale": 1}, "scale is a whole number from 2 to 64, not 1"),
        ({"num_frames": 0}, "num_frames is a whole number from 1 to 10000, or null, not 0"),
        ({"perspectives": ("phase",)}, "one or more of channel, time, frequency, not"),
        ({"perspectives": ()}, "one or more of channel"),
        ({"attention_kernel": 2}, "attention_kernel is an odd number up to 255, or 0 for none, not 2"),
        ({"head": "cosines"}, "head is one of linear, angular, .*, not 'cosines'"),
        ({"feature_dim": 8193, "stem_channels": 1024}, "1024 channels are too many for 600 frames of 8193"),
        ({"plane": (1,)}, "no option 'plane'; did you mean 'planes'"),
    ],
)
def test_wrong_options(wrong, message):
    with pytest.raises(InputError, match=message):
        create_backend("mpif_res2net", **wrong)


def test_an_angular_head_compares_two_classes():
    with pytest.raises(InputError, match="num_logits is at least 2, not 1"):
        MpifRes2Net(num_logits=1)
    assert MpifRes2Net(num_logits=1, head="linear")(torch.randn(2, 600, 45)).shape == (2, 1)
