"""Options that make every registered part small: 32 numbers a frame, few layers, a fraction of a second."""

from __future__ import annotations

from typing import Any

import pytest

from nes2net.models import registry
from nes2net.models.frontends.sizes import SIZES

_WIDTHS = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4, "encoder_layers": 2}
_ENCODER = {
    **{**_WIDTHS, "conv_pos_groups": 4, "pretraining_heads": False},
    "conv_feature_layers": [[32, 16, 8], [32, 4, 4], [32, 4, 4], [32, 4, 2]],  # 16 ms hop
}
_SPEECH = {**_ENCODER, "conv_pos": 8}
#: Settings of the transformers library.
_CONFORMER = {
    "model_type": "wav2vec2-conformer",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "conv_depthwise_kernel_size": 5,
    "num_conv_pos_embedding_groups": 4,
    "conv_dim": [32] * 4,
    "conv_kernel": [16, 4, 4, 4],  # as _ENCODER
    "conv_stride": [8, 4, 4, 2],
}
_NESTED = {"nes_ratio": [4, 4]}
#: The front-end that is computed fastest, and a detector with it.
SPECTRUM = {"name": "lps", "n_fft": 128, "num_bins": 20}
SPECTRAL_MODEL = {"frontend": SPECTRUM, "backend": "asp_mlp"}
FRONTENDS = {
    "ast": {**_WIDTHS, "max_length": 128, "num_mel_bins": 26, "time_stride": 2},  # 20 ms hop
    "audio_encoder": {"configuration": _CONFORMER},
    "data2vec": {**_ENCODER, "pos_conv_depth": 2, "pos_conv_kernel": 5},
    "hubert": _SPEECH,
    "lfcc": {"num_coefficients": 16, "deltas": 1},
    "lps": {"n_fft": 256, "num_bins": 32},
    "teacher_student": {"teacher": {"name": "wav2vec2_small", **_SPEECH}, "student": {"encoder_layers": 1}},
    "w2v_bert2": {**_WIDTHS, "conv_kernel": 5},
    "wav2vec2": _SPEECH,
    "waveform": {},
    "wavlm": _SPEECH,
    "whisper": {**_WIDTHS, "chunk_length": 1, "num_mel_bins": 20},
}
AGGREGATIONS = {
    "attm": {},
    "last": {},
    "moe": {"experts_per_layer": 2, "top_k": 1, "hidden_dim": 8},
    "sea": {},
    "weighted_sum": {},
}
#: The number of hidden states that a back-end reads, ``num_layers``, follows from the front-end.
BACKENDS = {
    "aasist": {},
    "aasist2": {"width": 4, "scale": 3},
    "asp_cosine": {"hidden_dim": 16},
    "asp_mlp": {},
    "attm_lstm": {"lstm_dim": 16},
    "conformer": {"num_blocks": 1, "embed_dim": 32},
    "ensemble": {"projection_dim": 16, "hidden_dim": 16, "lstm_layers": 1},
    "gf": {"hidden_dim": 16},
    "lgf": {"hidden_dim": 16},
    "llgf": {"hidden_dim": 64},
    "logistic": {},
    "mamba": {"num_layers": 2, "embed_dim": 32},
    "mambo": {"num_layers": 1, "num_mixers": 1, "embed_dim": 32, "head_dim": 16},
    "mean_linear": {},
    "mfa": {"bottleneck_dim": 8},
    "multires_gmlp": {"gmlp_layers": 1, "max_frames": 64},
    "mpif_res2net": {"num_frames": 32, "planes": [4, 4, 8, 8], "blocks": [1, 1, 1, 1], "scale": 4},
    "nes2net": _NESTED,
    "nes2net_la": {**_NESTED, "pool": None, "utterance": "min"},
    "nes2net_x": {**_NESTED, "pool": None, "utterance": "attentive"},
    "nes2net_x_selu": _NESTED,
    "one_class_distillation": {"backend": {"name": "asp_mlp"}},
    "raptor": {"num_blocks": 1},
    "raw_aasist": {},
    "raw_aasist_l": {},
    "sls": {"num_frames": 31},
    "spectra_aasist": {"bridge_dim": 12, "gat_dims": (16, 16), "max_frames": 128},
    "spectra_ecapa": {"bridge_dim": 8, "channels": 8, "mfa_dim": 12, "attention_dim": 8, "se_dim": 8},
    "tcm": {"num_blocks": 1, "embed_dim": 32},
}


def frontend_families() -> list[str]:
    """The registered front-ends, without the names that are other options of one of them."""
    sizes = {"wav2vec2_small", *(name for name, size in SIZES.items() if name != size.frontend)}
    return [name for name in registry.frontends.names() if name not in sizes]


def small_options(table: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """The small options of a part; a name without them fails the test."""
    if name not in table:
        pytest.fail(f"'{name}' has no small options: add them to tests/builders/small_parts.py, {{}} if it is small")
    return table[name]
