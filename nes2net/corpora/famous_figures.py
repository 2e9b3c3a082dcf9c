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
from nes2net.corpora.corpus import Corpus, Counts
from nes2net.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.errors import InputError, shown

_TITLE = "Famous Figures"
_LIST = "protocol.txt"
_COLUMNS = ("Speaker", "Source", "Label", "AudioPath")
_LABELS = {"bonafide": BONAFIDE, "bona-fide": BONAFIDE, "spoof": SPOOF}
_BONAFIDE = "Bonafide"
_FOLDERS = (".", "famousfigures")


def trials(root: str | Path, split: str = "eval", *, protocols: str | Path | None = None) -> list[Trial]:
    """The trials in the order of the list, with the paths of their audio.

    Args:
        root: The folder that holds the folders of the speakers.
        split: ``"eval"`` (also ``"test"``), the only one.
        protocols: ``protocol.txt`` or its folder, if it is not in ``root``.

    Raises:
        InputError: if the split is unknown, the list is missing, or a line is malformed.
    """
    files.corpus_root(root)
    return read_protocol(find_protocol(root, split, protocols), split, find_audio(root, split))


def keys(path: str | Path, phase: str | None = None) -> list[Trial]:
    """The labelled trials without audio, for evaluation.

    Args:
        path: ``protocol.txt``, or the folder that holds it.
        phase: ``"eval"`` (also ``"test"``) or None: the corpus has no phases.

    Raises:
        InputError: if the phase is unknown, the list is missing, or a line is malformed.
    """
    split = files.known_split(phase or "eval", ("eval",), _TITLE)
    return read_protocol(Path(path) if Path(path).is_file() else find_protocol(path, split), split)


def find_protocol(root: str | Path, split: str = "eval", protocols: str | Path | None = None) -> Path:
    """``protocol.txt``, or :class:`~nes2net.corpora.protocol.NotFound`."""
    files.known_split(split, ("eval",), _TITLE)
    if protocols is not None and Path(protocols).is_file():
        return Path(protocols)
    return files.first_protocol(root, protocols, _FOLDERS, (_LIST,), _TITLE)


def find_audio(root: str | Path, split: str = "eval") -> Path:
    """The folder of the speakers, or :class:`~nes2net.corpora.protocol.NotFound`."""
    files.known_split(split, ("eval",), _TITLE)
    folders = [Path(root) / folder for folder in reversed(_FOLDERS)]
    return files.first_folder(folders, what=f"audio of {_TITLE}", remedy="give `root` the folder of the speakers")


def read_protocol(path: Path, split: str | None = None, audio: Path | None = None) -> list[Trial]:
    """The trials of the list. :class:`InputError` names the line that is malformed."""
    return files.checked_trials(_read(path, audio), path)


def _read(path: Path, audio: Path | None) -> Iterator[Trial]:
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


CORPUS = Corpus(
    title=_TITLE,
    splits=("eval",),
    trials=trials,
    keys=keys,
    find_protocol=find_protocol,
    find_audio=find_audio,
    read_protocol=read_protocol,
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
