"""Famous Figures: public figures and their deepfakes."""

from __future__ import annotations

from pathlib import PurePosixPath

from nes2net.data.corpora.corpus import Counts
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.lib.errors import InputError, short_repr

_BONAFIDE = "Bonafide"
_BONAFIDE_WORDS = ("bonafide", "Bonafide", "BONAFIDE", "bona-fide", "Bona-fide", "Bona-Fide", "BONA-FIDE")


def _path_below_speakers(path: str) -> str:
    """Return SPEAKER/SOURCE/NAME.wav, with ``Bonafide`` for the source ``-``."""
    levels = PurePosixPath(path).parts[-3:]
    if len(levels) < 3 or ".." in levels or levels[0] == "/":
        raise InputError(f"expected a path SPEAKER/SOURCE/NAME.wav, found {short_repr(path)}; correct the list")
    speaker, source, name = levels
    if source == "-":
        source = _BONAFIDE
    return f"{speaker}/{source}/{name}"


CORPUS = ListedCorpus(
    title="Famous Figures",
    notes="""
    Ali et al., "Collecting, Curating, and Annotating Good Quality Speech deepfake dataset for
    Famous Figures: Process and Challenges", Interspeech 2025.

    Layout: <root>/protocol.txt, separated by tabs, with the columns AudioName, Speaker, Source (the
    system, - for bona fide), Label and AudioPath, and the files in <root>/SPEAKER/SOURCE/NAME.wav.
    Bona fide files are in SPEAKER/Bonafide. An AudioPath is an absolute path on the authors'
    machine, so only its last three parts are used. The id of a trial is SPEAKER/SOURCE/NAME,
    because names are not unique without speaker and source. The corpus has no parts: all trials are
    eval. Sampling rates differ between systems (16, 24 and 44.1 kHz), so the class could be guessed
    from the rate alone. For scoring, all audio is resampled to 16 kHz.

    The layout was inferred from other people's programs, not from the corpus. This module does not
    read the copy on the Hugging Face hub (issf/famousfigures, on request), which has other columns,
    in a Parquet file for each speaker. People who evaluate on the corpus report 348,135 trials.
    """,
    rows=Columns(
        file="AudioPath",
        fields={"speaker": "Speaker", "attack": "Source", "label": "Label"},
        labels={**dict.fromkeys(_BONAFIDE_WORDS, BONAFIDE), **dict.fromkeys(("spoof", "Spoof", "SPOOF"), SPOOF)},
        words={"attack": {_BONAFIDE: None}},
        delimiter="\t",
        inner=_path_below_speakers,
    ),
    parts={
        "eval": Files(
            protocols=["protocol.txt"],
            folders=(".", "famousfigures"),
            audio=("famousfigures", "."),
            remedy="give `root` the folder of the speakers",
        )
    },
    counts={"eval": Counts(348135)},
    counts_from="those who evaluate on it",
    obtain={
        "audio": "https://huggingface.co/datasets/issf/famousfigures (on request), or from its authors",
        "protocol": "protocol.txt beside the audio",
    },
    by_hand=(
        "ask for access on https://huggingface.co/datasets/issf/famousfigures",
        "there it is in Parquet files by speaker; write each row as SPEAKER/SOURCE/NAME.wav, and the list protocol.txt, as "
        "`nes2net info famous_figures` says, or ask its authors for the files",
    ),
    licence="see https://huggingface.co/datasets/issf/famousfigures",
    source="https://arxiv.org/abs/2507.00324",
)
