"""The house: every room stands above what it imports, and imports stand at the top of their file (docs/architecture.md)."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from conftest import REPOSITORY

PACKAGE = REPOSITORY / "nes2net"
MODULES = sorted(PACKAGE.rglob("*.py"))
MANUAL = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")

#: Room → floor, as the manual has them. A module may import its own room and rooms on lower floors, for typing too.
FLOORS = {name: int(floor) for floor, name in re.findall(r"^\| (\d+) \| `(\w+)(?:/|\.py)` \| \S", MANUAL, re.MULTILINE)}
#: The package's face stands outside of the house: it imports each public name when it is first used.
FACE = "__init__"
#: `python -m nes2net`, the face's other half. It may import everything, and no module imports it.
DOOR = "__main__"
#: Why an import may stand inside a function; the comment says so.
REASON = re.compile(r"#.*\b(start-up|optional)\b")


def dotted(path: Path) -> str:
    """Name of a module below the package, such as ``scoring.kernel``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room(module: str) -> str:
    return module.partition(".")[0]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    """Every import of a module, wherever it stands, with the dotted name it takes."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}, line {node.lineno}: imports are absolute"
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def own_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name below the package of what a module imports of this package."""
    for node, name in imports(path):
        if name == "nes2net" or name.startswith("nes2net."):
            inner = name.removeprefix("nes2net").removeprefix(".")
            yield node.lineno, inner if room(inner) in {*FLOORS, DOOR} else FACE


def of_command(path: Path) -> bool:
    """Whether a module holds a command, which imports what it runs when it runs."""
    return room(dotted(path)) == "cli" or path.stem.endswith("command")


def module_of(name: str) -> str:
    """The module that ``name``, a module or something in one, stands in."""
    place = PACKAGE.joinpath(*name.split("."))
    return name if place.is_dir() or place.with_suffix(".py").is_file() else name.rpartition(".")[0]


def test_every_module_stands_in_a_room():
    assert {room(dotted(path)) for path in MODULES} - {FACE, DOOR} == set(FLOORS)


def test_no_arrow_runs_up():
    wrong = [
        f"{dotted(path)}, line {line}: {name}"
        for path in MODULES
        if (own := room(dotted(path))) not in (FACE, DOOR)
        for line, name in own_imports(path)
        if name != FACE and room(name) != own and (room(name) == DOOR or FLOORS[room(name)] >= FLOORS[own])
    ]
    assert wrong == []


def test_there_is_no_circle():
    arrows = {
        dotted(path): {module_of(name) for _, name in own_imports(path)} - {FACE, dotted(path)} for path in MODULES
    }
    assert [*TopologicalSorter(arrows).static_order()]  # or it raises CycleError, which names the circle


def test_an_import_inside_a_function_says_why():
    """Commands import what they run when they run, so that `nes2net --help` is quick."""
    silent = []
    for path in MODULES:
        lines = path.read_text(encoding="utf-8").splitlines()
        inside = {
            node
            for function in ast.walk(tree(path))
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) and not of_command(path)
            for node in ast.walk(function)
            if isinstance(node, (ast.Import, ast.ImportFrom))
        }
        silent += [
            f"{dotted(path)}, line {node.lineno}: {lines[node.lineno - 1].strip()}"
            for node in inside
            if not any(REASON.search(line) for line in lines[node.lineno - 2 : node.end_lineno])
        ]
    assert sorted(silent) == []


def test_the_test_of_a_module_has_its_name():
    """`nes2net/a/b.py` is tested in `tests/a/test_b.py`; further tests of a room may stand beside it."""
    tests = Path(__file__).parent
    rooms = {path.parent.relative_to(tests).parts[:1] for path in tests.rglob("test_*.py")}
    assert {part[0] for part in rooms if part} <= {*FLOORS, "scripts", "builders"}
