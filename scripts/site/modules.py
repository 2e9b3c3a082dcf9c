"""The site's page of all files of the package: each district, and the first line of each of its files."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "nes2net"
PAGE = """\
# Files

Every file of the package with the first line of its docstring.
[Architecture](/architecture.md#districts) says what each district is for.
"""


def page() -> str:
    """Write the page in Markdown, the modules at the top of the package first."""
    parts = [PAGE, files(sorted(PACKAGE.glob("*.py")))]
    for district in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
        own = sorted(district.rglob("*.py"), key=lambda path: (path.parent, path.name))
        parts += [f"## {district.name}/", first_line(district / "__init__.py"), files(own)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def files(paths: list[Path]) -> str:
    """A list of modules; that of a district stands above it."""
    return "\n".join(
        f"- `{path.relative_to(PACKAGE)}`: {first_line(path)}" for path in paths if path.name != "__init__.py"
    )


def first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).replace("|", "\\|")
