"""The files of tests/golden have the numbers of the whole reference folder, to the bit."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from builders import golden, shared_path
from builders.files import read_json

MEGABYTE = 1_000_000
#: Parts of the back-ends' files that are kept; the others repeat them.
KEPT = ("config", "state_dict", "state_formula", "input_formula", "input_key", "cases", "agg_output")
KEPT += ("all_inputs", "merge_output")
WHOLE = ("inputs", "checkpoint_average", "aasist_raw_published_weights_outputs")
FRONTENDS = {"tiny_w2v2": ("in_", "layer", "x_"), "tiny_wavlm": ("in_", "hs", "s3prl", "x_")}
CASES = ("all_equal", "g200", "g5k", "g5k_cont", "g60k", "inverted", "separated", "single", "track2")


@pytest.fixture(scope="module")
def reference() -> Path:
    return shared_path("golden")


def trees(reference: Path) -> Iterator[tuple[str, Any]]:
    """Every reference file that is stored in NumPy's format: its name and its content."""
    for path in sorted(reference.glob("*.pt")):
        tree = torch.load(path, weights_only=True)
        yield path.stem, tree if path.stem in WHOLE else {key: tree[key] for key in KEPT if key in tree}
    for name, prefixes in FRONTENDS.items():
        arrays = np.load(reference / "frontends" / f"{name}_golden.npz")
        norms = read_json(reference / "frontends" / f"{name}_gradnorms.json")
        arrays = {key: arrays[key] for key in arrays.files if key.startswith(prefixes)}
        yield f"frontends/{name}", {"arrays": arrays, "gradient_norms": norms}
    manifests = [*sorted(reference.glob("manifest_*.json")), *sorted(reference.glob("frontends/manifest_*.json"))]
    yield "manifests", {path.stem.removeprefix("manifest_"): read_json(path) for path in manifests}
    digests = read_json(reference / "rawboost_digests.json")
    yield "rawboost", {"arrays": dict(np.load(reference / "rawboost_arrays.npz")), **digests}
    yield "vector_losses", torch.load(reference / "zoo" / "losses.pt", weights_only=True)
    yield "pad_indices", dict(np.load(reference / "pad_indices.npz"))


def case_of(folder: Path) -> dict:
    """Files, results and errors of one case of the evaluation programs; a case that is one file is its content."""
    single_file = folder.with_suffix(".json")
    if single_file.is_file():
        return read_json(single_file)
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
                files[path.relative_to(folder).as_posix().removesuffix(".gz")] = file.read()
    result = plain(json.loads(files.pop("result.json")))
    return {"files": files, "results": result["results"], "cli_errors": result.get("cli_errors", {})}


def plain(value):
    """Numbers stand there as value, repr and hexadecimal; the value is enough."""
    if not isinstance(value, dict):
        return value
    return value["v"] if set(value) == {"v", "repr", "hex"} else {key: plain(item) for key, item in value.items()}


def check_same(tree, expected, where: str):
    assert type(tree) is type(expected), where
    if isinstance(expected, dict):
        assert list(tree) == list(expected), where
        for key, item in expected.items():
            check_same(tree[key], item, f"{where}/{key}")
    elif isinstance(expected, list):
        check_same(dict(enumerate(tree)), dict(enumerate(expected)), where)
    elif isinstance(expected, torch.Tensor | np.ndarray):
        assert tree.dtype == expected.dtype, where
        assert tree.shape == expected.shape, where
        assert (tree == expected).all(), where
    else:
        assert tree == expected, where


def test_the_numbers_in_tests_golden_equal_those_of_the_reference_folder(reference):
    for name, tree in trees(reference):
        check_same(golden.read(name), tree, name)


def test_the_cases_of_evaluation_programs_in_tests_golden_equal_those_of_the_reference_folder(reference):
    for name in CASES:
        assert golden.read_case(name) == case_of(reference / "metrics" / name), name


def test_the_checkpoints_in_tests_golden_equal_those_of_the_reference_folder(reference, pretrained):
    written = sorted((reference / "frontends").glob("*.pt"))
    assert sorted(path.name for path in pretrained.iterdir()) == [path.name for path in written]
    assert all((pretrained / path.name).read_bytes() == path.read_bytes() for path in written)


def test_the_golden_files_take_less_than_10_mb():
    assert sum(path.stat().st_size for path in golden.FOLDER.rglob("*") if path.is_file()) < 10 * MEGABYTE
