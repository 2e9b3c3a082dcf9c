"""Every front-end with every aggregation and back-end: one step of training, one score.

The parts are those of the registries, so that a new name joins by itself.
"""

import re

import pytest
import torch
from builders import slow
from builders.small_parts import AGGREGATIONS, BACKENDS, FRONTENDS, frontend_families, small_options
from torch import Tensor
from torch.nn import functional

from nes2net import Detector, InputError, create_frontend
from nes2net.models import registry

LABELS = torch.tensor([0, 1, 1])
MIN_FRAMES = 24
OF_WAVEFORMS = {"raw_aasist", "raw_aasist_l"}
#: Number of hidden states → back-ends that read more.
OF_MORE_STATES = {1: {"asp_cosine", "attm_lstm", "ensemble", "mfa", "one_class_distillation"}, 2: {"attm_lstm"}}


def unfit_backends(name, num_layers):
    """The back-ends that do not fit a front-end with so many hidden states."""
    if name == "waveform":
        return {*registry.backends.names()} - OF_WAVEFORMS
    return OF_WAVEFORMS | OF_MORE_STATES.get(num_layers, set())


def logits_of(detector):
    """Logits of three utterances of a length that the detector takes."""
    backend = detector.backend
    frames = backend.fixed_frames or max(backend.min_frames, MIN_FRAMES)
    samples = detector.frontend.min_samples + (frames - 1) * detector.frontend.hop_length
    waveforms = 0.1 * torch.randn(3, samples, generator=torch.Generator().manual_seed(0))
    logits = detector(waveforms, torch.zeros(3, detector.num_scores) if detector.num_scores else None)
    assert logits.shape[0] == 3
    assert logits.isfinite().all()
    return logits


def step(detector):
    """One step of training; gradients and weights stay finite, and each part with weights learns."""
    loss = functional.cross_entropy(logits_of(detector), LABELS)
    (loss if detector.aggregation.penalty is None else loss + detector.aggregation.penalty).backward()
    trained = [p for p in detector.parameters() if p.grad is not None]
    assert all(p.grad.isfinite().all() for p in trained)
    before = [p.detach().clone() for p in trained]
    torch.optim.Adam(trained, lr=1e-3).step()
    moved = {id(p) for p, initial in zip(trained, before) if not torch.equal(p, initial)}
    for module in (detector.frontend, detector.backend):
        if any(p.requires_grad for p in module.parameters()):
            assert moved & {id(p) for p in module.parameters()}
    assert all(p.isfinite().all() for p in trained)


def families():
    """The front-ends; of the encoders, which take longest, the fast tests try one."""
    encoders = ("data2vec", "hubert", "teacher_student", "w2v_bert2", "wavlm", "whisper")
    return [slow(name)[0] if name in encoders else name for name in frontend_families()]


@pytest.mark.parametrize("name", families())
def test_exactly_the_back_ends_that_fit_a_front_end_are_accepted_and_train_and_score_with_it(name):
    """The aggregations take turns."""
    torch.manual_seed(0)
    frontend = create_frontend(name, **small_options(FRONTENDS, name))
    aggregations = registry.aggregations.names() if frontend.num_layers > 2 else ["last", "weighted_sum"]
    refused = set()
    for number, backend in enumerate(registry.backends.names()):
        aggregation = aggregations[number % len(aggregations)]
        model = {
            "aggregation": {"name": aggregation, **small_options(AGGREGATIONS, aggregation)},
            "backend": {"name": backend, **small_options(BACKENDS, backend)},
        }
        try:
            detector = Detector.with_frontend(frontend, model).train()
        except InputError as error:
            assert re.search(r"feature_dim must be|reads \d hidden states", str(error))
            refused.add(backend)
            continue
        step(detector)
        with torch.inference_mode():
            scores = detector.backend.scores(logits_of(detector.eval()))
        assert scores.shape == LABELS.shape, backend
        assert scores.isfinite().all(), backend
    assert refused == unfit_backends(name, frontend.num_layers)


@pytest.mark.parametrize(
    "backend", ["nes2net_x", {"name": "raptor", "num_blocks": 1}, {"name": "nes2net_x", "nes_ratio": [4, 8]}]
)
def test_zeros_fill_up_hidden_states_that_a_back_end_cannot_split(backend):
    detector = Detector.from_config({"frontend": "lps", "backend": backend}).eval()
    waveform = 0.1 * torch.randn(1, 8000)
    with torch.inference_mode():
        features = detector.features(detector.hidden_states(waveform))
        last = features if isinstance(features, Tensor) else features[-1]
        assert detector.frontend.out_dim == 865
        assert not last[..., 865:].any()
        assert last[..., :865].any()
        assert 0 < detector.num_zeros == last.shape[2] - 865 < 64
