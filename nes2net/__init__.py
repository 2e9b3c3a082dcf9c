"""nes2net: speech anti-spoofing with the Nes2Net systems.

Trains detectors, averages checkpoints, scores recordings and evaluates scores.

``__all__`` is the public interface. Names are imported when used, so that ``import nes2net`` does
not import torch.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nes2net.version import __version__ as __version__

#: Environment variables that stop libraries from sending reports to their makers. A library reads its variable when the
#: library is imported, so the variables are set here, before any such import.
NO_REPORTS = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
for _name, _value in NO_REPORTS.items():
    os.environ.setdefault(_name, _value)

__all__ = [
    "Detector",
    "InputError",
    "augment",
    "average_checkpoints",
    "create_aggregation",
    "create_backend",
    "create_frontend",
    "decisions",
    "list_models",
    "load_state_dict",
    "localisation",
    "losses",
    "metrics",
    "speakers",
]

if TYPE_CHECKING:  # editors and type checkers do not see names that are imported late
    from nes2net import metrics
    from nes2net.data import augment
    from nes2net.detector import Detector
    from nes2net.lib.errors import InputError
    from nes2net.metrics import localisation
    from nes2net.models import speakers
    from nes2net.models.catalogue import list_models
    from nes2net.models.checkpoints.averaging import average_checkpoints
    from nes2net.models.checkpoints.state_dict import load_state_dict
    from nes2net.models.registry import create_aggregation, create_backend, create_frontend
    from nes2net.scoring import decisions
    from nes2net.training import losses

#: The public names that stand for modules.
_MODULES = {"augment", "decisions", "localisation", "losses", "metrics", "speakers"}
#: Public name → module that contains the name.
_MODULE_OF = {
    "Detector": "nes2net.detector",
    "InputError": "nes2net.lib.errors",
    "augment": "nes2net.data",
    "average_checkpoints": "nes2net.models.checkpoints.averaging",
    "create_aggregation": "nes2net.models.registry",
    "create_backend": "nes2net.models.registry",
    "create_frontend": "nes2net.models.registry",
    "decisions": "nes2net.scoring",
    "list_models": "nes2net.models.catalogue",
    "load_state_dict": "nes2net.models.checkpoints.state_dict",
    "localisation": "nes2net.metrics",
    "losses": "nes2net.training",
    "metrics": "nes2net",
    "speakers": "nes2net.models",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'nes2net' has no attribute '{name}'")
    module = _MODULE_OF[name]
    return import_module(f"{module}.{name}") if name in _MODULES else getattr(import_module(module), name)


def __dir__() -> list[str]:
    """List all names, also those not imported yet."""
    return sorted({*globals(), *__all__})
