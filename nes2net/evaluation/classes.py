"""Which class a detector names, such as the generator of a fake: the judgement ``classes``, computed, filed and told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from nes2net.data.corpora.id_tables import first_line
from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.evaluation.judgements import Rows
from nes2net.lib.errors import InputError, listed, shown
from nes2net.lib.text_files import checked_float, text_blocks
from nes2net.scoring.decisions.known import KnownThreshold, class_posteriors, known_scores, logsumexp

if TYPE_CHECKING:
    from torch import Tensor

    from nes2net.evaluation.judgements import EvaluationSettings
    from nes2net.evaluation.key import Labels
    from nes2net.evaluation.result import Result
    from nes2net.scoring.kernel import Scorer

_ID = "utterance"
_MOST_TOLD = 3
#: Rows that sum to 1 within this hold posteriors.
_POSTERIOR = 1e-3


class ClassTable(NamedTuple):
    """A file of logits, or of posteriors by another program."""

    names: tuple[str, ...]
    """Names of the K classes."""
    ids: list[str]
    """Of the N utterances."""
    logits: NDArray
    """N×K float32."""

    @property
    def holds_posteriors(self) -> bool:
        """Whether the rows are posteriors: all sum to 1 and none has a negative number."""
        return bool((self.logits >= 0).all() and (np.abs(self.logits.sum(1) - 1) < _POSTERIOR).all())


@dataclass(frozen=True)
class Classes(Rows):
    """A logit of each class that the detector knows: its posteriors, and whether it knows the class at all.

    Args:
        classes: their names; those of the detector if there are none.
        threshold: below it nothing known is named; the detector's, learned from its development set.
    """

    classes: tuple[str, ...] = ()
    threshold: KnownThreshold | None = field(default=None, repr=False)

    name = "classes"
    what = "logits of classes"

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))  # a record has a list

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.classes

    def fitted(self, scorer: Scorer) -> Self:
        classes = tuple(scorer.config.get("backend", {}).get("classes", (SPOOF, BONAFIDE)))
        if classes == (SPOOF, BONAFIDE):
            raise InputError(
                "this detector tells bona fide from spoof alone, and names no classes: take one that was trained with "
                "`train.task.name=source_tracing`, or leave out `judgement`"
            )
        return replace(
            self, classes=classes, threshold=KnownThreshold.read(scorer.provenance.class_labels.get("known"))
        )

    def compute(self, scorer: Any, waveforms: Tensor) -> Tensor:
        return scorer(waveforms)

    def score_of(self, rows: NDArray) -> NDArray:
        if self.classes[-1] != BONAFIDE:
            raise InputError("none of the classes is bona fide, so there is no score of bona fide")
        return rows[:, -1] - logsumexp(rows[:, :-1].astype(np.float64))

    def options(self) -> dict[str, Any]:
        return {"classes": list(self.classes)}

    def identity(self) -> dict[str, Any]:
        return {"judgement": self.name, "classes": "\t".join(self.classes)}

    def tell(self, value: NDArray) -> dict[str, Any]:
        (posteriors,) = class_posteriors(value[None]).tolist()
        likeliest = max(range(len(posteriors)), key=posteriors.__getitem__)
        told: dict[str, Any] = {
            "class": self.classes[likeliest],
            "posteriors": dict(zip(self.classes, posteriors, strict=True)),
        }
        if self.threshold is not None:
            score = float(known_scores(value[None], self.threshold.kind)[0])
            told["known"] = {
                "is_known": score >= self.threshold.threshold,
                "score": score,
                "threshold": self.threshold.threshold,
                "p": self.threshold.p_value(score),
            }
        return told

    def in_words(self, told: Any) -> str:
        known = told.get("known")
        if known is not None and not known["is_known"]:
            return f"none of the known (p {known['p']:.2g}); nearest: {told['class']}"
        ranked = sorted(told["posteriors"].items(), key=lambda item: -item[1])[:_MOST_TOLD]
        words = [f"{name} {100 * posterior:.0f} %" for name, posterior in ranked]
        if known is not None:
            words.append(f"none of the known: no (p {known['p']:.2g})")
        return "   ".join(words)

    def meaning(self) -> list[str]:
        names = f"the detector knows {listed(self.classes, 20)}"
        lines = [f'{names}; a name means "most like these", which is no proof of the origin']
        if self.threshold is None:
            lines.append(
                "whether a recording is of none of the known classes is not told: an average of checkpoints has no "
                "development scores"
            )
        return lines

    @classmethod
    def holds(cls, path: Path) -> bool:
        cells = first_line(path).rstrip("\r\n").split("\t")
        return cells[0] == _ID and len(cells) > 2

    def read(self, out: Path) -> Iterator[tuple[str, NDArray]]:
        table = self.table(out)
        return iter(zip(table.ids, table.logits))

    def table(self, path: Path) -> ClassTable:
        """Read a file of logits at once, 10⁸ numbers in half a minute.

        Raises:
            InputError: if it cannot be read, has other classes than :attr:`classes`, or a line is malformed.
        """
        names: tuple[str, ...] = ()
        ids: list[str] = []
        parts = []
        for number, lines in text_blocks(path):
            if not names:
                names = self._names_of(path, lines.pop(0))
                number += 1
            if not lines:
                continue
            ids += [line.split("\t", 1)[0] for line in lines]
            parts.append(_numbers(path, number, lines, len(names)))
        if not ids:
            raise InputError(f"{path}: has no rows of logits")
        return ClassTable(names, ids, np.concatenate(parts))

    def _names_of(self, path: Path, header: str) -> tuple[str, ...]:
        first, *names = header.split("\t")
        if first != _ID or len(set(names)) != len(names) or len(names) < 2:
            raise InputError(
                f"{path}, line 1: expected '{_ID}' and the names of at least two classes, each once, with tabs between "
                f"them, found {shown(header)}"
            )
        if self.classes and tuple(names) != self.classes:
            raise InputError(
                f"{path}: has the classes {listed(names)}, and its record {listed(self.classes)}: give the file that was "
                "scored, unchanged"
            )
        return tuple(names)

    def evaluate(self, labels: Labels, paths: Sequence[Path], settings: EvaluationSettings) -> Result:
        from nes2net.evaluation.tracing import evaluate_classes  # start-up: a detector scores without evaluating

        return evaluate_classes(labels, paths, settings)


def _numbers(path: Path, number: int, lines: Sequence[str], num_classes: int) -> NDArray:
    """The numbers of ``lines``, N×K float32; ``number`` is that of the first line."""
    columns = range(1, num_classes + 1)
    if all(line.count("\t") == num_classes for line in lines):
        with contextlib.suppress(ValueError):
            return np.loadtxt(lines, np.float32, delimiter="\t", usecols=columns, comments=None, ndmin=2)
    for line_number, line in enumerate(lines, start=number):
        cells = line.split("\t")[1:]
        if len(cells) != num_classes:
            raise InputError(
                f"{path}, line {line_number}: expected an utterance and {num_classes} numbers with tabs between them, found "
                f"{shown(line)}"
            )
        for cell in cells:
            checked_float(cell, path, line_number, "logit")
    raise InputError(f"{path}, line {number} and below: numbers cannot be read; write them as 1.5 or 1e-3")
