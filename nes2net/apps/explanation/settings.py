"""The settings of an explanation, which are flags of `nes2net explain`, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from nes2net.lib.shell.commands import Count, Flag, FromZero, Ranged, Seconds

#: Method → its name in texts.
TITLES = {
    "occlusion": "occlusion",
    "integrated_gradients": "integrated gradients",
}


@dataclass(frozen=True)
class How(Ranged):
    """How.

    Args:
        method: occlusion removes parts; integrated gradients need captum
        start: seconds to skip at the beginning
        duration: seconds to explain; all if not given
        bin_seconds: seconds of a time bin
        num_bands: frequency bands up to 8 kHz
        steps: steps of integrated gradients
        draws: random tenths that the check removes
        seed: seed of the noise and of the check
        batch_size: versions of the recording to score at once; None for a number that suits the
            device
    """

    method: Literal["occlusion", "integrated_gradients"] = "occlusion"
    start: Annotated[float, Flag("S", minimum=0)] = 0.0
    duration: Seconds | None = None
    bin_seconds: Annotated[float, Flag("S", minimum=0.008, maximum=10)] = (
        0.1  # from one window of the transform to the next
    )
    num_bands: Annotated[int, Flag("N", minimum=2, maximum=128)] = (
        16  # at least two frequencies of the transform in each
    )
    steps: Annotated[int, Flag("N", minimum=2, maximum=10_000)] = 32
    draws: Annotated[int, Flag("N", minimum=1, maximum=10_000)] = 20
    seed: FromZero = 0
    batch_size: Count | None = None
