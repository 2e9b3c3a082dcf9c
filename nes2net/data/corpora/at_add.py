"""AT-ADD, the challenge of all-type audio deepfake detection at ACM Multimedia 2026."""

from __future__ import annotations

from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, SPOOF


def _declare_track(number: int) -> ListedCorpus:
    folder = f"T{number}"
    parts = {}
    for split in ("train", "dev", "eval"):
        parts[split] = Files(
            protocols=(f"{split}.csv",),
            folders=(f"{folder}/label", "label"),
            audio=(f"{folder}/{split}", split),
            unlisted=".wav" if split == "eval" else "",
        )
    page = f"https://huggingface.co/datasets/xieyuankun/AT-ADD-Track{number}"
    return ListedCorpus(
        title=f"AT-ADD, track {number}",
        notes="""
        Xie et al., "AT-ADD: All-Type Audio Deepfake Detection Challenge Evaluation Plan", arXiv
        2604.08184. Track 1 is speech, from many devices and channels; track 2 is speech, sound,
        singing and music.

        Layout, as in the organisers' baseline: the lists <root>/T1/label/{train,dev}.csv with the
        columns name (a file) and label (real or fake), and the files in <root>/T1/{train,dev,eval}.
        Track 2 has the same layout in <root>/T2. The evaluation was published without labels, so
        all its WAV files are trials. If there is a list eval.csv beside the other lists, this list
        is read.

        The measure of track 1 is macro-F1 (nes2net evaluate --metric). The measure of track 2 is
        the mean of macro-F1 over the four types of audio. This mean is not computed here, because
        the lists do not state the type of audio.
        """,
        rows=Columns(file="name", fields={"label": "label"}, labels={"real": BONAFIDE, "fake": SPOOF}),
        parts=parts,
        obtain={"audio": f"{page} (after registration)", "protocol": "the folder label in the same place"},
        licence=f"as stated on {page}",
        source="https://arxiv.org/abs/2604.08184",
    )


TRACK_1 = _declare_track(1)
TRACK_2 = _declare_track(2)
