"""Print the test files that a change concerns, for `scripts/test.sh --changed` (CONTRIBUTING.md).

python scripts/changed_tests.py [BASE]

The change is the difference from the commit BASE, or from the last commit: later commits, edited
files and new files. The tests of a module of the package are the files that import or patch it, and
the files that have its name or the name of a module that imports it. The tests of a builder of test
data are the files that import it. The tests of a page of the manual are those of documents.
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
    """Read a file; each file is read once."""
    return path.read_text(encoding="utf-8")


@cache
def names(path: Path) -> re.Pattern[str]:
    """Make a pattern that finds the module ``path`` in Python code and strings; ``path`` is relative to the repository."""
    *packages, stem = path.with_suffix("").parts
    if stem == "__init__":
        *packages, stem = packages
    package = ".".join(packages)
    module = ".".join((*packages, stem))
    by_import = rf"from {re.escape(package)} import (?:\([^)]*|[^\n(]*)\b{stem}\b|" if package else ""
    return re.compile(rf"{by_import}\b{re.escape(module)}\b(?!\.\w+ import)", re.DOTALL)


@cache
def test_files() -> tuple[Path, ...]:
    """List all test files; the list is made once."""
    return tuple(sorted(TESTS.rglob("test_*.py")))


def own_tests(module: Path) -> list[Path]:
    """List the test files that have the name of a module, and stand in a folder of the same name or in tests/."""
    folders = (module.parent.name, "tests")
    return [path for path in test_files() if path.stem == f"test_{module.stem}" and path.parent.name in folders]


def tests_of(module: Path) -> list[Path]:
    """List the test files of a module of the package: first those with its name, then those that import it."""
    own_files = own_tests(module)
    if module.parent.name == "nes2net" and module.stem.startswith("__"):  # every file imports the package itself
        return own_files
    pattern = names(module.relative_to(REPOSITORY))
    return own_files + [path for path in test_files() if path not in own_files and pattern.search(text(path))]


def tests_of_importers(module: Path) -> list[Path]:
    """List the test files with the names of modules that import ``module``; of data, those of the modules beside it."""
    modules = sorted((REPOSITORY / "nes2net").rglob("*.py"))
    if module.suffix != ".py":
        importers = [path for path in modules if path.parent in (module.parent, module.parent.parent)]
    else:
        pattern = names(module.relative_to(REPOSITORY))
        importers = [path for path in modules if path != module and pattern.search(text(path))]
    return [test_file for path in importers for test_file in own_tests(path)]


def concerned(changed: list[str]) -> list[Path]:
    """List the test files that a change of the files ``changed`` concerns; paths are relative to the repository."""
    files: dict[Path, None] = {}
    for name in changed:
        path = REPOSITORY / name
        top, *_ = Path(name).parts
        if path.suffix in (".md", ".ipynb") or top == "docs":
            files |= dict.fromkeys(REPOSITORY / name for name in DOCUMENTS)
        elif top == "nes2net":
            files |= dict.fromkeys(
                [*(REPOSITORY / name for name in ALWAYS), *tests_of(path), *tests_of_importers(path)]
            )
        elif path in test_files():
            files[path] = None
        elif "builders" in path.parts or top == "scripts":
            word = re.compile(rf"\b{path.stem}\b")
            files |= dict.fromkeys(test_file for test_file in test_files() if word.search(text(test_file)))
    return [path for path in files if path.exists()]


def main() -> None:
    """Ask git which files differ from BASE, and print the test files that concern them."""
    base = sys.argv[1] if len(sys.argv) > 1 else "HEAD"
    git = ("git", "-C", str(REPOSITORY))
    commands = ([*git, "diff", "--name-only", base], [*git, "ls-files", "--others", "--exclude-standard"])
    changed = [line for words in commands for line in subprocess.check_output(words, text=True).splitlines()]
    print("\n".join(str(path.relative_to(REPOSITORY)) for path in concerned(changed)))


if __name__ == "__main__":
    main()
