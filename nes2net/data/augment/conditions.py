"""Conditions of a robustness test: an effect at one strength, by its name."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from nes2net.data.augment.effect import Effect, check_samples
from nes2net.data.augment.sources import Sources
from nes2net.data.registry import effects
from nes2net.lib.errors import InputError, MissingLibrary, concerning
from nes2net.lib.parts.contracts import PartCheck


def create_condition(text: str, sources: Sources | None = None) -> Effect:
    """Build an effect at one strength.

    Args:
        text: ``NAME`` or ``NAME:STRENGTH``, such as ``"mp3:16"``.

    Raises:
        InputError: if the name is unknown, or the strength or a source does not fit.
    """
    name, effect_class, strength = _effect_and_strength(text)
    with concerning(f"condition '{text}':"), effects.guard(name):
        effect = effect_class(strength, sources)
    return effects.check_part(name, effect, check_effect, partial(effect_class, strength, sources))


def _effect_and_strength(text: str) -> tuple[str, Any, float | None]:
    """Return the name of the effect, its class, and the strength, if any."""
    name, colon, strength = text.partition(":")
    effect_class = effects.get(name)
    if not colon:
        return name, effect_class, None
    try:
        return name, effect_class, float(strength)
    except ValueError:
        raise InputError(
            f"condition '{text}': the strength behind the colon must be a number, not '{strength}'; 'nes2net info {name}' "
            "lists strengths"
        ) from None


def expand_strengths(text: str) -> list[str]:
    """Expand a condition without strength, such as ``mp3``, to its default strengths: ``mp3:8``, …

    A strength is written as ``%g``, so that each condition has only one name.

    Raises:
        InputError: if the name is unknown, or the strength is no number.
    """
    name, effect_class, strength = _effect_and_strength(text)
    strengths = effect_class.strengths if strength is None else [strength]
    return [f"{name}:{strength:g}" for strength in strengths] or [name]


class ConditionSuite(NamedTuple):
    """The default conditions of a robustness report."""

    names: list[str]
    """Conditions such as ``"mp3:16"``, effect by effect, the mildest strength first."""
    left_out: dict[str, str]
    """Effect → why this machine or the sources do not allow it."""


def default_conditions(sources: Sources | None = None) -> ConditionSuite:
    """List the effects whose sources and libraries exist, at each default strength.

    Raises:
        InputError: if a folder of ``sources`` cannot be used.
    """
    sources = sources or Sources()
    suite = ConditionSuite([], {})
    for name in dict.fromkeys([*effects._built_in, *effects.names()]):  # this package's effects come first
        effect = effects.find(name)
        if effect is None:
            suite.left_out[name] = f"cannot be imported; nes2net info {name} says why"
            continue
        if missing := [source for source in effect.needs if not getattr(sources, source)]:
            suite.left_out[name] = f"needs {' and '.join(missing)}"
            continue
        # Build one condition, to find out whether this machine can compute the effect.
        texts = expand_strengths(name)
        try:
            create_condition(texts[0], sources)
        except InputError as error:
            if not isinstance(error, MissingLibrary) and "speech" not in effect.needs:
                raise  # the user named a folder that cannot be used
            suite.left_out[name] = str(error)  # a library is missing, or there are too few recordings for babble
        else:
            suite.names.extend(texts)
    return suite


def check_effect(check: PartCheck, effect: Any, length: int) -> Any:
    """Return 1,000·``length`` samples of noise."""
    import torch  # imported late, for a fast start-up

    from nes2net.lib.parts.part_checks import TinyBatch  # imported late, because it imports torch

    def changed(check: PartCheck, effect: Any, waveform: Any) -> list[Any]:
        samples = check.call(effect, "__call__", waveform.numpy(), np.random.default_rng(0))
        check_samples(check, samples)
        fits = effect.time_moves or len(samples) == len(waveform)
        check.that(fits, "__call__ returned", samples, f"{len(waveform)} samples, or the attribute 'time_moves' = True")
        return [torch.from_numpy(samples.astype(np.float32))]

    return TinyBatch("__call__", [0.1 * torch.randn(1000 * length)], changed, join=None)
