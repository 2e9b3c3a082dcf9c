"""A small evaluation in the layout of ASVspoof 2021 LA, for the tests of its page."""

from pathlib import Path

import numpy as np

from nes2net.actions.evaluation import evaluate
from nes2net.evaluation.result import Result

CODECS = ("none", "alaw", "gsm")


def make_case(folder: Path, attacks=("A07", "A08"), num=240) -> Path:
    """Key and three score files of ``num`` trials on ASVspoof 2021 LA: good, a little worse, and
    useless."""
    rng = np.random.default_rng(0)
    key = []
    scores = {"good": [], "worse": [], "useless": []}
    for n in range(num):
        bonafide = n % 3 == 0
        attack = "bonafide" if bonafide else attacks[n // 3 % len(attacks)]
        name = f"LA_E_{n}"
        label = "bonafide" if bonafide else "spoof"
        key.append(f"spk{n % 24} {name} {CODECS[n % 7 % 3]} loc_tx {attack} {label} notrim eval\n")
        good = 2 * bonafide + rng.normal()
        for system, score in (("good", good), ("worse", good + rng.normal()), ("useless", rng.normal())):
            scores[system].append(f"{name} {score}\n")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trial_metadata.txt").write_text("".join(key))
    for system, lines in scores.items():
        (folder / f"{system}.txt").write_text("".join(lines))
    return folder


def report_of(folder: Path, *systems: str) -> Result:
    """The report of these score files of :func:`make_case`."""
    paths = [folder / f"{system}.txt" for system in systems]
    return evaluate("asvspoof2021_la", paths, folder / "trial_metadata.txt", num_resamples=50)
