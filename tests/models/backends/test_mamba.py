"""XLSR-Mamba equals the published code, and its scan equals a loop."""

import pytest
import torch
import torch.nn.functional as F
from builders import assert_near
from builders import golden_backends as gb
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from nes2net.models.backends import mamba
from nes2net.models.backends.mamba import Mamba, Mixer
from nes2net.models.backends.selective_scan import selective_scan
from nes2net.training.seeding import cuda_algorithms

#: reference file → options. All its numbers are float32, as mamba_ssm's reference scan is.
PUBLISHED = {
    "xlsr_mamba_e24_n2": {"embed_dim": 24, "num_layers": 2},
    "xlsr_mamba_e32_n4": {"embed_dim": 32, "num_layers": 4},
}


def test_the_state_dict_of_xlsr_mamba_has_the_published_shapes():
    assert gb.shapes(Mamba()) == gb.manifest("xlsr_mamba_full_e144_n12")


@pytest.mark.parametrize("name", PUBLISHED)
def test_xlsr_mamba_equals_the_published_code(name):
    """In logits, gradients and running statistics, in eval and train mode; norms below 2e-6 are rounded zeros."""
    for case, x in gb.cases(name):
        for train, output, norms in ((False, "output", "grad_norms"), (True, "train_mode_output", "train_grad_norms")):
            model = Mamba(**PUBLISHED[name]).train(train)
            model.load_state_dict(gb.state_dict(name))
            logits = gb.check_gradients(model, x, case[norms], rel=2e-3, atol=2e-6)
            assert_near(logits, case[output], 1e-5)
        gb.check_statistics(model, case, rel=1e-6)


def loop(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The recurrence as the paper writes it, a frame at a time."""
    state = x.new_zeros(x.shape[0], *A.shape)
    outputs = []
    for t in range(x.shape[1]):
        state = torch.exp(delta[:, t, :, None] * A) * state + (delta[:, t] * x[:, t])[:, :, None] * B[:, t, None]
        outputs.append((state * C[:, t, None]).sum(dim=2))
    return torch.stack(outputs, dim=1)


def scan_inputs(frames: int, dtype=torch.float64, scale: float = 1.0) -> list[Tensor]:
    torch.manual_seed(frames)
    x = torch.randn(2, frames, 3)
    delta = scale * torch.rand(2, frames, 3)
    B, C = torch.randn(2, 2, frames, 4)
    return [tensor.to(dtype) for tensor in (x, delta, -3 * torch.rand(3, 4), B, C)]


@pytest.mark.parametrize("frames, scale", [(n, 1.0) for n in (1, 2, 15, 16, 17, 256, 257)] + [(600, 1e-3)])
def test_the_selective_scan_has_the_outputs_and_gradients_of_a_loop(frames, scale):
    """With small Δ a state still counts hundreds of frames later, beyond a chunk of chunks."""
    gb.check_alike(selective_scan, loop, scan_inputs(frames, scale=scale))


@pytest.mark.slow
def test_gradients_of_the_selective_scan_pass_gradcheck_of_pytorch():
    inputs = [tensor.requires_grad_() for tensor in scan_inputs(5)]
    assert torch.autograd.gradcheck(selective_scan, inputs)


@pytest.mark.slow
def test_the_selective_scan_passes_opcheck_of_pytorch():
    inputs = [tensor.requires_grad_() for tensor in scan_inputs(5)]
    torch.library.opcheck(torch.ops.nes2net.selective_scan.default, inputs)


def test_the_selective_scan_equals_a_loop_where_states_vanish_within_a_frame():
    """Its gradients are finite."""
    for dtype in (torch.float32, torch.float64):
        inputs = [tensor.requires_grad_() for tensor in scan_inputs(300, dtype, scale=1e4)]
        outputs = selective_scan(*inputs)
        assert_close(outputs, loop(*inputs), rtol=1e-5, atol=1e-3)
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(outputs.sum(), inputs))


def test_the_selective_scan_computes_in_float32_under_autocast():
    inputs = scan_inputs(40, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        under = selective_scan(*inputs)
    assert torch.equal(under, selective_scan(*inputs))


def effects_of_the_last_layers(final_norm):
    """Whether each parameter of the last layers gets a gradient, and whether a change of theirs changes the logits."""
    torch.manual_seed(0)
    model = Mamba(feature_dim=8, embed_dim=24, num_layers=6, final_norm=final_norm).double().eval()
    x = torch.randn(2, 21, 8, dtype=torch.float64)
    before = model(x)
    before.sum().backward()
    effects = []
    for layers in (model.conformer.forward_layers, model.conformer.backward_layers):
        effects.extend(parameter.grad is not None for parameter in layers[-1].parameters())
        torch.nn.init.constant_(layers[-1].mixer.out_proj.weight, 0.3)
    return [*effects, not torch.equal(model(x), before)]


def test_the_last_layers_of_xlsr_mamba_have_an_effect_on_the_logits_only_with_final_norm_output():
    """Not with final_norm published."""
    assert not any(effects_of_the_last_layers("published"))
    assert all(effects_of_the_last_layers("output"))


def test_step_sizes_of_mamba_start_between_a_thousandth_and_a_tenth():
    delta = F.softplus(Mixer(144).dt_proj.bias)
    assert 1e-3 * 0.99 < delta.min() < delta.max() < 1e-1 * 1.01


def test_weights_of_step_sizes_of_mamba_start_within_the_bound_of_linear_layers_and_near_it():
    """1 / sqrt(inputs), and there are 9."""
    weight = Mixer(144).dt_proj.weight
    assert 0.3 < weight.abs().max() < 1 / 3


def documented_scan(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
    """mamba_ssm's kernel as documented: B×D×T, Δ = softplus(delta + bias), gated by SiLU(z)."""
    assert all(tensor.is_contiguous() for tensor in (u, delta, B, C, z))
    assert delta_softplus
    delta = F.softplus(delta + delta_bias[:, None])
    y = loop(*(tensor.mT for tensor in (u, delta)), A, B.mT, C.mT).mT
    return (y + D[:, None] * u) * F.silu(z)


def test_the_fused_scan_of_mamba_ssm_gets_its_arguments_in_the_documented_form(monkeypatch):
    """By a stand-in that is written out from its documentation."""
    monkeypatch.setattr(mamba, "fused_selective_scan", lambda: documented_scan)
    torch.manual_seed(0)
    mixer = Mixer(24)
    x, delta, z = torch.randn(3, 2, 21, 48)
    B, C = torch.randn(2, 2, 21, 16)
    with torch.no_grad():
        assert_close(mixer._fused_scan(x, delta, B, C, z), mixer._scan(x, delta, B, C, z))


@pytest.fixture
def on_gpu(monkeypatch):
    """A tensor as on a GPU; the fused scan is there."""
    monkeypatch.setattr(mamba, "fused_selective_scan", lambda: documented_scan)
    with FakeTensorMode():
        return torch.empty(1, device="cuda")


def test_the_fused_scan_is_used_only_on_a_gpu(on_gpu):
    assert Mixer._can_use_fused_scan(on_gpu)
    assert not Mixer._can_use_fused_scan(torch.empty(1))


def test_with_deterministic_algorithms_the_fused_scan_is_used_only_without_gradients(on_gpu):
    with cuda_algorithms(deterministic=True):
        assert not Mixer._can_use_fused_scan(on_gpu)
        with torch.no_grad():
            assert Mixer._can_use_fused_scan(on_gpu)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="mamba_ssm's kernel needs CUDA")
def test_the_fused_scan_of_mamba_ssm_is_near_the_scan_in_float64():
    pytest.importorskip("mamba_ssm")
    torch.manual_seed(0)
    mixer = Mixer(24).cuda()
    x = torch.randn(2, 201, 24, device="cuda")
    with torch.no_grad():
        fused = mixer(x)
        assert_close(fused, mixer.double()(x.double()).float(), rtol=1e-4, atol=1e-5)
