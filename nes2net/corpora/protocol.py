"""Reading the text files that corpora come with: finding them, splitting their lines, checking what they say."""

from __future__ import annotations

import csv
import gc
import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from nes2net.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.errors import InputError, listed

#: The part of a corpus that is all of it, whether it names parts or not.
WHOLE = "all"
ASVSPOOF_LABELS = {"bonafide": BONAFIDE, "spoof": SPOOF}


class NotFound(InputError):
    """A file or folder was in none of the places where it may be; ``tried`` names them."""

    def __init__(self, message: str, tried: Sequence[Path] = ()) -> None:
        super().__init__(message)
        self.tried = list(tried)


def corpus_root(root: str | Path) -> Path:
    """``root`` as a path; :class:`NotFound` if it is no folder."""
    root = Path(root)
    if not root.is_dir():
        raise NotFound(f"corpus folder {root} not found; give `root` the folder of the corpus", [root])
    return root


def first_file(candidates: Iterable[Path], *, what: str, remedy: str) -> Path:
    """The first of ``candidates`` that is a file; :class:`NotFound` naming all of them and the ``remedy`` if none is."""
    return _first(candidates, Path.is_file, what, remedy)


def first_folder(candidates: Iterable[Path], *, what: str, remedy: str) -> Path:
    """The first of ``candidates`` that is a folder; :class:`NotFound` naming all of them and the ``remedy`` if none is."""
    return _first(candidates, Path.is_dir, what, remedy)


def _first(candidates: Iterable[Path], exists: Callable[[Path], bool], what: str, remedy: str) -> Path:
    tried = list(dict.fromkeys(candidates))
    for path in tried:
        if exists(path):
            return path
    raise NotFound(f"{what} not found; looked for {', '.join(map(str, tried))}; {remedy}", tried)


_digests: ContextVar[dict[Path, str] | None] = ContextVar("digests", default=None)


@contextmanager
def recorded_digests() -> Iterator[dict[Path, str]]:
    """A dictionary path → SHA-256 (hexadecimal) that fills with each file that :func:`read_text` reads: of the very bytes it read."""
    digests: dict[Path, str] = {}
    token = _digests.set(digests)
    try:
        yield digests
    finally:
        _digests.reset(token)


def read_text(path: Path) -> str:
    """The text of ``path`` (UTF-8, with or without a byte-order mark); :class:`InputError` when it cannot be read."""
    try:
        content = path.read_bytes()
        if (digests := _digests.get()) is not None:
            digests[path] = hashlib.sha256(content).hexdigest()
        text = content.decode("utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a text file") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not a text file (byte {error.start} is not UTF-8); give the unpacked text file"
        ) from error


def read_rows(path: Path, num_fields: int, fields: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each line of ``path`` that is not blank; fields are separated by white space.

    A line with another number of fields than ``num_fields`` raises :class:`InputError`; ``fields`` names them in its message.
    """
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        row = line.split()
        if len(row) == num_fields:
            yield number, row
        elif row:
            plural = "" if num_fields == 1 else "s"
            raise InputError(
                f"{path}, line {number}: expected {num_fields} field{plural} ({fields}), found {len(row)}: {line.strip()[:120]!r}"
            )


def read_csv(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and fields, of each row of ``path``; rows of no fields too.

    :class:`InputError` naming file and line where quotation marks do not match, or a field is longer than any that is meant.
    """
    rows = csv.reader(read_text(path).splitlines(), delimiter=delimiter, strict=True)
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{path}, line {line}: no row of a CSV file ({error}); close or double its quotation marks"
            ) from error
        yield line, row


def checked_id(utterance: str, path: Path, line: int) -> str:
    """``utterance``, unless as part of a path it would lead out of the corpus folder; then :class:`InputError`."""
    if "/" in utterance or "\\" in utterance or ".." in utterance:
        raise InputError(
            f"{path}, line {line}: {utterance!r} is no utterance id (no path separators and no '..' are allowed)"
        )
    return utterance


def checked_word(word: str, known: Mapping[str, str] | Sequence[str], what: str, path: Path, line: int) -> str:
    """What ``word`` means by ``known`` (or itself, if that is a sequence); a word that is not there is :class:`InputError`."""
    if word not in known:
        raise InputError(f"{path}, line {line}: unknown {what} {word!r}; expected one of {', '.join(known)}")
    return known[word] if isinstance(known, Mapping) else word


def checked_float(number: str, path: Path, line: int) -> float:
    """``number`` as Python reads it; :class:`InputError` naming file and line if it is none."""
    try:
        return float(number)
    except ValueError:
        raise InputError(f"{path}, line {line}: expected a number as score, found {number!r}") from None


def or_none(field: str, *nothing: str) -> str | None:
    """``field``, or None where it is ``-`` or one of ``nothing``.

    >>> or_none("A07", "bonafide"), or_none("-"), or_none("bonafide", "bonafide")
    ('A07', None, None)
    """
    # Interned: the few different words of 600,000 lines are kept, and sent to other processes, once.
    return None if field == "-" or field in nothing else sys.intern(field)


def keys_of_splits(
    path: str | Path,
    phase: str | None,
    title: str,
    names: Mapping[str, Sequence[str]],
    find: Callable[[Path, str], Path],
    read: Callable[[Path, str | None], list[Trial]],
) -> list[Trial]:
    """The labelled trials of the protocol ``path``, or of the protocols below it: of the split ``phase``, or of all that are there.

    ``names`` holds split → file names of its protocol, by which a file is known; ``find`` gives a split's protocol or raises
    :class:`NotFound`; ``read`` reads it.
    """
    path = Path(path)
    if phase is not None:
        check_split(phase, tuple(names), title)
    if path.is_file():
        split = next((split for split, of_split in names.items() if path.name in of_split), None)
        return select_phase(read(path, split), phase)
    if phase is not None:
        return read(find(path, phase), phase)
    found, missing = [], []
    for split in names:
        try:
            found += read(find(path, split), split)
        except NotFound as error:
            missing.append(error)
    if not found:
        raise missing[-1]
    return checked_trials(found, path)


def checked_trials(trials: Iterable[Trial], path: Path) -> list[Trial]:
    """``trials`` as a list; :class:`InputError` if there are none, or two with one id. ``path`` is where they were read."""
    collecting = gc.isenabled()
    gc.disable()  # the garbage collector would go through all the trials made so far again and again
    try:
        trials = list(trials)
    finally:
        if collecting:
            gc.enable()
    if not trials:
        raise InputError(f"{path}: holds no trials; give the protocol or key file of the corpus")
    if len({trial.id for trial in trials}) < len(trials):
        twice = [id for id, count in Counter(trial.id for trial in trials).items() if count > 1]
        raise InputError(f"{path}: {len(twice)} utterances stand in it more than once: {listed(twice)}")
    return trials


def canonical_phase(phase: str) -> str:
    """One name for what corpora name differently.

    The key files of ASVspoof 2021 write ``hidden`` where its scripts write ``hidden_track``; CtrSVDD calls its evaluation part
    ``test``.

    >>> canonical_phase("hidden_track"), canonical_phase("test"), canonical_phase("progress")
    ('hidden', 'eval', 'progress')
    """
    return {"hidden_track": "hidden", "test": "eval"}.get(phase, phase)


def check_split(split: str, splits: Sequence[str], title: str) -> None:
    """:class:`InputError` if the corpus ``title`` has no ``split``."""
    if split not in splits:
        raise InputError(f"{title} has no split '{split}'; it has {', '.join(splits)}")


def known_split(split: str, splits: Sequence[str], title: str) -> str:
    """The corpus's own name of ``split``; :class:`InputError` if it has none such.

    >>> known_split("test", ("train", "eval"), "CtrSVDD")
    'eval'
    """
    split = canonical_phase(split)
    check_split(split, splits, title)
    return split


def select_phase(trials: Sequence[Trial], phase: str | None) -> list[Trial]:
    """The trials of ``phase`` (None and ``"all"``: of all). A trial that names no phase belongs to every one.

    Raises :class:`InputError`, with the phases there are, when none is left.
    """
    if phase in (None, WHOLE):
        return list(trials)
    wanted = (None, canonical_phase(phase))
    selected = [trial for trial in trials if trial.phase in wanted]
    if not selected:
        raise InputError(
            f"no trials in phase '{phase}'; the key has {', '.join(sorted({str(t.phase) for t in trials}))}"
        )
    return selected


def audio_path(audio: Path | None, utterance: str, suffix: str = ".flac") -> Path | None:
    """``audio/utterance.flac``, or None without a folder of audio."""
    return None if audio is None else audio / f"{utterance}{suffix}"


def protocol_trials(protocol: Path, audio: Path | None) -> list[Trial]:
    """Unlabelled trials of a protocol that holds one utterance id a line; the audio of ``ID`` is ``audio/ID.flac``."""
    return checked_trials(
        (
            Trial(id=checked_id(utterance, protocol, line), path=audio_path(audio, utterance))
            for line, (utterance,) in read_rows(protocol, 1, "utterance")
        ),
        protocol,
    )
