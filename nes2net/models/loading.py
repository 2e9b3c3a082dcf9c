"""Read and write detectors in files: architecture and weights, with or without tensors that were frozen in training.

In reading order: ``SavedNetwork`` builds, saves and loads a detector. ``fetch_published`` and
``named_architecture`` find a published model by its name. ``recognise`` and ``only_fitting_model``
find the published model that fits a checkpoint of other code.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nes2net.lib.devices import PRECISIONS, check_precision, choose_device, named_precision
from nes2net.lib.errors import InputError, MissingLibrary, check_known, did_you_mean, first_line, nearest, shown
from nes2net.lib.files import is_absent, write_text
from nes2net.lib.options import check_model, name_and_options
from nes2net.lib.registry import PACKAGES_KEY, check_installed, packages_of
from nes2net.lib.terminal import check_one_line, print_note
from nes2net.lib.without_memory import without_memory
from nes2net.lib.yaml_text import set_value
from nes2net.models.card import CARD, model_card, provenance_with_figures
from nes2net.models.checkpoints.classification import POLARITY, WAVEFORMS_KEY, holds_classifier, read_classifier
from nes2net.models.checkpoints.folder import (
    CONFIG,
    NAME_IT,
    WEIGHTS,
    base_digest,
    clear,
    download,
    find_base,
    read_base,
    read_folder,
    upload,
    write_description,
    write_tensors,
)
from nes2net.models.checkpoints.huggingface import holds_other_model, read_weights
from nes2net.models.checkpoints.published_names import layout_of, select_frontend, unwrap_frontend
from nes2net.models.checkpoints.shelf import Shelf
from nes2net.models.checkpoints.state_dict import (
    Misfit,
    check_fit,
    compare,
    load_state_dict,
    metadata_of,
    read_record,
    save_state_dict,
    with_metadata,
)
from nes2net.models.fitting import changed_options, fitted_config, share_of_other_names
from nes2net.models.frontends.adaptation import merge
from nes2net.models.frontends.base import Frontend
from nes2net.models.frontends.sizes import SIZES, pretraining_file
from nes2net.models.network import Network
from nes2net.models.provenance import RECORD_KEY, Provenance
from nes2net.models.published_models import CODES, PUBLISHED, PUBLISHED_MODELS
from nes2net.models.registry import PARTS, create_frontend, named_parts
from nes2net.models.weights_known import TENSORS_KEY, checked_record, holds_weights_of

if TYPE_CHECKING:
    from typing_extensions import Self


_MOST_WRAPPERS = 4  # largest number of prefixes to remove in :func:`without_wrapper`


class SavedNetwork(Network):
    """A network with methods that build it from a description, save it to files and load it from files."""

    @classmethod
    def from_config(cls, config: dict[str, Any] | str, checkpoint: str | Path | None = None) -> Self:
        """Build a detector with random weights, or with a front-end whose weights are read from ``checkpoint``.

        If the front-end is adapted, ``checkpoint`` is recorded as the file of the frozen tensors,
        so that :meth:`save` leaves out these tensors.

        Args:
            config: the architecture, as ``{"frontend": {"name": …, options}, "aggregation": …,
                "backend": …}`` or as the name of a published model, such as
                ``"wav2vec2_Nes2Net_X"``. A part that is given by its name alone has its default
                options.
            checkpoint: the front-end's pre-training file or folder, or the name of a published
                size, such as ``"xlsr_300m"``; the file of a size is downloaded once.

        Raises:
            InputError: if a name or option is unknown, or the checkpoint cannot be used.
        """
        if isinstance(config, str):
            check_known([config], PUBLISHED_MODELS, "there is no published model", "nes2net info")
            config = PUBLISHED_MODELS[config]
        checkpoint = pretraining_file(checkpoint)
        check_model(config)
        frontend_name, frontend_options = name_and_options(config, "frontend", reserved=("checkpoint",))
        detector = cls.with_frontend(create_frontend(frontend_name, checkpoint, **frontend_options), config)
        if checkpoint is not None and detector.frontend.adapted:
            detector._set_base(checkpoint)
        return detector

    @classmethod
    def on_meta(cls, config: dict[str, Any] | str) -> Self | None:
        """Build a detector on the meta device, without memory; the caller then loads its weights from a file.

        Returns None if a part has tensors that checkpoints do not contain. The constructor of such
        a part computes the tensors, but on the meta device the tensors would have no values.
        """
        with without_memory():
            detector = cls.from_config(config)
        return detector if detector._saves_all else None

    @property
    def _saves_all(self) -> bool:
        """Whether the state dict contains every parameter and buffer, so that a file can give all their values."""
        saved_ids = {id(tensor) for tensor in self.state_dict(keep_vars=True).values()}
        return all(id(tensor) in saved_ids for tensor in (*self.parameters(), *self.buffers()))

    def base_names(self) -> set[str]:
        """Return the state-dict names of the frozen tensors of an adapted front-end; empty for other front-ends."""
        return {f"ssl_model.{name}" for name in self.frontend.base}

    def trained_state_dict(self) -> dict[str, Tensor]:
        """Return the state dict without the frozen tensors of an adapted front-end."""
        state_dict = self.state_dict()
        for name in self.base_names():
            del state_dict[name]
        return state_dict

    def base_digest(self) -> str:
        """Compute the SHA-256 of the frozen tensors of an adapted front-end."""
        return base_digest(self._base_tensors())

    def _set_base(self, file: str | Path) -> None:
        """Record that ``file`` holds the frozen tensors of the adapted front-end, so that :meth:`save` omits them."""
        self.base = {"digest": self.base_digest(), "file": str(file)}

    def save_base(self, file: str | Path) -> None:
        """Write the frozen tensors of an adapted front-end to ``file``, so that :meth:`save` omits these tensors."""
        save_state_dict(self._base_tensors(), file)
        self._set_base(file)

    def names_left_out(self, state_dict: Mapping[str, Tensor]) -> set[str]:
        """Find the names of the tensors that ``state_dict`` leaves out because they were frozen.

        If the front-end is adapted, and ``state_dict`` has none of its frozen tensors, the result
        has the names of all frozen tensors. If ``state_dict`` has exactly the tensors of
        aggregation and back-end, as in Spoof-SUPERB's files, the result has the names of all
        tensors of the front-end. In all other cases the result is empty.
        """
        if names := self.base_names():
            return set() if names & state_dict.keys() else names
        tensors = self.state_dict()
        names = set(select_frontend(tensors))
        return names if tensors.keys() - names == state_dict.keys() else set()

    def is_partial(self, state_dict: Mapping[str, Tensor]) -> bool:
        """Whether ``state_dict`` leaves out frozen tensors (:meth:`names_left_out`)."""
        return bool(self.names_left_out(state_dict))

    def expected_tensors(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Select the tensors of this detector that ``state_dict`` must have: all except those in :meth:`names_left_out`."""
        names_left_out = self.names_left_out(state_dict)
        return {name: tensor for name, tensor in self.state_dict().items() if name not in names_left_out}

    def load_base(
        self, record: Any, checkpoint: str | Path, base: str | Path | None = None, remedy: str = NAME_IT
    ) -> None:
        """Load the frozen tensors of the front-end, because ``checkpoint`` leaves out these tensors.

        If the front-end is adapted, ``base`` or ``record`` states the file of the frozen tensors.
        If the front-end is not adapted, ``checkpoint`` has no tensors of the front-end, and
        ``base`` must be the pre-training file.

        Args:
            record: the value of :attr:`base` that the checkpoint states.
            checkpoint: the file or folder of the detector. The file of the frozen tensors may lie
                in the folder of the detector.
            base: as for :meth:`from_pretrained`.
            remedy: the end of error messages, which says what to do.

        Raises:
            InputError: if the tensors are not found, or their digest is not the recorded digest.
        """
        checkpoint = Path(checkpoint)
        frontend = self.config["frontend"]
        base = pretraining_file(base)
        # If the front-end is not adapted, ``checkpoint`` leaves out the whole front-end: read the
        # pre-training file.
        if not self.frontend.adapted:
            if base is None or not base.exists():
                message = (
                    f"{checkpoint} leaves out the front-end, which was frozen: name its pre-training file with `base`"
                )
                if base is not None:
                    message += f"; {base} was not found"
                raise InputError(message)
            tensors = select_frontend(_tensors_of_base(base, frontend))
            check_fit(tensors, select_frontend(self.state_dict()), str(base))
            self.load_state_dict(tensors, strict=False, assign=True)
            return
        # If the front-end is adapted, ``checkpoint`` leaves out only the frozen tensors: find the file that holds them.
        base_path = find_base(record, checkpoint, base, remedy)
        tensors = read_base(
            base_path, self.base_names(), record, checkpoint, lambda path: _tensors_of_base(path, frontend), remedy
        )
        check_fit(tensors, self._base_tensors(), str(base_path))
        self.load_state_dict(tensors, strict=False, assign=True)
        self.base = dict(record)

    def _base_tensors(self) -> dict[str, Tensor]:
        names = self.base_names()
        return {name: tensor for name, tensor in self.state_dict().items() if name in names}

    def merged(self) -> Self:
        """Make a copy in which the trained tensors of an adapted front-end are added to its frozen weights.

        The copy keeps adapters and prompts, because they cannot be added to a weight. :meth:`save`
        writes all tensors of the copy.
        """
        detector = copy.deepcopy(self)
        detector.provenance = provenance_with_figures(
            self
        )  # use ``self``, because the copy will have another fingerprint
        merge(detector.frontend)
        detector.base = None
        return detector

    def whole(self) -> Self:
        """Return a detector that needs no file of frozen tensors: a merged copy if the front-end is adapted."""
        return self.merged() if self.frontend.adapted else self

    def load_published(self, state_dict: Mapping[str, Tensor], path: str) -> None:
        """Load a whole-model state dict, which must have the names and shapes of the detector's tensors.

        If ``state_dict`` leaves out frozen tensors, this detector keeps its own frozen tensors.

        Args:
            path: file of the state dict, for messages.

        Raises:
            InputError: if ``state_dict`` does not fit; the message says which names and shapes
                differ.
        """
        state_dict = unwrap_frontend(state_dict)
        partial = self.is_partial(state_dict)
        check_fit(state_dict, self.expected_tensors(state_dict), path)
        self.load_state_dict(state_dict, strict=not partial)

    def save(self, path: str | Path, **record: Any) -> None:
        """Write the detector as a state dict with the published names, or as a folder with a model card.

        The folder holds safetensors, YAML and the model card. If :attr:`base` is set, the frozen
        tensors are left out. The provenance of this detector is written, too, but without the
        folders of the corpora.

        Args:
            path: a file that ends in ``.pth`` or ``.pt``; any other path is a folder.
            record: plain data to keep beside the tensors and the architecture.
        """
        path = Path(path)
        provenance = provenance_with_figures(self)
        saved_facts = replace(provenance.start(places=False), training=provenance.training, figures=provenance.figures)
        record = {**saved_facts.to_dict(), **record}
        if packages := packages_of(named_parts(self.config)) | record.pop(PACKAGES_KEY, {}):
            record[PACKAGES_KEY] = packages
        state_dict = self.state_dict()
        if self.base is not None:
            state_dict = self.trained_state_dict()
            record["base"] = self.base
        if RECORD_KEY in record:
            record[TENSORS_KEY] = base_digest(state_dict)
        if path.suffix in (".pth", ".pt"):
            save_state_dict(state_dict, path, model=self.config, **record)
        else:
            clear(path)
            write_tensors(state_dict, path / WEIGHTS)
            self.write_description(path, provenance, record)

    def write_description(self, folder: Path, provenance: Provenance, record: dict[str, Any] | None = None) -> None:
        """Write architecture, ``record`` and model card into ``folder``, but not the weights.

        The card shows ``provenance``. If this detector's checkpoint has a card beside it, the new
        card keeps the licence and the user's text of the old card.
        """
        earlier = None
        if self.source:
            source = Path(self.source)
            earlier = (source if source.is_dir() else source.parent) / CARD
        write_text(folder / CARD, model_card(self.config, provenance, earlier))
        write_description(folder, self.config, record)

    def push_to_hub(self, name: str, *, private: bool = False, token: str | None = None) -> str:
        """Save the detector as a folder, upload it to the Hugging Face hub, and return the address of the repository.

        The trained tensors of an adapted front-end are merged first, so that the folder needs no
        other file.

        Args:
            name: ``owner/name`` on the hub.
            private: if the repository does not exist yet, make it private.
            token: access token of the hub; None for the token of ``hf auth login``.

        Raises:
            InputError: if the hub refuses the upload or cannot be reached.
        """
        with TemporaryDirectory() as folder:
            self.whole().save(folder)
            return upload(folder, name, private, token)

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str | Path,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        config: dict[str, Any] | str | None = None,
        base: str | Path | None = None,
    ) -> Self:
        """Load a trained detector, in eval mode; the front-end's pre-training file is not needed.

        On the CPU the weights stay memory-mapped: do not write to a checkpoint while its detector
        exists.

        Args:
            path_or_name: a ``.pth`` whole-model state dict; a folder written by :meth:`save`; the
                name of a published model that can be downloaded (:func:`nes2net.list_models`); or
                ``owner/name`` on the Hugging Face hub. An existing file or folder of that name
                takes precedence.
            device: ``"auto"`` for CUDA if there is a GPU, else the CPU.
            dtype: the precision of scores, see :meth:`set_precision`. ``"auto"`` keeps the
                precision of the checkpoint. If the tensors have several types, the precision is the
                type to which PyTorch promotes all of them.
            config: the architecture, for a checkpoint that does not contain its architecture, such
                as a file of the published code. The architecture has the form of
                :meth:`from_config`. Options may follow a name, as in
                ``"Nes2Net-X,backend.dilation=1"``. Options that determine shapes, such as the
                number of logits, are read from the checkpoint, and a printed note lists these
                options. With None, the architecture is taken from the published model whose tensors
                have the same names and shapes. ``"bonafide=NAME"`` says which class of a Hugging
                Face classification folder is bona fide, if the names of the classes do not show it.
            base: the file or folder with the frozen tensors that the checkpoint leaves out: a
                pre-training file, the name of a size (``"xlsr_300m"``), a detector, or the
                ``base.pth`` of a run. With None, the checkpoint says which file is read. If this
                file does not exist, a file of the same name in the folder of the checkpoint is
                read.

        Raises:
            InputError: if there is no such checkpoint, if it is damaged or does not fit, or if its
                base is not found or does not have the recorded digest.
        """
        # Check precision and device before anything is downloaded.
        precision = named_precision(dtype) if dtype not in ("auto", "fastest") else None
        target_device = choose_device(device)
        if precision is not None:
            check_precision(precision, target_device)
        # Find the file or folder of the checkpoint. A published model, or a repository on the hub,
        # is downloaded.
        path = Path(path_or_name)
        fetched_name = ""
        if is_absent(path) and (name := str(path_or_name)) in PUBLISHED_MODELS:
            path = fetch_published(name)
            config = config or name
            fetched_name = name
        elif is_absent(path):
            if "/" not in name and (suggestion := nearest(name, PUBLISHED_MODELS)):
                raise InputError(f"checkpoint {name} not found{suggestion}")
            path = download(name)
        if path.suffix == ".onnx":
            raise InputError(
                f"{path} is a detector exported to ONNX, which only scores, by nes2net score, predict or serve, or in "
                "Python by nes2net.models.onnx_detector.OnnxDetector: name the checkpoint that it was exported from"
            )
        # Read the tensors and the record: from a Hugging Face folder, from a detector folder, or from a file.
        state_dict: Mapping[str, Tensor]
        record: dict[str, Any]
        is_foreign_folder = path.is_dir() and is_absent(path / CONFIG)
        if is_foreign_folder and holds_classifier(path):
            bonafide = None
            if isinstance(config, str) and config.startswith(POLARITY):
                bonafide = config.removeprefix(POLARITY)
                config = None
            state_dict, record = read_classifier(path, bonafide)
            print_note(record[WAVEFORMS_KEY])
        elif is_foreign_folder and holds_other_model(path):
            state_dict = read_weights(path)
            record = {}
        else:
            state_dict, record = read_checkpoint(path)
        architecture = record.pop("model", None)
        base_record = record.pop("base", None)
        provenance = Provenance.read(record)
        # Find the architecture: in the record, from the names and shapes of the tensors, or by the name in ``config``.
        published_name = ""
        if architecture is None and config is None:
            path_note = f" (it has no {CONFIG})" if path.is_dir() else ""
            state_dict = without_wrapper(state_dict, str(path_or_name))
            published_name, config = only_fitting_model(state_dict, str(path_or_name), path_note)
        elif isinstance(config, str):
            published_name = config.partition(",")[0]
            config = named_architecture(config)
        if architecture is None:
            state_dict = without_wrapper(state_dict, str(path_or_name), config)
        # Record the published model. Unless the weights are known to be the weights of this model, record only the
        # architecture.
        if architecture is None and fetched_name:  # fetch_published() has checked the digest of the file
            provenance = replace(provenance, published_model=fetched_name)
        elif architecture is None and published_name in PUBLISHED_MODELS:
            provenance = replace(provenance, published_model=published_name)
            if not holds_weights_of(published_name, state_dict, path, str(path_or_name)):
                provenance = provenance.without_weights()
        state_dict = unwrap_frontend(state_dict)
        assert isinstance(config, dict) or architecture is not None  # tells mypy that an architecture is given
        if architecture is None and config is not None:
            architecture = _with_fitting_options(state_dict, config, str(path_or_name), published_name)
        check_installed(str(path_or_name), provenance.facts.get(PACKAGES_KEY), PARTS)
        # Build the detector on the meta device, check that the tensors fit, and load them.
        with build_errors_as_input_errors(str(path_or_name)), without_memory():
            empty = cls.from_config(architecture)
        partial = empty.is_partial(state_dict)
        if base is not None and not partial:
            raise InputError(f"{path_or_name} holds all tensors of its detector: leave `base` out")
        # Check the tensors before a detector is built in memory: a small file could describe a model that fills the
        # memory.
        check_fit(state_dict, empty.expected_tensors(state_dict), str(path_or_name))
        # Tensors that no file contains need values, and so a detector that is built on the CPU.
        detector = empty if empty._saves_all else cls.from_config(architecture)
        if partial:
            detector.load_base(base_record, path, base)
        detector.load_state_dict(state_dict, strict=not partial, assign=detector is empty)
        detector.provenance = provenance
        detector.source = str(path_or_name)
        check_one_line(detector.classes, f"a class of {path_or_name}")
        # Move the detector to its device, and convert it to its precision.
        types = {tensor.dtype for tensor in detector.state_dict().values() if tensor.is_floating_point()}
        if dtype == "fastest":
            return detector.to(target_device).set_precision(dtype).eval()
        if precision is None:
            precision = named_precision(reduce(torch.promote_types, types))
        return detector.to(target_device, PRECISIONS[precision]).set_precision(precision).eval()


def read_checkpoint(path: Path) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
    """Read a detector's file or folder: its state dict, and its record, whose key ``"model"`` has the architecture.

    Raises:
        InputError: if the file or folder is missing or damaged.
    """
    if path.is_dir():
        state_dict, record = read_folder(path)
    else:
        state_dict = load_state_dict(path)
        record = read_record(state_dict)
    return state_dict, checked_record(record, state_dict)


# Frozen tensors of adapted detectors


def _tensors_of_base(path: Path, frontend: dict[str, Any]) -> dict[str, Tensor]:
    """Read the tensors of a front-end from ``path``; the keys are the published names.

    If ``path`` is a detector, the result also has the tensors of aggregation and back-end.

    Args:
        path: a detector, the ``base.pth`` of a run, or a pre-training file.
        frontend: name and options of the front-end.
    """
    state_dict: Mapping[str, Tensor] = {}
    is_detector = not is_absent(path / CONFIG)
    if is_detector:
        state_dict = read_folder(path)[0]
    elif path.is_file():
        with suppress(InputError):  # other kinds of pre-training files are read below, by create_frontend()
            state_dict = load_state_dict(path)
            is_detector = "model" in read_record(state_dict)
    state_dict = unwrap_frontend(state_dict)
    if is_detector or any(name.startswith("ssl_model.") for name in state_dict):
        return dict(state_dict)
    options = {key: value for key, value in frontend.items() if key not in ("name", "adapt")}
    tensors = create_frontend(frontend["name"], path, **options).state_dict()
    return {f"ssl_model.{name}": tensor for name, tensor in tensors.items()}


# Published models by name


def fetch_published(name: str) -> Path:
    """Return the path of the published model ``name`` on this machine; the first call downloads the file.

    Raises:
        InputError: if the file must be downloaded by hand, or its digest is not the published
            digest.
        Unfinished: if the connection breaks.
    """
    model = PUBLISHED[name]
    if model.file is None:
        raise InputError(
            f"{name} has no address from which a program can fetch it: get its file by hand "
            f"({model.by_hand or model.source}), and name the file with `model`, and `config={name}` if it is not recognised"
        )
    return Shelf(name, model.file, model.licence).take()


def named_architecture(name: str) -> dict[str, Any]:
    """Return the architecture of a published model, with changed options if ``name`` contains options.

    Args:
        name: the name of a published model. Options of the form ``,part.option=value`` may follow
            the name.

    Raises:
        InputError: if there is no such model, or an option is not of the form ``part.option=value``.

    >>> named_architecture("AASIST,backend.num_logits=1")["backend"]
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
            raise InputError(f"option {shown(option)} of the architecture is not of the form part.option=value")
        set_value(described, ["model", *keys.split(".")], text, None, f"option {shown(option)}: the value")
    return described["model"]


def split_options(name: str) -> list[str]:
    """Split ``NAME,backend.option=value,…`` into the list of the name and its options.

    A comma begins an option only if the name of a part and a dot follow. Any other comma belongs to
    a value.

    >>> split_options("AASIST,backend.num_logits=1")
    ['AASIST', 'backend.num_logits=1']
    """
    return re.split(r",\s*(?=(?:frontend|aggregation|backend)\.)", name)


def _with_fitting_options(
    state_dict: Mapping[str, Tensor], config: dict[str, Any], path: str, published_name: str
) -> dict[str, Any]:
    """Change options of ``config`` so that it fits the shapes of ``state_dict``; print a note with the changed options.

    Args:
        path: name of the checkpoint, for messages.
        published_name: the published model that ``config`` comes from; empty if there is none.

    Returns:
        The changed architecture, or ``config`` itself if no options fit.
    """
    with build_errors_as_input_errors(path):
        check_model(config)
        frontend = _meta_frontend(json.dumps(config["frontend"]))
    fitted = fitted_config(state_dict, frontend, config)
    if fitted is None:  # the caller then calls check_fit(), which raises an error with the differences
        return config
    if changes := changed_options(config, fitted):
        example = f"{published_name or 'NAME'},backend.OPTION=VALUE"
        print_note(
            f"{path}: read from its shapes: {', '.join(changes)}. Options that change no shape are as in "
            f"{published_name or 'the architecture that was named'}; `config={example}` sets one"
        )
    return fitted


@contextmanager
def build_errors_as_input_errors(path: str) -> Iterator[None]:
    """Convert errors in the ``with`` block to :class:`InputError`; the block builds the model described in ``path``.

    :class:`MissingLibrary` is not converted, because the file is not the cause.
    """
    try:
        yield
    except InputError as error:
        if not isinstance(error, MissingLibrary):
            error.concern(f"{path} describes a model that cannot be built:")
        raise
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, ArithmeticError, RuntimeError) as error:
        raise InputError(
            f"{path} describes a model that cannot be built ({type(error).__name__}: {first_line(error)})"
        ) from error


def without_wrapper(
    state_dict: Mapping[str, Tensor], path: str, config: dict[str, Any] | None = None
) -> Mapping[str, Tensor]:
    """Remove a prefix that all names share, such as ``net.``, which a module around the detector has added.

    Up to four such prefixes are removed, as in ``module.net.``. A state dict in the layout of
    published code other than Nes2Net's stays unchanged.

    Args:
        path: name of the checkpoint, for messages.
        config: architecture of the detector. Prefixes are removed only until one of the names is
            the name of a tensor of this architecture. None if the architecture is not known; every
            shared prefix is then removed, because the names of a published model share no prefix.
    """
    for _ in range(_MOST_WRAPPERS):
        prefix = next(iter(state_dict)).partition(".")[0] + "."
        if layout_of(state_dict) is not None or not all(name.startswith(prefix) for name in state_dict):
            break
        if config is not None:
            with build_errors_as_input_errors(path):
                check_model(config)
                tensors = _published_tensors(json.dumps(config), True)
            if any(name in tensors for name in state_dict):
                break
        renamed = {name.removeprefix(prefix): tensor for name, tensor in state_dict.items()}
        state_dict = with_metadata(renamed, metadata_of(state_dict))
    return state_dict


# Checkpoints of other code


def recognise(state_dict: Mapping[str, Tensor], pretrained: bool = True) -> dict[str, Misfit]:
    """Find how a whole-model state dict differs from each published model.

    Args:
        pretrained: whether to compare also with models whose front-end is pre-trained.

    Returns:
        Name of the published model → differences; the model with the fewest differences comes
        first. Each published code writes files in its own layout. A model is left out if its files
        have another layout than ``state_dict``.
    """
    layout = layout_of(state_dict)
    state_dict = unwrap_frontend(state_dict)
    code = layout.code if layout else ""
    has_frontend = bool(select_frontend(state_dict))  # some files leave out a frozen front-end
    misfits = {
        name: compare(state_dict, _published_tensors(json.dumps(config), has_frontend))
        for name, config in PUBLISHED_MODELS.items()
        if CODES.get(name, "") == code and (pretrained or name_and_options(config, "frontend")[0] not in SIZES)
    }
    return dict(sorted(misfits.items(), key=lambda item: len(item[1])))


def leaves_out_frontend(state_dict: Mapping[str, Tensor], name: str) -> bool:
    """Whether ``state_dict``, which fits the published model ``name``, leaves out the front-end.

    All tensors in ``state_dict`` fit the model, so the front-end is missing if there are fewer
    tensors than in the model.
    """
    return len(state_dict) < len(_published_tensors(json.dumps(PUBLISHED_MODELS[name]), True))


@cache
def _published_tensors(config: str, frontend: bool) -> dict[str, Tensor]:
    """Build the architecture in the JSON text ``config`` on the meta device: name → tensor. The result is cached.

    Args:
        frontend: whether the result includes the tensors of the front-end.
    """
    model = json.loads(config)
    with without_memory():
        detector = Network.with_frontend(_meta_frontend(json.dumps(model["frontend"])), model)
    tensors = detector.state_dict()
    names_left_out = set() if frontend else set(select_frontend(tensors))
    return {name: tensor for name, tensor in tensors.items() if name not in names_left_out}


@cache
def _meta_frontend(config: str) -> Frontend:
    """Build the front-end in the JSON text ``config`` on the meta device.

    The result is cached, because many published models have the same front-end.
    """
    name, options = name_and_options({"frontend": json.loads(config)}, "frontend")
    with without_memory():
        return create_frontend(name, **options)


def only_fitting_model(state_dict: Mapping[str, Tensor], path: str, path_note: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the architecture of the only published model that fits a checkpoint.

    If no published model has the shapes of the checkpoint, options of published models are changed
    until the shapes match. The returned architecture has the changed options.

    Args:
        path: name of the checkpoint, for messages.
        path_note: text that follows ``path`` in the error message.

    Raises:
        InputError: if no published model fits, or several models fit.
    """
    # First try the few models without a pre-trained front-end. The models with a pre-trained
    # front-end need the transformers library, and importing that library takes seconds. A file that
    # fits a model without a pre-trained front-end does not fit any other model.
    misfits = recognise(state_dict, pretrained=False)
    fitting = fitting_models(state_dict, misfits)
    if not fitting:
        misfits = recognise(state_dict)
        fitting = fitting_models(state_dict, misfits)
    if len(fitting) == 1:
        return next(iter(fitting.items()))
    if fitting:
        raise InputError(
            f"{path} fits {' and '.join(fitting)}, whose weights have the same names and shapes: choose one "
            "with `config`"
        )
    nearest_name, misfit = next(iter(misfits.items()))
    raise InputError(
        f"{path} fits no published model{path_note}; it differs from the nearest, {nearest_name}, in {misfit}: name its "
        f"architecture with `config`, such as `config={nearest_name},backend.OPTION=VALUE`"
    )


def fitting_models(state_dict: Mapping[str, Tensor], misfits: Mapping[str, Misfit]) -> dict[str, dict[str, Any]]:
    """Find the published models that fit ``state_dict``: name → architecture.

    If no model fits, options of the models are changed until the shapes match. In this case, the
    result has the models that need the fewest changes, each with its changed options. The result is
    empty if no change helps.

    Args:
        misfits: the result of :func:`recognise`.
    """
    # Return the models that fit without changes, if there are any.
    if fitting := [name for name, misfit in misfits.items() if not misfit]:
        return {name: PUBLISHED_MODELS[name] for name in fitting}
    # Otherwise, find the models whose front-end fits. Select those that share the most names with
    # the checkpoint, and change options of the selected models.
    state_dict = unwrap_frontend(state_dict)
    has_frontend = bool(select_frontend(state_dict))
    shares = {}  # name of a model that may fit with other options → share of names that do not match
    for name, misfit in misfits.items():
        different = [*misfit.missing, *misfit.left_over, *misfit.shapes, *misfit.types]
        if not any(text.startswith("ssl_model.model.") for text in different):
            expected = _published_tensors(json.dumps(PUBLISHED_MODELS[name]), has_frontend)
            shares[name] = share_of_other_names(state_dict, expected)
    fitted: dict[str, dict[str, Any]] = {}
    for name in [name for name, share in shares.items() if share == min(shares.values())]:
        config = PUBLISHED_MODELS[name]
        with_options = fitted_config(state_dict, _meta_frontend(json.dumps(config["frontend"])), config)
        if with_options is not None:
            fitted[name] = with_options
    # Keep the models that need the fewest changes.
    changes = {name: len(changed_options(PUBLISHED_MODELS[name], config)) for name, config in fitted.items()}
    return {name: config for name, config in fitted.items() if changes[name] == min(changes.values())}
