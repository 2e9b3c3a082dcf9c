"""Goal: evaluating 10⁶ trials of three systems takes at most 60 s of processor time and 2 GB of memory.

The corpus is made in the layout of ASVspoof 2021 DF, whose key has 13 columns, or it is a CSV list
of your own with 12 columns. With ``--classes``, the files hold logits of so many classes for each
trial (goal: a file of 10⁶ × 100 within a minute and 2 GB). Each evaluation is a process of its own, ``nes2net evaluate``, which
also writes the JSON. ``--against`` names another source tree, such as a worktree of an old commit:
its evaluations alternate with those of this tree, and both must write equal figures.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

NUM_SPEAKERS = 100
NUM_ATTACKS = 110
SHARE_BONAFIDE = 0.04
CODECS = ["nocodec", "low_mp3", "high_mp3", "low_m4a", "high_m4a", "low_ogg", "high_ogg", "mp3m4a", "oggm4a"]
VOCODERS = ["traditional_vocoder", "neural_vocoder_autoregressive", "neural_vocoder_nonautoregressive", "unknown"]
LIST_COLUMNS = "path,label,split,speaker,attack,codec,source,room,device,distance,year,take"


def write_lines(path: Path, columns: list[np.ndarray], delimiter: str = " ", header: str = "") -> None:
    """Write a line for each row of ``columns``, which hold one text for each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(header)
        file.writelines(f"{delimiter.join(row)}\n" for row in zip(*(column.tolist() for column in columns)))


def make(folder: Path, corpus: str, num_trials: int, num_systems: int, shuffled: bool) -> tuple[Path, list[Path]]:
    """Write a key of ``num_trials`` and score files of ``num_systems``.

    Args:
        shuffled: whether each score file has an order of its own, instead of the order of the key.

    Returns:
        The path of the key, and the paths of the score files.
    """
    rng = np.random.default_rng(0)

    def drawn(words: list[str]) -> np.ndarray:
        """Draw a word for each trial."""
        return np.array(words)[rng.integers(len(words), size=num_trials)]

    def numbered(letter: str, count: int) -> list[str]:
        """Make ``count`` words of a letter and a number."""
        return [f"{letter}{number:03d}" for number in range(count)]

    ids = np.array([f"DF_E_{2_000_000 + number}" for number in range(num_trials)])
    is_bonafide = rng.random(num_trials) < SHARE_BONAFIDE
    label = np.where(is_bonafide, "bonafide", "spoof")
    speaker = drawn(numbered("LA_0", NUM_SPEAKERS))
    attack_number = rng.integers(NUM_ATTACKS, size=num_trials)
    attack = np.where(is_bonafide, "-", np.array(numbered("A", NUM_ATTACKS))[attack_number])
    codec = drawn(CODECS)
    source = drawn(["asvspoof", "vcc2018", "vcc2020"])
    if corpus == "generic":
        path = np.char.add(np.char.add("wav/", ids), ".flac")
        split = np.full(num_trials, "eval")
        extra = [drawn(numbered(letter, count)) for letter, count in zip("rdmy", (20, 12, 5, 30))]
        take = np.array([str(number) for number in range(num_trials)])
        keys = folder / "list.csv"
        columns = [path, label, split, speaker, attack, codec, source, *extra, take]
        write_lines(keys, columns, ",", f"{LIST_COLUMNS}\n")
    else:
        keys = folder / "keys"
        vocoder = np.where(is_bonafide, "bonafide", drawn(VOCODERS))
        phase = np.full(num_trials, "eval")
        trim = np.full(num_trials, "notrim")
        task = drawn(["Task1", "Task2", "-"])
        team = drawn([*numbered("T", 30), "-"])
        gender = drawn(["FF", "FM", "MM", "-"])
        language = drawn(["E", "F", "G", "M", "-"])
        columns = [speaker, ids, codec, source, attack, label, trim, phase, vocoder, task, team, gender, language]
        write_lines(keys / "DF" / "CM" / "trial_metadata.txt", columns)
    score_paths = []
    quality = rng.normal(0, 0.5, NUM_ATTACKS)[attack_number]
    for system in range(num_systems):
        score = rng.normal(np.where(is_bonafide, 2.5, quality), 1).astype(np.float32).astype(float)
        order = rng.permutation(num_trials) if shuffled else slice(None)
        names = np.char.add("wav/", ids) if corpus == "generic" else ids
        score_paths.append(folder / f"system{system}.txt")
        write_lines(score_paths[-1], [names[order], np.array(list(map(repr, score.tolist())))[order]])
    return keys, score_paths


def make_classes(folder: Path, num_trials: int, num_classes: int) -> tuple[Path, list[Path]]:
    """Write a list of trials of ``num_classes`` known and some unknown generators, and a file of logits.

    Returns:
        The path of the list, and the path of the file of logits.
    """
    rng = np.random.default_rng(0)
    classes = [f"A{number:03d}" for number in range(num_classes)]
    unknown_classes = [f"B{number:03d}" for number in range(num_classes // 10)]
    numbers = rng.integers(num_classes + len(unknown_classes), size=num_trials)
    ids = [f"e{number}" for number in range(num_trials)]
    keys = folder / "list.csv"
    attack = np.array(classes + unknown_classes)[numbers]
    codec = np.array(CODECS)[rng.integers(len(CODECS), size=num_trials)]
    columns = [np.char.add(ids, ".flac"), np.full(num_trials, "spoof"), attack, codec]
    write_lines(keys, columns, ",", "path,label,attack,codec\n")
    path = folder / "classes.tsv"
    with open(path, "w", encoding="utf-8") as file:
        file.write("\t".join(["utterance", *classes]) + "\n")
        for start in range(0, num_trials, 10_000):
            logits = rng.normal(0, 1, (min(10_000, num_trials - start), num_classes)).astype(np.float32)
            for row, logits_of_trial in enumerate(logits, start):
                if numbers[row] < num_classes:
                    logits_of_trial[numbers[row]] += 3
                file.write("\t".join([ids[row], *(f"{logit:.9g}" for logit in logits_of_trial.tolist())]) + "\n")
    return keys, [path]


def measure(tree: Path, corpus: str, keys: Path, score_paths: list[Path], draws: int, out: Path) -> tuple[float, float]:
    """Run ``nes2net evaluate`` from the source tree ``tree``; return processor time in s and peak memory in GB."""
    command = [sys.executable, "-m", "nes2net", "evaluate", corpus, *map(str, score_paths), "--keys", str(keys)]
    command += ["--resamples", str(draws), "--json", str(out)]
    with open(out.with_suffix(".txt"), "w", encoding="utf-8") as text:
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        process = subprocess.Popen(command, cwd=tree, env=environment, stdout=text, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {out.with_suffix('.txt').read_text(encoding='utf-8')}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def main() -> None:
    """Make the corpora, evaluate them, and print processor time and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10**6)
    parser.add_argument("--systems", type=int, default=3)
    parser.add_argument("--corpora", nargs="+", default=["asvspoof2021_df", "generic"])
    parser.add_argument("--classes", type=int, default=0, help="evaluate logits of so many classes instead of scores")
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap draws")
    parser.add_argument("--shuffled", action="store_true", help="each score file has an order of its own")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--against", type=Path, help="another source tree, whose figures must be equal")
    arguments = parser.parse_args()
    trees = {"this tree": Path(__file__).resolve().parents[2]}
    if arguments.against is not None:
        trees["the other"] = arguments.against
    if arguments.classes:
        arguments.corpora = ["generic"]
        arguments.systems = 1
    for corpus in arguments.corpora:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if arguments.classes:
                keys, score_paths = make_classes(folder, arguments.trials, arguments.classes)
            else:
                keys, score_paths = make(folder, corpus, arguments.trials, arguments.systems, arguments.shuffled)
            measured: dict[str, list[tuple[float, float]]] = {name: [] for name in trees}
            outputs = []
            for _ in range(arguments.rounds):
                for number, (name, tree) in enumerate(trees.items()):
                    out = folder / f"{number}.json"
                    measured[name].append(measure(tree, corpus, keys, score_paths, arguments.draws, out))
                    outputs.append(out.read_bytes())
            for name, rounds in measured.items():
                seconds, gigabytes = map(statistics.median, zip(*rounds))
                print(
                    f"{corpus:<16} {arguments.trials:>9,} × {arguments.systems}  {name:<9} {seconds:7.1f} s {gigabytes:5.2f} GB",
                    flush=True,
                )
            if len(set(outputs)) > 1:
                raise SystemExit(f"{corpus}: the figures differ")


if __name__ == "__main__":
    main()
