"""The ensemble back-end equals the published code with the authors' trained weights."""

import pytest
import torch
from builders import assert_near, input_error, shared_path, zoo
from builders import golden_backends as gb

from nes2net import create_backend
from nes2net.models.backends.ensemble import Ensemble


def trained(name):
    """For each case of a published file: an ensemble with the authors' weights, their numbers, and the states."""
    file = zoo.read(name)
    inputs = torch.load(shared_path("golden", "inputs.pt"), weights_only=True)  # B×L×T×D
    for key, case in file["cases"].items():
        options = {key: value for key, value in file["config"].items() if value}  # the classification has num_scores 0
        backend = Ensemble(**options).eval()
        backend.load_state_dict(file["state_dict"])
        states = case["features_f16"].float() if "features_f16" in case else inputs[key][:, 1:]
        yield backend, case, states


@pytest.mark.parametrize("name", ["ensemble_fusion_seed1", "ensemble_fusion_seed12", "ensemble_classification_seed1"])
def test_trained_weights_of_an_ensemble_give_the_published_outputs(name):
    """In single and double precision, eval and train mode, with gradients and running statistics."""
    for backend, case, states in trained(name):
        with torch.no_grad():
            assert_near(backend(as_given(states), case["scores"]).flip(1), case["output"], 1e-6)
        backend.double()
        states = states.double().requires_grad_()
        scores = case["scores"].double().requires_grad_()
        logits = backend(as_given(states), scores).flip(1)
        assert_near(logits.detach(), case["output_f64"], 1e-12)
        gb.published_loss(logits).backward()
        norms = gb.gradient_norms({**dict(backend.named_parameters()), "__input__": states, "__scores__": scores})
        norms = {key: norm for key, norm in norms.items() if norm is not None}
        gb.check_norms(norms, case["grad_norms"], rel=1e-6, atol=1e-12)
        logits = backend.train()(as_given(states), scores).flip(1)
        assert_near(logits.detach(), case["train_mode_output_f64"], 1e-12)
        for key, expected in case["bn_after_train"].items():
            assert backend.state_dict()[key].flatten().tolist() == pytest.approx(expected, rel=1e-6), key


def as_given(states):
    """The states as the front-end gives them: state 0 is not used."""
    return [torch.full_like(states[:, 0], torch.nan), *states.unbind(1)]


def small(**options):
    torch.manual_seed(0)
    return create_backend("ensemble", feature_dim=8, num_layers=3, projection_dim=6, hidden_dim=5, **options).eval()


def states(batch=2):
    return list(torch.randn(4, batch, 7, 8, generator=torch.Generator().manual_seed(1)))


SCORES = torch.tensor([[0.5, 0.6, 0.7, 0.55], [0.7, 0.65, 0.6, 0.5]])


def test_an_ensemble_fusion_refuses_missing_scores_of_systems_and_scores_of_another_shape():
    with input_error("'ensemble' fuses the scores of 4 other systems: give them as the second argument"):
        small()(states(), None)
    for scores, size in ((SCORES[:, :3], "2 × 3"), (SCORES[:1], "1 × 4")):
        with input_error(f"must be 2 × 4, got {size}"):
            small()(states(), scores)


def test_an_ensemble_classification_reads_no_scores_of_other_systems():
    backend = small(kind="classification")
    assert backend.num_scores == 0
    assert backend(states()).isfinite().all()


def test_a_detector_without_an_ensemble_refuses_scores_of_other_systems(spectral_detector):
    waveform = torch.zeros(2, 8000)
    with input_error("uses no scores of other systems"):
        spectral_detector(waveform, waveform[:, :2])
