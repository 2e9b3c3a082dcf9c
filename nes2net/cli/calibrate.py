"""`nes2net calibrate`: turn the scores of one or more systems into log-likelihood ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from nes2net.actions.flags import (
    Architecture,
    BatchFlags,
    CorpusName,
    Learning,
    LearningClaims,
    Loading,
    ModelName,
    Reading,
    report_finished,
)
from nes2net.cli.next_commands import print_next
from nes2net.lib.errors import InputError, join_names, pluralise, refuse, with_flag_names
from nes2net.lib.output.terminal import (
    print_note,
    print_output,
    print_warnings,
    say,
    say_aside,
    say_written,
    text_table,
)
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.shell.command_line import FOUND, INCOMPLETE
from nes2net.lib.shell.commands import Count, File, Flag, Folder, FromZero, Milliseconds, command_facts
from nes2net.lib.storage.files import check_writable, json_text, make_folder, write_output
from nes2net.lib.storage.outputs import check_files_differ

if TYPE_CHECKING:
    from nes2net.actions.calibration import Calibrated
    from nes2net.scoring.decisions.calibration import LinearCalibration


@command_facts(names={"protocols": "--keys"})  # messages call this setting --keys
def fit(
    corpus: CorpusName,
    dev_scores: Sequence[str],
    *,
    resolution_ms: Milliseconds | None = None,
    keys: Folder | None = None,
    phase: str = "dev",
    genuine_only: Annotated[bool, UsedWith("operating_point")] = False,
    learning: Learning,
    save: File | None = None,
    root: Annotated[Folder | None, UsedWith("save")] = None,
    model: Annotated[ModelName | None, UsedWith("root")] = None,
    architecture: Architecture,
    device: str = "auto",
    num_workers: FromZero | None = None,
    allow_partial: bool = False,
) -> None:
    """Learn log-likelihood ratios from labelled scores; fuse several systems.

    Example:
        nes2net calibrate fit asvspoof2019_la dev.txt --root DB --save c.json
        nes2net calibrate fit asvspoof2019_la A.txt B.txt --keys DB --save fusion.json

    Args:
        dev_scores: score file to train on; files of several systems are fused
        resolution_ms: length of a frame, if no record states it
        allow_partial: omit trials without a usable score

    What is learned:
        keys: folder or file of the keys; --root if not given
        phase: phase to train on, or 'all' of a corpus without parts
        genuine_only: without --keys, all scores are of genuine recordings
        save: write the calibration to a file

    What the recordings are like, for scores of one system:
        root: measure the recordings of the corpus in this folder
        model: the detector of the scores, to embed recordings
        config: published model or recipe, if not recorded
        base: the weights that an adapted checkpoint lacks
        device: auto, cpu, cuda or cuda:N
        num_workers: workers, which read audio
    """
    from nes2net.actions.calibration import Recordings, calibrate
    from nes2net.evaluation.key import Labels
    from nes2net.scoring.measuring import forget_traits

    check_files_differ(dev_scores, filter(None, [save]))
    recordings = None
    if root and save:
        if len(dev_scores) > 1:
            raise InputError(
                f"recordings are measured only for the scores of one system, not for a fusion of {len(dev_scores)}: remove `root`"
            )
        make_folder(Path(save).parent)
        check_writable(save, stream=True)
        recordings = Recordings(root, num_workers, model, device, architecture.as_config, architecture.base, kept=save)
    labels = Labels(corpus, keys or root or ("" if genuine_only else "."), phase)
    calibrated = calibrate(
        labels,
        dev_scores,
        learning,
        allow_partial=allow_partial,
        resolution_ms=resolution_ms,
        recordings=recordings,
    )
    _print_learned(f"{corpus}, phase {phase}: ", calibrated, dev_scores if save else ())
    if save:
        calibrated.calibration.save(save)
        if recordings:  # the saved file holds their traits
            forget_traits(recordings.kept)
    _print_figures(calibrated, save)


def apply(
    parameters: str, scores: Sequence[str], *, out: Annotated[str, Flag("FILE")], allow_partial: bool = False
) -> None:
    """Apply a saved calibration or fusion to scores.

    Example:
        nes2net calibrate apply calibration.json eval.txt --out calibrated.txt

    Args:
        parameters: file written by --save of nes2net calibrate fit
        scores: score files, one for each system, in the order of calibrate fit
        out: score file to write
        allow_partial: omit trials without a usable score
    """
    from nes2net.actions.calibration import apply_calibration
    from nes2net.scoring.decisions.calibration import load

    check_files_differ([parameters, *scores], [out])
    calibration = load(parameters)
    notes = apply_calibration(calibration, scores, out, allow_partial=allow_partial)
    say(*_weights_lines(calibration), *(f"note: {note}" for note in notes))
    say_written(out, beside_data=True)


@command_facts(
    about="Take recordings like the recordings to judge later: 73 of each class bound an error rate to 5 %, and "
    "381 bound it to 1 %. The list and the scores of the recordings are kept beside the calibration. The "
    "same command resumes an interrupted run. Exit status 1 means that a file could not be scored.",
    names={"num_samples=None": "--samples full"},
)
def recordings(
    bonafide: Folder,
    spoof: Folder | None = None,
    *,
    model: ModelName,
    save: File,
    loading: Loading,
    length: Reading,
    batches: BatchFlags,
    learning: Learning,
    speakers: Annotated[File | None, UsedWith("operating_point")] = None,
) -> int:
    """Learn log-likelihood ratios from two folders, or what is usual among genuine recordings.

    Example:
        nes2net calibrate recordings REAL FAKE --model AASIST --save c.json
        nes2net calibrate recordings REAL --operating-point miss:5% --model M --save c
        nes2net predict recording.wav --model AASIST --calibration c.json

    Args:
        bonafide: folder of bona fide recordings
        spoof: folder of spoofed recordings
        save: file of the calibration to write

    What is learned:
        speakers: list of paths and speakers, to count people
    """
    from nes2net.actions.calibration import calibrate_recordings
    from nes2net.scoring.decisions.calibration import how_sure

    refuse(
        (
            bool(spoof) == bool(learning.operating_point),
            "name a folder of spoofed recordings, or add `operating_point`; they exclude each other",
        )
    )
    make_folder(Path(save).parent)
    check_writable(save, stream=True)  # so that an error comes before a large model is read
    calibrated, scores = calibrate_recordings(
        loading.scorer(model),
        bonafide,
        spoof,
        save,
        learning,
        checkpoint=model,
        num_samples=length.requested_samples_of_files(),
        audio_track=length.audio_track,
        speakers=speakers,
        batch_size=batches.batch_size,
        num_workers=batches.num_workers,
    )
    status = report_finished(scores)
    _print_learned("", calibrated, [str(scores.path)])
    if calibrated.rows and not calibrated.warning:
        say(f"note: {how_sure(calibrated.num_bonafide, calibrated.num_spoof)}")
    _print_figures(calibrated, save)
    print_next([["predict", "FILE", "--model", model, "--calibration", save]])
    return status


@command_facts(names={"protocols": "--keys"})
def classes(
    corpus: CorpusName,
    dev_logits: str,
    *,
    save: File,
    keys: Folder = ".",
    phase: str = "dev",
    score: Literal["log_odds", "max_logit", "energy", "sme"] = "log_odds",
    equal_errors: bool = False,
    class_field: Annotated[str | None, Flag("FIELD")] = None,
    allow_partial: bool = False,
) -> None:
    """Learn when none of a detector's classes is right, from labelled logits.

    Example:
        nes2net calibrate classes mlaad dev.tsv --keys DIR --save known.json

    Args:
        dev_logits: file of nes2net score --judgement classes
        save: write a file that predict reads
        keys: folder or file of the keys
        phase: phase or split of the keys
        score: score of being known
        equal_errors: threshold where both errors are equal, not where 5 % of known trials are rejected
        class_field: the field of the classes, if not as recorded
        allow_partial: omit trials without usable logits
    """
    from nes2net.actions.known_classes import known_classes
    from nes2net.evaluation.key import Labels

    check_writable(save, stream=True)
    threshold, trials = known_classes(
        Labels(corpus, keys, phase),
        dev_logits,
        score,
        equal_errors=equal_errors,
        allow_partial=allow_partial,
        class_field=class_field,
    )
    print_note(trials.labels.in_words(trials.system))
    print_warnings(trials.doubts)
    write_output(save, threshold.model_dump_json(exclude_none=True) + "\n")
    num_known = pluralise(trials.known.numbers, "trial")
    reached = f"at or above which lie 95 % of {num_known}"  # the threshold, in words
    if equal_errors:
        reached = f"where the errors are equal on {num_known} of known classes and {len(trials.unknown.numbers)} of unknown ones"
    say(
        f"none of the {pluralise(threshold.classes, 'class', 'classes')} is named below a {score} of "
        f"{threshold.threshold:.4g}, {reached}"
    )
    say_written(save)
    print_next([["predict", "FILE", "--model", "MODEL", "--judgement", f"{{name: classes, known: {save}}}"]])


@command_facts(
    about="The recordings need no labels. Exit status 3 means that drift was found. Otherwise, exit status 1 "
    "means that a file could not be compared, or that the recordings are too few to show drift. Exit "
    "status 0 means that no drift was found.",
    resumes=False,
)
def drift(
    calibration: Annotated[str, Flag("CALIBRATION")],
    files: Annotated[Sequence[str], Flag("RECORDING")],
    *,
    model: ModelName,
    loading: Loading,
    alpha: float = 0.01,
    by: Literal["day", "week", "none"] = "day",
    save: File | None = None,
    plot: File | None = None,
    json_: bool = False,
    batch_size: Count | None = None,
    workers: Count | None = None,
) -> int:
    """Compare new recordings with those of a calibration, to see whether the calibration still holds.

    Example:
        nes2net calibrate drift c.json NEW --model AASIST
        nes2net calibrate drift c.json NEW --model AASIST --by week --plot drift.png

    Args:
        calibration: file written by --save of nes2net calibrate
        files: new recordings, or folders of them
        alpha: share of comparisons in which drift is found although there is none
        by: group recordings by day or week of their last change
        save: write the figures and a row for each recording as JSON
        plot: draw the traits over time into a .png, .svg or .pdf
        json_: print what --save writes
        batch_size: recordings at once (8, or 64 on a GPU)
        workers: threads that read files
    """
    from nes2net.actions.drift import measure_drift
    from nes2net.evaluation.page import Pages
    from nes2net.scoring.decisions.calibration import load

    pages = Pages(json=save, plot=plot)
    for path in pages.files:
        make_folder(Path(path).parent)
    pages.check([calibration, *files])
    learned = load(calibration)
    outcome = measure_drift(
        loading.scorer(model), learned, files, alpha=alpha, by=by, batch_size=batch_size, workers=workers
    )
    result = outcome.result
    if json_:
        print_output(json_text(result.to_dict(), indent=1))
    else:
        print_output(with_flag_names(result.text()))
    print_warnings(result.warnings)
    if outcome.failures:
        failures = [f"{path}: {reason}" for path, reason in outcome.failures.items()]
        say_aside(f"{pluralise(failures, 'file')} failed: {join_names(failures)}")
    if plot:
        from nes2net.actions.drift_plot import plot_drift  # start-up: Matplotlib

        result = replace(result, draw=partial(plot_drift, drift=outcome))
    pages.write(result, write_output)
    for path in pages.files:
        say_written(path, beside_data=True)
    if outcome.found:
        return FOUND
    return INCOMPLETE if outcome.failures or outcome.too_few else 0


def neighbours(genuine: Folder, fake: Folder | None = None, *, model: ModelName, save: File, loading: Loading) -> None:
    """Keep embeddings of recordings, to name the nearest of them beside an answer.

    Example:
        nes2net calibrate neighbours REAL FAKE --model AASIST --save n.json
        nes2net predict recording.wav --model AASIST --evidence neighbours:n.json

    Args:
        genuine: folder of genuine recordings
        fake: folder of fakes
        save: file to write
    """
    from nes2net.scoring.neighbours import learn_neighbours

    check_writable(save, stream=True)
    learn_neighbours(loading.load(model), filter(None, (genuine, fake)), save)
    say_written(save)


def marks(genuine: Folder, *, save: File, alpha: str = "1%", keep_marked: bool = False) -> None:
    """Measure how often the watermark Perth is found in genuine recordings.

    Example:
        nes2net calibrate marks REAL --save marks.json
        nes2net predict recording.wav --model AASIST --marks=perth:marks.json

    Args:
        genuine: folder of genuine recordings like those to judge
        save: file to write
        alpha: expected share of false alarms
        keep_marked: also count recordings that are probably marked
    """
    from nes2net.scoring.marks import measure_false_alarms

    check_writable(save, stream=True)
    alarms = measure_false_alarms(genuine, alpha, keep_marked)
    say(f"found above {alarms.threshold:.3f}; {alarms}")
    write_output(save, alarms.model_dump_json())
    say_written(save)


def person(
    store: Folder,
    *,
    save: File,
    others: Folder | None = None,
    fakes: Annotated[Folder | None, UsedWith("others")] = None,
    model: Annotated[ModelName | None, UsedWith("others")] = None,
    loading: Loading,
    scores: Annotated[File | None, NotWith("others", "fakes", "model")] = None,
    corpus: Annotated[CorpusName, UsedWith("scores")] = "generic",
    keys: Annotated[Folder, UsedWith("scores")] = ".",
    phase: Annotated[str, UsedWith("scores")] = "dev",
    learning: LearningClaims,
    encoder: Annotated[str | None, Flag("NAME|OPTIONS")] = None,
) -> None:
    """Learn to decide whether an enrolled person is speaking, live.

    Example:
        nes2net calibrate person people --others OTHERS --fakes FAKES --model M \\
          --save p.json
        nes2net predict call.wav --model M --person people:anna --calibration p.json

    Args:
        store: folder of enrolled people
        save: file of the calibration to write
        others: folder of genuine recordings of other people
        fakes: folder of fakes of enrolled people; else live is not checked
        model: the detector
        scores: instead, a score file of claims, as of nes2net score --person
        corpus: corpus of the score file
        keys: folder or file of its keys
        phase: phase or split of the keys
        encoder: speaker encoder of the store, if it needs options
    """
    from nes2net.actions.people import calibrate_claims, calibrate_people
    from nes2net.evaluation.key import Labels
    from nes2net.scoring.claimed import PersonDecider
    from nes2net.scoring.decisions.decision import Decider

    check_writable(save, stream=True)
    decider = PersonDecider.of(store, encoder)
    if scores is not None:
        calibration = calibrate_claims(scores, Labels(corpus, keys, phase), decider, learning)
    elif model is not None and others is not None:
        calibration = calibrate_people(loading.scorer(model), decider, others, fakes, learning)
    else:
        raise InputError("name recordings of other people and a detector, `others` and `model`, or `scores`")
    say(*replace(decider, liveness=Decider(calibration)).describe())
    calibration.save(save)
    say_written(save)


@command_facts(subcommands=(recordings, fit, apply, drift, classes, neighbours, marks, person))
def calibrate() -> None:
    """Turn scores into log-likelihood ratios; the scores of several systems are fused.

    Example:
        nes2net calibrate recordings REAL FAKE --model AASIST --save c.json
        nes2net calibrate fit asvspoof2019_la dev.txt --root DB --save c.json
        nes2net calibrate apply c.json eval.txt --out calibrated.txt
        nes2net calibrate drift c.json NEW --model AASIST
    """


def _print_learned(source: str, calibrated: Calibrated, saved: Sequence[str]) -> None:
    from nes2net.scoring.decisions.calibration import scored_part, separates
    from nes2net.scoring.decisions.decision import Decider

    calibration = calibrated.calibration
    classes = f"{calibrated.num_bonafide} bona fide and {calibrated.num_spoof} spoofed {calibrated.unit}"
    lines = [f"trained on {source}{classes}, prior {calibration.prior:g}", *_weights_lines(calibration)]
    if calibration.genuine:
        lines = Decider(calibration).describe()
    say(*lines)
    if separates(calibration.llrs):
        say("note: the classes are separated without error here; only --l2 limits the size of the weights")
    if calibrated.failed:
        say_aside(f"{pluralise(calibrated.failed, 'recording')} failed: {join_names(calibrated.failed)}")
    if len(saved) != 1:
        return
    scored_by = calibration.scored_by
    population = calibration.population
    if scored_by is None:
        say(
            f"note: no record of these scores is beside {saved[0]}, so predict cannot check that it "
            "applies the calibration to the same detector: keep the records that `nes2net score` writes"
        )
    else:
        scored_length = scored_part(scored_by.num_samples)
        say(f"detector: {scored_by.fingerprint[:12]} in {scored_by.precision}, scored {scored_length}")
    if population is None:
        say("note: the recordings were not measured, so predict cannot say 'cannot tell'; add --root DIR")
    else:
        say(f"recordings: {population.num_recordings} measured by {', '.join(population.edges())}")
        if scored_by is not None and scored_by.num_samples is None and scored_by.resolution_ms is None:
            say(
                "note: whole recordings were scored, so predict answers 'cannot tell' for much longer ones, and listen decides "
                "no call; calibrate on scores made with --samples N to decide these"
            )


def _weights_lines(calibration: LinearCalibration) -> list[str]:
    weights = [*zip(calibration.systems, calibration.weights), ("offset", calibration.offset)]
    width = max(len(name) for name, _ in weights)
    lines = ["weights:"]
    lines += [f"  {name:{width}} {weight:+.6g}" for name, weight in weights]
    if negative := [name for name, weight in zip(calibration.systems, calibration.weights) if weight < 0]:
        lines.append(f"note: the weight of {', '.join(negative)} is negative: higher scores count as spoofed")
    return lines


def _print_figures(calibrated: Calibrated, save: str | None) -> None:
    from nes2net.evaluation.tables import column

    if rows := calibrated.rows:
        columns = [column(name, digits=4) for name in rows[0][1]]
        lines = [["", *(measure.heading for measure in columns)]]
        for name, values in rows:
            lines.append([name, *(measure.write(values[measure.name], in_text=True) for measure in columns)])
        say(*text_table(lines))
        print_warnings(filter(None, [calibrated.warning]))
    if save:
        say_written(save, beside_data=True)
