"""Print tables of the demonstration, with 95 % intervals.

They have the EER of each detector on each evaluation part, of each synthesiser, and of fake
segments.

python scripts/demonstration/table.py CORPUS SCORES [PARTIALSPOOF]
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from demonstration.synthesis import METHODS
from nes2net.actions.evaluation import evaluate
from nes2net.data.corpora import asvspoof2019_la
from nes2net.evaluation.breakdown import breakdown
from nes2net.evaluation.key import Labels
from nes2net.evaluation.segments import SegmentEvaluation
from nes2net.evaluation.tables import Figure
from nes2net.lib.output.terminal import markdown_table
from nes2net.metrics import compute_eer
from nes2net.scoring.judgement import ScoreFile

SYSTEMS = {
    "Whisper tiny.en, first layer + logistic regression": "whisper",
    "log spectrum + Nes2Net-X": "log_spectrum",
    "LFCC + Nes2Net-X, mean of the scores of three seeds": "lfcc_mean",
    "log spectrum + MPIF-Res2Net, random Specmix": "mpif_res2net",
}
SEEDS = {
    "LFCC + Nes2Net-X, seed 12345": "lfcc",
    "LFCC + Nes2Net-X, seed 1": "lfcc_seed1",
    "LFCC + Nes2Net-X, seed 2": "lfcc_seed2",
}
PARTS = {
    "LA": ("asvspoof2021_la", "keys"),
    "DF": ("asvspoof2021_df", "keys"),
    "in_the_wild": ("in_the_wild", "release_in_the_wild"),
}


def cell(eer: Figure) -> str:
    """Write an EER in percent, with its interval."""
    if eer.value is None or eer.interval is None:
        return "–"
    low, high = eer.interval
    return f"{100 * eer.value:.2f} ({100 * low:.2f}–{100 * high:.2f})"


def system_table(corpus: Path, scores: Path, systems: dict[str, str]) -> str:
    """Write a table of the EER of each detector on each part.

    Args:
        systems: title of a detector → beginning of the names of its score files.
    """
    rows = []
    trials = []
    for system, file in systems.items():
        results = []
        for track, (name, keys) in PARTS.items():
            path = scores / f"{file}.{track}.txt"
            results.append(evaluate(name, path, corpus / keys))
        rows.append([system, *(cell(result["eer"]) for result in results)])
        trials = [f"*{result['num_bonafide'].value} + {result['num_spoof'].value}*" for result in results]
    head = ["EER in % (95 % interval)", *(name for name, _ in PARTS.values())]
    return markdown_table(head, [["*trials: bona fide + spoof*", *trials], *rows])


def eer_by_attack(corpus: Path, scores: Path, file: str) -> dict[str, Figure]:
    """Compute the EER of each synthesiser against all human speech of LA and DF together."""
    matches = []
    for track in ("LA", "DF"):
        name, keys = PARTS[track]
        key = Labels(name, corpus / keys, "eval").read()
        matches.append(key.match(ScoreFile.of(scores / f"{file}.{track}.txt")).matched)
    la, df = matches
    together = replace(la, trials=[*la.trials, *df.trials], scores=np.concatenate([la.scores, df.scores]))
    return {row.labels["attack"]: row["eer"] for row in breakdown(together, "attack", num_resamples=1000)}


def synthesiser_table(corpus: Path, scores: Path, systems: dict[str, str]) -> str:
    """Write a table of the EER of each synthesiser, for each detector."""
    columns = [eer_by_attack(corpus, scores, file) for file in systems.values()]
    learnt = {trial.attack for trial in asvspoof2019_la.CORPUS.trials(corpus, "train")}
    rows = []
    for method in METHODS.values():
        if all(method.attack in column for column in columns):
            title = f"{method.attack} {method.description}"
            is_learnt = "yes" if method.attack in learnt else "no"
            rows.append([title, is_learnt, *(cell(column[method.attack]) for column in columns)])
    return markdown_table(["EER in % (95 % interval), LA and DF together", "in training", *systems], rows)


def segment_table(scores: Path, partialspoof: Path) -> str:
    """Write the EERs of a file of frame scores: of frames, of time, and of utterances; then by method of synthesis."""
    result = SegmentEvaluation(Labels("partialspoof", partialspoof, "eval"), [scores]).run()
    *points, utterances, seconds = result.rows("rates")
    (frames,) = (row for row in points if row.labels["scores"] == "own")
    resolution_ms = result.header["resolution_ms"]
    head = ["EER in % (95 % interval)", f"frames of {resolution_ms:g} ms", "range-based", "utterances, lowest score"]
    title = "log spectrum + Nes2Net-X without pooling, partially spoofed recordings"
    row = [title, cell(frames["eer"]), cell(seconds["eer"]), cell(utterances["eer"])]
    method_rows = []
    for name, eer in method_eers(scores, partialspoof, resolution_ms / 10).items():
        method_rows.append([METHODS[name].description, f"{100 * eer:.2f}"])
    method_table = markdown_table(["EER of frames in %", "fake pieces against human ones"], method_rows)
    return f"\n{markdown_table(head, [row])}\n\n{method_table}"


def method_eers(scores: Path, partialspoof: Path, step: float) -> dict[str, float]:
    """Compute for each method the EER of its frames against all human frames.

    A frame is of the method that made its first 10 ms.

    Args:
        step: length of a frame, in units of 10 ms.
    """
    scores_of_utterance = defaultdict(list)
    for line in scores.read_text(encoding="utf-8").splitlines():
        name, _, score = line.split()
        scores_of_utterance[name].append(float(score))
    scores_of_method: dict[str, list[float]] = defaultdict(list)
    for line in (partialspoof / "pieces.txt").read_text(encoding="utf-8").splitlines():
        _, name, start, end, method, *_ = line.split()
        first = ceil(int(start) / step)
        last = ceil(int(end) / step)
        scores_of_method[method] += scores_of_utterance[name][first:last]
    human = np.array(scores_of_method["human"])
    methods = [name for name in METHODS if scores_of_method[name]]
    return {name: compute_eer(human, np.array(scores_of_method[name]))[0] for name in methods}


def main(corpus: Path, scores: Path, partialspoof: Path | None = None) -> None:
    """Print all tables."""
    scored = {path.name.removesuffix(".LA.txt") for path in scores.glob("*.LA.txt")}
    systems = {system: file for system, file in SYSTEMS.items() if file in scored}
    seeds = {system: file for system, file in SEEDS.items() if file in scored}
    print(system_table(corpus, scores, systems | seeds))
    systems_by_attack = systems if "lfcc_mean" in scored else systems | seeds
    print(f"\n{synthesiser_table(corpus, scores, systems_by_attack)}")
    frame_scores = scores / "segments.partialspoof.txt"
    if partialspoof and frame_scores.is_file():
        print(segment_table(frame_scores, partialspoof))
    print("\nA demonstration and no benchmark: few speakers, few methods, detectors trained in minutes.")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
