"""Averaging against the true mean and the published code's result."""

import math

import pytest
import torch
from builders import assert_near, golden, input_error
from builders.runs import same

from nes2net import average_checkpoints
from nes2net.models.checkpoints import averaging


def write(folder, states):
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.pth" for number in range(len(states))]
    for path, state in zip(paths, states):
        torch.save(state, path)
    return paths


@pytest.mark.parametrize("mode, result", [("legacy", "original_result"), ("mean", "true_mean")])
@pytest.mark.parametrize("case", ["n1", "n2", "n3", "n5"])
def test_each_mode_of_averaging_gives_its_recorded_result_to_the_bit(tmp_path, case, mode, result):
    """The mode legacy that of the published code, the mode mean the true mean."""
    case = golden.read("checkpoint_average")[case]
    average = average_checkpoints(write(tmp_path, case["checkpoints"]), mode=mode)
    assert list(average) == list(case["original_result"])
    for key, tensor in case[result].items():
        averaged = average[key]
        dtype = averaged.dtype
        assert str(dtype) == case["dtypes"][key]
        expected = tensor.to(dtype)
        assert torch.equal(averaged, expected), key


def state(seed):
    """Make a state dict of a layer with BatchNorm's integer counter."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 3, generator=generator)
    half = torch.randn(3, generator=generator).bfloat16()
    return {"w": weight, "n": torch.tensor(10 * seed + 1), "half": half}


@pytest.fixture
def paths(tmp_path):
    """Three checkpoints."""
    return write(tmp_path, [state(0), state(1), state(2)])


def double(seed):
    return state(seed)["w"].double()


def test_the_mean_of_checkpoints_equals_its_formula_in_either_order(paths):
    mean = average_checkpoints(paths)
    expected = (double(0) + double(1) + double(2)) / 3
    assert_near(mean["w"], expected.float(), 0)
    assert mean["n"] == 11
    assert same(average_checkpoints(paths[::-1]), mean)


def test_a_weighted_average_of_checkpoints_equals_its_formula(paths):
    average = average_checkpoints(paths, weights=[1, 0, 3])
    expected = (double(0) + 3 * double(2)) / 4
    assert_near(average["w"], expected.float(), 1e-7)
    assert average["n"] == 16
    assert same(average_checkpoints(paths, weights=[0, 5, 0]), state(1))


def refused(paths, message, **options):
    with input_error(message):
        average_checkpoints(paths, **options)


def test_a_checkpoint_that_is_named_twice_is_refused(paths):
    (paths[0].parent / "link.pth").symlink_to(paths[0])
    for again in (paths[0], paths[0].parent / "link.pth"):
        refused([*paths, again], r"one of these checkpoints is repeated; name each once, or .* `weights`$")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mode": "legacy", "weights": [1, 1, 1]}, "the published code has no weights"),
        ({"mode": "median"}, "mode must be one of mean, legacy, not 'median'"),
    ],
)
def test_an_unknown_mode_of_averaging_and_weights_in_the_mode_legacy_are_refused(paths, options, message):
    refused(paths, message, **options)


def test_checkpoints_with_tensors_of_different_names_are_not_averaged(paths, tmp_path):
    renamed = state(0)
    renamed["v"] = renamed.pop("half")
    path = tmp_path / "renamed.pth"
    torch.save(renamed, path)
    refused([paths[0], path], r"renamed\.pth.*missing: half; left over: v")


def test_integers_of_different_types_are_not_averaged_in_either_order(tmp_path):
    long, short = write(tmp_path, [{"n": torch.tensor(1)}, {"n": torch.tensor(1).int()}])
    refused([long, short], "n int32 where int64 is needed")
    refused([short, long], "n int64 where int32 is needed")


@pytest.mark.parametrize("weights", [[1, -1, 1], [1, math.nan, 1], [1, 2], [0, 0, 0]])
def test_weights_of_an_average_that_are_negative_nan_too_few_or_all_zero_are_refused(paths, weights):
    refused(paths, "3 checkpoints need 3 weights", weights=weights)


WEIGHT = torch.tensor([1.0, 3.0])


@pytest.mark.parametrize("mode", averaging.MODES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int64])
def test_float32_is_not_averaged_with_bfloat16_or_integers_in_either_order(tmp_path, dtype, mode):
    single = {"w": WEIGHT}
    converted = {"w": WEIGHT.to(dtype)}
    paths = write(tmp_path, [single, converted])
    refused(paths, "1.pth .*other type: w .* where float32 is needed", mode=mode)
    refused(paths[::-1], "0.pth .*other type: w float32 where", mode=mode)
