"""Batches of waveforms through a detector: transfers overlapped with computation, and what one batch does wrong kept to that batch."""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

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


# A group with its scores, or the reason why it has none.
_Computed = tuple[Group, Tensor | str]


def score_batches(
    detector: Scorer, batches: Iterable[ReadBatch], names: Sequence[str] | None = None, *, ahead: int | None = None
) -> Iterator[BatchScores]:
    """Scores of one batch after another, in whichever mode the detector is.

    A score that is not finite, a length that the detector does not take, and an utterance that memory is too small for are failures.

    Args:
        names: of the trials, by index, for a detector in train mode: what is random in it is then drawn from a stream that the first
            name of each batch begins.
        ahead: batches that are under way while the scores of one are waited for; None: one on a GPU, which so is never idle.
    """
    ahead = int(detector.device.type == "cuda") if ahead is None else ahead
    under_way: deque[tuple[ReadBatch, list[_Computed]]] = deque()
    with torch.inference_mode():
        for batch in batches:
            under_way.append((batch, [part for group in batch.groups for part in _launch(detector, group, names)]))
            if len(under_way) > ahead:
                yield _collect(*under_way.popleft())
        while under_way:
            yield _collect(*under_way.popleft())


def _launch(detector: Scorer, group: Group, names: Sequence[str] | None) -> list[_Computed]:
    """The group's scores, on the detector's device, or why there are none; in parts if it does not fit into memory whole."""
    waveforms = group.waveforms.to(detector.device, non_blocking=True)
    try:
        with _random_stream(detector.device, None if names is None else names[group.indices[0]]):
            return [(group, detector.scores(waveforms))]
    except InputError as error:
        return [(group, str(error))]
    except (MemoryError, RuntimeError) as error:
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
    alone = [Group([index], waveform[None]) for index, waveform in zip(group.indices, group.waveforms)]
    return [part for one in alone for part in _launch(detector, one, names)]


def _collect(batch: ReadBatch, computed: list[_Computed]) -> BatchScores:
    scores: dict[int, float] = {}
    failures = dict(batch.failures)
    for group, found in computed:
        if isinstance(found, str):
            failures |= dict.fromkeys(group.indices, found)
            continue
        for index, score in zip(group.indices, found.float().tolist()):
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
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)
