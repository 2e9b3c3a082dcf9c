"""What can be scored with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nes2net.frontends.base import UsedSamples


class Scorer(Protocol):
    """A detector as scoring sees it: a :class:`nes2net.Detector`, or one that was exported.

    Attributes:
        device: where it computes; :meth:`scores` takes waveforms there.
        dtype: precision of the computation.
        min_samples: samples of the shortest waveform that it takes.
        used_samples: how many leading samples its scores depend on.
        config: what builds its architecture again; plain data.
        record: what its checkpoint says of its making; plain data, empty if it says nothing.
    """

    device: torch.device
    dtype: torch.dtype
    config: dict[str, Any]
    record: dict[str, Any]

    @property
    def min_samples(self) -> int: ...

    @property
    def used_samples(self) -> UsedSamples: ...

    def scores(self, waveform: Tensor) -> Tensor:
        """Scores (B,) of ``waveform`` B×N, 16 kHz, in [−1, 1]; higher means more bona fide."""
        ...

    def fingerprint(self) -> str:
        """SHA-256 of its architecture and weights, or of its files."""
        ...

    def modules(self) -> Iterable[nn.Module]:
        """The modules that have a train and an eval mode; none if it is always in eval mode."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Put it into train mode, or with ``False`` into eval mode."""
        ...

    def compile(self, **options: Any) -> None:
        """Compile it in place (``torch.compile``)."""
        ...
