"""Explain a score by relevant parts of the recording and weights of the layers, and check it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_jsonable_python

from nes2net.apps.explanation.faithfulness import Check, check
from nes2net.apps.explanation.gradients import attribute
from nes2net.apps.explanation.layers import Layers, weigh_layers
from nes2net.apps.explanation.occlusion import most_occlusions, occlude
from nes2net.apps.explanation.relevance import Relevance
from nes2net.apps.explanation.settings import How
from nes2net.apps.explanation.subject import Removable, Subject
from nes2net.data.audio.read import SAMPLE_RATE, load_audio
from nes2net.data.audio.remarks import remark_of
from nes2net.data.audio.sources import Audio
from nes2net.detector import Detector
from nes2net.lib.errors import InputError
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.sheet import FactsDict
from nes2net.lib.output.terminal import printable_name
from nes2net.scoring.score_length import length_of_training, samples_to_score
from nes2net.scoring.waveforms import RecordingToJudge

#: Longest part of a recording that is explained at once, in seconds.
MAX_SECONDS = 30.0
# Advice to a user who waits for an explanation.
_ADVICE = {
    "occlusion": "this is the most; a larger `bin_seconds` or fewer `draws` take less",
    "integrated_gradients": "fewer `steps` or `draws` take less",
}


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

    def to_dict(self) -> FactsDict:
        """Return plain data for JSON, without the samples."""
        # Users' programs read these keys.
        facts: FactsDict = {
            "score": self.score,
            "start": self.start,
            "duration": self.duration,
            "method": self.method,
            "stretches": [stretch._asdict() for stretch in self.relevance.stretches()],
            "strongest_bands": [band._asdict() for band in self.relevance.strongest_bands()],
            "layers": self.layers,
            "checks": [check.to_dict() for check in self.checks],
        }
        if self.remark:
            facts["remark"] = self.remark
        if self.difference is not None:
            facts["difference"] = self.difference
            facts["unexplained"] = self.unexplained
        facts["relevance"] = {name: values for name, values in vars(self.relevance).items() if name != "additive"}
        return to_jsonable_python(facts, inf_nan_mode="null", fallback=np.ndarray.tolist)  # type: ignore[no-any-return]


def explain(
    detector: Detector,
    audio: Audio,
    sample_rate: float | None = None,
    how: How = How(),
    *,
    num_samples: int | Literal["auto"] | None = "auto",
) -> Explanation:
    """Explain the score of a recording, or of the part that ``how`` chooses.

    The same arguments give the same explanation, up to the rounding of the device.

    Args:
        audio, sample_rate, num_samples: as for :meth:`nes2net.Detector.score`, but from ``how.start``.

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
    source = RecordingToJudge.of(audio, sample_rate)
    waveform = _read_part(source, how, samples)
    subject = Subject(detector, waveform, samples, how.batch_size)
    grid = Removable(subject.waveform, how.bin_seconds, how.num_bands, how.seed)
    num_versions = how.steps + 2  # of integrated gradients: each step, and both ends of the path
    if method == "occlusion":
        num_versions = most_occlusions(grid)
    total = 1 + num_versions + 2 * (1 + how.draws)  # one check removes time bins, the other removes cells
    title = f"explaining {printable_name(Path(str(source)).name)}"
    with ProgressDisplay[None](title=title, unit="version", total=total, advice=_ADVICE[method]) as display:
        subject.progress = display.update
        score = subject.score()
        difference = None
        if method == "occlusion":
            relevance = occlude(subject, grid, score)
        else:
            relevance, difference = attribute(subject, grid, how.steps)
        checks = check(subject, grid, score, relevance, how.draws, how.seed)
    return Explanation(
        score,
        how.start,
        len(subject.waveform) / SAMPLE_RATE,
        method,
        replace(relevance, times=relevance.times + how.start),
        weigh_layers(subject),
        tuple(checks),
        difference,
        subject.waveform.numpy(),
        remark_of(waveform, len(waveform), None, length_of_training(detector.provenance)).text,
    )


def _read_part(source: RecordingToJudge, how: How, samples: int | None) -> NDArray:
    """Read the part to explain, (N,) at 16 kHz; the detector scores ``samples`` samples, None for all."""
    first = round(how.start * SAMPLE_RATE)
    longest = round(MAX_SECONDS * SAMPLE_RATE)
    length = longest + 1  # read one sample more than allowed, to notice a part that is too long
    if samples is not None:
        length = min(length, samples)
    if how.duration is not None:
        length = min(length, max(1, round(how.duration * SAMPLE_RATE)))
    if isinstance(source.decoded, np.ndarray):
        waveform = source.decoded[first : first + length]
    else:
        waveform = load_audio(source.decoded, length, first)
    if not len(waveform):
        end = source.num_samples / SAMPLE_RATE
        raise InputError(f"{source} ends at {end:.2f} s: choose a `start` before that, not {how.start}")
    if len(waveform) > longest:
        raise InputError(
            f"{source} is longer than {MAX_SECONDS:g} s, the most that is explained at once: choose a part of it with "
            "`start` and `duration`"
        )
    return waveform
