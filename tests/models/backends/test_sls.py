"""SLS equals the published code, and declares what it reads."""

import copy

import pytest
import torch
from builders import assert_near, golden, input_error
from builders import golden_backends as gb

from nes2net.lib.parts.options import FrontendSizes, fit_options
from nes2net.models.backends.sls import SLS


def states(layers, frames=9):
    return list(torch.randn(layers, 2, frames, 12, generator=torch.Generator().manual_seed(0)))


def small():
    torch.manual_seed(0)
    return SLS(feature_dim=12, num_layers=4, num_frames=9).eval()


@pytest.fixture(scope="module")
def reference():
    """What the published code gave in float32, the input, and the model with its weights."""
    file = golden.read("sls")
    rule = {key: value for key, value in file["input_formula"].items() if key != "layout"}
    model = gb.empty(SLS)
    model.load_state_dict(gb.state_dict("sls"))

    return file["cases"][file["input_key"]], gb.hashed(**rule), model


def test_sls_in_eval_mode_equals_the_published_code(reference):
    case, x, model = reference
    # The norm 8e-4 of `first_bn.bias` has an error of some 2e-6, in the published code, too.
    logits = gb.check_gradients(model.eval(), x, case["grad_norms"], rel=2e-3, atol=1e-5)
    assert_near(logits, case["output"], 1e-5)


def test_sls_in_train_mode_equals_the_published_code(reference):
    case, x, model = reference
    # In float64: one norm is so small that processors round it differently in float32.
    model = copy.deepcopy(model).double().train()
    logits = gb.check_gradients(model, x.double(), case["train_grad_norms"], rel=2e-3)
    assert_near(logits.float(), case["train_mode_output"], 1e-5)
    gb.check_statistics(model, case, rel=1e-6)


def test_sls_reads_the_last_num_layers_hidden_states():
    model = small()
    hidden_states = states(5)
    with torch.no_grad():
        assert torch.equal(model(hidden_states), model(torch.stack(hidden_states[1:])))
        assert not torch.equal(model(hidden_states), model(hidden_states[:4]))


def test_sls_is_built_for_the_number_of_frames_of_the_front_end():
    """201 are the default of SLS."""
    assert fit_options(SLS, {}, FrontendSizes(1024, 25, 9)) == {"num_frames": 9}
    assert fit_options(SLS, {}, FrontendSizes(1024, 25, 201)) == {}


def test_sls_accepts_only_num_frames_and_up_to_two_more_frames():
    for frames in (9, 10, 11):
        assert small()(states(4, frames)).shape == (2, 2)
    for frames in (3, 8, 12):
        with input_error(f"reads 9 frames, got {frames}; crop or repeat"):
            small()(states(4, frames))
