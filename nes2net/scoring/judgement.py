"""The kinds of results that a detector computes for a recording; each kind is a subclass of :class:`Judgement`.

The score of a recording, the scores of its frames and its embedding are judgements. The class of a
judgement computes results, writes and reads files of results, puts results into words, and
evaluates files of results. Each judgement has a name, which the record ``{file}.json`` states.
Installed packages add judgements by entry points of the group ``nes2net.judgements`` (see
docs/extending.md).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from nes2net.lib.contracts import PartCheck
from nes2net.lib.errors import InputError
from nes2net.lib.files import AnyPath, Unchanged
from nes2net.lib.options import name_and_options
from nes2net.lib.registry import PACKAGES_KEY, check_installed
from nes2net.lib.terminal import print_note
from nes2net.scoring.class_file import holds_classes
from nes2net.scoring.output import Output
from nes2net.scoring.record import Record, record_of
from nes2net.scoring.registry import judgements
from nes2net.scoring.score_file import ScoreTable
from nes2net.scoring.segment_file import holds_frames

if TYPE_CHECKING:
    from torch import Tensor

    from nes2net.scoring.decisions.along import Cutoff
    from nes2net.scoring.decisions.decision import Decider
    from nes2net.scoring.kernel import Scorer
    from nes2net.scoring.track import FrameScores
    from nes2net.scoring.waveforms import WaveformReader

T = TypeVar("T")

#: Judgement → whether the first line of a file without a record is one of the judgement's.
_FIRST_LINES = {"classes": holds_classes, "frames": holds_frames}


class Judgement(Output[T]):
    """A kind of result that a detector computes for a recording, as a value of type ``T``.

    A subclass is a frozen dataclass, whose fields are the options of the judgement: plain data with
    defaults. If the value is a row of numbers, derive the subclass from
    :class:`nes2net.evaluation.judgements.Rows` instead.
    """

    name: ClassVar[str]
    """The name under which the judgement is registered."""
    is_score: ClassVar[bool] = False
    """Whether the value is a score of the recording, so that a calibration can decide on the recording."""
    of_recordings: ClassVar[bool] = False
    """Whether a file of this judgement can be read as one score for each recording."""
    of_whole: ClassVar[bool] = False
    """Whether this judgement always needs the whole recording."""
    has_frames: ClassVar[bool] = False
    """Whether :meth:`frames` returns scores of frames, in which fake stretches are found."""
    of_batch: ClassVar[bool] = False
    """Whether several recordings share a batch if the front-end has ``normalize: batch``. The value
    of a recording then depends on its batch, as published. If False, a detector with such a
    front-end judges one recording at a time."""

    def fitted(self, scorer: Scorer) -> Self:
        """Return this judgement with a value for each option that depends on ``scorer``.

        Raises:
            InputError: if ``scorer`` cannot make this judgement.
        """
        return self

    def decided_by(self, scorer: Scorer, decider: Decider | Cutoff | None) -> Self:
        """Return this judgement as by :meth:`fitted`, with what a calibration or a threshold changes.

        Raises:
            InputError: as :meth:`fitted`, or if ``decider`` cannot decide on this judgement.
        """
        if decider is not None and not self.of_recordings:
            raise InputError(f"`calibration` and `threshold` decide on scores, not on {self.name}: leave them out")
        return self.fitted(scorer)

    def score_of_value(self, value: T) -> float | None:
        """Return the score of a recording, higher for bona fide; None if the judgement has no such score."""
        return None

    def frames(self, value: T, duration: float) -> FrameScores | None:
        """Return the scores of frames in ``value`` and the rule for fake stretches; None if there are no frames."""
        return None

    def reader(self, reader: WaveformReader) -> WaveformReader:
        """Adapt ``reader``, which has the user's settings, to this judgement; most judgements return ``reader`` itself.

        Raises:
            InputError: if the judgement cannot be made from the waveforms that ``reader`` reads.
        """
        return reader

    @abstractmethod
    def start(
        self, scorer: Scorer, inputs: list[Tensor], *, stream: str | None = None, rows: int | None = None
    ) -> Callable[[], Sequence[T | str]]:
        """Start to judge a batch; return a function that waits for the results.

        The result of a recording is its value, or a text with the reason why the value is missing.

        Args:
            scorer: the detector, in :func:`nes2net.scoring.kernel.scoring_mode`.
            inputs: the waveforms B×N, 16 kHz, in [−1, 1]; for a detector that takes scores of other
                systems, also these scores B×S.
            stream, rows: as for :func:`nes2net.scoring.kernel.start`.
        """

    def options(self) -> dict[str, Any]:
        """Return the options of this judgement as plain data."""
        return asdict(self)  # type: ignore[call-overload]

    def identity(self) -> dict[str, Any]:
        """Return name and options of this judgement for the identity of a run, as plain data without nested values."""
        return {"judgement": self.name, **self.options()}

    def described(self) -> dict[str, Any]:
        """Return name and options for a record, from which :class:`ScoreFile` restores this judgement."""
        return {"name": self.name, **self.options()}

    @abstractmethod
    def tell(self, value: T) -> dict[str, Any]:
        """Turn ``value`` into the facts that ``nes2net predict`` prints in a row: name → number, text or list.

        A fact with the name ``remark`` is a text, which is printed at the end of the row.
        """

    def in_words(self, told: Mapping[str, Any]) -> str:
        """Join the facts of :meth:`tell`, except the remark, to a text that ``nes2net predict`` prints."""
        words = []
        for name, fact in told.items():
            if name == "remark":
                continue
            if isinstance(fact, float):
                words.append(f"{name} {fact:.4f}")
            elif isinstance(fact, list):
                words.append(f"{name}: {len(fact)} numbers")
            else:
                words.append(f"{name} {fact}")
        return ", ".join(words)

    def scores(self, path: Path) -> ScoreTable:
        """Read the file ``path`` of this judgement: ids and scores of recordings, and labels beside the scores.

        Raises:
            InputError: if the file cannot be read, or if this judgement has no scores of
                recordings.
        """
        raise InputError(
            f"{path}: holds {self.what}, not one score of each recording: make a file of these with `nes2net score`"
        )

    def meaning(self, scorer: Scorer) -> list[str]:
        """Return sentences that explain the rows of ``nes2net predict`` to a user."""
        return []


def as_judgement(judgement: str | Mapping[str, Any] | Judgement[Any]) -> Judgement[Any]:
    """Build a judgement from its name, or from a mapping of ``name`` and options; return a judgement unchanged.

    Raises:
        InputError: if the judgement or an option is unknown.
    """
    if isinstance(judgement, Judgement):
        return judgement
    name, options = name_and_options({"judgement": judgement}, "judgement", owner="`judgement`")
    factory = judgements.checked_factory(name, options)
    with judgements.guarded(name):
        built = factory(**options)
    return judgements.checked(name, built, _check_judgement)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ScoreFile:
    """A file of scores or of another judgement, and its record; both are read once."""

    path: Path
    judgement: Judgement[Any]
    """The judgement that the file holds."""
    record: Record | None
    """None if there is no record of this file."""
    _unchanged: Unchanged = field(repr=False)

    @classmethod
    def of(cls, file: AnyPath | ScoreFile) -> ScoreFile:
        """Find out from its record which judgement ``file`` holds; return a ScoreFile unchanged.

        A file of another toolkit has no record. If its first line is not one of
        :data:`_FIRST_LINES`, the file is taken for a score file.

        Raises:
            InputError: if the record names a judgement that is not installed, or options that the
                judgement does not have.
        """
        if isinstance(file, ScoreFile):
            return file
        path = Path(file)
        unchanged = Unchanged(path)
        record = record_of(path)
        if record is not None and record.judgement is not None:
            check_installed(str(path), record.facts.get(PACKAGES_KEY), [judgements])
            judgement = as_judgement(record.judgement)
        else:
            judgement = as_judgement(next((name for name, holds in _FIRST_LINES.items() if holds(path)), "scores"))
        return cls(path, judgement, record, unchanged)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file; empty for a pipe.

        Raises:
            InputError: if the file changed since this object was made.
        """
        return self._unchanged.digests()[self.path]

    @cached_property
    def table(self) -> ScoreTable:
        """The ids and scores of recordings.

        Raises:
            InputError: as :meth:`Judgement.scores`.
        """
        return self.read(self.judgement.scores)

    def read(self, reader: Callable[[Path], T]) -> T:
        """Read the content by ``reader``, and compute :attr:`sha256` of this content.

        Raises:
            InputError: if ``reader`` raises it, or the file changed since this object was made.
        """
        content = reader(self.path)
        self._unchanged.check()
        _ = self.sha256  # computed now, because the file may change later
        return content


def scores_of(file: AnyPath | ScoreFile) -> tuple[list[str], NDArray]:
    """Read a file of any judgement as scores; return the ids and the scores (N,) float64 of recordings.

    If the scores look wrong, a note is printed.

    Raises:
        InputError: as :meth:`ScoreFile.of`, or :meth:`Judgement.scores`.
    """
    file = ScoreFile.of(file)
    if doubt := file.table.doubt():
        print_note(f"{file.path}: {doubt}")
    return file.table[:2]


def _check_judgement(check: PartCheck, judgement: Any, _: int) -> None:
    columns = getattr(judgement, "columns", None)
    if not hasattr(judgement, "score_of"):  # its values are not rows of numbers
        return
    fits = isinstance(columns, (tuple, list)) and all(isinstance(column, str) for column in columns)
    check.that(fits, "its attribute 'columns' is", columns, "the names of the columns")
    if columns and not type(judgement).score_of.__module__.startswith("nes2net."):
        rows = np.random.default_rng(0).standard_normal((2, len(columns)), np.float32)
        scores = check.call(judgement, "score_of", rows)
        check.that(getattr(scores, "shape", ()) == (2,), "score_of returned", scores, "an array of shape (2,)")
