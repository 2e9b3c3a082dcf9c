"""What every registered back-end must do: a name that is registered is tested here.

A back-end declares what it takes: ``wants_layers`` ("last": B×T×D, "all": a list of hidden states), ``min_frames``, and
``fixed_frames`` if it takes one number of frames only. If it reads the waveform, a frame is a sample.
"""

import copy
import re
from functools import cache

import pytest
import torch
from builders import golden, input_error, pinned, slow
from builders.golden_backends import without_dropout
from builders.small_parts import BACKENDS
from numpy.testing import assert_allclose
from torch import Tensor, nn
from torch.testing import assert_close

from nes2net.lib.parts.options import FrontendSizes, fit_options
from nes2net.models import registry

LAYERS = 5
WAVEFORM = {"raw_aasist", "raw_aasist_l"}
SAMPLES_PER_FRAME = 160
#: options that make a back-end smaller without changing what it is made of; one that gives logits, and of utterances
SMALLER = {
    **BACKENDS,
    **{name: {"nes_ratio": (4, 4)} for name in ("nes2net_la", "nes2net_x")},
    "aasist2": {**BACKENDS["aasist2"], "se_ratio": 4},
    "ensemble": {"kind": "classification"},  # test_ensemble.py has the fusion, which also takes scores
    "mambo": {**BACKENDS["mambo"], "topology": "mambo_2"},
    "multires_gmlp": {"gmlp_layers": 1, "max_frames": 256},
    "sls": {"num_frames": 30},
}
#: parameters of the published checkpoints that are not used in the computation: no gradient
UNUSED = {
    **dict.fromkeys(["aasist", "raw_aasist", "raw_aasist_l"], r"encoder\.[1-5]\.0\.bn1\."),
    "attm_lstm": r"feat_merge\.linear_proj\.1\.inplace\.",
    "mamba": r"conformer\.(forward|backward)_layers\.0\.",
    "multires_gmlp": r"m_transform\.0\.post_nets_seg\.|m_angle_scales\.(2|4|8|16|32)\.",  # of the segments
}
#: largest difference of bfloat16 from float32, relative to the logits; in AASIST rounding changes
#: which nodes are kept
BFLOAT16 = {"aasist": 0.15, "spectra_aasist": 0.15, "aasist2": 0.15, "raw_aasist": 0.25, "raw_aasist_l": 0.25}
#: torch.compile does not trace recurrent layers
RECURRENT = {"attm_lstm", "ensemble", "lgf", "llgf"}

#: other sizes or another activation of a back-end that the fast tests try
MADE_OF_THE_SAME = {"nes2net_x_selu", "raw_aasist"}
#: they compare two classes
TWO_LOGITS = {"asp_cosine", "multires_gmlp", "one_class_distillation"}

#: they are built for a number of hidden states that is an option
OF_A_NUMBER_OF_STATES = ["asp_cosine", "attm_lstm", "ensemble", "mfa", "multires_gmlp", "sls"]

every_backend = pytest.mark.parametrize(
    "name", [slow(name)[0] if name in MADE_OF_THE_SAME else name for name in registry.backends.names()]
)


def dim_of(name: str) -> int:
    if name in WAVEFORM:
        return 1
    return 256 if name == "multires_gmlp" else 192


def create(name: str, seed: int = 0, **options) -> nn.Module:
    """The back-end with small options, for as many hidden states as there are."""
    torch.manual_seed(seed)
    small = fit_options(registry.backends.get(name), SMALLER.get(name, {}), FrontendSizes(dim_of(name), LAYERS, 20))
    return registry.create_backend(name, feature_dim=dim_of(name), **small, **options)


def frames_of(backend: nn.Module, frames: int = 20) -> int:
    """A number of frames that ``backend`` takes, near ``frames`` of 20 ms."""
    if backend.config["name"] in WAVEFORM:
        frames *= SAMPLES_PER_FRAME
    return backend.fixed_frames or max(frames, backend.min_frames)


def features_for(
    backend: nn.Module, batch: int, frames: int | None = None, dim: int | None = None, dtype=torch.float32
):
    """Seeded features of the kind that ``backend`` takes."""
    shape = (batch, frames_of(backend) if frames is None else frames, dim or dim_of(backend.config["name"]))
    generator = torch.Generator().manual_seed(batch)
    if backend.wants_layers == "last":
        return torch.randn(shape, generator=generator).to(dtype)
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(LAYERS)]


@cache
def in_eval_mode(name: str) -> nn.Module:
    """The back-end, which tests share and none may change."""
    return create(name).eval()


@cache
def logits_of_three(name: str) -> Tensor:
    """Its logits of three utterances."""
    backend = in_eval_mode(name)
    with torch.no_grad():
        return backend(features_for(backend, batch=3))


def in_double_precision(features, index: int):
    """One utterance of a batch, as a batch of one."""
    if isinstance(features, list):
        return [state[index : index + 1].double() for state in features]
    return features[index : index + 1].double()


@pytest.mark.parametrize("name", sorted(TWO_LOGITS))
def test_a_back_end_that_compares_two_classes_refuses_other_numbers_of_logits(name):
    for number in (1, 3):
        with input_error("num_logits must be 2"):
            create(name, num_logits=number)


@pytest.mark.parametrize("name", sorted(set(registry.backends.names()) - TWO_LOGITS))
def test_a_back_end_gives_as_many_logits_as_the_option_num_logits(name):
    backend = create(name, num_logits=4).eval()
    with torch.no_grad():
        logits = backend(features_for(backend, batch=2))
    assert logits.shape == (2, 4)


def test_classes_of_more_than_two_logits_are_by_default_numbered_kinds_of_spoof_and_bonafide():
    assert create("asp_mlp", num_logits=4).classes == ("spoof_1", "spoof_2", "spoof_3", "bonafide")


@pytest.mark.parametrize("name", pinned.MODELS)
def test_logits_equal_those_recorded_when_all_back_ends_equalled_the_published_code(name):
    assert_allclose(pinned.logits(name), golden.read("pinned")[name], rtol=0, atol=1e-9)


@every_backend
def test_features_and_exactly_the_parameters_in_use_get_a_finite_gradient(name):
    backend = without_dropout(create(name)).train()
    features = features_for(backend, batch=3, frames=frames_of(backend, 50))
    inputs = [x.requires_grad_() for x in (features if isinstance(features, list) else [features])]
    nn.functional.cross_entropy(backend(features), torch.tensor([0, 1, 1])).backward()
    gradients = [x.grad for x in inputs if x.grad is not None]  # a back-end may leave out some of the hidden states
    assert gradients
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert gradient.any()
    unused = re.compile(UNUSED.get(name, r"(?!)"))
    for key, parameter in backend.named_parameters():
        if unused.match(key) or not parameter.requires_grad:
            assert parameter.grad is None, f"{key} is listed as unused"
        else:
            assert parameter.grad is not None, f"{key} gets no gradient"
            assert parameter.grad.isfinite().all(), key
            if parameter.ndim > 1:
                assert parameter.grad.any(), f"{key} gets a gradient of zero"


@every_backend
def test_an_utterance_alone_in_float64_has_the_logits_that_it_has_in_a_batch_in_float32(name):
    backend = copy.deepcopy(in_eval_mode(name)).double()
    features = features_for(backend, batch=3)
    with torch.no_grad():
        alone = torch.cat([backend(in_double_precision(features, i)) for i in range(3)])
    assert_close(logits_of_three(name).double(), alone, rtol=1e-4, atol=1e-5)


@every_backend
def test_the_least_number_of_frames_and_some_larger_ones_give_finite_logits(name):
    backend = in_eval_mode(name)
    lengths = {backend.min_frames + i for i in range(4)} | {frames_of(backend, 23)}
    for frames in [backend.fixed_frames] if backend.fixed_frames else sorted(lengths):
        with torch.no_grad():
            logits = backend(features_for(backend, batch=1, frames=frames))
        assert logits.shape == (1, 2), frames
        assert logits.isfinite().all(), frames


@every_backend
def test_every_back_end_refuses_too_few_frames_and_features_of_another_dimension(name):
    backend = in_eval_mode(name)
    too_few = backend.min_frames - 1
    with input_error(str(too_few)):
        backend(features_for(backend, batch=2, frames=too_few))
    wrong = dim_of(name) + 1
    with input_error(f"{wrong - 1}.* × {wrong}"):
        backend(features_for(backend, batch=2, dim=wrong))


@pytest.mark.parametrize("name", OF_A_NUMBER_OF_STATES)
def test_fewer_hidden_states_than_a_back_end_reads_are_refused(name):
    backend = in_eval_mode(name)
    with input_error(f"reads {LAYERS} hidden states, got {LAYERS - 1}"):
        backend(features_for(backend, batch=1)[:-1])


OF_WAVEFORMS = ["raw_aasist", "raw_aasist_l"]  # on a CPU slow in half precision, as all are in float16
IN_BFLOAT16 = [(name, torch.bfloat16) for name in registry.backends.names() if name not in OF_WAVEFORMS]
SLOW = slow(*((name, torch.bfloat16) for name in OF_WAVEFORMS))
in_half_precision = pytest.mark.parametrize("name, precision", [*IN_BFLOAT16, *SLOW, ("nes2net_x", torch.float16)])


@in_half_precision
def test_logits_in_half_precision_are_near_those_of_float32_and_have_no_ties(name, precision):
    """Under autocast, and of rounded weights for rounded features.

    The last layer computes in float32: of 24 scores of 8 bits some would be equal, which moves error rates.
    """
    backend = copy.deepcopy(in_eval_mode(name))
    features = features_for(backend, batch=24)
    rounded = [x.to(precision) for x in features] if isinstance(features, list) else features.to(precision)
    with torch.no_grad():
        exact = backend(features)
        with torch.autocast("cpu", precision):
            mixed = backend(features)
        low = backend.to(precision)(rounded)
    for logits in (mixed, low):
        assert (logits - exact).abs().max() < BFLOAT16.get(name, 0.05) * exact.abs().max()
        assert len(set(backend.scores(logits).tolist())) == 24


@pytest.mark.weekly
@pytest.mark.parametrize("name", sorted(set(registry.backends.names()) - MADE_OF_THE_SAME))
def test_a_compiled_back_end_has_the_logits_and_gradients_of_an_eager_one(name):
    """By `aot_eager`: generating code for what it captures would take minutes."""
    torch.compiler.reset()  # back-ends share Backend.forward, of which torch keeps eight graphs in a process
    backend, copy_of_backend = (without_dropout(create(name)).train() for _ in range(2))
    compiled = torch.compile(copy_of_backend, fullgraph=name not in RECURRENT, backend="aot_eager")
    features = features_for(backend, batch=2)
    gradients = []
    for network in (backend, compiled):
        logits = network(features)
        logits.square().sum().backward()
        gradients.append([logits, *(p.grad for p in network.parameters() if p.grad is not None)])
    for eager, graph in zip(*gradients):
        assert_close(eager, graph, rtol=1e-3, atol=1e-4)
