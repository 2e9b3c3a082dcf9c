"""Mixture of experts over the layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.computing.devices import at_least_float32, without_autocast
from nes2net.lib.parts.options import Size, UpTo64, UpTo1024, check_at_most
from nes2net.models.aggregations.base import Aggregation

_FLOOR = math.log(torch.finfo(torch.float64).eps)  # value of log 0 in the published code, −36.0437


class Expert(nn.Module):
    """Two linear layers with a ReLU between them, …×D → …×D."""

    def __init__(self, feature_dim: int, hidden_dim: int) -> None:
        super().__init__()
        # Linear, although published checkpoints call them conv.
        self.conv1 = nn.Linear(feature_dim, hidden_dim)
        self.conv2 = nn.Linear(hidden_dim, feature_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(F.relu(self.conv1(x)))


class ExpertChoice(NamedTuple):
    """Which k of the n experts the gate has chosen, for each of F frames."""

    experts: Tensor
    """Indices, F×k."""
    log_gates: Tensor
    """Logarithms of their gates, F×k."""
    clean: Tensor
    """Gate logits without noise, F×n."""
    noisy: Tensor
    """Gate logits with noise, F×n, by which the experts were chosen."""
    deviation: Tensor | None
    """Standard deviation of the noise, F×n; None without noise."""

    def gates(self) -> Tensor:
        """Compute the gates of all experts, F×n, 0 for those not chosen."""
        return torch.zeros_like(self.clean).scatter(1, self.experts, self.log_gates.exp())


class MixtureOfExperts(Aggregation):
    """Mixture of experts over the layers: each layer has experts, and a gate chooses a few experts for each frame.

    Compute log Σ_e gate_e · exp(expert_e(layer of e)) for each frame, over the chosen experts e.
    Each of the first L − 1 hidden states has ``experts_per_layer`` experts; the last, after the
    final layer norm, is only the gate's input. In training, noise of a learned size is added to the
    gate's logits (Shazeer et al., "Outrageously large neural networks", ICLR 2017, eqs. 3–5).

    Gate and sum are at least float32. Only the chosen experts are computed, except in a compiled or
    exported detector, with the same result.

    Args:
        experts_per_layer: number of experts of each of the first L − 1 hidden states.
        top_k: number of experts that the gate chooses for a frame.
        hidden_dim: hidden size of an expert.
        noise_epsilon: least standard deviation of the noise.
        underflow: result for an element whose sum of exponentials is 0 in float32. ``exact`` gives
            the true value; ``floor`` gives −36.04 without a gradient, as published.
        balance_weight: weight of the balancing loss in training, :meth:`balance_loss`.

    >>> MixtureOfExperts(25, 16)([torch.randn(2, 5, 16)] * 25).shape
    torch.Size([2, 5, 16])
    """

    source = (
        'Z. Wang et al., "Mixture of experts fusion for fake audio detection using frozen wav2vec 2.0", '
        "ICASSP 2025, arXiv 2409.11909."
    )
    min_layers = 2  # the last layer is only the input of the gate
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        num_layers: int,
        feature_dim: int,
        *,
        experts_per_layer: UpTo64 = 4,
        top_k: UpTo1024 = 2,
        hidden_dim: Size = 128,
        noise_epsilon: Annotated[float, Field(gt=0, le=100)] = 0.01,
        underflow: Literal["exact", "floor"] = "exact",
        balance_weight: Annotated[float, Field(ge=0)] = 0.0,
    ) -> None:
        super().__init__(num_layers, feature_dim)
        self.num_experts = (num_layers - 1) * experts_per_layer
        check_at_most("top_k", top_k, self.num_experts, "the number of experts")
        self.experts_per_layer = experts_per_layer
        self.top_k = top_k
        self.noise_epsilon = noise_epsilon
        self.underflow = underflow
        self.balance_weight = balance_weight
        # Zeros make all logits equal at first, so that the noise alone chooses experts.
        self.w_gate = nn.Parameter(torch.zeros(feature_dim, self.num_experts))
        self.w_noise = nn.Parameter(torch.zeros(feature_dim, self.num_experts))
        # Mean and standard deviation of the noise before it is scaled. The two numbers are
        # constants, and are stored here only because published files contain them.
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("std", torch.ones(1))
        self.experts = nn.ModuleList(Expert(feature_dim, hidden_dim) for _ in range(self.num_experts))

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """Aggregate ``hidden_states``, L tensors B×T×D, to B×T×D.

        In train mode, the gate gets noise, and :attr:`penalty` is ``balance_weight`` ·
        :meth:`balance_loss`.
        """
        self.check_hidden_states(hidden_states)
        frames = hidden_states[-1].flatten(0, 1)
        noise = None
        if self.training:
            noise = torch.randn(len(frames), self.num_experts, device=frames.device, dtype=frames.dtype)
        choice = self.choose(frames, noise)
        if self.training and self.balance_weight:
            self.penalty = self.balance_weight * self.balance_loss(choice)
        return self.combine(hidden_states, choice)

    def choose(self, frames: Tensor, noise: Tensor | None = None) -> ExpertChoice:
        """Let the gate choose experts for ``frames`` F×D of the last hidden state.

        Args:
            noise: standard normal numbers, F×n.
        """
        with without_autocast(frames.device):
            frames = at_least_float32(frames)
            clean = noisy = frames @ at_least_float32(self.w_gate)
            deviation = None
            if noise is not None:
                deviation = F.softplus(frames @ at_least_float32(self.w_noise)) + self.noise_epsilon
                noisy = clean + at_least_float32(noise) * deviation
            # Before training, all logits are equal. A stable sort takes the first of equal logits on every device,
            # unlike topk() on a GPU.
            logits, experts = noisy.sort(dim=1, descending=True, stable=True)
            log_gates = torch.log_softmax(logits[:, : self.top_k], dim=1)
            return ExpertChoice(experts[:, : self.top_k], log_gates, clean, noisy, deviation)

    def layer_weights(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """Compute the weight of each layer, B×L: the sum of its experts' gates without noise, averaged over time.

        The last layer has no experts and the weight 0.
        """
        last = hidden_states[-1]
        gates = self.choose(last.flatten(0, 1)).gates()
        layer_gates = gates.unflatten(1, (-1, self.experts_per_layer)).sum(2).unflatten(0, last.shape[:2])  # B×T×(L−1)
        return F.pad(layer_gates.mean(1), (0, 1))

    def combine(self, hidden_states: Sequence[Tensor], choice: ExpertChoice) -> Tensor:
        """Apply the experts in ``choice``, and compute log Σ gate · exp(output): L tensors B×T×D → B×T×D."""
        layers = [state.flatten(0, 1) for state in hidden_states[:-1]]  # F×D
        if torch.compiler.is_compiling():  # the compiler needs shapes that do not depend on the experts chosen
            outputs = layers[0].new_zeros(()).expand(*choice.experts.shape, self.feature_dim)  # F×k×D

            # Every expert computes all frames of its layer; only the outputs of the chosen experts are kept.
            for e, expert in enumerate(self.experts):
                output = expert(layers[e // self.experts_per_layer]).unsqueeze(1)
                outputs = torch.where((choice.experts == e).unsqueeze(2), output, outputs)
        else:  # each expert reads only the frames that chose it
            chosen_experts = choice.experts.flatten()  # F·k: k experts of frame 0, then k experts of frame 1, …
            order = chosen_experts.argsort(stable=True)
            if chosen_experts.is_meta:  # a meta tensor has no values to count, so split the frames evenly
                counts = [len(frames) for frames in chosen_experts.tensor_split(self.num_experts)]
            else:
                counts = F.one_hot(chosen_experts, self.num_experts).sum(dim=0).tolist()
            frames = (order // self.top_k).split(counts)  # indices of the frames of each expert
            expert_outputs = [
                expert(layers[e // self.experts_per_layer].index_select(0, frames[e]))
                for e, expert in enumerate(self.experts)
            ]
            outputs = torch.cat(expert_outputs).index_select(0, order.argsort()).unflatten(0, (-1, self.top_k))
        outputs = at_least_float32(outputs)
        merged = torch.logsumexp(outputs + choice.log_gates.unsqueeze(2), dim=1)
        if self.underflow == "floor":  # the published code sums exponentials in float32
            plain = (choice.log_gates.float().exp().unsqueeze(2) * outputs.float().exp()).sum(dim=1)
            merged = torch.where(plain == 0, merged.new_tensor(_FLOOR), merged)
        return merged.to(hidden_states[-1].dtype).view_as(hidden_states[-1])

    def balance_loss(self, choice: ExpertChoice) -> Tensor:
        """Compute a loss that is small if ``choice`` uses all experts equally (Shazeer et al., ICLR 2017, eqs. 6–11).

        It adds the squared coefficients of variation of importance and load over the experts.
        Importance is the sum of an expert's gates over all frames. Load is the expected number of
        frames that would choose the expert with new noise; without noise, or if all experts are
        chosen, the number that did.
        """
        gates = choice.gates()
        if choice.deviation is None or self.top_k == self.num_experts:
            load = (gates > 0).sum(dim=0).to(gates.dtype)
        else:
            largest = choice.noisy.topk(self.top_k + 1, dim=1).values
            smallest_chosen = largest[:, -2:-1]
            next_largest = largest[:, -1:]
            # To be chosen, an expert needs a logit above the k-th largest logit of the other experts.
            threshold = torch.where(choice.noisy > next_largest, next_largest, smallest_chosen)
            load = torch.special.ndtr((choice.clean - threshold) / choice.deviation).sum(dim=0)
        return _squared_variation(gates.sum(dim=0)) + _squared_variation(load)


def _squared_variation(x: Tensor) -> Tensor:
    return x.var() / (x.mean().square() + 1e-10)
