"""ADD 2022, Audio Deep Synthesis Detection: tracks 1 (low quality) and 3.2 (detection in the game)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nes2net.data.corpora.corpus import Counts, Download
from nes2net.data.corpora.id_tables import first_line
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial

LABELS = {"genuine": BONAFIDE, "fake": SPOOF}
TABLE = Columns(file="file", labels=LABELS, names="file, label")
_TABLE_OF_ROUND_2 = Columns(file="file", labels=LABELS, names="file, label, -")


def _read_trials(path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
    columns = _TABLE_OF_ROUND_2 if len(first_line(path).split()) == 3 else TABLE
    return columns(path, phase, audio)


def _training_files(split: str) -> Files:
    return Files(
        protocols=(f"{split}_label.txt",),
        audio=(f"ADD_train_dev/{split}/**", f"{split}/**"),
        folders=("ADD_train_dev/**", "label", ".", split, "train_dev"),
    )


def _evaluation_files(split: str, protocol: str, folder: str) -> Files:
    return Files(
        protocols=(protocol,),
        # An archive that is unpacked into a folder of its own name gives track1test/track1test.
        audio=(f"{split}/{folder}/{folder}", f"{folder}/{folder}", f"{split}/**", f"{folder}/**"),
        folders=(f"{split}/**", ".", folder, "label"),
    )


CORPUS = ListedCorpus(
    title="ADD 2022",
    notes="""
    Yi et al., "ADD 2022: the First Audio Deep Synthesis Detection Challenge", ICASSP 2022.

    Layout: a list for each part, with lines ADD_E1_00000000.wav genuine (or fake), and the WAV
    files. The lists are ADD_train_dev/label/{train,dev}_label.txt (audio in
    ADD_train_dev/{train,dev}), track1_label.txt (audio in track1test), track3_R1_label.txt and
    track3_R2_label.txt. We have not seen the folder names in the archives of the two rounds of
    track 3.2. nes2net data download unpacks these archives into track3_r1 and track3_r2. Within
    each of these two folders, the first folder that holds recordings is taken.

    The splits are train, dev, track1, track3_r1 and track3_r2; no split is called eval. The id of a
    trial is the name of its file without suffix. Lists of the second round have a third field, a
    number of unknown meaning, which is not read. Track 2 (partly fake) and the adaptation sets are
    not read.
    """,
    rows=_read_trials,
    parts={
        "train": _training_files("train"),
        "dev": _training_files("dev"),
        "track1": _evaluation_files("track1", "track1_label.txt", "track1test"),
        "track3_r1": _evaluation_files("track3_r1", "track3_R1_label.txt", "track3test"),
        "track3_r2": _evaluation_files("track3_r2", "track3_R2_label.txt", "track3R2test"),
    },
    counts={
        "train": Counts(27084, 3012, 24072),
        "dev": Counts(28324, 2307, 26017),
        "track1": Counts(109199),
        "track3_r2": Counts(126861),
    },
    counts_from="what participants (train, dev) and benchmarks (track1, track3_r2) report",
    obtain={
        "audio": "https://zenodo.org/records/12188127 (train, dev), https://zenodo.org/records/10843991 (track 1), "
        "https://zenodo.org/records/12188035 and https://zenodo.org/records/12188055 (track 3.2, rounds 1 and 2)",
        "protocol": "the lists *_label.txt in the same records",
    },
    downloads=(
        Download("https://zenodo.org/records/12188127", "train, dev", name="train_dev"),
        Download("https://zenodo.org/records/10843991", "track1", name="track1", unpack="track1"),
        Download("https://zenodo.org/records/12188035", "track3_r1", name="track3_r1", unpack="track3_r1"),
        Download("https://zenodo.org/records/12188055", "track3_r2", name="track3_r2", unpack="track3_r2"),
    ),
    licence="CC BY-NC-ND 4.0",
    source="https://arxiv.org/abs/2202.08433",
)
