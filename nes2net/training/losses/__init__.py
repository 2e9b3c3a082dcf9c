"""Losses of the published recipes, for class numbers and mixed labels."""

from nes2net.training.losses.criterion import Criterion
from nes2net.training.losses.logits import BinaryFocal, WeightedCrossEntropy
from nes2net.training.losses.vectors import (
    AdditiveAngularMarginSoftmax,
    AdditiveMarginSoftmax,
    AngularSoftmax,
    CosineError,
    OneClassSoftmax,
    P2SGrad,
    Prototypes,
)

__all__ = [
    "AdditiveAngularMarginSoftmax",
    "AdditiveMarginSoftmax",
    "AngularSoftmax",
    "BinaryFocal",
    "CosineError",
    "Criterion",
    "OneClassSoftmax",
    "P2SGrad",
    "Prototypes",
    "WeightedCrossEntropy",
]
