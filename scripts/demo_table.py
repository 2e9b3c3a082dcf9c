"""Print tables of the demonstration, with 95 % intervals.

They have the EER of each detector on each evaluation part, of each synthesiser, and of fake
segments.

python scripts/demo_table.py CORPUS SCORES [PARTIALSPOOF]
"""

import sys
from collections import defaultdict
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
from demo_corpus.synthesis import METHODS

from nes2net.data.corpora import asvspoof2019_la
from nes2net.evaluation.breakdown import breakdown
from nes2net.evaluation.evaluate import evaluate_systems
from nes2net.evaluation.key import Key
from nes2net.evaluation.segments import evaluate_segments
from nes2net.evaluation.tables import Figure
from nes2net.lib.terminal import markdown_table
from nes2net.metrics import compute_eer

SYSTEMS = {
    "Whisper tiny.en, first layer + logistic regression": "whisper",
    "log spectrum + Nes2Net-X": "log_spectrum",
    "LFCC + Nes2Net-X, mean of the scores of three seeds": "lfcc_mean",
    "log spectrum + MPIF-Res2Net, random Specmix": "mpif_res2net",
}
LFCC_SEEDS = ["lfcc", "lfcc_seed1", "lfcc_seed2"]  # beginnings of the names of the score files
PARTS = {
    "LA": ("asvspoof2021_la", "keys"),
    "DF": ("asvspoof2021_df", "keys"),
    "in_the_wild": ("in_the_wild", "release_in_the_wild"),
}


def cell(eer: Figure) -> str:
    """Write an EER in percent, with its interval."""
    if eer.value is None or eer.interval is None:
        return "–"
    return f"{100 * eer.value:.2f} ({100 * eer.interval[0]:.2f}–{100 * eer.interval[1]:.2f})"


def synthesiser_table(corpus: Path, scores: Path, systems: dict[str, str], learnt: set[str]) -> str:
    """Write a table of the EER of each synthesiser against all human speech of LA and DF.

    Args:
        systems: title of a detector → beginning of the names of its score files.
        learnt: synthesisers of the training part.
    """
    columns = []
    for file in systems.values():
        la, df = (
            Key.read(PARTS[track][0], corpus / PARTS[track][1], "eval").match(scores / f"{file}.{track}.txt").matched
            for track in ("LA", "DF")
        )
        both = replace(la, trials=la.trials + df.trials, scores=np.concatenate([la.scores, df.scores]))
        columns.append({row.labels["attack"]: row["eer"] for row in breakdown(both, "attack", num_resamples=1000)})
    rows = [
        [
            f"{method.attack} {method.description}",
            "yes" if method.attack in learnt else "no",
            *(cell(column[method.attack]) for column in columns),
        ]
        for method in METHODS.values()
        if all(method.attack in column for column in columns)
    ]
    return markdown_table(["EER in % (95 % interval), LA and DF together", "in training", *systems], rows)


def segment_table(scores: Path, partialspoof: Path) -> str:
    """Write the EERs of a file of frame scores: of frames, of time, and of utterances; then by method of synthesis."""
    score_files = [scores]
    result = evaluate_segments("partialspoof", score_files, partialspoof)
    *points, utterances, seconds = result.rows("rates")
    (own_rate,) = (row for row in points if row.labels["scores"] == "own")
    resolution_ms = result.header["resolution_ms"]
    head = [
        "EER in % (95 % interval)",
        f"frames of {resolution_ms:g} ms",
        "range-based",
        "utterances, lowest score",
    ]
    row = [
        "log spectrum + Nes2Net-X without pooling, partially spoofed recordings",
        *(cell(row["eer"]) for row in (own_rate, seconds, utterances)),
    ]
    by_method = method_eers(scores, partialspoof, resolution_ms / 10)
    method_rows = [[METHODS[name].description, f"{100 * eer:.2f}"] for name, eer in by_method.items()]
    return f"\n{markdown_table(head, [row])}\n\n{markdown_table(['EER of frames in %', 'fake pieces against human ones'], method_rows)}"


def method_eers(scores: Path, partialspoof: Path, step: float) -> dict[str, float]:
    """Compute for each method the EER of its frames against all human frames.

    A frame is of the method that made its first 10 ms.

    Args:
        step: length of a frame, in units of 10 ms.
    """
    of_utterance = defaultdict(list)
    of_method = defaultdict(list)
    for line in scores.read_text(encoding="utf-8").splitlines():
        name, _, score = line.split()
        of_utterance[name].append(float(score))
    for line in (partialspoof / "pieces.txt").read_text(encoding="utf-8").splitlines():
        _, name, start, end, method, *_ = line.split()
        of_method[method] += of_utterance[name][ceil(int(start) / step) : ceil(int(end) / step)]
    human = np.array(of_method.pop("human"))
    return {name: compute_eer(human, np.array(of_method[name]))[0] for name in METHODS if of_method[name]}


def lfcc_ranges(corpus: Path, scores: Path) -> list[str]:
    """Write the lowest and the highest EER of the seeds of LFCC on each part, in percent."""
    ranges = []
    for track, (name, keys) in PARTS.items():
        eers = []
        for seed in LFCC_SEEDS:
            result = evaluate_systems(name, scores / f"{seed}.{track}.txt", corpus / keys, num_resamples=1)
            eers.append(result["eer"].value)
        ranges.append(f"{100 * min(eers):.2f}–{100 * max(eers):.2f}")
    return ranges


def main(corpus: Path, scores: Path, partialspoof: Path | None = None) -> None:
    """Print all tables."""
    systems = {system: file for system, file in SYSTEMS.items() if (scores / f"{file}.LA.txt").is_file()}
    results = {
        system: [
            evaluate_systems(name, scores / f"{file}.{track}.txt", corpus / keys)
            for track, (name, keys) in PARTS.items()
        ]
        for system, file in systems.items()
    }
    first_results = next(iter(results.values()))
    trials = [f"*{result['num_bonafide'].value} + {result['num_spoof'].value}*" for result in first_results]
    rows = [[system, *(cell(result["eer"]) for result in evaluated)] for system, evaluated in results.items()]
    rows.append(["LFCC + Nes2Net-X, range of the three seeds", *lfcc_ranges(corpus, scores)])
    head = ["EER in % (95 % interval)", *(name for name, _ in PARTS.values())]
    print(markdown_table(head, [["*trials: bona fide + spoof*", *trials], *rows]))
    learnt = {trial.attack for trial in asvspoof2019_la.CORPUS.trials(corpus, "train")}
    print(f"\n{synthesiser_table(corpus, scores, systems, learnt)}")
    frame_scores = scores / "segments.partialspoof.txt"
    if partialspoof and frame_scores.is_file():
        print(segment_table(frame_scores, partialspoof))
    print("\nA demonstration and no benchmark: few speakers, few methods, detectors trained in minutes.")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
