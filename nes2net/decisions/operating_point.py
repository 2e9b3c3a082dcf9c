"""Operating points: which threshold on log-likelihood ratios is taken, by name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from nes2net.errors import InputError
from nes2net.metrics.dcf import act_dcf_threshold

if TYPE_CHECKING:
    from nes2net.decisions.calibration import Llrs

_FORMS = (
    "'eer', 'cost:CMISS,CFA,PRIOR' (costs of the two errors and the prior of bona fide), 'fa:RATE%' or 'miss:RATE%' "
    "(at most so many false alarms or misses on the calibration's own trials)"
)


@dataclass(frozen=True)
class OperatingPoint:
    """A rule for a threshold θ: a recording is accepted as bona fide if its ratio is at least θ.

    - ``eer``: θ where misses and false alarms of the calibration's own trials are nearest to equal.
    - ``cost``: the Bayes threshold −ln(c_miss · prior / (c_fa · (1 − prior))), by Brümmer and du
      Preez, "Application-independent evaluation of speaker detection", Computer Speech & Language
      20, 2006. It depends on no trials. ``prior`` is that of bona fide.
    - ``fa``: the lowest θ that accepts at most ``rate`` of the calibration's spoofed trials.
    - ``miss``: the highest θ that rejects at most ``rate`` of its bona fide trials.
    """

    kind: Literal["eer", "cost", "fa", "miss"]
    c_miss: float = 1.0
    c_fa: float = 1.0
    prior: float = 0.5
    rate: float = 0.0

    @classmethod
    def parse(cls, text: str) -> OperatingPoint:
        """Read an operating point as flags name it.

        Raises:
            InputError: if it has another form, or a number is out of its range.

        >>> OperatingPoint.parse("cost:1,10,0.95").name, OperatingPoint.parse("fa:1%").rate
        ('cost:1,10,0.95', 0.01)
        """
        kind, _, value = text.strip().partition(":")
        try:
            if kind == "eer" and not value:
                return cls("eer")
            if kind == "cost":
                c_miss, c_fa, prior = map(float, value.split(","))
                if not math.isfinite(act_dcf_threshold(1 - prior, c_miss, c_fa)):  # or it raises
                    raise ValueError
                return cls("cost", c_miss, c_fa, prior)
            if kind in ("fa", "miss") and value.endswith("%"):
                rate = float(value[:-1]) / 100
                if not 0 < rate < 1:
                    raise ValueError
                return cls("fa" if kind == "fa" else "miss", rate=rate)
        except (ValueError, OverflowError, ZeroDivisionError):
            pass
        raise InputError(f"an operating point is {_FORMS}, not '{text}'")

    @property
    def name(self) -> str:
        """As :meth:`parse` reads it."""
        if self.kind == "eer":
            return "eer"
        if self.kind == "cost":
            return f"cost:{self.c_miss:.12g},{self.c_fa:.12g},{self.prior:.12g}"
        return f"{self.kind}:{100 * self.rate:.12g}%"

    def threshold(self, llrs: Llrs | None) -> float:
        """Find θ, a natural-log likelihood ratio.

        Args:
            llrs: of the calibration's own trials; ``cost`` needs none.

        Raises:
            InputError: if there are none, or too few to tell this rate.
        """
        if self.kind == "cost":
            return act_dcf_threshold(1 - self.prior, self.c_miss, self.c_fa) + 0.0  # not -0
        if llrs is None:
            raise InputError(
                f"the calibration holds no scores to read the operating point '{self.name}' off: make it again with "
                "`nes2net calibrate fit … --save FILE`, or take cost:CMISS,CFA,PRIOR"
            )
        if self.kind == "eer":
            return _eer_threshold(llrs.bonafide, llrs.spoof)
        of, what = (llrs.spoof, "spoofed") if self.kind == "fa" else (llrs.bonafide, "bona fide")
        if len(of) * self.rate < 1:
            raise InputError(
                f"{100 * self.rate:g} % of {len(of)} {what} trials is less than one trial: take a rate of at least "
                f"{rounded_up(100 / len(of))} %, or more trials"
            )
        allowed = int(len(of) * self.rate * (1 + 1e-12))
        ordered = np.sort(of)
        if self.kind == "miss":  # the highest θ: as many as allowed lie below it
            return float(ordered[allowed])
        at = ordered[len(of) - allowed - 1]  # the highest that must be rejected
        return float(np.nextafter(at, math.inf))


def _eer_threshold(bonafide: NDArray, spoof: NDArray) -> float:
    """The middle between the two trials at which misses and false alarms are nearest to equal.

    Of several such places the lowest is taken.
    """
    steps = np.unique(np.concatenate((bonafide, spoof)))
    misses = np.searchsorted(np.sort(bonafide), steps, side="left") / len(bonafide)
    alarms = 1 - np.searchsorted(np.sort(spoof), steps, side="left") / len(spoof)
    nearest = int(np.argmin(np.abs(misses - alarms)))
    return float(steps[nearest] if nearest == 0 else steps[nearest - 1] / 2 + steps[nearest] / 2)


def rounded_up(value: float) -> str:
    """Write a positive number in two digits, rounded up, so that a least value is enough as written.

    >>> rounded_up(1 / 300), rounded_up(0.5)
    ('0.0034', '0.5')
    """
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / step * (1 - 1e-12)) * step:.12g}"
