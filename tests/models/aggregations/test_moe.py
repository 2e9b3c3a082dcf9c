"""Mixture of experts: equal to the published code, the noise, both ends and the balancing loss."""

import copy
from collections import OrderedDict

import pytest
import torch
from builders import assert_near, input_error, zoo
from builders import golden_backends as gb
from builders.small_parts import FRONTENDS
from torch import nn
from torch.testing import assert_close

from nes2net import Detector
from nes2net.models.aggregations.moe import MixtureOfExperts
from nes2net.models.registry import create_aggregation, create_backend
from nes2net.training.objective import Objective, StepPart
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recipes.train import TrainConfig

every_file = pytest.mark.parametrize("name", ["moe_d24_e2_k1_h8", "moe_aasist_d48_e4_k2_h16"])


def published(name, **options):
    file = zoo.read(name)
    moe = create_aggregation("moe", **file["config"], **options)
    moe.load_state_dict(file["state_dict"]["moe_l"])
    return moe, file


@every_file
@pytest.mark.parametrize("underflow", ["exact", "floor"])
def test_experts_in_eval_mode_equal_the_published_code(name, underflow):
    """In chosen experts, gates, merged states and balancing loss."""
    moe, file = published(name, underflow=underflow)
    double = copy.deepcopy(moe.eval()).double()
    for case in file["cases"].values():
        states = case["hidden_states"]
        with torch.no_grad():
            assert_near(moe(states.unbind(1)), case["agg_output"], zoo.AGREES)
            choice = moe.choose(states[:, -1].flatten(0, 1))
            assert torch.equal(choice.experts.view_as(case["experts"]), case["experts"])
            assert_near(choice.log_gates.exp().view_as(case["gates"]), case["gates"], zoo.AGREES)
            assert moe.balance_loss(choice).item() == pytest.approx(case["balance_loss"], rel=1e-5)
            assert_near(double(states.double().unbind(1)), case["agg_output_f64"], zoo.AGREES_F64)


@every_file
def test_experts_with_noise_equal_the_published_code(name):
    """In merged states, balancing loss and gradients."""
    moe, file = published(name)
    moe.double().train()
    for case in file["cases"].values():
        states = case["hidden_states"].double().unbind(1)
        moe.zero_grad()
        choice = moe.choose(states[-1].flatten(0, 1), case["noise"].double())
        merged = moe.combine(states, choice)
        loss = moe.balance_loss(choice)
        (merged.mean() + 0.1 * loss).backward()
        assert_near(merged.detach(), case["noisy_agg_output_f64"], zoo.AGREES_F64)
        assert loss.item() == pytest.approx(case["noisy_balance_loss_f64"], rel=1e-9)
        gb.check_norms(gb.gradient_norms(dict(moe.named_parameters())), case["noisy_grad_norms"], zoo.GRADIENTS)


def test_moe_with_aasist_equals_the_published_code():
    """In logits in eval and train mode, and in gradients."""
    moe, file = published("moe_aasist_d48_e4_k2_h16")
    backend = create_backend("aasist", feature_dim=48)
    backend.load_state_dict(file["state_dict"]["classifier"])
    for case in file["cases"].values():
        system = nn.Sequential(OrderedDict(moe_l=copy.deepcopy(moe), classifier=copy.deepcopy(backend))).eval()
        double = case["hidden_states"].double()
        with torch.no_grad():
            assert_near(gb.logits_of(system, case["hidden_states"]), case["output"], zoo.AGREES)
        logits, norms = gb.published_gradients(system.double(), double)
        assert_near(logits, case["output_f64"], zoo.AGREES_F64)
        unused = {key for key in norms if key not in case["grad_norms"]}
        assert all(norms[key] is None and (".bn1." in key or key == "moe_l.w_noise") for key in unused)
        gb.check_norms({key: norms[key] or 0.0 for key in case["grad_norms"]}, case["grad_norms"], zoo.GRADIENTS)
        gb.without_dropout(system.classifier).train()
        with torch.no_grad():
            assert_near(gb.logits_of(system, double), case["train_mode_output_f64"], zoo.AGREES_F64)


def published_with_bias(name, case, underflow="exact"):
    """The experts with a bias at which the published sum underflows or overflows, and their output for the case."""
    moe, file = published(name, underflow=underflow)
    for expert in moe.eval().experts:
        nn.init.constant_(expert.conv2.bias, file[case]["conv2_bias"])
    states = file["underflow"]["hidden_states"]
    merged = moe(states.unbind(1))
    return moe, merged, file[case]["agg_output"]


@every_file
def test_with_the_option_floor_underflowing_experts_have_the_published_output_and_no_gradients(name):
    moe, merged, expected = published_with_bias(name, "underflow", underflow="floor")
    assert_near(merged.detach(), expected, zoo.AGREES)
    merged.sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in moe.parameters())


@every_file
def test_with_the_option_exact_experts_have_values_and_gradients_where_the_published_sum_underflows(name):
    moe, merged, _ = published_with_bias(name, "underflow")
    assert (merged + 200).abs().max() < 20
    merged.sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in moe.parameters())


@every_file
def test_the_sum_of_experts_stays_finite_where_the_published_one_overflows(name):
    _, merged, published_sum = published_with_bias(name, "overflow")
    assert published_sum.isinf().any()
    assert (merged - 100).abs().max() < 20


def small(**options) -> MixtureOfExperts:
    """Three experts for each of four layers, with random weights."""
    torch.manual_seed(0)
    moe = MixtureOfExperts(5, 8, experts_per_layer=3, hidden_dim=4, **options)
    for parameter in moe.parameters():
        nn.init.normal_(parameter)
    return moe


def states_of(batch=2, frames=7, dtype=torch.float32):
    generator = torch.Generator().manual_seed(batch)
    return [torch.randn(batch, frames, 8, generator=generator, dtype=dtype) for _ in range(5)]


def test_in_train_mode_noise_changes_the_output_of_the_experts():
    moe = small(top_k=2)
    assert not torch.equal(moe(states_of()), moe(states_of()))


def test_weights_of_layers_are_the_mean_gates_of_their_experts():
    moe = small(top_k=2).eval()
    states = states_of()
    logits = states[-1] @ moe.w_gate
    is_gated = logits >= logits.topk(2, dim=2).values[..., 1:]
    gates = logits.masked_fill(~is_gated, -torch.inf).softmax(2).mean(1)  # B×12, three experts a layer
    expected = torch.stack([*gates.split(3, dim=1), torch.zeros(2, 3)], 1).sum(2)
    assert_close(moe.layer_weights(states), expected)


def test_the_training_loss_adds_the_balancing_loss_times_its_weight():
    targets = torch.tensor([0, 1, 1])
    numerators = []
    penalties = []
    for weight in (0.0, 0.5, 1.0):
        torch.manual_seed(0)
        frontend = {"name": "wav2vec2", **FRONTENDS["wav2vec2"]}
        aggregation = {"name": "moe", "balance_weight": weight}
        detector = Detector.from_config({"frontend": frontend, "aggregation": aggregation, "backend": "asp_mlp"})
        detector.aggregation.register_forward_hook(lambda moe, *_: penalties.append(moe.penalty))
        objective = Objective(detector, Recipe(train=TrainConfig()))
        objective.begin_training(1)
        numerators.append(objective(StepPart(torch.randn(3, 2000), targets)))
    weight_of_the_batch = 0.1 + 0.9 + 0.9
    expected = 0.5 * penalties[2].item() * weight_of_the_batch
    assert (numerators[1] - numerators[0]).item() == pytest.approx(expected, rel=1e-4)


def test_while_compiling_experts_have_the_outputs_and_gradients_that_they_have_otherwise(monkeypatch):
    moe = small(top_k=3).double().eval()
    states = states_of(dtype=torch.float64)
    with torch.no_grad():
        choice = moe.choose(states[-1].flatten(0, 1))
    outputs_and_gradients = []
    for is_compiled in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda is_compiled=is_compiled: is_compiled)
        moe.zero_grad()
        outputs = moe.combine(states, choice)
        outputs.square().sum().backward()
        outputs_and_gradients.append([outputs, *(p.grad for p in moe.experts.parameters())])
    for sparse, dense in zip(*outputs_and_gradients):
        assert_close(sparse, dense, rtol=1e-10, atol=1e-10)


def test_more_experts_than_there_are_and_experts_for_a_single_hidden_state_are_refused():
    with input_error("top_k must be at most the number of experts, 12, not 13"):
        MixtureOfExperts(4, 8, top_k=13)
    with input_error("at least 2 hidden states, and the front-end gives 1"):
        MixtureOfExperts(1, 8)


def test_of_equal_logits_of_a_gate_the_first_experts_are_chosen():
    """A new gate is of zeros, and ``topk`` takes other experts on a GPU than on a CPU."""
    moe = create_aggregation("moe", num_layers=3, feature_dim=4, experts_per_layer=4, top_k=2)
    choice = moe.choose(torch.randn(5, 4))
    assert choice.experts.tolist() == [[0, 1]] * 5
