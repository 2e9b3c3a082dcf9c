"""Flags that several commands share, and the lines that they print at the end.

A dataclass here is a group of flags: its fields are flags, and its ``Args`` are their help.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from nes2net.data.registry import corpora
from nes2net.lib.errors import InputError, check_setting, join_names, pluralise
from nes2net.lib.output.terminal import print_note, say, say_aside
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.process.this_process import is_first
from nes2net.lib.shell.command_line import INCOMPLETE, Listed
from nes2net.lib.shell.commands import Count, File, Flag, FromZero, non_defaults

if TYPE_CHECKING:
    from nes2net.data.corpora.part import Part
    from nes2net.data.corpora.trial import Trials
    from nes2net.detector import Detector
    from nes2net.models.provenance import Provenance
    from nes2net.scoring.claimed import PersonDecider
    from nes2net.scoring.decisions.decision import Decider
    from nes2net.scoring.engine import Finished
    from nes2net.scoring.kernel import Scorer
    from nes2net.scoring.score_length import CorpusSamples, RequestedSamples


class CorpusNames(Listed):
    """Names of corpora, for an argument that accepts ``hub:OWNER/NAME``, too."""

    def __init__(self) -> None:
        """List the registered corpora."""
        super().__init__(corpora.names())

    def __contains__(self, name: object) -> bool:
        """Whether ``name`` is a registered corpus or any data set of the hub."""
        return super().__contains__(name) or (isinstance(name, str) and name.startswith("hub:"))


CorpusName = Annotated[str, Flag(choices=CorpusNames, meaning="a corpus (nes2net info corpora), or hub:OWNER/NAME")]
ModelName = Annotated[str, Flag("MODEL", meaning="file, folder, name (nes2net models) or OWNER/NAME")]


@dataclass(frozen=True)
class EvidenceFlags:
    """Evidence beside an answer, which it never changes.

    Args:
        evidence: print what NAME finds: neighbours:FILE
        marks: print marks: all kinds, or perth,c2pa
    """

    evidence: Annotated[Sequence[str], Flag("NAME:ARGUMENT", repeated=True)] = ()
    marks: Annotated[str | None, Flag("KINDS", nargs="?", const="", pattern="(perth|c2pa)([:,].*)?")] = None

    def requests(self) -> list[str]:
        """List the requests for :class:`~nes2net.scoring.judging.JudgingSettings`."""
        from nes2net.scoring.registry import ALL_MARKS  # start-up

        requests = [*self.evidence]
        if self.marks is not None:
            requests += (self.marks or ALL_MARKS).split(",")
        return requests


Precision = Literal["auto", "fastest", "float32", "tf32", "bfloat16", "float16", "int8"]


def locate_part(corpus: str, root: str | None, split: str = "eval", protocols: str | None = None) -> Part:
    """Find the part ``split`` of a corpus.

    Args:
        root: None or ``"."`` downloads a data set of the hub; its commit is in the result.
        protocols: folder of the protocols; None if in ``root``.

    Raises:
        InputError: if a corpus that is not on the hub has no ``root``.
    """
    from nes2net.data.corpora.part import Part  # start-up: NumPy

    definition = corpora.get(corpus)
    if root is None and definition.home is None:
        raise InputError(f"the folder of {corpus} is not given: add its path behind {corpus}")
    folder = definition.place(root)
    if root is not None and folder == Path(root):
        revision = None
    else:
        revision = folder.name  # the folder of a download is named after the commit
    return Part(corpus, folder, split, protocols, revision)


def architecture_in(name: str) -> dict[str, Any] | str:
    """Read the architecture in a recipe ``FILE,OPTION=VALUE,…``; return the name of a published model.

    Raises:
        InputError: if the recipe cannot be read, or an option is wrong.
    """
    from nes2net.models.loading import split_options  # start-up: torch
    from nes2net.training.recipes.reading import load_recipe  # start-up: pydantic

    file, *options = [name] if isfile(name) else split_options(name)
    if not isfile(file):
        return name
    return load_recipe(file, [f"model.{option}" for option in options]).model


@dataclass(frozen=True)
class Architecture:
    """The detector.

    Args:
        config: model, recipe (,PART.OPTION=VALUE), bonafide=NAME
        base: the weights that an adapted checkpoint lacks
    """

    config: Annotated[str | None, Flag("NAME|FILE")] = None
    base: File | None = None

    @property
    def as_config(self) -> dict[str, Any] | str | None:
        """What ``config`` names (:func:`architecture_in`); None if not given."""
        return None if self.config is None else architecture_in(self.config)


@dataclass(frozen=True)
class Loading(Architecture):
    """The detector.

    Args:
        device: auto, cpu, cuda or cuda:N
        dtype: precision; auto: the checkpoint's
    """

    device: str = "auto"
    dtype: Precision = "auto"

    def load(self, model: str) -> Detector:
        """Load a detector; print a note if its precision is emulated."""
        from nes2net.detector import Detector  # start-up
        from nes2net.lib.computing.devices import own_device  # start-up
        from nes2net.models.quantisation import emulation_note  # start-up

        detector = Detector.from_pretrained(model, own_device(self.device), self.dtype, self.as_config, self.base)
        print_note(emulation_note(detector.precision, detector.device))
        return detector

    def scorer(self, model: str) -> Scorer:
        """Load a detector, exported if the suffix is ``.onnx``.

        Raises:
            InputError: if this fails, or a flag does not suit an exported detector.
        """
        if Path(model).suffix != ".onnx":
            return self.load(model)
        from nes2net.lib.computing.devices import own_device  # start-up
        from nes2net.models.onnx_detector import OnnxDetector  # start-up

        # An exported detector takes no options of a checkpoint.
        if self.config is not None or self.base is not None:
            raise InputError(
                f"{model} is an exported detector, which holds its architecture and all its weights: remove `config` and `base`"
            )
        detector = OnnxDetector(model, own_device(self.device))
        if self.dtype not in ("auto", "fastest", detector.precision):
            raise InputError(f"{model} computes only in {detector.precision}, not in {self.dtype}: remove `dtype`")
        return detector


@dataclass(frozen=True)
class Length:
    """How much of each recording.

    Args:
        num_samples: N samples, 4 s or all; else as in training
    """

    num_samples: Annotated[str | None, Flag("N|4sec|full")] = None

    def __post_init__(self) -> None:
        self.requested_samples()  # raises the error now, before a large model is read

    def requested_samples(self) -> CorpusSamples:
        """Read the flag as a number of samples, ``"4sec"``, None for all, or ``"auto"`` if not given.

        Raises:
            InputError: if it is not a number of at least 1, ``4sec`` or ``full``.
        """
        words: dict[str | None, CorpusSamples] = {None: "auto", "4sec": "4sec", "full": None}
        if self.num_samples in words:
            return words[self.num_samples]
        try:
            number = int(str(self.num_samples))
        except ValueError:
            number = 0
        check_setting("num_samples", self.num_samples, number >= 1, "a number of at least 1, 4sec or full")
        return number

    def requested_samples_of_files(self) -> RequestedSamples:
        """Read the flag as :meth:`requested_samples`; ``4sec``, which depends on a corpus, means 64,600 samples."""
        from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES  # start-up

        return ASVSPOOF_SAMPLES if (requested := self.requested_samples()) == "4sec" else requested

    def choose_num_samples(self, samples_of_4sec: int, provenance: Provenance) -> int | None:
        """Choose how many leading samples to score, by the flag or the detector; None for all; print the reason.

        Args:
            samples_of_4sec: what '4sec' means for the scored corpus.
        """
        from nes2net.scoring.score_length import samples_to_score  # start-up

        score_length = samples_to_score(provenance, self.requested_samples(), samples_of_4sec)
        print_note(score_length.note)
        return score_length.num_samples


@dataclass(frozen=True)
class Reading(Length):
    """How much of each recording.

    Args:
        audio_track: track of a file with several, from 0
    """

    audio_track: FromZero = 0

    def choose(self, trials: Trials, channel: int | None = None) -> Trials:
        """Let ``trials`` read the chosen audio track, and ``channel`` unless they name one."""
        if channel is None and not self.audio_track:
            return trials
        return [trial.choose(channel, self.audio_track) for trial in trials]


@dataclass(frozen=True)
class BatchFlags:
    """Computing.

    Args:
        batch_size: utterances of 4 s per batch (8, or 64 on a GPU)
        num_workers: workers, which read audio
    """

    batch_size: Count | None = None
    num_workers: FromZero | None = None


@dataclass(frozen=True)
class Learning:
    """What is learned.

    Args:
        prior: prior of bona fide, costs included
        l2: penalty on the weights of standardised scores
        allow_inverted: accept that higher scores mean spoofed
        operating_point: only which genuine recordings are unusual
        assured: at most RATE with a probability of 95 %, not on average
    """

    prior: float = 0.5
    l2: float = 1e-4
    allow_inverted: bool = False
    operating_point: Annotated[
        str, Flag("miss:RATE%"), UsedWith("genuine_only"), NotWith("prior", "l2", "allow_inverted")
    ] = ""
    assured: Annotated[bool, UsedWith("operating_point")] = False


@dataclass(frozen=True)
class LearningClaims:
    """What is learned.

    Args:
        rule: how both scores decide together
        separate: fit both scores by themselves, not for their ratio
        costs: costs of errors; 1 if not given
        priors: priors, which add up to 1; equal if not given
        operating_point: without fakes: what share of genuine recordings each score refuses
    """

    rule: Literal["ratio", "sum", "product_linear", "product_sigmoid", "product_posterior", "sum_llr", "cascade"] = (
        "ratio"
    )
    separate: Annotated[bool, NotWith("rule")] = False
    costs: Annotated[str | None, Flag("miss:N,other:N,fake:N"), UsedWith("priors")] = None
    priors: Annotated[str | None, Flag("target:P,other:P,fake:P"), UsedWith("costs")] = None
    operating_point: Annotated[
        str | None, Flag("miss:RATE%"), UsedWith("others"), NotWith("fakes", "rule", "separate", "costs")
    ] = None

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of :func:`nes2net.scoring.decisions.fit_person`."""
        from nes2net.metrics.sasv import SasvWeights  # start-up: NumPy

        settings: dict[str, Any] = {"joint": not self.separate, "rule": self.rule}
        if self.costs and self.priors:
            settings["weights"] = SasvWeights.parse(self.costs, self.priors)
        return settings


_OF_CALIBRATION = UsedWith("calibration")


@dataclass(frozen=True)
class Deciding:
    """What the score means.

    Args:
        calibration: written by nes2net calibrate --save FILE
        prior: prior of bona fide; 0.5 if not given
        operating_point: eer, cost:CMISS,CFA,PRIOR, fa:RATE% or miss:RATE%
        abstain: 'cannot tell' if so few are as unusual (0.01)
        unbounded: do not bound ratios by the number of trials
        person: who is said to speak; STORE names the nearest
        encoder: speaker encoder of STORE, if it needs options
        abstain_within: 'cannot tell' so near the threshold
    """

    calibration: File | None = None
    prior: Annotated[float | None, Flag("P"), _OF_CALIBRATION] = None
    operating_point: Annotated[str | None, Flag("POINT"), _OF_CALIBRATION] = None
    abstain: Annotated[float | None, Flag("SHARE"), _OF_CALIBRATION] = None
    unbounded: Annotated[bool, _OF_CALIBRATION] = False
    person: Annotated[str | None, Flag("STORE:NAME"), NotWith("prior", "operating_point", "abstain", "unbounded")] = (
        None
    )
    encoder: Annotated[str | None, Flag("NAME|OPTIONS"), UsedWith("person")] = None
    abstain_within: Annotated[float, Flag("NATS", minimum=0), UsedWith("person"), _OF_CALIBRATION] = 0.0

    @cached_property
    def decider(self) -> Decider | None:
        """The rule that turns scores into decisions; None without ``--calibration``.

        Raises:
            InputError: if the file or a number cannot be used.
        """
        from nes2net.scoring.decisions.calibration import load  # start-up
        from nes2net.scoring.decisions.decision import Decider, OperatingPoint  # start-up

        if self.calibration is None:
            return None
        settings = non_defaults(self)
        if self.person is not None:  # the flags of a claim are no settings of a decider
            settings = {}
        if self.operating_point is not None:
            settings["operating_point"] = OperatingPoint.parse(self.operating_point)
        calibration = load(self.calibration, claims=self.person is not None)
        return Decider(**settings | {"calibration": calibration})

    def person_decider(self) -> PersonDecider | None:
        """Make the judge of a claimed person; None without ``--person``."""
        if self.person is None:
            return None
        from nes2net.scoring.claimed import PersonDecider  # start-up: torch

        return PersonDecider.of(self.person, self.encoder, self.decider, self.abstain_within)


def report_finished(result: Finished, tell: Callable[[str], None] = say) -> int:
    """Print how many rows were written, in the first process, and failures on standard error.

    Args:
        tell: prints a line.

    Returns:
        The exit status: 0, or that of incomplete work if a recording failed.
    """
    if not is_first():
        return 0
    # If an earlier run has written all rows, say so, and print nothing else.
    if result.already_complete:
        tell(f"{result.path} is complete already: {result.done:,} {result.what} of this same detector")
        return 0
    tell(f"{result.done:,} of {result.total:,} {result.what} written to {result.path}")
    if not result.failures:
        return 0
    names = join_names(list(result.failures))
    say_aside(f"{pluralise(result.failures, 'file')} failed: {names}; {result.record_path} says why for each")
    return INCOMPLETE
