"""ASVspoof 2021 DF.

Liu et al., "ASVspoof 2021: Towards Spoofed and Deepfake Speech Detection in the Wild", TASLP 31,
2023.

Layout: ``<root>/ASVspoof2021_DF_eval/flac/ID.flac`` (from four archives) and a protocol of ids. The
labels come in an archive of their own, the keys: ``DF/CM/trial_metadata.txt``. 611,829 trials,
533,928 of them in phase ``eval``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from nes2net.corpora import asvspoof2021_la as la
from nes2net.corpora import protocol as files
from nes2net.corpora.corpus import Corpus, Counts
from nes2net.corpora.trial import Trial

_FIELDS = (
    "speaker, utterance, codec, source, attack, label, trim, phase, vocoder, and task, team, gender pair and language of the "
    "Voice Conversion Challenge"
)


def trials(root: str | Path, split: str = "eval", *, protocols: str | Path | None = None) -> list[Trial]:
    """The unlabelled trials of all phases in the order of the protocol.

    They have the paths of their audio; no audio file is touched. Parameters and errors are those of
    :func:`nes2net.corpora.asvspoof2021_la.trials`, with DF for LA in all names.
    """
    return CORPUS.read_split(root, split, protocols)


def keys(path: str | Path, phase: str | None = None) -> list[Trial]:
    """The labelled trials without audio from the key archive, for evaluation.

    Parameters and errors are those of :func:`nes2net.corpora.asvspoof2021_la.keys`, with DF for LA
    in all names.
    """
    la.check_phase(phase)
    path = find_key(path)
    return files.select_phase(files.checked_trials(_read_key(path), path), phase)


def _read_key(path: Path) -> Iterator[Trial]:
    for line, row in files.read_rows(path, 13, _FIELDS):
        speaker, utterance, codec, source, attack, label, trim, phase, vocoder, task, team, gender, language = row
        yield Trial(
            id=files.checked_id(utterance, path, line),
            label=files.checked_word(label, files.ASVSPOOF_LABELS, "label", path, line),
            speaker=files.or_none(speaker),
            attack=files.or_none(attack, "bonafide"),
            codec=files.or_none(codec),
            source=files.or_none(source),
            vocoder=files.or_none(vocoder, "bonafide"),
            phase=files.canonical_phase(files.checked_word(phase, la.PHASE_NAMES, "phase", path, line)),
            trim=files.or_none(trim),
            gender=files.or_none(gender),
            language=files.or_none(language),
            task=files.or_none(task),
            team=files.or_none(team),
        )


find_protocol = partial(la.find_protocol, track="DF")
find_audio = partial(la.find_audio, track="DF")
find_key = partial(la.find_key, track="DF")
#: The protocols of both tracks are lists of ids.
read_protocol = la.read_protocol


CORPUS = Corpus(
    title="ASVspoof 2021 DF",
    splits=la.CORPUS.splits,
    phases=la.CORPUS.phases,
    trials=trials,
    keys=keys,
    find_protocol=find_protocol,
    find_audio=find_audio,
    read_protocol=read_protocol,
    find_key=find_key,
    counts={"eval": Counts(611829)},
    # As in the paper.
    key_counts={
        "progress": Counts(59325, 5768, 53557),
        "eval": Counts(533928, 14869, 519059),
        "hidden": Counts(18576, 1980, 16596),
    },
    obtain={
        "audio": "all four archives of https://zenodo.org/records/4835108, unpacked into one folder",
        "protocol": "ASVspoof2021.DF.cm.eval.trl.txt in the archives of the audio, https://zenodo.org/records/4835108",
        "keys": "https://www.asvspoof.org/asvspoof2021/DF-keys-full.tar.gz",
    },
)
