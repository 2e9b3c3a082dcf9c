"""Decode all files of a corpus in parallel, to find their lengths, rates and failures."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from nes2net.data.audio.packed import AnyRecording
from nes2net.data.audio.read import AudioFile, MeasuredAudio
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.errors import InputError, check_setting
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.process.search_path import secure_multiprocessing
from nes2net.lib.process.this_process import usable_processors

_CHUNK = 32  # a process gets this many files at once


class Decoded(NamedTuple):
    """The measurements of a decoded file, or its ``error``."""

    path: AnyRecording
    measured: MeasuredAudio | None = None
    error: str = "the process that decoded it crashed"


@dataclass
class Decoding:
    """Statistics of the files of a corpus, named by their paths below the folder of the audio.

    ``shortest`` and ``longest`` hold seconds and name; ``rates`` and ``channels`` count files by
    value. ``second_decoder`` lists the files that only FFmpeg reads, ``other_rate`` those not at 16
    kHz. ``unreadable`` maps files to the reason.
    """

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
        self.files += 1
        measured = decoded.measured
        if measured is None:
            self.unreadable[name] = decoded.error
            return
        seconds = measured.num_samples / measured.sample_rate
        self.seconds += seconds
        self.shortest = min(self.shortest, (seconds, name))
        self.longest = max(self.longest, (seconds, name))
        self.rates[measured.sample_rate] += 1
        self.channels[measured.channels] += 1
        if measured.sample_rate != SAMPLE_RATE:
            self.other_rate.append(name)
        if measured.second_decoder:
            self.second_decoder.append(name)


def decode_all(
    paths: Sequence[AnyRecording], folder: Path, workers: int | None = None, title: str = "decoding"
) -> Decoding:
    """Decode all files, show the progress, and return statistics; a crash does not stop the others.

    Args:
        folder: the result names files by their paths below it.
        workers: number of processes; None for one per processor, 0 for this process.

    Raises:
        InputError: if ``workers`` is negative.
    """
    if workers is None:
        workers = usable_processors()
    check_setting("num_workers", workers, workers >= 0, "0 (this process) or more")
    results = map(decode, paths) if workers == 0 else decode_in_parallel(paths, workers)
    decoding = Decoding()
    for decoded in ProgressDisplay(results, title=title, unit="file", total=len(paths), leave=True):
        decoding.add(decoded, os.path.relpath(str(decoded.path), folder))
    return decoding


def decode(path: AnyRecording) -> Decoded:
    """Decode a file to its end, and check the MD5 sum of a FLAC file."""
    try:
        with AudioFile(path) as audio:
            return Decoded(path, audio.measure())
    except InputError as error:
        return Decoded(path, error=error.reason)


def decode_in_parallel(paths: Sequence[AnyRecording], workers: int) -> Iterator[Decoded]:
    """Decode files in ``workers`` processes; after a crash, the others are still decoded."""
    remaining = paths
    while remaining:
        num_done = 0
        pool = _process_pool(workers)
        try:
            for decoded in pool.map(decode, remaining, chunksize=_CHUNK):
                num_done += 1
                yield decoded
        except BrokenProcessPool:  # a file crashed a process; the files without results are decoded below
            pass
        finally:
            pool.shutdown(cancel_futures=True)
        # Which file it was is unknown. The pool hands out chunks in order, one for each worker, and queues workers +
        # 1 more: decode their files one by one.
        num_tried = num_done + (2 * workers + 1) * _CHUNK
        for path in remaining[num_done:num_tried]:
            decoded = Decoded(path)  # if it crashes the process
            with suppress(BrokenProcessPool), _process_pool(1) as pool:
                decoded = pool.submit(decode, path).result()
            yield decoded
        remaining = remaining[num_tried:]


def _process_pool(workers: int) -> ProcessPoolExecutor:
    """Start processes without forking this one."""
    # A fork copies the locks of PyTorch and of the progress bar, but not the threads that hold them: they would stay
    # locked.
    secure_multiprocessing()
    methods = multiprocessing.get_all_start_methods()
    method = "forkserver" if "forkserver" in methods else "spawn"
    context = multiprocessing.get_context(method)
    return ProcessPoolExecutor(workers, mp_context=context)
