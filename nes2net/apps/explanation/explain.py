"""Explain a score by relevant parts of the recording and weights of the layers, and check it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nes2net.apps.explanation.faithfulness import Check, check
from nes2net.apps.explanation.gradients import attribute
from nes2net.apps.explanation.layers import Layers, weigh_layers
from nes2net.apps.explanation.occlusion import most_occlusions, occlude
from nes2net.apps.explanation.relevance import Relevance
from nes2net.apps.explanation.settings import How
from nes2net.apps.explanation.subject import Removable, Subject
from nes2net.data.audio.read import SAMPLE_RATE, count_samples, load_audio
from nes2net.data.audio.remarks import remark_of
from nes2net.data.audio.sources import Audio, recording_of
from nes2net.detector import Detector
from nes2net.lib.errors import InputError, check_setting
from nes2net.scoring.score_length import length_of_training, samples_to_score

#: Longest part of a recording that is explained at once, in seconds.
MAX_SECONDS = 30.0


@dataclass(frozen=True)
class Explanation:
    score: float
    """Higher means more bona fide."""
    start: float
    """Seconds in the recording."""
    duration: float
    """Seconds."""
    method: str
    """As in :class:`nes2net.apps.explanation.settings.How`."""
    relevance: Relevance
    """Times count from the beginning of the recording."""
    layers: Layers | None
    """None if the detector does not weigh layers."""
    checks: tuple[Check, ...]
    difference: float | None
    """Score of recording minus score of baseline, for integrated gradients."""
    waveform: NDArray = field(repr=False)
    """(N,), the explained samples at 16 kHz."""
    remark: str
    """See :mod:`nes2net.data.audio.remarks`."""

    @property
    def unexplained(self) -> float | None:
        """:attr:`difference` minus the sum of the relevance; None for other methods."""
        if self.difference is None:
            return None
        return self.difference - float(self.relevance.over_time.sum())

    def to_dict(self) -> dict[str, object]:
        """Return plain data for JSON, without the samples."""
        facts = {
            "score": self.score,
            "start": self.start,
            "duration": self.duration,
            "method": self.method,
        }
        if self.remark:
            facts["remark"] = self.remark
        # Users' programs read these keys.
        facts["stretches"] = [stretch._asdict() for stretch in self.relevance.stretches()]
        facts["strongest_bands"] = [band._asdict() for band in self.relevance.strongest_bands()]
        facts["layers"] = self.layers and self.layers.to_dict()
        facts["checks"] = [check.to_dict() for check in self.checks]
        if self.difference is not None:
            facts["difference"] = self.difference
            facts["unexplained"] = self.unexplained
        return facts | {"relevance": self.relevance.to_dict()}


def explain(
    detector: Detector,
    audio: Audio,
    sample_rate: float | None = None,
    how: How = How(),
    *,
    num_samples: int | Literal["auto"] | None = "auto",
    start: float = 0.0,
    duration: float | None = None,
    progress: Callable[[int, int], object] = lambda *_: None,
) -> Explanation:
    """Explain the score of a recording, or of the part that begins at ``start`` and lasts ``duration``.

    The same arguments give the same explanation, up to the rounding of the device.

    Args:
        audio, sample_rate, num_samples: as for :meth:`nes2net.Detector.score`, but from ``start``.
        start: seconds.
        duration: seconds; None for all samples from ``start`` on.
        progress: called after each batch with its size, and the total number of versions to score.

    Raises:
        InputError: for the reasons in :meth:`nes2net.Detector.score`; if the part is empty or
            longer than 30 s; or if the method needs gradients and the detector has no gradients.
        MissingLibrary: if the method needs captum, which is not installed.

    >>> detector = Detector.from_config({"frontend": "lps", "backend": "mean_linear"})
    >>> noise = np.random.default_rng(0).standard_normal(8000) / 10
    >>> explanation = explain(detector, noise, 16000, How(draws=2))
    >>> explanation.relevance.cells.shape, [check.of for check in explanation.checks]
    ((16, 5), ['time', 'cells'])
    """
    method = how.method
    samples = samples_to_score(detector.provenance, num_samples).num_samples
    waveform = _read_part(audio, sample_rate, start, duration, samples)
    subject = Subject(detector, waveform, samples, how.batch_size)
    grid = Removable(subject.waveform, how.bin_seconds, how.num_bands, how.seed)
    num_versions = how.steps + 2  # of integrated gradients: each step, and both ends of the path
    if method == "occlusion":
        num_versions = most_occlusions(grid)
    total = 1 + num_versions + 2 * (1 + how.draws)  # one check removes time bins, the other removes cells
    subject.progress = lambda count: progress(count, total)
    score = subject.score()
    difference = None
    if method == "occlusion":
        relevance = occlude(subject, grid, score)
    else:
        relevance, difference = attribute(subject, grid, how.steps)
    return Explanation(
        score,
        start,
        len(subject.waveform) / SAMPLE_RATE,
        method,
        replace(relevance, times=relevance.times + start),
        weigh_layers(subject),
        tuple(check(subject, grid, score, relevance, how.draws, how.seed)),
        difference,
        subject.waveform.numpy(),
        remark_of(waveform, len(waveform), None, length_of_training(detector.provenance)).text,
    )


def _read_part(
    audio: Audio, sample_rate: float | None, start: float, duration: float | None, samples: int | None
) -> NDArray:
    """Read the part to explain, (N,) at 16 kHz; the detector scores ``samples`` samples, None for all."""
    check_setting("start", start, start >= 0, "a time in the recording, 0 s or more")
    check_setting("duration", duration, duration is None or duration > 0, "more than 0 s")
    first = round(start * SAMPLE_RATE)
    longest = round(MAX_SECONDS * SAMPLE_RATE)
    length = longest + 1  # read one sample more than allowed, to notice a part that is too long
    if samples is not None:
        length = min(length, samples)
    if duration is not None:
        length = min(length, max(1, round(duration * SAMPLE_RATE)))
    recording = recording_of(audio, sample_rate)
    if isinstance(recording, np.ndarray):
        name = "the recording"
        waveform = recording[first : first + length]
    else:
        name = str(recording)
        waveform = load_audio(recording, length, first)
    if not len(waveform):
        total = len(recording) if isinstance(recording, np.ndarray) else count_samples(recording)
        raise InputError(f"{name} ends at {total / SAMPLE_RATE:.2f} s: choose a `start` before that, not {start}")
    if len(waveform) > longest:
        raise InputError(
            f"{name} is longer than {MAX_SECONDS:g} s, the most that is explained at once: choose a part of it with "
            "`start` and `duration`"
        )
    return waveform
