"""Loads what attempts need, once, in the process from which theirs are forked."""

from importlib import import_module, util

import builders.hostile
from nes2net.data.registry import corpora
from nes2net.models import registry

for _name in (
    "nes2net.cli.main",
    "nes2net.scoring.decisions.calibration",
    "nes2net.evaluation.page",
    "nes2net.models.onnx_detector",
    "nes2net.apps.info.costs",
    "nes2net.scoring.corpus",
    "nes2net.training.run",
    "transformers.models.wav2vec2.modeling_wav2vec2",
    "transformers.models.wavlm.modeling_wavlm",
    *filter(util.find_spec, ("onnx", "onnxruntime")),
    *(f"builders.hostile.{family}" for family in builders.hostile.FAMILIES),
):
    import_module(_name)
for _registry in (registry.frontends, registry.aggregations, registry.backends, corpora):
    for _name in _registry.names():
        _registry.get(_name)
