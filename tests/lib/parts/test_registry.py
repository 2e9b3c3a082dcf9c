"""Names of other packages in a registry: what cannot be imported, and names of two packages."""

import re
from importlib.metadata import EntryPoint

import pytest
from builders import input_error
from builders.strangers import install

from nes2net.lib.errors import InputError
from nes2net.lib.parts.registry import Registry
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
