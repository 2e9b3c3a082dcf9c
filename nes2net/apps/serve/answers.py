"""Types of the answers of the HTTP interface; the OpenAPI description is made from these types."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, with_config
from typing_extensions import NotRequired, TypedDict  # before Python 3.12, pydantic refuses the types of `typing`

from nes2net.lib.output.sheet import FactsDict

# Refuse unknown keys, because every key has to be described. pydantic takes the text below a key as the description.
_CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True)
_OPEN_CONFIG = ConfigDict(extra="allow", use_attribute_docstrings=True)  # each judgement tells facts of its own


@with_config(_CONFIG)
class Problem(TypedDict):
    """The answer to a request that failed."""

    error: str
    """What is wrong."""
    file: NotRequired[str]
    """Name of the recording, if the server has looked at the recording."""


@with_config(_CONFIG)
class ServerLimits(TypedDict):
    """Limits of the server."""

    max_size_mb: float
    """Size of the largest accepted file in MB."""
    max_duration_s: float
    """Duration of the longest accepted recording in seconds."""
    timeout_s: float
    """Longest time in seconds that decoding and scoring of a recording may take."""
    waiting: int
    """Largest number of recordings that may wait."""
    workers: int
    """Largest number of recordings that are scored at once."""


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
    """Device on which the detector computes."""
    threads: int
    """Processor threads of PyTorch for each recording."""
    precision: str
    """Precision in which the detector computes."""
    finds_segments: bool
    """Whether the detector finds fake stretches."""
    calibrated: bool
    """Whether the server decides by a calibration."""
    basis: FactsDict | None
    """What decisions rest on: threshold, prior, and the facts of the calibration. Null without a calibration."""
    people: list[str]
    """Names of the enrolled people, for the form field `person`."""
    notes: list[str]
    """Notes on what makes the scores or decisions uncertain."""
    limits: ServerLimits


@with_config(_CONFIG)
class Lowest(TypedDict):
    """The window with the lowest score."""

    score: float
    start: float
    """Beginning of the window in seconds."""
    end: float
    """End of the window in seconds."""


@with_config(_CONFIG)
class FakeStretch(TypedDict):
    """A stretch that is probably fake."""

    label: str
    start: float
    """Beginning of the stretch in seconds."""
    end: float
    """End of the stretch in seconds."""
    score: float


@with_config(_CONFIG)
class SegmentRule(TypedDict):
    """The rule by which fake stretches are found."""

    resolution_ms: float
    threshold: float
    hysteresis: float
    min_duration: float


@with_config(_OPEN_CONFIG)
class JudgedRecording(TypedDict):
    """What the detector says of a recording, with the facts that the judgement tells."""

    file: str
    """Name of the recording."""
    channel: NotRequired[int]
    """Number of the channel that the request asked for, counted from 0."""
    judgement: str
    """Name of the judgement."""
    score: NotRequired[float]
    """The score of the detector, higher for bona fide; it is not a probability."""
    llr: NotRequired[float | None]
    """With a calibration: natural-log likelihood ratio of bona fide against spoof. Null if the recording is unfit or
    unlike the calibration's recordings."""
    probability: NotRequired[float | None]
    """With a calibration: probability of bona fide at the prior. Null if `llr` is null."""
    decision: NotRequired[str]
    """With a calibration: `bonafide`, `spoof`, `cannot tell`, `usual for your genuine recordings` or `unusual for your
    genuine recordings`; with `person`: the `outcome`."""
    reason: NotRequired[str | list[str]]
    """Why the decision is `cannot tell`; a list with `person`."""
    p_value: NotRequired[float]
    """Share of the calibration's recordings that are at least as unusual as this recording."""
    score_of: NotRequired[str]
    """Of which part of the recording `score` is the score, if the decision was made along the recording."""
    decided_by: NotRequired[str]
    """The number that decided, if the decision was made along the recording."""
    along: NotRequired[FactsDict]
    """Facts on which a decision along the whole recording rests."""
    basis: NotRequired[FactsDict | str | None]
    """With a calibration: threshold, prior, and the facts of the calibration; with `person`: `trials`, `genuine
    recordings`, or null."""
    duration: float
    """Duration of the recording in seconds."""
    judged: float
    """Share of the recording on which the answer rests."""
    method: Literal["whole", "beginning", "track"]
    """What was judged: the whole recording, its first `samples`, or windows along it, whose mean is the score."""
    samples: NotRequired[int]
    """Number of leading samples that were judged, at 16 kHz."""
    window: NotRequired[float]
    """Length in seconds of the windows along the recording."""
    hop: NotRequired[float]
    """Seconds from one window to the next."""
    windows: NotRequired[int]
    """Number of windows."""
    lowest: NotRequired[Lowest]
    remark: NotRequired[str]
    """What is remarkable about the recording, such as silence."""
    marks: NotRequired[list[FactsDict]]
    """Marks of who made or signed the recording, one object for each kind; `finding` is its text."""
    evidence: NotRequired[list[FactsDict]]
    """What the server was asked to find beside the answer; `finding` is its text."""
    trained_on_segments: bool
    """Whether the detector was trained to score segments."""
    segments: NotRequired[list[FakeStretch]]
    """Fake stretches; for `frames`, or if the detector was trained on segments."""
    segment_rule: NotRequired[SegmentRule]
    times: NotRequired[list[float]]
    """Middles of the windows in seconds; omitted with `track=0`."""
    scores: NotRequired[list[float]]
    """Scores of the windows, or for `frames` of the frames; omitted with `track=0`."""
    llrs: NotRequired[list[float]]
    """Log-likelihood ratios of the windows; omitted with `track=0`."""
    probabilities: NotRequired[list[float]]
    """Probabilities of bona fide of the windows; omitted with `track=0`."""


_FILE = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "The recording, in any format that libsndfile or FFmpeg reads.",
        },
        "person": {"type": "string", "description": "Who is said to speak: an enrolled name, or empty."},
    },
}
#: The form with a recording, for OpenAPI.
FORM = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FILE}}}}

#: Status of an answer with an error → reason for the answer.
REASONS = {
    403: "the request comes from a page of another site",
    408: "the request was not complete within ten minutes",
    413: "the file is larger than the server takes",
    421: "the request is addressed to a name that is not this server's",
    422: "the file is not a recording, is damaged or too long, the form has no `file`, or `person` is not enrolled",
    500: "the server failed, whatever the recording",
    503: "too many recordings wait, the detector is being loaded, or the server is being stopped: try again later",
    504: "the recording took longer than the server's time limit",
    507: "the disk of the server is full",
}


def error_answers(*statuses: int) -> dict[int | str, FactsDict]:
    """Describe for FastAPI the errors with these HTTP ``statuses``, keys of :data:`REASONS`."""
    return {status: {"model": Problem, "description": REASONS[status]} for status in statuses}
