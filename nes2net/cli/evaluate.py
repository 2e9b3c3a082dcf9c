"""`nes2net evaluate`: evaluate score files against a key, and compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from nes2net.actions.flags import CorpusName
from nes2net.data.registry import corpora
from nes2net.lib.commands import File, Flag, Folder, called
from nes2net.lib.errors import InputError
from nes2net.lib.terminal import print_warnings, printable, say_written

if TYPE_CHECKING:
    from nes2net.evaluation.transfer import ThresholdSource


@dataclass(frozen=True)
class TransferFlags:
    """A threshold chosen on other trials.

    Args:
        threshold_from: development scores, a file for each score file
        dev_corpus: corpus of DEV_SCORES, if it is another
        dev_keys: folder or file of the keys of DEV_SCORES
        dev_phase: phase or split of DEV_SCORES
        calibration: take thresholds from calibrations, not DEV_SCORES
        operating_point: eer, cost:CMISS,CFA,PRIOR, fa:RATE% or miss:RATE%
        also: evaluate a further test set at the same threshold
    """

    threshold_from: Annotated[Sequence[str], Flag("DEV_SCORES")] = ()
    dev_corpus: Annotated[CorpusName | None, Flag("CORPUS")] = None
    dev_keys: Folder | None = None
    dev_phase: Annotated[str, Flag("PHASE")] = "dev"
    calibration: Sequence[File] = ()
    operating_point: Annotated[str, Flag("POINT")] = "eer"
    also: Annotated[Sequence[Sequence[str]], Flag(("CORPUS SCORES KEYS", "PHASE"))] = ()

    def source(self) -> ThresholdSource | None:
        """Turn the flags into the source of thresholds; None if no flag asks for a threshold from other trials.

        Raises:
            InputError: if flags contradict each other, or if the corpus of a further test set is
                unknown.
        """
        from nes2net.evaluation.transfer import SetFiles, ThresholdSource
        from nes2net.scoring.decisions.decision import OperatingPoint

        # Refuse flags about a threshold from other trials if no flag gives such a threshold.
        point = OperatingPoint.parse(self.operating_point)
        if not self.threshold_from and not self.calibration:
            if self.also or self.dev_keys or self.dev_corpus or self.operating_point != "eer":
                raise InputError(
                    "`also`, `dev_keys`, `dev_corpus` and `operating_point` go with a transferred threshold: give "
                    "`threshold_from` or `calibration` too"
                )
            return None
        # Check the flags for a threshold from other trials.
        if self.threshold_from and not self.dev_keys:
            raise InputError("`threshold_from` needs `dev_keys`, the labels of its scores")
        for further_set in self.also:
            if len(further_set) not in (3, 4):
                raise InputError(
                    f"`also` takes CORPUS SCORES KEYS, and PHASE if it is not eval, not '{' '.join(further_set)}'"
                )
            corpora.get(further_set[0])  # raises an error if the corpus is unknown
        return ThresholdSource(
            dev_scores=self.threshold_from,
            dev_keys=self.dev_keys or ".",
            dev_corpus=self.dev_corpus,
            dev_phase=self.dev_phase,
            calibrations=self.calibration,
            operating_point=point,
            further=[SetFiles(*further_set) for further_set in self.also],
        )


@called(names={"root": "--keys", "protocols": "--keys"})  # messages call both settings --keys
def evaluate(
    corpus: CorpusName,
    scores: Sequence[str],
    *,
    keys: Folder = ".",
    phase: str = "eval",
    allow_partial: bool = False,
    exclude: Annotated[Sequence[str] | None, Flag("FIELD=VALUE", nargs="*")] = None,
    names: Sequence[str] = (),
    metric: Annotated[Sequence[str], Flag("NAME")] = (),
    html: File | None = None,
    json: File | None = None,
    latex: File | None = None,
    markdown: File | None = None,
    plot: File | None = None,
    card: Folder | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
    draw: Annotated[Literal["auto", "trials", "speakers", "attacks", "both"], Flag("UNIT")] = "auto",
    threshold: float | None = None,
    resolution_ms: Annotated[float | None, Flag("MS")] = None,
    unknown: Literal["log_odds", "max_logit", "energy", "sme", "knn", "mahalanobis", "nsd"] | None = None,
    class_field: Annotated[str | None, Flag("FIELD")] = None,
    bonafide_unknown: bool = False,
    reference: Annotated[Sequence[File], Flag("EMBEDDINGS")] = (),
    transfer: TransferFlags,
) -> None:
    """Evaluate score files against a key, and compare them.

    Example:
        nes2net evaluate asvspoof2021_df scores.txt --keys keys --html report.html

    Args:
        scores: score files, compared on their common trials
        keys: folder or file of the keys
        phase: eval, progress, hidden, dev, or 'all' of a corpus without parts
        allow_partial: leave out trials without a usable score
        exclude: leave trials out, e.g. attack=A14; if not given, those that the published figures leave out
        num_resamples: bootstrap draws for each interval
        seed: seed of the bootstrap
        draw: bootstrap over trials, speakers, attacks or both; auto: by the keys

    The result:
        names: a name for each score file
        metric: figures to show, by their names in the JSON
        html: write a page with tables and plots
        json: write all figures
        latex: write the tables in LaTeX
        markdown: write the tables in Markdown
        plot: draw DET curves and scores: .svg, .pdf or .png
        card: add the EERs to the model card of this run folder

    Scores of frames, from nes2net score --segments:
        threshold: frames of at most this score are spoof
        resolution_ms: length of a frame, if no record states it

    Logits of classes, from nes2net score --judgement classes:
        unknown: score of being known that tells unknown classes from known ones
        class_field: the field of the classes, if not as recorded
        bonafide_unknown: count bona fide as an unknown class
        reference: embeddings of training or enrolled trials
    """
    from nes2net.actions.evaluation import Pages
    from nes2net.actions.evaluation import evaluate as evaluated
    from nes2net.evaluation.judgements import EvaluationSettings
    from nes2net.evaluation.key import Labels

    # Check first that the files can be written.
    pages = Pages(html, json, latex, markdown, plot)
    further_scores = [further_set[1] for further_set in transfer.also if further_set[1:]]
    pages.check(scores, [*transfer.threshold_from, *further_scores], transfer.calibration)
    source = transfer.source()
    if source is not None and threshold is not None:
        raise InputError(
            "`threshold` is a score, and `threshold_from` and `calibration` say where one comes from: leave one out"
        )
    # Turn the flags into settings.
    values_by_field: dict[str, list[str]] = {}
    for pair in exclude or ():
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise InputError(f"--exclude takes FIELD=VALUE, e.g. attack=A14, not '{pair}'")
        values_by_field.setdefault(name, []).append(value)
    labels = Labels(corpus, keys, phase)
    settings = EvaluationSettings(
        threshold_source=source,
        threshold=threshold,
        resolution_ms=resolution_ms,
        allow_partial=allow_partial,
        exclude=None if exclude is None else values_by_field,
        unknown=unknown,
        class_field=class_field,
        bonafide_unknown=bonafide_unknown,
        reference=tuple(map(Path, reference)),
        metrics=metric,
        names=names,
        num_resamples=num_resamples,
        seed=seed,
        draw=draw,
    )
    # Evaluate, then print and write the result.
    result = evaluated(labels, scores, settings)
    shown = result.only(metric) if metric else result
    try:
        print(printable(shown.text()), flush=True)
        print_warnings(shown.warnings)
    finally:  # write the files even if printing fails, such as on a full disk
        files_beside = pages.write(shown)
    if card is not None:
        from nes2net.training.card import add_figures

        say_written(add_figures(Path(card), result, list(map(Path, scores))))
    for path in [*pages.files, *files_beside]:
        say_written(path, beside_data=True)
