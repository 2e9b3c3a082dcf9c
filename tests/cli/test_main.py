"""`nes2net`: one-line errors, overrides, and commands of other packages."""

from importlib.metadata import EntryPoint
from typing import Annotated

import pytest

from nes2net.cli import main as command_line
from nes2net.lib.errors import InputError
from nes2net.lib.parts.registry import Registry
from nes2net.lib.shell.commands import Flag

build_parser = command_line.build_parser


def test_a_command_line_without_a_command_is_refused(output):
    err = output(["--"], status=2).err
    assert "the following arguments are required: COMMAND" in err


def test_overrides_of_train_may_stand_before_and_after_options():
    device = "--device cpu"
    for before in (f"recipe.yaml {device} seed=7", f"{device} recipe.yaml seed=7", f"recipe.yaml seed=7 {device}"):
        for after in ("date=1", "-- date=1"):
            args = build_parser().parse_args(["train", *before.split(), *after.split()])
            assert (args.recipe, args.overrides, args.device) == ("recipe.yaml", ["seed=7", "date=1"], "cpu")


KNOWN = "invalid choice: 'asvspoof2021_xx'; did you mean 'asvspoof2021_la'? Known: "


def test_errors_of_a_command_line_are_one_line_that_names_the_mistake(workdir, refused):
    for arguments, message in (
        ("train none.yaml", "recipe none.yaml is neither a YAML file nor"),
        ("score asvspoof2021_xx DB --model m --out o", KNOWN),
        ("average a.pth", "--out"),
        ("average a.pth --out b.pth --by loss", "--by is used only with --best"),
        ("evalute s.txt", "nes2net: error: unknown command 'evalute'; did you mean 'evaluate'? Known: "),
        ("train asvspoof2019_nes2net_x data.rot=DB", "did you mean 'data.root'?"),
        ("published main --model_nme x", "nes2net published main: error: unrecognized arguments: --model_nme; did you"),
    ):
        refused(arguments, message)


def hello(name: str, *, times: Annotated[int, Flag("N", minimum=1)] = 1) -> None:
    """Greet somebody.

    Args:
        name: whom
        times: how often
    """
    if name == "nobody":
        raise InputError("`times` says how often, but nobody is there")
    print(f"hello {name} " * times)


def untyped(name):
    """Greet nobody."""


@pytest.fixture
def other_package(monkeypatch):
    """Another package has the commands ``hello`` and ``untyped``, and ``gone``, which cannot be imported."""
    targets = {name: f"{__name__}:{name}" for name in ("hello", "untyped", "gone")}
    points = [EntryPoint(name, target, "nes2net.commands") for name, target in targets.items()]
    monkeypatch.setattr("nes2net.lib.parts.registry.entry_points", lambda group: points)
    published = {name: target for group in command_line.COMMANDS.values() for name, target in group.items()}
    commands = Registry("command", "commands", published, "types:FunctionType", registers="instance")
    monkeypatch.setattr(command_line, "commands", commands)
    monkeypatch.setattr(command_line, "build_parser", build_parser)


@pytest.mark.usefixtures("other_package")
def test_a_command_of_another_package_runs(output):
    assert output("hello you --times 2").out == "hello you hello you \n"


@pytest.mark.usefixtures("other_package")
def test_errors_in_commands_of_other_packages_have_status_2_and_a_reason(output):
    for words, message in (
        ("hello nobody", "error: --times says how often, but nobody is there"),
        ("hello you --times 0", "--times must be at least 1, not 0"),
        ("untyped", "command 'untyped' does not state the type of `name`: annotate all its parameters"),
        ("gone", "command 'gone' cannot be imported from"),
        ("gone you --times 2 --help", "command 'gone' cannot be imported from"),
    ):
        error = output(words, status=2).err
        assert message in error
