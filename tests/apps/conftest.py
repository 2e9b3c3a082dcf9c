"""Commands that run in the process of the tests."""

from builders.command_fixtures import command, one_parser, output, refused, script, workdir

__all__ = ["command", "one_parser", "output", "refused", "script", "workdir"]
