"""A corpus to a file of scores, of utterances or of their frames: a run of :mod:`nes2net.scoring.engine`."""

from __future__ import annotations

import math
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nes2net.corpora.trial import Trial
from nes2net.errors import InputError, counted
from nes2net.machine.launch import is_first
from nes2net.machine.progress import ProgressDisplay
from nes2net.scoring import score_file, segment_file
from nes2net.scoring.batches import Plan, ReadBatch, default_batch_size, waveforms_for
from nes2net.scoring.compute import Compute, FramesOfBatch, compute_frames, compute_scores
from nes2net.scoring.engine import Finished, Output, Share, run_over
from nes2net.scoring.kernel import scoring_mode
from nes2net.scoring.record import circumstances, plain, run_identity
from nes2net.scoring.score_file import check_ids, read_scores
from nes2net.scoring.scorer import Scorer, depends_on_batch
from nes2net.scoring.segment_file import read_segment_scores
from nes2net.scoring.system_scores import check_system_scores
from nes2net.scoring.waveforms import Crop, Transform, WaveformReader


class ScoreOutput(Output[float]):
    """A line ``utterance score`` for each trial (:mod:`nes2net.scoring.score_file`)."""

    doing, done, what = "scoring", "scored", "scores"

    def check(self, trials: Sequence[Trial]) -> None:
        check_ids(trial.id for trial in trials)

    def kept(self, value: float) -> float:
        return float(value)

    def value(self, kept: Any) -> float:
        if not isinstance(kept, float) or not math.isfinite(kept):
            raise ValueError(kept)
        return kept

    def read(self, out: Path) -> Iterable[tuple[str, float]]:
        return zip(*read_scores(out))

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, float]]) -> dict[str, Any]:
        with open(files[0], "w", encoding="utf-8", newline="\n") as file:
            file.writelines(score_file.line(trial.id, score) for trial, score in rows)
        return {}


class FrameOutput(Output[NDArray]):
    """A line ``utterance frame score`` for each frame of each trial (:mod:`nes2net.scoring.segment_file`).

    Args:
        resolution_ms: length of a frame.
    """

    doing, done, what = "scoring", "scored", "scores"

    def __init__(self, resolution_ms: float) -> None:
        self.resolution_ms = resolution_ms
        self.rows_are = f"utterances in frames of {resolution_ms:g} ms"

    def check(self, trials: Sequence[Trial]) -> None:
        check_ids(trial.id for trial in trials)

    def kept(self, value: NDArray) -> list[float]:
        return value.tolist()

    def value(self, kept: Any) -> NDArray:
        scores = np.array(kept, np.float32)
        if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
            raise ValueError(kept)
        return scores

    def read(self, out: Path) -> Iterable[tuple[str, NDArray]]:
        return ((id, scores.astype(np.float32)) for id, scores in read_segment_scores(out).scores.items())

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, NDArray]]) -> dict[str, Any]:
        with open(files[0], "w", encoding="utf-8", newline="\n") as file:
            file.writelines(segment_file.lines(trial.id, scores) for trial, scores in rows)
        return {"resolution_ms": self.resolution_ms}


class ScoringOptions(TypedDict, total=False):
    """Arguments of :func:`score_trials` that say how to score and nothing of what."""

    crop: Crop
    crop_seed: int
    batch_size: int | None
    num_workers: int | None
    on_error: str
    overwrite: bool
    legacy_train_mode: bool
    compile: bool
    transform: Transform | None
    display: ProgressDisplay[None] | None


def score_trials(
    scorer: Scorer,
    trials: Sequence[Trial],
    out: str | Path,
    *,
    num_samples: int | None,
    crop: Crop = "head",
    crop_seed: int = 0,
    batch_size: int | None = None,
    num_workers: int | None = None,
    on_error: str = "skip",
    overwrite: bool = False,
    legacy_train_mode: bool = False,
    compile: bool = False,
    resolution_ms: float | None = None,
    transform: Transform | None = None,
    about: Mapping[str, Any] | None = None,
    display: ProgressDisplay[None] | None = None,
) -> Finished:
    """Score ``trials`` into the file ``out``: one line ``utterance score`` per trial, in order.

    With ``resolution_ms`` it has a line ``utterance frame score`` for each frame of each trial
    (:mod:`nes2net.scoring.segment_file`). A whole utterance of up to 30 s is then scored in one
    piece, and a longer one in windows (:func:`nes2net.scoring.frame_scores.frame_scores`).

    Each score equals the one computed alone, up to the rounding of float32: utterances share a
    batch only if they give the detector the same number of samples, and there is no padding. The
    exception is a front-end with ``normalize: batch``, which is said; the batch size then belongs
    to the run. Under
    ``torchrun`` each process scores a share, and the first one writes the file. The file is the
    same to the last bit for any number of processes and interruptions, if each process has the same
    number of threads. The detector is left in the mode in which it was.

    Args:
        num_samples: how many leading samples of each utterance to take, repeated if there are fewer
            ('4sec'); None for whole utterances ('full').
        crop: ``"random"`` takes them from a start that is drawn for each utterance, as the authors
            of some published detectors do.
        crop_seed: of those starts, which depend on it and on the utterance's file alone.
        batch_size: largest number of utterances in a batch; None for 8 on a CPU and 64 on a GPU.
            Whole utterances of more than 4 s share a batch up to as many samples. A batch that does
            not fit into memory is scored in parts.
        num_workers: processes that read audio; 0 for reading in this process, None for a number
            that suits the device.
        on_error: ``"skip"`` leaves out a file that cannot be read and names it in the result; the
            same call tries it again later. ``"raise"`` stops.
        overwrite: replace a finished score file, or the journals of another run.
        legacy_train_mode: score as the published In-the-Wild scoring, which never left train mode:
            with the batch statistics of single utterances, and with dropout (deviation 2). The
            random numbers come from one stream per utterance.
        compile: compile the detector for the batches of '4sec' (:meth:`nes2net.Detector.compile`).
            It stays compiled.
        resolution_ms: length of the frames to score, one of the detector's; None for one score an
            utterance.
        transform: changes each whole utterance before it is cut; it belongs to the run.
        about: plain data for ``{out}.json``, such as the corpus, the checkpoint and its recipe.
        display: counts the utterances, if several corpora share it; one of this call if not given.

    Raises:
        InputError: if the detector fuses scores of other systems that the trials do not have
            (:func:`nes2net.scoring.system_scores.with_system_scores`); if it does not score frames of
            ``resolution_ms``, or these are not to be of whole utterances; if ``out`` is a folder or a
            device, belongs to another run, or another run is writing it; if it, or audio of its
            trials, was changed since it was finished; if there are no trials, or a score file
            cannot hold an id; if no trial could be scored; if an argument is out of its range; or
            if the disk is full.
        Unfinished: if a process that reads audio was killed or hangs; the scores so far are kept.
    """
    if batch_size is not None and batch_size < 1:
        raise InputError(f"`batch_size` is at least 1, not {batch_size}")
    reader = replace(WaveformReader.of(scorer, num_samples, crop=crop, seed=crop_seed), transform=transform)
    if compile and num_samples is None:
        raise InputError(
            "a detector can be compiled only for waveforms of one length, as in '4sec': leave out `compile=True`"
        )
    if legacy_train_mode and scorer.precision == "int8":
        raise InputError("a detector in int8 has no train mode: score as published in float32")
    check_system_scores(trials, scorer.num_scores)
    batch_size = default_batch_size(scorer.computes_on) if batch_size is None else batch_size
    batch_matters = depends_on_batch(scorer)
    plan = Plan(
        1 if legacy_train_mode else batch_size,
        whole=num_samples is None and not legacy_train_mode,
        filled=not (legacy_train_mode or batch_matters),
        compiled=compile,
    )
    run = run_identity(scorer, trials, num_samples, legacy_train_mode, compile)
    if batch_matters:
        run["batch_size"] = batch_size
    if crop != "head":
        run |= {"crop": crop, "crop_seed": crop_seed}
    if transform is not None:
        run["transform"] = transform.identity
    output: Output[Any] = ScoreOutput()
    system_scores = {trial.id: trial.system_scores for trial in trials} if scorer.num_scores else None
    compute: Compute[Any] = compute_scores(scorer, plan, random_streams=legacy_train_mode, system_scores=system_scores)
    if resolution_ms is not None:
        if num_samples is not None or legacy_train_mode or transform is not None:
            raise InputError(
                "frames are scored of whole utterances as they are, in eval mode: leave `num_samples` out, and the transform"
            )
        frames = FramesOfBatch(scorer, resolution_ms)
        run["resolution_ms"] = frames.resolution_ms
        reader = replace(reader, min_samples=1)  # a repeated utterance would have frames behind its end
        output, compute = FrameOutput(frames.resolution_ms), compute_frames(scorer, plan, frames)

    def begin(batches: Iterator[ReadBatch]) -> Generator[Share[Any], None, None]:
        if batch_matters and is_first():
            tqdm.write(
                f"the front-end normalises the batch as a whole, so a score depends on the {counted(batch_size, 'utterance')} "
                "of its batch: a front-end without `normalize: batch` has scores that do not",
                file=sys.stderr,
            )
        if compile:
            scorer.compile(dynamic=False)
        yield from compute(batches)

    with scoring_mode(scorer, legacy_train_mode):
        return run_over(
            trials,
            waveforms_for(scorer.device, reader, plan, num_workers),
            begin,
            output,
            out,
            run=run,
            about={
                **plain(about or {}),
                "architecture": plain(scorer.config),
                "score_rule": scorer.score_rule,
                **circumstances(scorer, batch_size),
            },
            on_error=on_error,
            overwrite=overwrite,
            display=display,
        )
