"""Judge a corpus with a detector, and write the results to a file (:mod:`nes2net.scoring.engine`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from nes2net.data.audio.waveform import Padding
from nes2net.data.corpora.trial import Trials, trials_digest
from nes2net.lib.errors import pluralise, refuse
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import say_aside
from nes2net.lib.parts.registry import PACKAGES_KEY, packages_of
from nes2net.lib.process.this_process import is_first
from nes2net.lib.storage.files import AnyPath
from nes2net.models.registry import named_parts
from nes2net.scoring.batches import BatchPlan, Compute, ids_by_recording, waveforms_for
from nes2net.scoring.engine import Finished, RunSettings, run_over
from nes2net.scoring.judgement import Judgement
from nes2net.scoring.kernel import Scorer, default_batch_size, depends_on_batch, scoring_mode
from nes2net.scoring.record import describe_computation, plain, recordings_digest, score_dependencies
from nes2net.scoring.registry import judgements
from nes2net.scoring.system_scores import check_system_scores
from nes2net.scoring.waveforms import Crop, PeakNormalize, Transform, WaveformReader


@dataclass(frozen=True, kw_only=True)
class ScoringSettings(RunSettings):
    """How a corpus is read and judged."""

    num_samples: int | None = None
    """Leading samples of each utterance ('4sec'), repeating shorter ones; None for all ('full')."""
    crop: Crop = "head"
    """``"head"`` takes the first samples; ``"random"`` draws the start, as for some published detectors."""
    crop_seed: int = 0
    """Seed of random starts, which depend only on this seed and the name of the file."""
    padding: Padding = "repeat"
    """``"repeat"`` repeats a short utterance; ``"zeros"`` appends zeros, as some benchmarks do."""
    peak_normalize: PeakNormalize = "no"
    """Scale the largest absolute sample to 1: of the ``"recording"``, of the scored ``"cut"``, or ``"no"``."""
    legacy_train_mode: bool = False
    """Score in train mode, as the published scoring of In-the-Wild does (deviation 2): batch
    statistics of single utterances, and active dropout with random numbers by utterance id."""
    compile: bool = False
    """Compile the detector for batches of '4sec' (:meth:`nes2net.Detector.compile`), also for later runs."""
    transform: Transform | None = None
    """A change of whole utterances before the cut."""

    def identity(self) -> Facts:
        """Return the settings that change scores for the identity of the run; of crops, only other than defaults."""
        values = {name: getattr(self, name) for name in ("crop", "padding", "peak_normalize")}
        identity = {name: value for name, value in values.items() if value != getattr(ScoringSettings, name)}
        identity |= {"legacy_train_mode": self.legacy_train_mode, "compiled": self.compile}
        if self.crop != "head":
            identity["crop_seed"] = self.crop_seed
        if self.transform is not None:
            identity["transform"] = self.transform.identity
        return identity


def judge_trials(
    scorer: Scorer,
    trials: Trials,
    out: AnyPath,
    judgement: Judgement[Any],
    *,
    about: Facts | None = None,
    settings: ScoringSettings | None = None,
) -> Finished:
    """Judge the utterances of ``trials``, and write the results in order to the file ``out``.

    A value does not depend on its batch, up to the rounding of float32, because utterances share a
    batch only if they give equally many samples. The exception is a front-end with
    ``normalize: batch`` (see :attr:`Judgement.of_batch`): then a note is printed, and the batch
    size becomes part of the run's identity.

    Under ``torchrun`` each process judges a part, and the first writes the file: the same to the
    last bit for any number of processes and interruptions, if each process has the same number of
    threads. The detector's mode is restored.

    Args:
        about: plain data for the record ``{out}.json``.

    Raises:
        InputError: as :func:`~nes2net.scoring.engine.run_over`; if the detector fuses scores of
            other systems that the trials do not have
            (:func:`nes2net.scoring.system_scores.with_system_scores`), or cannot make this
            judgement; or if an argument is out of its range.
        Unfinished: if a worker was killed or hangs; the rows so far are kept.
    """
    settings = settings or ScoringSettings()
    num_samples = settings.num_samples
    legacy = settings.legacy_train_mode
    reader = replace(
        WaveformReader.of(scorer, num_samples),
        crop=settings.crop,
        seed=settings.crop_seed,
        padding=settings.padding,
        peak_normalize=settings.peak_normalize,
        transform=settings.transform,
    )
    reader = judgement.reader(reader)
    judgement = judgement.fit_to(scorer)
    _check_settings(scorer, judgement, settings)
    check_system_scores(trials, scorer.num_scores)
    # If the front-end normalises the batch as a whole, each utterance is judged alone, or the batch size becomes part
    # of the run's identity.
    batch_size = settings.batch_size or default_batch_size(scorer.computes_on)
    normalises_batch = depends_on_batch(scorer)
    batch_matters = normalises_batch and judgement.of_batch
    one_by_one = legacy or (normalises_batch and not judgement.of_batch)
    utterances_at_once = 1 if one_by_one else batch_size
    ids_of = {}
    if judgement.of_claims:
        ids_of = ids_by_recording(trials)
    plan = BatchPlan(
        utterances_at_once,
        whole=num_samples is None and not legacy,
        filled=not (legacy or batch_matters),
        compiled=settings.compile,
        ids_of=ids_of,
    )
    # The identity has every fact that may change a value: runs share a file if and only if theirs are equal.
    run = {
        **score_dependencies(scorer, num_samples),
        "trials": recordings_digest(trials),
        **settings.identity(),
        **judgement.identity(),
    }
    if batch_matters:
        run["batch_size"] = batch_size
    numbers = None
    if scorer.num_scores:
        run["system_scores"] = trials_digest(trials, lambda trial: f"{trial.id} {trial.system_scores}")
        numbers = {trial.id: trial.system_scores for trial in trials}
    elif any(map(judgement.numbers, trials)):
        numbers = {trial.id: judgement.numbers(trial) for trial in trials}
    if batch_matters and is_first():
        say_aside(
            f"the front-end normalises the batch as a whole, so a score depends on the {pluralise(batch_size, 'utterance')} "
            "of its batch: a front-end without `normalize: batch` avoids this"
        )
    if settings.compile:
        scorer.compile(dynamic=False)
    compute = Compute(scorer, plan, judgement, random_streams=legacy, numbers=numbers)
    about = {**plain(about or {}), "judgement": judgement.describe()}
    with scoring_mode(scorer, legacy):
        about |= describe_computation(scorer, batch_size)
        if packages := packages_of([*named_parts(scorer.config), (judgements, judgement.name)]):
            about[PACKAGES_KEY] = packages
        read = waveforms_for(scorer.device, reader, plan, settings.num_workers)
        return run_over(trials, read, compute, judgement, out, run=run, about=about, settings=settings)


def _check_settings(scorer: Scorer, judgement: Judgement[Any], settings: ScoringSettings) -> None:
    refuse(
        (
            settings.compile and settings.num_samples is None,
            "a detector can be compiled only for waveforms of one length, as in '4sec': set `num_samples`, or remove `compile=True`",
        ),
        (
            settings.legacy_train_mode and not judgement.is_score,
            f"`legacy_train_mode` only works with the judgement scores, not {judgement.name}: remove it",
        ),
        (
            settings.legacy_train_mode and scorer.precision == "int8",
            "`legacy_train_mode` does not work with a detector in int8: remove it, or load the detector in float32",
        ),
    )
