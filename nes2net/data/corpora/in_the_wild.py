"""In-the-Wild."""

from __future__ import annotations

from nes2net.data.audio.waveform import IN_THE_WILD_SAMPLES
from nes2net.data.corpora.corpus import Counts, Download
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, SPOOF

_FOLDER = "release_in_the_wild"
CORPUS = ListedCorpus(
    title="In-the-Wild",
    notes="""
    Müller et al., "Does Audio Deepfake Detection Generalize?", Interspeech 2022.

    Layout: release_in_the_wild/*.wav and, in the same folder, meta.csv (file,speaker,label with
    label bona-fide or spoof). The corpus has 31,779 trials; 19,963 of them are bona fide. The id of
    a trial is the name of its file without suffix. Every recording in the folder is a trial;
    meta.csv only states labels.
    """,
    rows=Columns(
        file="file", fields={"speaker": "speaker", "label": "label"}, labels={"bona-fide": BONAFIDE, "spoof": SPOOF}
    ),
    parts={
        "eval": Files(
            protocols=["meta.csv"],
            folders=(".", _FOLDER),
            audio=(_FOLDER, "."),
            unlisted=".wav",
        )
    },
    files_are_trials=True,
    test_samples=IN_THE_WILD_SAMPLES,
    eer_method="interpolated",  # the method of the published script
    counts={"eval": Counts(31779, 19963, 11816)},
    # Digest of the published meta.csv.
    key_digests={"eval": "a07ce3031068bda01f17cd682b290218c50545b335c645bd446f16e691dd3a1b"},
    licence="CC BY-SA 4.0 (stated on the Hugging Face hub)",
    source="https://arxiv.org/abs/2203.16263",
    downloads=(
        Download(
            "https://huggingface.co/datasets/mueller91/In-The-Wild/resolve/main/release_in_the_wild.zip",
            "audio and meta.csv",
        ),
    ),
    obtain={
        "audio": "https://deepfake-total.com/in_the_wild",
        "protocol": "meta.csv in the archive of the audio, https://deepfake-total.com/in_the_wild",
    },
)
