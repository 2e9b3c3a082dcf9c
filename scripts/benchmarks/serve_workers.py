"""Measure how many recordings a minute `nes2net serve` scores with one worker and with several.

As many clients as workers send the same recording through the desk of the server, again and again,
so decoding in processes of their own counts, and HTTP does not. The workers share the threads of
PyTorch, as in the server. The numbers of workers take turns (A B A B …), and figures are medians.

    OMP_NUM_THREADS=2 scripts/bench serve_workers --frontend xlsr_300m --backend nes2net_x
    scripts/bench serve_workers --rounds 1 --count 2 --seconds 1 --workers 1 2    # as a test; the figures mean nothing
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import torch

from nes2net import Detector
from nes2net.apps.serve.desk import Desk
from nes2net.apps.serve.limits import Limits


def seconds_of(desk: Desk, path: Path, count: int) -> float:
    """Score ``path`` ``count`` times, by as many clients as the desk has workers; return the wall time in seconds."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(desk.limits.workers) as clients:
        list(clients.map(lambda _: desk.score(path, path.name), range(count)))
    return time.perf_counter() - begin


def main() -> None:
    """Measure, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frontend", default="lfcc")
    parser.add_argument("--backend", default="nes2net_x")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of the recording")
    parser.add_argument("--count", type=int, default=8, help="recordings in a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    num_threads = torch.get_num_threads()
    detector = Detector.from_config({"frontend": options.frontend, "backend": options.backend}).to(options.device)
    times: dict[int, list[float]] = {number: [] for number in options.workers}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "talk.flac"
        noise = np.random.default_rng(0).standard_normal(int(16000 * options.seconds))
        soundfile.write(path, 0.1 * noise, 16000)
        desks = {number: Desk(detector, Path(name), Limits(workers=number)) for number in options.workers}
        seconds_of(desks[options.workers[0]], path, 1)  # the first call is slower
        for _ in range(options.rounds):
            for number, desk in desks.items():
                if options.device == "cpu":
                    torch.set_num_threads(max(1, num_threads // number))
                times[number].append(seconds_of(desk, path, options.count))
    print(f"{os.cpu_count()} processors, {num_threads} threads, load {os.getloadavg()[0]:.0f}")
    for number, seconds in times.items():
        a_minute = [60 * options.count / each for each in seconds]
        print(
            f"{number} workers: {statistics.median(a_minute):7.1f} recordings a minute ({min(a_minute):.1f} to {max(a_minute):.1f})"
        )


if __name__ == "__main__":
    main()
