"""The site's page of all files of the package: each package, and the first line of each of its files."""

from __future__ import annotations

import ast
from pathlib import Path

from marked import joined

PACKAGE = Path(__file__).resolve().parents[2] / "nes2net"
PAGE = """\
# Files

Every file of the package with the first line of its docstring.
[Architecture](/architecture.md#packages) describes each package.
"""


def page() -> str:
    """Write the page in Markdown: the modules at the top of the package first, then each package."""
    blocks = [PAGE, files(sorted(PACKAGE.glob("*.py")))]
    for package in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
        package_files = sorted(package.rglob("*.py"), key=lambda path: (path.parent, path.name))
        blocks += [f"## {package.name}/", first_line(package / "__init__.py"), files(package_files)]
    return joined(blocks)


def files(paths: list[Path]) -> str:
    """List modules with their first lines, without the ``__init__`` of a package, which comes above the list."""
    return "\n".join(
        f"- `{path.relative_to(PACKAGE)}`: {first_line(path)}" for path in paths if path.name != "__init__.py"
    )


def first_line(path: Path) -> str:
    """The first paragraph of a module's docstring, as a cell of a table."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).replace("|", "\\|")
