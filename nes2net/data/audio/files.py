"""Tell recordings from other files by their names, and list the recordings in a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from nes2net.lib.errors import InputError
from nes2net.lib.output.terminal import note_once
from nes2net.lib.storage.files import AnyPath

#: Suffixes of recordings, in lower case.
AUDIO_SUFFIXES = frozenset(
    (
        ".wav .wave .bwf .rf64 .w64 .aiff .aif .aifc .au .snd .caf .sph .nist .flac .tta .wv .ape "
        ".mp3 .mp2 .mpga .aac .ac3 .eac3 .dts .loas .amr .awb .ogg .oga .ogv .opus .spx "
        ".m4a .m4b .mp4 .m4v .mov .3gp .3g2 .webm .mkv .mka .avi .flv .wma .wmv .asf"
    ).split()
)

# Suffixes of lists and texts, which often lie beside recordings. The note of :func:`list_recordings` does not count
# these files.
_LISTS_AND_NOTES = frozenset(".txt .csv .tsv .json .yaml .yml .md .html .rttm .textgrid .lab .trn".split())


def is_recording(name: str) -> bool:
    """Whether ``name`` is that of a recording, and not of a hidden file like ``._1.wav`` on macOS.

    >>> is_recording("LA_E_1.FLAC"), is_recording("._1.wav"), is_recording("meta.csv")
    (True, False, False)
    """
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES


def recordings_below(folder: Path) -> list[Path]:
    """List the recordings in ``folder`` and its subfolders, sorted by the parts of their paths.

    Only names count: a pipe or a broken link fails when it is read. A missing folder has no
    recordings.

    Raises:
        InputError: if a folder cannot be listed.
    """
    return [path for path in _files_below(folder) if is_recording(path.name)]


def _files_below(folder: Path) -> list[Path]:
    files: list[Path] = []
    for parent, _, names in walk(folder):
        files += [Path(parent, name) for name in names]
    return sorted(files)


def walk(folder: AnyPath) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk through ``folder`` like :func:`os.walk`; a missing folder counts as empty.

    Links are followed, but each folder is visited once. Subfolders are sorted, links last.

    Raises:
        InputError: if a folder cannot be listed, for example because of its permissions.
    """

    def raise_unlistable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise InputError(
                f"folder {error.filename} cannot be listed ({error.strerror}): make it readable"
            ) from error

    visited = {*Path(folder).resolve().parents}  # a link to one of these would lead in a circle
    for parent, subfolders, names in os.walk(folder, onerror=raise_unlistable, followlinks=True):
        real_parent = Path(parent).resolve()
        if real_parent in visited:
            subfolders.clear()
            continue
        visited.add(real_parent)
        subfolders.sort(key=lambda name: (Path(parent, name).is_symlink(), name))
        yield parent, subfolders, names


def list_recordings(folder: Path) -> list[Path]:
    """List :func:`recordings_below`; print a note about other files."""
    files = _files_below(folder)
    recordings = [file for file in files if is_recording(file.name)]
    note_skipped_files(folder, (file.name for file in files if not is_recording(file.name)))
    return recordings


def note_skipped_files(folder: Path, names: Iterable[str], suffixes: str = "one of audio") -> None:
    """Print, once per process, how many files have each of the five most common unread suffixes.

    Args:
        names: the files in ``folder`` that are not read; lists, texts and hidden files do not
            count.
        suffixes: the suffixes that are read, for the note.
    """
    passed_over: Counter[str] = Counter()
    for name in names:
        suffix = os.path.splitext(name)[1].lower()
        if not os.path.basename(name).startswith(".") and suffix not in _LISTS_AND_NOTES:
            passed_over[suffix or "no suffix"] += 1
    if passed_over:
        counts = ", ".join(f"{count:,} {suffix}" for suffix, count in passed_over.most_common(5))
        note_once(
            f"skipped in {folder}, because the suffix is not {suffixes}: {counts}; to read such a file, name it itself or "
            "in a list, or rename it"
        )


def expand_folders(names: Iterable[str]) -> list[Path]:
    """Replace each folder among ``names`` by the recordings in it and its subfolders.

    Raises:
        InputError: if a folder holds no recordings or cannot be listed.
    """
    files: list[Path] = []
    for path in map(Path, names):
        if not os.path.isdir(path):  # a missing file is kept, too, and raises an error when it is read
            files.append(path)
            continue
        recordings = list_recordings(path)
        if not recordings:
            raise InputError(
                f"{path}: holds no audio files ({', '.join(sorted(AUDIO_SUFFIXES))}): name a folder of recordings"
            )
        files += recordings
    return files
