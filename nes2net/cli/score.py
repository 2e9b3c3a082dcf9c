"""`nes2net score`: score a corpus with a trained detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from nes2net.actions.flags import (
    BatchFlags,
    CorpusName,
    Deciding,
    Loading,
    ModelName,
    Reading,
    locate_part,
    report_finished,
)
from nes2net.cli.next_commands import after_scoring, print_next
from nes2net.lib.output.terminal import print_warnings, say
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.shell.commands import File, Flag, Folder, FromZero, command_facts


@command_facts(
    about="The same command resumes a run. On several GPUs: torchrun --nproc-per-node N -m nes2net score …. "
    "Exit status 1 means that files failed.",
)
def score(
    corpus: CorpusName,
    root: str | None = None,
    *,
    model: ModelName,
    out: File,
    overwrite: bool = False,
    split: str = "eval",
    protocols: Folder | None = None,
    length: Reading,
    crop: Literal["head", "random"] = "head",
    crop_seed: FromZero = 0,
    padding: Literal["repeat", "zeros"] = "repeat",
    peak_normalize: Annotated[Literal["no", "recording", "cut"], Flag("PEAK")] = "no",
    channel: FromZero | None = None,
    judgement: Annotated[str, Flag("NAME|OPTIONS"), NotWith("person")] = "scores",
    system_scores: Sequence[File] = (),
    score_range: Annotated[Sequence[File], UsedWith("system_scores")] = (),
    loading: Loading,
    batches: BatchFlags,
    compile: bool = False,
    deciding: Deciding,
) -> int:
    """Score a corpus with a trained detector.

    Example:
        nes2net score asvspoof2021_df DB --model detector.pth --out scores_DF.txt

    Args:
        root: corpus folder; a corpus of the hub is downloaded
        out: score file to write
        overwrite: replace the scores of another run
        split: train, dev or eval
        protocols: protocol folder; searched for in root if not given

    How much of each recording:
        crop: which samples to cut out
        crop_seed: seed of --crop random
        padding: how to fill up short recordings
        peak_normalize: peak set to 1: no, recording or cut
        channel: one channel, from 0; the mean of all if not given
        judgement: another result than a score, e.g. frames or classes

    Scores of other systems, for a detector that fuses them:
        system_scores: a score file for each system, in order of training
        score_range: development files for ranges; 'test': those above

    Computing:
        compile: compile the detector first (torch.compile)
    """
    from nes2net.actions.people import ClaimScoring, check_claims
    from nes2net.actions.scoring import score_corpus
    from nes2net.lib.storage.yaml_text import read_value
    from nes2net.scoring.calibrated import check_belongs
    from nes2net.scoring.corpus import ScoringSettings
    from nes2net.scoring.judgement import as_judgement
    from nes2net.scoring.measuring import Measurer

    chosen_judgement = as_judgement(read_value(judgement, None, "`judgement`"))
    decider = deciding.decider
    person_decider = deciding.person_decider()
    located_part = locate_part(corpus, root, split, protocols)
    # Before the detector, so that an error in the list is found first.
    trials = length.choose(located_part.trials, channel)
    if person_decider is not None:
        check_claims(trials, located_part.root or corpus, person_decider)
    detector = loading.scorer(model)
    if person_decider is not None:
        chosen_judgement = ClaimScoring(person_decider, Measurer.of(detector, person_decider))
        if decider is not None:
            print_warnings(check_belongs(detector, decider.calibration))
        decider = None  # the score file of claims has no decisions
    scored_as = {}
    if channel is not None:
        scored_as["channel"] = channel
    if length.audio_track:
        scored_as["audio_track"] = length.audio_track
    scores, decisions = score_corpus(
        detector,
        located_part,
        out,
        checkpoint=model,
        trials=trials,
        num_samples=length.requested_samples(),
        judgement=chosen_judgement,
        system_scores=system_scores,
        score_range=score_range,
        decider=decider,
        calibration=deciding.calibration or "",
        about=scored_as,
        settings=ScoringSettings(
            crop=crop,
            crop_seed=crop_seed,
            padding=padding,
            peak_normalize=peak_normalize,
            overwrite=overwrite,
            compile=compile,
            **vars(batches),
        ),
    )
    status = report_finished(scores)
    if decider and decisions:
        say(*decider.describe())
        counts = ", ".join(f"{count} {name}" for name, count in decisions.counts.items())
        state = "complete already" if decisions.already_complete else "written"
        say(f"decisions: {counts}, {state} in {decisions.path}")
    commands = after_scoring(located_part, out)
    print_next([[*words, *(["--allow-partial"] if scores.failures else [])] for words in commands])
    return status
