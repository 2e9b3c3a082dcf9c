"""Commands that run in the process of the tests."""

from builders.command_fixtures import command, here, one_parser, refused, script

__all__ = ["command", "here", "one_parser", "refused", "script"]
