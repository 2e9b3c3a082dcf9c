"""Famous Figures: public figures and their deepfakes.

Ali et al., "Collecting, Curating, and Annotating Good Quality Speech deepfake dataset for Famous
Figures: Process and Challenges", Interspeech 2025.

Layout: ``<root>/protocol.txt``, separated by tabs, with the columns ``AudioName``, ``Speaker``, ``Source``
(the system, ``-`` for bona fide), ``Label`` and ``AudioPath``, and the files in
``<root>/SPEAKER/SOURCE/NAME.wav``; bona fide ones in ``SPEAKER/Bonafide``. Of ``AudioPath``, which is absolute
on the authors' machine, the last three parts count. An id is ``SPEAKER/SOURCE/NAME``, because names are
not unique without them. The corpus has no parts: all is ``eval``. Rates differ between systems
(16, 24 and 44.1 kHz), which tells classes apart; scores are of audio at 16 kHz.

The layout was put together from programs of others, not from the corpus. Its copy on the Hugging
Face hub (issf/famousfigures, on request) is in Parquet by speaker with columns of its own, which is
not read here. 348,135 trials, say those who evaluate on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from nes2net.corpora import protocol as files
from nes2net.corpora.corpus import Counts
from nes2net.corpora.layout import ListedCorpus, Part
from nes2net.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.errors import InputError, shown

_COLUMNS = ("Speaker", "Source", "Label", "AudioPath")
_LABELS = {"bonafide": BONAFIDE, "bona-fide": BONAFIDE, "spoof": SPOOF}
_BONAFIDE = "Bonafide"


def _rows(path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
    rows = files.read_csv(path, "\t")
    line, header = next(rows, (1, []))
    if set(_COLUMNS) - set(header):
        raise InputError(
            f"{path}, line {line}: expected the columns {', '.join(_COLUMNS)}, found {shown(', '.join(header))}"
        )
    speaker, source, label, place = (header.index(name) for name in _COLUMNS)
    for line, row in rows:
        parts = PurePosixPath(row[place]).parts[-3:]
        if len(parts) < 3 or ".." in parts or parts[0] == "/":
            raise InputError(f"{path}, line {line}: expected a path SPEAKER/SOURCE/NAME.wav, found {shown(row[place])}")
        inner = PurePosixPath(parts[0], _BONAFIDE if parts[1] == "-" else parts[1], parts[2])
        yield Trial(
            files.id_of(inner),
            None if audio is None else audio / inner,
            files.checked_word(row[label].strip().lower(), _LABELS, "label", path, line),
            row[speaker],
            attack=files.or_none(row[source], _BONAFIDE),
            phase="eval",
        )


CORPUS = ListedCorpus(
    title="Famous Figures",
    rows=_rows,
    parts={
        "eval": Part(
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
