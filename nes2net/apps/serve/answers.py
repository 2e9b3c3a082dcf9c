"""Types of the answers of the HTTP interface, from which its OpenAPI description is made."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, with_config
from typing_extensions import NotRequired, TypedDict  # before Python 3.12, pydantic refuses the types of `typing`

# Refuse unknown keys, because every key has to be described. pydantic takes the text below a key as the description.
_CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@with_config(_CONFIG)
class Problem(TypedDict):
    """The answer to a request that failed."""

    error: str
    """What is wrong."""
    file: NotRequired[str]
    """Name of the recording, if it was looked at."""


@with_config(_CONFIG)
class Health(TypedDict):
    """Whether the server accepts recordings."""

    status: Literal["ready", "loading", "stopping"]
    """`ready` with status 200, the others with status 503."""
    model: str
    """Name of the detector."""


@with_config(_CONFIG)
class ServerLimits(TypedDict):
    """Limits of the server."""

    max_size_mb: float
    """Largest file in MB."""
    max_duration_s: float
    """Longest recording in seconds."""
    timeout_s: float
    """Seconds that a recording may take."""
    waiting: int
    """Recordings that may wait."""
    workers: int
    """Recordings that are scored at once."""


@with_config(_CONFIG)
class Info(TypedDict):
    """Facts about the server."""

    version: str
    """Version of nes2net."""
    model: str
    """Name of the detector."""
    parts: dict[str, str]
    """Names of front-end, aggregation and back-end."""
    device: str
    """Where the detector computes."""
    threads: int
    """Processor threads of PyTorch for each recording."""
    precision: str
    """Precision of the computation."""
    finds_segments: bool
    """Whether the detector finds fake stretches."""
    calibrated: bool
    """Whether the server decides by a calibration."""
    basis: dict[str, Any] | None
    """What decisions rest on: threshold, prior, and the facts of the calibration. Null without a calibration."""
    notes: list[str]
    """What is uncertain."""
    limits: ServerLimits


@with_config(_CONFIG)
class Lowest(TypedDict):
    """The window with the lowest score."""

    score: float
    start: float
    """Seconds."""
    end: float
    """Seconds."""


@with_config(_CONFIG)
class FakeStretch(TypedDict):
    """A stretch that is probably fake."""

    label: str
    start: float
    """Seconds."""
    end: float
    """Seconds."""
    score: float


@with_config(_CONFIG)
class SegmentRule(TypedDict):
    """The rule by which fake stretches are found."""

    resolution_ms: float
    threshold: float
    hysteresis: float
    min_duration: float


@with_config(_CONFIG)
class ScoredRecording(TypedDict):
    """The scores of a recording. Higher means bona fide; a score is no probability."""

    file: str
    """Name of the recording."""
    channel: NotRequired[int]
    """The channel that was asked for."""
    score: float
    """The score of the detector."""
    llr: NotRequired[float | None]
    """With a calibration: natural-log likelihood ratio of bona fide against spoof. Null if the recording is unfit."""
    probability: NotRequired[float | None]
    """With a calibration: probability of bona fide at the prior. Null if the recording is unfit."""
    decision: NotRequired[Literal["bonafide", "spoof", "cannot tell"]]
    """With a calibration: the decision."""
    reason: NotRequired[str]
    """Why the decision is `cannot tell`."""
    p_value: NotRequired[float]
    """Share of the calibration's recordings that are at least as unusual."""
    along: NotRequired[dict[str, Any]]
    """What a decision along the whole recording rests on."""
    basis: NotRequired[dict[str, Any]]
    """With a calibration: threshold, prior, and the facts of the calibration."""
    duration: float
    """Seconds."""
    judged: float
    """Share of the recording that the score rests on."""
    method: Literal["whole", "beginning", "track"]
    """What was scored: the whole recording, its first `samples`, or the mean of windows along it."""
    samples: NotRequired[int]
    """Number of samples at 16 kHz that were scored from the beginning."""
    window: float
    """Length in seconds of the windows along the recording."""
    hop: float
    """Seconds from one window to the next."""
    windows: int
    """Number of windows."""
    lowest: Lowest
    remark: NotRequired[str]
    """What is remarkable about the recording, such as silence."""
    segments: NotRequired[list[FakeStretch]]
    """Fake stretches, of a detector that was trained on segments."""
    segment_rule: NotRequired[SegmentRule]
    times: NotRequired[list[float]]
    """Middles of the windows in seconds; left out with `track=0`."""
    scores: NotRequired[list[float]]
    """Scores of the windows; left out with `track=0`."""


#: Status of an answer with an error → reason for the answer.
REASONS = {
    403: "the request comes from a page of another site",
    408: "the request did not come as a whole within ten minutes",
    413: "the file is larger than the server takes",
    421: "the request is addressed to a name that is not this server's",
    422: "the file is not a recording, is damaged or too long, or the form has no `file`",
    503: "too many recordings wait, the detector is being loaded, or the server is being stopped: try again later",
    504: "the recording took longer than the server's time limit",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the answers with errors for FastAPI; ``statuses`` are keys of :data:`REASONS`."""
    return {status: {"model": Problem, "description": REASONS[status]} for status in statuses}
