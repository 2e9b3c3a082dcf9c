"""ASVspoof 2021 LA.

Liu et al., "ASVspoof 2021: Towards Spoofed and Deepfake Speech Detection in the Wild", TASLP 31,
2023.

Layout: ``<root>/ASVspoof2021_LA_eval/flac/ID.flac`` and a protocol of ids. The labels come in an
archive of their own, the keys: ``LA/CM/trial_metadata.txt`` for the countermeasure, ``LA/ASV`` for
the speaker-verification system of the t-DCF. 181,566 trials, 148,176 of them in phase ``eval``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nes2net.corpora import protocol as files
from nes2net.corpora.corpus import Corpus, Counts
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError

# As in the keys; the published scripts call "hidden" "hidden_track".
PHASE_NAMES = ("progress", "eval", "hidden", "hidden_track")


def trials(root: str | Path, split: str = "eval", *, protocols: str | Path | None = None) -> list[Trial]:
    """The unlabelled trials of all phases in the order of the protocol.

    They have the paths of their audio; no audio file is touched.

    Args:
        root: The folder that holds ``ASVspoof2021_LA_eval``, or that folder itself.
        split: ``"eval"``, the only one.
        protocols: The folder that holds the protocol or ``ASVspoof_LA_cm_protocols``; ``root`` is
            searched after it.

    Raises:
        InputError: if the split is unknown, a folder or the protocol is missing, or a line of the
            protocol is malformed.
    """
    return CORPUS.read_split(root, split, protocols)


def keys(path: str | Path, phase: str | None = None) -> list[Trial]:
    """The labelled trials without audio from the key archive, for evaluation.

    Args:
        path: The folder that holds ``LA/CM`` (or ``keys/LA/CM``), the folder ``LA``, the folder
            ``CM``, or the file ``trial_metadata.txt``.
        phase: ``"progress"``, ``"eval"``, ``"hidden"`` (also ``"hidden_track"``), or None for all.

    Raises:
        InputError: if there is no key (the message names every path tried), a line is malformed, or
            the phase is unknown.
    """
    check_phase(phase)
    path = find_key(path)
    names = "speaker, utterance, codec, transmission, attack, label, trim, phase"
    labelled = (
        Trial(
            id=files.checked_id(utterance, path, line),
            label=files.checked_word(label, files.ASVSPOOF_LABELS, "label", path, line),
            speaker=files.or_none(speaker),
            attack=files.or_none(attack, "bonafide"),
            codec=files.or_none(codec),
            transmission=files.or_none(transmission),
            trim=files.or_none(trim),
            phase=files.canonical_phase(files.checked_word(row_phase, PHASE_NAMES, "phase", path, line)),
        )
        for line, (speaker, utterance, codec, transmission, attack, label, trim, row_phase) in files.read_rows(
            path, 8, names
        )
    )
    return files.select_phase(files.checked_trials(labelled, path), phase)


def asv_scores(path: str | Path, phase: str = "eval") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of the organisers' speaker-verification system: ``(target, nontarget, spoof)``.

    They are those of the ASV trials of ``phase``. Line by line, one file holds the key and another
    the scores; ``path`` is that of :func:`keys`.

    Raises:
        NotFound: if one of the files is missing; it lists where it was sought.
        InputError: if a line is malformed or the two files do not belong together.
    """
    check_phase(phase)
    folders = [folder / "ASV" for folder in _track_folders("LA", Path(path))]
    remedy = "give the key folder that holds LA/ASV"
    key_file = files.first_file(
        [f / "trial_metadata.txt" for f in folders], what="ASV key of ASVspoof 2021 LA", remedy=remedy
    )
    score_file = files.first_file(
        [key_file.parent / system / "score.txt" for system in ("ASVTorch_Kaldi", "ASVtorch_kaldi")],
        what="ASV scores of ASVspoof 2021 LA",
        remedy=remedy,
    )
    names = "speaker, utterance, codec, transmission, attack, target/nontarget/spoof, trim, phase"
    key_rows = list(files.read_rows(key_file, 8, names))
    score_rows = list(files.read_rows(score_file, 3, "speaker, utterance, score"))
    if len(key_rows) != len(score_rows):
        raise InputError(
            f"{score_file}: {len(score_rows)} scores for the {len(key_rows)} trials of {key_file}; get both again"
        )
    scores: dict[str, list[float]] = {"target": [], "nontarget": [], "spoof": []}
    for (line, row), (score_line, (_, utterance, score)) in zip(key_rows, score_rows):
        # An id may carry its channel in one of the two files: LA_E_1234567-alaw-ita_tx.
        if row[1].partition("-")[0] != utterance.partition("-")[0]:
            raise InputError(
                f"{score_file}, line {score_line}: a score of {utterance}, but the key says {row[1]} (line {line})"
            )
        values = scores[files.checked_word(row[5], tuple(scores), "ASV key", key_file, line)]
        if files.canonical_phase(row[7]) == files.canonical_phase(phase):
            values.append(files.checked_float(score, score_file, score_line))
    return np.array(scores["target"]), np.array(scores["nontarget"]), np.array(scores["spoof"])


def find_protocol(
    root: str | Path, split: str = "eval", protocols: str | Path | None = None, *, track: str = "LA"
) -> Path:
    """The protocol of ids, or :class:`~nes2net.corpora.protocol.NotFound`.

    In this function and the next ones, ``track`` is ``"LA"`` or ``"DF"``.
    """
    inner = (f"ASVspoof_{track}_cm_protocols", f"ASVspoof2021_{track}_eval", ".")
    names = (f"ASVspoof2021.{track}.cm.eval.trl.txt",)
    return files.first_protocol(root, protocols, inner, names, f"ASVspoof 2021 {track}")


def read_protocol(path: Path, split: str | None = "eval", audio: Path | None = None) -> list[Trial]:
    """The unlabelled trials of a protocol of ids; their audio is ``audio/ID.flac``.

    :class:`InputError` names the file and line that is malformed.
    """
    listed = (
        Trial(id=files.checked_id(utterance, path, line), path=files.audio_path(audio, utterance))
        for line, (utterance,) in files.read_rows(path, 1, "utterance")
    )
    return files.checked_trials(listed, path)


def find_audio(root: str | Path, split: str = "eval", *, track: str = "LA") -> Path:
    """The folder of the audio, or :class:`~nes2net.corpora.protocol.NotFound`."""
    root, folder = Path(root), f"ASVspoof2021_{track}_eval"
    return files.first_folder(
        [root / folder / "flac", root / "flac"],
        what=f"audio of ASVspoof 2021 {track}",
        remedy=f"give `root` the folder that holds {folder}",
    )


def find_key(path: str | Path, *, track: str = "LA") -> Path:
    """The key of the countermeasure, ``CM/trial_metadata.txt``, in any layout of its archives."""
    path = Path(path)
    if path.is_file():
        return path
    return files.first_file(
        [
            *(folder / "CM" / "trial_metadata.txt" for folder in _track_folders(track, path)),
            path / "trial_metadata.txt",
        ],
        what=f"key of ASVspoof 2021 {track}",
        remedy=f"give the folder of keys that holds {track}/CM/trial_metadata.txt",
    )


def check_phase(phase: str | None) -> None:
    """Raise :class:`InputError` if ASVspoof 2021 has no ``phase``."""
    if phase is not None and phase not in PHASE_NAMES:
        raise InputError(f"ASVspoof 2021 has no phase '{phase}'; it has {', '.join(CORPUS.phases)}")


def _track_folders(track: str, path: Path) -> list[Path]:
    """Folders in which ``CM`` and ``ASV`` may lie if ``path`` was given for the keys."""
    if path.is_file():
        return [path.parent.parent]
    return [path / track, path / "keys" / track, path, *([path.parent] if path.name == "CM" else [])]


CORPUS = Corpus(
    title="ASVspoof 2021 LA",
    splits=("eval",),
    phases=("progress", "eval", "hidden"),
    trials=trials,
    keys=keys,
    find_protocol=find_protocol,
    find_audio=find_audio,
    read_protocol=read_protocol,
    find_key=find_key,
    asv_scores=asv_scores,
    tdcf_version=2021,
    counts={"eval": Counts(181566)},
    # As in the paper.
    key_counts={
        "progress": Counts(16464, 1676, 14788),
        "eval": Counts(148176, 14816, 133360),
        "hidden": Counts(16926, 1960, 14966),
    },
    obtain={
        "audio": "https://zenodo.org/records/4837263",
        "protocol": "ASVspoof2021.LA.cm.eval.trl.txt in the archive of the audio, https://zenodo.org/records/4837263",
        "keys": "https://www.asvspoof.org/asvspoof2021/LA-keys-full.tar.gz",
        "asv": "LA/ASV of https://www.asvspoof.org/asvspoof2021/LA-keys-full.tar.gz",
    },
)
