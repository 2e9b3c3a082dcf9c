"""What every back-end may assume of its input: checked once, in the user's words."""

from torch import Tensor

from nes2net.errors import InputError


def check_features(features: Tensor, feature_dim: int, min_frames: int = 1) -> None:
    """Raise :class:`InputError` unless ``features`` is B×T×``feature_dim`` with T ≥ ``min_frames`` (20 ms frames after XLS-R, WavLM)."""
    if features.ndim != 3 or features.shape[2] != feature_dim:
        raise InputError(
            f"features must be batch × frames × {feature_dim}, got {' × '.join(map(str, features.shape))}; "
            "build the back-end with feature_dim = the front-end's out_dim"
        )
    if features.shape[1] < min_frames:
        raise InputError(
            f"{features.shape[1]} frames are too few, this back-end needs at least {min_frames}; pad or repeat the waveform"
        )
