"""SpoofCeleb."""

from nes2net.data.corpora.corpus import Counts
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, SPOOF


def _files(folder: str) -> Files:
    return Files(
        protocols=(f"{folder}.csv",),
        audio=(f"flac/{folder}", f"spoofceleb/flac/{folder}"),
        folders=("metadata", "spoofceleb/metadata", "."),
    )


CORPUS = ListedCorpus(
    title="SpoofCeleb",
    notes="""
    Jung et al., "SpoofCeleb: Speech Deepfake Detection and SASV In The Wild", IEEE Open Journal of
    Signal Processing 6, 2025.

    Layout: <root>/metadata/{train,development,evaluation}.csv with columns file,speaker,attack, and
    the files in <root>/flac/{train,development,evaluation}/ATTACK/SPEAKER/NAME.flac. In the
    archive, both folders lie in spoofceleb. Attack a00 is bona fide. The id of a trial is the path
    of its file below the folder of the part, without suffix. Ids differ between parts, because the
    parts have no speaker in common. The parts have 2,540,421, 55,741 and 91,130 trials.
    """,
    rows=Columns(
        file="file",
        fields={"label": "attack", "attack": "attack", "speaker": "speaker"},
        labels={"a00": BONAFIDE},
        otherwise=SPOOF,
        words={"attack": {"a00": None}},
    ),
    parts={"train": _files("train"), "dev": _files("development"), "eval": _files("evaluation")},
    counts={
        "train": Counts(2540421, 230948, 2309473),
        "dev": Counts(55741, 7963, 47778),
        "eval": Counts(91130, 9113, 82017),
    },
    counts_from="the numbers that DeepFense publishes of the lists",
    obtain={
        "audio": "the parts of spoofceleb.tar.gz from https://huggingface.co/datasets/jungjee/spoofceleb (after agreeing to its "
        "terms), joined by `cat spoofceleb.tar.gz* | tar xz`",
        "protocol": "metadata in the archive of the audio, https://huggingface.co/datasets/jungjee/spoofceleb",
    },
    licence="see https://jungjee.github.io/spoofceleb; the recordings are from VoxCeleb1",
    source="https://arxiv.org/abs/2409.17285",
)
