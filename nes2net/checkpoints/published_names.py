"""Names of tensors in whole-model checkpoints of the published code.

The front-end's are `ssl_model.model.…`, the aggregation's `ssl_model.…`, and the back-end's have a prefix of its own, or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nes2net.detector import Detector


def write_published_names(detector: Detector, state_dict: dict, prefix: str, _metadata: dict) -> None:
    """Hook that puts the published names in place of the modules' own in a state dict."""
    published = {
        "frontend": f"{prefix}ssl_model.",
        "aggregation": f"{prefix}ssl_model.",
        "backend": prefix + getattr(detector.backend, "checkpoint_prefix", ""),
    }
    for key in [k for k in state_dict if k.startswith(prefix)]:
        part, _, name = key[len(prefix) :].partition(".")
        state_dict[published[part] + name] = state_dict.pop(key)


def read_published_names(detector: Detector, state_dict: dict, prefix: str, *_: object) -> None:
    """Hook that puts the modules' own names in place of the published ones."""
    backend_prefix = getattr(detector.backend, "checkpoint_prefix", "")
    for key in [k for k in state_dict if k.startswith(prefix)]:
        name = key[len(prefix) :]
        if name.startswith("ssl_model.model."):
            own = "frontend." + name[len("ssl_model.") :]
        elif name.startswith("ssl_model."):
            own = "aggregation." + name[len("ssl_model.") :]
        else:
            own = "backend." + name.removeprefix(backend_prefix)
        state_dict[prefix + own] = state_dict.pop(key)
