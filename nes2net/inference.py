"""Scoring from Python: samples or files in, scores out, always as in eval mode and from any number of threads."""

from __future__ import annotations

import copy
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nes2net.data.audio import SAMPLE_RATE, load_audio, to_mono_16k
from nes2net.errors import InputError

if TYPE_CHECKING:
    from nes2net.batching import Reading
    from nes2net.detector import Detector

#: What is done with a file that cannot be scored: "raise", or a function of its path and the error.
OnError = str | Callable[[Any, InputError], Any]

# Sample values beyond this are no loud recording but integers in a floating-point array.
_LOUDEST = 16.0
# Batches' worth of files that are read ahead, among which those of one length find each other; and, so that hours of audio do not pile
# up, their size on disk.
_AHEAD, _AHEAD_BYTES = 4, 1 << 26


def in_eval_mode(detector: Detector) -> Detector:
    """``detector`` itself if it is in eval mode, otherwise another one in eval mode with the very same weights (not copies of them).

    So a detector's mode is never switched, and threads that score with it at once do not come in each other's way.
    """
    if not any(module.training for module in detector.modules()):
        return detector
    shared = {id(tensor): tensor for tensor in chain(detector.parameters(), detector.buffers())}
    return copy.deepcopy(detector, shared).eval()


def scores_of(detector: Detector, waveforms: Tensor) -> list[float]:
    """Scores of ``waveforms`` B×N. :class:`InputError` for a score that is no number, and for more than memory is enough for."""
    try:
        with torch.inference_mode():
            scores = detector.scores(waveforms.to(detector.device)).float().tolist()
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)):
            raise
        rows, samples = waveforms.shape
        raise InputError(
            f"{rows} × {samples / SAMPLE_RATE:.0f} s are more than the memory of {detector.device} is enough for: take smaller batches, "
            "the first seconds (num_samples, --samples), or scores along time (score_track, --track)"
        ) from error
    if bad := [score for score in scores if not math.isfinite(score)]:
        raise InputError(
            f"the detector's score is {bad[0]}: its weights or its precision ({detector.dtype}) are at fault"
        )
    return scores


def waveform_of(audio: str | Path | np.ndarray | Tensor, sample_rate: float = SAMPLE_RATE) -> np.ndarray:
    """A file, or samples (N,) or (channels, N) in [−1, 1] at ``sample_rate`` Hz, as 16 kHz mono float32 (N,).

    Raises :class:`InputError` for whole numbers (which nothing says the range of), for values far outside [−1, 1], NaN or infinity,
    for no samples, and for (samples, channels).
    """
    if isinstance(audio, (str, Path)):
        return load_audio(audio)
    samples = _as_array(audio)
    if samples.dtype.kind in "iub":
        raise InputError(
            f"the samples are whole numbers ({samples.dtype}); floating-point ones in [-1, 1] are expected: divide by full scale, "
            "32768 for 16-bit audio"
        )
    if samples.dtype.kind != "f":
        raise InputError(f"the samples are of type {samples.dtype}; floating-point ones in [-1, 1] are expected")
    if samples.ndim == 2 and samples.shape[0] > samples.shape[1] > 0:
        raise InputError(
            f"{samples.shape[0]:,} × {samples.shape[1]:,} would be more channels than samples; "
            "(channels, samples) is expected: transpose it"
        )
    samples = samples.astype(np.float32)
    if not np.isfinite(samples).all():
        raise InputError("the samples hold NaN or infinite values")
    if samples.size and (loudest := np.abs(samples).max()) > _LOUDEST:
        raise InputError(
            f"the samples reach {loudest:g}; values in [-1, 1] are expected: divide by full scale, 32768 for 16-bit audio"
        )
    return to_mono_16k(samples, sample_rate, "the recording")


def _as_array(audio: Any) -> np.ndarray:
    if isinstance(audio, Tensor):
        audio = audio.detach().cpu()
        return (audio.float() if audio.dtype in (torch.bfloat16, torch.float16) else audio).numpy()
    return np.asarray(audio)


def scores_in_order(
    detector: Detector,
    paths: Iterable[str | Path],
    reading: Reading,
    batch_size: int,
    workers: int,
    on_error: OnError = "raise",
) -> Iterator[tuple[str | Path, float]]:
    """(path, score) in the order of ``paths``, read in threads a few batches ahead; as :meth:`Detector.score_files`."""
    paths = iter(paths)
    with ThreadPoolExecutor(workers, thread_name_prefix="nes2net-read") as pool:
        waiting: deque[_File] = deque()
        try:
            while True:
                while len(waiting) < _AHEAD * batch_size and sum(file.size for file in waiting) < _AHEAD_BYTES:
                    if (path := next(paths, None)) is None:
                        break
                    waiting.append(_File(path, pool.submit(reading, path, str(path))))
                if not waiting:
                    return
                first = waiting[0]
                if first.result is None:
                    _score_with_its_likes(detector, waiting, batch_size)
                waiting.popleft()
                if not isinstance(first.result, InputError):
                    yield first.path, first.result
                elif callable(on_error):
                    on_error(first.path, first.result)
                else:
                    raise first.result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _File:
    """A file that is being read; its waveform, until it has a ``result``: a score, or why there is none."""

    def __init__(self, path: str | Path, waveform: Future[np.ndarray]) -> None:
        self.path, self._waveform = path, waveform
        self.result: float | InputError | None = None
        try:
            self.size = os.path.getsize(path)
        except (OSError, ValueError):
            self.size = 0  # reading it says what is wrong

    def waveform(self) -> np.ndarray | None:
        """(N,), waited for; None where the file could not be read, which is its result then."""
        try:
            return self._waveform.result()
        except InputError as error:
            self.finish(error)
        except Exception as error:  # whatever a decoder makes of a damaged file
            self.finish(InputError(f"{self.path} could not be read ({type(error).__name__}: {error})"))
        return None

    def finish(self, result: float | InputError) -> None:
        self.result, self.size = result, 0
        del self._waveform  # nobody needs the samples any more


def _score_with_its_likes(detector: Detector, waiting: deque[_File], batch_size: int) -> None:
    """Score the first file, in a batch with those of its length. All of the batch have results then."""
    first = waiting[0].waveform()
    if first is None:
        return
    batch, waveforms = [waiting[0]], [first]
    for file in islice(waiting, 1, None):
        if len(batch) == batch_size:
            break
        if file.result is None and (other := file.waveform()) is not None and len(other) == len(first):
            batch.append(file)
            waveforms.append(other)
    try:
        scores: list[Any] = scores_of(detector, torch.from_numpy(np.stack(waveforms)))
    except InputError:  # one of them may be to blame for all
        scores = [_alone(detector, waveform) for waveform in waveforms]
    for file, score in zip(batch, scores):
        file.finish(InputError(f"{file.path}: {score}") if isinstance(score, InputError) else score)


def _alone(detector: Detector, waveform: np.ndarray) -> float | InputError:
    try:
        return scores_of(detector, torch.from_numpy(waveform)[None])[0]
    except InputError as error:
        return error
