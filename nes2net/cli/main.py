"""The command line: `nes2net COMMAND`; each command is a module beside this one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from nes2net.cli import (
    arena,
    augment,
    average,
    bench,
    calibrate,
    check_data,
    completion,
    download,
    embed,
    evaluate,
    experiment,
    explain,
    export,
    info,
    merge,
    pack,
    predict,
    reproduce,
    robustness,
    scale,
    score,
    serve,
    train,
)
from nes2net.cli.entry import WRONG_INPUT, OneLineParser, run
from nes2net.cli.flags import add_command
from nes2net.cli.published import command as published
from nes2net.version import __version__

_EXAMPLE = """nes2net predict recording.wav --model detector.pth
nes2net train asvspoof2019_nes2net_x data.root=DB"""


class _Parser(OneLineParser):
    """Accept the ``key=value`` arguments of a command after its options too."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        namespace, left = super().parse_known_args(args, namespace)
        words = [word for word in left if word != "--"]
        if "overrides" in namespace and not any(word.startswith("-") for word in words):
            namespace.overrides = [*namespace.overrides, *words]
            left = []
        return namespace, left


def _made_of(*functions: Callable[..., int | None]) -> list[Callable]:
    """What adds a command for each of ``functions``."""
    return [partial(add_command, function=function) for function in functions]


def build_parser() -> OneLineParser:
    """Build the parser of all commands, whose help groups them by task."""
    parser = _Parser(prog="nes2net", description="Speech anti-spoofing with Nes2Net.", example=_EXAMPLE)
    parser.epilog = "nes2net COMMAND --help says more about a command."
    parser.add_argument("--version", action="version", version=f"nes2net {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    tasks: dict[str, list[Callable]] = {
        "prepare": _made_of(download.download, check_data.check_data, pack.pack, augment.augment),
        "train": [train.add, *_made_of(average.average, merge.merge)],
        "score": _made_of(predict.predict, explain.explain, serve.serve, score.score, scale.scale, embed.embed),
        "evaluate": _made_of(
            evaluate.evaluate,
            calibrate.calibrate,
            calibrate.fuse,
            calibrate.apply_calibration,
            robustness.robustness,
            reproduce.reproduce,
            experiment.experiment,
        ),
        "inspect and share": _made_of(info.info, bench.bench, export.export, arena.arena),
        "more": [published.add, partial(completion.add, parser=parser)],
    }
    for task, additions in tasks.items():
        listed = len(commands._choices_actions)
        for add in additions:
            add(commands)
        # The commands of a task are a group of the help, instead of one long list of all.
        parser.add_argument_group(task)._group_actions += commands._choices_actions[listed:]
    others = [group for group in parser._action_groups if group not in (parser._subparsers, parser._optionals)]
    parser._action_groups = [*others, parser._optionals]
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    if not (sys.argv[1:] if argv is None else argv):
        parser.print_help(sys.stderr)
        return WRONG_INPUT
    return run(lambda args: args.function(args), parser, argv)


if __name__ == "__main__":
    sys.exit(main())
