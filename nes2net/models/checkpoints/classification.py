"""Read and write the classification heads of Hugging Face folders of wav2vec 2.0, HuBERT, WavLM and data2vec.

``Wav2Vec2ForSequenceClassification`` and its counterparts have the head ``mean_linear`` with a
projection. Both orders of bona fide and spoof are common, so the names of the classes must tell
which is bona fide. ``read_classifier`` reads a folder as a detector, ``library_head`` translates a
detector to such a head.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import torch

from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.lib.errors import InputError, check_known, join_names, short_repr
from nes2net.lib.output.sheet import Facts
from nes2net.lib.parts.options import Options
from nes2net.lib.storage.files import is_absent
from nes2net.models.checkpoints.huggingface import CONFIG_FILE, check_only, read_configuration, read_weights
from nes2net.models.checkpoints.state_dict import StateDict
from nes2net.models.registry import create_frontend

if TYPE_CHECKING:
    from nes2net.models.network import Network

#: Class of the transformers library → name of the front-end that has the same encoder.
ARCHITECTURES = {
    "Wav2Vec2ForSequenceClassification": "wav2vec2",
    "HubertForSequenceClassification": "hubert",
    "WavLMForSequenceClassification": "wavlm",
    "Data2VecAudioForSequenceClassification": "data2vec",
}
#: Beginning of ``bonafide=NAME``, which a user may write in place of an architecture to state which class is bona fide.
BONAFIDE_OPTION = "bonafide="
#: Key in the description of a detector from a folder: name of a class → its index there, bona fide
#: last.
NAMES_KEY = "class_numbers"
#: Key in this description. The value says whether waveforms are normalised, and why.
WAVEFORMS_KEY = "waveforms"
#: The file that describes a detector in a folder of this package.
DETECTOR_FILE = "config.yaml"
# Key of a folder's configuration → the only value that is supported.
_SUPPORTED = {"problem_type": "single_label_classification", "add_adapter": False, "tie_last_hidden_states": True}
_LAYER_WEIGHTS = "layer_weights"
# The library's name of a tensor → the name in a detector, for the weights of the layers, the
# projection and the last layer.
_TENSORS = {
    _LAYER_WEIGHTS: "ssl_model.weight_hidd",
    "projector.weight": "projector.weight",
    "projector.bias": "projector.bias",
    "classifier.weight": "proj_fc.weight",
    "classifier.bias": "proj_fc.bias",
}
_BONAFIDE_WORDS = frozenset(("bonafide", "genuine", "real", "human", "authentic", "natural", "original"))
_SPOOF_WORDS = frozenset(
    "spoof spoofed fake deepfake synthetic synthesized synthesised generated ai tts cloned clone artificial vocoded".split()
)
_NEGATIONS = frozenset(("not", "non", "no", "un"))
# Pattern of a word in a label. A capital letter begins a new word: "AIVoice" has the words "AI" and
# "Voice".
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def holds_classifier(folder: Path) -> bool:
    """Whether ``folder`` is a Hugging Face folder of a model whose class is in :data:`ARCHITECTURES`."""
    return not is_absent(folder / CONFIG_FILE) and _frontend_of_class(read_configuration(folder)) is not None


def describe_other_folder(folder: Path) -> str:
    """Say what a folder that is not a detector holds, and what to do."""
    checkpoints = sorted((path.parent.name for path in folder.glob(f"checkpoint-*/{CONFIG_FILE}")), key=len)
    if checkpoints:
        return f"it holds the output of a Trainer: name one of {', '.join(checkpoints)} in it"
    if not is_absent(folder / CONFIG_FILE):
        classes = read_configuration(folder).get("architectures")
        return f"it holds a model of the class {short_repr(classes)}, and only {', '.join(ARCHITECTURES)} can be read"
    return f"it has no {DETECTOR_FILE} (to use a run folder, name one of its epoch_N.pth)"


def read_classifier(folder: Path, bonafide: str | None = None) -> tuple[StateDict, Facts]:
    """Read a Hugging Face folder with a classification head as a detector.

    Args:
        bonafide: name of the bona fide class, unless the names of the classes tell.

    Returns:
        The state dict under this toolkit's names, and a description with the architecture
        (``"model"``), and names and indices of the classes (:data:`NAMES_KEY`).

    Raises:
        InputError: if the folder is damaged, its head is not supported, or the names of its classes
            do not tell which is bona fide, or contradict ``bonafide``.
    """
    config = read_configuration(folder)
    name = _frontend_of_class(config)
    assert name is not None, "call holds_classifier() first"
    check_only(folder / CONFIG_FILE, config, _SUPPORTED)
    labels = class_labels(folder, config)
    order = order_of_classes(labels, folder, bonafide)
    frontend = create_frontend(name, folder)
    state_dict = {f"ssl_model.{key}": tensor for key, tensor in frontend.state_dict().items()}
    weights = read_weights(folder)
    aggregation = "weighted_sum" if config.get("use_weighted_layer_sum") else "last"
    for library_name, own_name in _TENSORS.items():
        if library_name != _LAYER_WEIGHTS or aggregation == "weighted_sum":
            if library_name not in weights:
                raise InputError(f"{folder} has no tensor {library_name}, which its class has: download it again")
            state_dict[own_name] = weights[library_name]
    for library_name in ("classifier.weight", "classifier.bias"):
        # Rows of the last layer are the classes; a detector has bona fide last.
        rows = weights[library_name]
        if rows.shape[:1] != (len(labels),):
            raise InputError(
                f"{folder}: {library_name} has the shape {tuple(rows.shape)}, and id2label has {len(labels)} classes: "
                "correct id2label"
            )
        state_dict[_TENSORS[library_name]] = rows[order]
    backend: dict[str, Any] = {
        "name": "mean_linear",
        "feature_dim": frontend.out_dim,
        "projection_dim": state_dict["projector.bias"].numel(),  # without dimensions, it fits no projection
        "num_logits": len(labels),
        "score_rule": "difference",
    }
    if len(labels) > 2:
        backend["classes"] = [*(labels[number] for number in order[:-1]), BONAFIDE]
    model = {"frontend": frontend.config, "aggregation": aggregation, "backend": backend}
    names = {labels[number]: number for number in order}
    return state_dict, {"model": model, NAMES_KEY: names, WAVEFORMS_KEY: frontend.note}


def library_head(detector: Network) -> tuple[StateDict, Facts]:
    """Translate aggregation and back-end to a classification head of the transformers library.

    Args:
        detector: a detector with wav2vec 2.0, HuBERT or WavLM. Names and order of classes are those
            of the folder from which it was read, or else of
            :attr:`~nes2net.models.network.Network.classes`.

    Returns:
        - The tensors under the library's names.
        - The options in the library's configuration; ``label2id`` has bona fide last.

        Both are empty if the library would compute other logits: with repeated frames or a
        pre-emphasis; or with another back-end than ``mean_linear``, on the last layer or a weighted
        sum of layers.
    """
    frontend, aggregation, backend = detector.config.values()
    state_dict = detector.state_dict()
    tensors = {name: state_dict[own_name] for name, own_name in _TENSORS.items() if own_name in state_dict}
    is_weighted = _LAYER_WEIGHTS in tensors
    if backend["name"] == "mean_linear" and backend["projection_dim"] is None:
        # The library always projects: by the identity, which changes no bit.
        width = detector.frontend.out_dim
        tensors |= {"projector.weight": torch.eye(width), "projector.bias": torch.zeros(width)}
    network = aggregation["name"], backend["name"], backend.get("pool")
    if (
        # Of the tensors, only the layer weights may be missing.
        network != ("weighted_sum" if is_weighted else "last", "mean_linear", "mean")
        or len(tensors) != len(_TENSORS) - 1 + is_weighted
        or len(tensors["classifier.bias"]) != len(detector.classes)
        or frontend.keys() & {"repeat_last", "pre_emphasis"}
    ):
        return {}, {}
    # ``numbers``: name of each class, in the detector's order → its index in the folder. ``rows``: that index → row of
    # the detector's last layer.
    numbers = detector.provenance.facts.get(NAMES_KEY)
    rows = list(range(len(detector.classes)))
    if not isinstance(numbers, dict) or sorted(numbers.values(), key=str) != sorted(rows, key=str):
        numbers = {name: number for number, name in enumerate(detector.classes)}
    rows.sort(key=list(numbers.values()).__getitem__)  # by index in the folder
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = tensors[name][rows]
    label2id = {str(name): rows.index(row) for row, name in enumerate(numbers)}
    options = {
        "label2id": label2id,
        "id2label": {number: name for name, number in label2id.items()},
        "use_weighted_layer_sum": is_weighted,
        "tie_last_hidden_states": True,  # the last state is summed after the final norm, as in a detector
        "classifier_proj_size": len(tensors["projector.bias"]),
    }
    return tensors, options


def _frontend_of_class(config: Options) -> str | None:
    architectures = config.get("architectures")
    if isinstance(architectures, list) and len(architectures) == 1 and isinstance(architectures[0], str):
        return ARCHITECTURES.get(architectures[0])
    return None


def class_labels(folder: Path, config: Options) -> list[str]:
    """Read the names of the classes, in the order of the logits, from ``id2label``, else ``LABEL_0`` and ``LABEL_1``.

    Raises:
        InputError: if there are fewer than two names, equal names, missing indices, or a
            contradicting ``label2id``.
    """
    names = config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})  # default of the transformers library
    texts = []
    if isinstance(names, dict):
        texts = [label for number in range(len(names)) if isinstance(label := names.get(str(number)), str)]
    if len(texts) < 2 or len(set(texts)) != len(names):
        raise InputError(
            f"{folder / CONFIG_FILE}: id2label must name two or more classes, 0, 1, …, differently, not {short_repr(names)}"
        )
    numbers = config.get("label2id")
    # transformers writes this default if a model sets only id2label.
    is_default = isinstance(numbers, dict) and all(re.fullmatch(r"LABEL_\d+", name) for name in numbers)
    if isinstance(numbers, dict) and not is_default and {str(value): key for key, value in numbers.items()} != names:
        raise InputError(
            f"{folder / CONFIG_FILE}: id2label and label2id contradict each other, correct one of them: {short_repr(names)}, "
            f"{short_repr(numbers)}"
        )
    return texts


def bonafide_or_spoof(label: str) -> str | None:
    """Decide whether the ``label`` of a class means ``"bonafide"``, ``"spoof"``, or an unknown class (None).

    >>> [bonafide_or_spoof(name) for name in ("AIVoice", "bona-fide", "unreal", "LABEL_1", "not real")]
    ['spoof', 'bonafide', None, None, None]
    """
    words = [word.lower() for word in _WORD.findall(label)]
    pairs = {f"{first}{second}" for first, second in pairwise(words)}
    means_bonafide = bool((pairs | set(words)) & _BONAFIDE_WORDS)
    means_spoof = bool(set(words) & _SPOOF_WORDS)
    if means_bonafide == means_spoof or _NEGATIONS & set(words):
        return None
    return BONAFIDE if means_bonafide else SPOOF


def order_of_classes(labels: Sequence[str], folder: Path, bonafide: str | None = None) -> list[int]:
    """Return the indices into ``labels``, bona fide last.

    Args:
        bonafide: name of the bona fide class, unless ``labels`` tell.

    Raises:
        InputError: if ``bonafide`` is not among ``labels``, or contradicts a name; without it,
            unless exactly one name means bona fide, and all others spoof.
    """
    meanings = [bonafide_or_spoof(label) for label in labels]
    # If the caller gives the bona fide class, all other classes are spoof.
    if bonafide is not None:
        check_known([bonafide], labels, f"{folder / CONFIG_FILE} has no class")
        stated: list[str | None] = [BONAFIDE if label == bonafide else SPOOF for label in labels]
        if any(meaning not in (None, expected) for meaning, expected in zip(meanings, stated)):
            raise InputError(
                f"{folder / CONFIG_FILE}: the classes are called {join_names(labels)}, which contradicts that {bonafide} is bona "
                "fide: remove `config`"
            )
        meanings = stated
    numbers = [number for number, meaning in enumerate(meanings) if meaning == BONAFIDE]
    if None in meanings or len(numbers) != 1:
        choices = [f"`config={quote(BONAFIDE_OPTION + label)}`" for label in (labels[-1], labels[0])]
        raise InputError(
            f"{folder / CONFIG_FILE}: the classes are called {join_names(labels)}, which does not tell which one is bona fide: "
            f"find out, name it with {' or '.join(choices)}, and check the scores on labelled recordings"
        )
    return [*(number for number in range(len(labels)) if number != numbers[0]), numbers[0]]
