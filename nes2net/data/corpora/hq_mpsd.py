"""HQ-MPSD: recordings in eight languages in which parts are replaced by synthetic speech."""

from nes2net.data.corpora.folders import FolderCorpus, Place
from nes2net.data.corpora.trial import BONAFIDE, SPOOF

CORPUS = FolderCorpus(
    title="HQ-MPSD",
    notes="""
    Li et al., "HQ-MPSD: A Multilingual Artifact-Controlled Benchmark for Partial Deepfake Speech
    Detection", arXiv 2512.13012.

    Layout: <root>/LANGUAGE/{Bonafide,Fully_Fake,Partial_Fake_Clean,Partial_Fake_Noisy}/*.flac, with
    one folder, such as English, for each archive. The attack_type of a spoofed trial is the name of
    its folder. The corpus has no parts: all trials are eval. The English part is said to have 6,101
    bona fide and 6,103 fake recordings, and two sets of 6,103 and 3,281 partly fake recordings.

    The layout was inferred from other people's programs, not from the corpus. The archives also
    have labels of frames of 30 ms. We have not seen the files of these labels, so segments cannot
    be evaluated.
    """,
    places=(
        Place("{language}/Bonafide/*", BONAFIDE),
        *(
            Place(f"{{language}}/{folder}/*", SPOOF, {"attack_type": folder})
            for folder in ("Fully_Fake", "Partial_Fake_Clean", "Partial_Fake_Noisy")
        ),
    ),
    remedy="give `root` the folder that holds English or another language",
    obtain={
        "audio": "the archives of all languages from https://zenodo.org/records/17929533, unpacked into one folder",
        "protocol": "none; the folders of the audio are the labels",
    },
    licence="CC BY 4.0",
    source="https://arxiv.org/abs/2512.13012",
)
