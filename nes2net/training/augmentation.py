"""The random stream that a recipe's augmentation draws from."""

from __future__ import annotations

import sys

from nes2net.augment.legacy import LegacyStream
from nes2net.errors import InputError, worded
from nes2net.recipes.recipe import Recipe


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
