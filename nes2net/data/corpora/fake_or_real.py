"""Fake-or-Real (FoR)."""

from nes2net.data.corpora.corpus import Counts, Download
from nes2net.data.corpora.folders import FolderCorpus, Place
from nes2net.data.corpora.trial import BONAFIDE, SPOOF

CORPUS = FolderCorpus(
    title="Fake-or-Real",
    notes="""
    Reimao and Tzerpos, "FoR: A Dataset for Synthetic Speech Detection", SpeD 2019.

    Layout: <edition>/{training,validation,testing}/{real,fake}/*, WAV files. The corpus has four
    editions. for-original holds the recordings as they were collected, some of them as MP3.
    for-norm is normalised to one rate, loudness and number of channels, and balanced in class and
    gender. for-2seconds holds recordings cut to two seconds. for-rerecorded holds recordings that
    were played and recorded again. Use the folder of one edition as the corpus. No file states the
    system of a recording, or its speaker.

    The numbers of trials come from other people's reports about the editions on the publishers'
    server. We did not count the files ourselves. The paper reports accuracy; here the EER follows
    ASVspoof's rule.
    """,
    places=(Place("{phase}/real/*", BONAFIDE), Place("{phase}/fake/*", SPOOF)),
    split_folders={"training": "train", "validation": "dev", "testing": "eval"},
    # Copies on Kaggle have the folder of an edition within another folder, such as for-norm/for-norm.
    roots=(
        *(".", "for-norm", "for-norm/for-norm", "for-original", "for-original/for-original"),
        *("for-2seconds", "for-2sec", "for-2sec/for-2seconds"),
        *("for-rerecorded", "for-rerec", "for-rerec/for-rerecorded"),
    ),
    remedy="give `root` the folder of one edition, which holds training, validation and testing",
    counts={"train": Counts(53868), "dev": Counts(10798), "eval": Counts(4634)},
    editions={
        "for-2seconds": {"train": Counts(13956), "dev": Counts(2826), "eval": Counts(1088)},
        "for-rerecorded": {"train": Counts(10208), "dev": Counts(2244), "eval": Counts(816)},
    },
    counts_from="what others report of for-norm",
    obtain={
        "audio": "for-norm.tar.gz (or for-original, for-2sec, for-rerec) from https://bil.eecs.yorku.ca/datasets/",
        "protocol": "none; the folders of the audio are the labels",
    },
    downloads=(Download("https://bil.eecs.yorku.ca/share/for-norm.tar.gz", "the edition for-norm"),),
    licence="none stated on the publisher's page, https://bil.eecs.yorku.ca/datasets/",
    source="https://bil.eecs.yorku.ca/datasets/",
)
