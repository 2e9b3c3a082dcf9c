"""`nes2net evaluate`: evaluate score files against a key, and compare them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from nes2net.cli.flags import CorpusName, File, Flag, Folder, called
from nes2net.errors import InputError
from nes2net.machine.terminal import print_warnings, printable, say_written
from nes2net.registry import corpora

if TYPE_CHECKING:
    from nes2net.evaluation.transfer import ThresholdSource


@dataclass(frozen=True)
class Elsewhere:
    """A threshold chosen on other trials.

    Args:
        threshold_from: judge at the threshold of these development scores, one file for each score file, in their order
        dev_corpus: corpus of the development scores; the evaluated corpus if not given
        dev_keys: folder or file of the keys of the development scores
        dev_phase: phase or split of the development scores
        calibration: judge at the thresholds of these calibrations instead, made by nes2net calibrate
        operating_point: eer, cost:CMISS,CFA,PRIOR, fa:RATE% or miss:RATE%, on the development scores
        also: a further test set at the same threshold; repeatable
    """

    threshold_from: Annotated[Sequence[str], Flag("DEV_SCORES")] = ()
    dev_corpus: CorpusName | None = None
    dev_keys: Folder | None = None
    dev_phase: str = "dev"
    calibration: Sequence[File] = ()
    operating_point: Annotated[str, Flag("POINT")] = "eer"
    also: Annotated[Sequence[Sequence[str]], Flag(("CORPUS SCORES KEYS", "PHASE"))] = ()

    def source(self) -> ThresholdSource | None:
        """Where thresholds come from; None if nowhere."""
        from nes2net.decisions.decision import OperatingPoint
        from nes2net.evaluation.transfer import FurtherSet, ThresholdSource

        point = OperatingPoint.parse(self.operating_point)
        if not self.threshold_from and not self.calibration:
            if self.also or self.dev_keys or self.dev_corpus or self.operating_point != "eer":
                raise InputError(
                    "`also`, `dev_keys`, `dev_corpus` and `operating_point` go with a transferred threshold: give "
                    "`threshold_from` or `calibration` too"
                )
            return None
        if self.threshold_from and not self.dev_keys:
            raise InputError("`threshold_from` needs `dev_keys`, the labels of its scores")
        for place in self.also:
            if len(place) not in (3, 4):
                raise InputError(
                    f"`also` takes CORPUS SCORES KEYS, and PHASE if it is not eval, not '{' '.join(place)}'"
                )
            corpora.get(place[0])  # raises if there is no such corpus
        return ThresholdSource(
            dev_scores=self.threshold_from,
            dev_keys=self.dev_keys or ".",
            dev_corpus=self.dev_corpus,
            dev_phase=self.dev_phase,
            calibrations=self.calibration,
            operating_point=point,
            further=[FurtherSet(*place) for place in self.also],
        )


@called(names={"root": "--keys", "protocols": "--keys"})  # some protocols hold the labels
def evaluate(
    corpus: CorpusName,
    scores: Sequence[str],
    *,
    keys: Folder = ".",
    phase: str = "eval",
    allow_partial: bool = False,
    exclude: Annotated[Sequence[str] | None, Flag("FIELD=VALUE", nargs="*")] = None,
    html: File | None = None,
    json: File | None = None,
    latex: File | None = None,
    markdown: File | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
    threshold: float | None = None,
    resolution_ms: Annotated[float | None, Flag("MS")] = None,
    elsewhere: Elsewhere,
    embeddings: Sequence[File] = (),
) -> None:
    """Evaluate score files against a key, and compare them.

    Example:
        nes2net evaluate asvspoof2021_df scores.txt --keys keys --html report.html

    Args:
        corpus: which corpus, or hub:OWNER/NAME for a data set of the Hugging Face hub
        scores: score file; several are compared on the same trials
        keys: folder or file of the keys
        phase: phase or split of the keys: eval, progress, hidden or dev; 'all' for your own corpus without parts
        allow_partial: leave out trials whose scores are missing or unusable
        exclude: leave trials out, e.g. attack=A14 source=acesinger; if not given, the trials that the published figures
            leave out; without values, none
        html: write an HTML page with tables and plots
        json: write all figures, and hashes of the inputs, as JSON
        latex: write the tables of the page in LaTeX, for the package booktabs
        markdown: write the tables of the page in Markdown
        num_resamples: bootstrap draws for each interval
        seed: seed of the bootstrap

    Scores of frames, from nes2net score --segments:
        threshold: frames at or below this score are spoof; the threshold of the EER is used as well
        resolution_ms: length of a frame, if no record beside the file states it

    A map of embeddings, in the page:
        embeddings: files of nes2net embed, which --html draws by class, attack and corpus
    """
    from nes2net.actions.calibration import Labels
    from nes2net.actions.evaluation import Pages
    from nes2net.actions.evaluation import evaluate as evaluated

    pages = Pages(html, json, latex, markdown, embeddings)
    further = [place[1] for place in elsewhere.also if place[1:]]
    pages.check(scores, [*elsewhere.threshold_from, *further], elsewhere.calibration)
    source = elsewhere.source()
    if source is not None and threshold is not None:
        raise InputError(
            "`threshold` is a score, and `threshold_from` and `calibration` say where one comes from: leave one out"
        )
    labels = Labels(corpus, keys, phase)
    report, warnings = evaluated(
        labels,
        scores,
        threshold=threshold if source is None else source,
        resolution_ms=resolution_ms,
        allow_partial=allow_partial,
        exclude=None if exclude is None else _fields(exclude),
        num_resamples=num_resamples,
        seed=seed,
    )
    print(printable(report.text()))
    print_warnings(warnings)
    pages.write(report, labels)
    for path in pages.files:
        say_written(path, beside_data=True)


def _fields(pairs: Sequence[str]) -> dict[str, list[str]]:
    """Read FIELD=VALUE pairs.

    >>> _fields(["attack=A14", "attack=A13", "source=acesinger"])
    {'attack': ['A14', 'A13'], 'source': ['acesinger']}
    """
    values = defaultdict(list)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise InputError(f"--exclude takes FIELD=VALUE, e.g. attack=A14, not '{pair}'")
        values[name].append(value)
    return dict(values)
