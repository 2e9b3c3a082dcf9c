"""Goal: evaluating 10⁶ trials of three systems takes at most 60 s of processor time and 2 GB of memory.

The corpus is made in the layout of ASVspoof 2021 DF, whose key has 13 columns. With ``--classes``,
a file holds logits of so many classes for each trial of a CSV list (goal: a file of 10⁶ × 100
within a minute and 2 GB). Each evaluation is a process of its own, ``nes2net evaluate``, which also
writes the JSON.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from _harness import first_line, nes2net_process
from numpy.typing import NDArray

NUM_SPEAKERS = 100
NUM_ATTACKS = 110
SHARE_BONAFIDE = 0.04
CODECS = ["nocodec", "low_mp3", "high_mp3", "low_m4a", "high_m4a", "low_ogg", "high_ogg", "mp3m4a", "oggm4a"]
VOCODERS = ["traditional_vocoder", "neural_vocoder_autoregressive", "neural_vocoder_nonautoregressive", "unknown"]


def write_lines(path: Path, columns: list[NDArray], delimiter: str = " ", header: str = "") -> None:
    """Write a line for each row of ``columns``, which hold one text for each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(header)
        for row in zip(*(column.tolist() for column in columns)):
            file.write(f"{delimiter.join(row)}\n")


def numbered(letter: str, count: int) -> list[str]:
    """Make ``count`` words of a letter and a number."""
    return [f"{letter}{number:03d}" for number in range(count)]


def make(folder: Path, num_trials: int, num_systems: int, shuffled: bool) -> tuple[Path, list[Path]]:
    """Write a key of ``num_trials`` and score files of ``num_systems``.

    Args:
        shuffled: whether each score file has an order of its own, instead of the order of the key.

    Returns:
        The path of the key, and the paths of the score files.
    """
    rng = np.random.default_rng(0)

    def drawn(words: list[str]) -> NDArray:
        return np.array(words)[rng.integers(len(words), size=num_trials)]

    ids = np.array([f"DF_E_{2_000_000 + number}" for number in range(num_trials)])
    is_bonafide = rng.random(num_trials) < SHARE_BONAFIDE
    attack_number = rng.integers(NUM_ATTACKS, size=num_trials)
    columns = [
        drawn(numbered("LA_0", NUM_SPEAKERS)),
        ids,
        drawn(CODECS),
        drawn(["asvspoof", "vcc2018", "vcc2020"]),
        np.where(is_bonafide, "-", np.array(numbered("A", NUM_ATTACKS))[attack_number]),
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
    for system in range(num_systems):
        score = rng.normal(np.where(is_bonafide, 2.5, quality), 1).astype(np.float32).astype(float)
        order = rng.permutation(num_trials) if shuffled else np.arange(num_trials)
        path = folder / f"system{system}.txt"
        write_lines(path, [ids[order], np.array([repr(value) for value in score[order].tolist()])])
        score_paths.append(path)
    return keys, score_paths


def logit_rows(rng: np.random.Generator, numbers: NDArray, num_classes: int) -> Iterable[list[str]]:
    """Yield the logits of each trial as texts; that of its class, which may be unknown, is higher."""
    for start in range(0, len(numbers), 10_000):
        classes = numbers[start : start + 10_000]
        logits = rng.normal(0, 1, (len(classes), num_classes)).astype(np.float32)
        known = np.flatnonzero(classes < num_classes)
        logits[known, classes[known]] += 3
        for row in logits.tolist():
            yield [f"{logit:.9g}" for logit in row]


def make_classes(folder: Path, num_trials: int, num_classes: int) -> tuple[Path, list[Path]]:
    """Write a list of trials of ``num_classes`` known and some unknown generators, and a file of logits.

    Returns:
        The path of the list, and the path of the file of logits.
    """
    rng = np.random.default_rng(0)
    classes = numbered("A", num_classes)
    all_classes = np.array([*classes, *numbered("B", num_classes // 10)])
    numbers = rng.integers(len(all_classes), size=num_trials)
    ids = [f"e{number}" for number in range(num_trials)]
    codec = np.array(CODECS)[rng.integers(len(CODECS), size=num_trials)]
    columns = [np.char.add(ids, ".flac"), np.full(num_trials, "spoof"), all_classes[numbers], codec]
    keys = folder / "list.csv"
    write_lines(keys, columns, ",", "path,label,attack,codec\n")
    path = folder / "classes.tsv"
    with open(path, "w", encoding="utf-8") as file:
        file.write("\t".join(["utterance", *classes]) + "\n")
        for id, row in zip(ids, logit_rows(rng, numbers, num_classes)):
            file.write("\t".join([id, *row]) + "\n")
    return keys, [path]


def main() -> None:
    """Make the corpus, evaluate it, and print processor time and memory."""
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument("--trials", type=int, default=10**6)
    parser.add_argument("--systems", type=int, default=3)
    parser.add_argument("--classes", type=int, default=0, help="evaluate logits of so many classes instead of scores")
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap draws")
    parser.add_argument("--shuffled", action="store_true", help="each score file has an order of its own")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if arguments.classes:
            corpus = "generic"
            keys, score_paths = make_classes(folder, arguments.trials, arguments.classes)
        else:
            corpus = "asvspoof2021_df"
            keys, score_paths = make(folder, arguments.trials, arguments.systems, arguments.shuffled)
        words = ["evaluate", corpus, *map(str, score_paths), "--keys", str(keys)]
        words += ["--resamples", str(arguments.draws), "--json", str(folder / "result.json")]
        usages = [nes2net_process(*words) for _ in range(arguments.rounds)]
    seconds = statistics.median(usage.processor_seconds for usage in usages)
    gigabytes = max(usage.gigabytes for usage in usages)
    print(f"{corpus} {arguments.trials:,} × {len(score_paths)}: {seconds:.1f} s of processor time, {gigabytes:.2f} GB")


if __name__ == "__main__":
    main()
