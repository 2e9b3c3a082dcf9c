"""The trials, conditions and attacks of a robustness run, which are flags of `nes2net robustness`, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from nes2net.lib.parts.conditions import UsedWith
from nes2net.lib.shell.commands import Count, Flag, FromZero

#: What has a perturbation of its own: each spoofing attack, or the corpus.
Per = Literal["attack", "corpus"]
_Folder = Annotated[Path, Flag("DIR")]


@dataclass(frozen=True)
class Suite:
    """Trials and conditions.

    Args:
        phase: phase of the keys; the split if not given
        keys: key folder; searched for in root if not given
        num_trials: score N trials, stratified by label and attack
        seed: seed of subset, conditions, bootstrap
        conditions: such as mp3:16 (nes2net info conditions), else all
        musan: folder of MUSAN, for noise, music and speech
        rir: folder of impulse responses, for condition rir
        attack: such as pgd:40 (dB) fgsm:0.001fs, or default
        attack_from: make attacks on these detectors, too
        attack_then: pass conditions after an attack
        attack_through: pass conditions that attacks know
        attack_split: fit filters and universal noise on it
        attack_per: fit per attack, or corpus
        attack_side: attack spoof, bonafide or both
        attack_steps: steps of an attack, if it has any
    """

    phase: str | None = None
    keys: _Folder | None = None
    num_trials: Annotated[int | None, Flag("N")] = None
    seed: FromZero = 0
    conditions: Annotated[Sequence[str] | None, Flag("NAME")] = None
    musan: _Folder | None = None
    rir: _Folder | None = None
    attack: Annotated[Sequence[str], Flag("NAME:DB")] = ()
    attack_from: Annotated[Sequence[str], Flag("MODEL"), UsedWith("attack")] = ()
    attack_then: Annotated[Sequence[str], Flag("VIA"), UsedWith("attack")] = ()
    attack_through: Annotated[Sequence[str], Flag("VIA"), UsedWith("attack")] = ()
    attack_split: Annotated[str | None, Flag("SPLIT"), UsedWith("attack")] = None
    attack_per: Annotated[Per, Flag("PER"), UsedWith("attack")] = "corpus"
    attack_side: Annotated[Literal["spoof", "bonafide", "both"], Flag("SIDE"), UsedWith("attack")] = "spoof"
    attack_steps: Annotated[Count | None, UsedWith("attack")] = None
