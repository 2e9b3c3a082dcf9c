"""ASVspoof 2021 DF: Liu et al., "ASVspoof 2021: Towards Spoofed and Deepfake Speech Detection in the Wild", TASLP 31, 2023.

Layout: ``<root>/ASVspoof2021_DF_eval/flac/ID.flac`` (from four archives) and a protocol of ids. The labels come apart from it, as
key archive: ``DF/CM/trial_metadata.txt``. 611,829 trials, 533,928 of them in phase ``eval``.
"""

from __future__ import annotations

from pathlib import Path

from nes2net.data import protocol as files
from nes2net.data.asvspoof2021_la import PHASES, check_phase, eval_trials, find_key
from nes2net.data.crop import ASVSPOOF_SAMPLES
from nes2net.data.trial import Trial

SPLITS = ("eval",)
EER_METHOD = "asvspoof"
TEST_SAMPLES = ASVSPOOF_SAMPLES

_FIELDS = (
    "speaker, utterance, codec, source, attack, label, trim, phase, vocoder, and four of the Voice Conversion Challenge"
)


def trials(root: str | Path, split: str = "eval", *, protocols: str | Path | None = None) -> list[Trial]:
    """Trials of all phases with the paths of their audio, unlabelled, in the order of the protocol. No audio file is touched.

    Parameters and errors as in :func:`nes2net.data.asvspoof2021_la.trials`, with DF for LA in all names.
    """
    return eval_trials("DF", root, split, protocols)


def keys(path: str | Path, phase: str | None = None) -> list[Trial]:
    """Labelled trials without audio from the key archive, for evaluation.

    Parameters and errors as in :func:`nes2net.data.asvspoof2021_la.keys`, with DF for LA in all names.
    """
    check_phase(phase)
    path = find_key("DF", path)
    labelled = (
        Trial(
            id=files.checked_id(utterance, path, line),
            label=files.checked_word(label, files.ASVSPOOF_LABELS, "label", path, line),
            speaker=files.or_none(speaker),
            attack=files.or_none(attack, "bonafide"),
            codec=files.or_none(codec),
            source=files.or_none(source),
            vocoder=files.or_none(vocoder, "bonafide"),
            phase=files.canonical_phase(files.checked_word(row_phase, PHASES, "phase", path, line)),
        )
        for line, (speaker, utterance, codec, source, attack, label, _, row_phase, vocoder, *_) in files.read_rows(
            path, 13, _FIELDS
        )
    )
    return files.select_phase(files.checked_trials(labelled, path), phase)
