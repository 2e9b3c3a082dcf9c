"""The command line: `nes2net COMMAND`; each command is a function of a module beside this one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

from nes2net.cli.augment import augment
from nes2net.cli.average import average
from nes2net.cli.bench import bench
from nes2net.cli.calibrate import calibrate
from nes2net.cli.completion import completion_script
from nes2net.cli.data import data
from nes2net.cli.embed import embed
from nes2net.cli.entry import WRONG_INPUT, OneLineParser, run
from nes2net.cli.evaluate import evaluate
from nes2net.cli.experiment import experiment
from nes2net.cli.explain import explain
from nes2net.cli.export import export
from nes2net.cli.flags import add_command, called
from nes2net.cli.info import info
from nes2net.cli.models import models
from nes2net.cli.predict import predict
from nes2net.cli.published.command import published
from nes2net.cli.robustness import robustness
from nes2net.cli.scale import scale
from nes2net.cli.score import score
from nes2net.cli.serve import serve
from nes2net.cli.train import train
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


@called(resumes=False)
def completion(shell: Literal["bash", "zsh"]) -> None:
    """Print the script with which a shell completes commands.

    Write the script anew after an update of nes2net. docs/install.md has the lines for zsh.

    Example:
        nes2net completion bash > ~/.nes2net_completion
        echo "source ~/.nes2net_completion" >> ~/.bashrc

    Args:
        shell: which shell
    """
    print(completion_script(build_parser(), shell))


#: The commands by task, as the help groups them.
COMMANDS: dict[str, list[Callable[..., int | None]]] = {
    "prepare": [data, augment],
    "train": [train, average],
    "score": [models, predict, explain, serve, score, scale, embed],
    "evaluate": [evaluate, calibrate, robustness, experiment],
    "inspect and share": [info, bench, export],
    "more": [published, completion],
}


def build_parser() -> OneLineParser:
    """Build the parser of all commands, whose help groups them by task."""
    parser = _Parser(prog="nes2net", description="Speech anti-spoofing with Nes2Net.", example=_EXAMPLE)
    parser.epilog = "nes2net COMMAND --help says more about a command."
    parser.add_argument("--version", action="version", version=f"nes2net {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for task, functions in COMMANDS.items():
        listed = len(commands._choices_actions)
        for function in functions:
            add_command(commands, function)
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
