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
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from numpy.typing import NDArray
from typing_extensions import Self

from nes2net.lib.errors import InputError
from nes2net.lib.terminal import print_note
from nes2net.models.registry import PACKAGES_KEY, check_installed, judgements
from nes2net.scoring.class_file import holds_classes
from nes2net.scoring.output import Output
from nes2net.scoring.record import record_of
from nes2net.scoring.score_file import ScoreTable
from nes2net.scoring.segment_file import holds_frames

if TYPE_CHECKING:
    from torch import Tensor

    from nes2net.scoring.kernel import Scorer
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
        """Return name and options for a record, from which :func:`judgement_of` restores this judgement."""
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

    def scores(self, path: Path) -> tuple[list[str], NDArray]:
        """Read the file ``path`` of this judgement; return the ids and the scores (N,) float64 of recordings.

        Raises:
            InputError: if the file cannot be read, or if this judgement has no scores of
                recordings.
        """
        raise InputError(
            f"{path}: holds {self.what}, not one score of each recording: make a file of these with `nes2net score`"
        )

    def meaning(self) -> list[str]:
        """Return sentences that explain the rows of ``nes2net predict`` to a user."""
        return []

    def score_table(self, path: Path) -> ScoreTable:
        """Read a file as :meth:`scores` does, and labels that a file of another toolkit has beside the scores."""
        return ScoreTable(*self.scores(path), ())


def as_judgement(judgement: str | Mapping[str, Any] | Judgement[Any]) -> Judgement[Any]:
    """Build a judgement from its name, or from a mapping of ``name`` and options; return a judgement unchanged.

    Raises:
        InputError: if the judgement or an option is unknown.
    """
    if isinstance(judgement, Judgement):
        return judgement
    options = {"name": judgement} if isinstance(judgement, str) else dict(judgement)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise InputError("`judgement` needs a `name`, to which the other options belong")
    factory = judgements.checked_factory(name, options)
    with judgements.guarded(name):
        built = factory(**options)
    return judgements.checked(name, built)  # type: ignore[no-any-return]


def judgement_of(path: str | Path) -> Judgement[Any]:
    """Find the judgement that a file holds, from the record of the file.

    A file of another toolkit has no record. If its first line is not one of :data:`_FIRST_LINES`,
    the file is taken for a score file.

    Raises:
        InputError: if the record names a judgement that is not installed, or options that the
            judgement does not have.
    """
    path = Path(path)
    record = record_of(path)
    if record is not None and record.judgement is not None:
        check_installed(str(path), (record.model_extra or {}).get(PACKAGES_KEY), [judgements])
        return as_judgement(record.judgement)
    return as_judgement(next((name for name, holds in _FIRST_LINES.items() if holds(path)), "scores"))


def scores_of(path: str | Path) -> tuple[list[str], NDArray]:
    """Read a file of any judgement as scores; return the ids and the scores (N,) float64 of recordings.

    If the scores look wrong, a note is printed.

    Raises:
        InputError: as :func:`judgement_of`, or :meth:`Judgement.scores`.
    """
    table = judgement_of(path).score_table(Path(path))
    if doubt := table.doubt():
        print_note(f"{path}: {doubt}")
    return table.ids, table.scores
