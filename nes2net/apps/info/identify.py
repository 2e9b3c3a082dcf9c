"""Identify a file or folder: its kind, and for a detector the model, record and missing tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from nes2net.detector import Detector
from nes2net.lib.errors import InputError, join_names, short_repr
from nes2net.lib.parts.options import Options
from nes2net.lib.parts.registry import check_installed
from nes2net.lib.storage.files import AnyPath, is_absent
from nes2net.lib.storage.plain_data import check_plain
from nes2net.models.checkpoints.base import expected_tensors, omitted_names
from nes2net.models.checkpoints.classification import NAMES_KEY, WAVEFORMS_KEY, holds_classifier
from nes2net.models.checkpoints.fairseq import encoder_tensors, model_type_of
from nes2net.models.checkpoints.folder import CONFIG
from nes2net.models.checkpoints.huggingface import CONFIG_FILE, check_no_adapter, holds_other_model, read_configuration
from nes2net.models.checkpoints.model_types import MODEL_TYPES, check_type, is_openai
from nes2net.models.checkpoints.published_names import unwrap_frontend
from nes2net.models.checkpoints.state_dict import (
    Misfit,
    compare,
    dtype_name,
    not_finite,
    read_record,
    state_dict_of,
)
from nes2net.models.checkpoints.torch_file import read_torch_file
from nes2net.models.fitting import changed_options
from nes2net.models.frontends.base import Frontend
from nes2net.models.frontends.sizes import sizes_of
from nes2net.models.loading import (
    Checkpoint,
    build_errors_as_input_errors,
    read_checkpoint,
    recognise_and_fit,
    without_wrapper,
)
from nes2net.models.onnx_detector import OnnxDetector, describe_lengths
from nes2net.models.provenance import Provenance
from nes2net.models.published_models import PUBLISHED_MODELS
from nes2net.models.registry import PARTS, create_frontend
from nes2net.models.weights_known import holds_weights_of

_ONLY_ENCODER = "of the whole model, only the encoder is read"
_MIN_FITTING = 0.5  # the nearest published model is near enough if at least this fraction of the tensors fits


@dataclass
class Identity:
    path: Path
    kind: str
    """Words such as ``"detector checkpoint"``."""
    models: list[str] = field(default_factory=list)
    """Published models with exactly these tensor names and shapes, or at most the nearest one.

    For a front-end without a detector, its published sizes.
    """
    config: Options = field(default_factory=dict)
    """``{"frontend": …}`` for a front-end without a detector; empty if unknown."""
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """With buffers and pre-training heads."""
    misfit: Misfit = field(default_factory=Misfit)
    """Tensors that do not fit the configuration in the file, or else the nearest published model."""
    records: list[str] = field(default_factory=list)
    """Names of classes in the file; no objects of these classes were built."""
    provenance: Provenance = field(default_factory=Provenance)
    """Facts in the file about the training."""
    base: object = None
    """Facts about the base weights that an adapted checkpoint omits."""
    notes: list[str] = field(default_factory=list)

    @property
    def dtypes(self) -> dict[str, int]:
        """Type → number of elements in the state dict."""
        numbers: Counter[str] = Counter()
        for tensor in self.tensors.values():
            numbers[dtype_name(tensor)] += tensor.numel()
        return dict(numbers.most_common())

    @property
    def parameters(self) -> int:
        """Number of elements in the state dict."""
        return sum(self.dtypes.values())

    @property
    def architecture(self) -> Options:
        """:attr:`config`, or else the configuration of the only published model that fits."""
        if not self.config and len(self.models) == 1:
            return PUBLISHED_MODELS.get(self.models[0], {})
        return self.config


def identify(path: AnyPath) -> Identity:
    """Identify the file or folder ``path`` by its content; no code in it is executed.

    It may be of this package, the published code, fairseq, unilm, UniSpeech, OpenAI or Hugging Face, an
    ONNX file, a resume file, or another state dict.

    Raises:
        InputError: if ``path`` is missing or damaged, or holds no weights.
    """
    path = Path(path)
    if path.is_dir():
        return _identify_folder(path)
    if path.suffix == ".onnx":
        exported = OnnxDetector(path, "cpu", runs=False)
        samples = describe_lengths(exported.min_samples, exported.max_samples)
        notes = [f"reads {samples} samples at 16 kHz; nes2net score, predict and serve accept it"]
        if exported.precision != "float32":
            notes.append(f"weights of its front-end are quantised to {exported.precision}")
        kind = "detector exported to ONNX"
        return Identity(path, kind, config=exported.config, provenance=exported.provenance, notes=notes)
    if path.suffix == ".safetensors":
        return _identify_detector(read_checkpoint(path))
    # Identify a file of torch.save: a resume file, a pre-training file, or another state dict.
    content, records = read_torch_file(path)
    if isinstance(content, dict) and isinstance(content.get("progress"), dict) and "detector" in content:
        record = {key: content[key] for key in ("model", "recipe", "progress") if isinstance(content.get(key), dict)}
        state_dict = state_dict_of(content["detector"], path)
        check_plain(record, str(path))
        epoch, step = (short_repr(record["progress"].get(key)) for key in ("epoch", "step"))
        kind = f"resume file of a training run, in epoch {epoch}, step {step}"
        identity = _compare_with_record(Checkpoint.of(path, state_dict, record), kind)
    elif is_openai(content):
        frontend = create_frontend("whisper", path)
        identity = _identify_frontend(path, "Whisper checkpoint (OpenAI)", frontend, [_ONLY_ENCODER])
    elif (model_type := model_type_of(content)) is not None:
        title, name = MODEL_TYPES[model_type]
        code = {"wav2vec2": "fairseq", "hubert": "fairseq", "wavlm": "unilm"}.get(model_type, "UniSpeech")
        kind = f"{title} pre-training file ({code})"
        tensors = state_dict_of(content, path)
        try:
            frontend = create_frontend(name, path)
        except InputError as error:
            identity = Identity(path, kind, notes=[f"not usable as a front-end: {error}"])
        else:
            identity = _identify_frontend(path, kind, frontend, [])
            if len(encoder_tensors(content) or {}) < len(tensors):
                identity.notes.append(_ONLY_ENCODER)
        identity.tensors = tensors
    else:
        state_dict = state_dict_of(content, path)
        identity = _identify_detector(Checkpoint.of(path, state_dict, read_record(state_dict)))
    identity.records = records
    return identity


def _identify_folder(folder: Path) -> Identity:
    check_no_adapter(folder)
    if not is_absent(folder / CONFIG):
        return _compare_with_record(read_checkpoint(folder), "detector folder")
    has_configuration = not is_absent(folder / CONFIG_FILE)
    if holds_other_model(folder):
        identity = _identify_detector(read_checkpoint(folder))
        # An unknown detector that has Hugging Face's configuration is described as Hugging Face's.
        if identity.models or not has_configuration:
            return identity
    if not has_configuration:
        raise InputError(
            f"{folder} is not a folder of a detector, a Hugging Face model or a training run: name one, or a file"
        )
    title, name = MODEL_TYPES[check_type(folder, read_configuration(folder).get("model_type"))]
    kind = f"Hugging Face folder of {title}"
    notes = []
    if holds_classifier(folder):
        try:
            checkpoint = read_checkpoint(folder)
        except InputError as error:
            notes.append(f"not usable as a detector: {error}")
        else:
            identity = _compare_with_record(checkpoint, f"detector, a {kind} with a classification head")
            *spoof, bonafide = checkpoint.provenance.facts[NAMES_KEY]
            identity.notes = [
                f"classes: bona fide is {bonafide}, spoof {join_names(spoof)}; a higher score is more bona fide",
                checkpoint.provenance.facts[WAVEFORMS_KEY],
            ]
            # Its facts are only the classes in the notes.
            identity.provenance = Provenance()
            return identity
    return _identify_frontend(folder, kind, create_frontend(name, folder), notes)


def _identify_frontend(path: Path, kind: str, frontend: Frontend, notes: list[str]) -> Identity:
    if frontend.note:
        notes.append(frontend.note)
    name = frontend.config["name"]
    sizes = sizes_of(frontend.model_type, frontend.config)
    if not sizes:
        notes.append(f"no published size has these options: `model.frontend={name}` reads it")
    config = {"frontend": frontend.config}
    return Identity(path, kind, sizes or [name], config, frontend.state_dict(), notes=notes)


def _identify_detector(checkpoint: Checkpoint) -> Identity:
    # Identify a state dict that this package saved with the configuration beside the tensors.
    if checkpoint.config:
        return _compare_with_record(checkpoint, "detector checkpoint of this package")
    path = checkpoint.path
    tensors = checkpoint.state_dict
    state_dict = without_wrapper(tensors, str(path))
    unwrapped = unwrap_frontend(state_dict, path)
    notes = []
    if unwrapped.keys() != state_dict.keys():
        notes.append("its tensors have other names than a detector saves (a published layout, or s3prl's prefix)")
    misfits, models = recognise_and_fit(state_dict)
    if models:
        first, config = next(iter(models.items()))
        changes = changed_options(PUBLISHED_MODELS[first], config)
        with torch.device("meta"):
            detector = Detector.from_config(config)
        if changes:
            notes.append(f"options read from its shapes: {', '.join(changes)}")
        if omitted_names(detector, unwrapped):
            notes.append("its front-end, which was frozen, is not in it: name its pre-training file as `base`")
        loaded = [name for name in models if holds_weights_of(name, state_dict, path)]
        return Identity(
            path,
            "detector checkpoint of the published code",
            loaded or list(models),
            detector.config if changes else {},
            tensors,
            Misfit(values=not_finite(state_dict)),
            provenance=Provenance(loaded[0] if loaded else ""),
            notes=notes,
        )
    # Find the nearest published model, if a published model is near enough.
    nearest, misfit = next(iter(misfits.items()))
    num_fitting = len(unwrapped) - len(misfit.left_over) - len(misfit.shapes)
    if num_fitting < _MIN_FITTING * (num_fitting + len(misfit)):
        return Identity(path, "state dict of an unknown model", tensors=tensors)
    return Identity(
        path, f"detector checkpoint, nearest to the published {nearest}", [nearest], {}, tensors, misfit, notes=notes
    )


def _compare_with_record(checkpoint: Checkpoint, kind: str) -> Identity:
    path = checkpoint.path
    state_dict = unwrap_frontend(checkpoint.state_dict)
    provenance = checkpoint.provenance
    identity = Identity(
        path, kind, [], checkpoint.config or {}, state_dict, base=checkpoint.base, provenance=provenance
    )
    if not identity.config:
        return identity
    try:
        check_installed("it", provenance.facts, PARTS)
    except InputError as error:
        identity.misfit = Misfit(missing=[str(error)])
        return identity
    # A detector without memory for its weights has the names and shapes of the tensors that it expects.
    with build_errors_as_input_errors(str(path)), torch.device("meta"):
        detector = Detector.from_config(identity.config)
    identity.config = detector.config
    identity.misfit = compare(state_dict, expected_tensors(detector, state_dict))
    identity.misfit.values = not_finite(state_dict)
    if detector.frontend.adapted and omitted_names(detector, state_dict):
        identity.kind = f"{kind}, adapted"
    return identity
