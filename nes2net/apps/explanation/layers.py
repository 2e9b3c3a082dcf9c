"""Find out how strongly a detector weighs each layer of its front-end, for one recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nes2net.apps.explanation.subject import Subject
from nes2net.scoring.kernel import scoring_mode


@dataclass(frozen=True)
class Layers:
    """Weights of the L hidden states; the first state is the input of the first transformer layer."""

    weights: NDArray
    """(L,), gates from 0 to 1, or weights that add up to 1; 0 for an unused state."""
    shares: NDArray
    """(L,), weight times root mean square of each state, scaled to add up to 1."""

    def strongest(self) -> list[int]:
        """Return the indices of the three states with the largest shares, largest first."""
        return np.argsort(-self.shares, kind="stable")[:3].tolist()


def weigh_layers(subject: Subject) -> Layers | None:
    """Return the weights of the hidden states in the aggregation or the back-end.

    None without such weights, or with only one state. The magnitudes of the states can differ by a
    factor of 100, so a weight alone says little; :attr:`Layers.shares` includes them.
    """
    detector = subject.detector
    if detector.frontend.num_layers < 2:
        return None
    waveform = subject.detector_input(subject.waveform[None]).to(detector.device)
    with scoring_mode(detector), torch.inference_mode():
        states = detector.hidden_states(waveform)
        reader = detector.backend if detector.backend.wants_layers == "all" else detector.aggregation
        batch_weights = reader.layer_weights(states)  # (1, L)
        if batch_weights is None:
            return None
        weights = batch_weights[0].double().cpu().numpy()
        sizes = torch.stack([state.double().square().mean().sqrt() for state in states]).cpu().numpy()  # (L,)
    sums = np.abs(weights) * sizes
    return Layers(weights, sums / (sums.sum() or 1.0))
