"""Tables of the demonstration: EER of each detector on each evaluation part, and of fake segments, with 95 % intervals.

python scripts/demo_table.py CORPUS SCORES [PARTIALSPOOF]
"""

import sys
from pathlib import Path

from nes2net.evaluation.evaluate import evaluate
from nes2net.evaluation.segments import evaluate_segments
from nes2net.machine.terminal import markdown_table

SYSTEMS = {
    "log spectrum + Nes2Net-X": "log_spectrum",
    "wav2vec 2.0, small + Nes2Net-X": "wav2vec2_small",
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
    frame_scores = scores / "segments.partialspoof.txt"
    if partialspoof and frame_scores.is_file():
        print(segment_table(frame_scores, partialspoof))
    print("\nA demonstration and no benchmark: few speakers, few methods, detectors trained from scratch in minutes.")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
