"""MLAAD, with M-AILABS as its bona fide part.

Müller et al., "MLAAD: The Multi-Language Audio Anti-Spoofing Dataset", IJCNN 2024.

Layout: ``<root>/fake/LANGUAGE/MODEL/*.wav`` and in each of these folders ``meta.csv``, its fields
separated by ``|``: ``path`` (below the root), ``original_file`` (a recording of M-AILABS, below
its folder), ``language``, ``model_name``, ``architecture`` and others. The bona fide trials are
the recordings of M-AILABS that the lists name, each once, if its folder is there: ``real``,
or ``M-AILABS`` or ``m-ailabs``, beside ``fake``, holding ``en_US/by_book/…``. Without it all
trials are spoofed. An ``attack`` is a model, its ``attack_type`` the architecture; the language
of a bona fide trial is its folder's, such as ``en_US``.

The corpus has no parts: all is ``eval``. It grows with each edition, so there are no numbers
here, and a figure on it means something only together with its edition. Protocols for source
tracing that others publish are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from nes2net.corpora import protocol as files
from nes2net.corpora.corpus import Corpus, Download
from nes2net.corpora.layout import Table
from nes2net.corpora.trial import BONAFIDE, SPOOF, Trial

_TITLE = "MLAAD"
_BONAFIDE = ("real", "M-AILABS", "m-ailabs")
_REMEDY = "give `root` the folder that holds fake"
# The path of the original is read as the speaker first, because a trial has no field for it.
_TABLE = Table(
    "path",
    {"speaker": "original_file", "language": "language", "attack": "model_name", "attack_type": "architecture"},
    delimiter="|",
)


def trials(root: str | Path, split: str = "eval", *, protocols: str | Path | None = None) -> list[Trial]:
    """The trials in the order of the lists, the spoofed ones first, with the paths of their audio.

    Args:
        root: The folder that holds ``fake`` and, for the bona fide trials, ``real``.
        split: ``"eval"`` (also ``"test"``), the only one.
        protocols: The folder that holds ``fake`` with the lists, if it is not ``root``.

    Raises:
        InputError: if the split is unknown, a folder or list is missing, or a line is malformed.
    """
    files.corpus_root(root)
    return read_protocol(find_protocol(root, split, protocols), split, find_audio(root, split))


def keys(path: str | Path, phase: str | None = None) -> list[Trial]:
    """The labelled trials without audio, for evaluation.

    Args:
        path: The folder of the corpus. A single ``meta.csv`` has no bona fide trials.
        phase: ``"eval"`` (also ``"test"``) or None: the corpus has no phases.

    Raises:
        InputError: if the phase is unknown, no list is there, or a line is malformed.
    """
    path = Path(path)
    split = files.known_split(phase or "eval", ("eval",), _TITLE)
    return read_protocol(path if path.is_file() else find_protocol(path, split))


def find_protocol(root: str | Path, split: str = "eval", protocols: str | Path | None = None) -> Path:
    """The folder ``fake`` of the lists, or :class:`~nes2net.corpora.protocol.NotFound`."""
    files.known_split(split, ("eval",), _TITLE)
    folders = [Path(root)] if protocols is None else [Path(protocols), Path(root)]
    return files.first_folder(
        [folder / inner for folder in folders for inner in ("fake", "MLAAD/fake")],
        what=f"lists of {_TITLE}",
        remedy=_REMEDY,
    )


def find_audio(root: str | Path, split: str = "eval") -> Path:
    """The folder of ``fake``, or :class:`~nes2net.corpora.protocol.NotFound`."""
    return find_protocol(root, split).parent


def read_protocol(path: Path, split: str | None = None, audio: Path | None = None) -> list[Trial]:
    """The trials of one ``meta.csv``, or of those below the folder ``path`` (``fake``).

    :class:`InputError` names the file and line that is malformed.
    """
    if path.is_file():
        return files.checked_trials(_read([path], None, audio), path)
    lists = sorted(path.glob("*/*/meta.csv"))
    if not lists:
        raise files.NotFound(f"{path}: holds no LANGUAGE/MODEL/meta.csv; {_REMEDY}", [path])
    bonafide = next((path.parent / name for name in _BONAFIDE if (path.parent / name).is_dir()), None)
    return files.checked_trials(_read(lists, bonafide, audio), path)


def _read(lists: list[Path], bonafide: Path | None, audio: Path | None) -> Iterator[Trial]:
    originals: dict[str, None] = {}
    for path in lists:
        for line, trial in enumerate(_TABLE.read(path, "eval", audio), start=2):
            if trial.speaker is not None:
                files.checked_path(trial.speaker, path, line)
                originals[trial.speaker] = None
            yield replace(trial, label=SPOOF, speaker=None)
    if bonafide is not None:
        for original in originals:
            parts = PurePosixPath(original).parts
            yield Trial(
                files.id_of(PurePosixPath("real", *parts)),
                None if audio is None else bonafide.joinpath(*parts),
                BONAFIDE,
                # en_US/by_book/female/SPEAKER/BOOK/wavs/NAME.wav
                speaker=parts[3] if len(parts) > 4 else None,
                language=parts[0],
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
    obtain={
        "audio": "https://huggingface.co/datasets/mueller91/MLAAD; M-AILABS, unpacked into the folder real beside fake, from "
        "https://github.com/i-celeste-aurora/m-ailabs-dataset",
        "protocol": "meta.csv in each folder of the audio, https://huggingface.co/datasets/mueller91/MLAAD",
    },
    downloads=(Download(url="hub:mueller91/MLAAD", what="the spoofed recordings and their lists"),),
    licence="CC BY-NC 4.0; M-AILABS has terms of its own, which allow any use",
    source="https://arxiv.org/abs/2401.09512",
)
