"""A fusion of other systems' scores."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.computing.devices import at_least_float32, without_autocast
from nes2net.lib.errors import check_setting
from nes2net.lib.parts.options import FeatureDim, Logits, Size, UpTo1000, at_most_states
from nes2net.models.backends.base import HiddenStates, LogitLayer
from nes2net.models.backends.layer_sum import LayerSum

_PERCEPTRON_DIM = 40  # size of the hidden layer of each perceptron


class ReversedLogitLayer(LogitLayer):
    """A last layer B×E → B×n: bona fide is the first row of weights and the last logit."""

    def forward(self, embeddings: Tensor) -> Tensor:
        return super().forward(embeddings).flip(1)


class Ensemble(LayerSum):
    """Ensemble: a fusion of other systems' scores whose weights depend on the utterance.

    Hidden states, at least L + 1 tensors B×T×``feature_dim``, and scores B×S → logits B×2.
    :class:`LayerSum` and LSTM layers follow; from the LSTM's last frame, a perceptron for each
    class computes a weight for each system. The logit of a class is the sum over the S systems of
    weight · (score − bias).

    States 1 to L, the outputs of the layers before the front-end's final layer norm, are used.
    ``scores`` are ordered and normalised as in training (:mod:`nes2net.scoring.system_scores`), as
    published CQCC-GMM, LFCC-GMM, LFCC-LCNN, RawNet2.

    Bona fide is column 0 in the published code and files, and column 1 of the logits here. As
    published, the score is only the logit of bona fide. The weights of the layers may be negative;
    they are divided by their sum, except with ``kind="classification"``.

    A graph of ``torch.export`` has a fixed number of frames, because of ``nn.LSTM``; an ONNX file
    does not.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        kind: ``"fusion"``; or ``"classification"``, which takes no scores: a perceptron computes
            the logits from the last frame of the LSTM.
        num_layers: L, number of layers that are summed.
        projection_dim: size of a frame after the linear map.
        hidden_dim: hidden size of the LSTM.
        lstm_layers: number of layers of the LSTM.
        num_scores: S, number of systems whose scores are fused; not used by ``"classification"``.
        num_logits: n; 2 for ``"fusion"``.

    Raises:
        InputError: if ``num_logits`` is not 2 for ``"fusion"``.

    >>> backend = Ensemble(feature_dim=16, num_layers=4)
    >>> backend([torch.randn(2, 50, 16)] * 5, torch.rand(2, 4)).shape
    torch.Size([2, 2])
    """

    source = (
        'E. Rosello, A. M. Gomez, I. López-Espejo, A. M. Peinado, J. M. Martín-Doñas, "Anti-spoofing '
        "ensembling model: dynamic weight allocation in ensemble models for improved voice biometrics "
        'security", Interspeech 2024.'
    )
    wants_final_norm = False

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 1024,
        kind: Literal["fusion", "classification"] = "fusion",
        num_layers: Annotated[int, Field(ge=1, le=128), at_most_states(unread=1)] = 24,
        projection_dim: Size = 128,
        hidden_dim: Size = 80,
        lstm_layers: Annotated[int, Field(ge=1, le=16)] = 3,
        num_scores: UpTo1000 = 4,
        num_logits: Logits = 2,
    ) -> None:
        # Both kinds have the same LSTM and the same layers before it, but differ in the weights of
        # the layers and in the perceptrons.
        layer_weights: Literal["sum", "plain"] = "sum" if kind == "fusion" else "plain"
        super().__init__(feature_dim, num_layers, projection_dim, layer_weights)
        self.kind = kind
        if kind == "fusion":
            check_setting("model.backend.num_logits", num_logits, num_logits == 2, "2 for a fusion, one for each class")
            self.num_scores = num_scores
            self.biases = nn.Parameter(torch.rand(num_scores))
        self.lstm = nn.LSTM(projection_dim, hidden_dim, lstm_layers, batch_first=True)
        if kind == "fusion":
            self.lineal_weights_b = _build_perceptron(hidden_dim, LogitLayer(_PERCEPTRON_DIM, num_scores))
            self.lineal_weights_s = _build_perceptron(hidden_dim, LogitLayer(_PERCEPTRON_DIM, num_scores))
        else:
            self.lineal_class = _build_perceptron(hidden_dim, ReversedLogitLayer(_PERCEPTRON_DIM, num_logits))
            self.last_layer_name = "lineal_class.2"  # the perceptron's LogitLayer

    def forward(self, hidden_states: HiddenStates, scores: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Compute logits B×n, spoof first.

        Args:
            scores: B×S of other systems; ignored with ``kind="classification"``.

        Raises:
            InputError: if hidden states or scores are missing or have a wrong shape.
        """
        if self.kind == "classification":
            return super().forward(hidden_states)
        weights_bonafide, weights_spoof = self.system_weights(hidden_states)
        self.check_scores(scores, weights_bonafide.shape[0])  # len() would fix the batch size in an exported graph
        assert scores is not None  # check_scores() has already refused None
        with without_autocast(scores.device):  # in half precision, the scores would be rounded
            unbiased = at_least_float32(scores) - at_least_float32(self.biases)
            return torch.stack([(weights * unbiased).sum(1) for weights in (weights_spoof, weights_bonafide)], dim=1)

    def system_weights(self, hidden_states: HiddenStates) -> tuple[Tensor, Tensor]:
        """Compute the weights of the S systems in a fusion: B×S for bona fide, B×S for spoof."""
        summary = self.summary(hidden_states)
        # "lineal" is in the published names.
        return self.lineal_weights_b(summary), self.lineal_weights_s(summary)

    def embed(self, hidden_states: HiddenStates) -> Tensor:
        """Return :meth:`summary`, or the perceptron's hidden layer B×40 with ``kind="classification"``."""
        summary = self.summary(hidden_states)
        return summary if self.kind == "fusion" else self.lineal_class[:-1](summary)

    def summary(self, hidden_states: HiddenStates) -> Tensor:
        """Compute the last frames B×``hidden_dim`` of the LSTM from at least L + 1 ``hidden_states`` B×T×D."""
        x = self.project_layer_sum(hidden_states)
        if not torch.compiler.is_exporting():
            return self.lstm(x)[0][:, -1]
        # For the export, compute the layers one after the other: torch.onnx fixes the number of
        # frames if an LSTM has several layers.
        zeros = x.new_zeros(1, x.shape[0], self.lstm.hidden_size)
        for weights in self.lstm.all_weights:
            # The last six arguments mean: biases, 1 layer, no dropout, not in training, one direction, batch first.
            x = torch.lstm(x, (zeros, zeros), tuple(weights), True, 1, 0.0, False, False, True)[0]
        return x[:, -1]


def _build_perceptron(hidden_dim: int, last: nn.Linear) -> nn.Sequential:
    return nn.Sequential(nn.Linear(hidden_dim, _PERCEPTRON_DIM), nn.ReLU(), last)
