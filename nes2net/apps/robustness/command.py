"""`nes2net robustness`: evaluate a detector on the same trials, clean and under named conditions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from nes2net.actions.flags import CorpusName, Length, Loading, ModelName, located
from nes2net.lib.command_line import INCOMPLETE
from nes2net.lib.commands import Count, File, Flag, Folder, FromZero, called
from nes2net.lib.errors import InputError
from nes2net.lib.terminal import print_warnings, printable, say_written


@called(
    about="OUT gets a score file for each condition, and a report. The same command resumes an interrupted run "
    "and adds further conditions. Exit status 1 means that figures or files are missing.",
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
    phase: str | None = None,
    keys: Folder | None = None,
    protocols: Folder | None = None,
    num_trials: Annotated[int | None, Flag("N")] = None,
    seed: FromZero = 0,
    length: Length,
    conditions: Annotated[Sequence[str] | None, Flag("NAME[:STRENGTH]")] = None,
    musan: Folder | None = None,
    rir: Folder | None = None,
    calibration: File | None = None,
    operating_point: Annotated[str, Flag("POINT")] = "eer",
    batch_size: Count | None = None,
    num_workers: FromZero | None = None,
    num_resamples: int = 1000,
) -> int:
    """Score the same trials clean, coded, noisy and cut, and compare the errors.

    Example:
        nes2net robustness in_the_wild DB --model detector.pth --out robustness \\
          --trials 2000 --conditions mp3 white:5 telephone

    Args:
        root: corpus folder; a corpus of the hub is downloaded
        out: folder to write
        overwrite: replace the scores of another run
        list_: list trials and conditions, and stop
        num_resamples: bootstrap draws for each interval

    Which trials:
        split: train, dev or eval
        phase: phase of the keys; the split if not given
        keys: key folder; searched for in root if not given
        protocols: protocol folder; searched for in root if not given
        num_trials: score a subset of N trials
        seed: seed of subset, conditions, bootstrap

    Conditions:
        conditions: such as mp3:16 telephone (nes2net info conditions); all that are possible if not given
        musan: folder of MUSAN, for noise, music and speech
        rir: folder of impulse responses, for condition rir

    Threshold:
        calibration: use the threshold of a calibration
        operating_point: eer, fa:RATE%, miss:RATE%, or with --calibration cost:CMISS,CFA,PRIOR

    Computing:
        batch_size: utterances of 4 s per batch (8, or 64 on a GPU)
        num_workers: worker processes that read and change audio
    """
    from nes2net.apps.robustness.run import plan, run
    from nes2net.data.registry import corpora
    from nes2net.evaluation.page import Pages
    from nes2net.scoring.calibrated import check_belongs
    from nes2net.scoring.decisions import Decider, OperatingPoint, load

    point = OperatingPoint.parse(operating_point)
    planned = plan(
        located(corpus, root, split, protocols),
        phase=phase,
        keys=keys,
        conditions=conditions,
        num_trials=num_trials,
        seed=seed,
        musan=musan,
        rir=rir,
    )
    if list_:
        print(printable("\n".join(planned.words())))
        return 0
    if not model or not out:
        raise InputError("name the detector with `model` and a folder with `out`; `list` needs neither")
    detector = loading.load(model)
    num_samples = length.chosen(corpora.get(corpus).test_samples, detector.provenance)
    rule: Decider | OperatingPoint = point
    if calibration is not None:
        rule = Decider(load(calibration), operating_point=point)
        doubts = [*check_belongs(detector, rule.calibration), rule.calibration.unlike(num_samples)]
        print_warnings(filter(None, doubts))
    result = run(
        detector,
        planned,
        out,
        num_samples=num_samples,
        batch_size=batch_size,
        num_workers=num_workers,
        overwrite=overwrite,
        rule=rule,
        checkpoint=model,
        num_resamples=num_resamples,
    )
    print(printable(result.text()))
    pages = Pages(Path(out, "report.html"), Path(out, "report.json"), markdown=Path(out, "report.md"))
    print_warnings(result.warnings)
    pages.write(result)
    for path in (*pages.files, Path(out, "scores")):
        say_written(path, beside_data=True)
    has_failures = bool(result.header["failed"].keys() - planned.left_out.keys())
    return INCOMPLETE if has_failures or result.header["left_out"] else 0
