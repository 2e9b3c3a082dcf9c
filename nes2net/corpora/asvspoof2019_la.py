"""ASVspoof 2019 LA.

Wang et al., "ASVspoof 2019: A large-scale public database", Computer Speech & Language 64, 2020.

Layout: ``<root>/ASVspoof2019_LA_{train,dev,eval}/flac/ID.flac`` and one protocol per split with
five fields a line: speaker, utterance, ``-``, attack (``-`` or A01–A19), ``bonafide`` or ``spoof``.
25,380 / 24,844 / 71,237 trials.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nes2net.corpora import protocol as files
from nes2net.corpora.corpus import Corpus, Counts
from nes2net.corpora.trial import Trial

_PROTOCOLS = {
    "train": ("ASVspoof2019.LA.cm.train.trn.txt",),
    "dev": ("ASVspoof2019.LA.cm.dev.trl.txt",),
    "eval": ("ASVspoof2019.LA.cm.eval.trl.txt",),
}
# The first and third as in the published code's folder database/, the second as in the corpus.
_PROTOCOL_FOLDERS = ("ASVspoof_LA_cm_protocols", "ASVspoof2019_LA_cm_protocols", "ASVspoof_DF_cm_protocols", ".")


def trials(root: str | Path, split: str, *, protocols: str | Path | None = None) -> list[Trial]:
    """The labelled trials of ``split`` in the order of the protocol, with the paths of their audio.

    No audio file is touched.

    Args:
        root: The folder that holds ``ASVspoof2019_LA_train`` and so on, or ``LA`` with these.
        split: ``"train"``, ``"dev"`` or ``"eval"``.
        protocols: The folder that holds the protocols, or that holds one of the usual folders of
            protocols; ``root`` is searched after it.

    Raises:
        InputError: if the split is unknown, a folder or the protocol is missing, or a line of the
            protocol is malformed.
    """
    return CORPUS.read_split(root, split, protocols)


def keys(path: str | Path, phase: str | None = None) -> list[Trial]:
    """The labelled trials without audio, for evaluation.

    Args:
        path: A protocol file, or a folder as for ``protocols`` in :func:`trials`.
        phase: ``"train"``, ``"dev"`` or ``"eval"``; None for all of which there is a protocol.

    Raises:
        InputError: if the phase is unknown, no protocol is there (the message names every path
            tried), or a line is malformed.
    """
    return files.keys_of_splits(path, phase, CORPUS.title, _PROTOCOLS, find_protocol, read_protocol)


def asv_scores(path: str | Path, phase: str = "eval") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of the organisers' speaker-verification system: ``(target, nontarget, spoof)``.

    Args:
        path: The file (three fields a line: bona fide or attack, target/nontarget/spoof, score),
            the folder of the corpus, or a protocol or folder of protocols beside
            ``ASVspoof2019_LA_asv_scores``.
        phase: ``"dev"`` or ``"eval"``.

    Raises:
        NotFound: if there are no scores; it lists where they were sought.
        InputError: if a line is malformed.
    """
    path = Path(path)
    name, inner = f"ASVspoof2019.LA.asv.{phase}.gi.trl.scores.txt", "ASVspoof2019_LA_asv_scores"
    base = path.parent if path.is_file() else path
    own = [path] if ".asv." in path.name else []
    file = files.first_file(
        [*own, *(folder / name for folder in (base, base / inner, base / "LA" / inner, base.parent / inner))],
        what=f"ASV scores of ASVspoof 2019 LA {phase}",
        remedy=f"put {name} beside the protocols",
    )
    scores: dict[str, list[float]] = {"target": [], "nontarget": [], "spoof": []}
    for line, (_, key, score) in files.read_rows(file, 3, "attack, target/nontarget/spoof, score"):
        scores[files.checked_word(key, tuple(scores), "ASV key", file, line)].append(
            files.checked_float(score, file, line)
        )
    return np.array(scores["target"]), np.array(scores["nontarget"]), np.array(scores["spoof"])


def find_protocol(root: str | Path, split: str, protocols: str | Path | None = None) -> Path:
    """The protocol of ``split``, sought as :func:`trials` does.

    :class:`~nes2net.corpora.protocol.NotFound` lists where it was sought.
    """
    split = files.known_split(split, CORPUS.splits, CORPUS.title)
    inner = [*_PROTOCOL_FOLDERS, *(f"LA/{folder}" for folder in _PROTOCOL_FOLDERS)]
    return files.first_protocol(root, protocols, inner, _PROTOCOLS[split], f"ASVspoof 2019 LA {split}")


def find_audio(root: str | Path, split: str) -> Path:
    """The folder with the audio of ``split``, or :class:`~nes2net.corpora.protocol.NotFound`."""
    split = files.known_split(split, CORPUS.splits, CORPUS.title)
    root, folder = Path(root), f"ASVspoof2019_LA_{split}"
    return files.first_folder(
        [root / folder / "flac", root / "LA" / folder / "flac"],
        what=f"audio of ASVspoof 2019 LA {split}",
        remedy=f"give `root` the folder that holds {folder}",
    )


def read_protocol(path: Path, split: str | None, audio: Path | None = None, *, suffix: str = ".flac") -> list[Trial]:
    """The trials of a protocol. :class:`InputError` names the file and line that is malformed."""
    return files.checked_trials(_read_lines(path, split, audio, suffix), path)


def _read_lines(path: Path, split: str | None, audio: Path | None, suffix: str) -> Iterator[Trial]:
    for line, (speaker, utterance, _, attack, label) in files.read_rows(
        path, 5, "speaker, utterance, -, attack, label"
    ):
        yield Trial(
            id=files.checked_id(utterance, path, line),
            path=files.audio_path(audio, utterance, suffix),
            label=files.checked_word(label, files.ASVSPOOF_LABELS, "label", path, line),
            speaker=files.or_none(speaker),
            attack=files.or_none(attack),
            phase=split,
        )


CORPUS = Corpus(
    title="ASVspoof 2019 LA",
    trials=trials,
    keys=keys,
    find_protocol=find_protocol,
    find_audio=find_audio,
    read_protocol=read_protocol,
    asv_scores=asv_scores,
    tdcf_version=2019,
    # As in the published protocols.
    counts={
        "train": Counts(25380, 2580, 22800, {"attack": {f"A{n:02}": 3800 for n in range(1, 7)}}),
        "dev": Counts(24844, 2548, 22296, {"attack": {f"A{n:02}": 3716 for n in range(1, 7)}}),
        "eval": Counts(71237, 7355, 63882, {"attack": {f"A{n:02}": 4914 for n in range(7, 20)}}),
    },
    # As in the published score files.
    asv_counts={"dev": (1484, 5768, 22296), "eval": (5370, 33327, 63882)},
    obtain={
        "audio": "LA.zip from https://datashare.ed.ac.uk/handle/10283/3336",
        "protocol": "ASVspoof2019_LA_cm_protocols in LA.zip from https://datashare.ed.ac.uk/handle/10283/3336",
        "asv": "ASVspoof2019_LA_asv_scores in LA.zip from https://datashare.ed.ac.uk/handle/10283/3336",
    },
)
