"""Choose what a report says of the decision, and write shares in plain words; the templates have the other words."""

from __future__ import annotations

from numpy.typing import NDArray

from nes2net.scoring.decisions.along import MIN_SPEECH, Stretch
from nes2net.scoring.decisions.decision import CANNOT_TELL
from nes2net.scoring.judged import Judged


def answer_kind(judged: Judged[float]) -> str:
    """Return ``"bonafide"``, ``"spoof"`` or ``"unsure"``, which chooses words, and colours in the style sheet."""
    decision = judged.decision
    if decision is None or decision.decision == CANNOT_TELL:
        return "unsure"
    if judged.decider is None or decision.probability is None:
        return "unsure"
    return decision.decision


def stretch_of(judged: Judged[float]) -> Stretch | None:
    """Return the part with the most evidence against bona fide; None for "cannot tell"."""
    along = judged.decision_by_windows
    return None if along is None or along.decision == CANNOT_TELL else along.stretch


def decided_windows(judged: Judged[float]) -> NDArray:
    """Return which of the K windows have enough speech to count, (K,); none if the recording is unfit."""
    track = judged.track
    assert track is not None and track.speech is not None
    return (track.speech >= MIN_SPEECH) & (not track.remark.unfit)


def percent(share: float) -> str:
    """Write a share in percent, with a no-break space; shares near 0 and 100 % get more digits.

    >>> [percent(share).replace("\N{NO-BREAK SPACE}", " ") for share in (0.7253, 0.9884, 1.0, 0.0004)]
    ['73 %', '98.8 %', '100 %', '0.04 %']
    """
    number = f"{100 * share:.2g}"
    if 0.05 <= share <= 0.95 or share in (0, 1):
        number = f"{100 * share:.0f}"
    elif share > 0.95:
        number = f"{100 * share:.1f}"
    return f"{number}\N{NO-BREAK SPACE}%"


def in_hundred(share: float) -> str:
    """Write a share in words, as "about k in n".

    >>> in_hundred(0.107), in_hundred(0.002), in_hundred(0.0), in_hundred(1.0)
    ('about 11 in 100', 'about 2 in 1,000', 'none', 'all')
    """
    if share in (0, 1):
        return "all" if share else "none"
    for number in (100, 1000, 10_000, 100_000):
        if share * number >= 0.95:
            return f"about {share * number:.0f} in {number:,}"
    return "fewer than 1 in 100,000"
