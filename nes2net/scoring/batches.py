"""Divide a corpus into batches of utterances of equal length, read their waveforms, and judge them.

Equal lengths need no padding, so a score does not depend on its batch, up to rounding.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from nes2net.data.audio.packed import AnyRecording, is_there, size_of
from nes2net.data.audio.read import AudioFile
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.data.corpora.trial import Trial, Trials
from nes2net.lib.errors import BrokenPart, InputError, Unfinished, one_line
from nes2net.lib.parts.contracts import blame_part, check_rows
from nes2net.lib.process.processes import ALONE, Processes
from nes2net.lib.process.this_process import usable_processors
from nes2net.lib.process.workers import Loader, stack_shared
from nes2net.scoring.engine import BatchResult
from nes2net.scoring.journal import JournalRow, Reasons, stamp
from nes2net.scoring.judgement import Judgement
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.waveforms import WaveformReader

# Trials are divided into windows, in which whole utterances are sorted by length: large enough to fill batches with one
# length, small enough for the memory. The first is small, so that scoring starts after few headers; each further one is
# larger by _GROWTH.
_WINDOW_BATCHES = 1024
_WINDOW_TRIALS = 65536
_FIRST_WINDOW_BATCHES = 16
_GROWTH = 4
_HEADERS_AT_ONCE = 64  # number of headers that a thread reads in one task
_NO_FILE = -1  # stands for the length of a trial without a readable file
_SAMPLES_A_BYTE = 4  # samples assumed per byte of a file if its header states no length
_ROWS = (8, 16, 32)  # numbers of rows to which a batch on a GPU is filled up, see :func:`choose_num_rows`


class Item(NamedTuple):
    """All that a worker needs to read a trial: its id, and its recording."""

    id: str
    path: AnyRecording

    @classmethod
    def of(cls, trial: Trial) -> Item:
        if trial.path is None:
            return cls(trial.id, "")
        return cls(trial.id, trial.recording())


class Group(NamedTuple):
    """Utterances of a batch with equal length."""

    ids: list[str]
    """Ids of the utterances."""
    file_stamps: list[str]
    """:func:`~nes2net.scoring.journal.stamp` of each file."""
    waveforms: Tensor
    """B×N float32."""
    wholes: Sequence[NDArray | None]
    """All samples of each recording, if kept."""


class ReadBatch(NamedTuple):
    """The waveforms of a batch in groups of equal length, and the trials that could not be read."""

    groups: list[Group]
    """Several groups only if headers stated wrong lengths."""
    failures: Reasons


def _trial_windows(num_trials: int, batch_size: int) -> Iterator[range]:
    """Divide the indices of trials into windows, the first of which are small (see _WINDOW_BATCHES)."""
    size = batch_size * _FIRST_WINDOW_BATCHES  # trials
    start = 0
    largest = max(1, min(_WINDOW_BATCHES, _WINDOW_TRIALS // batch_size)) * batch_size
    while start < num_trials:
        size = min(size, largest)
        yield range(start, min(start + size, num_trials))
        start = start + size
        size = size * _GROWTH


def _group_by_length(
    windows: Sequence[range], trials: Trials, length_of: Callable[[Trial], int] | None
) -> Iterator[tuple[range, list[tuple[int, list[int]]]]]:
    """Yield each window of trials, grouped by length: (window, [(length, indices of trials), …]).

    Threads read the lengths of the next window ahead. Without ``length_of``, a window is one group
    of length −1.
    """
    if length_of is None:
        yield from ((window, [(_NO_FILE, list(window))]) for window in windows)
        return

    def read_lengths(indices: range) -> list[int]:
        return [length_of(trials[i]) for i in indices]

    def start_reading(window: range) -> Iterator[list[int]]:
        return pool.map(
            read_lengths, [window[i : i + _HEADERS_AT_ONCE] for i in range(0, len(window), _HEADERS_AT_ONCE)]
        )

    pool = ThreadPoolExecutor(min(8, usable_processors()))
    try:
        readings = map(start_reading, windows)
        next_reading = next(readings, ())
        for window in windows:
            lengths = list(chain.from_iterable(next_reading))
            next_reading = next(readings, ())
            by_length = groupby(sorted(zip(lengths, window)), key=itemgetter(0))  # in order of length, then of trials
            yield window, [(length, [index for _, index in pairs]) for length, pairs in by_length]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class BatchPlan:
    """Decides which recordings share a batch, and how many rows are computed for a batch.

    A row is a waveform in a batch; copies of a row may fill up a batch.
    """

    batch_size: int
    """Largest number of recordings in a batch."""
    whole: bool = False
    """Score whole recordings: a batch then has recordings of one length, and at most as many samples
    as ``batch_size`` utterances of 4 s."""
    filled: bool = True
    """Allow copies of a row to fill up a batch; requires that no score depends on another row."""
    compiled: bool = False
    """The detector is compiled, so every batch must have ``batch_size`` rows."""
    ids_of: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of :func:`ids_by_recording`, to batch only these first trials; empty for all trials."""

    @property
    def most_samples(self) -> int:
        """Largest number of samples in a batch of whole recordings."""
        return self.batch_size * ASVSPOOF_SAMPLES

    def batches(
        self,
        trials: Trials,
        length_of: Callable[[Trial], int] | None = None,
        done: Container[str] = frozenset(),
        processes: Processes = ALONE,
    ) -> Iterator[list[Item]]:
        """Plan which trials share a batch: at most :attr:`batch_size` trials of one length.

        Batches depend only on the full list of trials and their lengths, because other utterances
        of a batch may change the last bit of a score. Interrupted runs and runs in several
        processes thus give the same scores.

        Args:
            length_of: gives an utterance's samples; one above :attr:`most_samples` is a batch of
                its own.
            done: ids of trials; a batch whose trials are all done is skipped.
            processes: of each window of trials, process r of n yields batches r, r + n, ….

        >>> trials = [Trial(name, name) for name in "abcde"]
        >>> batches = BatchPlan(2, whole=True).batches(trials, lambda trial: 5 if trial.id in "ace" else 7)
        >>> sorted("".join(item.id for item in batch) for batch in batches)
        ['ac', 'bd', 'e']
        """
        if self.ids_of:
            trials = [trial for trial in trials if trial.id in self.ids_of]
            done = {first for first, ids in self.ids_of.items() if all(id in done for id in ids)}
        length_of = length_of if self.whole else None
        windows = _trial_windows(len(trials), self.batch_size)
        unfinished = [window for window in windows if not all(trials[i].id in done for i in window)]
        for window, groups in _group_by_length(unfinished, trials, length_of):
            batches = []
            for length, group in groups:
                size = self.batch_size
                if length_of is not None:
                    # A negative length stands for a size in bytes (:func:`header_length`).
                    num_samples = length if length >= 0 else _SAMPLES_A_BYTE * -length
                    size = min(size, max(1, self.most_samples // max(1, num_samples)))
                batches += [group[i : i + size] for i in range(0, len(group), size)]  # indices of trials
            if length_of is not None:
                # Mix batches of short and long utterances, so that the progress so far predicts the remaining time.
                random.Random(window.start).shuffle(batches)
            for batch in batches[processes.rank :: processes.count]:
                if not all(trials[i].id in done for i in batch):
                    yield [Item.of(trials[i]) for i in batch]

    def rows(self, device: torch.device, waveforms: Tensor) -> int | None:
        """Choose how many rows to compute for ``waveforms`` B×N; None for just B."""
        if not self.filled:
            return None
        if self.compiled:
            return self.batch_size
        most_rows = self.batch_size
        if self.whole:
            most_rows = min(most_rows, max(1, self.most_samples // waveforms.shape[1]))
        return choose_num_rows(device, len(waveforms), most_rows)


def header_length(reader: WaveformReader) -> Callable[[Trial], int]:
    """Make ``length_of`` for :meth:`BatchPlan.batches`, which reads lengths from the headers of files.

    If a header states no length, the result is −2 minus the file's size in bytes; −1 if the file is
    unreadable. A wrong length does no harm: :func:`collate` splits batches by length after
    decoding.
    """

    def length(trial: Trial) -> int:
        try:
            # A pipe is not opened, because opening would wait for ever.
            if trial.path is None or not is_there(trial.path):
                return _NO_FILE
            with AudioFile(trial.recording()) as audio:
                stated = audio.stated_length()
            if stated is None:
                return -2 - size_of(trial.path)
            return reader.score_length(stated)
        except Unfinished:
            raise
        except Exception:  # a damaged header can cause any error
            return _NO_FILE

    return length


class ReadItem(NamedTuple):
    """What a worker read for a trial."""

    id: str
    content: Any
    """The waveform or other content; the reason as a text if reading failed."""
    file_stamp: str
    """:func:`~nes2net.scoring.journal.stamp` of the file."""


class ItemDataset(Dataset):
    """The data set that workers read: index :class:`Item`, element :class:`ReadItem`.

    Args:
        read: reads the content of an item; is pickled and sent to the workers.
    """

    def __init__(self, read: Callable[[Item], Any]) -> None:
        self.read = read

    def __getitem__(self, item: Item) -> ReadItem:
        """Read an item in a worker; if reading fails, the content is the reason as a text."""
        # The stamp is read before the content, so that it differs if the file is replaced meanwhile.
        file_stamp = stamp(item.path)
        try:
            with blame_part():
                content = self.read(item)
        except (Unfinished, BrokenPart):
            raise
        except InputError as error:
            content = str(error)
        except Exception as error:  # a decoder's error on a damaged file must not end the run
            content = one_line(f"{item.path} could not be read ({type(error).__name__}: {error})")
        return ReadItem(item.id, content, file_stamp)


def _read_waveform(reader: WaveformReader, item: Item) -> tuple[Tensor, NDArray | None]:
    recording = reader.read(item.path, item.id)
    return torch.from_numpy(recording.waveform), recording.whole


def collate(read: Sequence[ReadItem]) -> ReadBatch:
    """Make a batch of what a worker read: stack waveforms of one length, in order."""
    failures = {}
    by_length: dict[int, list[ReadItem]] = {}
    for trial in read:
        if isinstance(trial.content, str):
            failures[trial.id] = trial.content
        else:
            by_length.setdefault(len(trial.content[0]), []).append(trial)
    groups = []
    for _, trials in sorted(by_length.items()):
        ids, contents, file_stamps = zip(*trials)
        waveforms, wholes = zip(*contents)
        groups.append(Group(list(ids), list(file_stamps), stack_shared(waveforms), wholes))
    return ReadBatch(groups, failures)


def read_batches(
    batches: Iterable[list[Item]], reader: WaveformReader, num_workers: int, *, pin_memory: bool = False
) -> Generator[ReadBatch, None, None]:
    """Read the waveforms of ``batches`` ahead in ``num_workers`` processes; in this process if 0.

    With ``pin_memory``, batches are in pinned memory, from which a GPU copies faster. A worker gets
    an item only shortly before it reads the file, so that nothing piles up in memory.

    Raises:
        InputError, Unfinished: if the workers fail, see :class:`nes2net.lib.process.workers.Loader`.
    """
    yield from Loader(
        ItemDataset(partial(_read_waveform, reader)), batches, collate, num_workers, pin_memory=pin_memory
    )


def waveforms_for(
    device: torch.device, reader: WaveformReader, plan: BatchPlan, num_workers: int | None = None
) -> Callable[[Trials, Container[str], Processes], Generator[ReadBatch, None, None]]:
    """Make the function that reads the batches of a corpus, for :func:`nes2net.scoring.engine.run_over`.

    Args:
        device: determines the default number of workers, and whether memory is pinned.
        num_workers: None for :func:`default_workers`.
    """

    def read(
        trials: Trials, done: Container[str] = frozenset(), processes: Processes = ALONE
    ) -> Generator[ReadBatch, None, None]:
        on_gpu = device.type == "cuda"
        if plan.whole and on_gpu:
            # Limit PyTorch's convolution plans: each takes 200 KiB, a batch needs some 85 for its shape, and batches of
            # whole utterances rarely share one. The limit is read at the first convolution.
            os.environ.setdefault("TORCH_CUDNN_V8_API_LRU_CACHE_LIMIT", "1000")
        workers = default_workers(device) if num_workers is None else num_workers
        batches = plan.batches(trials, header_length(reader), done, processes)
        with torch.cuda.device(device) if on_gpu else nullcontext():  # the device to pin memory for
            yield from read_batches(batches, reader, workers, pin_memory=on_gpu)

    return read


def ids_by_recording(trials: Trials) -> dict[str, list[str]]:
    """Map the first trial with each input of a detector to all trials with this input, by their ids."""
    ids_of: dict[Any, list[str]] = {}
    for trial in trials:
        ids_of.setdefault((trial.path, trial.part, trial.system_scores), []).append(trial.id)
    return {ids[0]: ids for ids in ids_of.values()}


def default_workers(device: torch.device) -> int:
    """Choose enough workers to keep ``device`` busy.

    One is enough for a CPU, where decoding is faster than computing. Four decode some 5,000
    utterances of 4 s in a second, more than a GPU computes. Processes of ``torchrun`` share the
    processors.
    """
    return 1 if device.type == "cpu" else max(1, min(4, usable_processors() - 1))


def choose_num_rows(device: torch.device, count: int, most_rows: int) -> int:
    """Choose how many rows to compute for ``count`` waveforms; on a GPU, one of a few sizes.

    A GPU plans its convolutions anew for each number of rows, which takes longer than some extra
    rows.

    >>> [choose_num_rows(torch.device("cuda"), count, 64) for count in (1, 9, 33)]
    [8, 16, 64]
    """
    if device.type != "cuda":
        return count
    return next((rows for rows in _ROWS if count <= rows < most_rows), max(count, most_rows))  # _ROWS ascend


T = TypeVar("T")


@dataclass(frozen=True)
class Compute(Generic[T]):
    """Computes the values of a judgement batch by batch, in the current mode of ``scorer``.

    Args:
        random_streams: seed the random numbers of a group by its first id; required in train mode.
        numbers: id of a trial → further inputs, such as scores of other systems; None for none.
        ahead: batches to start before waiting for values; None for 1 on a GPU, so that it is never
            idle, and 0 on a CPU.
    """

    scorer: Scorer
    plan: BatchPlan
    judgement: Judgement[T]
    random_streams: bool = False
    numbers: Mapping[str, Sequence[float]] | None = None
    ahead: int | None = None

    def __call__(self, batches: Iterable[ReadBatch]) -> Generator[BatchResult[T], None, None]:
        """Yield the result of each batch, in order, while up to ``ahead`` later batches are computed."""
        ahead = self.ahead
        if ahead is None:  # on a GPU, compute one batch while the caller handles another
            ahead = int(self.scorer.device.type == "cuda")
        under_way: deque[Callable[[], BatchResult[T]]] = deque()
        for batch in batches:
            under_way.append(self._start_batch(batch))
            if len(under_way) > ahead:
                yield under_way.popleft()()
        while under_way:
            yield under_way.popleft()()

    def _start_batch(self, batch: ReadBatch) -> Callable[[], BatchResult[T]]:
        started = [(group, self._start_group(group)) for group in batch.groups]

        def wait() -> BatchResult[T]:
            rows: dict[str, JournalRow[T]] = {}
            failures: Reasons = {}
            # A value that is a text is the reason of a failure.
            read: list[tuple[str, str, NDArray | None, Any]] = []
            read += [(first, "", None, reason) for first, reason in batch.failures.items()]
            for group, values in started:
                row_values = values()  # waits for the device
                check_rows(row_values, len(group.ids), "the judgement")
                read += zip(group.ids, group.file_stamps, group.wholes, row_values)
            for first, file_stamp, whole, value in read:
                ids = self.plan.ids_of.get(first, [first])
                if isinstance(value, str):
                    completed: dict[str, Any] = dict.fromkeys(ids, value)
                else:
                    completed = self.judgement.complete(value, ids, whole)
                for id, trial_value in completed.items():
                    if isinstance(trial_value, str):
                        failures[id] = trial_value
                    else:
                        rows[id] = JournalRow(trial_value, file_stamp)
            return BatchResult(rows, failures, sum(group.waveforms.numel() for group in batch.groups))

        return wait

    def _start_group(self, group: Group) -> Callable[[], Sequence[T | str]]:
        inputs = [group.waveforms]
        if self.numbers is not None:
            inputs.append(torch.tensor([self.numbers[id] for id in group.ids]))
        # Seeds the random numbers of the group.
        group_id = group.ids[0] if self.random_streams else None
        return self.judgement.start(
            self.scorer,
            inputs,
            stream=group_id,
            rows=self.plan.rows(self.scorer.computes_on, group.waveforms),
        )
