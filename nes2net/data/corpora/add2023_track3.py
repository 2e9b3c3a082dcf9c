"""ADD 2023, track 3: recognise the algorithm that made a recording, or say that the algorithm is unknown."""

from nes2net.data.corpora.corpus import Counts
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, SPOOF

_FOLDERS = {"train": "train", "dev": "dev", "eval": "test"}
# Class → number of its trials in the evaluation set.
_ALGORITHMS = dict(zip("1234567", (10474, 7169, 10461, 10391, 10507, 10507, 10469)))

CORPUS = ListedCorpus(
    title="ADD 2023, track 3",
    notes="""
    Yi et al., "ADD 2023: the Second Audio Deepfake Detection Challenge", DADA 2023.

    Layout: the folders <root>/{train,dev,test}, each with label.txt, whose lines are
    ADD2023_T3_E_00000000.wav 3, and the WAV files in wav. We have not seen the folder names in the
    archives, so the first folder with label.txt in the folder of the split is taken. Class 0 is
    bona fide. All other classes are spoofed, and the class is the attack of the trial. Classes 1 to
    6 are the algorithms of the training set. Class 7 occurs only in the evaluation and stands for
    other algorithms. The id of a trial is the name of its file without suffix.
    """,
    rows=Columns(
        file="file",
        fields={"label": "class", "attack": "class"},
        labels={"0": BONAFIDE, **dict.fromkeys(_ALGORITHMS, SPOOF)},
        words={"attack": {"0": None}},
        names="file, class",
    ),
    parts={
        split: Files(
            protocols=("label.txt",),
            audio=(f"Track3/{folder}/wav", f"{folder}/wav", f"{folder}/**"),
            folders=(f"Track3/{folder}", folder, f"{folder}/**"),
        )
        for split, folder in _FOLDERS.items()
    },
    counts={"eval": Counts(79490, 9512, 69978, {"attack": _ALGORITHMS})},
    counts_from="the labels of the evaluation set",
    obtain={
        "audio": "https://zenodo.org/records/12179632 and https://zenodo.org/records/12179884",
        "protocol": "label.txt in the same records",
    },
    licence="CC BY-NC-ND 4.0",
    source="https://arxiv.org/abs/2305.13774",
)
