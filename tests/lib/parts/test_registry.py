"""Names of other packages in a registry: what cannot be imported, and names of two packages."""

import re
from importlib.metadata import EntryPoint

import pytest
from builders import input_error
from builders.strangers import REGISTRIES, install

from nes2net.lib.errors import InputError
from nes2net.lib.parts.registry import KINDS, Registry, note_unusable_entry_points
from nes2net.models.backends.mean_linear import MeanLinear


@pytest.mark.parametrize("target", ["nowhere.at_all:Part", "nes2net.lib.errors:Part"])
def test_a_part_that_an_installed_package_announces_but_lacks_is_refused(monkeypatch, target):
    point = EntryPoint("mine", target, "nes2net.backends")
    monkeypatch.setattr("nes2net.lib.parts.registry.entry_points", lambda group: [point])
    registry = Registry(
        "back-end", "backends", {"own": "nes2net.lib.errors:InputError"}, "nes2net.models.backends.base:Backend"
    )
    with input_error(f"back-end 'mine' cannot be imported from {target} .*: correct the entry point"):
        registry.get("mine")


@pytest.fixture
def registry_of_two_packages(tmp_path, monkeypatch):
    """Back-ends of two packages, both of which add `mine` and one of which adds the built-in name `own`."""
    install(tmp_path, "first-parts 1.0", {"backends": {"mine": "first:Mine", "own": "first:Own"}}, {})
    install(
        tmp_path,
        "second-parts 0.2",
        {"backends": {"mine": "second:Mine", "theirs": f"{MeanLinear.__module__}:MeanLinear"}},
        {},
    )
    monkeypatch.syspath_prepend(tmp_path)
    return Registry(
        "back-end", "backends", {"own": "nes2net.lib.errors:InputError"}, "nes2net.models.backends.base:Backend"
    )


def test_a_part_name_that_two_packages_announce_is_refused_only_when_it_is_used(registry_of_two_packages):
    assert registry_of_two_packages.get("theirs") is MeanLinear
    message = (
        "back-end 'mine' is added by first-parts 1.0 (first:Mine) and by second-parts 0.2 (second:Mine): uninstall"
    )
    with input_error(re.escape(message)):
        registry_of_two_packages.get("mine")


def test_a_package_cannot_replace_a_built_in_part(registry_of_two_packages):
    assert registry_of_two_packages.get("own") is InputError


def test_a_part_of_a_package_with_a_built_in_name_is_reported_once(registry_of_two_packages, capsys):
    registry_of_two_packages.get("own")
    assert (
        "back-end 'own' is built into nes2net, so that of first-parts 1.0 (first:Own) cannot" in capsys.readouterr().err
    )
    registry_of_two_packages.get("own")
    assert not capsys.readouterr().err


def test_entry_points_that_nes2net_cannot_use_are_named_with_group_and_package(tmp_path, monkeypatch, capsys):
    points = {
        "backend": {"lone": "odd:Part"},
        "backends": {"fine": "odd:Part", "two words": "odd:Part", "": "odd:Part"},
        "commands": {"Tally": "odd:tally", "tally": "odd:tally"},
        "effects": {"a:b": "odd:Part"},
    }
    install(tmp_path, "odd-parts 1.0", points, {})
    monkeypatch.syspath_prepend(tmp_path)
    note_unusable_entry_points()
    lines = capsys.readouterr().err.splitlines()
    expectations = {
        ("lone", "backend"): "expected a group nes2net.KIND, with one of the kinds aggregations, attacks, ",
        ("two words", "backends"): "expected a name of letters, digits, '_', '-' and '.'",
        ("", "backends"): "expected a name of letters",
        ("Tally", "commands"): "expected a name that differs from others in more than capitals",
        ("tally", "commands"): "expected a name that differs",
        ("a:b", "effects"): "expected a name of letters",
    }
    assert len(lines) == len(expectations)
    for line, ((name, kind), words) in zip(lines, expectations.items()):
        owner = f"note: entry point '{name}' of the group nes2net.{kind} (package odd-parts 1.0) cannot be used: "
        assert line.startswith(owner + words)


def test_the_known_groups_of_entry_points_are_those_of_all_registries():
    assert [f"nes2net.{kind}" for kind in KINDS.split(", ")] == sorted(REGISTRIES)
