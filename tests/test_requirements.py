"""requirements.txt lists the dependencies of the package, and librosa for the user's own work."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def requirements():
    lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in map(str.strip, lines) if line and not line.startswith("#")]


def in_pyproject(pattern):
    """The quoted strings of the list that ``pattern`` introduces (Python 3.10 has no reader of TOML)."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    (entries,) = re.findall(rf"^{pattern} = \[(.*?)\]$", text, re.MULTILINE | re.DOTALL)
    return re.findall(r'^\s*"(.+?)",', entries, re.MULTILINE) or re.findall(r'"(.+?)"', entries)


def test_requirements_are_the_dependencies_of_the_package_and_librosa():
    librosa = [entry for entry in in_pyproject("dev") if entry.startswith("librosa")]
    assert len(librosa) == 1 and requirements() == in_pyproject("dependencies") + librosa


def test_librosa_is_not_a_dependency_of_the_package():
    assert not any(entry.startswith("librosa") for entry in in_pyproject("dependencies"))
