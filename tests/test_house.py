"""The house: every district imports only those below it, and an app is imported by nobody (docs/architecture.md)."""

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

#: District → its number, as the manual has them. A module may import its own district and lower ones, for typing too.
NUMBERS = {
    name: int(number) for number, name in re.findall(r"^\| (\d+) \| `(\w+)(?:/|\.py)` \| ", MANUAL, re.MULTILINE)
}
#: The face stands in no district: it imports each public name when it is first used.
FACE = "__init__"
#: `python -m nes2net` may import everything, and no module imports it.
DOOR = "__main__"
#: Every district may read the version of the installation.
VERSION = "version"
#: Why an import may stand inside a function; the comment says so.
REASON = re.compile(r"#.*\b(start-up|optional)\b|import(ed)? (only here|late)")


def dotted(path: Path) -> str:
    """Name of a module below the package, such as ``scoring.kernel``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def district(module: str) -> str:
    return module.partition(".")[0]


def app_of(module: str) -> str | None:
    """The app that a module stands in, such as ``serve`` of ``apps.serve.page``."""
    names = module.split(".")
    return names[1] if names[0] == "apps" and len(names) > 1 else None


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
            yield node.lineno, inner if district(inner) in {*NUMBERS, DOOR, VERSION} else FACE


def of_command(path: Path) -> bool:
    """Whether a module holds a command, which imports what it runs when it runs."""
    return district(dotted(path)) == "cli" or path.stem.endswith("command")


def module_of(name: str) -> str:
    """The module that ``name``, a module or something in one, stands in."""
    place = PACKAGE.joinpath(*name.split("."))
    return name if place.is_dir() or place.with_suffix(".py").is_file() else name.rpartition(".")[0]


def arrows() -> set[tuple[str, str]]:
    """Which district imports which; the face and the door count, the version does not."""
    pairs = {(district(dotted(path)), district(name)) for path in MODULES for _, name in own_imports(path)}
    return {(above, below) for above, below in pairs if above != below and VERSION not in (above, below)}


def test_every_module_stands_in_a_district():
    assert {district(dotted(path)) for path in MODULES} - {FACE, DOOR, VERSION} == set(NUMBERS)
    assert sorted(NUMBERS.values()) == list(range(11))
    assert len([path for path in PACKAGE.iterdir() if path.name != "__pycache__"]) <= 16


def test_no_arrow_runs_up():
    wrong = [
        f"{dotted(path)}, line {line}: {name}"
        for path in MODULES
        if (own := district(dotted(path))) in NUMBERS
        for line, name in own_imports(path)
        if (other := district(name)) not in (FACE, VERSION, own)
        if other == DOOR or NUMBERS[other] > NUMBERS[own]
    ]
    assert wrong == []
    assert len(arrows()) <= 80


def test_nothing_imports_an_app():
    """The command line finds the commands of apps by name, so that each folder of `apps/` can be deleted."""
    wrong = [
        f"{dotted(path)}, line {line}: {name}"
        for path in MODULES
        for line, name in own_imports(path)
        if district(name) == "apps" and app_of(name) != app_of(dotted(path))
    ]
    assert wrong == []


def test_a_district_says_what_it_is_for():
    for name in NUMBERS:
        if (path := PACKAGE / name / "__init__.py").is_file():
            head = ast.get_docstring(tree(path)) or ""
            assert "mport" in head and len(head.splitlines()) <= 10, f"{path}: what for, reading order, imports"


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
    """`nes2net/a/b.py` is tested in `tests/a/test_b.py`; further tests of a district may stand beside it."""
    tests = Path(__file__).parent
    folders = {path.parent.relative_to(tests).parts[:1] for path in tests.rglob("test_*.py")}
    assert {names[0] for names in folders if names} <= {*NUMBERS, "scripts", "builders"}
    apps = {path.name for path in (tests / "apps").iterdir() if any(path.glob("test_*.py"))}
    assert apps <= {path.name for path in (PACKAGE / "apps").iterdir()}
