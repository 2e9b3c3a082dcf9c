"""What a part of another package changes in the whole process is undone, and told in one line."""

import logging
import os
import random
import sys
import warnings

import numpy as np
import pytest
import torch
from builders.strangers import install

from nes2net.data.augment.conditions import check_effect
from nes2net.data.augment.effect import Effect
from nes2net.lib.errors import BrokenPart
from nes2net.lib.output.terminal import note_once
from nes2net.lib.parts.part_checks import check_part
from nes2net.lib.parts.process_state import same_process_state
from nes2net.lib.parts.registry import Registry

#: What a part changes → (how it changes it, how to look at it).
CHANGES = {
    "the working directory": (lambda: os.chdir("/"), os.getcwd),
    "environment variables": (lambda: os.environ.update(HOME="/nowhere", A_NEW_ONE="1"), os.environ.copy),
    "filters of warnings": (lambda: warnings.simplefilter("ignore"), lambda: list(warnings.filters)),
    "handlers of logging": (
        lambda: logging.root.addHandler(logging.NullHandler()),
        lambda: list(logging.root.handlers),
    ),
    "the level of logging": (lambda: logging.root.setLevel(3), logging.root.getEffectiveLevel),
    "disabled levels of logging": (lambda: logging.disable(50), lambda: logging.root.manager.disable),
    "random numbers of Python": (lambda: random.seed(0), random.getstate),
    "random numbers of NumPy": (lambda: np.random.seed(0), lambda: str(np.random.get_state())),
    "the seed of PyTorch": (lambda: torch.manual_seed(12345), torch.initial_seed),
    "PyTorch's number of threads": (lambda: torch.set_num_threads(3), torch.get_num_threads),
    "PyTorch's default type": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "PyTorch's default device": (lambda: torch.set_default_device("meta"), torch.get_default_device),
    "PyTorch's gradients": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "PyTorch's determinism": (
        lambda: torch.set_deterministic_debug_mode("warn"),
        torch.get_deterministic_debug_mode,
    ),
}


@pytest.fixture(autouse=True)
def _notes_come_again():
    note_once.cache_clear()
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("state_name", CHANGES)
def test_what_a_part_changes_is_undone_and_told(state_name, capsys):
    change, look = CHANGES[state_name]
    before = look()
    with same_process_state("back-end 'mine' (package my-parts 0.1)"):
        change()
    assert look() == before
    line = f"note: back-end 'mine' (package my-parts 0.1) changed {state_name}; this was undone: correct the part\n"
    assert capsys.readouterr().err == line


def test_changes_are_told_in_one_line_also_after_an_error(capsys):
    with pytest.raises(KeyError), same_process_state("loss 'mine'"):
        torch.set_num_threads(3)
        os.chdir("/")
        raise KeyError
    line = "note: loss 'mine' changed the working directory, PyTorch's number of threads; this was undone"
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(line)


def test_a_part_may_draw_weights_and_print_on_standard_error(capsys):
    with same_process_state("back-end 'mine'"):
        torch.randn(3)
        print("built")
    assert capsys.readouterr() == ("", "built\n")


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """Back-ends: `mine`, whose module and constructor change the process, and the built-in `own`."""
    source = """
import os
import torch
from nes2net.models.backends.mean_linear import MeanLinear
torch.set_default_dtype(torch.float64)

class Mine(MeanLinear):
    def __init__(self, **options):
        super().__init__(**options)
        os.environ["SET_BY_MY_PARTS"] = "1"
"""
    install(tmp_path, "my-parts 0.1", {"backends": {"mine": "my_changing_parts:Mine"}}, {"my_changing_parts": source})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_changing_parts", raising=False)
    built_in = {"own": "nes2net.models.backends.mean_linear:MeanLinear"}
    return Registry("back-end", "backends", built_in, "nes2net.models.backends.base:Backend", registers="factory")


def test_importing_and_building_a_part_leave_the_process_as_it_was(registry, capsys):
    registry.get("mine")
    assert "changed PyTorch's default type;" in capsys.readouterr().err
    assert torch.get_default_dtype() == torch.float32
    registry.create("mine", feature_dim=2)
    assert "back-end 'mine' (package my-parts 0.1) changed environment variables" in capsys.readouterr().err
    assert "SET_BY_MY_PARTS" not in os.environ


def test_what_libraries_change_when_they_are_imported_stays(monkeypatch, capsys):
    with same_process_state("back-end 'mine'"):
        monkeypatch.setitem(sys.modules, "a_library_imported_now", None)
        monkeypatch.setenv("SET_BY_A_LIBRARY", "1")
    assert "SET_BY_A_LIBRARY" in os.environ
    assert not capsys.readouterr().err


def test_a_built_in_part_is_not_watched(registry, monkeypatch):
    monkeypatch.setattr("nes2net.lib.parts.registry.same_process_state", None)
    registry.create("own", feature_dim=2)


class Reseeds(Effect):
    """Seeds PyTorch whenever it is called."""

    def __call__(self, x, rng):
        torch.manual_seed(0)
        return x


def test_a_part_that_seeds_pytorch_when_it_computes_is_refused():
    with pytest.raises(BrokenPart, match="__call__ set PyTorch's seed to 0; expected no seed"):
        check_part("condition 'reseeds'", Reseeds(), check_effect, Reseeds)
