"""ADD 2023, Audio Deepfake Detection: both rounds of track 1.2, detection in the game."""

from nes2net.data.corpora.add2022 import TABLE
from nes2net.data.corpora.corpus import Counts, Download
from nes2net.data.corpora.layout import Files, ListedCorpus


def _files(folder: str) -> Files:
    return Files(
        protocols=("label.txt",),
        audio=(f"Track1.2/{folder}/wav", f"Track1.2/{folder}/**", f"{folder}/**"),
        folders=(f"Track1.2/{folder}", f"{folder}/**"),
    )


CORPUS = ListedCorpus(
    title="ADD 2023",
    notes="""
    Yi et al., "ADD 2023: the Second Audio Deepfake Detection Challenge", DADA 2023.

    Layout: the folders <root>/Track1.2/{train,dev,testR1,testR2}, each with label.txt, whose lines
    are ADD2023_T1.2R2_E_00000003.wav genuine (or fake), and the WAV files in wav. The splits are
    train, dev, round1 and round2; no split is called eval. The id of a trial is the name of its
    file without suffix. If an archive was unpacked into testR1 or testR2, as nes2net data download
    does, the folders in the archive may have any names.
    """,
    rows=TABLE,
    parts={
        "train": _files("train"),
        "dev": _files("dev"),
        "round1": _files("testR1"),
        "round2": _files("testR2"),
    },
    counts={"round1": Counts(111976), "round2": Counts(118477)},
    counts_from="what benchmarks report",
    obtain={
        "audio": "https://zenodo.org/records/12151404 (train, dev), https://zenodo.org/records/12175884 (round 1), "
        "https://zenodo.org/records/12176326 (round 2)",
        "protocol": "label.txt in the same records",
    },
    downloads=(
        Download("https://zenodo.org/records/12151404", "train, dev", name="train_dev"),
        Download("https://zenodo.org/records/12175884", "round1", name="testR1", unpack="testR1"),
        Download("https://zenodo.org/records/12176326", "round2", name="testR2", unpack="testR2"),
    ),
    licence="CC BY-NC-ND 4.0",
    source="https://arxiv.org/abs/2305.13774",
)
