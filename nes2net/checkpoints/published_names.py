"""Names of tensors in whole-model checkpoints of the published code.

The front-end's are ``ssl_model.model.…``, the aggregation's ``ssl_model.…``. The back-end's begin
with a prefix of its own, which may be empty.
"""

from __future__ import annotations

from typing import Any


def write_published_names(state_dict: dict[str, Any], prefix: str, backend_prefix: str) -> None:
    """Replace the modules' own names by the published ones, where they begin with ``prefix``.

    >>> state_dict = {"frontend.model.mask_emb": 1, "backend.fc.bias": 2}
    >>> write_published_names(state_dict, "", "TDNN.")
    >>> state_dict
    {'ssl_model.model.mask_emb': 1, 'TDNN.fc.bias': 2}
    """
    published = {"frontend": "ssl_model.", "aggregation": "ssl_model.", "backend": backend_prefix}
    for key in [k for k in state_dict if k.startswith(prefix)]:
        part, _, name = key[len(prefix) :].partition(".")
        state_dict[prefix + published[part] + name] = state_dict.pop(key)


def read_published_names(state_dict: dict[str, Any], prefix: str, backend_prefix: str) -> None:
    """Replace the published names by the modules' own, where they begin with ``prefix``.

    >>> state_dict = {"ssl_model.weight_hidd": 1, "TDNN.fc.bias": 2}
    >>> read_published_names(state_dict, "", "TDNN.")
    >>> state_dict
    {'aggregation.weight_hidd': 1, 'backend.fc.bias': 2}
    """
    for key in [k for k in state_dict if k.startswith(prefix)]:
        name = key[len(prefix) :]
        if name.startswith("ssl_model.model."):
            own = "frontend." + name[len("ssl_model.") :]
        elif name.startswith("ssl_model."):
            own = "aggregation." + name[len("ssl_model.") :]
        else:
            own = "backend." + name.removeprefix(backend_prefix)
        state_dict[prefix + own] = state_dict.pop(key)
