"""Small detectors that use every registered part."""

from __future__ import annotations

from typing import Any

from nes2net import Detector
from nes2net.models import registry

_SSL = {
    "encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4, "conv_pos": 16,
    "conv_pos_groups": 4, "conv_feature_layers": [[32, 16, 8], [32, 4, 4], [32, 4, 4], [32, 4, 2]],
}  # fmt: skip
WAV2VEC2 = {"name": "wav2vec2_small", **_SSL}
_MEL = {"encoder_layers": 1, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4}
FRONTENDS = {
    "raw_aasist": "waveform", "raw_aasist_l": "waveform", "mpif_res2net": {"name": "lps", "num_bins": 45},
    "multires_gmlp": {**WAV2VEC2, "encoder_embed_dim": 128},  # the last of its seven scales has a 64th of this width
    "one_class_distillation": {"name": "teacher_student", "teacher": WAV2VEC2, "student": {"encoder_layers": 1}},
}  # fmt: skip
SMALLER: dict[str, dict[str, Any]] = {
    "aasist2": {"width": 4, "scale": 3},
    "asp_cosine": {"num_layers": 2},
    "attm_lstm": {"num_layers": 2},
    "conformer": {"num_blocks": 2},
    "ensemble": {"kind": "classification", "num_layers": 2},
    "mamba": {"num_layers": 4},
    "mambo": {"embed_dim": 32, "num_layers": 1, "num_mixers": 1, "state_dim": 16, "head_dim": 32},
    "mfa": {"num_layers": 2},
    "mpif_res2net": {"num_frames": 64, "planes": [8, 16, 32, 64], "scale": 4},
    "multires_gmlp": {"num_layers": 2, "gmlp_layers": 1, "max_frames": 256},
    "one_class_distillation": {"backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}},
    **{name: {"nes_ratio": [4, 4]} for name in ("nes2net", "nes2net_la", "nes2net_x", "nes2net_x_selu")},
    "raptor": {"num_blocks": 1},
    "sls": {"num_layers": 2},
    "tcm": {"num_blocks": 2},
}


def systems() -> dict[str, dict[str, Any]]:
    """Configure small detectors that use every registered back-end, aggregation and kind of front-end: title → configuration."""
    configurations: dict[str, dict[str, Any]] = {}
    for name in registry.backends.names():
        backend = {"name": name, **SMALLER.get(name, {})}
        configurations[f"back-end {name}"] = {"frontend": FRONTENDS.get(name, WAV2VEC2), "backend": backend}
    for name in registry.aggregations.names():
        configurations[f"aggregation {name}"] = {"frontend": WAV2VEC2, "aggregation": name, "backend": "asp_mlp"}
    small = {
        **dict.fromkeys(("hubert", "wavlm"), _SSL),
        "w2v_bert2": _MEL,
        "whisper": {**_MEL, "chunk_length": 4},
        "lps": {},
        "lfcc": {},
    }
    for name, options in small.items():
        configurations[f"front-end {name}"] = {"frontend": {"name": name, **options}, "backend": "asp_mlp"}
    return configurations


def samples_of(detector: Detector, usual: int) -> int:
    """The number of samples for a detector: ``usual``, or its own if its back-end reads one number of frames."""
    return detector.min_samples if detector.backend.fixed_frames else usual
