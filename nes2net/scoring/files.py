"""Scoring from Python: samples or files in, scores out, always as in eval mode and from any number of threads."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nes2net.data.audio import SAMPLE_RATE, fault_of, load_audio, to_mono_16k
from nes2net.errors import InputError

if TYPE_CHECKING:
    from nes2net.batching import Reading
    from nes2net.detector import Detector

#: What is done with a file that cannot be scored: "raise", or a function of its path and the error.
OnError = str | Callable[[Any, InputError], Any]

# Batches' worth of files that are read ahead, and of those among which files of one length find each other: the others are still being
# read while a batch is computed.
_AHEAD, _LIKES = 6, 4
# So that hours of audio do not pile up: bytes of samples that are held; of a file that is not read yet, so many times its size.
_AHEAD_BYTES, _EXPANSION = 1 << 29, 16
_END = object()


def in_eval_mode(detector: Detector) -> Detector:
    """``detector`` itself if it is in eval mode, otherwise :func:`eval_twin` of it.

    So a detector's mode is never switched, and threads that score with it at once do not come in each other's way.
    """
    return eval_twin(detector) if any(module.training for module in detector.modules()) else detector


def eval_twin(detector: Detector) -> Detector:
    """Another detector in eval mode with the very same weights (not copies of them), whatever mode the first is switched to later.

    A compiled detector in eval mode is its own twin, for a twin would have to be compiled again.

    Raises :class:`InputError` for a detector in train mode a part of which has a ``forward`` made of that very part.
    """
    modules = list(detector.modules())
    training = any(module.training for module in modules)
    bound = next((module for module in modules if not _has_twin(module)), None)
    if not training and (bound or any(getattr(module, "_compiled_call_impl", None) for module in modules)):
        return detector
    if bound:
        raise InputError(
            f"a {type(bound).__name__} has a forward of its own (compiled, wrapped or TorchScript), which would score in train mode: call "
            ".eval() first"
        )
    twins = {module: module.__new__(type(module)) for module in modules}
    for module, twin in twins.items():
        state = vars(twin)
        for name, value in vars(module).items():
            if isinstance(value, MethodType) and value.__self__ is module:
                value = MethodType(value.__func__, twin)
            state[name] = value
        state.pop("_compiled_call_impl", None)
        state["training"] = False
        state["_modules"] = {name: twins.get(child) for name, child in module._modules.items()}
        for tensors in ("_parameters", "_buffers"):
            state[tensors] = dict(state[tensors])
    return twins[detector]


def _has_twin(module: nn.Module) -> bool:
    """Not one whose ``forward`` was replaced by a function that another module cannot take over, as a method's can be."""
    own = vars(module).get("forward")
    return not isinstance(module, torch.jit.ScriptModule) and (own is None or getattr(own, "__self__", None) is module)


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


def check_num_samples(num_samples: int | None) -> None:
    """:class:`InputError` for what is no length to score."""
    whole_number = isinstance(num_samples, (int, np.integer)) and not isinstance(num_samples, bool)
    if num_samples is not None and not (whole_number and num_samples >= 1):
        raise InputError(f"num_samples is at least 1, or None for the whole recording, not {num_samples!r}")


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
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, (int, float, np.number)):
        raise InputError(f"the sample rate is a number of Hz, not {sample_rate!r}")
    samples = samples.astype(np.float32)
    if fault := fault_of(samples):
        raise InputError(f"the recording {fault}")
    return to_mono_16k(samples, sample_rate, "the recording")


def _as_array(audio: Any) -> np.ndarray:
    try:
        if isinstance(audio, Tensor):
            audio = audio.detach().cpu()
            return (audio.float() if audio.dtype in (torch.bfloat16, torch.float16) else audio).numpy()
        return np.asarray(audio)
    except (TypeError, ValueError, RuntimeError) as error:  # lists of unequal length, a sparse tensor
        raise InputError(
            f"the samples are no array ({error}); floating-point ones, (N,) or (channels, N), are expected"
        ) from error


def scores_in_order(
    detector: Detector,
    paths: Iterable[str | Path],
    reading: Reading,
    batch_size: int,
    workers: int,
    on_error: OnError = "raise",
) -> Iterator[tuple[str | Path, float, int]]:
    """(path, score, samples of the whole recording) in the order of ``paths``, read in threads a few batches ahead.

    As :meth:`Detector.score_files`; ``detector`` is in eval mode and stays so.
    """
    paths = iter(paths)
    with ThreadPoolExecutor(workers, thread_name_prefix="nes2net-read") as pool:
        waiting: deque[_File] = deque()
        try:
            while True:
                while len(waiting) < _AHEAD * batch_size and sum(file.size for file in waiting) < _AHEAD_BYTES:
                    if (path := next(paths, _END)) is _END:
                        break
                    waiting.append(_File(path, pool.submit(reading.with_duration, path, str(path))))
                if not waiting:
                    return
                first = waiting[0]
                if first.result is None:
                    _score_with_its_likes(detector, list(islice(waiting, _LIKES * batch_size)), batch_size)
                waiting.popleft()
                if not isinstance(first.result, InputError):
                    yield first.path, first.result, first.duration
                elif callable(on_error):
                    on_error(first.path, first.result)
                else:
                    raise first.result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _File:
    """A file that is being read; its waveform, until it has a ``result``: a score, or why there is none."""

    def __init__(self, path: str | Path, reading: Future[tuple[np.ndarray, int]]) -> None:
        self.path, self._reading = path, reading
        self.result: float | InputError | None = None
        self.duration = 0  # samples, where there is a score
        try:
            self._guess = _EXPANSION * os.path.getsize(path)
        except (OSError, ValueError, TypeError):
            self._guess = 0  # reading it says what is wrong

    @property
    def size(self) -> int:
        """Bytes of its samples, as far as they are known."""
        if self.result is not None:
            return 0
        read = self._reading.done() and self._reading.exception() is None
        return self._reading.result()[0].nbytes if read else self._guess

    def waveform(self) -> np.ndarray | None:
        """(N,), waited for; None where the file could not be read, which is its result then."""
        try:
            waveform, self.duration = self._reading.result()
            return waveform
        except InputError as error:
            self.finish(error)
        except Exception as error:  # whatever a decoder makes of a damaged file
            self.finish(InputError(f"{self.path} could not be read ({type(error).__name__}: {error})"))
        return None

    def finish(self, result: float | InputError) -> None:
        self.result = result
        del self._reading  # nobody needs the samples any more


def _score_with_its_likes(detector: Detector, files: list[_File], batch_size: int) -> None:
    """Score the first of ``files``, in a batch with those of its length. All of the batch have results then."""
    first = files[0].waveform()
    if first is None:
        return
    batch, waveforms = [files[0]], [first]
    for file in files[1:]:
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
