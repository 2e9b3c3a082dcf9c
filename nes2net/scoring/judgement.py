"""The kinds of results for a recording: subclasses of :class:`Judgement`, such as scores or embeddings.

A judgement computes results, reads and writes their files, puts them into words, and evaluates
them. The record ``{file}.json`` states its name. Packages add judgements by entry points of the
group ``nes2net.judgements`` (docs/extending.md).
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from nes2net.data.corpora.id_tables import first_line
from nes2net.lib.errors import InputError
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import print_note
from nes2net.lib.parts.contracts import Extension, PartCheck, blame_part
from nes2net.lib.parts.options import name_and_options
from nes2net.lib.parts.registry import check_installed
from nes2net.lib.storage.files import AnyPath, Unchanged
from nes2net.lib.storage.text_files import KeptTexts, reading_once
from nes2net.scoring.claim_file import begins_claims
from nes2net.scoring.class_file import begins_classes
from nes2net.scoring.output import Output
from nes2net.scoring.record import Record, record_of
from nes2net.scoring.registry import judgements
from nes2net.scoring.score_file import ScoreTable
from nes2net.scoring.segment_file import begins_frames

if TYPE_CHECKING:
    from torch import Tensor

    from nes2net.data.corpora.trial import Trial
    from nes2net.scoring.claimed import AnyDecider
    from nes2net.scoring.kernel import Scorer
    from nes2net.scoring.track import FrameScores
    from nes2net.scoring.waveforms import WaveformReader

T = TypeVar("T")

#: Judgement → whether the first line of a file without a record is one of the judgement's.
_FIRST_LINES = {"classes": begins_classes, "frames": begins_frames, "claims": begins_claims}


class Judgement(Extension, Output[T]):
    """A kind of result that a detector computes for a recording, as a value of type ``T``.

    A subclass is a frozen dataclass; its fields are options: plain data with defaults. For a row of
    numbers, derive from :class:`nes2net.evaluation.judgements.Rows` instead.
    """

    name: ClassVar[str]
    """The registered name."""
    is_score: ClassVar[bool] = False
    """The value is a score, on which a calibration can decide."""
    of_recordings: ClassVar[bool] = False
    """A file can be read as one score for each recording, on which a calibration may decide."""
    of_whole: ClassVar[bool] = False
    """Always needs the whole recording."""
    has_frames: ClassVar[bool] = False
    """:meth:`frames` returns scores, in which fake stretches are found."""
    of_batch: ClassVar[bool] = False
    """Several recordings share a batch under ``normalize: batch``, as published, and affect each
    other. If False, such a front-end judges one recording at a time."""
    of_claims: ClassVar[bool] = False
    """A recording stands in several trials, and is read and started only once."""

    def fit_to(self, scorer: Scorer) -> Self:
        """Return this judgement with the options that depend on ``scorer``.

        Raises:
            InputError: if ``scorer`` cannot make it.
        """
        return self

    def decide_by(self, scorer: Scorer, decider: AnyDecider | None) -> Self:
        """Return this judgement as :meth:`fit_to`; a subclass may also use the threshold of ``decider``.

        Raises:
            InputError: as :meth:`fit_to`, or if ``decider`` cannot decide on it.
        """
        if decider is not None and not self.of_recordings:
            raise InputError(f"`calibration` and `threshold` decide on scores, not on {self.name}: remove them")
        return self.fit_to(scorer)

    def score_of_value(self, value: T) -> float:
        """Return the score, higher for bona fide, of a judgement :attr:`is_score` or :attr:`of_recordings`."""
        return value  # type: ignore[return-value]

    def frames(self, value: T, duration: float) -> FrameScores | None:
        """Return frame scores and the rule for fake stretches, if any; ``duration`` in seconds."""
        return None

    def numbers(self, trial: Trial) -> tuple[float, ...]:
        """Return what :meth:`start` must know of ``trial``, such as its label."""
        return ()

    def reader(self, reader: WaveformReader) -> WaveformReader:
        """Adapt ``reader`` to this judgement.

        Raises:
            InputError: if its waveforms are unsuitable.
        """
        return reader

    @abstractmethod
    def start(
        self, scorer: Scorer, inputs: list[Tensor], *, stream: str | None = None, rows: int | None = None
    ) -> Callable[[], Sequence[T | str]]:
        """Start to judge a batch; the returned function waits for the values, or reasons why one is missing.

        Args:
            scorer: in :func:`nes2net.scoring.kernel.scoring_mode`.
            inputs: waveforms B×N, 16 kHz, in [−1, 1], and perhaps scores of other systems B×S or :meth:`numbers`.
            stream, rows: as for :func:`nes2net.scoring.kernel.start`.
        """

    def complete(self, value: Any, ids: Sequence[str], whole: NDArray | None) -> dict[str, T | str]:
        """Map trials of a corpus to their values, or reasons why these are missing, by what :meth:`start` gave.

        Args:
            ids: one trial, or all of the recording :attr:`of_claims`.
            whole: all samples (N,) of the recording, if :meth:`reader` asks for them.
        """
        return dict.fromkeys(ids, value)

    def options(self) -> Facts:
        """Return the options as plain data."""
        return asdict(self)  # type: ignore[call-overload]

    def identity(self) -> Facts:
        """Return name and options for the identity of a run, without nesting."""
        return {"judgement": self.name, **self.options()}

    def describe(self) -> Facts:
        """Return name and options for a record, as :class:`ScoreFile` reads them."""
        return {"name": self.name, **self.options()}

    @abstractmethod
    def tell(self, value: T) -> Facts:
        """Turn ``value`` into facts that ``nes2net predict`` prints: name → number, text or list.

        The text ``remark`` comes last in the row.
        """

    def in_words(self, told: Facts) -> str:
        """Join the facts of :meth:`tell`, except the remark, to a text."""
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
        """Read ids, scores and labels of recordings.

        Raises:
            InputError: if the file cannot be read, or holds no scores of recordings.
        """
        raise InputError(
            f"{path}: holds {self.what}, not one score of each recording: make a file of scores with `nes2net score`"
        )

    def meaning(self, scorer: Scorer) -> list[str]:
        """Explain the rows of ``nes2net predict`` to a user."""
        return []


#: A judgement, its name, or a mapping of ``name`` and options.
AnyJudgement: TypeAlias = str | Mapping[str, Any] | Judgement[T]


def as_judgement(judgement: AnyJudgement[Any]) -> Judgement[Any]:
    """Build a judgement from its name, or a mapping of ``name`` and options.

    Raises:
        InputError: if the judgement or an option is unknown.
    """
    if isinstance(judgement, Judgement):
        return judgement
    name, options = name_and_options({"judgement": judgement}, "judgement", owner="`judgement`")
    factory = judgements.import_factory(name, options)
    with judgements.guard(name):
        built = factory(**options)
    return judgements.check_part(name, built, check_judgement, partial(factory, **options))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ScoreFile:
    """A file of a judgement, and its record; both are read once."""

    path: Path
    judgement: Judgement[Any]
    """The judgement that the file holds."""
    record: Record | None
    """None without a record."""
    _unchanged: Unchanged = field(repr=False)
    _kept: KeptTexts = field(repr=False)

    @classmethod
    def of(cls, file: AnyPath | ScoreFile) -> ScoreFile:
        """Find the judgement of ``file`` in its record; without one, in its first line
        (:data:`_FIRST_LINES`), else scores.

        Raises:
            InputError: if the judgement is not installed, or does not have a recorded option.
        """
        if isinstance(file, ScoreFile):
            return file
        path = Path(file)
        unchanged = Unchanged(path)
        with reading_once() as texts:
            record = record_of(path)
        if record is not None and record.judgement is not None:
            check_installed(str(path), record.facts, [judgements])
            judgement = as_judgement(record.judgement)
        else:
            line = first_line(path)
            judgement = as_judgement(next((name for name, begins in _FIRST_LINES.items() if begins(line)), "scores"))
        if not judgement.is_score:  # its reader reads the file in blocks
            texts.contents.pop(path, None)
        return cls(path, judgement, record, unchanged, texts)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file; empty for a pipe.

        Raises:
            InputError: if the file has changed.
        """
        self._unchanged.check()
        if not self.path.is_file():
            return ""
        known = self._kept.digests.get(self.path)
        if self.record is not None:
            known = self.record.sha256 or known  # record_of() has compared it
        return known or self._unchanged.digests()[self.path]

    @cached_property
    def table(self) -> ScoreTable:
        """Ids and scores of recordings.

        Raises:
            InputError: as :meth:`Judgement.scores`.
        """
        return self.read(self.judgement.scores)

    def read(self, reader: Callable[[Path], T]) -> T:
        """Read by ``reader``, and compute :attr:`sha256` of the same content.

        Raises:
            InputError: if ``reader`` raises it, or the file has changed.
        """
        with reading_once(self._kept):
            content = reader(self.path)
        self._unchanged.check()
        self._kept.contents.pop(self.path, None)
        _ = self.sha256  # computed now, because the file may change later
        return content


def scores_of(file: AnyPath | ScoreFile) -> tuple[list[str], NDArray]:
    """Read ids and scores (N,) float64 of recordings from any judgement; print a note if they look wrong.

    Raises:
        InputError: as :meth:`ScoreFile.of`, or :meth:`Judgement.scores`.
    """
    file = ScoreFile.of(file)
    if doubt := file.table.doubt():
        print_note(f"{file.path}: {doubt}")
    return file.table[:2]


def check_judgement(check: PartCheck, judgement: Any, _length: int) -> None:
    judgement_class = type(judgement)
    check.that(is_dataclass(judgement), "its entry point names", judgement_class, "a frozen dataclass")
    with blame_part(check.subject, "options"):
        json.dumps(judgement.options())
    if not hasattr(judgement, "score_of"):  # its values are not rows of numbers
        return
    columns = judgement.columns
    are_names = len({"utterance", *columns}) > len(columns) and "".join(columns).isprintable()
    check.that(are_names, "its attribute 'columns' is", columns, "different names, without tabs, not 'utterance'")
    if not judgement_class.score_of.__module__.startswith("nes2net."):
        rows = np.random.default_rng(0).standard_normal((2, len(columns)), np.float32)
        rows.setflags(write=False)  # score_of must not change them
        scores = check.call(judgement, "score_of", rows)
        fits = isinstance(scores, np.ndarray) and scores.shape == (2,) and bool(np.isfinite(scores).all())
        check.that(fits, "score_of returned", scores, "an array of shape (2,), of finite numbers")
