"""A copy of the package in which only what a docstring declares is left of its prose.

Declared are the first line, the sections that explain arguments, the example of a command, and the docstrings of
a recipe's keys. Every other sentence, every docstring of a module and every comment is one word here.
"""

import ast
import inspect
import io
import re
import shutil
import tokenize
from pathlib import Path

WORD = "word"
#: Docstrings of attributes below this folder explain the keys of a recipe.
KEYS = Path("training", "recipes")
#: Sections that explain no arguments.
UNDECLARED = ("Raises:", "Returns:", "Yields:", "Attributes:")


def copy_without_prose(repository: Path, target: Path):
    """Copy the package, its recipes and the programs that write the site into the folder ``target``."""
    for folder in ("nes2net", "configs", "scripts/site", "docs"):
        shutil.copytree(repository / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (target / "nes2net").rglob("*.py"):
        keeps_attributes = path.is_relative_to(target / "nes2net" / KEYS)
        text = without_prose(path.read_text(encoding="utf-8"), keeps_attributes)
        path.write_text(text, encoding="utf-8")
    for path in (target / "configs").glob("*.yaml"):
        text = re.sub(r"^( *)#.*$", rf"\1# {WORD}", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        path.write_text(text, encoding="utf-8")


def without_prose(source: str, keeps_attributes: bool) -> str:
    """Replace prose in the ``source`` of a module; docstrings of attributes stay if ``keeps_attributes``."""
    replacements = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for number, statement in enumerate(node.body):
            if not is_text(statement):
                continue
            if number == 0 and not isinstance(node, ast.Module):
                replacements.append((statement, declared_in(statement.value.value)))
            elif not keeps_attributes or not isinstance(node, ast.ClassDef):
                replacements.append((statement, WORD))
    lines = source.splitlines(keepends=True)
    for statement, declared in sorted(replacements, key=lambda pair: pair[0].lineno, reverse=True):
        indent = " " * statement.col_offset
        lines[statement.lineno - 1 : statement.end_lineno] = [f"{indent}{declared!r}\n"]
    return without_comments("".join(lines))


def is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def declared_in(docstring: str) -> str:
    """The first line of a docstring and its sections of arguments, with a word between them."""
    title, _, text = inspect.cleandoc(docstring).partition("\n")
    blocks = [title, WORD]
    for block in text.strip().split("\n\n"):
        head, _, body = block.partition("\n")
        is_section = head.endswith(":") and body.startswith("    ")
        if is_section and head not in UNDECLARED:
            blocks.append(block)
    return "\n\n".join(blocks)


def without_comments(source: str) -> str:
    lines = source.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = f"{lines[row - 1][:column]}# {WORD}\n"
    return "".join(lines)
