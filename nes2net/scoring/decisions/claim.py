"""What a calibration keeps to decide on claimed people."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.lib.storage.plain_data import Natural, Value
from nes2net.metrics.sasv import SasvWeights

RuleName = Literal["ratio", "sum", "product_linear", "product_sigmoid", "product_posterior", "sum_llr", "cascade"]


class SasvFit(NamedTuple):
    """Affine maps of scores to log-likelihood ratios, or of a cascade to scores with one threshold; and the rule."""

    asv_scale: Value
    asv_offset: Value
    cm_scale: Value
    cm_offset: Value
    loss: Value
    """Of the trials: in nats, or the a-DCF if the rule is not the ratio."""
    weights: SasvWeights
    """That of spoofed trials is 0 if live is not checked."""
    counts: list[Natural]
    """Trials of each class."""
    threshold: Value
    """Lowest accepted result of the rule."""
    rule: RuleName = "ratio"
    refusal: str = ""
    """Why live is not checked."""
    doubts: tuple[str, ...] = ()
    """Why decisions may be worth little."""
    encoder: str = ""
    """Identity of the speaker encoder."""

    def llrs(self, asv: ArrayLike, cm: ArrayLike) -> NDArray:
        """Calibrate scores (N,) to ratios (2, N)."""
        return apply_maps(self[:4], np.stack([asv, cm]))


def apply_maps(maps: ArrayLike, scores: NDArray) -> NDArray:
    """Apply scale and offset of each row (2, 2) to ``scores`` (2, N)."""
    scales, offsets = np.reshape(maps, (2, 2, 1)).swapaxes(0, 1)
    return scales * scores + offsets
