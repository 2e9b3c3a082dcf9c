"""The multi-resolution gMLP: equal to the published code, and its limits."""

import pytest
import torch
from builders import assert_near, input_error, zoo
from builders import golden_backends as gb

from nes2net import create_backend
from nes2net.lib.computing.without_memory import without_memory
from nes2net.training.losses import P2SGrad

SMALL = {"feature_dim": 128, "num_layers": 2, "gmlp_layers": 1, "max_frames": 64}
#: Published name of a scale → ms.
MS_OF = {str(factor): 10.0 * factor for factor in (2, 4, 8, 16, 32, 64)}


@pytest.mark.parametrize("case", ["2x96", "1x41"])
def test_the_multi_resolution_gmlp_equals_the_published_code(case):
    """In cosines and losses of each scale and of the utterance, and gradients of their sum."""
    file = zoo.read("multires_gmlp_f128_l2")
    config = file["config"]
    case = file["cases"][case]
    backend = create_backend(
        "multires_gmlp",
        feature_dim=config["feature_dim"],
        num_layers=config["num_hidden_states"],
        gmlp_layers=config["num_layers"],
        max_frames=config["max_frames"],
        resolutions=config["resolutions_ms"],
    ).eval()
    backend.load_state_dict(file["state_dict"])
    for dtype, suffix, atol in ((torch.float32, "", 2e-6), (torch.float64, "_f64", 1e-10)):
        x = case["hidden_states"].clone().to(dtype).requires_grad_()
        segments, embedding = backend.to(dtype).segments_and_embedding(x.unbind(1))
        cosines = backend.last_layer(embedding)
        assert_near(cosines.detach(), case[f"utterance_cosines{suffix}"], atol)
        assert torch.equal(cosines, backend(x.unbind(1)))
        assert list(segments) == list(MS_OF.values())
        for factor, expected in case[f"segment_cosines{suffix}"].items():
            assert segments[MS_OF[factor]].shape[1] == case["frames"][factor]
            assert_near(segments[MS_OF[factor]].detach(), expected, atol)
    criterion = P2SGrad(backend.last_layer.in_features, head=backend.last_layer)
    losses = {"utt": criterion(embedding, case["utterance_labels"])}
    for factor, labels in case["labels"].items():
        losses[factor] = (segments[MS_OF[factor]] - torch.nn.functional.one_hot(labels, 2)).square().mean()
    for key, expected in case["losses_f64"].items():
        assert losses[key].item() == pytest.approx(expected, abs=1e-12), key
    sum(losses.values()).backward()
    norms = gb.gradient_norms({**dict(backend.named_parameters()), "__input__": x})
    gb.check_norms(norms, case["grad_norms"], zoo.GRADIENTS)


def test_segments_of_640_ms_of_the_gmlp_begin_one_frame_of_320_ms_early():
    """Published: frame j of 640 ms is made of frames 2j − 1 and 2j of 320 ms, 32j − 16 to 32j + 15 of 20 ms.

    A frame is a maximum of two, so that it takes several utterances to reach the first and the last one.
    """
    scales = create_backend("multires_gmlp", **SMALL).double().eval()._scales
    features = torch.randn(20, 63, 128, dtype=torch.float64, requires_grad=True)
    last = scales.scale_inputs(features)[-1]
    last[:, 1].sum().backward()
    frames_with_gradient = features.grad.abs().sum(2).nonzero()[:, 1]
    assert frames_with_gradient.min() == 16
    assert frames_with_gradient.max() == 47


@pytest.mark.parametrize(
    "frames, message", [(15, "15 frames are too few, .* at least 16"), (64, r"64 .* at most 63 \(1\.26 s")]
)
def test_the_multi_resolution_gmlp_refuses_too_few_and_too_many_frames(frames, message):
    backend = create_backend("multires_gmlp", **SMALL)
    for call in (backend, backend.segments):
        with input_error(message):
            call([torch.randn(1, frames, 128)] * 2)


def test_the_multi_resolution_gmlp_of_the_published_size_reads_at_most_1983_frames():
    """39 s of sound."""
    with without_memory():
        published = create_backend("multires_gmlp")
    assert published.max_frames == 1983


def test_the_gmlps_scores_of_a_scale_do_not_depend_on_which_other_scales_are_scored():
    """By default, all published ones are scored; eight frames of 10 ms are called 80 ms."""
    every = create_backend("multires_gmlp", **SMALL).eval()
    alone = create_backend("multires_gmlp", **SMALL, resolutions=[160]).eval()
    alone.load_state_dict(every.state_dict())
    states = [torch.randn(2, 20, 128) for _ in range(2)]
    assert every.resolutions == (1, 2, 4, 8, 16, 32)
    with torch.no_grad():
        assert torch.equal(alone.segments(states)[160.0], every.segments(states)[160.0])
        assert list(alone.segments(states, frame_ms=10.0)) == [80.0]
