"""Results as plain data for JSON."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def plain(value: Any) -> Any:
    """Convert a result to plain data: a dataclass or named tuple to a mapping of its fields.

    Fields that are not in the representation of a dataclass, such as scores, are left out. A number
    that is not finite becomes None.

    >>> plain({"interval": (0.25, math.inf)})
    {'interval': [0.25, None]}
    """
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value) if one.repr}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Collection) and not isinstance(value, str):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
