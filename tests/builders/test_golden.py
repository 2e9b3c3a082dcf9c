"""The files of tests/golden have the numbers of the whole reference folder, to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import make

from builders import golden, shared_path

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def reference() -> Path:
    return shared_path("golden")


def check_same(tree: Any, expected: Any, where: str) -> None:
    assert type(tree) is type(expected), where
    if isinstance(expected, dict):
        assert list(tree) == list(expected), where
        for key, item in expected.items():
            check_same(tree[key], item, f"{where}/{key}")
    elif isinstance(expected, list):
        assert len(tree) == len(expected), where
        for index, item in enumerate(expected):
            check_same(tree[index], item, f"{where}/{index}")
    elif isinstance(expected, torch.Tensor):
        assert tree.dtype == expected.dtype, where
        assert torch.equal(tree, expected), where
    elif isinstance(expected, np.ndarray):
        assert tree.dtype == expected.dtype, where
        assert np.array_equal(tree, expected), where
    else:
        assert tree == expected, where


def test_stored_arrays_equal_the_reference(reference):
    for name, tree in make.trees(reference):
        check_same(golden.read(name), tree, name)


def test_cases_of_the_evaluation_programs(reference):
    for name in make.CASES:
        assert golden.read_case(name) == make.case(reference / "metrics" / name), name


def test_the_checkpoints_of_the_golden_numbers_are_loaded(reference, pretrained):
    written = sorted((reference / "frontends").glob("*.pt"))
    assert sorted(path.name for path in pretrained.iterdir()) == [path.name for path in written]
    assert all((pretrained / path.name).read_bytes() == path.read_bytes() for path in written)


def test_the_folder_stays_small():
    assert sum(path.stat().st_size for path in golden.FOLDER.rglob("*") if path.is_file()) < 10 * MEGABYTE
