"""Averaging against the true mean and the published code's result."""

import pytest
import torch
from builders import golden

from nes2net import InputError, average_checkpoints
from nes2net.models.checkpoints import averaging


def write(folder, states):
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.pth" for number in range(len(states))]
    for path, state in zip(paths, states):
        torch.save(state, path)
    return paths


@pytest.mark.parametrize("mode, result", [("legacy", "original_result"), ("mean", "true_mean")])
@pytest.mark.parametrize("case", ["n1", "n2", "n3", "n5"])
def test_the_published_result_and_the_true_mean_to_the_bit(tmp_path, case, mode, result):
    case = golden.read("checkpoint_average")[case]
    found = average_checkpoints(write(tmp_path, case["checkpoints"]), mode=mode)
    assert list(found) == list(case["original_result"])
    for key, tensor in case[result].items():
        assert str(found[key].dtype) == case["dtypes"][key] and (mode == "mean" or found[key].dtype == tensor.dtype)
        assert torch.equal(found[key], tensor.to(found[key].dtype)), key


@pytest.fixture
def states():
    """Three state dicts of one layer with BatchNorm's integer counter."""
    torch.manual_seed(0)
    return [
        {"w": torch.randn(4, 3), "n": torch.tensor(10 * k + 1), "half": torch.randn(3).bfloat16()} for k in range(3)
    ]


def test_modes_and_weights_by_formula(states, tmp_path):
    a, b, c = (s["w"].double() for s in states)
    paths = write(tmp_path, states)
    mean = average_checkpoints(paths)
    torch.testing.assert_close(mean["w"], ((a + b + c) / 3).float(), atol=0, rtol=0)
    assert mean["n"] == 11 and mean["n"].dtype == torch.int64
    assert mean["half"].dtype == torch.bfloat16
    legacy = average_checkpoints(paths, mode="legacy")
    torch.testing.assert_close(legacy["w"], ((2 * b + c) / 3).float())
    assert torch.equal(average_checkpoints(paths[::-1])["w"], mean["w"])
    found = average_checkpoints(paths, weights=[1, 0, 3])
    torch.testing.assert_close(found["w"], ((a + 3 * c) / 4).float(), atol=1e-7, rtol=0)
    assert found["n"] == round((1 + 3 * 21) / 4) and found["n"].dtype == torch.int64
    assert torch.equal(average_checkpoints(paths, weights=[0, 5, 0])["w"], states[1]["w"])
    # Weights whose sum overflows count like small ones.
    huge = average_checkpoints(paths, weights=[1e308, 1e308, 1e308])
    assert torch.equal(huge["w"], average_checkpoints(paths, weights=[1, 1, 1])["w"])
    ten = average_checkpoints([paths[0]] * 10, weights=[1] * 10)
    assert ten["n"] == states[0]["n"]  # ten tenths of a counter are the counter


def test_wrong_input_is_named(states, tmp_path):
    paths = write(tmp_path, states)
    with pytest.raises(InputError, match="mode is one of mean, legacy, not 'median'"):
        average_checkpoints(paths, mode="median")
    with pytest.raises(InputError, match="no checkpoints"):
        average_checkpoints([])
    for weights in ([1, 2], [0, 0, 0], [1, -1, 1], [1, float("nan"), 1], [1, float("inf"), 1]):
        with pytest.raises(InputError, match="3 checkpoints need 3 weights"):
            average_checkpoints(paths, weights=weights)
    with pytest.raises(InputError, match="the published code has no weights"):
        average_checkpoints(paths, mode="legacy", weights=[1, 1, 1])
    torch.save({"w": torch.zeros(4, 3), "n": torch.tensor(1), "v": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth.*missing: half; left over: v"):
        average_checkpoints([paths[0], tmp_path / "other.pth"])


def test_weights_of_another_precision_are_averaged_and_flags_are_not(states, tmp_path):
    """Weights of another precision count as the first ones; what is neither a weight nor a counter has no mean."""
    single = {"w": torch.tensor([1.0, 3.0])}
    for mode, expected in (("mean", [1.5, 3.5]), ("legacy", [2.0, 4.0])):
        found = average_checkpoints(write(tmp_path, [single, {"w": torch.tensor([2.0, 4.0]).half()}]), mode)["w"]
        assert found.dtype == torch.float32 and found.tolist() == expected
    for dtype, said in ((torch.int64, "does not fit this model; other type"), (torch.bool, "does not fit this model")):
        with pytest.raises(InputError, match=said):
            average_checkpoints(write(tmp_path, [single, {"w": single["w"].to(dtype)}]))
    for mode in averaging.MODES:
        with pytest.raises(InputError, match="w .complex64. are neither weights nor counters"):
            average_checkpoints(write(tmp_path, [{"w": single["w"].to(torch.complex64)}]), mode)
