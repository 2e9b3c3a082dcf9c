"""The ensemble back-end equals the published code with the authors' trained weights."""

import pytest
import torch
from builders import SHARED
from builders import golden_backends as gb

from nes2net import Detector, create_backend
from nes2net.backends.ensemble import Ensemble
from nes2net.errors import InputError
from nes2net.scoring.kernel import score_batch

ZOO = SHARED / "golden" / "zoo"
TRAINED = ("ensemble_fusion_seed1", "ensemble_fusion_seed12", "ensemble_classification_seed1")
trained = pytest.mark.parametrize("name", TRAINED)


def read(name):
    if not ZOO.is_dir():
        pytest.skip(f"no reference folder at {ZOO} (set NES2NET_SHARED)")
    return torch.load(ZOO / f"{name}.pt", weights_only=True)


def published(file):
    options = {key: value for key, value in file["config"].items() if value}  # the classification has num_scores 0
    backend = Ensemble(**options)
    backend.load_state_dict(file["state_dict"])
    return backend.eval()


def cases(file):
    """Hidden states B×L×T×D without state 0, scores B×S, and what the published code gave."""
    inputs = torch.load(ZOO.parent / "inputs.pt", weights_only=True)
    for key, case in file["cases"].items():
        states = case["features_f16"].float() if "features_f16" in case else inputs[key][:, 1:]
        yield case, states, case["scores"]


def as_given(states):
    """The states as the front-end gives them: state 0 is not used."""
    return [torch.full_like(states[:, 0], torch.nan), *states.unbind(1)]


@trained
def test_trained_weights_give_the_published_outputs(name):
    file = read(name)
    for case, states, scores in cases(file):
        backend = published(file)
        with torch.no_grad():
            single = backend(as_given(states), scores)
            double = backend.double()(as_given(states.double()), scores.double())
        torch.testing.assert_close(single.flip(1), case["output"], rtol=0, atol=1e-6)
        torch.testing.assert_close(double.flip(1), case["output_f64"], rtol=0, atol=1e-12)


@trained
def test_summary_and_weights_of_the_systems_are_the_published(name):
    file = read(name)
    for case, states, _ in cases(file):
        backend = published(file)
        with torch.no_grad():
            if backend.kind == "classification":
                torch.testing.assert_close(backend.summary(as_given(states)), case["embedding"], rtol=0, atol=1e-6)
                continue
            for found, key in zip(
                backend.weights(as_given(states)), ("weights_bonafide", "weights_spoof"), strict=True
            ):
                torch.testing.assert_close(found, case[key], rtol=0, atol=1e-6)


@trained
def test_gradients_are_the_published(name):
    file = read(name)
    for case, states, scores in cases(file):
        backend = published(file).double()
        states, scores = states.double().requires_grad_(), scores.double().requires_grad_()
        gb.published_loss(backend(as_given(states), scores).flip(1)).backward()
        tensors = {**dict(backend.named_parameters()), "__input__": states, "__scores__": scores}
        assert case["grad_norms"].keys() == {key for key, tensor in tensors.items() if tensor.grad is not None}
        for key, expected in case["grad_norms"].items():
            assert tensors[key].grad.norm().item() == pytest.approx(expected, rel=1e-6, abs=1e-12), key


@trained
def test_training_mode_is_the_published(name):
    file = read(name)
    for case, states, scores in cases(file):
        backend = published(file).double().train()
        with torch.no_grad():
            logits = backend(as_given(states.double()), scores.double())
        torch.testing.assert_close(logits.flip(1), case["train_mode_output_f64"], rtol=0, atol=1e-12)
        for key, expected in case["bn_after_train"].items():
            assert backend.state_dict()[key].flatten().tolist() == pytest.approx(expected, rel=1e-6), key


def small(**options):
    torch.manual_seed(0)
    return create_backend("ensemble", feature_dim=8, num_layers=3, projection_dim=6, hidden_dim=5, **options).eval()


def states(batch=2, frames=7, layers=4):
    return list(torch.randn(layers, batch, frames, 8, generator=torch.Generator().manual_seed(1)))


SCORES = torch.tensor([[0.5, 0.6, 0.7, 0.55], [0.7, 0.65, 0.6, 0.5]])


def test_a_logit_is_the_weighted_sum_of_scores_and_bona_fide_is_column_1():
    backend = small()
    with torch.no_grad():
        bonafide, spoof = backend.weights(states())
        expected = [(weights * (SCORES - backend.biases)).sum(1) for weights in (spoof, bonafide)]
        logits = backend(states(), SCORES)
    torch.testing.assert_close(logits, torch.stack(expected, 1))
    assert torch.equal(backend.scores(logits), logits[:, 1])


def test_every_parameter_of_a_fusion_gets_a_gradient_and_utterances_do_not_touch_each_other():
    backend = small()
    logits = backend(states(), SCORES)
    alone = torch.cat([backend([s[i : i + 1] for s in states()], SCORES[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-6)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in backend.parameters())


@pytest.mark.parametrize("how", ["weights", "autocast"])
def test_a_fusion_in_half_precision_has_float32_logits_near_those_of_float32(how):
    backend = small()
    with torch.no_grad():
        exact = backend(states(), SCORES)
        dtype = torch.bfloat16 if how == "weights" else torch.float32
        with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
            rounded = backend.to(dtype)([s.to(dtype) for s in states()], SCORES)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.slow
def test_a_fusion_exports_for_any_batch():
    backend, batch = small(), torch.export.Dim.DYNAMIC
    exported = torch.export.export(backend, (states(), SCORES), dynamic_shapes=([{0: batch}] * 4, {0: batch})).module()
    given, scores = states(batch=5), torch.rand(5, 4)
    with torch.no_grad():
        torch.testing.assert_close(exported(given, scores), backend(given, scores), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (None, r"'ensemble' fuses the scores of 4 other systems: give them as the second argument"),
        (SCORES[:, :3], r"must be 2 × 4, got 2 × 3"),
        (SCORES[:1], r"must be 2 × 4, got 1 × 4"),
    ],
)
def test_scores_that_are_missing_or_do_not_fit_are_named(scores, message):
    with pytest.raises(InputError, match=message):
        small()(states(), scores)


def test_a_fusion_has_two_logits_and_a_classification_takes_a_head():
    with pytest.raises(InputError, match="num_logits is 2, not 3"):
        small(num_logits=3)
    with pytest.raises(InputError, match="no last layer"):
        small(head="cosine")
    backend = small(kind="classification", head="cosine")
    assert backend.score_rule == "difference" and backend.num_scores == 0
    with torch.no_grad():
        assert backend(states()).abs().max() <= 1


# The detector


@pytest.fixture
def detector(small_model):
    backend = {"name": "ensemble", "num_layers": 2, "num_scores": 2, "projection_dim": 8, "hidden_dim": 8}
    torch.manual_seed(0)
    return Detector.from_config({**small_model, "backend": backend}).eval()


def test_a_detector_takes_scores_beside_the_waveform(detector):
    waveform, scores = 0.1 * torch.randn(2, 8000), torch.tensor([[0.5, 0.7], [0.6, 0.6]])
    with torch.no_grad():
        logits = detector(waveform, scores)
        assert not torch.equal(logits, detector(waveform, scores + 0.1))
        assert torch.equal(detector.scores(waveform, scores), logits[:, 1])
        with pytest.raises(InputError, match="fuses the scores of 2 other systems"):
            detector(waveform)


def test_other_detectors_take_none(small_model):
    detector = Detector.from_config(small_model)
    with pytest.raises(InputError, match="takes no scores of other systems"):
        detector(torch.zeros(1, 8000), torch.zeros(1, 2))


def test_audio_alone_is_refused(detector, tmp_path):
    from nes2net.export.formats import export

    waveform = torch.zeros(16_000)
    for call in (
        lambda: detector.score(waveform),
        lambda: list(detector.score_files(["a.wav"])),
        lambda: detector.score_track(waveform),
        lambda: export(detector, "space", tmp_path / "space"),
    ):
        with pytest.raises(InputError, match=r"fuses the scores of 2 other systems, so it cannot score audio alone"):
            call()
    (reason,) = score_batch(detector, torch.zeros(1, 8000))
    assert "give them as the second argument" in reason
