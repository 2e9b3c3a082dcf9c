"""The names of parts, heads, losses, tasks, judgements, corpora, effects and commands. Parts are built by name.

In reading order: a ``Registry`` is a table of names. The tables follow, and then the functions
``create_…``, which build a part from its name and options.

The command line and the recipes use the same names. Each name stands for an object, written as
``"module:attribute"``. The module is imported when the object is first needed, so that listing
names is fast. Installed packages add their own names by entry points of the groups
``nes2net.frontends``, ``nes2net.aggregations``, ``nes2net.backends``, ``nes2net.heads``,
``nes2net.losses``, ``nes2net.tasks``, ``nes2net.judgements``, ``nes2net.corpora``,
``nes2net.effects`` and ``nes2net.commands`` (see docs/extending.md).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cached_property, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from nes2net.lib.contracts import raised_by
from nes2net.lib.errors import InputError, MissingLibrary, check_known, one_line
from nes2net.lib.terminal import print_note
from nes2net.models.contracts import check_listings, check_object
from nes2net.models.frontends.sizes import SIZES, check_exists, check_size, pretraining_file

if TYPE_CHECKING:
    from nes2net.data.augment import Effect, Sources
    from nes2net.data.corpora.corpus import Corpus
    from nes2net.models.aggregations.base import Aggregation
    from nes2net.models.backends.base import Backend
    from nes2net.models.frontends.base import Frontend

#: Key of the packages of parts in checkpoints and records (:func:`packages_of`).
PACKAGES_KEY = "packages"
T = TypeVar("T")
Part = TypeVar("Part", "Frontend", "Aggregation", "Backend")


def _is_deleted(target: str) -> bool:
    """Whether the module of ``target`` (``"module:attribute"``) has no file in this package.

    False if this package is not installed as files, for example because it lies in an archive.
    """
    this_file = Path(__file__)
    module = this_file.parents[2].joinpath(*target.partition(":")[0].split("."))
    return this_file.is_file() and not (module.is_dir() or module.with_suffix(".py").is_file())


class Registry(Generic[T]):
    """A table of names. Each name stands for an object in a module, such as a factory of parts or a corpus.

    Args:
        kind: the word for a registered object in messages, such as ``"back-end"``.
        group: name of the entry points by which installed packages add names.
        table: name → ``"module:attribute"``. A name is left out if the file of its module does not
            exist, because users may delete apps from this package.
    """

    def __init__(self, kind: str, group: str, table: dict[str, str]) -> None:
        self.kind = kind
        self.group = group
        self._built_in = {name: target for name, target in table.items() if not _is_deleted(target)}

    @cached_property
    def _added(self) -> dict[str, list[EntryPoint]]:
        """Name → entry points of other packages with this name, of which there should be one."""
        added: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            added.setdefault(point.name, []).append(point)
        return added

    @cached_property
    def _table(self) -> dict[str, str]:
        """Name → ``"module:attribute"``, for this package and others; names of this package take precedence."""
        return {**{name: points[0].value for name, points in self._added.items()}, **self._built_in}

    def names(self, *, installed: bool = True) -> list[str]:
        """List all registered names, sorted; only this package's names if ``installed`` is false."""
        return sorted(self._table if installed else self._built_in)

    def target(self, name: str) -> str:
        """Return ``"module:attribute"`` of the object registered under ``name``."""
        return self._table[name]

    def is_built_in(self, name: str) -> bool:
        """Whether the object registered under ``name`` belongs to this package."""
        return name in self._built_in

    def package_of(self, name: str) -> str:
        """Return distribution and version of the package that adds ``name``; empty if not known."""
        points = [] if name in self._built_in else self._added.get(name, [])
        return " and ".join(f"{point.dist.name} {point.dist.version}" for point in points if point.dist)

    def subject(self, name: str) -> str:
        """Describe a part for messages, such as ``back-end 'mean_frame' (package my-parts 0.1)``."""
        package = self.package_of(name)
        return f"{self.kind} '{name}' (package {package})" if package else f"{self.kind} '{name}'"

    def guarded(self, name: str, method: str = "its constructor") -> AbstractContextManager[None]:
        """Make a context in which an error in another package's code becomes one line."""
        return nullcontext() if name in self._built_in else raised_by(self.subject(name), method)

    def checked(self, name: str, part: Any, *facts: Any) -> Any:
        """Return ``part``, after a check of what it computes if it belongs to another package."""
        if name not in self._built_in:
            from nes2net.models.contract_checks import check_part  # imported late, because it imports torch

            check_part(self.kind, self.subject(name), part, *facts)
        return part

    def add(self, name: str, target: str) -> None:
        """Register ``target`` (``"module:attribute"``) under ``name``.

        Raises:
            InputError: if the name is taken, or ``target`` is not of the form
                ``"module:attribute"``.
        """
        if not all(target.partition(":")):
            raise InputError(f"{self.kind} '{name}' is registered as '{target}': write 'module:attribute'")
        if name in self._table:
            raise InputError(f"{self.kind} '{name}' is registered already as {self._table[name]}")
        self._table[name] = target

    def get(self, name: str) -> Any:
        """Import the object that is registered under ``name``.

        Raises:
            InputError: if the name is unknown (the message suggests the nearest name), or if the
                object of an installed package cannot be imported or breaks its contract, or if several
                packages add it.
        """
        check_known([name], self._table, f"unknown {self.kind}", "nes2net info")
        self._check_owner(name)
        module, _, attribute = self._table[name].partition(":")
        try:
            registered = getattr(import_module(module), attribute)
        except Exception as error:  # the code of another package may raise any error
            if name in self._built_in:
                raise
            raise InputError(
                f"{self.subject(name)} cannot be imported from {self._table[name]} ({one_line(str(error))}): mend the "
                f"entry point of the installed package that names it, group {self.group}, or uninstall the package"
            ) from error
        if name not in self._built_in:
            check_object(self.kind, name, self.subject(name), registered)
        return registered

    def find(self, name: str) -> Any | None:
        """Import an object as :meth:`get` does; None if ``name`` is not registered or its package is broken."""
        with suppress(InputError):
            return self.get(name) if name in self._table else None
        return None

    def _check_owner(self, name: str) -> None:
        """Raise InputError if several packages add ``name``. If a package adds a built-in name, print a note once."""
        points = self._added.get(name, [])
        owners = [f"{point.dist.name} {point.dist.version} ({point.value})" for point in points if point.dist]
        if owners and name in self._built_in:
            del self._added[name]
            print_note(
                f"{self.kind} '{name}' is the one of nes2net; that of {' and '.join(owners)} cannot be used: its author "
                "has to choose a new name"
            )
        elif len(owners) > 1:
            raise InputError(
                f"{self.kind} '{name}' is added by {' and by '.join(owners)}: uninstall all of these packages but one"
            )

    def checked_factory(self, name: str, options: Mapping[str, Any]) -> Any:
        """Import and return the factory that is registered under ``name``, after checking ``options`` for it.

        Raises:
            InputError: if a name or option is unknown (the message suggests the nearest name), or
                if the value of an option has another type or range than the factory declares.
        """
        from nes2net.lib.options import check_options  # imported late, so that listing names needs no pydantic

        factory = self.get(name)
        owner = f"{self.kind} '{name}'"
        parameters = inspect.signature(factory).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            check_known(options, parameters, f"{owner} has no option", f"nes2net info {name}")
        check_options(factory, options, owner)
        return factory

    def create(self, name: str, **options: Any) -> T:
        """Call the factory that is registered under ``name`` with ``options``.

        Raises:
            InputError: as for :meth:`checked_factory`; also if the part has too many weights or
                modules (:func:`nes2net.lib.module_size.limited_size`).
        """
        from nes2net.lib.module_size import limited_size  # imported late, so that listing names needs no torch

        factory = self.checked_factory(name, options)
        with limited_size(f"{self.kind} '{name}'"), self.guarded(name):
            return factory(**options)


class CorpusRegistry(Registry["Corpus"]):
    """The names of corpora. A name ``hub:OWNER/NAME`` stands for a data set on the Hugging Face hub."""

    def get(self, name: str) -> Corpus:
        """Import a corpus; ``hub:OWNER/NAME`` is downloaded when first needed."""
        if not name.startswith("hub:"):
            corpus = super().get(name)
            if name not in self._built_in:
                check_listings(self.subject(name), corpus)
            return corpus  # type: ignore[no-any-return]
        from nes2net.data.corpora.hub import hub_corpus  # imported late, so that listing names needs no NumPy

        return hub_corpus(name)


frontends: Registry[Frontend] = Registry(
    "front-end",
    "nes2net.frontends",
    {
        **{name: f"nes2net.models.frontends.sizes:{name}" for name in SIZES},
        "wav2vec2": "nes2net.models.frontends.ssl:wav2vec2",
        "wav2vec2_small": "nes2net.models.frontends.ssl:wav2vec2_small",
        "hubert": "nes2net.models.frontends.ssl:hubert",
        "wavlm": "nes2net.models.frontends.ssl:wavlm",
        "w2v_bert2": "nes2net.models.frontends.w2v_bert2:W2VBert2Frontend",
        "whisper": "nes2net.models.frontends.whisper:WhisperFrontend",
        "lps": "nes2net.models.frontends.lps:LogPowerSpectrum",
        "lfcc": "nes2net.models.frontends.lfcc:LinearFrequencyCepstrum",
        "waveform": "nes2net.models.frontends.waveform:Waveform",
        "teacher_student": "nes2net.models.distillation:TeacherStudent",
    },
)
aggregations: Registry[Aggregation] = Registry(
    "aggregation",
    "nes2net.aggregations",
    {
        "last": "nes2net.models.aggregations.last:Last",
        "weighted_sum": "nes2net.models.aggregations.weighted_sum:WeightedSum",
        "sea": "nes2net.models.aggregations.sea:SqueezeExcitationAggregation",
        "attm": "nes2net.models.aggregations.attm:AttentiveMerging",
        "moe": "nes2net.models.aggregations.moe:MixtureOfExperts",
    },
)
backends: Registry[Backend] = Registry(
    "back-end",
    "nes2net.backends",
    {
        "nes2net": "nes2net.models.backends.nes2net:nes2net",
        "nes2net_x": "nes2net.models.backends.nes2net:nes2net_x",
        "nes2net_x_selu": "nes2net.models.backends.nes2net:nes2net_x_selu",
        "nes2net_la": "nes2net.models.backends.nes2net:Nes2NetLA",
        "aasist": "nes2net.models.backends.aasist:Aasist",
        "aasist2": "nes2net.models.backends.aasist2:Aasist2",
        "raw_aasist": "nes2net.models.backends.raw_aasist:raw_aasist",
        "raw_aasist_l": "nes2net.models.backends.raw_aasist:raw_aasist_l",
        "spectra_aasist": "nes2net.models.backends.spectra_aasist:SpectraAasist",
        "spectra_ecapa": "nes2net.models.backends.spectra_ecapa:SpectraEcapa",
        "sls": "nes2net.models.backends.sls:SLS",
        "conformer": "nes2net.models.backends.conformer:conformer",
        "tcm": "nes2net.models.backends.conformer:tcm",
        "mamba": "nes2net.models.backends.mamba:Mamba",
        "mambo": "nes2net.models.backends.mambo:MamBo",
        "raptor": "nes2net.models.backends.raptor:Raptor",
        "mean_linear": "nes2net.models.backends.mean_linear:MeanLinear",
        "mpif_res2net": "nes2net.models.backends.mpif_res2net:MpifRes2Net",
        "asp_mlp": "nes2net.models.backends.asp_mlp:AspMlp",
        "asp_cosine": "nes2net.models.backends.asp_cosine:AspCosine",
        "logistic": "nes2net.models.backends.logistic:Logistic",
        "attm_lstm": "nes2net.models.backends.attm_lstm:AttMLSTM",
        "one_class_distillation": "nes2net.models.distillation:OneClassDistillation",
        "ensemble": "nes2net.models.backends.ensemble:Ensemble",
        "gf": "nes2net.models.backends.global_feature:GF",
        "lgf": "nes2net.models.backends.global_feature:LGF",
        "llgf": "nes2net.models.backends.global_feature:LLGF",
        "mfa": "nes2net.models.backends.mfa:MFA",
        "multires_gmlp": "nes2net.models.backends.multires_gmlp:MultiresGmlp",
    },
)
heads: Registry[Any] = Registry(  # all heads except linear are subclasses of nes2net.models.backends.heads.Head
    "head",
    "nes2net.heads",
    {
        "linear": "nes2net.models.backends.base:LogitLayer",
        "angular": "nes2net.models.backends.heads:AngularHead",
        "cosine": "nes2net.models.backends.heads:CosineHead",
        "one_class": "nes2net.models.backends.heads:OneClassHead",
        "p2sgrad": "nes2net.models.backends.heads:P2SGradHead",
        "prototypes": "nes2net.models.backends.heads:PrototypeHead",
    },
)
# Losses are subclasses of nes2net.training.losses.Criterion. This module must not import that class.
losses: Registry[Any] = Registry(
    "loss",
    "nes2net.losses",
    {
        "cross_entropy": "nes2net.training.losses:WeightedCrossEntropy",
        "focal": "nes2net.training.losses:BinaryFocal",
        "angular_softmax": "nes2net.training.losses:AngularSoftmax",
        "am_softmax": "nes2net.training.losses:AdditiveMarginSoftmax",
        "aam_softmax": "nes2net.training.losses:AdditiveAngularMarginSoftmax",
        "oc_softmax": "nes2net.training.losses:OneClassSoftmax",
        "p2sgrad": "nes2net.training.losses:P2SGrad",
        "cosine_error": "nes2net.training.losses:CosineError",
        "prototypes": "nes2net.training.losses:Prototypes",
    },
)
# Tasks are subclasses of nes2net.training.tasks.task.Task. This module must not import that class.
tasks: Registry[Any] = Registry(
    "task",
    "nes2net.tasks",
    {
        "utterance": "nes2net.training.tasks.task:Task",
        "segments": "nes2net.training.tasks.segments:Segments",
        "fusion": "nes2net.training.tasks.fusion:Fusion",
        "distillation": "nes2net.training.tasks.distillation:Distillation",
        "logistic": "nes2net.training.tasks.logistic:Logistic",
        "source_tracing": "nes2net.training.tasks.source_tracing:SourceTracing",
    },
)
corpora = CorpusRegistry(
    "corpus",
    "nes2net.corpora",
    {
        "asvspoof2019_la": "nes2net.data.corpora.asvspoof2019_la:CORPUS",
        "asvspoof2021_la": "nes2net.data.corpora.asvspoof2021_la:CORPUS",
        "asvspoof2021_df": "nes2net.data.corpora.asvspoof2021_df:CORPUS",
        "asvspoof5": "nes2net.data.corpora.asvspoof5:CORPUS",
        "in_the_wild": "nes2net.data.corpora.in_the_wild:CORPUS",
        "ctrsvdd": "nes2net.data.corpora.ctrsvdd:CORPUS",
        "partialspoof": "nes2net.data.corpora.partialspoof:CORPUS",
        "mlaad": "nes2net.data.corpora.mlaad:CORPUS",
        "spoofceleb": "nes2net.data.corpora.spoofceleb:CORPUS",
        "deepfake_eval_2024": "nes2net.data.corpora.deepfake_eval_2024:CORPUS",
        "codecfake": "nes2net.data.corpora.codecfake:CORPUS",
        "wavefake": "nes2net.data.corpora.wavefake:CORPUS",
        "fake_or_real": "nes2net.data.corpora.fake_or_real:CORPUS",
        "dfadd": "nes2net.data.corpora.dfadd:CORPUS",
        "add2022": "nes2net.data.corpora.add2022:CORPUS",
        "add2023": "nes2net.data.corpora.add2023:CORPUS",
        "add2023_track3": "nes2net.data.corpora.add2023_track3:CORPUS",
        "stopa": "nes2net.data.corpora.stopa:CORPUS",
        "compspoof": "nes2net.data.corpora.compspoof:CORPUS",
        "librisevoc": "nes2net.data.corpora.librisevoc:CORPUS",
        "habla": "nes2net.data.corpora.habla:CORPUS",
        "asvspoof_laundered": "nes2net.data.corpora.asvspoof_laundered:CORPUS",
        "famous_figures": "nes2net.data.corpora.famous_figures:CORPUS",
        "partialedit": "nes2net.data.corpora.partialedit:CORPUS",
        "llamapartialspoof": "nes2net.data.corpora.llamapartialspoof:CORPUS",
        "hq_mpsd": "nes2net.data.corpora.hq_mpsd:CORPUS",
        "speechfake": "nes2net.data.corpora.speechfake:CORPUS",
        "at_add_track1": "nes2net.data.corpora.at_add:TRACK_1",
        "at_add_track2": "nes2net.data.corpora.at_add:TRACK_2",
        "generic": "nes2net.data.corpora.generic:CORPUS",
        "shards": "nes2net.data.corpora.shards:CORPUS",
    },
)
effects: Registry[type[Effect]] = Registry(
    "condition",
    "nes2net.effects",
    {
        "mp3": "nes2net.data.augment.codecs:Mp3",
        "aac": "nes2net.data.augment.codecs:Aac",
        "opus": "nes2net.data.augment.codecs:Opus",
        "g722": "nes2net.data.augment.codecs:G722",
        "alaw": "nes2net.data.augment.codecs:ALaw",
        "ulaw": "nes2net.data.augment.codecs:MuLaw",
        "gsm": "nes2net.data.augment.codecs:Gsm",
        "amr_nb": "nes2net.data.augment.codecs:AmrNb",
        "telephone": "nes2net.data.augment.channels:Telephone",
        "resample": "nes2net.data.augment.channels:Resample",
        "white": "nes2net.data.augment.noise:White",
        "pink": "nes2net.data.augment.noise:Pink",
        "babble": "nes2net.data.augment.noise:Babble",
        "noise": "nes2net.data.augment.noise:MusanNoise",
        "music": "nes2net.data.augment.noise:MusanMusic",
        "speech": "nes2net.data.augment.noise:MusanSpeech",
        "room": "nes2net.data.augment.rooms:Room",
        "rir": "nes2net.data.augment.rooms:MeasuredRoom",
        "gain": "nes2net.data.augment.channels:Gain",
        "clip": "nes2net.data.augment.channels:Clip",
        "trim": "nes2net.data.augment.timing:Trim",
        "cut": "nes2net.data.augment.timing:Cut",
        "speed": "nes2net.data.augment.timing:Speed",
        "pitch": "nes2net.data.augment.timing:Pitch",
        "rawboost": "nes2net.data.augment.rawboost:RawBoost",
    },
)
#: The commands, by their group in the help: group → name → ``"module:attribute"``.
COMMANDS: dict[str, dict[str, str]] = {
    "prepare": {"data": "nes2net.cli.data:data", "augment": "nes2net.cli.augment:augment"},
    "train": {"train": "nes2net.cli.train:train", "average": "nes2net.cli.average:average"},
    "score": {
        "models": "nes2net.apps.info.models_command:models",
        "predict": "nes2net.cli.predict:predict",
        "explain": "nes2net.apps.explanation.command:explain",
        "report": "nes2net.apps.report.command:report",
        "serve": "nes2net.apps.serve.command:serve",
        "listen": "nes2net.apps.listen.command:listen",
        "score": "nes2net.cli.score:score",
        "scale": "nes2net.apps.scale.command:scale",
        "embed": "nes2net.cli.embed:embed",
    },
    "evaluate": {
        "evaluate": "nes2net.cli.evaluate:evaluate",
        "calibrate": "nes2net.cli.calibrate:calibrate",
        "robustness": "nes2net.apps.robustness.command:robustness",
        "experiment": "nes2net.apps.experiments.command:experiment",
    },
    "inspect and share": {
        "info": "nes2net.apps.info.command:info",
        "bench": "nes2net.apps.bench.command:bench",
        "export": "nes2net.apps.export.command:export",
    },
    "more": {"published": "nes2net.cli.published.command:published"},
}
# Judgements are subclasses of nes2net.scoring.judgement.Judgement. This module must not import that class.
judgements: Registry[Any] = Registry(
    "judgement",
    "nes2net.judgements",
    {
        "scores": "nes2net.evaluation.judgements:Scores",
        "frames": "nes2net.evaluation.judgements:Frames",
        "embeddings": "nes2net.evaluation.verification:ComparedEmbeddings",
        "classes": "nes2net.evaluation.classes:Classes",
    },
)
#: The commands of :data:`COMMANDS` and of installed packages, by name.
commands: Registry[Callable[..., int | None]] = Registry(
    "command", "nes2net.commands", {name: target for group in COMMANDS.values() for name, target in group.items()}
)


#: The registries of a detector's parts, in the order of its configuration.
PARTS: tuple[Registry, ...] = (frontends, aggregations, backends)


def named_parts(model: Mapping[str, Any]) -> list[tuple[Registry, str]]:
    """List registry and name of each part in ``model``, the configuration of a detector."""
    return [(registry, part["name"]) for registry, part in zip(PARTS, model.values())]


def packages_of(parts: Iterable[tuple[Registry, str]]) -> dict[str, str]:
    """List the packages of the ``parts`` that are not built in: ``"back-end mean_frame"`` → ``"my-parts 0.1"``."""
    packages = {f"{registry.kind} {name}": registry.package_of(name) for registry, name in parts}
    return {part: package for part, package in packages.items() if package}


def check_installed(owner: str, packages: Any, registries: Sequence[Registry] = PARTS) -> None:
    """Raise :class:`InputError` if a part is not installed whose package the file ``owner`` names."""
    named = packages if isinstance(packages, dict) else {}
    for registry in registries:
        for part in named.keys() - {f"{registry.kind} {name}" for name in registry.names()}:
            if part.startswith(registry.kind):
                package = str(named[part])
                raise InputError(f"{owner} needs {part} of package {package} (pip install {package.partition(' ')[0]})")


# Building parts


def takes_checkpoint(name: str) -> bool:
    """Whether the front-end ``name`` can start from a pre-training file.

    Spectral front-ends have no weights, and therefore take no pre-training file.

    Raises:
        InputError: if there is no such front-end.
    """
    if name in SIZES:
        return True
    from nes2net.models.frontends.base import Frontend  # imported late, so that listing names needs no torch

    factory = frontends.get(name)
    while isinstance(factory, partial):
        if "checkpoint" in factory.keywords:  # checkpoint=None is set for front-ends without pre-training
            return False
        factory = factory.func
    if inspect.isclass(factory) and issubclass(factory, Frontend):
        return factory.takes_checkpoint
    return True


def create_frontend(name: str, checkpoint: str | Path | None = None, **options: Any) -> Frontend:
    """Build a front-end: waveform B×N → list of hidden states B×T×D.

    Args:
        name: one of ``nes2net.models.registry.frontends.names()``.
        checkpoint: a pre-training file, or the name of a published size
            (:data:`nes2net.models.frontends.sizes.SIZES`); the file of a size is downloaded once.
            None for random weights. If ``name`` is a published size, the file must have this size.
        options: keyword arguments of the front-end's class or function. The option ``adapt`` of
            every front-end is None, or a mapping of the options of
            :class:`nes2net.models.frontends.adaptation.Adaptation`.

    Raises:
        InputError: if a name or option is unknown, or the checkpoint cannot be used.
    """
    from nes2net.models.frontends.base import Frontend  # imported late, so that listing names needs no torch

    adaptation = options.pop("adapt", None)
    if adaptation is not None:  # check the adaptation first, because the checkpoint takes long to read
        from nes2net.models.frontends.adaptation import adapt, check_adaptation  # imported late, for a fast start-up

        adaptation = check_adaptation(adaptation, f"front-end '{name}': adapt")
    checkpoint = pretraining_file(checkpoint)
    if checkpoint is not None:
        check_exists(name, checkpoint)
    frontend = frontends.create(name, checkpoint=checkpoint, **options)
    if checkpoint is not None:
        check_size(name, frontend.model_type, frontend.config, checkpoint)
    frontend = frontends.checked(name, _check_contract(frontend, Frontend, "front-end", name, options))
    if adaptation is not None:
        adapt(frontend, adaptation)
    return frontend


def create_aggregation(name: str, num_layers: int, feature_dim: int, **options: Any) -> Aggregation:
    """Build an aggregation: ``num_layers`` hidden states B×T×D → features B×T×D.

    Args:
        name: one of ``nes2net.models.registry.aggregations.names()``.
        num_layers, feature_dim: the front-end's ``num_layers`` and ``out_dim``.
        options: keyword arguments of the aggregation's class.

    Raises:
        InputError: if a name or option is unknown.
    """
    from nes2net.models.aggregations.base import Aggregation  # imported late, so that listing names needs no torch

    aggregation = aggregations.create(name, num_layers=num_layers, feature_dim=feature_dim, **options)
    return aggregations.checked(name, _check_contract(aggregation, Aggregation, "aggregation", name, options))


def create_backend(name: str, **options: Any) -> Backend:
    """Build a back-end: features B×T×D → logits B×n.

    Args:
        name: one of ``nes2net.models.registry.backends.names()``.
        options: keyword arguments of the back-end's function or class, such as ``feature_dim`` and
            ``num_logits``. Every back-end also takes ``head``, ``score_rule`` and ``classes``
            (:class:`nes2net.models.backends.heads.GeneralOptions`).

    Raises:
        InputError: if a name or option is unknown, or ``classes`` does not fit ``num_logits``.
    """
    from nes2net.lib.options import check_options, declared  # imported late, so that listing names needs no pydantic
    from nes2net.models.backends.base import Backend  # imported late, so that listing names needs no torch
    from nes2net.models.backends.heads import GeneralOptions  # imported late, so that listing names needs no torch

    parameters = inspect.signature(backends.get(name)).parameters
    # Separate the general options, which every back-end takes, from the options of the constructor. A general option
    # that is also a parameter of the constructor is passed to the constructor.
    general_options = {
        key: options[key] for key in declared(GeneralOptions) if key in options and key not in parameters
    }
    check_options(GeneralOptions, general_options, f"back-end '{name}'")
    backend = backends.create(name, **{key: value for key, value in options.items() if key not in general_options})
    backend = _check_contract(backend, Backend, "back-end", name, options)
    num_logits = 2  # default for back-ends without the option num_logits
    if "num_logits" in parameters:
        num_logits = options.get("num_logits", parameters["num_logits"].default)
    backends.checked(name, backend, num_logits)
    GeneralOptions(**general_options).apply(backend, num_logits, create_head)
    return backend


def create_head(head: str | Mapping[str, Any], in_features: int, num_logits: int) -> Any:
    """Build a head, the last layer of a back-end: embeddings B×``in_features`` → logits B×``num_logits``.

    Args:
        head: one of ``nes2net.models.registry.heads.names()``, or a mapping of ``name`` and options.

    Raises:
        InputError: if the name or an option is unknown, or the head cannot output ``num_logits``
            logits.
    """
    from nes2net.lib.options import name_and_options  # imported late, so that listing names needs no pydantic
    from nes2net.models.backends.heads import Head  # imported late, so that listing names needs no torch

    name, options = name_and_options({"head": head}, "head", reserved=("in_features", "out_features"))
    head_class = heads.checked_factory(name, options)
    if issubclass(head_class, Head) and head_class.compares_two and num_logits != 2:
        raise InputError(f"head '{name}' compares spoof with bona fide: num_logits is 2, not {num_logits}")
    if issubclass(head_class, Head) and num_logits < 2:
        raise InputError(
            f"head '{name}' compares classes: num_logits is at least 2, not {num_logits}, or take head=linear"
        )
    return head_class(in_features, num_logits, **options)


def create_condition(text: str, sources: Sources | None = None) -> Effect:
    """Build a condition of a robustness test: an effect at one strength.

    Args:
        text: ``NAME`` or ``NAME:STRENGTH``, such as ``"mp3:16"``.
        sources: folders of noises and impulse responses, for the effects that need them.

    Raises:
        InputError: if the name is unknown, or the strength or a source does not fit.
    """
    name, colon, strength = text.partition(":")
    effect_class = effects.get(name)
    try:
        number = float(strength) if colon else None
    except ValueError:
        raise InputError(f"condition '{text}': the strength is a number, not '{strength}'") from None
    try:
        with effects.guarded(name):
            effect = effect_class(number, sources)
    except InputError as error:
        raise type(error)(f"condition '{text}': {error}") from None
    return effects.checked(name, effect)


class ConditionSuite(NamedTuple):
    """The default conditions of a robustness report."""

    names: list[str]
    """Conditions such as ``"mp3:16"``, effect by effect. The mildest strength of each effect comes first."""
    left_out: dict[str, str]
    """Name → reason, for the effects that this machine or the given sources do not allow."""


def default_conditions(sources: Sources | None = None) -> ConditionSuite:
    """List every effect at each of its default strengths.

    If an effect needs a source or a library that is missing, ``left_out`` names the effect and the
    reason.

    Raises:
        InputError: if a folder of ``sources`` cannot be used.
    """
    from nes2net.data.augment import Sources  # imported late, so that listing names needs no NumPy

    sources = sources or Sources()
    suite = ConditionSuite([], {})
    for name in dict.fromkeys([*effects._built_in, *effects.names()]):  # this package's effects come first
        effect = effects.find(name)
        if effect is None:
            suite.left_out[name] = f"cannot be imported; nes2net info {name} says why"
            continue
        if missing := [source for source in effect.needs if not getattr(sources, source)]:
            suite.left_out[name] = f"needs {' and '.join(missing)}"
            continue
        # Build one condition, to find out whether this machine can compute the effect.
        texts = [f"{name}:{strength:g}" for strength in effect.strengths] or [name]
        try:
            create_condition(texts[0], sources)
        except InputError as error:
            if not isinstance(error, MissingLibrary) and "speech" not in effect.needs:
                raise  # the user named a folder that cannot be used
            suite.left_out[name] = str(error)  # a library is missing, or there are too few recordings for babble
        else:
            suite.names.extend(texts)
    return suite


def _check_contract(module: Any, contract: type[Part], kind: str, name: str, options: dict[str, Any]) -> Part:
    """Return ``module`` after checking its class; set ``module.config`` if the factory has not set it.

    Args:
        contract: the class that ``module`` must have, such as :class:`Backend`.
        kind: word for the part in messages, such as ``"back-end"``.
        name, options: the name and the options of the part, for ``module.config``.

    Raises:
        InputError: if ``module`` is not an instance of ``contract``.
    """
    if not isinstance(module, contract):
        raise InputError(
            f"{kind} '{name}' is a {type(module).__name__}: make it a subclass of "
            f"{contract.__module__}.{contract.__name__}"
        )
    if not hasattr(module, "config"):
        module.config = {"name": name}
        for key, value in options.items():
            module.config[key] = list(value) if isinstance(value, tuple) else value
    return module
