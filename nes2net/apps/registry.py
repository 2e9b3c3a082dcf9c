"""The names of commands: those of ``cli``, and those of the apps that were not deleted."""

from collections.abc import Callable

from nes2net.lib.parts.registry import Registry, without_missing_modules

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
