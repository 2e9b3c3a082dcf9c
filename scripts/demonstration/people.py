"""Compare recordings with the enrolled speakers: write claims (people.csv) and their scores (people.tsv).

Recordings of the development part and of 2021 LA are claimed to be of every speaker, spoofs of the
speaker that they copy. The score ``sasv`` is fitted on every other recording.

python scripts/demonstration/people.py CORPUS STORE SCORES DETECTOR
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.trial import SPOOF
from nes2net.data.registry import corpora
from nes2net.lib.errors import InputError
from nes2net.lib.storage.files import write_text
from nes2net.metrics.sasv import ASVSPOOF5_SASV_WEIGHTS
from nes2net.models.speakers import create_speaker_encoder
from nes2net.scoring.claim_file import HEADER
from nes2net.scoring.decisions import fit_sasv, sasv_ratio
from nes2net.scoring.people import PeopleStore
from nes2net.scoring.score_file import read_scores

#: Name in the names of score files → corpus, split, and folder of the labels.
PARTS = {"dev": ("asvspoof2019_la", "dev", "."), "LA": ("asvspoof2021_la", "eval", "keys")}


class Claim(NamedTuple):
    """A recording that is claimed to be of a person."""

    person: str
    recording: str
    attack: str
    claim: str
    cm: float
    asv: float
    fold: int


def claims(corpus: Path, store: Path, scores: Path, detector: str) -> Iterator[Claim]:
    """Compare each recording with the models of the enrolled people.

    Args:
        detector: beginning of the names of score files.
    """
    encoder = create_speaker_encoder("ge2e")
    names, models = PeopleStore(store, encoder.identity).models
    for track, (name, split, keys) in PARTS.items():
        definition = corpora.get(name)
        paths = {trial.id: trial.audio_path() for trial in definition.trials(corpus, split)}
        score_of = dict(zip(*read_scores(scores / f"{detector}.{track}.txt")))
        for number, trial in enumerate(definition.keys(corpus / keys, split)):
            cosines = models @ encoder.embed(paths[trial.id])
            for person, cosine in zip(names, cosines.tolist()):
                is_own = person == trial.speaker
                claim = "target" if is_own else "nontarget"
                if trial.label == SPOOF:
                    claim = SPOOF
                if is_own or trial.label != SPOOF:
                    yield Claim(person, trial.id, trial.attack or "", claim, score_of[trial.id], cosine, number % 2)


def fuse(rows: list[Claim]) -> NDArray:
    """Compute the score ``sasv`` (N,) of each claim, fitted on the other fold.

    Raises:
        InputError: if the scores of a fold cannot be calibrated.
    """
    cm, asv, fold = np.array([(row.cm, row.asv, row.fold) for row in rows]).T
    labels = np.array([row.claim for row in rows])
    fused = np.empty(len(rows))
    for number in (0, 1):
        is_fitted = fold != number
        fitted = fit_sasv(asv[is_fitted], cm[is_fitted], labels[is_fitted], ASVSPOOF5_SASV_WEIGHTS)
        llr_asv, llr_cm = fitted.llrs(asv[~is_fitted], cm[~is_fitted])
        fused[~is_fitted] = sasv_ratio(llr_asv, llr_cm, ASVSPOOF5_SASV_WEIGHTS)
    return fused


def main(corpus: str, store: str, scores: str, detector: str) -> None:
    """Write people.csv and people.tsv to this folder."""
    rows = list(claims(Path(corpus), Path(store), Path(scores), detector))
    fused = ["-"] * len(rows)
    try:
        fused = [f"{score:.6g}" for score in fuse(rows)]
    except InputError as error:
        print(f"without a fused score: {error}")
    listed = ["file,speaker,attack,claim"]
    lines = []
    for row, score in zip(rows, fused):
        listed.append(f"{row.recording}.flac,{row.person},{row.attack},{row.claim}")
        lines.append(f"{row.person}\t{row.recording}\t{row.cm:.9g}\t{row.asv:.9g}\t{score}\n")
    write_text(Path("people.csv"), "\n".join([*listed, ""]))
    write_text(Path("people.tsv"), HEADER + "".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
