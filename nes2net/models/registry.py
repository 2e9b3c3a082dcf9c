"""Names of parts, heads and attacks, and the functions ``create_…``, which build them."""

from __future__ import annotations

import inspect
import os
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from nes2net.lib.errors import InputError
from nes2net.lib.parts.contracts import PartCheck
from nes2net.lib.parts.options import Options
from nes2net.lib.parts.registry import Registry
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.web.hub import HUB_PREFIX
from nes2net.models.checkpoints.model_types import MODEL_TYPES, check_type
from nes2net.models.frontends.sizes import SIZES, check_exists, check_size, pretraining_file

if TYPE_CHECKING:
    from nes2net.models.aggregations.base import Aggregation
    from nes2net.models.backends.base import Backend
    from nes2net.models.frontends.base import Frontend
    from nes2net.models.speakers.base import SpeakerEncoder

frontends: Registry[Frontend] = Registry(
    "front-end",
    "frontends",
    {
        **{name: f"nes2net.models.frontends.sizes:{name}" for name in SIZES},
        "wav2vec2": "nes2net.models.frontends.ssl:wav2vec2",
        "wav2vec2_small": "nes2net.models.frontends.ssl:wav2vec2_small",
        "hubert": "nes2net.models.frontends.ssl:hubert",
        "wavlm": "nes2net.models.frontends.ssl:wavlm",
        "data2vec": "nes2net.models.frontends.ssl:data2vec",
        "w2v_bert2": "nes2net.models.frontends.w2v_bert2:W2VBert2Frontend",
        "whisper": "nes2net.models.frontends.whisper:WhisperFrontend",
        "ast": "nes2net.models.frontends.spectrogram_transformer:SpectrogramTransformer",
        "audio_encoder": "nes2net.models.frontends.audio_encoder:AudioEncoder",
        "lps": "nes2net.models.frontends.lps:LogPowerSpectrum",
        "lfcc": "nes2net.models.frontends.lfcc:LinearFrequencyCepstrum",
        "waveform": "nes2net.models.frontends.waveform:Waveform",
        "teacher_student": "nes2net.models.distillation:TeacherStudent",
    },
    "nes2net.models.frontends.base:Frontend",
    registers="factory",
    given=("checkpoint",),
)
aggregations: Registry[Aggregation] = Registry(
    "aggregation",
    "aggregations",
    {
        "last": "nes2net.models.aggregations.last:Last",
        "weighted_sum": "nes2net.models.aggregations.weighted_sum:WeightedSum",
        "sea": "nes2net.models.aggregations.sea:SqueezeExcitationAggregation",
        "attm": "nes2net.models.aggregations.attm:AttentiveMerging",
        "moe": "nes2net.models.aggregations.moe:MixtureOfExperts",
    },
    "nes2net.models.aggregations.base:Aggregation",
    registers="factory",
    given=("num_layers", "feature_dim"),
)
backends: Registry[Backend] = Registry(
    "back-end",
    "backends",
    {
        "nes2net": "nes2net.models.backends.nes2net:nes2net",
        "nes2net_x": "nes2net.models.backends.nes2net:nes2net_x",
        "nes2net_x_selu": "nes2net.models.backends.nes2net:nes2net_x_selu",
        "nes2net_la": "nes2net.models.backends.nes2net:nes2net_la",
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
    "nes2net.models.backends.base:Backend",
    registers="factory",
)
heads: Registry[Any] = Registry(
    "head",
    "heads",
    {
        "linear": "nes2net.models.backends.base:LogitLayer",
        "angular": "nes2net.models.backends.heads:AngularHead",
        "cosine": "nes2net.models.backends.heads:CosineHead",
        "one_class": "nes2net.models.backends.heads:OneClassHead",
        "p2sgrad": "nes2net.models.backends.heads:P2SGradHead",
        "prototypes": "nes2net.models.backends.heads:PrototypeHead",
    },
    "torch.nn:Module",
    given=("in_features", "out_features"),
)
speakers: Registry[SpeakerEncoder] = Registry(
    "speaker encoder",
    "speakers",
    {
        "resnet34_lm": "nes2net.models.speakers.resnet34_lm:ResNet34LM",
        "ge2e": "nes2net.models.speakers.ge2e:Ge2e",
        "ecapa": "nes2net.models.speakers.ecapa:Ecapa",
        "x_vector": "nes2net.models.speakers.x_vector:XVector",
        "se_res2net50": "nes2net.models.speakers.se_res2net50:SeRes2Net50",
    },
    "nes2net.models.speakers.base:SpeakerEncoder",
    registers="factory",
    given=("checkpoint",),
)
attacks: Registry[Any] = Registry(
    "attack",
    "attacks",
    {
        "fgsm": "nes2net.models.attacks.gradients:FastGradient",
        "pgd": "nes2net.models.attacks.gradients:ProjectedGradient",
        "pgd_l2": "nes2net.models.attacks.gradients:EnergyGradient",
        "mi_fgsm": "nes2net.models.attacks.gradients:MomentumGradient",
        "spsa": "nes2net.models.attacks.queries:Spsa",
        "square": "nes2net.models.attacks.queries:Square",
        "universal": "nes2net.models.attacks.universal:AddedWaveform",
        "malafide": "nes2net.models.attacks.universal:Malafide",
        "noise": "nes2net.models.attacks.gradients:RandomSigns",
    },
    "nes2net.models.attacks.attack:Attack",
    given=("budget",),
)

#: The registries of a detector's parts, in the order of its configuration.
PARTS: tuple[Registry, ...] = (frontends, aggregations, backends)


def named_parts(model: Options) -> list[tuple[Registry, str]]:
    """List registry and name of each part of a detector's configuration, in the order of :data:`PARTS`."""
    return [(registry, part["name"]) for registry, part in zip(PARTS, model.values())]


def takes_checkpoint(name: str) -> bool:
    """Whether the front-end ``name`` can start from a pre-training file.

    Raises:
        InputError: if there is no such front-end.
    """
    return name in SIZES or "checkpoint" in inspect.signature(frontends.get(name)).parameters


def create_frontend(name: str, checkpoint: AnyPath | None = None, **options: Any) -> Frontend:
    """Build a front-end: waveform B×N → list of hidden states B×T×D.

    Args:
        name: one of ``nes2net.models.registry.frontends.names()``; or a Hugging Face folder or
            ``hub:OWNER/NAME``, whose type of model decides, as its own ``checkpoint``.
        checkpoint: a pre-training file, or ``hub:OWNER/NAME`` or a published size
            (:data:`nes2net.models.frontends.sizes.SIZES`), downloaded once. None for random
            weights. If ``name`` is a size, the file must have it.
        options: of the front-end. ``adapt`` is None, or a mapping of the options of
            :class:`nes2net.models.frontends.adaptation.Adaptation`.

    Raises:
        InputError: if a name or option is unknown, or the checkpoint cannot be used.
    """
    from nes2net.models.contract_checks import check_frontend  # imported late, so that listing names needs no torch

    if checkpoint is None and name not in frontends.names() and (os.path.isdir(name) or name.startswith(HUB_PREFIX)):
        from nes2net.models.checkpoints.huggingface import read_configuration  # imported late, because it imports torch

        checkpoint = Path(pretraining_file(name) or name)
        name = MODEL_TYPES[check_type(name, read_configuration(checkpoint).get("model_type"))].frontend
    adaptation = options.pop("adapt", None)
    if adaptation is not None:  # check the adaptation first, because the checkpoint takes long to read
        from nes2net.models.frontends.adaptation import adapt, check_adaptation  # imported late, for a fast start-up

        adaptation = check_adaptation(adaptation, f"front-end '{name}': adapt")
    checkpoint = pretraining_file(checkpoint)
    if checkpoint is None:
        frontend = frontends.create(name, **options)
    elif takes_checkpoint(name):
        from nes2net.lib.output.progress import Work  # imported late, for a fast start-up

        check_exists(name, checkpoint)
        with Work(f"reading {checkpoint}"):
            frontend = frontends.create(name, checkpoint=checkpoint, **options)
        check_size(name, frontend.model_type, frontend.config, checkpoint)
    else:
        raise InputError(f"front-end '{name}' uses no pre-training file: remove `ssl_checkpoint`")
    _check_and_configure(frontends, name, frontend, options)
    frontends.check_part(name, frontend, check_frontend, partial(frontends.create, **frontend.config))
    if adaptation is not None:
        adapt(frontend, adaptation)
    return frontend


def create_aggregation(name: str, num_layers: int, feature_dim: int, **options: Any) -> Aggregation:
    """Build an aggregation: ``num_layers`` hidden states B×T×D → features B×T×D.

    Args:
        name: one of ``nes2net.models.registry.aggregations.names()``.
        num_layers, feature_dim: the front-end's ``num_layers`` and ``out_dim``.

    Raises:
        InputError: if a name or option is unknown.
    """
    from nes2net.models.contract_checks import check_aggregation  # imported late, so that listing names needs no torch

    create = partial(aggregations.create, name, num_layers=num_layers, feature_dim=feature_dim, **options)
    aggregation = _check_and_configure(aggregations, name, create(), options)
    return aggregations.check_part(name, aggregation, check_aggregation, create)


def create_backend(name: str, **options: Any) -> Backend:
    """Build a back-end: features B×T×D → logits B×n.

    Args:
        name: one of ``nes2net.models.registry.backends.names()``.
        options: of the back-end, such as ``feature_dim``, and of
            :class:`nes2net.models.backends.heads.GeneralOptions`.

    Raises:
        InputError: if a name or option is unknown, or ``classes`` does not fit ``num_logits``.
    """
    from nes2net.lib.parts.options import (  # imported late, so that listing names needs no pydantic
        check_options,
        options_of,
    )
    from nes2net.models.backends.heads import GeneralOptions  # imported late, so that listing names needs no torch
    from nes2net.models.contract_checks import check_backend  # imported late, so that listing names needs no torch

    parameters = inspect.signature(backends.get(name)).parameters
    # General options, which every back-end takes; one that the constructor itself declares is passed to it.
    general_options = {
        key: options[key] for key in options_of(GeneralOptions) if key in options and key not in parameters
    }
    check_options(GeneralOptions, general_options, f"back-end '{name}'")
    own_options = {key: value for key, value in options.items() if key not in general_options}
    create = partial(backends.create, name, **own_options)
    backend = _check_and_configure(backends, name, create(), options)
    num_logits = 2  # default for back-ends without the option num_logits
    if "num_logits" in parameters:
        num_logits = options.get("num_logits", parameters["num_logits"].default)
    backends.check_part(name, backend, partial(check_backend, num_logits=num_logits), create)
    GeneralOptions(**general_options).apply(backend, num_logits, create_head)
    return backend  # type: ignore[no-any-return]


def create_speaker_encoder(name: str, **options: Any) -> SpeakerEncoder:
    """Build a speaker encoder, whose ``embed`` maps a recording to a unit-length vector.

    Args:
        name: one of ``nes2net.models.registry.speakers.names()``.
        options: ``checkpoint`` is a file, a folder or ``hub:OWNER/NAME[@REVISION][/FILE]``;
            ``device`` is where the network computes, by default the CPU.

    Raises:
        InputError: if a name or option is unknown, or weights are missing or do not fit.
    """
    from nes2net.models.contract_checks import check_speaker_encoder  # imported late, for a fast start-up

    create = partial(speakers.create, name, **options)
    encoder = _check_and_configure(speakers, name, create(), options)
    return speakers.check_part(name, encoder, check_speaker_encoder, create)


def speaker_encoder_of(text: str) -> SpeakerEncoder:
    """Build the speaker encoder of a flag, ``NAME`` or ``{name: NAME, OPTION: VALUE}``, as :func:`create_speaker_encoder`."""
    from nes2net.lib.parts.options import name_and_options  # imported late, so that listing names needs no pydantic
    from nes2net.lib.storage.yaml_text import read_value

    name, options = name_and_options({"encoder": read_value(text, None, "`encoder`")}, "encoder", owner="`encoder`")
    return create_speaker_encoder(name, **options)


def create_head(head: str | Options, in_features: int, num_logits: int) -> Any:
    """Build a head, the last layer of a back-end: embeddings B×``in_features`` → logits B×``num_logits``.

    Args:
        head: one of ``nes2net.models.registry.heads.names()``, or a mapping of ``name`` and options.

    Raises:
        InputError: if the name or an option is unknown, or the head cannot output ``num_logits``
            logits.
    """
    from nes2net.lib.parts.options import name_and_options  # imported late, so that listing names needs no pydantic
    from nes2net.models.backends.heads import Head  # imported late, so that listing names needs no torch

    name, options = name_and_options({"head": head}, "head", reserved=heads.given)
    head_class = heads.import_factory(name, options)
    if issubclass(head_class, Head) and (num_logits < 2 or (head_class.compares_two and num_logits > 2)):
        number = "2" if head_class.compares_two else "at least 2"
        raise InputError(
            f"head '{name}' compares classes: num_logits must be {number}, not {num_logits}, or use head=linear"
        )
    return head_class(in_features, num_logits, **options)


def _check_and_configure(registry: Registry, name: str, part: Any, options: dict[str, Any]) -> Any:
    """Set the configuration of ``part``: its name and all options, with defaults."""
    from nes2net.lib.parts.options import options_of  # imported late, so that listing names needs no pydantic

    fits = isinstance(part, resolve_name(registry.base))
    PartCheck(registry.subject(name)).that(
        fits, "its constructor returned", part, f"a part of the class {registry.base}"
    )
    if not hasattr(part, "config"):
        declared = options_of(registry.get(name))
        defaults = {key: option.default for key, option in declared.items() if key not in registry.given}
        part.config = {"name": name}
        for key, value in {**defaults, **options}.items():
            part.config[key] = list(value) if isinstance(value, tuple) else value
    return part
