"""From batches of waveforms to what a run makes of them: scores, scores of frames, embeddings."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from nes2net.audio.read import SAMPLE_RATE
from nes2net.errors import InputError
from nes2net.scoring.batches import Group, Plan, ReadBatch
from nes2net.scoring.engine import Share
from nes2net.scoring.frame_scores import chosen_resolution, frame_scores, longest_piece
from nes2net.scoring.journal import Row
from nes2net.scoring.kernel import start, start_embedding, start_frames
from nes2net.scoring.scorer import Scorer, SegmentScorer

T = TypeVar("T")


@dataclass(frozen=True)
class Compute(Generic[T]):
    """Computes one batch after another, in the current mode of ``scorer``.

    Args:
        plan: how many rows are computed for a group.
        start: starts to compute a group, so many rows of it; the result waits for the values, or the
            reasons why they are missing.
        ahead: how many further batches are started before the values of one are waited for; None for
            one on a GPU, which is then never idle, and 0 on a CPU.
    """

    scorer: Scorer
    plan: Plan
    start: Callable[[Group, int | None], Callable[[], Sequence[T | str]]]
    ahead: int | None = None

    def __call__(self, batches: Iterable[ReadBatch]) -> Generator[Share[T], None, None]:
        ahead = int(self.scorer.device.type == "cuda") if self.ahead is None else self.ahead
        under_way: deque[Callable[[], Share[T]]] = deque()
        for batch in batches:
            under_way.append(self._started(batch))
            if len(under_way) > ahead:
                yield under_way.popleft()()
        while under_way:
            yield under_way.popleft()()

    def _started(self, batch: ReadBatch) -> Callable[[], Share[T]]:
        device = self.scorer.computes_on
        started = [(group, self.start(group, self.plan.rows(device, group.waveforms))) for group in batch.groups]

        def wait() -> Share[T]:
            rows: dict[str, Row[T]] = {}
            failures = dict(batch.failures)
            for group, values in started:
                for id, audio, value in zip(group.ids, group.audio, values()):
                    if isinstance(value, str):
                        failures[id] = value
                    else:
                        rows[id] = Row(value, audio)
            return Share(rows, failures, sum(group.waveforms.numel() for group in batch.groups))

        return wait


def compute_scores(
    scorer: Scorer,
    plan: Plan,
    *,
    random_streams: bool = False,
    system_scores: Mapping[str, Sequence[float]] | None = None,
    ahead: int | None = None,
) -> Compute[float]:
    """Compute the scores of utterances.

    Args:
        random_streams: for a detector in train mode: the first id of a batch names its stream of
            random numbers.
        system_scores: by id of the trial, for a detector that takes scores of other systems.
        ahead: as of :class:`Compute`.
    """

    def start_group(group: Group, rows: int | None) -> Callable[[], Sequence[float | str]]:
        inputs = [group.waveforms]
        if system_scores is not None:
            inputs.append(torch.tensor([system_scores[id] for id in group.ids]))
        stream = group.ids[0] if random_streams else None
        return start(scorer, *inputs, stream=stream, rows=rows)

    return Compute(scorer, plan, start_group, ahead)


def compute_frames(scorer: Scorer, plan: Plan, frames: FramesOfBatch) -> Compute[NDArray]:
    """Compute scores of frames, (T,) float32."""
    return Compute(scorer, plan, lambda group, rows: frames.start(group.waveforms, rows))


def compute_embeddings(scorer: Scorer, plan: Plan, embed: Callable[[Tensor], Tensor]) -> Compute[NDArray]:
    """Compute embeddings (E,) float32 by ``embed``, B×N → B×E."""
    return Compute(scorer, plan, lambda group, rows: start_embedding(scorer, embed, group.waveforms, rows=rows))


class FramesOfBatch:
    """Scores frames of ``resolution_ms`` with ``scorer``.

    Raises:
        InputError: if ``scorer`` does not score frames of that length, or none at all.
    """

    def __init__(self, scorer: Scorer, resolution_ms: float | None) -> None:
        self.scorer: SegmentScorer = scorer  # type: ignore[assignment]  # chosen_resolution refuses others
        self.resolution_ms = chosen_resolution(self.scorer, resolution_ms)
        self.longest = longest_piece(self.scorer)

    def start(self, waveforms: Tensor, rows: int | None = None) -> Callable[[], Sequence[NDArray | str]]:
        """Start to score ``waveforms`` B×N on the CPU; the results are scores (T,) float32, or why they are missing.

        There are ⌈N / frame⌉ scores at most. A waveform that is too short for the detector is
        repeated, one that is too long for one piece is scored in windows.

        Args:
            rows: as of :func:`nes2net.scoring.kernel.start`.
        """
        num_samples = waveforms.shape[1]
        if num_samples > self.longest:
            return lambda: [self._in_windows(waveform) for waveform in waveforms]
        if (times := -(-self.scorer.min_samples // num_samples)) > 1:
            waveforms = waveforms.repeat(1, times)[:, : self.scorer.min_samples]
        most = -(-num_samples // round(self.resolution_ms * SAMPLE_RATE / 1000))
        return start_frames(
            self.scorer, lambda x: self.scorer.segment_scores(x)[self.resolution_ms][:, :most], waveforms, rows=rows
        )

    def _in_windows(self, waveform: Tensor) -> NDArray | str:
        try:
            return frame_scores(self.scorer, waveform.numpy(), SAMPLE_RATE, resolution_ms=self.resolution_ms).scores
        except InputError as error:
            return str(error)
