"""Nes2Net, Nes2Net-X, Nes2Net-X SeLU and Nes2Net-LA: equal to the published code, and their options."""

import copy

import pytest
import torch
from builders import golden_backends as gb
from builders import shared_path, slow, zoo
from builders.runs import same
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from nes2net.models.aggregations.attm import AttentiveMerging
from nes2net.models.aggregations.last import Last
from nes2net.models.aggregations.sea import SqueezeExcitationAggregation
from nes2net.models.aggregations.weighted_sum import WeightedSum
from nes2net.models.backends.nes2net import BatchNorm, Nes2Net, nes2net, nes2net_la, nes2net_x, nes2net_x_selu

SVDD = {"dilation": 1, "num_logits": 1}
#: Its numbers are float32, in which its train mode is ill-conditioned: float64 gives others.
FLOAT32_ONLY = "svdd_WavLM_Nes2Net_X__AttM_mean_16_8_se8_d1"
#: reference file → back-end, its options, aggregation
PUBLISHED = {
    "nes2net_x_main__mean_8_8_se1_d2_o2": (nes2net_x, {}, Last),
    "nes2net_x_main__ASTP_8_8_se1_d2_o2": (nes2net_x, {"pool": "astp"}, Last),
    "nes2net_x_main__mean_4_4_se8_d2_o2": (nes2net_x, {"nes_ratio": (4, 4), "se_ratio": 8}, Last),
    "nes2net_x_main__mean_8_4_se8_d2_o2": (nes2net_x, {"nes_ratio": (8, 4), "se_ratio": 8}, Last),
    "nes2net_x_asv5__mean_8_8_se1_d1": (nes2net_x, {"dilation": 1, "se_floor": 2}, Last),
    "svdd_WavLM_Nes2Net__SEA_mean_8_8_se1_d1": (nes2net, SVDD, SqueezeExcitationAggregation),
    "svdd_WavLM_Nes2Net_X__WeightedSum_mean_8_8_se1_d1": (nes2net_x, SVDD, WeightedSum),
    "svdd_WavLM_Nes2Net_X_SeLU__SEA_mean_8_8_se1_d1": (nes2net_x_selu, SVDD, SqueezeExcitationAggregation),
    FLOAT32_ONLY: (nes2net_x, {**SVDD, "nes_ratio": (16, 8), "se_ratio": 8}, AttentiveMerging),
}


class Head(nn.Module):
    """Aggregation and back-end under the published names; the back-end alone takes B×T×D."""

    def __init__(self, aggregation: nn.Module, backend: Nes2Net) -> None:
        super().__init__()
        self.ssl_model = aggregation
        self.Nested_Res2Net_TDNN = backend

    def forward(self, x):
        return self.Nested_Res2Net_TDNN(self.ssl_model(x) if isinstance(x, tuple) else x)


def published_head(name: str) -> Head:
    """The head with the weights of the file ``name``, which must have its names and shapes."""
    factory, options, aggregation = PUBLISHED[name]
    head = gb.empty(lambda: Head(aggregation(25, 1024), factory(**options)))
    head.load_state_dict(gb.state_dict(name))
    return head


#: Each of their options is that of a file that the fast tests read.
COMBINED = ("nes2net_x_main__mean_8_4_se8_d2_o2", "svdd_WavLM_Nes2Net_X__WeightedSum_mean_8_8_se1_d1")


#: Of each function and each pooling one; the other options change sizes only.
IN_TRAIN_MODE = (
    "nes2net_x_main__mean_8_8",
    "nes2net_x_main__ASTP",
    "svdd_WavLM_Nes2Net__SEA",
    "svdd_WavLM_Nes2Net_X_SeLU",
)


@pytest.mark.parametrize("name", [slow(name)[0] if name in COMBINED else name for name in PUBLISHED])
def test_nes2net_equals_the_published_code(name):
    """In logits in eval mode, and in gradients if the published ones are float64."""
    for case, x in gb.cases(name):
        head = published_head(name)
        gb.check_eval(head, case, x, atol=1e-4 if name == "nes2net_x_main__ASTP_8_8_se1_d2_o2" else 1e-5)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.startswith(IN_TRAIN_MODE)])
def test_nes2net_in_train_mode_equals_the_published_code(name):
    """In logits, gradients and running statistics."""
    for case, x in gb.cases(name):
        head = published_head(name)
        gb.check_train(head, case, x)


@pytest.mark.slow
def test_gradients_of_nes2net_in_float32_equal_those_of_the_published_code():
    for case, x in gb.cases(FLOAT32_ONLY):
        head = published_head(FLOAT32_ONLY).eval()
        gb.check_gradients(head, x, case["grad_norms"], rel=2e-3)


@pytest.mark.parametrize("pool, parameters", [("mean", 512_039), ("astp", 777_383)])
def test_nes2net_x_has_as_many_parameters_as_in_the_paper(pool, parameters):
    assert sum(p.numel() for p in nes2net_x(pool=pool).parameters()) == parameters


def test_operations_of_nes2net_x_for_200_frames_are_those_of_the_paper():
    """0.167 GFLOP; a multiply-add counts as two."""
    backend = nes2net_x().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backend(torch.randn(1, 200, 1024))
    assert counter.get_total_flops() / 1e9 == pytest.approx(0.167, abs=0.001)


def test_weighted_sums_of_groups_of_nes2net_x_start_as_means():
    for block in nes2net_x(feature_dim=256).Build_in_Res2Nets:
        for step, weight in enumerate(block.weighted_sum):
            assert_close(weight, torch.full((1, 1, 1, step + 2), 1 / (step + 2)))


def test_se_floor_is_the_least_width_of_squeeze_excitation():
    for floor in (1, 2):
        backend = nes2net_x(feature_dim=128, se_ratio=16, se_floor=floor)
        assert backend.Build_in_Res2Nets[0].se.se[1].out_channels == floor


@pytest.mark.parametrize("build", [nes2net, nes2net_x])
@pytest.mark.parametrize("dilation", [1, 2])
def test_the_receptive_field_of_nes2net_is_the_number_of_frames_that_a_frame_depends_on(build, dilation):
    """The gradient of one frame before the pooling, without the squeeze-excitation over all frames."""
    backend = build(feature_dim=16, nes_ratio=(4, 4), dilation=dilation).double().eval()
    backend.activation = nn.Identity()  # a rectifier may cut paths off
    for block in backend.Build_in_Res2Nets:
        block.se = block.activation = nn.Identity()
    fields = []
    backend.pooling.register_forward_pre_hook(lambda module, inputs: fields.append(inputs[0]))
    features = torch.randn(1, 101, 16, dtype=torch.float64, requires_grad=True)
    backend(features)
    fields[0][0, :, 50].sum().backward()
    touched = features.grad[0].abs().sum(1).nonzero().flatten()
    assert touched.max() - touched.min() + 1 == backend.receptive_field


def with_pytorchs_norms(backend):
    """A copy of a back-end whose batch normalisations are PyTorch's, which count batches themselves."""
    backend = copy.deepcopy(backend)
    for parent in list(backend.modules()):
        for name, child in parent.named_children():
            if isinstance(child, BatchNorm):
                norm = nn.BatchNorm2d(child.num_features)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm)
    return backend


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("build", [nes2net, nes2net_x, nes2net_la])
def test_nes2net_counts_batches_of_training_as_pytorchs_norms_do(build, momentum):
    """Also without momentum, where the count weighs the running statistics."""
    backend = build(feature_dim=16, nes_ratio=(4, 4))
    states = []
    for model in (backend, with_pytorchs_norms(backend)):
        for norm in [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]:
            norm.momentum = momentum
        for seed in range(2):
            torch.manual_seed(seed)
            model.train()(torch.randn(2, 30, 16))
        model.eval()(torch.randn(2, 30, 16))
        states.append(dict(model.state_dict()))
    assert {count.item() for name, count in states[0].items() if "tracked" in name} == {2}
    assert same(*states)


# Nes2Net-LA


@pytest.mark.parametrize("name", ["nes2net_la_d128_8_8_mean", "nes2net_la_d64_4_4_astp", "nes2net_la_d1024_8_8_mean"])
def test_nes2net_la_equals_the_published_code(name):
    """In logits in eval and train mode, and in gradients; the file of full size lacks the weights of an unused attention."""
    file = zoo.read(name)
    config = file["config"]
    backend = nes2net_la(
        feature_dim=config["feature_dim"],
        nes_ratio=config["Nes_ratio"],
        dilation=config["dilation"],
        pool=config["pool_func"].lower(),
        se_ratio=config["SE_ratio"][0],
        num_logits=config["n_output_logits"],
    )
    unused = {key: value for key, value in backend.state_dict().items() if key.startswith("global_attn.")}
    stored = {key.removeprefix(backend.checkpoint_prefix): value for key, value in file["state_dict"].items()}
    backend.load_state_dict({**unused, **stored})
    inputs = torch.load(shared_path("golden", "inputs.pt"), weights_only=True)
    for key, case in file["cases"].items():
        zoo.check_case(backend, case, case["features"] if "features" in case else inputs[key])
