"""A user's own module as a back-end, without the contract."""

from __future__ import annotations

from torch import Tensor, nn

from nes2net.lib.parts.contracts import PartCheck
from nes2net.models.backends.base import Backend


class PlainModule(Backend):
    """A ``module``, features B×T×D → logits B×1 or B×2, bona fide last; only its own code can build it again."""

    def __init__(self, module: nn.Module, feature_dim: int) -> None:
        super().__init__(feature_dim)
        self.network = module
        name = type(module).__name__
        self.config = {"name": name}
        self.check = PartCheck(name)

    def forward(self, features: Tensor) -> Tensor:  # type: ignore[override]
        """Compute logits B×n from ``features`` B×T×D.

        Raises:
            InputError: if the module computes something else.
        """
        logits = self.network(features)
        fits = isinstance(logits, Tensor) and logits.shape[1:] in [(1,), (2,)]
        self.check.that(fits, "forward returned", logits, "logits B × 1, or B × 2 with bona fide last")
        return logits  # type: ignore[no-any-return]
