"""Score a batch of waveforms by :func:`start`, with any detector that has the interface :class:`Scorer`.

A file, many files, the windows of a long recording and a corpus are all scored by :func:`start`, in
:func:`scoring_mode`. Validation on a development set also uses :func:`scoring_mode`. Embeddings and
scores of frames are computed by :func:`start_rows`, in the same way as scores.
"""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, TypeAlias, TypeGuard, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from nes2net.data.audio.read import SAMPLE_RATE
from nes2net.lib.devices import QueuedCopy, float32_products
from nes2net.lib.errors import BrokenPart, InputError, counted
from nes2net.lib.this_process import is_out_of_memory
from nes2net.models.backends.base import Backend, ScoreRule
from nes2net.models.frontends.base import UsedSamples
from nes2net.models.provenance import Provenance
from nes2net.models.registry import named_parts

#: A score, or the reason why the score is missing.
Result: TypeAlias = float | str

T = TypeVar("T")


class Scorer(Protocol):
    """The interface that a detector must have to be used for scoring."""

    provenance: Provenance
    """The origin of the weights, from the checkpoint."""

    @property
    def device(self) -> torch.device:
        """The device on which :meth:`scores` expects waveforms."""

    @property
    def computes_on(self) -> torch.device:
        """The device that computes. This device differs from :attr:`device` if the detector itself moves waveforms."""

    @property
    def precision(self) -> str:
        """Precision of the computation, one of :data:`nes2net.lib.devices.PRECISIONS`."""

    @property
    def config(self) -> dict[str, Any]:
        """The architecture of the detector as plain data, from which the architecture can be built again."""

    @property
    def score_rule(self) -> ScoreRule:
        """Name of the rule that turns logits into scores, such as ``"logit"``."""

    @property
    def min_samples(self) -> int:
        """Length in samples of the shortest waveform that the detector takes."""

    @property
    def pre_emphasis(self) -> float:
        """The coefficient of the pre-emphasis that is applied to recordings before the cut; 0 for no pre-emphasis."""

    @property
    def used_samples(self) -> UsedSamples:
        """A function that tells how many leading samples of a waveform affect its scores."""

    @property
    def num_scores(self) -> int:
        """Number of other systems whose scores the detector fuses; 0 for most detectors."""

    @property
    def resolutions(self) -> tuple[float, ...]:
        """Lengths in ms of the segments that can be scored, the shortest first; empty if segments cannot be scored."""

    @property
    def trained_on_segments(self) -> bool:
        """Whether the detector was trained to score segments."""

    def check_score(self) -> None:
        """Raise :class:`InputError` if the detector has no score, because it has no class bona fide."""

    def scores(self, waveform: Tensor, system_scores: Tensor | None = None) -> Tensor:
        """Compute the scores (B,) of ``waveform`` B×N, 16 kHz, in [−1, 1]; higher means more bona fide.

        Args:
            system_scores: the scores of other systems, B×``num_scores``; None if ``num_scores`` is
                0.
        """

    def fingerprint(self) -> str:
        """Compute the SHA-256 of the architecture and the weights, or of the files with architecture and weights."""

    def modules(self) -> Iterable[nn.Module]:
        """List all modules, also nested modules, so that scoring can switch their modes and restore them.

        The list is empty for a detector without train mode.
        """

    def train(self, mode: bool = True) -> Any:
        """Put the detector into train mode if ``mode`` is true, else into eval mode."""

    def compile(self, **options: Any) -> None:
        """Compile the detector in place (``torch.compile``)."""


class SegmentScorer(Scorer, Protocol):
    """A detector that can also score segments."""

    @property
    def backend(self) -> Backend:
        """The back-end."""

    def segment_scores(self, waveform: Tensor) -> dict[float, Tensor]:
        """Score the segments of ``waveform`` B×N: length of a segment in ms → scores B×T."""


def scores_segments(scorer: Scorer) -> TypeGuard[SegmentScorer]:
    """Whether ``scorer`` can score segments."""
    return bool(scorer.resolutions)


def depends_on_batch(scorer: Scorer) -> bool:
    """Whether a score depends on other utterances in the batch, because a front-end has ``normalize: batch``."""
    frontend = scorer.config["frontend"]
    # The options of a distilled front-end contain the options of two front-ends, teacher and student.
    frontends = [frontend, *(value for value in frontend.values() if isinstance(value, dict))]
    return any(frontend_options.get("normalize") == "batch" for frontend_options in frontends)


def check_takes_audio_alone(scorer: Scorer) -> None:
    """Raise :class:`InputError` if ``scorer`` needs scores of other systems in addition to the audio."""
    if scorer.num_scores:
        raise InputError(
            f"this detector fuses the scores of {counted(scorer.num_scores, 'other system')}, so it cannot score audio alone: score "
            "a corpus, with `nes2net score … --system-scores FILE …`"
        )


def score_batch(scorer: Scorer, waveforms: Tensor) -> list[Result]:
    """Score ``waveforms`` B×N on the CPU, in :func:`scoring_mode`; the results are as for :func:`start`."""
    with scoring_mode(scorer):
        return start(scorer, waveforms)()


def score_or_raise(scorer: Scorer, waveforms: Tensor) -> list[float]:
    """Score like :func:`score_batch`, but raise :class:`InputError` if a score is missing."""
    scores = []
    for result in score_batch(scorer, waveforms):
        if isinstance(result, str):
            raise InputError(result)
        scores.append(result)
    return scores


def score_each(scorer: Scorer, waveforms: Sequence[np.ndarray]) -> list[float]:
    """Score each of ``waveforms`` (N,) like :func:`score_or_raise`; waveforms of equal length share a batch."""
    alone = depends_on_batch(scorer)
    # The indices of the waveforms in each batch. The key is the length of the waveforms, or the index of the waveform
    # if each waveform is a batch.
    groups: dict[int, list[int]] = {}
    for number, waveform in enumerate(waveforms):
        groups.setdefault(number if alone else len(waveform), []).append(number)
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
    """Start to score ``waveforms`` B×N in the current mode of ``scorer``; return a function that waits for the results.

    A GPU computes in the background until the returned function is called. A batch that does not
    fit into memory is scored in smaller batches, and later batches are split to the smaller size at
    once. A result is a score, or the reason why the score is missing: the score is not finite, the
    detector does not take waveforms of length N, or a single waveform does not fit into memory.

    Args:
        system_scores: scores of other systems, B×S, for a detector that takes them.
        stream: a name that seeds the random numbers of a detector in train mode; None to leave the
            random state as it is.
        rows: number of waveforms to compute at once. A smaller batch is filled up to this number.
            Otherwise a compiled detector would be compiled again for each new size, and a GPU would
            plan its convolutions again. None to compute just the B waveforms.
    """

    def results_of(scores: Tensor) -> list[Result]:
        results = []
        for score in scores.tolist():
            results.append(score if math.isfinite(score) else _not_finite_reason("score is {}", score))
        return results

    inputs = [waveforms] if system_scores is None else [waveforms, system_scores]
    return _start_or_split(scorer, scorer.scores, results_of, inputs, stream, rows)


def start_rows(
    scorer: Scorer, message: str, compute: Callable[[Tensor], Tensor], waveforms: Tensor, *, rows: int | None = None
) -> Callable[[], list[np.ndarray | str]]:
    """Start to compute a row of numbers, such as an embedding, for each of ``waveforms`` B×N.

    The returned function waits for the results, each a row (K,) float32 or the reason why the row
    is missing.

    Args:
        scorer: the detector that ``compute`` uses.
        message: words for the reason if a number is not finite, such as ``"score is {}"``, where
            ``{}`` stands for the number.
        compute: the function that computes the rows B×K of waveforms B×N.
        rows: as for :func:`start`.
    """

    def results_of(computed: Tensor) -> list[np.ndarray | str]:
        results: list[np.ndarray | str] = []
        for row in computed.numpy():
            is_finite = np.isfinite(row)
            if is_finite.all():
                results.append(row)
            else:
                results.append(_not_finite_reason(message, row[~is_finite][0]))
        return results

    return _start_or_split(scorer, compute, results_of, [waveforms], None, rows)


def _start_or_split(
    scorer: Scorer,
    compute: Callable[..., Tensor],
    results_of: Callable[[Tensor], list[T]],
    inputs: list[Tensor],
    stream: str | None,
    rows: int | None,
) -> Callable[[], list[T | str]]:
    """Start to compute a batch, for :func:`start` and :func:`start_rows`; split a batch that does not fit into memory.

    Args:
        compute: computes a tensor of B rows from ``inputs``.
        results_of: turns the computed rows, in float32 on the CPU, into results.
        inputs: the waveforms B×N, and perhaps further tensors of B rows.
        stream, rows: as for :func:`start`.
    """
    waveforms = inputs[0]
    count = len(inputs[0])
    device, precision, fitting = _fitting.get(scorer, (None, "", 0))
    is_same_device = (device, precision) == (scorer.computes_on, scorer.precision)
    most_rows = None  # None for no limit, because all batches so far fitted into memory
    if is_same_device:
        most_rows = max(1, fitting // waveforms.shape[1])

    def start_parts(rows: int | None, size: int) -> Callable[[], list[T | str]]:
        splits = zip(*(tensor.split(size) for tensor in inputs))
        started = []
        for tensors in splits:
            started.append(_start_or_split(scorer, compute, results_of, list(tensors), stream, rows))
        return lambda: [result for finish in started for result in finish()]

    # An earlier batch did not fit into memory, and this batch has more rows than the largest number to compute at once:
    # split it without trying.
    if most_rows is not None and count > most_rows:
        return start_parts(rows and most_rows, most_rows)
    if most_rows is not None and rows is not None:
        rows = min(rows, most_rows)
    on_gpu = scorer.device.type == "cuda"

    def moved(x: Tensor) -> Tensor:
        if on_gpu and x.device.type == "cpu" and not x.is_pinned():
            x = x.pin_memory()  # from pinned memory, the copy to the GPU runs in the background
        x = x.to(scorer.device, non_blocking=True)
        missing = 0 if rows is None else rows - len(x)
        return x if missing <= 0 else torch.cat([x, x[-1:].expand(missing, -1)])

    try:
        with torch.inference_mode(), ExitStack() as stack:
            if stream is not None:  # seed the random numbers by the name alone; restore the random state afterwards
                generator_devices = [scorer.device] if on_gpu else []
                stack.enter_context(torch.random.fork_rng(generator_devices))
                torch.manual_seed(zlib.crc32(stream.encode()))
            # Do not keep the moved inputs in a variable: if the batch must be split, they would take memory in addition
            # to the parts.
            queued = QueuedCopy(compute(*map(moved, inputs))[:count].float())

            def finish() -> list[T | str]:
                results: list[T | str] = [*results_of(queued.wait())]
                not_finite = [number for number, result in enumerate(results) if isinstance(result, str)]
                if not_finite:
                    _check_parts(scorer, waveforms[not_finite])
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
    tried = max(count, rows or 0)
    if tried == 1:
        seconds = waveforms.shape[1] / SAMPLE_RATE
        too_long = (
            f"{seconds:.0f} s do not fit into the memory of {scorer.computes_on}: score the first seconds (`num_samples`), "
            "or along the time (score_track, `nes2net predict … --track`)"
        )
        return lambda: [too_long]
    half = -(-tried // 2)
    _fitting[scorer] = scorer.computes_on, scorer.precision, half * waveforms.shape[1]
    return start_parts(rows and half, half)


# For each scorer that ran out of memory before: its device, its precision, and the largest number of samples to compute
# at once, in all rows of a batch together.
_fitting: WeakKeyDictionary[Scorer, tuple[torch.device, str, int]] = WeakKeyDictionary()


def _not_finite_reason(message: str, number: float) -> str:
    return f"the detector's {message.format(number)}: its weights are damaged, or its precision is too low"


def _check_parts(scorer: Any, waveforms: Tensor) -> None:
    if not hasattr(scorer, "part_not_finite"):  # an exported detector
        return
    if all(registry.is_built_in(name) for registry, name in named_parts(scorer.config)):
        return
    with torch.inference_mode():
        subject = scorer.part_not_finite(waveforms[:1].to(scorer.device))
    if subject:
        raise BrokenPart(f"{subject}: gave numbers that are not finite for a recording; mend the part")


class _ModeInForce:
    """The mode (train or eval) of a scorer while threads score, and the state to restore after the last thread."""

    def __init__(self, scorer: Scorer, train: bool) -> None:
        self.num_threads = 0
        self.modes = [(module, module.training) for module in scorer.modules()]
        self.buffers: list[tuple[Tensor, Tensor]] = []
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
    """Put ``scorer`` into eval mode, and set the precision of float32 products; restore both at the end.

    Any number of threads may be in this context: the first thread makes the changes, and the last
    thread undoes them. A detector that is already in eval mode is not touched.
    :func:`nes2net.lib.devices.float32_products` sets the precision of products.

    Args:
        train: put ``scorer`` into train mode instead. In train mode, batch normalisation changes
            its running statistics, which affect no score in this mode and are restored at the end.
        precision: precision of float32 products; None for the precision of ``scorer``.
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


@contextmanager
def differentiable(scorer: nn.Module) -> Iterator[None]:
    """Make a detector in eval mode differentiable on a GPU; use this inside of :func:`scoring_mode`.

    cuDNN computes gradients of recurrent layers only in train mode. The recurrent layers are
    therefore put into train mode, and their dropout is set to 0. Mode and dropout are restored at
    the end.
    """
    layers = [layer for layer in scorer.modules() if isinstance(layer, nn.RNNBase)]
    before = [(layer.training, layer.dropout) for layer in layers]
    for layer in layers:
        layer.training = True
        layer.dropout = 0.0
    try:
        yield
    finally:
        for layer, (training, dropout) in zip(layers, before):
            layer.training = training
            layer.dropout = dropout


def default_batch_size(device: torch.device) -> int:
    """Choose how many utterances of 4 s share a batch by default, so that a batch keeps ``device`` busy."""
    return 64 if device.type == "cuda" else 8


def chosen_batch_size(scorer: Scorer, requested: int | None, usual: int | None = None) -> int:
    """Choose how many waveforms share a batch: the number ``requested``, else ``usual``, else the device's default.

    The number is always 1 if a score depends on other utterances in its batch.

    Raises:
        InputError: if ``requested`` is below 1.
    """
    if requested is not None and requested < 1:
        raise InputError(f"`batch_size` is at least 1, not {requested}")
    return 1 if depends_on_batch(scorer) else requested or usual or default_batch_size(scorer.computes_on)
