"""CtrSVDD, singing voice deepfakes."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import NDArray

from nes2net.data.audio.waveform import IN_THE_WILD_SAMPLES
from nes2net.data.corpora.corpus import Counts, Download
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trials
from nes2net.metrics.tables import CTRSVDD_DCF, OfficialRow, ctrsvdd_rows

_BONAFIDE = (
    "Oniku Kurumi, Ofuton P, Kiritan and JVS-MuSiC are not in the archives: get them from their owners and cut them with "
    "segment.py of https://github.com/SVDDChallenge/CtrSVDD_Utils"
)


def _files(protocols: Sequence[str], folders: Sequence[str], unlisted: str = "") -> Files:
    audio: list[str] = []
    for folder in folders:
        # An archive that is unpacked into a folder of its own name gives train_set/train_set.
        audio += [f"{folder}/{folder}", folder]
    return Files(protocols, audio, (".", *folders), unlisted=unlisted)


def official_table(trials: Trials, scores: NDArray) -> list[OfficialRow]:
    """Compute the table of the organisers' ``EER_minDCF.py`` from labelled trials and scores (N,).

    Sources keep the order in which they first occur.
    """
    return ctrsvdd_rows(
        scores,
        [trial.label == BONAFIDE for trial in trials],
        [str(trial.source) for trial in trials],
        [trial.attack for trial in trials],
    )


CORPUS = ListedCorpus(
    title="CtrSVDD",
    notes="""
    Zang et al., "CtrSVDD: A Benchmark Dataset and Baseline Analysis for Controlled Singing Voice
    Deepfake Detection", Interspeech 2024.

    Layout: <root>/{train,dev,test}_set/ID.flac and {train,dev,test}.txt with six fields a line:
    source set, singer, utterance, -, attack (- or A01–A14), bonafide or deepfake. The splits have
    84,404, 43,625 and 92,769 trials.

    The evaluation set was first published without labels. If the list of this set is missing, all
    files of the set are unlabelled trials, sorted by name. A listed file that is missing is an
    error; the published code trains on four seconds of silence instead (deviation 16). The
    published results leave out attack A14. The results "w/o ACE" also leave out the source set
    acesinger.
    """,
    rows=Columns(
        "source set, singer, utterance, -, attack, label",
        labels={"bonafide": BONAFIDE, "deepfake": SPOOF},
        fields={"source": "source set", "speaker": "singer"},
    ),
    parts={
        "train": _files(["train.txt"], ["train_set", "train"]),
        "dev": _files(["dev.txt"], ["dev_set", "dev"]),
        "eval": _files(
            ["test.txt", "test_labels.txt", "test_set.txt", "eval.txt"],
            ["test_set", "test", "eval_set", "eval"],
            unlisted=".flac",
        ),
    },
    official_table=official_table,
    test_samples=IN_THE_WILD_SAMPLES,
    eer_method="sklearn",
    min_dcf_options=CTRSVDD_DCF,
    min_dcf_costs="CtrSVDD, ½ FRR + ½ FAR",
    excluded={"attack": ("A14",)},
    # The numbers are from Table 1 of the challenge's evaluation plan (train, dev) and from the paper (eval).
    counts={
        "train": Counts(84404, 12169, 72235),
        "dev": Counts(43625, 6547, 37078),
        "eval": Counts(92769, 13596, 79173),
    },
    licence="CC BY-NC-ND 4.0; some bona fide recordings under stricter licences of their owners",
    source="https://arxiv.org/abs/2406.02438",
    downloads=(
        Download("https://zenodo.org/records/10467648", "training and development"),
        Download("https://zenodo.org/records/10742049", "evaluation, audio"),
        Download("https://zenodo.org/records/12703261", "evaluation, labels"),
    ),
    by_hand=(_BONAFIDE,),
    obtain={
        "audio": f"https://zenodo.org/records/10467648 (train, dev), https://zenodo.org/records/10742049 (test); {_BONAFIDE}",
        "protocol": "train.txt and dev.txt from https://zenodo.org/records/10467648; the labels of the test set, as test.txt, from "
        "https://zenodo.org/records/12703261",
    },
)
