"""Adaptations of every front-end with transformer layers: what is trained, the names of tensors, and merging."""

import copy
import re

import pytest
import torch
from builders import assert_near, input_error, small_parts
from torch.testing import assert_close

from nes2net import create_frontend
from nes2net.lib.computing.without_memory import without_memory
from nes2net.models.frontends.adaptation import adapt, check_adaptation, merge
from nes2net.models.frontends.onednn import OneDNNLinear

#: Front-ends with transformer layers.
FRONTENDS = {
    name: small_parts.FRONTENDS[name]
    for name in ("wav2vec2", "hubert", "wavlm", "data2vec", "w2v_bert2", "whisper", "ast")
}
SMALL = FRONTENDS["wav2vec2"]
LORA = {"kind": "lora", "targets": "all", "rank": 2}
DORA = {"kind": "dora", "rank": 2}
BITFIT = {"kind": "bitfit"}
WITHOUT_PROMPTS = [LORA, DORA, {"kind": "adapter", "bottleneck": 3}, BITFIT]
PROMPTS = [{"kind": "prompt", "tokens": 3}, {"kind": "prompt", "tokens": 2, "deep": True}]
ADAPTATIONS = [*WITHOUT_PROMPTS, *PROMPTS]
WAVEFORM = 0.1 * torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))


def states(frontend, layers="all"):
    with torch.no_grad():
        return frontend(WAVEFORM.to(next(frontend.parameters()).dtype), layers=layers)


def shake(frontend):
    """Give random values to what is trained."""
    generator = torch.Generator().manual_seed(1)
    for parameter in frontend.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)


def pairs_with(adaptations):
    """Each front-end with each of the adaptations, as parameters of the fixture ``pair``."""
    return [
        pytest.param(
            (name, options),
            id="-".join(map(str, [name, *options.values()])),
            marks=() if name == "wav2vec2" or options["kind"] == "lora" else pytest.mark.slow,
        )
        for name in FRONTENDS
        for options in adaptations
    ]


@pytest.fixture(params=pairs_with(ADAPTATIONS))
def pair(request):
    """A front-end, and the same one adapted, which begins as the base unless it has prompts."""
    name, options = request.param
    torch.manual_seed(0)
    plain = create_frontend(name, **FRONTENDS[name]).eval()
    frontend = copy.deepcopy(plain)
    adapt(frontend, check_adaptation(options, "adapt"))
    return plain, frontend


@pytest.mark.parametrize("pair", pairs_with(WITHOUT_PROMPTS), indirect=True)
def test_a_front_end_adapted_without_prompts_begins_with_the_hidden_states_of_its_base(pair):
    plain, frontend = pair
    for hidden_state, expected in zip(states(frontend), states(plain), strict=True):
        assert_near(hidden_state, expected, 1e-6)


@pytest.mark.parametrize("pair", pairs_with(PROMPTS), indirect=True)
def test_frames_of_prompts_are_not_among_the_frames_of_the_hidden_states(pair):
    plain, frontend = pair
    for hidden_state, expected in zip(states(frontend), states(plain), strict=True):
        assert hidden_state.shape == expected.shape


def test_exactly_the_tensors_outside_the_base_get_gradients(pair):
    """Tensors of the base keep their names."""
    plain, frontend = pair
    assert plain.state_dict().keys() <= frontend.state_dict().keys()
    trained = set(frontend.state_dict()) - frontend.base
    frontend.train()(WAVEFORM)[-1].square().sum().backward()
    learning = {id(p) for p in frontend.parameters() if p.grad is not None}
    tensors = frontend.state_dict(keep_vars=True)
    assert learning == {id(tensors[key]) for key in trained}


def test_an_adapted_front_end_is_rebuilt_from_its_options_and_state_dict(pair):
    """Even without memory for its own; it trains the same parameters."""
    plain, frontend = pair
    shake(frontend)
    with without_memory():
        again = create_frontend(**frontend.config).eval()
    assert again.base == frontend.base
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in frontend.parameters()]
    again.load_state_dict(frontend.state_dict(), assign=True)
    assert not torch.equal(states(again)[-1], states(plain)[-1])
    assert all(map(torch.equal, states(again), states(frontend)))


def test_frames_of_an_adapted_front_end_in_float64_are_near_those_in_float32(pair):
    """In bfloat16 they are finite."""
    _, frontend = pair
    shake(frontend)
    expected = states(frontend)[-1]
    assert_close(states(frontend.double())[-1].float(), expected, atol=1e-5, rtol=1e-5)
    assert states(frontend.bfloat16())[-1].isfinite().all()


def test_a_merged_front_end_computes_the_hidden_states_of_the_adapted_one(pair):
    """It is trained as a whole."""
    _, frontend = pair
    shake(frontend)
    expected = states(frontend)
    merge(frontend)
    for hidden_state, value in zip(states(frontend), expected, strict=True):
        assert_close(hidden_state, value, atol=1e-6, rtol=1e-6)
    assert not frontend.base
    assert all(p.requires_grad for p in frontend.parameters())


@pytest.mark.parametrize("pair", [("wav2vec2", options) for options in (LORA, DORA, BITFIT)], indirect=True, ids=str)
def test_merging_lora_dora_or_bitfit_leaves_an_ordinary_front_end(pair):
    """Not adapted, with the options of the base, and with tensors that give the base the same hidden states."""
    plain, frontend = pair
    shake(frontend)
    merge(frontend)
    assert not frontend.adapted
    assert frontend.config == plain.config
    plain.load_state_dict(frontend.state_dict())
    assert torch.equal(states(plain)[-1], states(frontend)[-1])


def test_targets_of_lora_are_attention_feed_forward_all_or_names_of_layers():
    def adapted(targets):
        frontend = create_frontend("wav2vec2", **SMALL, adapt={"kind": "lora", "rank": 1, "targets": targets})
        return {key.split(".")[-2] for key in frontend.state_dict() if key.endswith("lora_A")}

    attention = {"q_proj", "k_proj", "v_proj", "out_proj"}
    feed_forward = {"fc1", "fc2"}
    assert adapted("attention") == attention
    assert adapted("all") == attention | feed_forward
    assert adapted("feed_forward") == adapted(["intermediate_dense", "fc2"]) == feed_forward
    assert adapted(["v_proj"]) == {"v_proj"}


@pytest.fixture
def with_lora():
    """A front-end whose projections of queries are adapted by LoRA, and the tensors of the first: W, b, A and B."""
    adaptation = {"kind": "lora", "rank": 2, "alpha": 6, "targets": ["q_proj"]}
    frontend = create_frontend("wav2vec2", **SMALL, adapt=adaptation)
    tensors = frontend.state_dict()
    prefix = "model.encoder.layers.0.self_attn.q_proj."
    return frontend, [tensors[prefix + key] for key in ("weight", "bias", "lora_A", "lora_B")]


def test_lora_equals_the_formula_of_the_paper(with_lora):
    """W x + (alpha / rank) B A x, and starts with a random matrix A and a zero matrix B."""
    frontend, (weight, bias, a, b) = with_lora
    assert a.std() > 0
    assert not b.any()
    shake(frontend)
    x = torch.randn(3, 32)
    layer = frontend.transformer_layers[0].attention.q_proj
    assert_close(layer(x), x @ (weight + 6 / 2 * b @ a).T + bias)


def test_a_layer_adapted_by_lora_still_multiplies_by_onednn():
    frontend = create_frontend("wav2vec2", **SMALL, adapt={"kind": "lora"})
    assert type(frontend.transformer_layers[0].attention.q_proj.get_base_layer()) is OneDNNLinear


@pytest.mark.parametrize(
    "options, message",
    [
        ({"kind": "lore"}, "kind must be one of lora, dora, adapter, prompt, bitfit, not 'lore'; did you mean 'lora'?"),
        ({"kind": "lora", "rank": 0}, "rank must be a whole number from 1 to 4096, not 0"),
        ({"kind": "adapter", "rank": 8}, "of kind adapter has no option 'rank', which only works with lora and dora"),
        ({"kind": "lora", "rank": 33}, "rank must be at most the smaller size of a layer to adapt, 32, not 33"),
        ({"kind": "lora", "targets": ["q_pro"]}, "have no linear layer 'q_pro'; did you mean 'q_proj'?"),
    ],
)
def test_options_of_an_adaptation_that_do_not_fit_it_or_the_front_end_are_refused(options, message):
    with input_error(re.escape(message)):
        create_frontend("wav2vec2", **SMALL, adapt=options)


def test_to_adapt_a_front_end_without_transformer_layers_is_refused():
    with input_error("front-end 'lps' has no transformer layers to adapt: remove the option adapt"):
        create_frontend("lps", adapt={"kind": "lora"})
