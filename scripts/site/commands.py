"""The site's page of all commands, made from their parsers."""

from __future__ import annotations

import argparse
import re

from nes2net.cli.main import build_parser


def page() -> str:
    """Write the page in Markdown."""
    parsers = build_parser().commands()
    meanings = {name: (parser.description or "").rstrip(".") for name, parser in parsers.items()}
    parts = ["# Commands", "This is what `nes2net COMMAND --help` prints.", "| command | |\n|---|---|"]
    parts[-1] += "".join(
        f"\n| [`{name}`](#nes2net-{name.replace(' ', '-')}) | {escaped(meanings[name])} |" for name in meanings
    )
    for name in meanings:
        parts += [f"## nes2net {name}", *command(parsers[name])]
    return "\n\n".join(parts) + "\n"


def command(parser: argparse.ArgumentParser) -> list[str]:
    """Describe one command: usage, what it does, and its arguments by groups."""
    parts = [prose(parser.description), fenced(parser.format_usage())]
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.help != argparse.SUPPRESS and action.dest not in ("help", "subcommand")
        ]
        if actions:
            parts += [f"**{escaped(group.title or '')}**", prose(group.description)]
            parts += ["\n".join(f"- {argument(formatter, action)}" for action in actions)]
    return [part for part in [*parts, prose(parser.epilog)] if part]


def argument(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    """Write an argument with what it takes, and its meaning."""
    names = formatter._format_action_invocation(action)
    meaning = formatter._expand_help(action) if action.help else ""
    return f"`{names}`" + (f": {escaped(' '.join(meaning.split()))}" if meaning else "")


def prose(text: str | None) -> str:
    """Keep examples and other indented lines of a help text as they are; the rest is prose."""
    parts = []
    for block in (text or "").strip("\n").split("\n\n"):
        lines = block.splitlines()
        if any(line.startswith(" ") for line in lines):
            head = [line for line in lines[:1] if not line.startswith(" ")]
            parts += [*map(escaped, head), fenced("\n".join(lines[len(head) :]))]
        else:
            parts.append(escaped(" ".join(lines)))
    return "\n\n".join(filter(None, parts))


def fenced(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


def escaped(text: str) -> str:
    """Keep Markdown from reading signs of a help text, except backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_<>\[\]|])", r"\\\1", part) for part in parts)
