"""Utterances in batches that leave every score as it is alone: planned over the whole list of trials, read by worker processes."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nes2net.data.audio import SAMPLE_RATE, load_audio, stream_audio
from nes2net.data.crop import head_crop
from nes2net.data.dataset import usable_processors, worker_options
from nes2net.data.integrity import read_flac_header
from nes2net.data.trial import Trial
from nes2net.errors import InputError
from nes2net.frontends.used_samples import UsedSamples

# Whole utterances are sorted by length within so many batches, and so many trials at most: enough to fill batches with utterances
# of one number of frames, and no more than a corpus of any size leaves memory for. The first of them are fewer, so that scoring starts
# when few headers are read, each time so many times as many.
_WINDOW_BATCHES, _WINDOW_TRIALS = 1024, 65536
_FIRST_WINDOW_BATCHES, _GROWTH = 16, 4
_HEADERS_AT_ONCE = 64
_LARGE_FILE = 32 * 2**20  # bytes; hours of audio, of which '4sec' wants the beginning


@dataclass(frozen=True)
class Reading:
    """How an utterance is brought to the samples that a detector hears; small, for it goes to the reading processes.

    Args:
        num_samples: the first so many, repeated when there are fewer ('4sec'); None for all of them ('full').
        min_samples: a whole utterance with fewer is repeated as a short one is in '4sec'.
        used: how many leading samples the detector's output depends on; the others are cut off.
    """

    num_samples: int | None
    min_samples: int = 1
    used: UsedSamples = field(default_factory=UsedSamples)

    @classmethod
    def of(cls, detector: Any, num_samples: int | None) -> Reading:
        """For a detector, or an exported one, which does not know what it uses and is given everything."""
        used = getattr(getattr(detector, "frontend", None), "used_samples", UsedSamples())
        return cls(num_samples, detector.min_samples, used)

    def length(self, num_samples: int) -> int:
        """Samples that are left of an utterance of ``num_samples``."""
        return self.used(self.num_samples or max(num_samples, self.min_samples))

    def __call__(self, path: str, name: str) -> np.ndarray:
        """(N,) float32. :class:`InputError` where the file cannot be used."""
        return self.with_duration(path, name)[0]

    def with_duration(self, path: str, name: str) -> tuple[np.ndarray, int]:
        """The same, and how many samples the whole recording has."""
        if self.num_samples is not None and os.path.isfile(path) and os.path.getsize(path) > _LARGE_FILE:
            waveform, duration = _head(path, self.num_samples)
        else:
            waveform = load_audio(path)
            duration = len(waveform)
        whole = head_crop(waveform, self.num_samples or max(len(waveform), self.min_samples), name)
        # No view, which would keep the whole recording in memory.
        return whole[: self.used(len(whole))].copy(), duration


def _head(path: str, num_samples: int) -> tuple[np.ndarray, int]:
    """The first samples of a recording of hours, and how many it has. All are read: damage that is anywhere in a file is an error."""
    blocks, missing, duration = [], num_samples, 0
    for block in stream_audio(path):
        duration += len(block)
        if missing > 0:
            blocks.append(block[:missing].copy())
            missing -= len(blocks[-1])
    return np.concatenate(blocks), duration


class Item(NamedTuple):
    """What a reading process is told of a trial."""

    index: int
    name: str
    path: str


class Group(NamedTuple):
    """Utterances of one length: ``waveforms`` B×N float32, and which trials they are of."""

    indices: list[int]
    waveforms: Tensor


class ReadBatch(NamedTuple):
    """A batch as it was read. It is one group, unless headers gave wrong lengths; ``failures`` says why a trial is in none."""

    groups: list[Group]
    failures: dict[int, str]


def plan_batches(
    trials: Sequence[Trial],
    batch_size: int,
    length_of: Callable[[Trial], int] | None = None,
    *,
    done: Container[str] = frozenset(),
    rank: int = 0,
    num_processes: int = 1,
) -> Iterator[list[Item]]:
    """Batches of at most ``batch_size`` trials, of one length each.

    Which trials share a batch depends on all trials and their lengths alone. The last bit of a score depends on the batch that it
    was computed in, so this is what makes the scores of an interrupted run, or of several processes, the very same.

    Args:
        length_of: samples of a trial's utterance, or anything else that the utterances of a batch have in common. It is called in
            threads, somewhat ahead. None: all are alike, and batches are in the order of the trials.
        done: names of trials; a batch of which all are done is left out.
        rank, num_processes: every ``num_processes``-th batch, from the one of number ``rank`` on.

    >>> trials = [Trial(name, name) for name in "abcde"]
    >>> batches = plan_batches(trials, 2, lambda trial: 5 if trial.id in "ace" else 7)
    >>> sorted("".join(item.name for item in batch) for batch in batches)
    ['ac', 'bd', 'e']
    """
    windows = [window for window in _windows(len(trials), batch_size) if not all(trials[i].id in done for i in window)]
    for window, groups in _with_lengths(windows, trials, length_of):
        batches = [group[i : i + batch_size] for group in groups for i in range(0, len(group), batch_size)]
        if length_of is not None:
            # Short and long ones mixed, so that what is done so far tells how long the rest will take.
            random.Random(window.start).shuffle(batches)
        for number, batch in enumerate(batches):
            if number % num_processes == rank and not all(trials[i].id in done for i in batch):
                yield [Item(i, trials[i].id, str(trials[i].path)) for i in batch]


def _windows(num_trials: int, batch_size: int) -> Iterator[range]:
    """Indices of trials that may share batches: whole batches of them, whatever their number."""
    size, start = batch_size * _FIRST_WINDOW_BATCHES, 0
    largest = max(1, min(_WINDOW_BATCHES, _WINDOW_TRIALS // batch_size)) * batch_size
    while start < num_trials:
        size = min(size, largest)
        yield range(start, min(start + size, num_trials))
        start, size = start + size, size * _GROWTH


def _with_lengths(
    windows: Sequence[range], trials: Sequence[Trial], length_of: Callable[[Trial], int] | None
) -> Iterator[tuple[range, list[list[int]]]]:
    """Each window with its trials grouped by length. While one is worked on, the lengths of the next are read."""
    if length_of is None:
        yield from ((window, [list(window)]) for window in windows)
        return

    def lengths(indices: range) -> list[int]:
        return [length_of(trials[i]) for i in indices]

    def start(window: range) -> list[Future[list[int]]]:
        parts = (window[i : i + _HEADERS_AT_ONCE] for i in range(0, len(window), _HEADERS_AT_ONCE))
        return [pool.submit(lengths, part) for part in parts]

    pool = ThreadPoolExecutor(min(8, usable_processors()))
    try:
        ahead = start(windows[0]) if windows else []
        for number, window in enumerate(windows):
            found = [length for part in ahead for length in part.result()]
            ahead = start(windows[number + 1]) if number + 1 < len(windows) else []
            in_order = sorted(zip(found, window))
            yield window, [[i for _, i in same] for _, same in groupby(in_order, key=itemgetter(0))]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def header_length(reading: Reading) -> Callable[[Trial], int]:
    """``length_of`` for :func:`plan_batches`, read from a file's header.

    Files of which only decoding would tell the length go by their size, as a negative number, and those that are none are −1: batches
    fall into groups of one length after decoding, which also gives the reason why there is no waveform.
    """

    def length(trial: Trial) -> int:
        try:
            if not os.path.isfile(trial.path):  # opening a pipe would wait for ever
                return -1
            stated = _stated_length(trial.path)
            return -2 - os.path.getsize(trial.path) if stated is None else reading.length(stated)
        except Exception:  # whatever damage does to a header
            return -1

    return length


def _stated_length(path: Path) -> int | None:
    """Samples at 16 kHz that a header announces; None where it announces none (MP3: libsndfile guesses)."""
    import soundfile

    with open(path, "rb") as file:
        flac = read_flac_header(file)  # libsndfile does not open every FLAC file of ASVspoof 2021
    if flac is not None:
        num_samples, rate = flac.num_samples, flac.sample_rate
    else:
        try:
            info = soundfile.info(path)
        except soundfile.LibsndfileError:
            return None
        num_samples, rate = 0 if info.format in ("MP3", "MPEG") else info.frames, info.samplerate
    return -(-num_samples * SAMPLE_RATE // rate) if num_samples else None


class _Waveforms(Dataset):
    """Items → (item, waveform or the reason why there is none)."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    def __getitem__(self, item: Item) -> tuple[Item, Tensor | str]:
        try:
            return item, torch.from_numpy(np.ascontiguousarray(self.reading(item.path, item.name)))
        except InputError as error:
            return item, str(error)
        except Exception as error:  # whatever a decoder makes of a damaged file must not end the run
            return item, f"{item.path} could not be read ({type(error).__name__}: {error})"


def collate(read: Sequence[tuple[Item, Tensor | str]]) -> ReadBatch:
    """Waveforms stacked by length, in the order of the trials."""
    failures = {item.index: reason for item, reason in read if isinstance(reason, str)}
    usable = sorted((w.shape[0], item.index, w) for item, w in read if not isinstance(w, str))
    groups = []
    for _, same in groupby(usable, key=itemgetter(0)):
        _, indices, waveforms = zip(*same)
        groups.append(Group(list(indices), torch.stack(waveforms)))
    return ReadBatch(groups, failures)


def read_batches(
    batches: Iterable[list[Item]], reading: Reading, num_workers: int, *, pin_memory: bool = False
) -> Iterator[ReadBatch]:
    """``batches`` decoded by ``num_workers`` processes, some batches ahead; by this one for 0.

    Neither trials nor batches pile up anywhere: a reading process is told of an item when its turn is near. :class:`InputError` where
    such a process was killed.
    """
    loader = DataLoader(
        _Waveforms(reading),
        batch_sampler=batches,
        collate_fn=collate,
        pin_memory=pin_memory,
        **worker_options(num_workers),
    )
    read = iter(loader)
    while True:
        try:
            batch = next(read, None)
        except RuntimeError as error:
            if "worker" not in str(error):
                raise
            raise InputError(
                f"a process that reads audio was ended, most likely for want of memory: give fewer --workers "
                f"({' '.join(str(error).split())[:160]})"
            ) from error
        if batch is None:
            return
        yield batch


def default_workers(device: torch.device) -> int:
    """Reading processes that keep ``device`` busy: one beside the CPU, which decodes faster than it computes, several beside a GPU.

    The processes that ``torchrun`` started on this machine share its processors.
    """
    share = usable_processors()
    return 1 if device.type == "cpu" else max(1, min(16, share - 1))


def default_batch_size(device: torch.device) -> int:
    """Utterances of 4 s that keep ``device`` busy."""
    return 64 if device.type == "cuda" else 8
