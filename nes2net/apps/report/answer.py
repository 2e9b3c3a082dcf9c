"""Give the answer about a recording in plain words; docs/plain.md uses the same words."""

from __future__ import annotations

import shlex
from typing import NamedTuple

from numpy.typing import NDArray

from nes2net.lib.errors import pluralise, with_flag_names
from nes2net.lib.output.times import clock, plain_duration, readable_duration
from nes2net.scoring.decisions.along import MIN_SPEECH, LowWindows, Stretch
from nes2net.scoring.decisions.decision import CANNOT_TELL, Decider
from nes2net.scoring.judged import Judged

# Some windows of bona fide speech have low scores by chance. "Bona fide" is doubted above this many times the
# expected number, at least 1. An assumption.
_MANY_TIMES = 3


class Answer(NamedTuple):
    """The answer about a recording; the most important sentence comes first."""

    kind: str
    """Chooses colours in the style sheet: ``"bonafide"``, ``"spoof"`` or ``"unsure"``."""
    verdict: str
    """One to three words."""
    meaning: str
    facts: list[tuple[str, str]]
    """Heading and text."""
    command: str = ""
    """A command that makes a calibration, if there is none."""


def answer_of(judged: Judged[float], model: str) -> Answer:
    """Put the answer of a detector into plain words; ``model`` is for the command."""
    decider = judged.decider
    decision = judged.decision
    if decision is None:
        return _without_calibration(judged, model)
    facts = [("What it rests on", _basis_words(judged))]
    reason = with_flag_names(decision.reason or "")
    if judged.remarks and judged.remarks != reason:
        facts.append(("Mind", f"{judged.remarks}."))
    if decision.decision == CANNOT_TELL or decider is None or decision.probability is None:
        return Answer("unsure", decision.decision.capitalize(), decision.meaning, facts)
    probability = ("Probability", _probability_words(judged, decision.probability, decider))
    facts = [probability, *facts, *_window_facts(judged)]
    if decision.p_value is not None:
        # If windows decided, the length of the recording was not compared.
        compared = "level or bandwidth" if judged.decision_by_windows else "length, level or bandwidth"
        usualness = (
            f"Of the recordings that the calibration was learned from, {in_hundred(decision.p_value)} are as unusual as "
            f"this one in {compared}, or in how the detector hears them."
        )
        facts.append(("How usual it is", usualness))
    if decision.decision == "bonafide":
        meaning = "This detector takes the recording for real speech: for what a microphone took down of a human voice."
        return Answer("bonafide", "Bona fide", meaning, facts)
    if judged.decision_by_windows is not None and judged.decision_by_windows.in_part:
        meaning = (
            "This detector takes a part of the recording for a fake, that is, for speech that a machine made or changed. "
            "The recording as a whole is more like real speech."
        )
        return Answer("spoof", "Spoof, in part", meaning, facts)
    meaning = "This detector takes the recording for a fake: for speech that a machine made or changed."
    return Answer("spoof", "Spoof", meaning, facts)


def _window_facts(judged: Judged[float]) -> list[tuple[str, str]]:
    facts = []
    stretch = stretch_of(judged)
    if stretch is not None:
        facts.append(("A part that stands out", _stretch_words(stretch)))
    along = judged.decision_by_windows
    if along is not None and along.low_windows is not None:
        facts.append(("Single windows", _low_window_words(along.low_windows, along.windows, along.decision)))
        if along.decision == "bonafide":
            facts.append(("What would be missed", _missed_words(along.shortest_found)))
    return facts


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


def _without_calibration(judged: Judged[float], model: str) -> Answer:
    score = f"{judged.value:.4f}".replace("-", "−")
    scored_part = "this recording"
    judged_share = judged.judged
    if judged_share < 1:
        scored_part = f"the first {readable_duration(judged_share * judged.duration, exact=True)} of this recording"
    meaning = (
        f"The detector gives {scored_part} a score of {score}, and a score alone is no answer. It is higher for real "
        "speech than for fakes, but where the border lies differs from detector to detector, and from one kind of "
        "recording to another."
    )
    how = (
        "A calibration turns scores into answers. It needs recordings like this one of which you know the truth, at "
        "least 20 real ones and 20 fakes, better hundreds, in two folders. The first of these commands learns it, the "
        "second makes this report with it."
    )
    words = ["nes2net", "calibrate", "recordings", "REAL", "FAKE", "--model", model, "--save", "calibration.json"]
    facts = [("What it rests on", _basis_words(judged)), ("How to get an answer", how)]
    if judged.remarks:
        facts.append(("Mind", f"{judged.remarks}."))
    return Answer("unsure", "No answer", meaning, facts, shlex.join(words))


def _basis_words(judged: Judged[float]) -> str:
    along = judged.decision_by_windows
    if along is not None:
        windows = pluralise(along.windows, "window")
        window = readable_duration(along.window, exact=True)
        number = along.decided_by
        decided_by = f" The number that decided is {number}." if number else ""
        share_with_speech = percent(along.rests_on)
        return f"{share_with_speech} of the recording: {windows} of {window} in which there is speech.{decided_by}"
    if judged.is_mean and judged.track is not None:
        windows = pluralise(judged.track, "window")
        return (
            f"The mean of {windows} of {readable_duration(judged.track.window, exact=True)}, over the whole recording."
        )
    judged_share = judged.judged
    if judged.decision is not None and judged.decision.judged is not None:
        judged_share = judged.decision.judged
    if judged_share < 1:
        return f"The beginning of the recording, {percent(judged_share)} of it."
    return "The whole recording."


def _probability_words(judged: Judged[float], probability: float, decider: Decider) -> str:
    along = judged.decision_by_windows
    subject = "the recording"
    if along is not None and along.windows > 1:
        subject = "a typical window of the recording"
    words = (
        f"{percent(probability)} that {subject} is bona fide, and {percent(1 - probability)} that it is spoof, "
        f"if {percent(decider.prior)} of such recordings are bona fide."
    )
    if llrs := decider.calibration.llrs:
        words += f" Learned from {len(llrs.bonafide):,} bona fide and {len(llrs.spoof):,} spoofed recordings"
        if decider.largest_llr is not None:
            words += f": so few support {percent(float(decider.probability(decider.largest_llr)))} at most"
        words += "."
    if along is not None and along.in_part:
        words += " The answer does not rest on this number, but on the part that stands out."
    return words


def _stretch_words(stretch: Stretch) -> str:
    if not stretch.stands_out:
        return "None: by chance, bona fide recordings of this length have a part like its lowest."
    return (
        f"{clock(stretch.start)} to {clock(stretch.end)} speaks against bona fide. Fewer than 1 in 100 bona fide "
        "recordings of this length have a part like it."
    )


def _low_window_words(low: LowWindows, num_windows: int, decision: str) -> str:
    expected = round(low.expected)
    by_chance = f"about {expected:,}" if expected else "hardly any"
    words = (
        f"{low.num_windows:,} of {pluralise(num_windows, 'window')} are lower than nearly all real speech that the "
        f"calibration knows; of real speech {by_chance} would be so, by chance."
    )
    if decision == "bonafide" and low.num_windows > _MANY_TIMES * max(1, expected):
        words += " So many of them are a reason to doubt the answer."
    return words


def _missed_words(shortest_found: float | None) -> str:
    if shortest_found is None:
        return "A fake part of any length would mostly be missed."
    return f"A fake part shorter than about {plain_duration(shortest_found)} would mostly be missed."
