"""What a detector says of a recording: computed, filed, told and evaluated by one class, a :class:`Judgement`.

The score of a recording, the scores of its frames and its embedding are judgements. Each has a name,
which the record ``{file}.json`` states. Installed packages add judgements by entry points of the
group ``nes2net.judgements`` (see docs/extending.md).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from numpy.typing import NDArray
from typing_extensions import Self

from nes2net.data.corpora.id_tables import first_line
from nes2net.lib.errors import InputError
from nes2net.models.registry import judgements
from nes2net.scoring.output import Output
from nes2net.scoring.record import record_of

if TYPE_CHECKING:
    from torch import Tensor

    from nes2net.scoring.kernel import Scorer
    from nes2net.scoring.waveforms import WaveformReader

T = TypeVar("T")


class Judgement(Output[T]):
    """What a detector says of a recording, as a value of type ``T``.

    A subclass is a frozen dataclass, whose fields are the options of the judgement: plain data with
    defaults. :class:`nes2net.evaluation.judgements.Rows` is the base of those whose value is a row
    of numbers.
    """

    name: ClassVar[str]
    """The name under which it is registered."""
    is_score: ClassVar[bool] = False
    """Whether the value is one score of a recording, on which a calibration decides."""
    of_recordings: ClassVar[bool] = False
    """Whether a file of it can be read as one score of each recording."""
    of_whole: ClassVar[bool] = False
    """Whether only whole recordings are judged so."""
    of_batch: ClassVar[bool] = False
    """Whether a front-end with ``normalize: batch`` computes it as published, in batches. It then depends on the
    batch; otherwise such a detector computes one recording at a time."""

    def fitted(self, scorer: Scorer) -> Self:
        """This judgement, with the options that ``scorer`` determines.

        Raises:
            InputError: if ``scorer`` cannot judge so.
        """
        return self

    def reader(self, reader: WaveformReader) -> WaveformReader:
        """The reader for this judgement, if ``reader`` was requested.

        Raises:
            InputError: if it cannot be computed of what ``reader`` reads.
        """
        return reader

    @abstractmethod
    def start(
        self, scorer: Scorer, inputs: list[Tensor], *, stream: str | None = None, rows: int | None = None
    ) -> Callable[[], Sequence[T | str]]:
        """Start to judge a batch; the returned function waits for the values, or the reasons why they are missing.

        Args:
            scorer: the detector, in :func:`nes2net.scoring.kernel.scoring_mode`.
            inputs: waveforms B×N, 16 kHz, in [−1, 1]; for a detector that takes them, also scores of other
                systems B×S.
            stream, rows: as for :func:`nes2net.scoring.kernel.start`.
        """

    def options(self) -> dict[str, Any]:
        """Its options, plain data."""
        return asdict(self)  # type: ignore[call-overload]

    def identity(self) -> dict[str, Any]:
        """What the identity of a run says of it: plain data, no nested values."""
        return {"judgement": self.name, **self.options()}

    def described(self) -> dict[str, Any]:
        """What a record says of it; :func:`judgement_of` reads that."""
        return {"name": self.name, **self.options()}

    @abstractmethod
    def tell(self, value: T) -> dict[str, Any]:
        """What a row of ``nes2net predict`` says of a recording with this ``value``: plain data.

        A ``remark``, a text, stands at the end of the line.
        """

    def in_words(self, told: Mapping[str, Any]) -> str:
        """What a line of ``nes2net predict`` says, of what :meth:`tell` said but for a remark."""
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
        """Read a file of this judgement as scores: ids, and one score of each recording, (N,) float64.

        Raises:
            InputError: if the file cannot be read, or there is no score in this judgement.
        """
        raise InputError(
            f"{path}: holds {self.what}, not one score of each recording: make a file of these with `nes2net score`"
        )

    def evaluate(self, labels: Any, paths: Sequence[Path], settings: Any) -> Any:
        """Evaluate files of this judgement against ``labels``.

        Args:
            labels: :class:`nes2net.evaluation.key.Labels`.
            paths: a file of each system; all are compared on the same trials.
            settings: :class:`nes2net.evaluation.judgements.EvaluationSettings`.

        Returns:
            :class:`nes2net.evaluation.result.Result`.

        Raises:
            InputError: if files or labels cannot be read or do not go together, if settings do not apply,
                or if this judgement is not evaluated.
        """
        raise InputError(f"{paths[0]}: holds {self.what}, which are not evaluated: give scores")

    def labelled(
        self, labels: Any, paths: Sequence[Path], *, allow_partial: bool = False, resolution_ms: float | None = None
    ) -> Any:
        """Read the scores of both classes, from which a calibration is learned.

        Args:
            labels: :class:`nes2net.evaluation.key.Labels`.
            paths: a file of each system.
            allow_partial: leave out trials whose scores are missing or unusable.
            resolution_ms: length of a frame, if no record of the frame scores states it.

        Returns:
            :class:`nes2net.evaluation.judgements.LabelledScores`.

        Raises:
            InputError: if files or labels cannot be read or do not go together, or no calibration can be
                learned from this judgement.
        """
        raise InputError(f"{paths[0]}: holds {self.what}, from which no calibration is learned: give scores")

    def meaning(self) -> list[str]:
        """What readers of its rows must know, a sentence each."""
        return []

    @classmethod
    def holds(cls, path: Path) -> bool:
        """Whether a file without a record holds this judgement, as its first line tells; false for most judgements."""
        return False

    def own_labels(self, path: Path) -> dict[str, str]:
        """The labels that a file of another toolkit has beside the values, by id; empty for most files."""
        return {}


def as_judgement(judgement: str | Mapping[str, Any] | Judgement[Any]) -> Judgement[Any]:
    """Build a judgement by its name, or from a mapping of ``name`` and options; one that is built already stays.

    Raises:
        InputError: if there is no such judgement or option.
    """
    if isinstance(judgement, Judgement):
        return judgement
    options = {"name": judgement} if isinstance(judgement, str) else dict(judgement)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise InputError("`judgement` needs a `name`, to which the other options belong")
    return judgements.checked(name, options)(**options)


def judgement_of(path: str | Path) -> Judgement[Any]:
    """The judgement that a file holds: the one that its record names.

    A file without a record, of another toolkit, holds what its first line looks like, else scores.

    Raises:
        InputError: if the record names a judgement that is not installed, or options that it does
            not have.
    """
    path = Path(path)
    record = record_of(path)
    if record is not None and record.judgement is not None:
        return as_judgement(record.judgement)
    if len(first_line(path).split()) == 2:  # scores, as most files; nothing else is imported for them
        return as_judgement("scores")
    return as_judgement(next((name for name in judgements.names() if judgements.get(name).holds(path)), "scores"))


def scores_of(path: str | Path) -> tuple[list[str], NDArray]:
    """Read a file of any judgement as scores: ids, and one score of each recording, (N,) float64.

    Raises:
        InputError: as :func:`judgement_of`, or :meth:`Judgement.scores`.
    """
    return judgement_of(path).scores(Path(path))
