"""Compare a short training whose OpenMP threads sleep while they wait, as the command line sets, with one whose threads spin.

A process of its own trains a log spectrum and Nes2Net-X on generated recordings with two workers,
in turn (A B A B …). In "spinning", PyTorch is loaded before the command line can set
OMP_WAIT_POLICY, so that OpenMP has its default. Figures are medians of the wall time of whole
processes. --load starts processes that only compute beside them, as on a shared machine.

    scripts/bench threads --load 8
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import soundfile
from _harness import first_line, in_turn, wall_seconds

_SETTINGS = (
    "{model: {frontend: {name: lps, n_fft: 512, hop_length: 256, num_bins: 256}, backend: {name: nes2net_x, nes_ratio: [4, 4]}}, "
    "data: {corpus: generic, num_samples: 32000, num_workers: 2}, augment: {algo: 5}, train: {batch_size: 8}, date: bench}\n"
)
# A program that computes without end, until this process has ended.
_LOAD = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
_KINDS = {
    "spinning": "import sys, torch; from nes2net.cli.main import main; sys.exit(main(sys.argv[1:]))",
    "sleeping": "import sys; from nes2net.cli.main import main; sys.exit(main(sys.argv[1:]))",
}

_TRAINED = 160  # recordings
_RUN_NUMBERS = count()


def write_corpus(folder: Path) -> None:
    """Write noise of two colours: 160 recordings of 2.5 s for training, and 8 for development."""
    rng = np.random.default_rng(0)
    for number in range(_TRAINED + 8):
        spoof = number % 2
        noise = 0.1 * np.convolve(rng.standard_normal(40000), [1, 0.9 if spoof else -0.9], "same")
        split = "train" if number < _TRAINED else "dev"
        label = "fake" if spoof else "real"
        path = folder / split / label / f"{number}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise, 16000)


def train(kind: str, folder: Path) -> None:
    """Train in a process of its own, as a new run."""
    removed_variables = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    variables = {name: value for name, value in os.environ.items() if name not in removed_variables}
    command = [sys.executable, "-c", _KINDS[kind], "train", "recipe.yaml", "data.root=corpus", "train.epochs=2"]
    command += [f"comment={kind}{next(_RUN_NUMBERS)}", "--device", "cpu"]
    finished = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    if finished.returncode:
        sys.exit(finished.stderr)


def main() -> None:
    """Measure both kinds, and print medians."""
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--load", type=int, default=0, metavar="N", help="processes that compute beside the training")
    arguments = parser.parse_args()
    load_processes = [subprocess.Popen([sys.executable, "-c", _LOAD]) for _ in range(arguments.load)]
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_corpus(folder / "corpus")
            (folder / "recipe.yaml").write_text(_SETTINGS, encoding="utf-8")
            runs = {kind: partial(train, kind, folder) for kind in _KINDS}
            seconds = in_turn(runs, arguments.rounds, wall_seconds)
    finally:
        for process in load_processes:
            process.kill()
    print(f"{os.cpu_count()} processors, {arguments.load} processes beside the training")
    medians = {kind: statistics.median(times) for kind, times in seconds.items()}
    for kind, times in seconds.items():
        ratio = medians["spinning"] / medians[kind]
        print(f"{kind:>10}  {medians[kind]:7.1f} s  {ratio:5.2f}×  ({min(times):.1f} to {max(times):.1f})")


if __name__ == "__main__":
    main()
