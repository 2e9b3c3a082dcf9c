"""The base class of effects, and their combination by chance or in order."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.random import Generator, RandomState
from numpy.typing import NDArray

from nes2net.data.audio.packed import AnyRecording
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.audio.waveform import check_samples as check_audio
from nes2net.data.augment.sources import Sources
from nes2net.lib.errors import InputError, check_setting
from nes2net.lib.parts.contracts import Extension, PartCheck

#: The samples of an utterance, (N,), at 16 kHz.
Waveform: TypeAlias = NDArray[np.float32]
# Field of Sources → what the user should provide, and how: the end of the message about an empty field.
_NEEDED = {
    "musan": "MUSAN (openslr.org/17): name its folder with `augment.musan`",
    "rir": "impulse responses (openslr.org/28): name their folder with `augment.rir`",
    "speech": "recordings to make babble of: name their folder with `sources.speech`",
}


class Effect(Extension, ABC):
    """A change of a waveform. Each worker gets a pickled copy of an effect.

    A subclass sets the class variables and defines :meth:`__call__`; one that needs a library also
    defines :meth:`prepare`. ``nes2net info`` and the manual show the first line of its docstring.

    Args:
        strength: the strength in ``unit``; None for an effect without strengths.
        sources: recordings that the effect may mix in.

    Raises:
        InputError: if the strength is missing, not allowed or out of its range, or if a source or
            library is missing.
    """

    unit: str = ""
    """Unit of the strength, such as ``"dB"``, if any."""
    strengths: tuple[float, ...] = ()
    """Default strengths of ``nes2net robustness``, from mild to hard; empty if there are none."""
    limits: tuple[float, float] = (-math.inf, math.inf)
    """Lowest and highest possible strength."""
    choices: tuple[float, ...] = ()
    """The possible strengths; empty if all values between the limits are possible."""
    needs: tuple[str, ...] = ()
    """Fields of :class:`Sources` that the effect needs."""
    time_moves: bool = False
    """Whether the length changes or sounds move, so that labels of frames no longer fit."""
    is_linear: bool = False
    """Whether it is a linear filter, the same at all times."""
    in_turn: bool = False
    """Whether draws depend on the order of utterances, so that one process must read them all."""
    strength: float = math.nan
    """NaN if the effect has no strength."""
    sources: Sources = Sources()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__call__" in vars(cls):
            cls.__call__ = checked_call(cls.__call__)  # type: ignore[method-assign]

    def __init__(self, strength: float | None = None, sources: Sources | None = None) -> None:
        if fault := self._strength_fault(strength):
            raise InputError(fault)
        if strength is not None:
            self.strength = strength
        self.sources = sources or Sources()
        for name in self.needs:
            if not self.sources.recordings(name):
                raise InputError(f"needs {_NEEDED[name]}")
        self.prepare()

    def prepare(self) -> None:  # most effects need nothing
        """Check the requirements of the effect, such as a library, when it is created.

        Raises:
            InputError: if a requirement is not met.
        """

    @classmethod
    def _strength_fault(cls, strength: float | None) -> str:
        if not cls.strengths:
            return "" if strength is None else "it has no strength: remove the colon and the text after it"
        words = cls.strengths_in_words()
        if strength is None:
            return f"it needs a strength, {words}: write it after a colon, such as :{cls.strengths[0]:g}"
        fits = cls.limits[0] <= strength <= cls.limits[1] and math.isfinite(strength)
        if fits and (not cls.choices or strength in cls.choices):
            return ""
        return f"its strength must be {words}, not {strength:g}"

    @classmethod
    def strengths_in_words(cls) -> str:
        """Describe the possible strengths, such as ``0.5 to 2 s``; empty if there are none."""
        if not cls.strengths:
            return ""
        if cls.choices:
            numbers = f"one of {', '.join(f'{value:g}' for value in cls.choices)}"
        else:
            low, high = cls.limits
            numbers = f"{low:g} to {high:g}"
        return f"{numbers} {cls.unit}".rstrip()

    @property
    def recordings(self) -> Sequence[AnyRecording]:
        """Recordings that the effect may mix in."""
        return list(chain.from_iterable(map(self.sources.recordings, self.needs)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self).get('strength', '')})"

    @abstractmethod
    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        """Apply the effect to a copy of ``x``; all calls are checked (:func:`checked_call`).

        Args:
            x: (N,), N ≥ 1, at 16 kHz in [−1, 1].
            rng: the generator of all random numbers, if the effect draws any.

        Returns:
            (M,), M ≥ 1. Codecs clip to [−1, 1], as real codecs do; other effects may exceed it.

        Raises:
            InputError: if a recording cannot be used; the message names the recording.
        """


def checked_call(call: Callable[[Any, Waveform, Generator], Waveform]) -> Callable[..., Waveform]:
    """Let the ``__call__`` of an effect check what it gets, also ``sample_rate`` if a program passes it.

    The checked call raises :class:`InputError` if ``x`` is not of shape (N,), floating-point and finite,
    mostly in [−1, 1]; if ``sample_rate`` is not 16,000 Hz; or if ``rng`` is not a generator.
    """

    @wraps(call)
    def checked(self: Effect, x: NDArray, rng: Generator, sample_rate: float = SAMPLE_RATE) -> Waveform:
        x = np.asarray(x)
        if fault := input_fault(x, rng, self):
            raise InputError(fault)
        if sample_rate != SAMPLE_RATE:
            check_setting("sample_rate", sample_rate, False, "16000 (resample the waveform)")
        check_audio(x, SAMPLE_RATE, "the waveform")
        return call(self, x, rng)

    return checked


def input_fault(x: NDArray, rng: object, user: object) -> str:
    """Say why ``user``, such as ``"RawBoost"``, cannot use waveform and generator; empty for samples (N,)."""
    if not isinstance(rng, (Generator, RandomState)):
        return f"rng must be a numpy.random.Generator or RandomState, not {type(rng).__name__}"
    if x.ndim != 1:
        return f"the waveform has shape {x.shape}; {user} requires one channel, shape (N,)"
    if x.dtype not in (np.float32, np.float64):
        return f"the waveform is {x.dtype}; {user} requires float32 or float64 samples in [-1, 1]"
    if len(x) == 0:
        return f"the waveform is empty; {user} needs at least one sample"
    return ""


def check_samples(check: PartCheck, samples: Any) -> None:
    """Raise :class:`BrokenPart` unless an effect returned ``samples`` (N,), N ≥ 1."""
    fits = isinstance(samples, np.ndarray) and samples.ndim == 1 and samples.size and samples.dtype.kind == "f"
    is_audio = bool(fits) and bool(abs(samples).max() < 16)  # false for NaN; more is another unit
    check.that(is_audio, "__call__ returned", samples, "finite samples, an array of shape (N,), mostly in [−1, 1]")


class OneOf(Effect):
    """Apply one of the ``effects``, all equally likely, or leave the waveform unchanged.

    Args:
        probability: chance that an effect is applied to an utterance.
    """

    def __init__(self, effects: Sequence[Effect], probability: float = 0.5) -> None:
        self.effects = effects
        self.probability = probability
        self.time_moves = any(effect.time_moves for effect in effects)
        self.in_turn = any(effect.in_turn for effect in effects)
        self.subject = " or ".join(filter(None, (effect.subject for effect in effects)))

    def __bool__(self) -> bool:
        return bool(self.effects)

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        # Another order of draws would change the result of every seed.
        if not self.effects or rng.random() >= self.probability:
            return x
        return self.effects[int(rng.integers(len(self.effects)))](x, rng)

    @property
    def recordings(self) -> list[AnyRecording]:
        """Recordings that the effects may mix in, once each."""
        return list(dict.fromkeys(chain.from_iterable(effect.recordings for effect in self.effects)))


class InOrder(OneOf):
    """Apply all ``effects``, one after the other; a :class:`OneOf` without effects is omitted."""

    def __init__(self, effects: Sequence[Effect]) -> None:
        super().__init__([effect for effect in effects if effect], 1.0)

    def __call__(self, x: Waveform, rng: Generator) -> Waveform:
        for effect in self.effects:
            x = effect(x, rng)
        if self.subject:
            check_samples(PartCheck(self.subject), x)
        return x
