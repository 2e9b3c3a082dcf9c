"""The scoring kernel: modes and settings are restored, memory may run out, sizes compile once."""

import threading
import weakref

import pytest
import torch
from builders import PATIENCE, input_error
from torch.utils._pytree import tree_map

from nes2net import Detector, InputError
from nes2net.lib.errors import BrokenPart
from nes2net.scoring.kernel import score_batch, scoring_mode, start, start_rows


@pytest.fixture
def detector(spectral_detector):
    return spectral_detector


def waveforms(count: int) -> torch.Tensor:
    return 0.1 * torch.randn(count, 4000, generator=torch.Generator().manual_seed(1))


def with_room_for(detector, rows: int, error: Exception) -> list[int]:
    """Let ``detector`` raise ``error`` for more rows, and return the list of the numbers of rows it gets."""
    computed = detector.scores
    sizes = []

    def scores(x):
        sizes.append(len(x))
        if len(x) > rows:
            raise error
        return computed(x)

    detector.scores = scores
    return sizes


def modes(detector) -> list[bool]:
    return [module.training for module in detector.modules()]


def test_a_batch_filled_up_to_the_rows_asked_for_has_the_scores_of_the_batch_alone(detector):
    plain = score_batch(detector, waveforms(3))
    sizes = with_room_for(detector, 9, MemoryError())
    wait = start(detector, waveforms(3), rows=4)
    assert wait() == pytest.approx(plain, abs=1e-6)
    assert sizes == [4]


@pytest.mark.parametrize("shifted", [lambda x: x[1:], lambda x: torch.cat([x[:1], x])], ids=["less", "more"])
def test_a_detector_that_gives_another_number_of_scores_than_recordings_is_refused(detector, shifted):
    computed = detector.backend.embed
    detector.backend.embed = lambda features: shifted(computed(features))
    with pytest.raises(BrokenPart, match="for a batch of 3; expected one for each"):
        score_batch(detector, waveforms(3))


def test_inference_mode_does_not_outlast_the_start_of_a_batch(detector):
    start(detector, waveforms(3))
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        Exception("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"),
        MemoryError(),
    ],
)
def test_a_batch_that_does_not_fit_into_memory_is_scored_in_parts(detector, error):
    plain = score_batch(detector, waveforms(4))
    with_room_for(detector, 1, error)
    assert start(detector, waveforms(4), rows=4)() == pytest.approx(plain, abs=1e-6)


def test_a_batch_size_that_did_not_fit_into_memory_is_not_tried_again(detector):
    sizes = with_room_for(detector, 1, MemoryError())
    start(detector, waveforms(4), rows=4)()
    assert sizes == [4, 2, 1, 1, 1, 1]


def test_a_batch_that_fits_into_memory_only_with_fewer_filling_rows_is_scored(detector):
    plain = score_batch(detector, waveforms(1))
    sizes = with_room_for(detector, 2, MemoryError())
    assert start(detector, waveforms(1), rows=8)() == pytest.approx(plain, abs=1e-6)
    assert sizes == [8, 4, 2]


def test_a_batch_that_did_not_fit_is_freed_before_its_parts_are_scored(detector):
    batches = []

    def scores(x):
        batches.append(weakref.ref(x))
        if len(batches) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        assert batches[0]() is None
        return x.mean(1)

    detector.scores = scores
    with scoring_mode(detector):
        assert len(start(detector, waveforms(6), rows=8)()) == 6
    assert len(batches) > 2


def test_a_waveform_that_cannot_be_scored_has_a_reason_in_place_of_its_score(detector):
    """It does not fit alone, or its score is not finite."""
    computed = detector.scores
    x = waveforms(5)
    other_scores = pytest.approx(score_batch(detector, x[[0, 1, 4]]), abs=1e-6)

    def no_room(x):
        if (x > 0.9).any():
            raise MemoryError
        return computed(x)

    detector.scores = no_room
    x[2, 0] = 0.95
    x[3] = float("nan")
    first, second, too_large, not_finite, last = score_batch(detector, x)
    assert [first, second, last] == other_scores
    assert not_finite.startswith("the detector's score is nan")
    assert "do not fit into the memory of cpu" in too_large


def test_rows_that_are_not_finite_are_no_fault_of_a_detector_whose_logits_are_finite(detector):
    spoil = torch.tensor([1, torch.nan])
    rows = start_rows(detector, "rows have {}", lambda x: detector.scores(x)[:, None] * spoil, waveforms(2))()
    assert rows == ["the detector's rows have nan: its features and logits are finite, so correct the judgement"] * 2


@pytest.fixture
def strangers(detector):
    """A detector of parts of other packages, whose subjects are their roles."""
    for role, module in detector.named_children():
        module.subject = role
    return detector


@pytest.mark.parametrize("role, method", [("frontend", "forward"), ("aggregation", "forward"), ("backend", "embed")])
def test_the_first_part_whose_output_is_not_finite_is_to_blame(strangers, monkeypatch, role, method):
    module = getattr(strangers, role)
    computed = getattr(module, method)

    def spoiled(*args, **options):
        return tree_map(lambda output: output * torch.nan, computed(*args, **options))

    monkeypatch.setattr(module, method, spoiled)
    assert strangers.part_not_finite(waveforms(2)) == role


def test_a_penalty_that_is_not_finite_is_the_fault_of_the_aggregation(strangers):
    assert strangers.part_not_finite(waveforms(2)) is None
    strangers.aggregation.penalty = torch.tensor(torch.nan)
    assert strangers.part_not_finite(waveforms(2)) == "aggregation"


def test_no_part_is_to_blame_for_waveforms_and_weights_that_are_not_finite(strangers):
    assert strangers.part_not_finite(waveforms(2) * torch.nan) == ""
    strangers.backend.last_layer.weight.data[:] = torch.nan
    assert strangers.part_not_finite(waveforms(2)) == ""


def test_if_a_detector_refuses_a_batch_each_of_its_waveforms_gets_the_reason(detector):
    first, second = score_batch(detector, waveforms(2)[:, :100])
    assert "too short" in first
    assert "too short" in second


def test_scoring_in_train_mode_restores_batch_statistics_after_an_error(small_model):
    detector = Detector.from_config(small_model)
    state = {name: tensor.clone() for name, tensor in detector.state_dict().items()}

    def changed() -> bool:
        return any(not torch.equal(tensor, state[name]) for name, tensor in detector.state_dict().items())

    with input_error(), scoring_mode(detector, train=True):
        start(detector, waveforms(2))()
        assert changed()
        raise InputError("enough")
    assert not changed()


@pytest.mark.parametrize("train", [False, True])
def test_after_an_error_in_scoring_each_part_has_its_mode_again(small_model, train):
    detector = Detector.from_config(small_model)
    detector.frontend.eval()
    before = modes(detector)
    with input_error(), scoring_mode(detector, train):
        assert {*modes(detector)} == {train}
        raise InputError("enough")
    assert modes(detector) == before


def test_the_last_of_two_scoring_threads_to_end_restores_the_modes(small_model):
    detector = Detector.from_config(small_model).train()
    inside = threading.Event()
    leave = threading.Event()

    def score() -> None:
        with scoring_mode(detector):
            inside.set()
            leave.wait(PATIENCE)

    with scoring_mode(detector):
        thread = threading.Thread(target=score)
        thread.start()
        assert inside.wait(PATIENCE)
    assert not any(modes(detector))
    leave.set()
    thread.join()
    assert all(modes(detector))
