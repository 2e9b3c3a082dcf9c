"""Batches through a detector: modes and settings left as they were, memory that is too small, sizes that are compiled once."""

from contextlib import closing
from types import SimpleNamespace

import pytest
import torch

from nes2net import Detector, InputError
from nes2net.batch_scores import score_batches, scoring_mode
from nes2net.batching import Group, ReadBatch, default_batch_size


@pytest.fixture
def detector(spectral_detector):
    return spectral_detector


def batches(*sizes: int) -> list[ReadBatch]:
    torch.manual_seed(1)
    read, start = [], 0
    for size in sizes:
        read.append(ReadBatch([Group(list(range(start, start + size)), 0.1 * torch.randn(size, 4000))], {}))
        start += size
    return read


def scores(found) -> dict[int, float]:
    return {index: score for batch in found for index, score in batch.scores.items()}


def test_inference_mode_stays_inside(detector):
    """Where the scores are used, whether all of them are or not."""
    with pytest.raises(InputError), closing(score_batches(detector, batches(2, 2))) as found:
        for _ in found:
            assert not torch.is_inference_mode_enabled()
            raise InputError("enough")
    assert not torch.is_inference_mode_enabled()
    kept = score_batches(detector, batches(2, 2), ahead=1)
    next(kept)
    assert not torch.is_inference_mode_enabled() and torch.zeros(1, requires_grad=True).exp().requires_grad


def test_filled_up_batches(detector):
    plain, sizes, computed = scores(score_batches(detector, batches(4, 3, 1))), [], detector.scores
    detector.scores = lambda waveforms: (sizes.append(len(waveforms)), computed(waveforms))[1]
    found = scores(score_batches(detector, batches(4, 3, 1), rows=4))
    assert sizes == [4, 4, 4] and list(found) == list(range(8))
    assert found == pytest.approx(plain, abs=1e-6)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        Exception(
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 1"
        ),
        MemoryError(),
    ],
)
def test_memory_that_is_too_small_for_a_batch(detector, error, monkeypatch):
    """Wherever it runs out: in the detector, or on the way there. Parts of a batch are filled up no more."""
    plain, computed = scores(score_batches(detector, batches(4))), detector.scores
    sizes = []

    def at_most_one(waveforms):
        sizes.append(len(waveforms))
        if len(waveforms) > 1:
            raise error
        return computed(waveforms)

    detector.scores = at_most_one
    assert scores(score_batches(detector, batches(4), rows=4)) == pytest.approx(plain, abs=1e-6)
    assert sizes == [4, 2, 1, 1, 2, 1, 1]
    detector.scores, move = computed, torch.Tensor.to

    def no_room(tensor, *arguments, **options):
        if tensor.dim() == 2 and len(tensor) > 2 and "non_blocking" in options:
            raise error
        return move(tensor, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "to", no_room)
    assert scores(score_batches(detector, batches(4))) == pytest.approx(plain, abs=1e-6)


def test_other_errors_are_not_hidden(detector):
    detector.scores = lambda waveforms: 1 / 0
    with pytest.raises(ZeroDivisionError):
        list(score_batches(detector, batches(2)))


def test_modes_and_statistics_are_put_back(small_model):
    detector = Detector.from_config(small_model)
    detector.frontend.eval()
    before = [module.training for module in detector.modules()]
    state = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    with pytest.raises(InputError), scoring_mode(detector, train=True):
        assert all(module.training for module in detector.modules())
        found = scores(score_batches(detector, batches(2, 1)))
        assert any(not torch.equal(tensor, state[name]) for name, tensor in detector.state_dict().items())
        raise InputError("enough")
    assert [module.training for module in detector.modules()] == before and len(found) == 3
    assert all(torch.equal(tensor, state[name]) for name, tensor in detector.state_dict().items())
    with scoring_mode(detector):
        assert not any(module.training for module in detector.modules())
    assert [module.training for module in detector.modules()] == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_float32_is_float32_on_a_gpu(dtype):
    """No GPU is asked: what cuDNN may do is a setting of the program."""
    before = torch.backends.cudnn.allow_tf32
    detector = SimpleNamespace(device=torch.device("cuda"), dtype=dtype, train=lambda mode: None)
    with pytest.raises(InputError), scoring_mode(detector):
        assert torch.backends.cudnn.allow_tf32 == (before and dtype != torch.float32)
        raise InputError("enough")
    assert torch.backends.cudnn.allow_tf32 == before


def test_batch_sizes():
    assert [default_batch_size(torch.device(name)) for name in ("cpu", "cuda", "cuda:1")] == [8, 64, 64]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_on_a_gpu(detector, ahead):
    plain = scores(score_batches(detector, batches(4, 4, 3, 1)))
    detector.cuda()
    pinned = [
        ReadBatch([Group(g.indices, g.waveforms.pin_memory()) for g in batch.groups], {})
        for batch in batches(4, 4, 3, 1)
    ]
    with scoring_mode(detector):
        assert scores(score_batches(detector, pinned, ahead=ahead)) == pytest.approx(plain, abs=1e-4)
