"""The settings of this machine, which are flags of `nes2net experiment`, too."""

from __future__ import annotations

from dataclasses import dataclass

from nes2net.actions.flags import BatchFlags


@dataclass(frozen=True)
class Machine(BatchFlags):
    """Computing.

    Args:
        device: auto, cpu, cuda or cuda:N
        overwrite: replace scores of changed audio, another device or another checkpoint
    """

    device: str = "auto"
    overwrite: bool = False
