"""Batches of waveforms through a detector: transfers overlapped with computation, and what one batch does wrong kept to that batch."""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from nes2net.batching import Group, ReadBatch
from nes2net.data.audio import SAMPLE_RATE
from nes2net.errors import InputError


class Scorer(Protocol):
    """What can be scored with: a :class:`Detector`, or an exported one, which has a ``fingerprint`` of its own."""

    device: torch.device
    dtype: torch.dtype
    min_samples: int
    config: dict[str, Any]

    def train(self, mode: bool = True) -> Any: ...

    def scores(self, waveform: Tensor) -> Tensor: ...


class BatchScores(NamedTuple):
    """Scores and failures by the index of their trial, and how many samples the detector heard."""

    scores: dict[int, float]
    failures: dict[int, str]
    num_samples: int


class _OnTheWay(NamedTuple):
    """Scores (B,) that a GPU still computes: their place in the CPU's memory, and the event after which they are there."""

    scores: Tensor
    arrived: torch.cuda.Event | None

    @classmethod
    def to_host(cls, scores: Tensor) -> _OnTheWay:
        """Queued right behind the batch's own work; asked for later, they would come after that of the next batch."""
        if not scores.is_cuda:
            return cls(scores.float(), None)
        host = torch.empty(scores.shape, dtype=torch.float32, pin_memory=True)
        host.copy_(scores.float(), non_blocking=True)
        return cls(host, torch.cuda.current_stream(scores.device).record_event())

    def wait(self) -> list[float]:
        if self.arrived is not None:
            self.arrived.synchronize()
        return self.scores.tolist()


# A group with its scores, or the reason why it has none.
_Computed = tuple[Group, _OnTheWay | str]


def score_batches(
    detector: Scorer,
    batches: Iterable[ReadBatch],
    names: Sequence[str] | None = None,
    *,
    rows: int | None = None,
    ahead: int | None = None,
) -> Iterator[BatchScores]:
    """Scores of one batch after another, in whichever mode the detector is.

    A score that is not finite, a length that the detector does not take, and an utterance that memory is too small for are failures.

    Args:
        names: of the trials, by index, for a detector in train mode: what is random in it is then drawn from a stream that the first
            name of each batch begins.
        rows: with so many a batch is computed, short ones filled up, for a compiled detector, which is compiled for each size anew.
        ahead: batches that are under way while the scores of one are waited for; None: one on a GPU, which so is never idle.
    """
    ahead = int(detector.device.type == "cuda") if ahead is None else ahead
    under_way: deque[tuple[ReadBatch, list[_Computed]]] = deque()
    for batch in batches:
        under_way.append((batch, [part for group in batch.groups for part in _launch(detector, group, names, rows)]))
        if len(under_way) > ahead:
            yield _collect(*under_way.popleft())
    while under_way:
        yield _collect(*under_way.popleft())


def _launch(detector: Scorer, group: Group, names: Sequence[str] | None, rows: int | None = None) -> list[_Computed]:
    """The group's scores on their way, or why there are none; in parts if it does not fit into memory whole."""
    try:
        with (
            torch.inference_mode(),
            _random_stream(detector.device, None if names is None else names[group.indices[0]]),
        ):
            waveforms = group.waveforms.to(detector.device, non_blocking=True)
            scores = detector.scores(_filled_up(waveforms, rows))
            return [(group, _OnTheWay.to_host(scores[: len(group.indices)]))]
    except InputError as error:
        return [(group, str(error))]
    except Exception as error:  # onnxruntime's are of no class of Python's
        if not _is_out_of_memory(error):
            raise
    if len(group.indices) == 1:
        seconds = group.waveforms.shape[1] / SAMPLE_RATE
        return [
            (
                group,
                f"{seconds:.0f} s are more than the memory of {detector.device} is enough for: score its first seconds",
            )
        ]
    half = len(group.indices) // 2
    parts = [Group(group.indices[part], group.waveforms[part]) for part in (slice(half), slice(half, None))]
    return [computed for part in parts for computed in _launch(detector, part, names)]


def _filled_up(waveforms: Tensor, rows: int | None) -> Tensor:
    """B×N → ``rows``×N, the last one repeated."""
    missing = 0 if rows is None else rows - len(waveforms)
    return waveforms if missing <= 0 else torch.cat([waveforms, waveforms[-1:].expand(missing, -1)])


def _collect(batch: ReadBatch, computed: list[_Computed]) -> BatchScores:
    scores: dict[int, float] = {}
    failures = dict(batch.failures)
    for group, found in computed:
        if isinstance(found, str):
            failures |= dict.fromkeys(group.indices, found)
            continue
        for index, score in zip(group.indices, found.wait()):
            if math.isfinite(score):
                scores[index] = score
            else:
                failures[index] = f"the detector's score is {score}"
    return BatchScores(scores, failures, sum(group.waveforms.numel() for group in batch.groups))


@contextmanager
def _random_stream(device: torch.device, name: str | None) -> Iterator[None]:
    """Random numbers that depend on ``name`` alone; those of the program, for None."""
    if name is None:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(zlib.crc32(name.encode()))
        yield


def _is_out_of_memory(error: BaseException) -> bool:
    words = (
        "out of memory",
        "not enough memory",
        "can't allocate memory",
        "failed to allocate memory",
        "_alloc_failed",
    )
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


@contextmanager
def scoring_mode(detector: Scorer, train: bool = False) -> Iterator[None]:
    """``detector`` in train or eval mode, and float32 what it says it is; all as it was in the end.

    cuDNN convolves float32 in TF32 (ten bits of mantissa) unless it is told not to. In train mode batch normalisation moves its running
    statistics, which no score depends on then: they are put back.
    """
    modules = list(detector.modules()) if isinstance(detector, nn.Module) else []
    modes = [module.training for module in modules]
    buffers = list(detector.buffers()) if modules and train else []
    kept = [buffer.clone() for buffer in buffers]
    try:
        detector.train(train)
        with _no_tf32() if detector.device.type == "cuda" and detector.dtype == torch.float32 else nullcontext():
            yield
    finally:
        for module, mode in zip(modules, modes):
            module.training = mode
        with torch.no_grad():
            for buffer, before in zip(buffers, kept):
                buffer.copy_(before)


@contextmanager
def _no_tf32() -> Iterator[None]:
    try:
        before = torch.backends.cudnn.allow_tf32
    except RuntimeError:  # chosen under torch's newer names, which do not go together with this one
        yield
        return
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
