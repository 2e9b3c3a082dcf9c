"""The judgement ``classes``: the logits of all classes of a detector, such as the generators of spoofed speech."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.evaluation.judgements import Rows
from nes2net.lib.errors import InputError, join_names
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.scoring.class_file import MEANING_OF_NAMES
from nes2net.scoring.decisions.known import KnownThreshold, class_posteriors, known_scores, logsumexp, read_known
from nes2net.scoring.score_file import ScoreTable

if TYPE_CHECKING:
    from torch import Tensor

    from nes2net.evaluation.evaluation import Evaluation
    from nes2net.scoring.kernel import Scorer

#: Title of the figure of a checkpoint: how often a development trial gets a wrong class.
ERROR_TITLE = "error"
_MAX_TOLD = 3  # largest number of classes in a line of `predict`


@dataclass(frozen=True)
class Classes(Rows):
    """The logits of all classes of a detector.

    A row of `predict` has the posteriors, and with a threshold says whether the class is known.

    Args:
        classes: names of the classes; empty to take the classes of the detector.
        known: file of `nes2net calibrate classes` with the threshold that tells known from unknown
            classes; None to take the threshold in the checkpoint.
        threshold: the threshold from the file or the checkpoint, filled in by :meth:`fit_to`; None if
            there is no threshold.
        error_rate: how often the detector is wrong, in words, filled in by :meth:`fit_to`.
    """

    classes: tuple[str, ...] = ()
    known: str | None = None
    threshold: KnownThreshold | None = field(default=None, repr=False)
    error_rate: str = field(default="", repr=False)

    name = "classes"
    what = "logits of classes"

    def __post_init__(self) -> None:
        """Turn ``classes``, a list in a record, into a tuple."""
        object.__setattr__(self, "classes", tuple(self.classes))

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.classes

    def fit_to(self, scorer: Scorer) -> Self:
        """Return this judgement with the classes of ``scorer``, and its threshold, if any.

        Raises:
            InputError: if bona fide and spoof are the only classes of ``scorer``.
        """
        classes = tuple(scorer.config.get("backend", {}).get("classes", (SPOOF, BONAFIDE)))
        if classes == (SPOOF, BONAFIDE):
            raise InputError(
                "this detector only tells bona fide from spoof, and names no classes: use one that was trained with "
                "`train.task.name=source_tracing`, or remove `judgement`"
            )
        threshold = KnownThreshold.read(scorer.provenance.class_labels.get("known"))
        if self.known is not None:
            threshold = read_known(self.known, classes)
        errors = [figure.get("value") for figure in scorer.provenance.figures if figure.get("measure") == ERROR_TITLE]
        error_rate = "how often it is wrong is not known: its file has no development error"
        if errors and isinstance(errors[0], float):
            error_rate = f"it was wrong on {100 * errors[0]:.0f} % of its development trials"
        return replace(self, classes=classes, threshold=threshold, error_rate=error_rate)

    def compute(self, scorer: Any, waveforms: Tensor) -> Tensor:
        """Compute the logits B×K of ``waveforms`` B×N."""
        return scorer(waveforms)

    def score_of(self, rows: NDArray) -> NDArray:
        """Compute log odds (N,) of bona fide against all other classes from logits N×K.

        Raises:
            InputError: if bona fide is not a class.
        """
        # Training puts bona fide last, if it is a class.
        if self.classes[-1] != BONAFIDE:
            raise InputError(
                "none of the classes is bona fide, so the logits give no score of bona fide: use a detector of fakes for scores"
            )
        return rows[:, -1] - logsumexp(rows[:, :-1].astype(np.float64))

    def scores(self, path: Path) -> ScoreTable:
        """Read logits as scores; the file names the classes if no record does."""
        table = self.table(path)
        scores = replace(self, classes=table.names).score_of(table.logits)
        return ScoreTable(table.ids, scores.astype(np.float64))

    def options(self) -> Facts:
        """Return the classes, without the threshold, on which no logit depends."""
        return {"classes": list(self.classes)}

    def identity(self) -> Facts:
        """Return the name of the judgement, and the classes in one text."""
        return {"judgement": self.name, "classes": "\t".join(self.classes)}

    def tell(self, value: NDArray) -> Facts:
        """Compute the likeliest class and all posteriors of a recording from its logits (K,).

        With a threshold, ``known`` has the decision, the score of being known, threshold and
        p-value.
        """
        (posteriors,) = class_posteriors(value[None]).tolist()
        likeliest = max(range(len(posteriors)), key=posteriors.__getitem__)
        facts: FactsDict = {
            "class": self.classes[likeliest],
            "posteriors": dict(zip(self.classes, posteriors, strict=True)),
        }
        if self.threshold is not None:
            score = float(known_scores(value[None], self.threshold.kind)[0])
            # Keys of the rows that `predict` writes: users' scripts read them.
            facts["known"] = {
                "is_known": score >= self.threshold.threshold,
                "score": score,
                "threshold": self.threshold.threshold,
                "p": self.threshold.p_value(score),
            }
        return facts

    def in_words(self, told: Any) -> str:
        known = told.get("known")
        if known is not None and not known["is_known"]:
            words = [f"none of the known (p {known['p']:.2g}); nearest: {told['class']}", self.error_rate]
            return "   ".join(filter(None, words))
        ranked = sorted(told["posteriors"].items(), key=lambda item: -item[1])[:_MAX_TOLD]
        words = [f"{name} {100 * posterior:.0f} %" for name, posterior in ranked]
        if known is not None:
            words.append(f"none of the known: no (p {known['p']:.2g})")
        return "   ".join(filter(None, [*words, self.error_rate]))

    def meaning(self, scorer: Scorer) -> list[str]:
        """Explain the known classes, and without a threshold, why others are not recognised."""
        lines = [f"the detector knows {join_names(self.classes, 20)}; {MEANING_OF_NAMES}"]
        if BONAFIDE not in self.classes:
            lines.append("real speech gets the name of a class, too: ask a detector of fakes first, with `detector`")
        if self.threshold is None:
            lines.append(
                "whether a recording is of none of the known classes is not told, because this checkpoint has no scores of development "
                "trials, such as an average of checkpoints; `nes2net calibrate classes` makes a file of them"
            )
        return lines

    def evaluation(self) -> type[Evaluation[Any]]:
        from nes2net.evaluation.tracing import ClassEvaluation  # quick start-up: scoring does not need this module

        return ClassEvaluation
