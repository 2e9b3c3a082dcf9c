"""Score a batch by :func:`start`, with a detector of PyTorch or an exported one.

Files, windows and corpora are all scored by :func:`start` in :func:`scoring_mode`; embeddings and
frame scores by :func:`start_rows`.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeGuard, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nes2net.data.audio.read import SAMPLE_RATE
from nes2net.lib.computing.devices import QueuedCopy, float32_products
from nes2net.lib.errors import BrokenPart, InputError, check_setting, pluralise
from nes2net.lib.parts.contracts import check_rows
from nes2net.lib.process.this_process import is_out_of_memory
from nes2net.models.network import Network
from nes2net.models.onnx_detector import OnnxDetector

#: A score, or the reason why the score is missing.
Result: TypeAlias = float | str

#: A detector that scores: of PyTorch, or exported.
Scorer: TypeAlias = Network | OnnxDetector

T = TypeVar("T")


def scores_segments(scorer: Scorer) -> TypeGuard[Network]:
    """Whether ``scorer`` can score segments."""
    return bool(scorer.resolutions)


def depends_on_batch(scorer: Scorer) -> bool:
    """Whether utterances of a batch affect each other, by ``normalize: batch``."""
    frontend = scorer.config["frontend"]
    # The options of a distilled front-end contain the options of two front-ends, teacher and student.
    frontends = [frontend, *(value for value in frontend.values() if isinstance(value, dict))]
    return any(frontend_options.get("normalize") == "batch" for frontend_options in frontends)


def check_takes_audio_alone(scorer: Scorer) -> None:
    """Raise :class:`InputError` if ``scorer`` fuses scores of other systems."""
    if scorer.num_scores:
        raise InputError(
            f"this detector fuses the scores of {pluralise(scorer.num_scores, 'other system')}, so it cannot score audio alone: score "
            "a corpus, with `nes2net score … --system-scores FILE …`"
        )


def score_batch(scorer: Scorer, waveforms: Tensor) -> list[Result]:
    """Score ``waveforms`` B×N on the CPU in :func:`scoring_mode`, as :func:`start`."""
    with scoring_mode(scorer):
        return start(scorer, waveforms)()


def score_or_raise(scorer: Scorer, waveforms: Tensor) -> list[float]:
    """Score as :func:`score_batch`; raise :class:`InputError` if a score is missing."""
    return values_or_raise(score_batch(scorer, waveforms))


def values_or_raise(results: Iterable[T | str]) -> list[T]:
    """List the results of a batch; raise :class:`InputError` with the reason if one is missing."""
    values: list[T] = []
    for result in results:
        if isinstance(result, str):
            raise InputError(result)
        values.append(result)
    return values


def score_each(scorer: Scorer, waveforms: Sequence[NDArray]) -> list[float]:
    """Score each (N,) as :func:`score_or_raise`; equal lengths share a batch."""
    one_by_one = depends_on_batch(scorer)
    # Length, or index if each waveform is a batch → indices of the waveforms of a batch.
    groups: dict[int, list[int]] = {}
    for number, waveform in enumerate(waveforms):
        groups.setdefault(number if one_by_one else len(waveform), []).append(number)
    scores = [0.0] * len(waveforms)
    for numbers in groups.values():
        batch = torch.from_numpy(np.stack([waveforms[number] for number in numbers]))
        for number, score in zip(numbers, score_or_raise(scorer, batch), strict=True):
            scores[number] = score
    return scores


def start(
    scorer: Scorer,
    waveforms: Tensor,
    system_scores: Tensor | None = None,
    *,
    stream: str | None = None,
    rows: int | None = None,
) -> Callable[[], list[Result]]:
    """Start to score ``waveforms`` B×N in the current mode; return a function that waits for the results.

    A GPU computes in the background. A batch that does not fit into memory is split, and so are
    later ones. A result is a score, or the reason why it is missing: it is not finite, the detector
    does not take length N, or a single waveform does not fit into memory.

    Args:
        system_scores: B×S, for a detector that fuses them.
        stream: seeds the random numbers in train mode; None leaves the random state.
        rows: fill up to this number, because new sizes make a compiled detector compile and a GPU
            plan its convolutions again; None for just B.
    """
    inputs = [waveforms] if system_scores is None else [waveforms, system_scores]
    finish = start_rows(scorer, "score is {}", scorer.scores, *inputs, stream=stream, rows=rows)

    def scores() -> list[Result]:
        results: list[Result] = []
        for result in finish():
            results.append(result if isinstance(result, str) else float(result))
        return results

    return scores


def start_rows(
    scorer: Scorer,
    message: str,
    compute: Callable[..., Tensor],
    *inputs: Tensor,
    stream: str | None = None,
    rows: int | None = None,
) -> Callable[[], list[NDArray | str]]:
    """Start to compute a row of numbers, such as an embedding, for each of B recordings.

    The returned function waits for rows (K,) float32, or reasons why one is missing. A batch that
    does not fit into memory is split.

    Args:
        message: the reason for a number that is not finite, such as ``"score is {}"``.
        compute: ``inputs`` to B×K, or (B,).
        inputs: waveforms B×N, and perhaps further tensors of B rows.
        stream, rows: as for :func:`start`.
    """
    waveforms = inputs[0]
    count = len(waveforms)

    def start_parts(rows: int | None, size: int) -> Callable[[], list[NDArray | str]]:
        splits = zip(*(tensor.split(size) for tensor in inputs))
        # All are queued before the first is waited for.
        started = [start_rows(scorer, message, compute, *tensors, stream=stream, rows=rows) for tensors in splits]
        return lambda: [result for finish in started for result in finish()]

    # If an earlier batch did not fit into memory, split one with more rows than will fit without trying it.
    most_rows = _most_rows(scorer, waveforms.shape[1])
    if most_rows is not None and count > most_rows:
        return start_parts(rows and most_rows, most_rows)
    if most_rows is not None and rows is not None:
        rows = min(rows, most_rows)
    tried = max(count, rows or 0)
    move = partial(_move_and_fill, device=scorer.device, rows=rows)

    try:
        with torch.inference_mode(), _seeded_by(stream, scorer.device):
            # Do not keep the moved inputs in a variable: if the batch must be split, they would take memory in addition
            # to the parts.
            outputs = compute(*map(move, inputs))
            check_rows(outputs, tried)
            queued = QueuedCopy(outputs[:count].float())

            def finish() -> list[NDArray | str]:
                results: list[NDArray | str] = list(queued.wait().cpu().numpy())
                not_finite = {}
                for number, row in enumerate(results):
                    for wrong in np.extract(~np.isfinite(row), row)[:1]:
                        not_finite[number] = wrong
                if not_finite:
                    reason = _explain_not_finite(scorer, waveforms[[*not_finite]])
                    for number, wrong in not_finite.items():
                        results[number] = f"the detector's {message.format(wrong)}: {reason}"
                return results

            return finish
    except BrokenPart:
        raise
    except InputError as error:
        reason = str(error)
        return lambda: [reason] * count
    except Exception as error:  # onnxruntime has no error class for a lack of memory
        if not is_out_of_memory(error):
            raise
    # The batch does not fit into memory: give up on a single row, and halve a larger batch.
    if tried == 1:
        seconds = waveforms.shape[1] / SAMPLE_RATE
        too_long = (
            f"{seconds:.0f} s do not fit into the memory of {scorer.computes_on}: score only the first seconds (`num_samples`), "
            "or along the time (score_track, `nes2net predict … --track`)"
        )
        return lambda: [too_long]
    half = -(-tried // 2)
    limits = _memory_limits.setdefault(scorer, {})
    limits[scorer.computes_on, scorer.precision] = half * waveforms.shape[1]
    return start_parts(rows and half, half)


# For scorers that ran out of memory before, by device and precision: the largest number of samples to compute at once,
# in all rows of a batch together.
_memory_limits: WeakKeyDictionary[Scorer, dict[tuple[torch.device, str], int]] = WeakKeyDictionary()


def _most_rows(scorer: Scorer, num_samples: int) -> int | None:
    """Rows of ``num_samples`` that fit into memory; None for no limit, because all batches so far fitted."""
    limit = _memory_limits.get(scorer, {}).get((scorer.computes_on, scorer.precision))
    if limit is None:
        return None
    return max(1, limit // num_samples)


@contextmanager
def _seeded_by(stream: str | None, device: torch.device) -> Iterator[None]:
    """Seed the random numbers by ``stream``, and restore their state; None changes nothing."""
    if stream is None:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(zlib.crc32(stream.encode()))
        yield


def _move_and_fill(x: Tensor, device: torch.device, rows: int | None) -> Tensor:
    if device.type == "cuda" and x.device.type == "cpu" and not x.is_pinned():
        x = x.pin_memory()  # from pinned memory, the copy to the GPU runs in the background
    x = x.to(device, non_blocking=True)
    missing = 0 if rows is None else rows - len(x)  # filled up with copies of the last row
    return x if missing <= 0 else torch.cat([x, x[-1:].expand(missing, -1)])


def _explain_not_finite(scorer: Any, waveforms: Tensor) -> str:
    """Explain results that are not finite; raise :class:`BrokenPart` if another package's part is to blame."""
    subject = ""
    if hasattr(scorer, "part_not_finite"):  # not an exported detector
        with torch.inference_mode():
            subject = scorer.part_not_finite(waveforms[:1].to(scorer.device))  # one is enough: none has a finite result
    if subject:
        raise BrokenPart(f"{subject}: gave numbers that are not finite for a recording; correct the part")
    if subject is None:
        return "its features and logits are finite, so correct the judgement"
    return "its weights are damaged, or its precision is too low: use float32, or get the checkpoint again"


class _ModeInForce:
    """A scorer's mode while threads score, and the state to restore after the last one."""

    def __init__(self, scorer: Scorer, train: bool) -> None:
        self.num_threads = 0
        self.modes = [(module, module.training) for module in scorer.modules()]
        self.buffers: list[tuple[Tensor, Tensor]] = []  # each with a copy, as train mode changes statistics
        if train:
            self.buffers = [(x, x.clone()) for module, _ in self.modes for x in module.buffers(recurse=False)]
        if train or any(training for _, training in self.modes):
            scorer.train(train)

    def restore(self) -> None:
        for module, training in self.modes:
            module.training = training
        for buffer, before in self.buffers:
            buffer.copy_(before)


# For each scorer, the modes that threads of this process are using: True → train mode, False → eval mode.
_in_force: WeakKeyDictionary[Scorer, dict[bool, _ModeInForce]] = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def scoring_mode(scorer: Scorer, train: bool = False, precision: str | None = None) -> Iterator[None]:
    """Put ``scorer`` into eval mode with a precision of float32 products; restore both at the end.

    Threads may share this context, all with the same ``train``: the first changes, the last restores.
    :func:`nes2net.lib.computing.devices.float32_products` sets the precision.

    Args:
        train: use train mode instead; running statistics, which then affect no score, are restored.
        precision: None for that of ``scorer``.
    """
    with _lock:
        modes_in_force = _in_force.setdefault(scorer, {})
        if train not in modes_in_force:
            modes_in_force[train] = _ModeInForce(scorer, train)
        mode = modes_in_force[train]
        mode.num_threads += 1
    try:
        with float32_products(precision or scorer.precision):
            yield
    finally:
        with _lock, torch.no_grad():
            mode.num_threads -= 1
            if not mode.num_threads:
                del modes_in_force[train]
                mode.restore()


def default_batch_size(device: torch.device) -> int:
    """Choose how many utterances of 4 s keep ``device`` busy."""
    return 64 if device.type == "cuda" else 8


def choose_batch_size(scorer: Scorer, requested: int | None, usual: int | None = None) -> int:
    """Choose a batch size: ``requested``, else ``usual``, else the device's; 1 if utterances affect each other.

    Raises:
        InputError: if ``requested`` is below 1.
    """
    check_setting("batch_size", requested, requested is None or requested >= 1, "at least 1")
    return 1 if depends_on_batch(scorer) else requested or usual or default_batch_size(scorer.computes_on)
