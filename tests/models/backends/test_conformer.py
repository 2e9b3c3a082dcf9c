"""TCM equals the published code."""

import numpy as np
import pytest
import torch
from builders import golden_backends as gb
from builders import input_error
from numpy.testing import assert_allclose

from nes2net.models.backends.conformer import MAX_FRAMES, position_table, tcm

#: reference file → options
PUBLISHED = {
    "tcm_e24_h2_k16_n3": {"embed_dim": 24, "num_blocks": 3, "num_heads": 2, "kernel_size": 16},
    "tcm_e32_h4_k31_n2": {"embed_dim": 32, "num_blocks": 2, "num_heads": 4, "kernel_size": 31},
}


def published(name):
    """The model with the weights of the file ``name``, which lacks only the table of positions."""
    model = tcm(**PUBLISHED[name])
    positions = model.conformer.positional_emb.detach()
    model.load_state_dict({**gb.state_dict(name), "conformer.positional_emb": positions})
    return model


def test_the_state_dict_of_tcm_has_the_published_shapes():
    assert gb.shapes(tcm()) == gb.manifest("tcm_full_e144_h4_k31_n4")


@pytest.mark.parametrize("name", PUBLISHED)
def test_tcm_equals_the_published_code(name):
    """In logits, gradients and running statistics, in eval and train mode."""
    for case, x in gb.cases(name):
        gb.check_eval(published(name), case, x, atol=1e-5)
        gb.check_train(published(name), case, x)


def test_sines_and_cosines_of_the_position_table_of_tcm_are_those_of_angles_in_float32():
    exponent = 2 * (np.arange(144) // 2) / 144
    exact = np.arange(MAX_FRAMES)[:, None] / 10_000**exponent
    angle = np.float32(exact)
    odd = np.arange(144) % 2 == 1
    table = position_table(MAX_FRAMES, 144)[0].numpy()
    assert_allclose(table, np.where(odd, np.cos(angle), np.sin(angle)), rtol=0, atol=3e-7)
    assert np.abs(table - np.where(odd, np.cos(exact), np.sin(exact))).max() > 1e-4


def test_tcm_drops_out_only_with_the_option_dropout():
    x = torch.randn(2, 5, 8)
    sizes = {"feature_dim": 8, "embed_dim": 8, "num_blocks": 1}
    default = tcm(**sizes).train()
    assert torch.equal(default(x), default(x))
    dropping = tcm(**sizes, dropout=0.5).train()
    assert not torch.equal(dropping(x), dropping(x))


def test_tcm_refuses_more_frames_than_it_has_positions():
    model = tcm(feature_dim=4, embed_dim=4, num_blocks=1)
    with input_error("10001 frames are too many, this back-end reads at most 10000"):
        model(torch.zeros(1, MAX_FRAMES + 1, 4))
