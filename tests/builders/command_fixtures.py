"""Commands that run in the process of the tests."""

import functools
import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.capture import CaptureResult

from nes2net.cli import main as command_line
from nes2net.data.registry import corpora
from nes2net.lib.shell.command_line import OneLineParser
from nes2net.lib.shell.commands import add_command

REPOSITORY = Path(__file__).resolve().parents[2]
_build_parser = command_line.build_parser


@functools.cache
def _parser_for(*names):
    return _build_parser()


def _parser():
    """The parser for the corpora and commands that are registered now, because packages of tests add some."""
    return _parser_for(*corpora.names(), *command_line.commands.names())


@pytest.fixture(scope="module", autouse=True)
def one_parser():
    """Build the parser of all commands once, because that takes longer than most errors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_line, "build_parser", _parser)
        yield


def runner_of(function) -> Callable:
    """A function that runs ``function`` as a command, with the words of a text."""
    parser = OneLineParser(prog="program")
    add_command(parser.add_subparsers(), function)

    def run(words: str) -> None:
        arguments = parser.parse_args([function.__name__, *words.split()])
        arguments.function(arguments)

    return run


@pytest.fixture
def workdir(tmp_path, monkeypatch) -> Path:
    """The temporary folder, as the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(capsys) -> Callable:
    """A function that runs a command: its exit status, standard output and standard error.

    The words of the command are a list, or a text to split.
    """

    def run(words, program=command_line.main):
        capsys.readouterr()
        try:
            status = program(words.split() if isinstance(words, str) else [str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def output(command) -> Callable:
    """A function that runs a command, which must end with this status: what it prints, as ``out`` and ``err``."""

    def run(words, status=0, **options):
        ended, out, err = command(words, **options)
        assert ended == status, (out, err)
        return CaptureResult(out, err)

    return run


@pytest.fixture
def script(output, monkeypatch) -> Callable:
    """A function that runs ``python SCRIPT ARGUMENTS``, which must end with this status: what it prints."""

    def run(line, status=0):
        program, name, *words = shlex.split(line)
        assert program == "python"

        def start(words):
            monkeypatch.setattr(sys, "argv", [name, *words])
            runpy.run_path(str(REPOSITORY / name), run_name="__main__")

        return output(words, status, program=start)

    return run


@pytest.fixture
def refused(command) -> Callable:
    """A function that asserts that a command ends with status 2 and one line of error, which it returns.

    The line contains each of ``messages``; if ``silent``, nothing is on standard output.
    """

    def refuse(words, *messages, silent=False, **options):
        status, out, err = command(words, **options)
        assert status == 2, (out, err)
        assert err.count("\n") == 1, err
        if silent:
            assert not out
        for message in messages:
            assert message in err
        return err

    return refuse
