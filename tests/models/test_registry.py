"""Every option of every part has a declared type and range, which is checked when the part is created."""

import inspect
import math
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
import yaml
from builders.strangers import install

from nes2net import InputError, create_backend, create_frontend
from nes2net.lib.options import check_options, declared
from nes2net.models.backends.mean_linear import MeanLinear
from nes2net.models.frontends.sizes import SIZES
from nes2net.models.registry import Registry, backends, frontends, takes_checkpoint

BACK = "back-end"
FRONT = "front-end"
CREATE = {FRONT: create_frontend, BACK: create_backend}
#: Published sizes have the options of their front-end, and test_every_option_is_declared for them all.
SAME = {name for name, size in SIZES.items() if name != size.frontend}
PARTS = [(registry, name) for registry in (frontends, backends) for name in registry._built_in if name not in SAME]
WRONG = ["x" * 300, [], {}, "1", -1, 10**9, 10**5000, math.nan, math.inf, 1e300, object(), [[1]], [10**9] * 9]


@pytest.mark.parametrize("registry", [frontends, backends])
def test_every_option_is_declared(registry):
    for name in registry._built_in:
        factory = registry.get(name)
        undeclared = inspect.signature(factory).parameters.keys() - declared(factory).keys()
        assert not undeclared, f"{name}: {undeclared}"


@pytest.mark.parametrize(("registry", "name"), PARTS)
def test_defaults_pass_and_wrong_values_are_named(registry, name):
    factory = registry.get(name)
    kind = registry.kind
    for option, declaration in declared(factory).items():
        if option in ("checkpoint", "return"):
            continue
        check_options(factory, {option: declaration.default}, "default")
        wrong = [value for value in WRONG if not declaration.fits(value)]
        free = {"delta_scale", "num_bins", "num_samples"}  # numbers without a limit: nothing grows with them
        assert len(wrong) >= len(WRONG) - (3 if option in free else 0), option
        message = f"^{kind} '{name}': {option} is {re.escape(declaration.takes)}, not "
        for value in wrong:
            with pytest.raises(InputError, match=message) as error:
                CREATE[kind](name, **{option: value})
            assert len(str(error.value)) < 400


@pytest.mark.parametrize("kind", CREATE)
def test_values_that_are_wrong_or_do_not_go_together(kind):
    path = Path(__file__).with_name("refused_options.yaml")
    for name, options, message in yaml.safe_load(path.read_text(encoding="utf-8"))[kind]:
        with torch.device("meta"), pytest.raises(InputError, match=message):
            CREATE[kind](name, **options)


@pytest.mark.parametrize("target", ["nowhere.at_all:Part", "nes2net.lib.errors:Part"])
def test_what_an_installed_package_does_not_have(monkeypatch, target):
    point = EntryPoint("mine", target, "nes2net.backends")
    monkeypatch.setattr("nes2net.models.registry.entry_points", lambda group: [point])
    registry = Registry(BACK, "nes2net.backends", {"own": "nes2net.lib.errors:InputError"})
    assert registry.names() == ["mine", "own"] and registry.names(installed=False) == ["own"]
    with pytest.raises(InputError, match=f"back-end 'mine' cannot be imported from {target} .*: mend the entry point"):
        registry.get("mine")


def test_what_can_start_from_a_pre_training_file(monkeypatch):
    for name, takes in (("wav2vec2", True), ("xlsr_300m", True), ("lps", False), ("waveform", False)):
        assert takes_checkpoint(name) is takes
    monkeypatch.setattr(Registry, "get", lambda *_: lambda checkpoint=None: None)
    assert takes_checkpoint("theirs")  # a function that builds a front-end


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
    return Registry(BACK, "nes2net.backends", {"own": "nes2net.lib.errors:InputError"})


def test_a_name_of_two_packages_is_refused_when_it_is_used(registry_of_two_packages):
    assert registry_of_two_packages.get("theirs") is MeanLinear
    message = (
        "back-end 'mine' is added by first-parts 1.0 (first:Mine) and by second-parts 0.2 (second:Mine): uninstall"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        registry_of_two_packages.get("mine")


def test_a_part_with_a_built_in_name_is_told_once(registry_of_two_packages, capsys):
    assert registry_of_two_packages.get("own") is InputError
    assert "back-end 'own' is the one of nes2net; that of first-parts 1.0 (first:Own) cannot" in capsys.readouterr().err
    registry_of_two_packages.get("own")
    assert not capsys.readouterr().err
