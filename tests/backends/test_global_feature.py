"""GF, LGF and LLGF: equal to the published code."""

import copy

import pytest
import torch
from builders import zoo
from builders.golden_backends import without_dropout

from nes2net.errors import InputError
from nes2net.registry import create_backend

FILES = ["gf_d64_h128", "lgf_d64_h128", "llgf_d48_h128"]


def published(name):
    file = zoo.read(name)
    backend = create_backend(**file["config"])
    backend.load_state_dict(file["state_dict"])
    return backend, file


@pytest.mark.parametrize("name", FILES)
def test_eval_equals_published_code(name):
    backend, file = published(name)
    assert list(backend.state_dict()) and backend.state_dict().keys() == file["state_dict"].keys()
    backend.eval()
    for case in file["cases"].values():
        with torch.no_grad():
            embedding = backend.embed(case["features"])
            logits = backend(case["features"])
        zoo.close(embedding, case["embedding"], zoo.AGREES)
        zoo.close(logits, case["output"], zoo.AGREES)
        zoo.close(backend.scores(logits), case["score"], zoo.AGREES)
        double = copy.deepcopy(backend).double()
        logits, norms = zoo.published_gradients(double, case["features"].double())
        zoo.close(logits, case["output_f64"], zoo.AGREES_F64)
        zoo.check_norms(norms, case["grad_norms"])


@pytest.mark.parametrize("name", FILES)
def test_training_equals_published_code(name):
    """Without dropout, with batch statistics, which move the running ones."""
    _, file = published(name)
    cases = [case for case in file["cases"].values() if "train_mode_output_f64" in case]
    assert len(cases) == 2
    for case in cases:
        backend = without_dropout(published(name)[0]).double().train()
        logits, norms = zoo.published_gradients(backend, case["features"].double())
        zoo.close(logits, case["train_mode_output_f64"], zoo.AGREES_F64)
        zoo.check_norms(norms, case["train_grad_norms"])
        statistics = backend.state_dict()
        for key, expected in case["bn_after_train_abs_sums"].items():
            assert statistics[key].abs().sum().item() == pytest.approx(expected, rel=1e-12), key


def test_dropout_of_llgf_is_before_the_lstms():
    """In train mode 70 % of the CNN's outputs are dropped, and all else is scaled up."""
    backend = create_backend("llgf", feature_dim=16, hidden_dim=64)
    dropped = backend.m_transform[0][28]
    found = dropped.train()(torch.ones(20_000))
    assert found[found > 0].unique().tolist() == pytest.approx([1 / 0.3])
    assert (found == 0).float().mean().item() == pytest.approx(0.7, abs=0.02)


def test_floors_of_llgf():
    """Time and frequency are halved four times, rounded down each time."""
    backend = create_backend("llgf", feature_dim=16, hidden_dim=70).eval()
    assert backend.embed(torch.randn(2, 47, 16)).shape == (2, 32 * 4)
    assert backend.m_transform[0](torch.randn(2, 1, 47, 70)).shape == (2, 32, 2, 4)


def test_odd_sizes_of_two_directions_are_named():
    with pytest.raises(InputError, match="hidden_dim is an even number from 2 to 65536, not 9"):
        create_backend("lgf", hidden_dim=9)
