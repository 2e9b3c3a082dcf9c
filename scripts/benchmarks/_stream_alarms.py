"""False alarms an hour against the delay of alarms, on calls joined from partially spoofed recordings."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.read import load_audio
from nes2net.data.audio.speech import speech_share
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora import partialspoof
from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.scoring.decisions import Decider, Evidence, load
from nes2net.scoring.decisions.along import LEAST_SPEECH

LEAD_IN = 30.0  # s of bona fide speech before the partially spoofed recordings of a call
SPOOFED = 30.0  # s of partially spoofed recordings
LIMITS = (0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0)  # of the cumulative sum
PROBABILITIES = (0.3, 0.2, 0.1, 0.05, 0.02, 0.01)
NEVER = 1e9  # a limit of the cumulative sum that is not reached


class Call(NamedTuple):
    """A call of one speaker."""

    samples: NDArray
    """(N,) at 16 kHz."""
    onset: float
    """Start of the first fake piece in seconds; infinite in a bona fide call."""


class ScoredWindow(NamedTuple):
    """What `nes2net listen` adds to the evidence for a window."""

    end: float
    score: float
    weight: float


def joined(trials: Iterable[Trial], seconds: float) -> tuple[NDArray, list[Trial]]:
    """Join recordings until they last ``seconds``; return the samples and the trials that were joined."""
    pieces: list[NDArray] = []
    joined_trials = []
    for trial in trials:
        pieces.append(load_audio(trial.audio_path()))
        joined_trials.append(trial)
        if sum(map(len, pieces)) >= seconds * SAMPLE_RATE:
            break
    return np.concatenate(pieces), joined_trials


def calls(root: Path, repeats: int) -> Iterator[Call]:
    """Yield the calls of each speaker of the evaluation part.

    A bona fide call has all bona fide recordings of the speaker, in random order; there are
    ``repeats`` of them. For each partially spoofed recording there is a call with bona fide
    recordings, then this recording, then others.
    """
    rng = np.random.default_rng(0)
    segments = partialspoof.segments(root, "eval")
    by_speaker: dict[str, dict[str, list[Trial]]] = defaultdict(lambda: defaultdict(list))
    for trial in partialspoof.CORPUS.trials(root, split="eval"):
        by_speaker[str(trial.speaker)][str(trial.label)].append(trial)
    for trials in by_speaker.values():
        bonafide = trials["bonafide"]
        spoofed = trials["spoof"]
        for _ in range(repeats):
            yield Call(joined(rng.permutation(bonafide), math.inf)[0], math.inf)
        for trial in spoofed:
            lead_in, _ = joined(rng.permutation(bonafide), LEAD_IN)
            tail, _ = joined([trial, *rng.permutation(spoofed)], SPOOFED)
            first_fake = min(segment.start for segment in segments[trial.id] if segment.label == "spoof")
            yield Call(np.concatenate([lead_in, tail]), len(lead_in) / SAMPLE_RATE + first_fake)


def scored(detector: Detector, samples: NDArray, window: float, hop: float) -> list[ScoredWindow]:
    """Score the windows of a call, and weigh each by its speech as `nes2net listen` does."""
    stream = detector.stream(SAMPLE_RATE, window=window, hop=hop)
    windows = []
    for start, end, score in stream.push(samples) + stream.finish():
        weight = speech_share(samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)])
        windows.append(ScoredWindow(end, score, weight if weight >= LEAST_SPEECH else 0.0))
    return windows


def alarm_times(windows: list[ScoredWindow], evidence: Evidence) -> tuple[list[float], list[float]]:
    """Add the windows to ``evidence``; return the times when alarms begin, and when they end."""
    begins = []
    ends = []
    was_alarm = False
    for end, score, weight in windows:
        is_alarm = evidence.add(end, score, weight).alarm
        if is_alarm and not was_alarm:
            begins.append(end)
        elif was_alarm and not is_alarm:
            ends.append(end)
        was_alarm = is_alarm
    return begins, ends


def row(name: str, scored_calls: list[tuple[Call, list[ScoredWindow]]], decider: Decider, **limits: float) -> str:
    """Write a row of the table for alarms with these ``limits``, the settings of :class:`Evidence`."""
    num_false = 0
    bonafide_seconds = 0.0
    delays = []
    num_early = 0
    num_missed = 0
    for call, windows in scored_calls:
        begins, ends = alarm_times(windows, Evidence(decider, windows[0].end, **limits))
        if math.isinf(call.onset):
            num_false += len(begins)
            bonafide_seconds += len(call.samples) / SAMPLE_RATE
            continue
        is_early = sum(begin < call.onset for begin in begins) > sum(end < call.onset for end in ends)
        later = [begin for begin in begins if begin >= call.onset]
        if is_early:
            num_early += 1
        elif later:
            delays.append(later[0] - call.onset)
        else:
            num_missed += 1
    median = p95 = math.nan
    if delays:
        median, p95 = np.quantile(delays, [0.5, 0.95])
    num_judged = max(1, len(delays) + num_missed)
    false_rate = 3600 * num_false / bonafide_seconds
    missed = 100 * num_missed / num_judged
    return f"| {name} | {false_rate:.0f} | {median:.1f} | {p95:.1f} | {missed:.0f} % | {num_early} |"


def measure(root: Path, model: Path, calibration: Path, repeats: int, hop: float) -> None:
    """Print the table for a detector and its calibration, on the corpus at ``root``.

    Args:
        repeats: number of orders in which the bona fide recordings of a speaker are joined.
        hop: seconds from one window to the next.
    """
    detector = Detector.from_pretrained(model, device="cpu")
    decider = Decider(load(calibration))
    scored_by = decider.calibration.scored_by
    assert scored_by is not None and scored_by.num_samples is not None
    window = scored_by.num_samples / SAMPLE_RATE
    scored_calls = [(call, scored(detector, call.samples, window, hop)) for call in calls(root, repeats)]
    bonafide = [call for call, _ in scored_calls if math.isinf(call.onset)]
    minutes = sum(len(call.samples) for call in bonafide) / SAMPLE_RATE / 60
    print(
        f"{model.name}, windows of {window:.3g} s every {hop:g} s: {minutes:.0f} minutes of bona fide calls, "
        f"{len(scored_calls) - len(bonafide)} calls whose speaker is partially spoofed after {LEAD_IN:g} s or a little more"
    )
    print("| an alarm begins at | false alarms an hour | median delay in s | 95 % | missed | in alarm before |")
    print("|---|---|---|---|---|---|")
    for limit in LIMITS:
        print(row(f"`against` {limit:g}", scored_calls, decider, alarm_probability=0, alarm_against=limit))
    for probability in PROBABILITIES:
        limits = {"alarm_probability": probability, "clear_probability": max(0.3, probability), "alarm_against": NEVER}
        print(row(f"`probability` {probability:g}", scored_calls, decider, **limits))
    print(row("either, as by default", scored_calls, decider))
