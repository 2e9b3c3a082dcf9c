"""ASVspoof 2019 LA: Wang et al., "ASVspoof 2019: A large-scale public database", Computer Speech & Language 64, 2020.

Layout: ``<root>/ASVspoof2019_LA_{train,dev,eval}/flac/ID.flac`` and one protocol per split with five fields a line: speaker,
utterance, ``-``, attack (``-`` or A01–A19), ``bonafide`` or ``spoof``. 25,380 / 24,844 / 71,237 trials.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nes2net.data import protocol as files
from nes2net.data.crop import ASVSPOOF_SAMPLES
from nes2net.data.trial import Trial
from nes2net.errors import InputError

SPLITS = ("train", "dev", "eval")
EER_METHOD = "asvspoof"
TEST_SAMPLES = ASVSPOOF_SAMPLES
TDCF_VERSION = 2019

_PROTOCOLS = {
    "train": "ASVspoof2019.LA.cm.train.trn.txt",
    "dev": "ASVspoof2019.LA.cm.dev.trl.txt",
    "eval": "ASVspoof2019.LA.cm.eval.trl.txt",
}
# As in the published code's database/ folder, as in the corpus itself, and directly in the folder given.
_PROTOCOL_FOLDERS = ("ASVspoof_LA_cm_protocols", "ASVspoof2019_LA_cm_protocols", "ASVspoof_DF_cm_protocols", ".")


def trials(root: str | Path, split: str, *, protocols: str | Path | None = None) -> list[Trial]:
    """Labelled trials of ``split`` with the paths of their audio, in the order of the protocol. No audio file is touched.

    Args:
        root: The folder that holds ``ASVspoof2019_LA_train`` and so on, or ``LA`` with these (``--database_path``).
        split: ``"train"``, ``"dev"`` or ``"eval"``.
        protocols: The folder that holds the protocols, or one of the usual folders of protocols (``--protocols_path``);
            ``root`` is searched after it.

    Raises:
        InputError: The split is unknown, a folder or the protocol is missing, or a line of the protocol is malformed.
    """
    _check_split(split)
    root = files.corpus_root(root)
    path = _find_protocol(split, [*([Path(protocols)] if protocols is not None else []), root, root / "LA"])
    folder = f"ASVspoof2019_LA_{split}"
    audio = files.first_folder(
        [root / folder / "flac", root / "LA" / folder / "flac"],
        what=f"audio of ASVspoof 2019 LA {split}",
        remedy=f"give --database_path the folder that holds {folder}",
    )
    return files.checked_trials(_read_protocol(path, split, audio), path)


def keys(path: str | Path, phase: str | None = None) -> list[Trial]:
    """Labelled trials without audio, for evaluation.

    Args:
        path: A protocol file, or a folder as for ``protocols`` in :func:`trials`.
        phase: ``"train"``, ``"dev"`` or ``"eval"``; None for all whose protocols are there.

    Raises:
        InputError: The phase is unknown, no protocol is there (the message names every path tried), or a line is malformed.
    """
    path = Path(path)
    if phase is not None:
        _check_split(phase)
    if path.is_file():
        split = next((split for split, name in _PROTOCOLS.items() if name == path.name), None)
        return files.select_phase(files.checked_trials(_read_protocol(path, split), path), phase)
    if phase is not None:
        found = {phase: _find_protocol(phase, [path, path / "LA"])}
    else:
        found = {
            split: file
            for split in SPLITS
            for file in _protocol_candidates(split, [path, path / "LA"])
            if file.is_file()
        }
    if not found:
        _find_protocol("eval", [path, path / "LA"])
    return files.checked_trials((trial for split, file in found.items() for trial in _read_protocol(file, split)), path)


def asv_scores(path: str | Path, phase: str = "eval") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of the organisers' speaker-verification system: ``(target, nontarget, spoof)`` of the dev or eval trials.

    ``path`` is the file (three fields a line: bona fide or attack, target/nontarget/spoof, score), the folder of the corpus,
    or a protocol or folder of protocols beside ``ASVspoof2019_LA_asv_scores``. Raises :class:`~nes2net.data.protocol.NotFound`
    with every path tried, and :class:`InputError` for a malformed line.
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
    return tuple(np.array(values) for values in scores.values())


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise InputError(f"ASVspoof 2019 LA has no split '{split}'; it has {', '.join(SPLITS)}")


def _protocol_candidates(split: str, folders: list[Path]) -> list[Path]:
    return [folder / inner / _PROTOCOLS[split] for folder in folders for inner in _PROTOCOL_FOLDERS]


def _find_protocol(split: str, folders: list[Path]) -> Path:
    return files.first_file(
        _protocol_candidates(split, folders),
        what=f"protocol of ASVspoof 2019 LA {split}",
        remedy=f"give --protocols_path the folder that holds {_PROTOCOLS[split]}",
    )


def _read_protocol(path: Path, split: str | None, audio: Path | None = None) -> Iterator[Trial]:
    for line, (speaker, utterance, _, attack, label) in files.read_rows(
        path, 5, "speaker, utterance, -, attack, label"
    ):
        files.checked_id(utterance, path, line)
        yield Trial(
            id=utterance,
            path=None if audio is None else audio / f"{utterance}.flac",
            label=files.checked_word(label, files.ASVSPOOF_LABELS, "label", path, line),
            speaker=speaker,
            attack=files.or_none(attack),
            phase=split,
        )
