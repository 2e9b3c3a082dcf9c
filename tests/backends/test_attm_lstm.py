"""AttM + LSTM equals the published code."""

import pytest
import torch
from builders import golden
from builders import golden_backends as gb

from nes2net.backends.attm_lstm import AttMLSTM, Merging
from nes2net.errors import InputError

NAME, FRONTEND = "attm_pandarial", "ssl_model."
UNUSED = "feat_merge.linear_proj.1.inplace."


def published():
    model = AttMLSTM(feature_dim=24, num_layers=12)
    weights = gb.state_dict(NAME)
    model.load_state_dict({key: value for key, value in weights.items() if not key.startswith(FRONTEND)})
    model.register_forward_pre_hook(lambda _, args: (args[0].unbind(1),))  # the file has B×L×T×D in one tensor
    return model


def cases():
    """What the published code gave, without its stand-in for a front-end, and the input."""
    file = golden.read(NAME)
    for key, case in file["cases"].items():
        norms = {
            name: {k: v for k, v in case[name].items() if not k.startswith(FRONTEND)}
            for name in ("grad_norms", "train_grad_norms")
        }
        yield {**case, **norms, "merged": file["merge_output"][key]}, file["all_inputs"][key]


def states(layers, frames=5, dim=8):
    torch.manual_seed(0)
    return list(torch.randn(layers, 2, frames, dim))


def small():
    torch.manual_seed(0)
    return AttMLSTM(feature_dim=8, num_layers=4).eval()


def test_state_dict_has_published_names_and_shapes():
    expected = gb.manifest(f"{NAME}_full_L12")
    assert gb.shapes(AttMLSTM()) == {key: shape for key, shape in expected.items() if not key.startswith(FRONTEND)}


def test_eval_equals_published_code():
    for case, x in cases():
        gb.check_eval(published(), case, x, atol=1e-5)


def test_training_equals_published_code():
    for case, x in cases():
        gb.check_train(published(), case, x)


def test_merged_layers_equal_published_code():
    merging = published().feat_merge
    for case, x in cases():
        torch.testing.assert_close(merging(x.unbind(1)[1:]), case["merged"], rtol=0, atol=1e-5)


def test_merges_the_outputs_of_the_first_layers_only():
    model, given = small(), states(7)
    with torch.no_grad():
        logits = model(given)
        for layer in range(7):
            changed = [*given]
            changed[layer] = changed[layer] + 1
            assert torch.equal(model(changed), logits) == (layer not in (1, 2, 3, 4)), layer


def test_layers_are_interleaved_with_the_layer_index_fastest():
    merging, layers = Merging(4, 8), states(4)
    gates = merging.layer_weights(layers)
    row = [gates[1, layer] * layers[layer][1, 2, channel] for channel in range(8) for layer in range(4)]
    torch.testing.assert_close(merging(layers)[1, 2], merging.linear_proj(torch.stack(row)))


def test_the_unused_layer_has_no_effect_and_no_gradient():
    model, given = small(), states(5)
    before = model(given)
    before.sum().backward()
    unused = [parameter for key, parameter in model.named_parameters() if key.startswith(UNUSED)]
    assert len(unused) == 2 and all(parameter.grad is None for parameter in unused)
    for parameter in unused:
        torch.nn.init.constant_(parameter, 9.0)
    torch.testing.assert_close(model(given), before)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (states(4), "reads 5 hidden states, got 4"),
        (states(5, dim=9), "batch × frames × 8, got 2 × 5 × 9"),
        (states(5, frames=0), "0 frames are too few"),
    ],
)
def test_hidden_states_that_do_not_fit_are_named(given, message):
    with pytest.raises(InputError, match=message):
        small()(given)
