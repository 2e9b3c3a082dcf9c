"""ASVspoof Laundered: the evaluation set of ASVspoof 2019 LA through noise, rooms and codecs.

Ali et al., "Is Audio Spoof Detection Robust to Laundering Attacks?", IH&MMSec 2024.

Layout: ``<root>/protocols/ASVspoofLauneredDatabase_TYPE.txt`` (spelt like this), one list for each of
``Noise_Addition``, ``Reverberation``, ``Recompression``, ``Resampling`` and ``Filtering``, with six fields a
line: speaker, utterance, attack (``-`` or A07–A19), ``bonafide`` or ``spoof``, the type, its setting
(``babble_0``). The audio is in ``<root>/flac``, as its Readme.txt says, or in ``<root>/TYPE/flac``. An
utterance is called after its original and the setting, ``LA_E_2834763_babble_0``.

``transmission`` of a trial is the type, ``codec`` the setting; figures of one (``--by codec``) are those of
the paper. All 29 settings hold the whole evaluation set, 71,237 trials each. A folder with some of
the lists (``protocols``) is an evaluation on these. The copy on the Hugging Face hub
(hashim19/ASVspoofLD) is in Parquet with columns of its own, which is not read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nes2net.corpora import protocol as files
from nes2net.corpora.corpus import Corpus, Counts
from nes2net.corpora.layout import Columns
from nes2net.corpora.trial import Trial

_TITLE = "ASVspoof Laundered"
_TYPES = {"Noise_Addition": 15, "Reverberation": 3, "Recompression": 6, "Resampling": 4, "Filtering": 1}
_LISTS = {f"ASVspoofLauneredDatabase_{type}.txt": type for type in _TYPES}
_COLUMNS = Columns(
    "speaker, utterance, attack, label, type, setting", fields={"type": "transmission", "setting": "codec"}
)
_FOLDERS = (".", "ASVspoofLauneredDatabase", "ASVspoofLD")


def trials(root: str | Path, split: str = "eval", *, protocols: str | Path | None = None) -> list[Trial]:
    """The trials of all lists that are there, in their order, with the paths of their audio.

    Args:
        root: The folder that holds ``protocols`` and the audio.
        split: ``"eval"`` (also ``"test"``), the only one.
        protocols: The folder of the lists, or one list, if they are not in ``root``.

    Raises:
        InputError: if the split is unknown, a folder or all lists are missing, or a line is malformed.
    """
    files.corpus_root(root)
    path = find_protocol(root, split, protocols)
    return read_protocol(path, split, find_audio(root, split))


def keys(path: str | Path, phase: str | None = None) -> list[Trial]:
    """The labelled trials without audio, for evaluation.

    Args:
        path: A list, the folder of the lists, or the folder that holds ``protocols``.
        phase: ``"eval"`` (also ``"test"``) or None: the corpus has no phases.

    Raises:
        InputError: if the phase is unknown, no list is there, or a line is malformed.
    """
    split = files.known_split(phase or "eval", ("eval",), _TITLE)
    return read_protocol(Path(path) if Path(path).is_file() else find_protocol(path, split), split)


def find_protocol(root: str | Path, split: str = "eval", protocols: str | Path | None = None) -> Path:
    """The folder of the lists, or :class:`~nes2net.corpora.protocol.NotFound`."""
    files.known_split(split, ("eval",), _TITLE)
    if protocols is not None and Path(protocols).is_file():
        return Path(protocols)
    inner = [f"{folder}/{place}" for folder in _FOLDERS for place in ("protocols", ".")]
    return files.first_protocol(root, protocols, inner, list(_LISTS), _TITLE).parent


def find_audio(root: str | Path, split: str = "eval") -> Path:
    """The folder that holds ``flac`` or the folders of the types."""
    files.known_split(split, ("eval",), _TITLE)
    folders = [Path(root) / folder for folder in _FOLDERS]
    holds_audio = [folder / place for folder in folders for place in ("flac", *(f"{type}/flac" for type in _TYPES))]
    found = files.first_folder(
        holds_audio, what=f"audio of {_TITLE}", remedy="give `root` the folder that holds flac or Noise_Addition"
    )
    return next(folder for folder in folders if folder in found.parents)


def read_protocol(path: Path, split: str | None = None, audio: Path | None = None) -> list[Trial]:
    """The trials of a list or of a folder of lists.

    :class:`InputError` names the file and line that is malformed.
    """
    lists = [path] if path.is_file() else [path / name for name in _LISTS if (path / name).is_file()]
    return files.checked_trials((trial for each in lists for trial in _read(each, audio)), path)


def _read(path: Path, audio: Path | None) -> Iterator[Trial]:
    folder = None
    if audio is not None:
        own = audio / _LISTS.get(path.name, "") / "flac"
        folder = own if own.is_dir() else audio / "flac"
    return _COLUMNS.read(path, "eval", folder, ".flac")


CORPUS = Corpus(
    title=_TITLE,
    splits=("eval",),
    trials=trials,
    keys=keys,
    find_protocol=find_protocol,
    find_audio=find_audio,
    read_protocol=read_protocol,
    # Readme.txt has 2,065,873 files, 29 times the trials of ASVspoof 2019 LA.
    counts={
        "eval": Counts(
            2065873,
            29 * 7355,
            29 * 63882,
            {"transmission": {type: settings * 71237 for type, settings in _TYPES.items()}},
        )
    },
    counts_from="Readme.txt and the settings that it lists",
    obtain={
        "audio": "the database from Deep Blue Data of the University of Michigan, linked from "
        "https://datasets.issflab.net/ASVSpoof_Laundered.html",
        "protocol": "the folder protocols beside the audio, from the same page",
    },
    licence="MIT (the card on the Hugging Face hub); ODC-By 1.0 for ASVspoof 2019",
    source="https://arxiv.org/abs/2408.14712",
)
