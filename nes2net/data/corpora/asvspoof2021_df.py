"""ASVspoof 2021 DF."""

from nes2net.data.corpora import asvspoof2021_la as la
from nes2net.data.corpora.corpus import Counts, Download
from nes2net.data.corpora.layout import Columns, ListedCorpus

CORPUS = ListedCorpus(
    **la.shared_arguments(
        "DF",
        # The last four columns describe utterances of the Voice Conversion Challenge.
        Columns(
            "speaker, utterance, codec, source, attack, label, trim, phase, vocoder, task, team, gender, language",
            phases=la.PHASES,
            words={"attack": {"bonafide": None}, "vocoder": {"bonafide": None}},
        ),
    ),
    notes="""
    Liu et al., "ASVspoof 2021: Towards Spoofed and Deepfake Speech Detection in the Wild", TASLP
    31, 2023.

    Layout: <root>/ASVspoof2021_DF_eval/flac/ID.flac (from four archives) and a protocol of ids. The
    labels come in an archive of their own, the keys: DF/CM/trial_metadata.txt. The corpus has
    611,829 trials; 533,928 of them belong to the phase eval.
    """,
    counts={"eval": Counts(611829)},
    # These numbers are from the paper.
    key_counts={
        "progress": Counts(59325, 5768, 53557),
        "eval": Counts(533928, 14869, 519059),
        "hidden": Counts(18576, 1980, 16596),
    },
    licence="ODC-By 1.0",
    source="https://arxiv.org/abs/2210.02437",
    downloads=(
        Download("https://zenodo.org/records/4835108", "audio and protocol"),
        Download(
            "https://www.asvspoof.org/asvspoof2021/DF-keys-full.tar.gz",
            "keys",
            digests={"md5": "dabbc5628de4fcef53036c99ac7ab93a"},
        ),
    ),
    obtain={
        "audio": "all four archives of https://zenodo.org/records/4835108, unpacked into one folder",
        "protocol": "ASVspoof2021.DF.cm.eval.trl.txt in the archives of the audio, https://zenodo.org/records/4835108",
        "keys": "https://www.asvspoof.org/asvspoof2021/DF-keys-full.tar.gz",
    },
)
