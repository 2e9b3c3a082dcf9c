"""nes2net: speech anti-spoofing with the Nes2Net systems — training, checkpoint averaging, scoring and evaluation.

Everything named here is the public contract. Each name is imported when it is first used, so that ``import nes2net`` does not import
torch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("nes2net")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0+unknown"

_PUBLIC = {
    "Detector": "nes2net.detector",
    "InputError": "nes2net.errors",
    "average_checkpoints": "nes2net.checkpoints.averaging",
    "create_aggregation": "nes2net.registry",
    "create_backend": "nes2net.registry",
    "create_frontend": "nes2net.registry",
    "load_state_dict": "nes2net.checkpoints.state_dict",
}
_MODULES = {"augment", "metrics"}

__all__ = sorted([*_PUBLIC, *_MODULES])


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name in _MODULES:
        return import_module(f"nes2net.{name}")
    raise AttributeError(f"module 'nes2net' has no attribute '{name}'")


def __dir__():
    return sorted([*globals(), *__all__])
