"""PartialSpoof.

Zhang et al., "The PartialSpoof Database and Countermeasures for the Detection of Short Fake Speech
Segments Embedded in an Utterance", IEEE/ACM TASLP 31, 2023.

Layout: ``<root>/database/{train,dev,eval}/con_wav/ID.wav``, one protocol per split with the five
fields of ASVspoof 2019 LA (the attack of a spoofed utterance is ``CON``), and labels of segments of
10 to 640 ms as ``.npy`` files. 25,380 / 24,844 / 71,237 trials. Nes2Net is evaluated on whole
utterances.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.corpora import asvspoof2019_la
from nes2net.corpora import protocol as files
from nes2net.corpora.corpus import Corpus, Counts
from nes2net.corpora.layout import Layout, Part
from nes2net.corpora.npy_dictionary import read_npy_dictionary
from nes2net.errors import InputError

#: Lengths of the labelled segments, in ms.
RESOLUTIONS = (10, 20, 40, 80, 160, 320, 640)

_INNER = "PartialSpoof_LA_cm_protocols"
_PROTOCOL_FOLDERS = (
    f"database/protocols/{_INNER}",
    f"protocols/{_INNER}",
    _INNER,
    "database/protocols",
    "protocols",
    ".",
)


LAYOUT = Layout(
    title="PartialSpoof",
    columns=asvspoof2019_la.LAYOUT.columns,
    parts={
        split: Part(
            protocols=(f"PartialSpoof.LA.cm.{split}.trl.txt",),
            folders=_PROTOCOL_FOLDERS,
            audio=(f"database/{split}/con_wav", f"{split}/con_wav"),
        )
        for split in ("train", "dev", "eval")
    },
    suffix=".wav",
)


def segment_labels(path: str | Path, split: str, resolution: int = 20) -> dict[str, NDArray[np.uint8]]:
    """Utterance of ``split`` → labels of its segments: (segments,) uint8, 1 bona fide, 0 spoofed.

    The files are pickled dictionaries; reading them runs no code.

    Args:
        path: The folder of the corpus, the folder ``segment_labels``, or a file of it.
        split: ``"train"``, ``"dev"`` or ``"eval"``.
        resolution: Length of a segment in ms, one of :data:`RESOLUTIONS`.

    Raises:
        InputError: if the split or resolution is unknown, or the file is missing, damaged or does
            not hold labels.
    """
    files.check_split(split, CORPUS.splits, CORPUS.title)
    if resolution not in RESOLUTIONS:
        raise InputError(f"PartialSpoof has no segments of {resolution} ms; it has {', '.join(map(str, RESOLUTIONS))}")
    path, name = Path(path), f"{split}_seglab_{resolution / 1000:g}.npy"
    if not path.is_file():
        path = files.first_file(
            [path / inner / name for inner in ("database/segment_labels", "segment_labels", ".")],
            what=f"segment labels of PartialSpoof {split}",
            remedy="get the archive of segment labels from https://zenodo.org/records/5766198",
        )
    labels = {}
    for utterance, values in read_npy_dictionary(path).items():
        text = values.astype("U8")
        bonafide = text == "1"
        if values.ndim != 1 or not (bonafide | (text == "0")).all():
            raise InputError(f"{path}: the labels of {utterance} are not a row of '0' and '1'; get the file again")
        labels[utterance] = bonafide.astype(np.uint8)
    return labels


CORPUS = Corpus(
    **LAYOUT.functions,
    segment_labels=segment_labels,
    # As many utterances as ASVspoof 2019 LA, from which the corpus was made.
    counts={
        "train": Counts(25380, 2580, 22800, {"attack": {"CON": 22800}}),
        "dev": Counts(24844, 2548, 22296, {"attack": {"CON": 22296}}),
        "eval": Counts(71237, 7355, 63882, {"attack": {"CON": 63882}}),
    },
    obtain={
        "audio": "the archives of the audio from https://zenodo.org/records/5766198",
        "protocol": "the archive of the protocols from https://zenodo.org/records/5766198",
    },
)

trials, keys = CORPUS.trials, CORPUS.keys
