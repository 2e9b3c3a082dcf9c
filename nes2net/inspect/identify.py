"""Identify a file or folder: its kind, and of a detector its model, record and missing tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nes2net.checkpoints.folder import CONFIG, read_folder
from nes2net.checkpoints.huggingface import CONFIG_FILE, read_configuration
from nes2net.checkpoints.onnx_file import OnnxFile, accepted_lengths
from nes2net.checkpoints.state_dict import Misfit, compare, load_state_dict, read_record, state_dict_of
from nes2net.checkpoints.torch_file import read_torch_file
from nes2net.detector import PUBLISHED_MODELS, Detector, recognise, sound_description, unwrap_frontend
from nes2net.errors import InputError, shown
from nes2net.machine.plain_data import check_plain
from nes2net.registry import create_frontend

_FIT_LEAST = 0.5  # with a smaller share of the names of a published model, a state dict is unknown


@dataclass
class Identity:
    """The result of :func:`identify`."""

    path: Path
    """The file or folder."""
    kind: str
    """Its kind in words, such as ``"detector checkpoint"``."""
    models: list[str] = field(default_factory=list)
    """Published models, or the front-end, with these tensors; several may share names and shapes."""
    config: dict[str, Any] = field(default_factory=dict)
    """Configuration of the detector or front-end, ``{"frontend": …}``; empty if it has none."""
    dtypes: dict[str, int] = field(default_factory=dict)
    """Count of numbers of each type in the state dict, with buffers and pre-training heads."""
    misfit: Misfit = field(default_factory=Misfit)
    """Difference from the file's own configuration, or else from the nearest published model."""
    records: list[str] = field(default_factory=list)
    """Names of classes in the file that were not rebuilt."""
    record: dict[str, Any] = field(default_factory=dict)
    """Facts of its training that it holds, such as the recipe and the epoch."""
    notes: list[str] = field(default_factory=list)
    """Further lines of text."""

    @property
    def parameters(self) -> int:
        """Count of all numbers in the state dict."""
        return sum(self.dtypes.values())

    @property
    def architecture(self) -> dict[str, Any]:
        """The configuration, or that of the published model if only one has these tensors."""
        return self.config or (PUBLISHED_MODELS.get(self.models[0], {}) if len(self.models) == 1 else {})


def identify(path: str | Path) -> Identity:
    """Identify ``path`` by its content; nothing in it is executed.

    These kinds are known: pre-training files of fairseq and unilm, Hugging Face folders of wav2vec
    2.0 and WavLM, checkpoints of the published code, checkpoints and folders of this package, ONNX
    files, resume files, and other state dicts.

    Raises:
        InputError: if ``path`` is missing, damaged, or holds no weights.
    """
    path = Path(path)
    if path.is_dir():
        return _identify_folder(path)
    if path.suffix == ".onnx":
        return _identify_onnx(path)
    if path.suffix == ".safetensors":
        return _identify_state_dict(path, load_state_dict(path))
    content, records = read_torch_file(path)
    model = content.get("model") if isinstance(content, dict) else None
    if isinstance(content, dict) and isinstance(content.get("progress"), dict) and "detector" in content:
        identity = _identify_resume_file(path, content)
    elif isinstance(model, dict) and "encoder.pos_conv.0.weight_v" in model:
        identity = _identify_pretraining(path, state_dict_of(content, path))
    else:
        identity = _identify_state_dict(path, state_dict_of(content, path))
    identity.records = records
    return identity


def _identify_folder(folder: Path) -> Identity:
    if (folder / CONFIG).is_file():
        state_dict, description = read_folder(folder)
        config = description["model"]
        facts = {key: value for key, value in description.items() if key != "model"}
        misfit = _misfit(state_dict, config, folder)
        return Identity(folder, "detector folder", [], config, _dtypes(state_dict), misfit, record=facts)
    if (folder / CONFIG_FILE).is_file():
        kind = read_configuration(folder).get("model_type")
        if kind not in ("wav2vec2", "wavlm"):
            raise InputError(
                f"{folder} holds a model of type {shown(kind)}: of Hugging Face folders, wav2vec2 and wavlm are read"
            )
        frontend = create_frontend(kind, folder)
        config = {"frontend": frontend.config}
        dtypes = _dtypes(frontend.state_dict())
        return Identity(folder, f"Hugging Face folder of a {kind} front-end", [kind], config, dtypes)
    raise InputError(f"{folder} is not a folder of a detector, a Hugging Face model or a training run")


def _identify_onnx(path: Path) -> Identity:
    detector = OnnxFile(path, "cpu")
    samples = accepted_lengths(detector.min_samples, detector.max_samples)
    notes = [f"takes {samples} samples at 16 kHz; `nes2net score … --engine onnx` scores with it"]
    if detector.precision != "float32":
        notes.append(f"weights of its front-end are quantised to {detector.precision}")
    return Identity(path, "detector exported to ONNX", config=detector.config, notes=notes)


def _identify_pretraining(path: Path, state_dict: Mapping[str, Tensor]) -> Identity:
    wavlm = any("relative_attention_bias" in name for name in state_dict)
    kind = "WavLM pre-training file (unilm)" if wavlm else "wav2vec 2.0 pre-training file (fairseq)"
    name = "wavlm" if wavlm else "wav2vec2"
    identity = Identity(path, kind, [name], dtypes=_dtypes(state_dict))
    try:
        frontend = create_frontend(name, path)
    except InputError as error:
        identity.notes.append(f"not usable as a front-end: {error}")
        return identity
    identity.config = {"frontend": frontend.config}
    identity.misfit = compare(state_dict, {k.removeprefix("model."): v for k, v in frontend.state_dict().items()})
    return identity


def _identify_resume_file(path: Path, content: dict[str, Any]) -> Identity:
    state_dict = state_dict_of(content["detector"], path)
    facts = {key: content[key] for key in ("model", "recipe", "progress") if isinstance(content.get(key), dict)}
    check_plain(facts, str(path))
    config = facts.pop("model", {})
    epoch, step = (shown(facts["progress"].get(key)) for key in ("epoch", "step"))
    kind = f"resume file of a training run, in epoch {epoch}, step {step}"
    misfit = _misfit(state_dict, config, path) if config else Misfit()
    return Identity(path, kind, [], config, _dtypes(state_dict), misfit, record=facts)


def _identify_state_dict(path: Path, state_dict: Mapping[str, Tensor]) -> Identity:
    record, dtypes = read_record(state_dict), _dtypes(state_dict)
    unwrapped = unwrap_frontend(dict(state_dict))
    wrapped = (
        []
        if unwrapped.keys() == state_dict.keys()
        else ["its tensors have other names than a detector saves (a published layout, or s3prl's prefix)"]
    )
    if config := record.get("model"):
        facts = {key: value for key, value in record.items() if key != "model"}
        misfit = _misfit(unwrapped, config, path)
        return Identity(path, "detector checkpoint of this package", [], config, dtypes, misfit, record=facts)
    misfits = recognise(state_dict)
    fitting = [name for name, misfit in misfits.items() if not misfit]
    if fitting:
        return Identity(path, "detector checkpoint of the published code", fitting, dtypes=dtypes, notes=wrapped)
    nearest, misfit = next(iter(misfits.items()))
    known = len(unwrapped) - len(misfit.left_over) - len(misfit.shapes)
    if known < _FIT_LEAST * (known + len(misfit)):
        return Identity(path, "state dict of an unknown model", dtypes=dtypes)
    kind = f"detector checkpoint, nearest to the published {nearest}"
    return Identity(path, kind, [nearest], {}, dtypes, misfit, notes=wrapped)


def _misfit(state_dict: Mapping[str, Tensor], config: dict[str, Any], path: Path) -> Misfit:
    """Compare ``state_dict`` with that of the detector that ``path`` describes."""
    with sound_description(str(path)), torch.device("meta"):
        expected = Detector.from_config(config).state_dict()
    return compare(state_dict, expected)


def _dtypes(state_dict: Mapping[str, Tensor]) -> dict[str, int]:
    """Count the numbers of each type, the most frequent type first."""
    numbers: Counter[str] = Counter()
    for tensor in state_dict.values():
        numbers[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return dict(numbers.most_common())
