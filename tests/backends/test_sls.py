"""SLS equals the published code, and declares what it reads."""

import pytest
import torch
from builders import golden
from builders import golden_backends as gb

from nes2net.backends.sls import SLS
from nes2net.errors import InputError


def states(layers, frames=9, dim=12, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(layers, batch, frames, dim, generator=generator))


def small(**options):
    torch.manual_seed(0)
    return SLS(**{"feature_dim": 12, "num_layers": 4, "num_frames": 9, **options}).eval()


@pytest.fixture(scope="module")
def reference():
    """What the published code gave in float32, the input, and the model with its weights."""
    file = golden.read("sls")
    rule = {key: value for key, value in file["input_formula"].items() if key != "layout"}
    model = SLS()
    model.load_state_dict(gb.state_dict("sls"))
    model.register_forward_pre_hook(lambda _, args: (args[0].unbind(1),))  # the file has B×L×T×D in one tensor
    return file["cases"][file["input_key"]], gb.hashed(**rule), model


def test_eval_equals_published_code(reference):
    case, x, model = reference
    logits = gb.check_gradients(model.eval(), x, case["grad_norms"], rtol=2e-3)
    torch.testing.assert_close(logits, case["output"], rtol=0, atol=1e-5)


def test_training_equals_published_code(reference):
    case, x, model = reference
    before = {key: value.clone() for key, value in model.first_bn.state_dict().items()}
    # In float64: one norm is so small that processors round it differently in float32.
    logits = gb.check_gradients(model.double().train(), x.double(), case["train_grad_norms"], rtol=2e-3)
    torch.testing.assert_close(logits.float(), case["train_mode_output"], rtol=0, atol=1e-5)
    for key, expected in case["bn_after_train_abs_sums"].items():
        assert model.state_dict()[key].abs().sum().item() == pytest.approx(expected, rel=1e-6), key
    model.float().first_bn.load_state_dict(before)


def test_says_what_it_reads():
    assert SLS.wants_layers == "all"
    assert (SLS.fixed_frames, small().fixed_frames) == (201, 9)


def test_reads_the_last_layers_of_those_given():
    model, given = small(), states(5)
    with torch.no_grad():
        assert torch.equal(model(given), model(given[1:]))
        assert not torch.equal(model(given), model(given[:4]))


def test_takes_one_tensor_of_all_layers():
    model, given = small(), states(4)
    with torch.no_grad():
        assert torch.equal(model(torch.stack(given)), model(given))


def test_a_gate_is_one_number_per_layer_and_utterance():
    model, given = small(), states(4)
    gates = model.gates(given)
    assert gates.shape == (2, 4, 1)
    expected = torch.sigmoid(given[2][1].mean(dim=0) @ model.fc0.weight[0] + model.fc0.bias)
    torch.testing.assert_close(gates[1, 2], expected)


def test_output_is_log_probabilities():
    torch.testing.assert_close(small(num_logits=3)(states(4)).exp().sum(dim=1), torch.ones(2))


@pytest.mark.parametrize("frames", [9, 10, 11])
def test_frames_that_are_pooled_away_are_taken(frames):
    assert small()(states(4, frames)).shape == (2, 2)


@pytest.mark.parametrize("frames", [3, 8, 12, 201])
def test_another_number_of_frames_is_named(frames):
    with pytest.raises(InputError, match=f"reads 9 frames, got {frames}; crop or repeat"):
        small()(states(4, frames))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (states(3), "reads 4 hidden states, got 3; ask the front-end for layers='all'"),
        (states(4, dim=13), "batch × frames × 12, got 2 × 9 × 13"),
        ([*states(3), *states(1, frames=10)], r"one shape, got \(2, 9, 12\) first and \(2, 10, 12\) at 3"),
    ],
)
def test_hidden_states_that_do_not_fit_are_named(given, message):
    with pytest.raises(InputError, match=message):
        small()(given)
