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
from nes2net.corpora.npy_dictionary import read_npy_dictionary
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError

#: Lengths of the labelled segments, in ms.
RESOLUTIONS = (10, 20, 40, 80, 160, 320, 640)

_PROTOCOLS = {split: (f"PartialSpoof.LA.cm.{split}.trl.txt",) for split in ("train", "dev", "eval")}
_INNER = "PartialSpoof_LA_cm_protocols"
_PROTOCOL_FOLDERS = (
    f"database/protocols/{_INNER}",
    f"protocols/{_INNER}",
    _INNER,
    "database/protocols",
    "protocols",
    ".",
)


def trials(root: str | Path, split: str, *, protocols: str | Path | None = None) -> list[Trial]:
    """The labelled trials of ``split`` in the order of the protocol, with the paths of their audio.

    No audio file is touched.

    Args:
        root: The folder that holds ``database``, or that folder itself.
        split: ``"train"``, ``"dev"`` or ``"eval"``.
        protocols: The folder of the protocols, if it is not in its place in ``root``.

    Raises:
        InputError: if the split is unknown, a folder or the protocol is missing, or a line of the
            protocol is malformed.
    """
    return CORPUS.read_split(root, split, protocols)


def keys(path: str | Path, phase: str | None = None) -> list[Trial]:
    """The labelled trials without audio, for evaluation.

    Args:
        path: A protocol file, or the folder of the corpus or of its protocols.
        phase: ``"train"``, ``"dev"`` or ``"eval"``; None for all of which there is a protocol.

    Raises:
        InputError: if the phase is unknown, no protocol is there (the message names every path
            tried), or a line is malformed.
    """
    return files.keys_of_splits(path, phase, CORPUS.title, _PROTOCOLS, find_protocol, read_protocol)


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


def find_protocol(root: str | Path, split: str, protocols: str | Path | None = None) -> Path:
    """The protocol of ``split``, or :class:`~nes2net.corpora.protocol.NotFound`."""
    split = files.known_split(split, CORPUS.splits, CORPUS.title)
    return files.first_protocol(root, protocols, _PROTOCOL_FOLDERS, _PROTOCOLS[split], f"PartialSpoof {split}")


def find_audio(root: str | Path, split: str) -> Path:
    """The folder with the audio of ``split``, or :class:`~nes2net.corpora.protocol.NotFound`."""
    split = files.known_split(split, CORPUS.splits, CORPUS.title)
    return files.first_folder(
        [Path(root) / inner / split / "con_wav" for inner in ("database", ".")],
        what=f"audio of PartialSpoof {split}",
        remedy=f"give the folder that holds database/{split}/con_wav",
    )


def read_protocol(path: Path, split: str | None, audio: Path | None = None) -> list[Trial]:
    """The trials of a protocol. :class:`InputError` names the file and line that is malformed."""
    return asvspoof2019_la.read_protocol(path, split, audio, suffix=".wav")


CORPUS = Corpus(
    title="PartialSpoof",
    trials=trials,
    keys=keys,
    find_protocol=find_protocol,
    find_audio=find_audio,
    read_protocol=read_protocol,
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
