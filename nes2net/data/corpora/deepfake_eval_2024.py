"""Deepfake-Eval-2024, the audio part."""

from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, SPOOF

_FILES = Files(
    protocols=("audio-metadata-publish.csv", "audio-metadata.csv", "metadata.csv"),
    audio=("audio-data",),
)

CORPUS = ListedCorpus(
    title="Deepfake-Eval-2024",
    notes="""
    Chandra et al., "Deepfake-Eval-2024: A Multi-Modal In-the-Wild Benchmark of Deepfakes Circulated
    in 2024", 2025.

    Layout: the list is <root>/audio-metadata-publish.csv (also audio-metadata.csv, metadata.csv).
    Its columns include Filename, Ground Truth (Real or Fake) and Finetuning Set (Train or Test).
    The files, in many formats, are in <root>/audio-data. Figures are published for Test, which is
    the split eval here. Rows without a part, or with unknown truth, are skipped, as in other
    people's evaluations.

    Some recordings last many minutes. The detectors of the paper, and later detectors compared with
    them, average the scores of windows. Whole recordings or a track score more than the first four
    seconds. No numbers of trials are given here, because the paper does not state them, and getting
    a copy requires an agreement.
    """,
    rows=Columns(
        file="Filename",
        fields={"label": "Ground Truth", "phase": "Finetuning Set"},
        labels={"Real": BONAFIDE, "Fake": SPOOF, "Unknown": None, "": None},
        phases={"Train": "train", "Test": "eval", "": None},
    ),
    parts={"train": _FILES, "eval": _FILES},
    obtain={
        "audio": "the folder audio-data of https://huggingface.co/datasets/nuriachandra/Deepfake-Eval-2024 (after agreeing to its terms)",
        "protocol": "audio-metadata-publish.csv of https://huggingface.co/datasets/nuriachandra/Deepfake-Eval-2024",
    },
    licence="CC BY-SA 4.0, harmful uses forbidden; access on request",
    source="https://arxiv.org/abs/2503.02857",
)
