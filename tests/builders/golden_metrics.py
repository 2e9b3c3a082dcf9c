"""Score files and keys, with the results of the published evaluation programs.

``Case.folder`` has the files in the official layouts, ``Case.results`` the printed output and full-precision values by command.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from builders import golden

NAMES = ("g200", "single", "all_equal", "inverted", "separated", "g5k", "g5k_cont", "g60k")


@dataclass(frozen=True)
class Case:
    name: str
    folder: Path
    results: dict
    cli_errors: dict

    def values(self, prefix: str) -> list[tuple[str, dict]]:
        """(rest of the name, values) of each result whose name starts with ``prefix``."""
        return [
            (name.removeprefix(prefix), result["values"])
            for name, result in self.results.items()
            if name.startswith(prefix)
        ]

    def table(self, file: str, separator: str | None = None) -> list[list[str]]:
        """Lines of a file, split."""
        return [line.split(separator) for line in (self.folder / file).read_text().splitlines()]

    def scores(self, file: str) -> dict[str, float]:
        """Utterance → score."""
        return {row[0]: float(row[1]) for row in self.table(file)}

    def by_class(self, track: str, phase: str) -> tuple[np.ndarray, np.ndarray]:
        """Bona fide and spoof scores of a phase of ``"LA"`` or ``"DF"``."""
        scores = self.scores(f"scores_{track}.txt")
        key = self.table(f"keys/{track}/CM/trial_metadata.txt")
        return tuple(
            np.array([scores[r[1]] for r in key if r[5] == label and r[7] == phase]) for label in ("bonafide", "spoof")
        )

    def asv(self, phase: str) -> tuple[np.ndarray, ...]:
        """ASV target, nontarget and spoof scores of a phase."""
        rows = zip(self.table("keys/LA/ASV/trial_metadata.txt"), self.table("keys/LA/ASV/ASVTorch_Kaldi/score.txt"))
        rows = [(key[5], float(score[2])) for key, score in rows if key[7] == phase]
        return tuple(
            np.array([score for kind, score in rows if kind == class_name])
            for class_name in ("target", "nontarget", "spoof")
        )


def load(name: str, folder: Path) -> Case:
    """The case ``name``, its files unpacked into ``folder``."""
    case = golden.read_case(name)
    for file, text in case["files"].items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return Case(name, folder, case["results"], case["cli_errors"])
