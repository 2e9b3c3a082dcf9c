"""`nes2net robustness`: evaluate a detector on the same trials, clean and under named conditions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from nes2net.actions.flags import BatchFlags, CorpusName, Loading, ModelName, Reading, locate_part
from nes2net.apps.robustness.settings import Suite
from nes2net.lib.errors import InputError
from nes2net.lib.output.terminal import print_output, print_warnings, say_written
from nes2net.lib.shell.command_line import INCOMPLETE
from nes2net.lib.shell.commands import Count, File, Flag, Folder, command_facts


@command_facts(
    about="Repeat it to resume. Exit status 1 means that figures or files are missing.",
    names={"augment.musan": "--musan", "augment.rir": "--rir"},
)
def robustness(
    corpus: CorpusName,
    root: str | None = None,
    *,
    model: ModelName | None = None,
    loading: Loading,
    out: Folder | None = None,
    overwrite: bool = False,
    list_: bool = False,
    split: str = "eval",
    protocols: Folder | None = None,
    suite: Suite,
    length: Reading,
    calibration: File | None = None,
    operating_point: Annotated[str | None, Flag("POINT")] = None,
    batches: BatchFlags,
    num_resamples: Count = 1000,
    check_gradients: bool = False,
) -> int:
    """Score the same trials clean, coded, noisy or attacked, and compare the errors.

    Example:
        nes2net robustness in_the_wild DB --model detector.pth --out robustness \\
          --trials 2000 --conditions mp3 white:5 telephone

    Args:
        root: corpus folder; a corpus of the hub is downloaded
        out: folder of score files and report
        overwrite: replace the scores of another run
        list_: list trials and conditions, and stop
        calibration: use the threshold of a calibration
        operating_point: eer, fa:RATE%, miss:RATE%, or cost:CMISS,CFA,PRIOR
        num_resamples: bootstrap draws for each interval

    Trials and conditions:
        split: train, dev or eval
        protocols: protocol folder; searched for in root if not given
        check_gradients: tell whether attacks can follow them, and stop
    """
    from nes2net.apps.robustness.attacked import AttackedScores, check_detector
    from nes2net.apps.robustness.robustness import EER_OF_CLEAN
    from nes2net.apps.robustness.run import plan, run
    from nes2net.data.registry import corpora
    from nes2net.evaluation.matching import system_names
    from nes2net.evaluation.page import Pages
    from nes2net.scoring.calibrated import check_belongs
    from nes2net.scoring.corpus import ScoringSettings
    from nes2net.scoring.decisions import Decider, OperatingPoint, load

    point = OperatingPoint.parse(operating_point) if operating_point else None
    planned = plan(locate_part(corpus, root, split, protocols), suite)
    if list_:
        print_output("\n".join(planned.words()))
        return 0
    if not model or not (out or check_gradients):
        raise InputError(
            "scoring requires a detector and a folder: add `model` and `out`, or `list` to only list conditions"
        )
    detector = loading.scorer(model)
    surrogates = {}
    for name, surrogate in zip(system_names(suite.attack_from), suite.attack_from):
        surrogates[name] = Loading(device=loading.device).load(surrogate)
    num_samples = length.choose_num_samples(corpora.get(corpus).test_samples, detector.provenance)
    if check_gradients or not out:
        attack = AttackedScores("pgd:40", "spoof", None, 0, made_on=detector, num_samples=num_samples)
        print_output(check_detector(attack, planned.trials)[0])
        return 0
    rule: Decider | OperatingPoint = point or EER_OF_CLEAN
    if calibration is not None:
        rule = Decider.at(load(calibration), point)
        doubts = [*check_belongs(detector, rule.calibration), rule.calibration.warning_on_length(num_samples)]
        print_warnings(filter(None, doubts))
    result = run(
        detector,
        replace(planned, trials=list(length.choose(planned.trials))),
        out,
        num_samples=num_samples,
        attack_from=surrogates,
        settings=ScoringSettings(overwrite=overwrite, **vars(batches)),
        rule=rule,
        checkpoint=model,
        num_resamples=num_resamples,
    )
    print_output(result.text())
    pages = Pages(Path(out, "report.html"), Path(out, "report.json"), markdown=Path(out, "report.md"))
    print_warnings(result.warnings)
    pages.write(result)
    for path in (*pages.files, Path(out, "scores")):
        say_written(path, beside_data=True)
    has_failures = bool(result.header["failed"].keys() - planned.left_out.keys())
    return INCOMPLETE if has_failures or result.header["left_out"] else 0
