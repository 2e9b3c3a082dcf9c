"""nes2net: speech anti-spoofing with the Nes2Net systems.

Trains detectors, averages checkpoints, scores recordings and evaluates scores.

``__all__`` is the public interface. Names are imported when used, so that ``import nes2net`` does
not import torch.
"""

from __future__ import annotations

import os
from pkgutil import resolve_name
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

if TYPE_CHECKING:  # editors and type checkers do not see names that are imported late
    from nes2net import metrics as metrics
    from nes2net.actions.evaluation import evaluate as evaluate
    from nes2net.apps.registry import export as export
    from nes2net.data import augment as augment
    from nes2net.data import corpora as corpora
    from nes2net.data.augment import conditions as conditions
    from nes2net.detector import Detector as Detector
    from nes2net.evaluation.result import Result as Result
    from nes2net.lib.errors import InputError as InputError
    from nes2net.metrics import localisation as localisation
    from nes2net.models import speakers as speakers
    from nes2net.models.attacks import robustness as robustness
    from nes2net.models.catalogue import list_models as list_models
    from nes2net.models.checkpoints.averaging import average_checkpoints as average_checkpoints
    from nes2net.models.checkpoints.state_dict import load_state_dict as load_state_dict
    from nes2net.models.registry import create_aggregation as create_aggregation
    from nes2net.models.registry import create_backend as create_backend
    from nes2net.models.registry import create_frontend as create_frontend
    from nes2net.scoring import decisions as decisions
    from nes2net.scoring import score_file as score_file
    from nes2net.training import losses as losses
    from nes2net.training.averaging import average as average
    from nes2net.training.callback import Callback as Callback
    from nes2net.training.recipes.reading import load_recipe as load_recipe
    from nes2net.training.recipes.recipe import Recipe as Recipe
    from nes2net.training.run import train as train

#: Public name → its address for :func:`pkgutil.resolve_name`; a module's ends in a colon.
_ADDRESSES = {
    "Callback": "nes2net.training.callback:Callback",
    "Detector": "nes2net.detector:Detector",
    "InputError": "nes2net.lib.errors:InputError",
    "Recipe": "nes2net.training.recipes.recipe:Recipe",
    "Result": "nes2net.evaluation.result:Result",
    "augment": "nes2net.data.augment:",
    "average": "nes2net.training.averaging:average",
    "average_checkpoints": "nes2net.models.checkpoints.averaging:average_checkpoints",
    "conditions": "nes2net.data.augment.conditions:",
    "corpora": "nes2net.data.corpora:",
    "create_aggregation": "nes2net.models.registry:create_aggregation",
    "create_backend": "nes2net.models.registry:create_backend",
    "create_frontend": "nes2net.models.registry:create_frontend",
    "decisions": "nes2net.scoring.decisions:",
    "evaluate": "nes2net.actions.evaluation:evaluate",
    "export": "nes2net.apps.registry:export",
    "list_models": "nes2net.models.catalogue:list_models",
    "load_recipe": "nes2net.training.recipes.reading:load_recipe",
    "load_state_dict": "nes2net.models.checkpoints.state_dict:load_state_dict",
    "localisation": "nes2net.metrics.localisation:",
    "losses": "nes2net.training.losses:",
    "metrics": "nes2net.metrics:",
    "robustness": "nes2net.models.attacks.robustness:",
    "score_file": "nes2net.scoring.score_file:",
    "speakers": "nes2net.models.speakers:",
    "train": "nes2net.training.run:train",
}
__all__ = [*_ADDRESSES]  # of which type checkers know by the imports above


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _ADDRESSES:
        raise AttributeError(f"module 'nes2net' has no attribute '{name}'")
    return resolve_name(_ADDRESSES[name])


def __dir__() -> list[str]:
    """List the public names, also those not imported yet."""
    return __all__
