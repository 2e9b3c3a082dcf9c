"""The names of losses and of tasks."""

from typing import Any

from nes2net.lib.parts.registry import Registry, without_missing_modules

losses: Registry[Any] = Registry(
    "loss",
    "losses",
    {
        "cross_entropy": "nes2net.training.losses:WeightedCrossEntropy",
        "focal": "nes2net.training.losses:BinaryFocal",
        "angular_softmax": "nes2net.training.losses:AngularSoftmax",
        "am_softmax": "nes2net.training.losses:AdditiveMarginSoftmax",
        "aam_softmax": "nes2net.training.losses:AdditiveAngularMarginSoftmax",
        "oc_softmax": "nes2net.training.losses:OneClassSoftmax",
        "p2sgrad": "nes2net.training.losses:P2SGrad",
        "cosine_error": "nes2net.training.losses:CosineError",
        "prototypes": "nes2net.training.losses:Prototypes",
    },
    "nes2net.training.losses.criterion:Criterion",
    given=("head", "feature_dim", "num_classes"),
)
tasks: Registry[Any] = Registry(
    "task",
    "tasks",
    without_missing_modules(
        {
            "utterance": "nes2net.training.tasks.task:Task",
            "segments": "nes2net.training.tasks.segments:Segments",
            "fusion": "nes2net.training.tasks.fusion:Fusion",
            "distillation": "nes2net.training.tasks.distillation:Distillation",
            "logistic": "nes2net.training.tasks.logistic:Logistic",
            "source_tracing": "nes2net.training.tasks.source_tracing:SourceTracing",
        }
    ),
    "nes2net.training.tasks.task:Task",
    given=("recipe",),
)
