"""Goal: reading with all checks, and scoring with a tiny detector, are at least 0.95 times as fast as with soundfile alone.

Files are FLAC of 2 to 6 s in the page cache. "read" compares load_audio with soundfile.read, file
by file in turn, in processor time; the lines below "read" are the price of each check. "score"
compares a run of scoring with a DataLoader of as many workers and the same batches and detector.
The DataLoader reads whole files with soundfile, as the published code does with librosa, crops and
scores. This is wall time, A B A B, from the first file to the last line.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.signal import lfilter
from torch.utils.data import DataLoader, Dataset

from nes2net import Detector
from nes2net.data.audio.decoders import check_whole, is_chain
from nes2net.data.audio.read import load_audio
from nes2net.data.audio.waveform import SAMPLE_RATE, check_samples
from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.judgements import Scores
from nes2net.scoring.corpus import ScoringSettings, judge_trials

SAMPLES = 64600
BATCH = 8
TINY = {
    "frontend": {"name": "lps", "n_fft": 256, "hop_length": 256, "num_bins": 32},
    "aggregation": "last",
    "backend": {"name": "asp_mlp", "hidden_dim": 8},
}


class Plain(Dataset[torch.Tensor]):
    """The beginnings of files that soundfile reads whole, without any check."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """The first samples of a file, repeated if the file is shorter."""
        samples, _ = soundfile.read(self.paths[index], dtype="float32")
        return torch.from_numpy(np.resize(samples, SAMPLES))


def make(folder: Path, count: int) -> list[Path]:
    """Write ``count`` files of coloured noise, which FLAC compresses about as well as speech."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number:05d}.flac" for number in range(count)]
    for path in paths:
        noise = lfilter([1], [1, -1.6, 0.75], rng.standard_normal(rng.integers(32000, 96000)))
        soundfile.write(path, 0.3 * noise / np.abs(noise).max(), 16000)
    return paths


def compare_reading(paths: list[Path], rounds: int) -> None:
    """Print the time of a file with soundfile and with load_audio, and the time of each check of load_audio."""
    waveforms = {path: soundfile.read(path, dtype="float32")[0] for path in paths}
    steps: dict[str, Callable[[Path], object]] = {
        "plain": lambda path: soundfile.read(path, dtype="float32"),
        "ours": load_audio,
        "is the file regular, and unchanged afterwards": lambda path: (path.stat(), path.stat()),
        "header and last frame": check_whole,
        "search for a second stream": is_chain,
        "finite samples within full scale": lambda path: check_samples(waveforms[path], SAMPLE_RATE, "audio"),
    }
    seconds_by_step: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        sums = dict.fromkeys(steps, 0.0)
        for path in paths:
            for name, step in steps.items():
                start = time.process_time()
                step(path)
                sums[name] += time.process_time() - start
        for name, seconds in sums.items():
            seconds_by_step[name].append(seconds / len(paths))
    plain, checked, *prices = (statistics.median(seconds) for seconds in seconds_by_step.values())
    print(
        f"read: plain {1e3 * plain:.2f} ms, ours {1e3 * checked:.2f} ms of processor time a file, {plain / checked:.2f}x"
    )
    for name, price in zip(list(steps)[2:], prices):
        print(f"  {name}: {1e6 * price:.0f} µs, {price / plain:.1%} of plain")
    rest = checked - plain - sum(prices)
    print(
        f"  the rest, such as a second decoder at hand and reading in blocks: {1e6 * rest:.0f} µs, {rest / plain:.1%}"
    )


def compare_scoring(paths: list[Path], folder: Path, rounds: int, workers: int) -> None:
    """Print the files per second of scoring with a plain DataLoader and with judge_trials."""
    detector = Detector.from_config(TINY).eval()
    trials = [Trial(path.stem, path) for path in paths]

    def plain() -> None:
        """Score with a plain DataLoader."""
        batches = DataLoader(Plain(paths), BATCH, num_workers=workers)
        names = iter(trials)
        with open(folder / "plain.txt", "w") as out, torch.inference_mode():
            for batch in batches:
                out.writelines(f"{next(names).id} {score}\n" for score in detector.score_batch(batch, 16000))

    def ours() -> None:
        """Score with judge_trials."""
        out = folder / "ours.txt"
        judge_trials(
            detector,
            trials,
            out,
            Scores(),
            settings=ScoringSettings(num_samples=SAMPLES, batch_size=BATCH, num_workers=workers, overwrite=True),
        )

    speeds: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(rounds):
        for name, run in (("plain", plain), ("ours", ours)):
            start = time.perf_counter()
            run()
            speeds[name].append(len(paths) / (time.perf_counter() - start))
    a, b = (statistics.median(speeds[name]) for name in ("plain", "ours"))
    print(f"score, {workers} reading process(es): plain {a:.0f}, ours {b:.0f} files per second, {b / a:.2f}x")


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="reading processes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make(folder, arguments.count)
        compare_reading(paths[:500], arguments.rounds)
        compare_scoring(paths, folder, arguments.rounds, arguments.workers)


if __name__ == "__main__":
    main()
