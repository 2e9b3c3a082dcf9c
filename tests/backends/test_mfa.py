"""MFA: equal to the public code of other authors, and to its own formula."""

import copy
from functools import partial

import pytest
import torch
from builders import zoo

from nes2net.registry import create_backend

FILE = "mfa_third_party_l6_d24"


def third_party():
    file = zoo.read(FILE)
    backend = create_backend("mfa", **file["config"])
    backend.load_state_dict(file["state_dict"])
    return backend, file


def states(case, dtype=torch.float32):
    return case["hidden_states"].to(dtype)


def logits_of(backend, stacked):
    """The logits of hidden states that are stacked, B×L×T×D."""
    return backend(stacked.unbind(1))


def test_third_party_eval_equals_its_code():
    backend, file = third_party()
    assert backend.state_dict().keys() == file["state_dict"].keys()
    backend.eval()
    for case in file["cases"].values():
        with torch.no_grad():
            zoo.close(backend(states(case).unbind(1)), case["output"], zoo.AGREES)
        double = copy.deepcopy(backend).double()
        forward = partial(logits_of, double)
        logits, norms = zoo.published_gradients(double, states(case, torch.float64), forward)
        zoo.close(logits, case["output_f64"], zoo.AGREES_F64)
        zoo.check_norms(norms, case["grad_norms"])


def test_third_party_training_equals_its_code():
    for case in zoo.read(FILE)["cases"].values():
        backend = third_party()[0].double().train()
        with torch.no_grad():
            zoo.close(backend(states(case, torch.float64).unbind(1)), case["train_mode_output_f64"], zoo.AGREES_F64)


@pytest.mark.parametrize("variant", ["paper", "third_party"])
def test_one_utterance_of_one_frame(variant):
    backend = create_backend("mfa", feature_dim=8, num_layers=3, variant=variant).eval()
    logits = backend([torch.randn(1, 1, 8) for _ in range(4)])
    assert logits.shape == (1, 2) and logits.isfinite().all()


@pytest.mark.parametrize("variant, unused", [("paper", 0), ("third_party", 3)])
def test_which_states_are_read(variant, unused):
    """Outputs of the layers in the paper's variant, their inputs in the other."""
    backend = create_backend("mfa", feature_dim=8, num_layers=3, variant=variant).eval()
    hidden = [torch.randn(2, 5, 8) for _ in range(4)]
    logits = backend(hidden)
    for index in range(4):
        changed = [state + (i == index) for i, state in enumerate(hidden)]
        assert torch.equal(backend(changed), logits) == (index == unused), index


def test_paper_variant_is_its_formula():
    torch.manual_seed(0)
    backend = create_backend("mfa", feature_dim=8, num_layers=3, bottleneck_dim=5).double().eval()
    weights = {key: value for key, value in backend.state_dict().items()}

    def pooled(x, name):  # B×T×D → B×2D
        hidden = torch.tanh(x @ weights[f"{name}.linear1.weight"][..., 0].T + weights[f"{name}.linear1.bias"])
        scores = hidden @ weights[f"{name}.linear2.weight"][..., 0].T + weights[f"{name}.linear2.bias"]
        alpha = scores.exp() / scores.exp().sum(1, keepdim=True)
        mean = (alpha * x).sum(1)
        return torch.cat([mean, ((alpha * x**2).sum(1) - mean**2).clamp_min(1e-10).sqrt()], 1)

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    hidden = [torch.randn(2, 5, 8, dtype=torch.float64) for _ in range(4)]
    layers = [linear(pooled(x, f"MFA.t_asp.{i}"), "MFA.lin_proj1") for i, x in enumerate(hidden[1:])]
    merged = linear(pooled(torch.stack(layers, 1), "MFA.l_asp"), "MFA.lin_proj2")
    mean, variance = weights["MFA.batch_norm.running_mean"], weights["MFA.batch_norm.running_var"]
    expected = linear((merged - mean) / (variance + 1e-5).sqrt(), "fc")
    zoo.close(backend(hidden).detach(), expected, 1e-12)
