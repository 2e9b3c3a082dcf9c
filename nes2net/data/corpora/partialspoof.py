"""PartialSpoof."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora import asvspoof2019_la
from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Counts, Download, Protocols
from nes2net.data.corpora.layout import Files, ListedCorpus
from nes2net.data.corpora.npy_dictionary import read_npy_dictionary
from nes2net.data.corpora.segments import Uncovered, any_spoof, check_labels, check_resolution, covering_segments
from nes2net.lib.errors import InputError, join_names, pluralise
from nes2net.lib.storage.files import AnyPath
from nes2net.metrics.localisation.label_files import read_reco2dur, read_rttm
from nes2net.metrics.localisation.segments import BONAFIDE, SPOOF, Segment, SegmentsByUtterance

_CM_PROTOCOLS = "PartialSpoof_LA_cm_protocols"
_PROTOCOL_FOLDERS = (
    f"database/protocols/{_CM_PROTOCOLS}",
    f"protocols/{_CM_PROTOCOLS}",
    _CM_PROTOCOLS,
    "database/protocols",
    "protocols",
    ".",
)


def segment_labels(
    path: AnyPath, split: str, resolution: int = 20, *, protocols: Protocols = None
) -> dict[str, NDArray[np.uint8]]:
    """Read labels of segments: utterance → labels (T,) in uint8, 1 bona fide, 0 spoofed.

    The files are pickled dictionaries, but are read without running code that they hold.

    Args:
        path: the folder of the corpus, the folder ``segment_labels``, or a file in this folder.
        split: ``"train"``, ``"dev"`` or ``"eval"``.
        resolution: length of a segment in ms, one of
            :data:`~nes2net.metrics.localisation.frames.RESOLUTIONS`.
        protocols: another folder that may hold the labels.

    Raises:
        InputError: if the split or the resolution is unknown, or if the file is missing, is damaged
            or does not hold labels.
    """
    split = CORPUS.resolve_split(split)
    check_resolution(resolution)
    path = Path(path)
    name = f"{split}_seglab_{resolution / 1000:g}.npy"
    if not path.is_file():
        roots = [path]
        if protocols is not None:
            roots.append(Path(protocols))
        folders = ("database/segment_labels", "segment_labels", ".")
        path = files.first_file(
            [root / folder / name for root, folder in product(roots, folders)],
            what=f"segment labels of PartialSpoof {split}",
            remedy="get the archive of segment labels from https://zenodo.org/records/5766198",
        )
    labels = {}
    for utterance, values in read_npy_dictionary(path).items():
        words = values.astype(str)
        bonafide = words == "1"
        if words.ndim != 1 or not (bonafide | (words == "0")).all():
            raise InputError(f"{path}: the labels of {utterance} are not a row of '0' and '1'; download the file again")
        labels[utterance] = bonafide.astype(np.uint8)
    return labels


_RTTM = "rttm_2cls_0sil"
_SPOOF_ALONE = "rttm_2cls_0sil_spoof"
_REMEDY = "get the archive of the database from https://zenodo.org/records/5766198"


def segments(
    root: AnyPath, split: str, *, protocols: Protocols = None, uncovered: Uncovered = None
) -> SegmentsByUtterance:
    """Read the segments of ``split``: utterance → segments that cover it from 0 to its end.

    They come from the RTTM of all segments, or else of spoofed segments, and are compared with the
    labels of the protocol, if there is one.

    Args:
        root: the folder of the corpus, or the folder ``con_data`` of the split.
        protocols: the folder of the protocols, if not in ``root``.
        uncovered: the class of time that no segment covers: ``"bonafide"``, or ``"spoof"`` as in
            the published labels of frames. By default, it is bona fide if the RTTM lists only
            spoofed segments; otherwise, a gap of more than a millisecond is an error.

    Raises:
        InputError: if the split is unknown; if a file is malformed; if an utterance of ``reco2dur``
            has no segments; if segments lie outside of their utterance, leave gaps, or contradict a
            label of the protocol.
        NotFound: if there is no RTTM or no ``reco2dur``.
    """
    split = CORPUS.resolve_split(split)
    root = Path(root)
    title = f"PartialSpoof {split}"
    folders = [root / f"database/{split}/con_data", root / split / "con_data", root]
    path = files.first_file(
        [folder / name for name, folder in product((_RTTM, _SPOOF_ALONE), folders)],
        what=f"RTTM of {title}",
        remedy=_REMEDY,
    )
    reco2dur = files.first_file([path.with_name("reco2dur")], what=f"durations of {title}", remedy=_REMEDY)
    durations = read_reco2dur(reco2dur)
    segments = covering_segments(read_rttm(path), path, durations, {BONAFIDE: BONAFIDE, SPOOF: SPOOF}, uncovered)
    # In an RTTM of spoofed segments, utterances without segments are bona fide. In the RTTM of all segments, an
    # utterance without segments is an error.
    missing_ids = [utterance for utterance in durations if utterance not in segments]
    if path.name == _SPOOF_ALONE:
        spoofed = segments
        segments = {}
        for utterance, duration in durations.items():
            if duration > 0:
                segments[utterance] = spoofed.get(utterance, [Segment(BONAFIDE, 0.0, duration)])
    elif missing_ids:
        utterances = pluralise(missing_ids, "utterance")
        raise InputError(
            f"{path}: {utterances} of {reco2dur.name} without segments: {join_names(missing_ids)}; {_REMEDY}"
        )
    try:
        protocol = CORPUS.find_protocol(root, split, protocols)
    except files.NotFound:
        return segments
    check_labels(any_spoof(segments), CORPUS.read_protocol(protocol, split), path)
    return segments


def _files(split: str) -> Files:
    return Files(
        protocols=(f"PartialSpoof.LA.cm.{split}.trl.txt",),
        folders=_PROTOCOL_FOLDERS,
        audio=(f"database/{split}/con_wav", f"{split}/con_wav"),
    )


CORPUS = ListedCorpus(
    title="PartialSpoof",
    notes="""
    Zhang et al., "The PartialSpoof Database and Countermeasures for the Detection of Short Fake
    Speech Segments Embedded in an Utterance", IEEE/ACM TASLP 31, 2023.

    Layout: the audio is <root>/database/{train,dev,eval}/con_wav/ID.wav. There is one protocol per
    split, with the five fields of ASVspoof 2019 LA; the attack of a spoofed utterance is CON.
    Labels of segments of 10 to 640 ms are .npy files. The folder <split>/con_data/ holds the
    segments as RTTM (rttm_2cls_0sil) and the durations of the utterances (reco2dur). Another RTTM
    in this folder, rttm_2cls_0sil_spoof, lists only the spoofed segments. The splits have 25,380,
    24,844 and 71,237 trials. The paper on Nes2Net evaluates whole utterances.
    """,
    rows=replace(asvspoof2019_la.COLUMNS, suffix=".wav"),
    parts={"train": _files("train"), "dev": _files("dev"), "eval": _files("eval")},
    segments=segments,
    segment_labels=segment_labels,
    # The numbers equal those of ASVspoof 2019 LA, on which the corpus is based.
    counts={
        "train": Counts(25380, 2580, 22800, {"attack": {"CON": 22800}}),
        "dev": Counts(24844, 2548, 22296, {"attack": {"CON": 22296}}),
        "eval": Counts(71237, 7355, 63882, {"attack": {"CON": 63882}}),
    },
    licence="CC BY 4.0",
    source="https://arxiv.org/abs/2204.05177",
    downloads=(Download("https://zenodo.org/records/5766198", "audio, protocols and segments"),),
    obtain={
        "audio": "the archives of the audio from https://zenodo.org/records/5766198",
        "protocol": "the archive of the protocols from https://zenodo.org/records/5766198",
    },
)
