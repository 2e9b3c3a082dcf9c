"""The names of commands: those of ``cli``, and those of the apps that were not deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from nes2net.lib.errors import InputError
from nes2net.lib.parts.registry import Registry, without_missing_modules
from nes2net.lib.storage.files import AnyPath

if TYPE_CHECKING:
    from nes2net.detector import Detector

#: The commands, by their group in the help: group → name → ``"module:attribute"``.
COMMANDS: dict[str, dict[str, str]] = {
    "prepare": {"data": "nes2net.cli.data:data", "augment": "nes2net.cli.augment:augment"},
    "train": {"train": "nes2net.cli.train:train", "average": "nes2net.cli.average:average"},
    "score": {
        "models": "nes2net.apps.info.models_command:models",
        "predict": "nes2net.cli.predict:predict",
        "explain": "nes2net.apps.explanation.command:explain",
        "report": "nes2net.apps.report.command:report",
        "serve": "nes2net.apps.serve.command:serve",
        "listen": "nes2net.apps.listen.command:listen",
        "enrol": "nes2net.apps.enrolment.command:enrol",
        "score": "nes2net.cli.score:score",
        "scale": "nes2net.apps.scale.command:scale",
        "embed": "nes2net.cli.embed:embed",
    },
    "evaluate": {
        "evaluate": "nes2net.cli.evaluate:evaluate",
        "calibrate": "nes2net.cli.calibrate:calibrate",
        "robustness": "nes2net.apps.robustness.command:robustness",
        "experiment": "nes2net.apps.experiments.command:experiment",
    },
    "inspect and share": {
        "info": "nes2net.apps.info.command:info",
        "bench": "nes2net.apps.bench.command:bench",
        "export": "nes2net.apps.export.command:export",
    },
    "more": {"published": "nes2net.cli.published.command:published"},
}
#: The commands of :data:`COMMANDS` and of installed packages, by name.
commands: Registry[Callable[..., int | None]] = Registry(
    "command",
    "commands",
    without_missing_modules({name: target for group in COMMANDS.values() for name, target in group.items()}),
    "types:FunctionType",
    registers="instance",
)


def export(detector: Detector, to: str, out: AnyPath, **settings: Any) -> Path:
    """Write ``detector`` to ``out`` in the format ``to``, as `nes2net export`, and return the path.

    Args:
        to: ``pth``, ``safetensors``, ``merged``, ``hf``, ``onnx`` or ``space``.
        settings: ``quantize="int8"`` for ``onnx``; ``calibration``, a file, for ``space``.

    Raises:
        InputError: if the app was deleted, or the detector cannot be written in this format.
    """
    if not commands.is_built_in("export"):
        raise InputError(
            "nes2net.export needs the folder nes2net/apps/export, which was deleted: install nes2net again"
        )
    write = resolve_name("nes2net.apps.export.formats:export")
    return write(detector, to, out, **settings)  # type: ignore[no-any-return]
