"""requirements.txt and constraints.txt fit what pyproject.toml requires."""

import re

import pytest
from conftest import repository_text
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = repository_text("pyproject.toml")


def lines(name):
    text = repository_text(name)
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]


def in_pyproject(pattern):
    """The quoted strings of the list that ``pattern`` introduces (Python 3.10 has no reader of TOML)."""
    (entries,) = re.findall(rf"^{pattern} = \[(.*?)\]$", PROJECT, re.MULTILINE | re.DOTALL)
    return re.findall(r'^\s*"(.+?)",', entries, re.MULTILINE) or re.findall(r'"(.+?)"', entries)


def test_requirements_txt_has_the_dependencies_of_the_package_and_librosa():
    librosa = [entry for entry in in_pyproject("dev") if entry.startswith("librosa")]
    assert len(librosa) == 1
    assert lines("requirements.txt") == in_pyproject("dependencies") + librosa


def test_constraints_txt_has_only_pins():
    """No addresses, and no folders of one machine."""
    for line in lines("constraints.txt"):
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; [^/:@]+)?", line), line


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_requirement_is_pinned_within_its_bounds(python):
    """By constraints.txt; torch by scripts/environment.sh, as the Dockerfile has it too."""
    environment = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    torch = {
        re.search(r"\bTORCH(?::-|=)torch==([\d.]+)", repository_text(name))[1]
        for name in ("scripts/environment.sh", "Dockerfile")
    }
    assert len(torch) == 1
    pins = {"torch": torch.pop()}
    for line in lines("constraints.txt"):
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate(environment):
            assert pin.name not in pins, f"{pin.name} has two versions"
            (pins[pin.name],) = (clause.version for clause in pin.specifier)
    extras = PROJECT.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    requirements = [
        *in_pyproject("dependencies"),
        *re.findall(r'"(.+?)"', extras),
        *in_pyproject("requires"),
        "pip",
        "cython",
    ]
    assert len(requirements) > 60
    for required in map(Requirement, requirements):
        assert required.specifier.contains(pins[canonicalize_name(required.name)]), required
