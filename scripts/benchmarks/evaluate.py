"""Goal: evaluating 10⁶ trials of three systems takes at most 60 s of processor time and 2 GB of memory.

The corpus is made in the layout of ASVspoof 2021 DF, whose key has 13 columns. A process of its own
evaluates, ``nes2net evaluate``, which also writes the JSON.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from _harness import first_line, nes2net_process
from numpy.typing import NDArray

NUM_SYSTEMS = 3
NUM_SPEAKERS = 100
NUM_ATTACKS = 110
SHARE_BONAFIDE = 0.04
CODECS = ["nocodec", "low_mp3", "high_mp3", "low_m4a", "high_m4a", "low_ogg", "high_ogg", "mp3m4a", "oggm4a"]
VOCODERS = ["traditional_vocoder", "neural_vocoder_autoregressive", "neural_vocoder_nonautoregressive", "unknown"]


def write_lines(path: Path, columns: list[NDArray]) -> None:
    """Write a line for each row of ``columns``, which hold one text for each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for row in zip(*(column.tolist() for column in columns)):
            file.write(f"{' '.join(row)}\n")


def numbered(letter: str, count: int) -> list[str]:
    """Make ``count`` words of a letter and a number."""
    return [f"{letter}{number:03d}" for number in range(count)]


def make(folder: Path, num_trials: int) -> tuple[Path, list[Path]]:
    """Write a key of ``num_trials``, and score files of ``NUM_SYSTEMS`` in the same order; return their paths."""
    rng = np.random.default_rng(0)

    def drawn(words: list[str]) -> NDArray:
        return np.array(words)[rng.integers(len(words), size=num_trials)]

    ids = np.array([f"DF_E_{2_000_000 + number}" for number in range(num_trials)])
    is_bonafide = rng.random(num_trials) < SHARE_BONAFIDE
    attack_number = rng.integers(NUM_ATTACKS, size=num_trials)
    attacks = np.array(numbered("A", NUM_ATTACKS))
    columns = [
        drawn(numbered("LA_0", NUM_SPEAKERS)),
        ids,
        drawn(CODECS),
        drawn(["asvspoof", "vcc2018", "vcc2020"]),
        np.where(is_bonafide, "-", attacks[attack_number]),
        np.where(is_bonafide, "bonafide", "spoof"),
        np.full(num_trials, "notrim"),
        np.full(num_trials, "eval"),
        np.where(is_bonafide, "bonafide", drawn(VOCODERS)),
        drawn(["Task1", "Task2", "-"]),
        drawn([*numbered("T", 30), "-"]),
        drawn(["FF", "FM", "MM", "-"]),
        drawn(["E", "F", "G", "M", "-"]),
    ]
    keys = folder / "keys"
    write_lines(keys / "DF" / "CM" / "trial_metadata.txt", columns)
    score_paths = []
    quality = rng.normal(0, 0.5, NUM_ATTACKS)[attack_number]
    for system in range(NUM_SYSTEMS):
        mean = np.where(is_bonafide, 2.5, quality)
        score = rng.normal(mean, 1).astype(np.float32).astype(float)
        texts = np.array([repr(value) for value in score.tolist()])
        path = folder / f"system{system}.txt"
        write_lines(path, [ids, texts])
        score_paths.append(path)
    return keys, score_paths


def main() -> None:
    """Make the corpus, evaluate it, and print processor time and memory."""
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument("--trials", type=int, default=10**6)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        keys, score_paths = make(folder, arguments.trials)
        words = ["evaluate", "asvspoof2021_df", *map(str, score_paths), "--keys", str(keys)]
        usage = nes2net_process(*words, "--json", str(folder / "result.json"))
    costs = f"{usage.processor_seconds:.1f} s of processor time, {usage.gigabytes:.2f} GB"
    print(f"{arguments.trials:,} × {NUM_SYSTEMS}: {costs}")


if __name__ == "__main__":
    main()
