"""Table of the demonstration: EER of each detector on each evaluation part, with 95 % intervals.

python scripts/demo_table.py CORPUS SCORES
"""

import sys
from pathlib import Path

from nes2net.evaluation.evaluate import comparison_table, evaluate

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


def main(corpus: Path, scores: Path) -> None:
    results = {
        system: [evaluate(name, scores / f"{file}.{part}.txt", corpus / keys) for part, (name, keys) in PARTS.items()]
        for system, file in SYSTEMS.items()
        if (scores / f"{file}.LA.txt").is_file()
    }
    print(comparison_table(results))
    print("\nA demonstration and no benchmark: few speakers, few methods, detectors trained from scratch in minutes.")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
