"""`nes2net evaluate`: evaluate score files against a key, and compare them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from nes2net.actions.flags import CorpusName
from nes2net.data.registry import corpora
from nes2net.lib.errors import InputError
from nes2net.lib.output.terminal import print_output, print_warnings, say_written
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.shell.commands import Count, File, Flag, Folder, FromZero, Milliseconds, command_facts, non_defaults
from nes2net.lib.storage.files import write_output

if TYPE_CHECKING:
    from nes2net.evaluation.transfer import ThresholdSource


_TRANSFERRED = UsedWith("threshold_from", "calibration")


@dataclass(frozen=True)
class TransferFlags:
    """A threshold chosen on other trials.

    Args:
        threshold_from: development scores, a file for each score file
        dev_corpus: corpus of DEV_SCORES, if it is another
        dev_keys: folder or file of the keys of DEV_SCORES
        dev_phase: phase or split of DEV_SCORES
        calibration: use thresholds of calibrations, not DEV_SCORES
        operating_point: eer (default), cost:CMISS,CFA,PRIOR, fa:RATE% or miss:RATE%
        also: evaluate a further test set at the same threshold
    """

    threshold_from: Annotated[
        Sequence[str], Flag("DEV_SCORES"), UsedWith("dev_keys"), NotWith("calibration", "threshold")
    ] = ()
    dev_corpus: Annotated[CorpusName | None, Flag("CORPUS"), UsedWith("threshold_from")] = None
    dev_keys: Annotated[Folder | None, UsedWith("threshold_from")] = None
    dev_phase: Annotated[str, Flag("PHASE")] = "dev"
    calibration: Annotated[Sequence[File], NotWith("threshold")] = ()
    operating_point: Annotated[str | None, Flag("POINT"), _TRANSFERRED] = None
    also: Annotated[Sequence[Sequence[str]], Flag(("CORPUS SCORES KEYS", "PHASE")), _TRANSFERRED] = ()

    def source(self) -> ThresholdSource | None:
        """Turn the flags into the source of thresholds; None if no flag asks for a threshold from other trials.

        Raises:
            InputError: if a further test set is malformed, or its corpus is unknown.
        """
        from nes2net.evaluation.transfer import SetFiles, ThresholdSource
        from nes2net.scoring.decisions.decision import OperatingPoint

        # Before the return: raises an error if it is malformed.
        point = OperatingPoint.parse(self.operating_point) if self.operating_point else None
        if not self.threshold_from and not self.calibration:
            return None
        for further_set in self.also:
            if len(further_set) not in (3, 4):
                raise InputError(
                    f"`also` requires CORPUS SCORES KEYS, and PHASE if it is not eval, not '{' '.join(further_set)}'"
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


@dataclass(frozen=True)
class JudgementFlags:
    """Settings that only some kinds of scores have."""

    exclude: Annotated[Sequence[str] | None, Flag("FIELD=VALUE", nargs="*")] = None
    names: Sequence[str] = ()
    draw: Annotated[Literal["auto", "trials", "speakers", "attacks", "both"], Flag("UNIT")] = "auto"
    threshold: float | None = None
    resolution_ms: Milliseconds | None = None
    costs: Annotated[str | None, Flag("COSTS"), UsedWith("priors")] = None
    priors: Annotated[str | None, Flag("PRIORS"), UsedWith("costs")] = None
    unknown: Literal["log_odds", "max_logit", "energy", "sme", "knn", "mahalanobis", "nsd"] | None = None
    class_field: Annotated[str | None, Flag("FIELD")] = None
    bonafide_unknown: bool = False
    reference: Annotated[Sequence[File], Flag("EMBEDDINGS")] = ()

    def settings(self) -> dict[str, object]:
        """Collect the settings that were given: name → value.

        Raises:
            InputError: if a value of ``exclude`` is not of the form FIELD=VALUE, or costs or priors
                are malformed.
        """
        settings = non_defaults(self)
        if "costs" in settings and "priors" in settings:
            from nes2net.metrics.sasv import SasvWeights

            settings["weights"] = SasvWeights.parse(settings.pop("costs"), settings.pop("priors"))
        if self.exclude is not None:
            values_by_field: dict[str, list[str]] = {}
            for pair in self.exclude:
                name, _, value = pair.partition("=")
                if not name or not value:
                    raise InputError(f"`exclude` requires FIELD=VALUE, such as attack=A14, not '{pair}'")
                values_by_field.setdefault(name, []).append(value)
            settings["exclude"] = values_by_field
        return settings


# Messages call these settings by these flags.
@command_facts(names={"root": "--keys", "protocols": "--keys", "threshold_source": "--threshold-from"})
def evaluate(
    corpus: CorpusName,
    scores: Sequence[str],
    *,
    keys: Folder = ".",
    phase: str = "eval",
    allow_partial: bool = False,
    metric: Annotated[Sequence[str], Flag("NAME")] = (),
    html: File | None = None,
    json: File | None = None,
    latex: File | None = None,
    markdown: File | None = None,
    plot: File | None = None,
    append: File | None = None,
    card: Folder | None = None,
    num_resamples: Count = 1000,
    seed: FromZero = 0,
    judgement: JudgementFlags,
    transfer: TransferFlags,
) -> None:
    """Evaluate score files against a key, and compare them.

    Example:
        nes2net evaluate asvspoof2021_df scores.txt --keys keys --html report.html

    Args:
        scores: score files, compared on their common trials
        keys: folder or file of the keys
        phase: eval, progress, hidden, dev or all
        allow_partial: omit trials without a usable score
        exclude: omit trials; default: as the published figures
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
        append: add a row for each system to this CSV file
        card: add the EERs to the model card of this run folder

    Scores of frames (--judgement frames of nes2net score), or of claimed people:
        threshold: frames up to X are spoof; claims from X accepted
        resolution_ms: length of a frame, if no record states it
        costs: a-DCF of claims, e.g. miss:1,other:10,fake:10
        priors: e.g. target:0.9,other:0.05,fake:0.05

    Logits of classes, from nes2net score --judgement classes:
        unknown: score for unknown ones
        class_field: the field of the classes, if not as recorded
        bonafide_unknown: count bona fide as an unknown class
        reference: embeddings of training or enrolled trials
    """
    from nes2net.actions.evaluation import evaluate as evaluated
    from nes2net.evaluation.page import Pages

    pages = Pages(html, json, latex, markdown, plot, append)
    source = transfer.source()
    further_scores = [further_set[1] for further_set in transfer.also]
    pages.check([*scores, *transfer.threshold_from, *further_scores, *transfer.calibration])
    settings = judgement.settings() | {"num_resamples": num_resamples, "seed": seed, "allow_partial": allow_partial}
    if source is not None:
        settings["threshold_source"] = source
    result = evaluated(corpus, scores, keys, phase, metrics=metric, **settings)
    shown = result.only(metric) if metric else result
    try:
        print_output(shown.text())
        print_warnings(shown.warnings)
    finally:  # write the files even if printing fails, such as on a full disk
        pages.write(shown, write_output)
    if card is not None:
        from nes2net.training.card import add_figures

        say_written(add_figures(Path(card), result, list(map(Path, scores))))
    for path in pages.files:
        say_written(path, beside_data=True)
