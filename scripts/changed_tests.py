"""Print the test files that a change concerns, for `scripts/test.sh --changed` (CONTRIBUTING.md).

python scripts/changed_tests.py [BASE]

The change is what differs from BASE, the last commit if it is not given: commits since then, edited files and new ones. Of
a module of the package, its tests are the files that import or patch it, and those named after it and after the modules
that import it. Of a builder of tests, they are the files that import it; a page of the manual has the tests of documents.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
TESTS = REPOSITORY / "tests"
#: What every change of the package may break, and what is quick.
ALWAYS = ("tests/test_house.py", "tests/test_imports.py")
DOCUMENTS = ("tests/test_documentation.py", "tests/test_extending.py")


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def names(path: Path) -> re.Pattern[str]:
    """A pattern of the ways in which Python and strings name the module in ``path``, below the repository."""
    *packages, stem = path.with_suffix("").parts
    if stem == "__init__":
        *packages, stem = packages
    package, module = ".".join(packages), ".".join((*packages, stem))
    by_import = rf"from {re.escape(package)} import (?:\([^)]*|[^\n(]*)\b{stem}\b|" if package else ""
    return re.compile(rf"{by_import}\b{re.escape(module)}\b(?!\.\w+ import)", re.DOTALL)


@cache
def test_files() -> tuple[Path, ...]:
    return tuple(sorted(TESTS.rglob("test_*.py")))


def own_tests(module: Path) -> list[Path]:
    """Test files of the name of a module, in the folder of its room or beside the folders."""
    room = module.relative_to(REPOSITORY).parts[1].removesuffix(".py")
    return [path for path in test_files() if path.stem == f"test_{module.stem}" and path.parent.name in (room, "tests")]


def tests_of(module: Path) -> list[Path]:
    """Test files of one module of the package: its own ones first, then those that name it."""
    own = own_tests(module)
    if module.parent.name == "nes2net" and module.stem.startswith("__"):  # every file imports the package itself
        return own
    pattern = names(module.relative_to(REPOSITORY))
    return own + [path for path in test_files() if path not in own and pattern.search(text(path))]


def concerned(changed: list[str]) -> list[Path]:
    """Test files that the ``changed`` files, below the repository, concern."""
    found: dict[Path, None] = {}
    modules = sorted((REPOSITORY / "nes2net").rglob("*.py"))
    for file in changed:
        path = REPOSITORY / file
        top, *_ = Path(file).parts
        if file.endswith((".md", ".ipynb")) or top == "docs":
            found |= dict.fromkeys(REPOSITORY / name for name in DOCUMENTS)
        elif top == "nes2net":
            found |= dict.fromkeys(REPOSITORY / name for name in ALWAYS)
            if path.suffix != ".py":  # data of the modules beside it
                beside = [module for module in modules if module.parent in (path.parent, path.parent.parent)]
                found |= dict.fromkeys(one for module in beside for one in own_tests(module))
                continue
            pattern = names(Path(file))
            above = [module for module in modules if module != path and pattern.search(text(module))]
            found |= dict.fromkeys(tests_of(path))
            found |= dict.fromkeys(one for module in above for one in own_tests(module))
        elif top == "tests" and path.name.startswith("test_"):
            found[path] = None
        elif top == "tests" and "builders" in path.parts:
            word = re.compile(rf"\b{path.parent.name if path.stem == '__init__' else path.stem}\b")
            found |= dict.fromkeys(one for one in test_files() if word.search(text(one)))
        elif top == "scripts":
            found |= dict.fromkeys(
                one for one in test_files() if Path(file).stem in text(one) and one.parent.name == "scripts"
            )
    return [path for path in found if path.exists()]


def main() -> None:
    base = sys.argv[1] if len(sys.argv) > 1 else "HEAD"
    git = ("git", "-C", str(REPOSITORY))
    asked = ([*git, "diff", "--name-only", base], [*git, "ls-files", "--others", "--exclude-standard"])
    changed = [line for words in asked for line in subprocess.check_output(words, text=True).splitlines()]
    print("\n".join(str(path.relative_to(REPOSITORY)) for path in concerned(changed)))


if __name__ == "__main__":
    main()
