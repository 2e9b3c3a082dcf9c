"""Tables of the demonstration: EER of each detector on each evaluation part, and of fake segments, with 95 % intervals.

python scripts/demo_table.py CORPUS SCORES [PARTIALSPOOF]
"""

import sys
from pathlib import Path

from nes2net.evaluation.evaluate import comparison_table, evaluate
from nes2net.evaluation.segments import Rate, evaluate_segments

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


def segment_table(scores: Path, partialspoof: Path) -> str:
    """Write the EERs of a file of frame scores: by frames, by time, and by utterances."""
    result = evaluate_segments("partialspoof", scores, partialspoof)

    def cell(rate: Rate) -> str:
        if rate.eer is None or rate.interval is None:
            return "–"
        return f"{100 * rate.eer:.2f} ({100 * rate.interval[0]:.2f}–{100 * rate.interval[1]:.2f})"

    cells = " | ".join(map(cell, (result.own, result.range_based, result.utterance)))
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
    print(comparison_table(results))
    frame_scores = scores / "segments.partialspoof.txt"
    if partialspoof and frame_scores.is_file():
        print(segment_table(frame_scores, partialspoof))
    print("\nA demonstration and no benchmark: few speakers, few methods, detectors trained from scratch in minutes.")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
