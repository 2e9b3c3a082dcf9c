"""What changes the waveform of a training example, and the random stream that it may draw from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.augment.fir import LowPass
from nes2net.augment.legacy import LegacyStream
from nes2net.augment.noise import NoiseAugmentation
from nes2net.augment.rawboost import RawBoostParameters, rawboost
from nes2net.augment.speed import change_speed, draw_speed
from nes2net.conditions.augmentation import InOrder, OneOf
from nes2net.conditions.base import Sources
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError, worded
from nes2net.recipes.recipe import Recipe
from nes2net.registry import create_condition


@dataclass(frozen=True)
class Augmentation:
    """Changes a waveform, before it is cropped, by each of its parts in their order.

    Args:
        speed: lowest and highest speed to play at; None leaves it.
        noise: background noise and reverberation.
        algo: RawBoost algorithm, 0 for none.
        parameters: of RawBoost.
        conditions: codecs, noise, rooms and the like.
        fir: low-pass filter.
        stream: stream that RawBoost draws from in the order of reading (``augment.rng: legacy``),
            instead of those of utterances.
    """

    speed: Sequence[float] | None = None
    noise: NoiseAugmentation | None = None
    algo: int = 0
    parameters: RawBoostParameters | None = None
    conditions: OneOf | InOrder | None = None
    fir: LowPass | None = None
    stream: LegacyStream | None = None

    def __bool__(self) -> bool:
        """Whether it can change anything."""
        return bool(self.speed or self.noise or self.algo or self.conditions or self.fir)

    def __call__(self, waveform: NDArray, rng: np.random.Generator, utterance: str = "") -> NDArray:
        """Change ``waveform`` (N,); only the speed and some conditions change its length.

        Args:
            rng: what everything draws from but RawBoost with a ``stream``.
            utterance: names the waveform in messages.

        Raises:
            InputError: if a file of noise cannot be used, or the waveform has too few samples.
        """
        if self.speed:
            waveform = change_speed(waveform, draw_speed(self.speed, rng))
        if self.noise:
            waveform = self.noise(waveform, rng)
        if self.algo:
            draws, gates = (rng, None) if self.stream is None else (self.stream.rng, self.stream.gates)
            parameters = vars(self.parameters) if self.parameters else {}
            waveform = rawboost(waveform, self.algo, draws, gate_rng=gates, utterance=utterance, **parameters)
        if self.conditions:
            waveform = self.conditions(waveform, rng)
        return self.fir(waveform, rng) if self.fir else waveform

    def files(self) -> list[Path]:
        """The recordings that it reads."""
        files = [] if self.conditions is None else list(self.conditions.recordings)
        if self.noise:
            files += [file.path for of_kind in self.noise.noises.values() for file in of_kind]
            files += self.noise.impulse_responses
        return files


def training_augmentation(
    recipe: Recipe, trials: Sequence[Trial], stream: LegacyStream | None, *, labelled: bool = False
) -> Augmentation:
    """What training utterances meet by ``recipe``; ``babble`` is made of the speech of ``trials``.

    Args:
        labelled: whether labels of frames follow the waveform, which may then not move in time.

    Raises:
        InputError: if a folder of noise is missing or none uses it, or if a condition is unknown,
            cannot be had here or moves what labels of frames are about.
    """
    augment = recipe.augment
    recipe.check_noise()
    probability = augment.noise_probability or 0.0  # AugmentConfig leaves no None here
    musan, rir = (augment.musan, augment.rir) if probability else (None, None)  # else they are for conditions alone
    return Augmentation(
        augment.speed,
        NoiseAugmentation(musan, rir, probability, aligned=labelled),
        augment.algo,
        RawBoostParameters.of(**augment.parameters),
        _conditions(recipe, trials, labelled),
        None if augment.fir is None else LowPass.of(**augment.fir),
        stream,
    )


def _conditions(recipe: Recipe, trials: Sequence[Trial], labelled: bool) -> OneOf | None:
    """The conditions that training utterances meet; None if ``recipe`` names none."""
    augment = recipe.augment
    if not augment.conditions:
        return None
    speech = tuple(dict.fromkeys(trial.audio_path() for trial in trials))
    musan, rir = (None if folder is None else Path(folder) for folder in (augment.musan, augment.rir))
    found = [create_condition(text, Sources(musan, rir, speech)) for text in augment.conditions]
    other = "segments.resolutions" if labelled else "data.crop=pieces" if recipe.data.crop == "pieces" else None
    for text, condition in zip(augment.conditions, found):
        if condition.time_moves and other is not None:
            raise InputError(
                f"condition '{text}' of `augment.conditions` changes the length or moves sounds in time, which "
                f"`{other}` does not follow: leave one of them out"
            )
    for folder in ("musan", "rir"):
        used = augment.noise_probability or any(folder in condition.needs for condition in found)
        if getattr(augment, folder) and not used:
            raise InputError(
                f"`augment.{folder}` changes nothing: no condition needs it, and `augment.noise_probability` is 0 beside "
                "`augment.conditions` unless it is given"
            )
    return OneOf(found, augment.condition_probability)


def augmentation_stream(recipe: Recipe, world_size: int = 1) -> LegacyStream | None:
    """Make the stream of ``augment.rng: legacy``; None if each utterance has its own stream.

    Args:
        world_size: number of training processes.

    Raises:
        InputError: if nothing in the recipe draws random numbers, if something draws for which no
            order was published, or if several processes would have to share the stream.
    """
    augment = recipe.augment
    if augment.rng == "utterance":
        return None
    if augment.algo == 0:
        raise InputError("`augment.rng=legacy` is the order of RawBoost's draws, and `augment.algo=0` draws nothing")
    others = augment.speed or augment.musan or augment.rir or augment.conditions or augment.fir is not None
    if others or recipe.data.crop != "head":
        raise InputError(
            "`augment.rng=legacy`: the published order is known for RawBoost alone, not for speed, noise, reverberation, "
            "conditions, filters and random crops; leave out `augment.speed`, `augment.musan`, `augment.rir`, "
            "`augment.conditions`, `augment.fir` and `data.crop`, or take `augment.rng=utterance`"
        )
    if world_size > 1:
        raise InputError(
            f"`augment.rng=legacy` draws from one stream, which {world_size} processes cannot share: train in one "
            "process, or take `augment.rng=utterance`"
        )
    if recipe.data.num_workers:
        note = (
            "note: `augment.rng=legacy` draws in the order of reading, so this process reads the audio itself; "
            "`data.num_workers` is not used"
        )
        print(worded(note), file=sys.stderr)
    return LegacyStream(recipe.seed)
