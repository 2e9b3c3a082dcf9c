"""Decoding every file of a corpus, in parallel: what needed the second decoder, what neither reads, how long they are and at which rate."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from nes2net.audio.read import SAMPLE_RATE, decode_audio, fault_of
from nes2net.errors import InputError
from nes2net.machine.processors import usable_processors

# Files that a process reads before it reports.
_CHUNK = 32
# Chunks that are handed out ahead of what was read, per process: no process waits, and memory does not grow with the corpus.
_AHEAD = 4


class Decoded(NamedTuple):
    """One file: its rate in Hz, channels and length, and whether FFmpeg had to read it; or the ``error`` that kept it from being read."""

    path: Path
    sample_rate: int = 0
    channels: int = 0
    seconds: float = 0.0
    second_decoder: bool = False
    error: str | None = None


@dataclass
class Decoding:
    """What the files of a corpus are like. Names are paths below the folder of audio; ``unreadable`` holds name → reason."""

    files: int = 0
    seconds: float = 0.0
    shortest: tuple[float, str] = (float("inf"), "")
    longest: tuple[float, str] = (0.0, "")
    rates: Counter[int] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    second_decoder: list[str] = field(default_factory=list)
    other_rate: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def add(self, decoded: Decoded, name: str) -> None:
        """Count one file."""
        self.files += 1
        if decoded.error is not None:
            self.unreadable[name] = decoded.error
            return
        self.seconds += decoded.seconds
        self.shortest = min(self.shortest, (decoded.seconds, name))
        self.longest = max(self.longest, (decoded.seconds, name))
        self.rates[decoded.sample_rate] += 1
        self.channels[decoded.channels] += 1
        if decoded.sample_rate != SAMPLE_RATE:
            self.other_rate.append(name)
        if decoded.second_decoder:
            self.second_decoder.append(name)


def decode_all(paths: Sequence[Path], folder: Path, workers: int | None = None, title: str = "decoding") -> Decoding:
    """Decode the files below ``folder`` whole, with a progress bar that is called ``title``.

    A file that cannot be decoded, or at which a decoder crashes, is named in the result and ends nothing.

    Args:
        workers: Processes that decode; None for one per processor, 0 for none but this one.

    Raises:
        InputError: ``workers`` is negative.
    """
    from tqdm import tqdm

    if workers is None:
        workers = usable_processors()
    if workers < 0:
        raise InputError(f"{workers} processes cannot decode; give 0 (this one) or more")
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    results = map(_decode_each, chunks) if workers == 0 else decode_in_parallel(chunks, workers)
    decoding = Decoding()
    with tqdm(total=len(paths), desc=title, unit="file", dynamic_ncols=True) as bar:
        for chunk in results:
            for decoded in chunk:
                decoding.add(decoded, os.path.relpath(decoded.path, folder))
            bar.update(len(chunk))
    return decoding


def decode(path: Path) -> Decoded:
    """Decode one file, as :func:`nes2net.audio.read.load_audio` does."""
    try:
        samples, sample_rate, second_decoder = decode_audio(path)
    except InputError as error:
        return Decoded(path, error=str(error).removeprefix(f"audio file {path} "))
    if fault := fault_of(samples):
        return Decoded(path, error=fault)
    channels, length = samples.shape
    return Decoded(path, sample_rate, channels, length / sample_rate, second_decoder)


def _decode_each(paths: Sequence[Path], decode: Callable[[Path], Decoded] = decode) -> list[Decoded]:
    return [decode(path) for path in paths]


def decode_in_parallel(
    chunks: Sequence[Sequence[Path]], workers: int, decode: Callable[[Path], Decoded] = decode
) -> Iterator[list[Decoded]]:
    """The files of one chunk after another, decoded in ``workers`` processes. A process that dies takes one file with it."""
    waiting = deque(chunks)
    while waiting:
        handed_out: deque[tuple[Sequence[Path], Future]] = deque()
        unfinished: list[Sequence[Path]] = []
        pool = _pool(workers)
        try:
            while handed_out or (waiting and not unfinished):
                while waiting and not unfinished and len(handed_out) < _AHEAD * workers:
                    chunk = waiting.popleft()
                    handed_out.append((chunk, _submit(pool, chunk, decode)))
                chunk, future = handed_out.popleft()
                try:
                    yield future.result()
                except BrokenProcessPool:
                    unfinished.append(chunk)
        finally:
            pool.shutdown(cancel_futures=True)
        # The file that killed a process is in one of the chunks that processes had taken or were about to, the first of those left.
        suspects, others = unfinished[: 2 * workers + 1], unfinished[2 * workers + 1 :]
        waiting.extendleft(reversed(others))
        for path in itertools.chain.from_iterable(suspects):
            yield [_decode_alone(path, decode)]


def _submit(pool: ProcessPoolExecutor, chunk: Sequence[Path], decode: Callable[[Path], Decoded]) -> Future:
    """What will hold the files of ``chunk``; a pool that has broken already breaks it too."""
    try:
        return pool.submit(_decode_each, chunk, decode)
    except BrokenProcessPool as error:
        broken: Future = Future()
        broken.set_exception(error)
        return broken


def _decode_alone(path: Path, decode: Callable[[Path], Decoded]) -> Decoded:
    with _pool(1) as pool:
        try:
            return pool.submit(decode, path).result()
        except BrokenProcessPool:
            return Decoded(path, error="the process that decoded it crashed")


def _pool(workers: int) -> ProcessPoolExecutor:
    # Not forked: this process may run threads (PyTorch's, the progress bar's) whose locks a fork would copy.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    return ProcessPoolExecutor(workers, mp_context=context)
