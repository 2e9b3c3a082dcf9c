"""AttM + LSTM equals the published code."""

import torch
from builders import golden
from builders import golden_backends as gb

from nes2net.models.backends.attm_lstm import AttMLSTM

NAME = "attm_pandarial"
FRONTEND = "ssl_model."


def published():
    model = AttMLSTM(feature_dim=24, num_layers=12)
    weights = gb.state_dict(NAME)
    model.load_state_dict({key: value for key, value in weights.items() if not key.startswith(FRONTEND)})
    return model


def cases():
    """What the published code gave, without its stand-in for a front-end, and the input."""
    file = golden.read(NAME)
    for key, case in file["cases"].items():
        norms = {
            name: {k: v for k, v in case[name].items() if not k.startswith(FRONTEND)}
            for name in ("grad_norms", "train_grad_norms")
        }
        yield {**case, **norms}, file["all_inputs"][key]


def test_the_state_dict_of_attm_lstm_has_the_published_shapes():
    expected = gb.manifest(f"{NAME}_full_L12")
    assert gb.shapes(AttMLSTM()) == {key: shape for key, shape in expected.items() if not key.startswith(FRONTEND)}


def test_attm_lstm_equals_the_published_code():
    """In logits, gradients and running statistics, in eval and train mode."""
    for case, x in cases():
        gb.check_eval(published(), case, x, atol=1e-5)
        gb.check_train(published(), case, x)


def test_attm_lstm_reads_only_the_outputs_of_its_first_num_layers_layers():
    torch.manual_seed(0)
    model = AttMLSTM(feature_dim=8, num_layers=4).eval()
    hidden_states = list(torch.randn(7, 2, 5, 8))
    with torch.no_grad():
        logits = model(hidden_states)
        for layer in (0, 5, 6):
            hidden_states[layer] = hidden_states[layer] + 1
            assert torch.equal(model(hidden_states), logits), layer
        for layer in (1, 2, 3, 4):
            changed = [*hidden_states]
            changed[layer] = changed[layer] + 1
            assert not torch.equal(model(changed), logits), layer
