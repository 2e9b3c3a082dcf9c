"""MFA: equal to the public code of other authors, and to its own formula."""

import torch
from builders import assert_near, zoo

from nes2net.models.registry import create_backend


def test_the_third_party_variant_of_mfa_equals_the_code_of_its_authors():
    """In logits in eval and train mode, and in gradients."""
    file = zoo.read("mfa_third_party_l6_d24")
    backend = create_backend("mfa", **file["config"])
    backend.load_state_dict(file["state_dict"])
    for case in file["cases"].values():
        zoo.check_case(backend, case, case["hidden_states"])


def test_the_variant_of_mfa_of_the_paper_equals_its_formula():
    torch.manual_seed(0)
    backend = create_backend("mfa", feature_dim=8, num_layers=3, bottleneck_dim=5).double().eval()
    weights = backend.state_dict()

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
    mean = weights["MFA.batch_norm.running_mean"]
    variance = weights["MFA.batch_norm.running_var"]
    expected = linear((merged - mean) / (variance + 1e-5).sqrt(), "fc")
    assert_near(backend(hidden).detach(), expected, 1e-12)
