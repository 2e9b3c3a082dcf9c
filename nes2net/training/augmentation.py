"""Build the effects that augment training utterances, and the stream of ``augment.rng: legacy``."""

from __future__ import annotations

from collections.abc import Sequence

from nes2net.data import registry
from nes2net.data.audio.packed import AnyRecording
from nes2net.data.augment import NoiseAugmentation, Sources
from nes2net.data.augment.channels import LowPass
from nes2net.data.augment.conditions import create_condition
from nes2net.data.augment.effect import Effect, OneOf
from nes2net.data.augment.legacy import LegacyStream
from nes2net.data.augment.rawboost import RawBoost
from nes2net.data.augment.timing import DrawnSpeed
from nes2net.data.corpora.trial import Trials
from nes2net.lib.errors import InputError, refuse
from nes2net.lib.output.terminal import print_note
from nes2net.training.recipes.augment import AugmentConfig
from nes2net.training.recipes.recipe import Recipe


def effects_of(
    augment: AugmentConfig,
    speech: Sequence[AnyRecording] = (),
    stream: LegacyStream | None = None,
    *,
    aligned: bool = False,
    every: bool = False,
) -> list[Effect]:
    """Build the effects of the section ``augment``, in the order in which they change a waveform.

    Args:
        speech: recordings of speech, from which babble is mixed.
        stream: RawBoost's random stream for all utterances in the order of reading, with
            ``augment.rng: legacy``.
        aligned: remove the delay of a reverberation, so that labels of frames still fit.
        every: apply all conditions one after another, instead of one at random.

    Raises:
        InputError: if a folder of noise does not exist, if no effect uses a given folder, or if a
            condition is unknown or not available on this machine.
    """
    sources = Sources(augment.musan, augment.rir, speech)  # all conditions share the sources: list folders once
    conditions = [create_condition(text, sources) for text in augment.conditions]
    needed_folders = set().union(*(condition.needs for condition in conditions))
    for folder in ("musan", "rir"):
        if getattr(augment, folder) and not augment.noise_probability and folder not in needed_folders:
            raise InputError(
                f"`augment.{folder}` changes nothing, because no `augment.conditions` needs it: remove it, or give "
                "`augment.noise_probability`"
            )
    effects: list[Effect] = []
    if augment.speed:
        effects.append(DrawnSpeed(*augment.speed))
    if augment.noise_probability:
        effects.append(NoiseAugmentation(augment.musan, augment.rir, augment.noise_probability, aligned=aligned))
    if augment.algo:
        effects.append(RawBoost(augment.algo, parameters=augment.parameters, stream=stream))
    if every:
        effects += conditions
    elif conditions:
        effects.append(OneOf(conditions, augment.condition_probability))
    if augment.fir is not None:
        effects.append(LowPass.of(**augment.fir))
    return effects


def training_effects(
    recipe: Recipe, trials: Trials, stream: LegacyStream | None, *, labelled: bool = False
) -> list[Effect]:
    """Build the effects of ``recipe`` on training utterances, with babble from ``trials``.

    Args:
        labelled: whether frames have labels; effects must then not move sounds in time.

    Raises:
        InputError: as :func:`effects_of`, if the recipe adds noise but names no folder of noise, or
            if a condition moves sounds in time although the recipe trains on labels of frames or on
            pieces.
    """
    augment = recipe.augment
    moving = (text for text in augment.conditions if registry.effects.get(text.partition(":")[0]).time_moves)
    moving_condition = next(moving, "")
    fixed_in_time = "segments.resolutions" if labelled else "data.crop=pieces"
    refuse(
        (  # a packaged recipe names no folders of the user's machine, so the recipe itself cannot check this
            augment.noise_probability and not (augment.musan or augment.rir),
            f"the recipe adds noise or reverberation to {augment.noise_probability:.0%} of the utterances: name the "
            "folders with `augment.musan=…` (MUSAN, openslr.org/17) and `augment.rir=…` (RIRS_NOISES, openslr.org/28), "
            "or train without: `augment.noise_probability=0`",
        ),
        (
            moving_condition and (labelled or recipe.data.crop == "pieces"),
            f"condition '{moving_condition}' of `augment.conditions` changes the length or moves sounds in time, "
            f"which `{fixed_in_time}` does not follow: remove one of them",
        ),
    )
    speech = [trial.recording() for trial in trials] if augment.conditions else []
    return effects_of(augment, list(dict.fromkeys(speech)), stream, aligned=labelled)


def augmentation_stream(recipe: Recipe, world_size: int = 1) -> LegacyStream | None:
    """Make the random stream that all utterances share with ``augment.rng: legacy``; otherwise None.

    Raises:
        InputError: if several processes would share a legacy stream.
    """
    if recipe.augment.rng == "utterance":
        return None
    if world_size > 1:
        raise InputError(
            f"`augment.rng=legacy` draws from one stream, which {world_size} processes cannot share: train in one "
            "process, or use `augment.rng=utterance`"
        )
    if recipe.data.num_workers:
        print_note(
            "`augment.rng=legacy` draws in the order of reading, so this process reads the audio itself; "
            "`data.num_workers` is not used"
        )
    return LegacyStream(recipe.seed)
