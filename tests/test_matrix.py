"""Every front-end with every aggregation and back-end: one step of training, one score.

The parts are those of the registries, so that a new name joins by itself. Which of them go together
is what they declare: a back-end that takes only features of one number reads the waveform itself, and
``num_states`` is how many hidden states a back-end needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

import pytest
import torch
from builders.small_parts import AGGREGATIONS, BACKENDS, FRONTENDS, frontend_families, small_options
from torch import Tensor, nn
from torch.nn import functional

from nes2net import Detector, InputError, registry
from nes2net.aggregations.base import Aggregation
from nes2net.backends.base import Backend
from nes2net.frontends.base import Frontend
from nes2net.options import Input, fitted

LABELS = torch.tensor([0, 1, 1])
LEAST_FRAMES = 24
DIM, STATES = 128, 3
#: Front-ends of several hidden states, of one, and of samples. The others are tried with few back-ends.
WITH_EVERY_BACKEND = ("wav2vec2", "lps", "waveform")
FEW = ("aasist", "asp_mlp", "mfa", "nes2net_x")
#: A front-end of larger hidden states, for the back-ends that the small ones do not fit.
WIDE = "wav2vec2_wide"


def create_frontend(name: str, **options: int) -> Frontend:
    torch.manual_seed(0)
    return registry.create_frontend(name, **{**small_options(FRONTENDS, name), **options})


@cache
def reads_waveforms(name: str) -> bool:
    """Whether the back-end ``name`` takes only features of one number."""
    try:
        create_backend(name, DIM, STATES)
    except InputError:
        create_backend(name, 1, 1)
        return True
    return False


def create_backend(name: str, feature_dim: int, num_states: int) -> Backend | None:
    """A small back-end for ``num_states`` hidden states; None if it needs more of them, or larger ones."""
    given = Input(feature_dim, num_states, LEAST_FRAMES)
    options = fitted(registry.backends.get(name), small_options(BACKENDS, name), given)
    try:
        backend = registry.create_backend(name, **{**options, "feature_dim": feature_dim})
    except InputError as error:
        if re.search(r"num_layers|feature_dim is a multiple", str(error)):  # it needs more
            return None
        raise
    return backend if backend.wants_layers == "last" or backend.num_states <= num_states else None


def backends_of(frontend: Frontend, names: Iterable[str] = ()) -> dict[str, Backend]:
    """The back-ends that go with ``frontend``, by name: all, or those of ``names``."""
    is_waveform = frontend.hop_length == 1
    found = {}
    for name in names or registry.backends.names():
        if reads_waveforms(name) == is_waveform:
            backend = create_backend(name, frontend.out_dim, frontend.num_layers)
            if backend is not None:
                found[name] = backend
    return found


def aggregations_of(frontend: Frontend) -> dict[str, Aggregation]:
    """The aggregations that go with ``frontend``, by name: some need several hidden states."""
    found = {}
    for name in registry.aggregations.names():
        options = small_options(AGGREGATIONS, name)
        try:
            found[name] = registry.create_aggregation(name, frontend.num_layers, frontend.out_dim, **options)
        except InputError:
            if frontend.num_layers >= STATES:
                raise
    return found


def waveforms(frontend: Frontend, backend: Backend) -> Tensor:
    """Three utterances of a length that ``backend`` takes."""
    frames = backend.fixed_frames or max(backend.min_frames, LEAST_FRAMES)
    samples = frontend.min_samples + (frames - 1) * frontend.hop_length
    return 0.1 * torch.randn(3, samples, generator=torch.Generator().manual_seed(0))


def loss_of(detector: Detector, states: list[Tensor]) -> Tensor:
    loss = functional.cross_entropy(logits_of(detector, states), LABELS)
    return loss if detector.aggregation.penalty is None else loss + detector.aggregation.penalty


def logits_of(detector: Detector, states: list[Tensor]) -> Tensor:
    scores = torch.zeros(len(LABELS), detector.num_scores) if detector.num_scores else None
    logits = detector.logits(detector.features(states), scores)
    assert logits.shape[0] == len(LABELS) and logits.isfinite().all()
    return logits


def step(*parts: nn.Module) -> None:
    """One step on the gradients that there are; they must be finite and change something."""
    trained = [p for part in parts for p in part.parameters() if p.grad is not None]
    assert all(p.grad.isfinite().all() for p in trained)
    before = [p.detach().clone() for p in trained]
    torch.optim.Adam(trained, lr=1e-3).step()
    assert any(not torch.equal(p, old) for p, old in zip(trained, before)), "nothing learns"
    assert all(p.isfinite().all() for p in trained)


@pytest.mark.parametrize("name", [*frontend_families(), WIDE])
def test_every_back_end_trains_and_scores(name):
    """The back-ends share one pass through the front-end, which learns from all of them at once."""
    if name == WIDE:
        frontend = create_frontend("wav2vec2", encoder_embed_dim=DIM).train()
        narrow = backends_of(create_frontend("wav2vec2"))
        found = {name: backend for name, backend in backends_of(frontend).items() if name not in narrow}
        assert found
    else:
        frontend = create_frontend(name).train()
        found = backends_of(frontend, () if name in WITH_EVERY_BACKEND else FEW)
        assert len(found) >= 2
    detectors = []
    for number, backend in enumerate(found.values()):
        aggregations = list(aggregations_of(frontend).values())  # one of each for each back-end
        detectors.append(Detector(frontend, aggregations[number % len(aggregations)], backend).train())
    by_input: dict[tuple, list[Detector]] = {}
    for detector in detectors:
        shape = waveforms(frontend, detector.backend).shape
        by_input.setdefault((shape, detector.backend.wants_final_norm), []).append(detector)
    for sharing in by_input.values():
        states = sharing[0].hidden_states(waveforms(frontend, sharing[0].backend), "all")
        leaves = [state.detach().requires_grad_(state.requires_grad) for state in states]
        for detector in sharing:
            loss_of(detector, leaves if detector.layers == "all" else leaves[-1:]).backward()
            step(detector.aggregation, detector.backend)
        used = [(state, leaf.grad) for state, leaf in zip(states, leaves) if leaf.grad is not None]
        if used:
            torch.autograd.backward([state for state, _ in used], [gradient for _, gradient in used])
    if any(parameter.requires_grad for parameter in frontend.parameters()):
        step(frontend)
    with torch.inference_mode():
        for sharing in by_input.values():
            states = sharing[0].eval().hidden_states(waveforms(frontend, sharing[0].backend), "all")
            for detector in sharing:
                logits = logits_of(detector.eval(), states if detector.layers == "all" else states[-1:])
                scores = detector.backend.scores(logits)
                assert scores.shape == LABELS.shape and scores.isfinite().all(), detector.backend.config["name"]


@pytest.mark.parametrize(
    "backend", ["nes2net_x", {"name": "raptor", "num_blocks": 1}, {"name": "nes2net_x", "nes_ratio": [4, 8]}]
)
def test_zeros_fill_up_hidden_states_that_a_back_end_cannot_split(backend):
    detector = Detector.from_config({"frontend": "lps", "backend": backend}).eval()
    waveform = 0.1 * torch.randn(1, 8000)
    with torch.inference_mode():
        features = detector.features(detector.hidden_states(waveform))
        last = features if isinstance(features, Tensor) else features[-1]
        assert detector.frontend.out_dim == 865 and not last[..., 865:].any() and last[..., :865].any()
        assert detector.num_zeros == last.shape[2] - 865 < 64 and detector(waveform).isfinite().all()
        again = Detector.from_config(detector.config)
        again.load_state_dict(detector.state_dict())
        torch.testing.assert_close(again.eval()(waveform), detector(waveform))
