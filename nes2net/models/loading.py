"""Read and write detectors in files: architecture and weights, with or without frozen tensors.

In reading order: ``find_checkpoint`` reads a checkpoint. ``fetch_published`` and
``named_architecture`` find a published model by its name; ``recognise`` and ``only_fitting_model``
find the one that fits a checkpoint of other code.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, TypeAlias

import torch

from nes2net.lib.computing.without_memory import without_memory
from nes2net.lib.errors import InputError, MissingLibrary, did_you_mean, first_line, nearest, short_repr
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import print_note
from nes2net.lib.parts.options import ModelConfig, Options, check_model, name_and_options
from nes2net.lib.storage.files import AnyPath, is_absent
from nes2net.lib.storage.yaml_text import set_value
from nes2net.models.card import CardFile
from nes2net.models.checkpoints.base import NAME_THE_BASE, expected_tensors, load_base, omitted_names
from nes2net.models.checkpoints.classification import BONAFIDE_OPTION, WAVEFORMS_KEY, holds_classifier, read_classifier
from nes2net.models.checkpoints.folder import CONFIG, read_folder
from nes2net.models.checkpoints.hub import download
from nes2net.models.checkpoints.huggingface import holds_other_model, read_weights
from nes2net.models.checkpoints.published_names import layout_of, select_frontend, unwrap_frontend, without_frontend
from nes2net.models.checkpoints.shelf import Shelf
from nes2net.models.checkpoints.state_dict import (
    Misfit,
    StateDict,
    check_fit,
    compare,
    load_state_dict,
    metadata_of,
    read_record,
    with_metadata,
)
from nes2net.models.fitting import changed_options, fit_config, share_of_other_names
from nes2net.models.frontends.base import Frontend
from nes2net.models.frontends.sizes import SIZES
from nes2net.models.network import Network
from nes2net.models.provenance import Provenance
from nes2net.models.published_models import PUBLISHED, PUBLISHED_MODELS
from nes2net.models.registry import create_frontend
from nes2net.models.weights_known import holds_weights_of, record_without_weights

#: A file, folder or name; an open file in binary mode; or the content of a file, such as a state dict.
AnyCheckpoint: TypeAlias = "AnyPath | BinaryIO | Mapping[str, Any]"
_MAX_WRAPPERS = 4  # largest number of prefixes to remove in :func:`without_wrapper`


@dataclass(frozen=True)
class Checkpoint:
    """What a file or folder states about a detector, before it is built."""

    path: Path
    source: str
    """The path or name that the user gave."""
    state_dict: StateDict
    config: Options | None
    """The architecture; None if the file does not state it."""
    base: Any
    """Recorded base of an adapted front-end, :attr:`nes2net.models.network.Network.base`."""
    provenance: Provenance

    @classmethod
    def of(cls, path: Path, state_dict: StateDict, record: Facts, source: str = "") -> Checkpoint:
        """Join the tensors and the record in ``path``; an empty ``source`` stands for ``path``."""
        facts = record_without_weights(record, state_dict)
        config = facts.pop("model", None)
        base = facts.pop("base", None)
        return cls(path, source or str(path), state_dict, config, base, Provenance.read(facts))


@contextmanager
def as_path(checkpoint: AnyCheckpoint) -> Iterator[AnyPath]:
    """Yield a path or name as it is; write a file object or a state dict to a temporary file, and yield its path."""
    if isinstance(checkpoint, (str, os.PathLike)):
        yield checkpoint
        return
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # Windows keeps a mapped file
        path = Path(folder, "checkpoint")
        if isinstance(checkpoint, Mapping):
            torch.save(checkpoint, path)
        else:
            path.write_bytes(checkpoint.read())
        yield path


def find_checkpoint(path_or_name: AnyPath, config: Options | str | None = None) -> Checkpoint:
    """Find a checkpoint, downloading it if necessary; read it, and find its architecture.

    Args:
        path_or_name, config: as for :meth:`nes2net.Detector.from_pretrained`.

    Raises:
        InputError: as :meth:`nes2net.Detector.from_pretrained`.
    """
    path = Path(path_or_name)
    source = str(path_or_name)
    fetched_name = ""
    if is_absent(path) and source in PUBLISHED_MODELS:
        path = fetch_published(source)
        config = config or source
        fetched_name = source
    elif is_absent(path):
        if "/" not in source and (suggestion := nearest(source, PUBLISHED_MODELS)):
            raise InputError(f"checkpoint {source} not found{suggestion}")
        path = download(source)
    if is_absent(path / CONFIG) and (best_file := CardFile.read(path).checkpoint):  # a run folder
        path /= best_file
        source = str(path)
        print_note(f"{source} is used, the best epoch by the measure of the run's `validation.select_on`")
    if path.suffix == ".onnx":
        raise InputError(
            f"{path} is a detector exported to ONNX, which only scores, by nes2net score, predict or serve, or in "
            "Python by nes2net.models.onnx_detector.OnnxDetector: name the checkpoint that it was exported from"
        )
    bonafide = None
    is_classifier = _holds_classifier(path)
    if is_classifier and isinstance(config, str) and config.startswith(BONAFIDE_OPTION):
        bonafide = config.removeprefix(BONAFIDE_OPTION)
        config = None
    checkpoint = read_checkpoint(path, source, bonafide)
    if is_classifier:
        print_note(checkpoint.provenance.facts[WAVEFORMS_KEY])
    published_name = ""
    if isinstance(config, str):
        published_name = config.partition(",")[0]
        config = read_architecture(config)
    if checkpoint.config is not None:
        return replace(checkpoint, state_dict=unwrap_frontend(checkpoint.state_dict, source))
    # Other code: the names and shapes of its tensors tell the architecture.
    state_dict = without_wrapper(checkpoint.state_dict, source, config)
    unwrapped = unwrap_frontend(state_dict, source)
    if config is None:
        path_note = f" (it has no {CONFIG})" if path.is_dir() else ""
        published_name, config = only_fitting_model(state_dict, source, path_note)
    # Unless the weights are known to be the weights of the published model, record only the architecture.
    provenance = checkpoint.provenance
    model_name = fetched_name or published_name
    if model_name in PUBLISHED_MODELS:
        provenance = replace(provenance, published_model=model_name)
        # fetch_published() has checked the digest of a fetched file
        if not fetched_name and not holds_weights_of(model_name, state_dict, path, source):
            provenance = provenance.without_weights()
    config = _with_fitting_options(unwrapped, config, source, published_name)
    return replace(checkpoint, state_dict=unwrapped, config=config, provenance=provenance)


def _holds_classifier(path: Path) -> bool:
    return path.is_dir() and is_absent(path / CONFIG) and holds_classifier(path)


def read_checkpoint(path: Path, source: str = "", bonafide: str | None = None) -> Checkpoint:
    """Read a file, a detector folder or a Hugging Face folder.

    Args:
        source: :attr:`Checkpoint.source`; empty for ``path``.
        bonafide: as for :func:`nes2net.models.checkpoints.classification.read_classifier`.

    Raises:
        InputError: if the file or folder is missing, damaged or not supported.
    """
    state_dict: StateDict
    record: Facts = {}
    if _holds_classifier(path):
        state_dict, record = read_classifier(path, bonafide)
    elif path.is_dir() and is_absent(path / CONFIG) and holds_other_model(path):
        state_dict = read_weights(path)
    elif path.is_dir():
        state_dict, record = read_folder(path)
    else:
        if path.suffix in (".safetensors", ".bin") and _holds_classifier(path.parent):
            raise InputError(
                f"{path} lacks the names of the classes, which are beside it: name its folder, {path.parent}"
            )
        state_dict = load_state_dict(path)
        record = read_record(state_dict)
    return Checkpoint.of(path, state_dict, record, source)


def saves_all(network: Network) -> bool:
    """Whether the state dict has every parameter and buffer, so that a file can give all values."""
    saved_ids = {id(tensor) for tensor in network.state_dict(keep_vars=True).values()}
    return all(id(tensor) in saved_ids for tensor in (*network.parameters(), *network.buffers()))


def load_weights(
    network: Network, checkpoint: Checkpoint, base: AnyPath | None = None, remedy: str = NAME_THE_BASE
) -> None:
    """Load a checkpoint with the names and shapes of the network's tensors.

    On the meta device, the file's tensors are used without a copy.

    Args:
        base: as for :meth:`nes2net.Detector.from_pretrained`.
        remedy: end of error messages about the base, with advice.

    Raises:
        InputError: if names or shapes differ (listed in the message), omitted frozen tensors are
            not found, or ``base`` is given although none are omitted.
    """
    state_dict = unwrap_frontend(checkpoint.state_dict)
    on_meta_device = network.device.type == "meta"
    partial = bool(omitted_names(network, state_dict))
    if base is not None and not partial:
        raise InputError(f"{checkpoint.source} holds all tensors of its detector: remove `base`")
    check_fit(state_dict, expected_tensors(network, state_dict), checkpoint.source)
    if partial:
        load_base(network, checkpoint.base, checkpoint.path, base, remedy)
    network.load_state_dict(state_dict, strict=not partial, assign=on_meta_device)


# Published models by name


def fetch_published(name: str) -> Path:
    """Return the path of the published model ``name``, downloading its file once.

    Raises:
        InputError: if the file must be downloaded by hand, or has another digest.
        Unfinished: if the connection breaks.
    """
    model = PUBLISHED[name]
    if model.file is None:
        raise InputError(
            f"{name} cannot be downloaded by a program: download its file by hand "
            f"({model.by_hand or model.source}), and name the file with `model`, and `config={name}` if it is not recognised"
        )
    return Shelf(name, model.file, model.licence).fetch_if_missing()


def read_architecture(name: str) -> ModelConfig:
    """Return the architecture of a published model; ``,part.option=value`` after its name changes options.

    Raises:
        InputError: if there is no such model, or an option is not of the form ``part.option=value``.

    >>> read_architecture("AASIST,backend.num_logits=1")["backend"]
    {'name': 'raw_aasist', 'num_logits': 1}
    """
    name, *options = split_options(name)
    if name not in PUBLISHED_MODELS:
        raise InputError(
            f"architecture '{name}' is neither a published model nor a recipe"
            f"{did_you_mean(name, PUBLISHED_MODELS, 'nes2net info')}"
        )
    described = {"model": PUBLISHED_MODELS[name]}
    for option in options:
        keys, equals, text = option.partition("=")
        if not equals:
            raise InputError(
                f"option {short_repr(option)} of the architecture is not of the form part.option=value, such as backend.num_logits=1"
            )
        set_value(
            described, ["model", *keys.split(".")], text, None, f"option {short_repr(option)}: the value"
        )  # copies the mappings in it
    return described["model"]


def split_options(name: str) -> list[str]:
    """Split ``NAME,backend.option=value,…`` into the list of the name and its options.

    A comma begins an option only if a part's name and a dot follow.

    >>> split_options("AASIST,backend.num_logits=1")
    ['AASIST', 'backend.num_logits=1']
    """
    return re.split(r",\s*(?=(?:frontend|aggregation|backend)\.)", name)


def _with_fitting_options(state_dict: StateDict, config: Options, source: str, published_name: str) -> ModelConfig:
    with build_errors_as_input_errors(source):
        model = check_model(config)
        frontend = _meta_frontend(json.dumps(model["frontend"]))
    fitted = fit_config(state_dict, frontend, model)
    if fitted is None:  # the caller then calls check_fit(), which raises an error with the differences
        return model
    if changes := changed_options(model, fitted):
        example = f"{published_name or 'NAME'},backend.OPTION=VALUE"
        print_note(
            f"{source}: read from its shapes: {', '.join(changes)}. Options that change no shape are as in "
            f"{published_name or 'the architecture that was named'}; `config={example}` sets one"
        )
    return fitted


@contextmanager
def build_errors_as_input_errors(source: str) -> Iterator[None]:
    """Convert errors of building the model in ``source`` to :class:`InputError`.

    :class:`MissingLibrary` stays: the file is not its cause.
    """
    try:
        yield
    except InputError as error:
        if not isinstance(error, MissingLibrary):
            error.concern(f"{source} describes a model that cannot be built:")
        raise
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, ArithmeticError, RuntimeError) as error:
        raise InputError(
            f"{source} describes a model that cannot be built ({type(error).__name__}: {first_line(error)}); check its "
            "options"
        ) from error


def without_wrapper(state_dict: StateDict, source: str, config: Options | None = None) -> StateDict:
    """Remove prefixes that all names share, such as ``net.``, which a module around the detector has added.

    At most four are removed. Layouts of other published code than Nes2Net's stay unchanged.

    Args:
        config: architecture: prefixes are removed until a name is among its tensors; None removes
            all, because names of a published model share none.
    """
    for _ in range(_MAX_WRAPPERS):
        prefix = next(iter(state_dict)).partition(".")[0] + "."
        if layout_of(state_dict) is not None or not all(name.startswith(prefix) for name in state_dict):
            break
        if config is not None:
            with build_errors_as_input_errors(source):
                tensors = _published_tensors(json.dumps(check_model(config)), True)
            if any(name in tensors for name in state_dict):
                break
        renamed = {name.removeprefix(prefix): tensor for name, tensor in state_dict.items()}
        state_dict = with_metadata(renamed, metadata_of(state_dict))
    return state_dict


# Checkpoints of other code


def recognise(state_dict: StateDict, pretrained: bool = True) -> dict[str, Misfit]:
    """Find how a whole-model state dict differs from each published model whose files have its layout.

    Args:
        pretrained: whether to compare also with pre-trained front-ends.

    Returns:
        Name of the published model → differences, fewest first.
    """
    layout = layout_of(state_dict)
    state_dict = unwrap_frontend(state_dict)
    code = layout.code if layout else ""
    has_frontend = bool(select_frontend(state_dict))  # some files omit a frozen front-end
    misfits = {
        name: compare(state_dict, _published_tensors(json.dumps(config), has_frontend))
        for name, config in PUBLISHED_MODELS.items()
        if PUBLISHED[name].code == code and (pretrained or name_and_options(config, "frontend")[0] not in SIZES)
    }
    return dict(sorted(misfits.items(), key=lambda item: len(item[1])))


@cache
def _published_tensors(config: str, with_frontend: bool) -> StateDict:
    # Callers share the result, and must not change it.
    model = json.loads(config)  # arguments of a cached function are hashed, so a mapping must be text
    with without_memory():
        detector = Network.with_frontend(_meta_frontend(json.dumps(model["frontend"])), model)
    tensors = detector.state_dict()
    return tensors if with_frontend else without_frontend(tensors)


@cache
def _meta_frontend(config: str) -> Frontend:
    """Build a front-end on the meta device from ``config`` as JSON; models share one, so nobody may change it."""
    name, options = name_and_options({"frontend": json.loads(config)}, "frontend")
    with without_memory():
        return create_frontend(name, **options)


def recognise_and_fit(state_dict: StateDict) -> tuple[dict[str, Misfit], dict[str, ModelConfig]]:
    """Return misfits and fitting models."""
    # First the few models without a pre-trained front-end: the others need the transformers library, whose import takes
    # seconds. A file that fits one of these fits no other model.
    for pretrained in (False, True):
        misfits = recognise(state_dict, pretrained)
        fitting = fitting_models(state_dict, misfits)
        if fitting:
            break
    return misfits, fitting


def only_fitting_model(state_dict: StateDict, source: str, path_note: str) -> tuple[str, ModelConfig]:
    """Find the only published model that fits a checkpoint: name and architecture.

    Otherwise options are changed until the shapes match.

    Raises:
        InputError: if no published model fits, or several models fit.
    """
    misfits, fitting = recognise_and_fit(state_dict)
    if len(fitting) == 1:
        return next(iter(fitting.items()))
    if fitting:
        raise InputError(
            f"{source} fits {' and '.join(fitting)}, whose weights have the same names and shapes: choose one "
            "with `config`"
        )
    nearest_name, misfit = next(iter(misfits.items()))
    raise InputError(
        f"{source} fits no published model{path_note}; it differs from the nearest, {nearest_name}, in {misfit}: name its "
        f"architecture with `config`, such as `config={nearest_name},backend.OPTION=VALUE`"
    )


def fitting_models(state_dict: StateDict, misfits: Mapping[str, Misfit]) -> dict[str, ModelConfig]:
    """Find the published models that fit ``state_dict``: name → architecture.

    If none fits, options are changed until the shapes match, and the models that need the fewest
    changes are returned. Empty if no change helps.

    Args:
        misfits: the result of :func:`recognise`.
    """
    if fitting := [name for name, misfit in misfits.items() if not misfit]:
        return {name: PUBLISHED_MODELS[name] for name in fitting}
    # Otherwise, of the models whose front-end fits, change options of those that share the most names with the
    # checkpoint.
    state_dict = unwrap_frontend(state_dict)
    has_frontend = bool(select_frontend(state_dict))
    shares = {}  # name of a model that may fit with other options → share of names that do not match
    for name, misfit in misfits.items():
        different = [*misfit.missing, *misfit.left_over, *misfit.shapes, *misfit.types]
        if not any(text.startswith("ssl_model.model.") for text in different):
            expected = _published_tensors(json.dumps(PUBLISHED_MODELS[name]), has_frontend)
            shares[name] = share_of_other_names(state_dict, expected)
    fitted: dict[str, ModelConfig] = {}
    for name in [name for name, share in shares.items() if share == min(shares.values())]:
        config = PUBLISHED_MODELS[name]
        changed_config = fit_config(state_dict, _meta_frontend(json.dumps(config["frontend"])), config)
        if changed_config is not None:
            fitted[name] = changed_config
    changes = {name: len(changed_options(PUBLISHED_MODELS[name], config)) for name, config in fitted.items()}
    return {name: config for name, config in fitted.items() if changes[name] == min(changes.values())}
