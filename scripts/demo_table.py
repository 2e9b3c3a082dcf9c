"""Tables of the demonstration, with 95 % intervals: EER of each detector on each evaluation part, and of each synthesiser,
and of fake segments.

python scripts/demo_table.py CORPUS SCORES [PARTIALSPOOF]
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from demo_corpus.synthesis import METHODS

from nes2net.corpora import asvspoof2019_la
from nes2net.evaluation.breakdown import breakdown
from nes2net.evaluation.evaluate import Evaluation, evaluate
from nes2net.evaluation.segments import evaluate_segments
from nes2net.machine.terminal import markdown_table

SYSTEMS = {
    "log spectrum + Nes2Net-X": "log_spectrum",
    "LFCC + Nes2Net-X": "lfcc",
    "log spectrum + MPIF-Res2Net, random Specmix": "mpif_res2net",
}
PARTS = {
    "LA": ("asvspoof2021_la", "keys"),
    "DF": ("asvspoof2021_df", "keys"),
    "in_the_wild": ("in_the_wild", "release_in_the_wild"),
}


def cell(eer: float | None, interval: tuple[float, float] | None) -> str:
    """Write an EER in percent, with its interval."""
    if eer is None or interval is None:
        return "–"
    return f"{100 * eer:.2f} ({100 * interval[0]:.2f}–{100 * interval[1]:.2f})"


def synthesiser_table(results: dict[str, list[Evaluation]], learnt: set[str]) -> str:
    """Write the EER of each synthesiser against all human speech of LA and DF, whose keys name it."""
    columns = []
    for la, df, _ in results.values():
        both = replace(
            la.matched,
            trials=la.matched.trials + df.matched.trials,
            scores=np.concatenate([la.matched.scores, df.matched.scores]),
        )
        columns.append({row.group["attack"]: row for row in breakdown(both, "attack", num_resamples=1000)})
    rows = [
        [
            f"{method.attack} {method.description}",
            "yes" if method.attack in learnt else "no",
            *(cell(column[method.attack].eer, column[method.attack].interval) for column in columns),
        ]
        for method in METHODS.values()
        if all(method.attack in column for column in columns)
    ]
    return markdown_table(["EER in % (95 % interval), LA and DF together", "in training", *results], rows)


def segment_table(scores: Path, partialspoof: Path) -> str:
    """Write the EERs of a file of frame scores: by frames, by time, and by utterances."""
    result = evaluate_segments("partialspoof", scores, partialspoof)
    rates = (result.own, result.range_based, result.utterance)
    cells = " | ".join(cell(rate.eer, rate.interval) for rate in rates)
    return f"""
| EER in % (95 % interval) | frames of {result.resolution_ms:g} ms | range-based | utterances, lowest score |
| --- | ---: | ---: | ---: |
| log spectrum + Nes2Net-X without pooling, partially spoofed recordings | {cells} |"""


def main(corpus: Path, scores: Path, partialspoof: Path | None = None) -> None:
    results = {
        system: [evaluate(name, scores / f"{file}.{part}.txt", corpus / keys) for part, (name, keys) in PARTS.items()]
        for system, file in SYSTEMS.items()
        if (scores / f"{file}.LA.txt").is_file()
    }
    trials = [f"*{one.num_bonafide} + {one.num_spoof}*" for one in next(iter(results.values()))]
    rows = [[system, *(cell(one.eer, one.interval) for one in found)] for system, found in results.items()]
    head = ["EER in % (95 % interval)", *(name for name, _ in PARTS.values())]
    print(markdown_table(head, [["*trials: bona fide + spoof*", *trials], *rows]))
    learnt = {trial.attack for trial in asvspoof2019_la.CORPUS.trials(corpus, "train")}
    print(f"\n{synthesiser_table(results, learnt)}")
    frame_scores = scores / "segments.partialspoof.txt"
    if partialspoof and frame_scores.is_file():
        print(segment_table(frame_scores, partialspoof))
    print("\nA demonstration and no benchmark: few speakers, few methods, detectors trained from scratch in minutes.")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
