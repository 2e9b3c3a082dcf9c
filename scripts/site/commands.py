"""The site's page of all commands, made from their parsers."""

from __future__ import annotations

import argparse
import re

from nes2net.cli.main import build_parser


def page() -> str:
    """Write the page in Markdown: a table of all commands, then the help of each."""
    parsers = build_parser().commands()
    meanings = {name: (parser.description or "").rstrip(".") for name, parser in parsers.items()}
    blocks = ["# Commands", "This is what `nes2net COMMAND --help` prints.", "| command | |\n|---|---|"]
    blocks[-1] += "".join(
        f"\n| [`{name}`](#nes2net-{name.replace(' ', '-')}) | {escaped(meanings[name])} |" for name in meanings
    )
    for name in meanings:
        blocks += [f"## nes2net {name}", *command(parsers[name])]
    return "\n\n".join(blocks) + "\n"


def command(parser: argparse.ArgumentParser) -> list[str]:
    """Describe one command: usage, what it does, and its arguments by groups."""
    blocks = [prose(parser.description), fenced(parser.format_usage())]
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.help != argparse.SUPPRESS and action.dest not in ("help", "subcommand")
        ]
        if actions:
            blocks += [f"**{escaped(group.title or '')}**", prose(group.description)]
            blocks += ["\n".join(f"- {argument(formatter, action)}" for action in actions)]
    return [block for block in [*blocks, prose(parser.epilog)] if block]


def argument(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    """Write an argument of a command: its flags, what it takes, and its meaning."""
    names = formatter._format_action_invocation(action)
    meaning = formatter._expand_help(action) if action.help else ""
    return f"`{names}`" + (f": {escaped(' '.join(meaning.split()))}" if meaning else "")


def prose(text: str | None) -> str:
    """Turn a help text into Markdown: blocks with indented lines, such as examples, stay as they are."""
    blocks = []
    for paragraph in (text or "").strip("\n").split("\n\n"):
        lines = paragraph.splitlines()
        if any(line.startswith(" ") for line in lines):
            head = [line for line in lines[:1] if not line.startswith(" ")]
            blocks += [*map(escaped, head), fenced("\n".join(lines[len(head) :]))]
        else:
            blocks.append(escaped(" ".join(lines)))
    return "\n\n".join(filter(None, blocks))


def fenced(text: str) -> str:
    """Put ``text`` into a block of code."""
    return f"```text\n{text.rstrip()}\n```"


def escaped(text: str) -> str:
    """Escape the signs of Markdown in a help text, except in `code`."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else re.sub(r"([\\*_<>\[\]|])", r"\\\1", piece) for piece in pieces)
