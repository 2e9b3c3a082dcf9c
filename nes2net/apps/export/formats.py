"""Export a detector in one of several formats, which :func:`export` describes."""

from __future__ import annotations

from pathlib import Path

from nes2net.apps.export.space import write_space
from nes2net.detector import Detector
from nes2net.lib.errors import InputError, check_known
from nes2net.lib.output.progress import Work
from nes2net.lib.output.terminal import print_note
from nes2net.lib.storage.files import AnyPath, write_json
from nes2net.models.card import provenance_with_figures
from nes2net.models.checkpoints.classification import NAMES_KEY, library_head
from nes2net.models.checkpoints.fairseq import to_fairseq
from nes2net.models.checkpoints.folder import HEAD, WEIGHTS, replacing_detector, write_tensors
from nes2net.models.checkpoints.huggingface import PROCESSOR_FILE, library_config
from nes2net.models.frontends.ssl import SSLFrontend
from nes2net.models.onnx_detector import EXPORT_PACKAGES, require
from nes2net.scoring.kernel import check_takes_audio_alone

FORMATS = ("pth", "safetensors", "merged", "hf", "onnx", "space")
_SUFFIXES = {"pth": (".pth", ".pt"), "onnx": (".onnx",)}  # format that is written as one file → its suffixes


def check_export(to: str, out: AnyPath) -> None:
    """Check the arguments of an export before a large detector is loaded.

    Raises:
        InputError: if the suffix of ``out`` does not suit the format, or if a package is missing.
    """
    out = Path(out)
    if to in _SUFFIXES:
        if out.suffix not in _SUFFIXES[to]:
            raise InputError(f"`to={to}` writes a file: choose a name that ends in {_SUFFIXES[to][0]}, not {out.name}")
    elif to != "merged" and (out.is_file() or out.suffix in (".pth", ".pt", ".onnx", ".safetensors")):
        raise InputError(f"`to={to}` writes a folder: choose the name of a folder, not {out}")
    if to == "onnx":
        require(*EXPORT_PACKAGES)


def export(
    detector: Detector,
    to: str,
    out: AnyPath,
    *,
    quantize: str | None = None,
    calibration: AnyPath | None = None,
) -> Path:
    """Write ``detector`` to ``out`` in one of the :data:`FORMATS` and return the path.

    - ``pth``: a bare state dict with the tensor names of the published code, which loads it
      strictly.
    - ``safetensors``: a folder with weights, architecture and a model card.
    - ``merged``: an adapted detector as a file or folder of this package, with its record.
    - ``hf``: a folder with two files of weights: the front-end, for ``AutoModel.from_pretrained``
      of transformers, and the rest. If transformers has a class for the whole detector, the first
      file also has the head, for ``AutoModelForAudioClassification``
      (:func:`nes2net.models.checkpoints.classification.library_head`).
    - ``onnx``: a file, see :func:`nes2net.apps.export.onnx.export_onnx`.
    - ``space``: a folder, see :func:`nes2net.apps.export.space.write_space`.

    :meth:`Detector.from_pretrained` reads ``pth``, ``safetensors``, ``merged`` and ``hf``. A
    detector with an adapted front-end is merged first (:meth:`Detector.merged`).

    Raises:
        InputError: if the format is unknown, if this detector cannot be written or quantised in the
            format, or if the suffix of ``out`` does not suit the format.
    """
    out = Path(out)
    check_known([to], FORMATS, "there is no export format")
    check_export(to, out)
    if to in ("onnx", "space"):
        check_takes_audio_alone(detector)
        detector.check_score()
    adapt = detector.frontend.config.get("adapt", {"kind": ""})
    # Adapters and prompts cannot be merged into weights.
    if to == "merged" and detector.base is None and adapt["kind"] in ("", "adapter", "prompt"):
        raise InputError(
            "this detector holds all its tensors, so there is nothing to merge: use `to=pth` or `to=safetensors`"
        )
    detector = detector.whole()
    with Work(f"writing {out}"):
        if to == "onnx":
            from nes2net.apps.export.onnx import export_onnx  # optional: the extra onnx

            export_onnx(detector, out, quantize=quantize)
        elif to == "space":
            write_space(detector, out, calibration)
        elif to == "hf":
            _export_for_transformers(detector, out)
        else:
            facts = detector.provenance.to_dict() if to == "merged" else {}
            detector.save(out, **facts)
    return out


def _export_for_transformers(detector: Detector, out: Path) -> None:
    frontend = detector.frontend
    if not isinstance(frontend, SSLFrontend):
        raise InputError(
            f"the front-end '{frontend.config['name']}' is not written as a folder of the transformers library: use "
            "`to=safetensors`"
        )
    if frontend.engine == "fairseq":
        raise InputError("the front-end runs on the engine fairseq: load the detector with engine=transformers first")
    if frontend.adapted:
        kind = frontend.config["adapt"]["kind"]
        raise InputError(f"the transformers library's model has no {kind}: use `to=safetensors`")
    head_tensors, head_options = library_head(detector)  # both empty if transformers has no class for the detector
    network, preprocessing = library_config(frontend.config, head_options)
    if not head_tensors:
        backend = detector.config["backend"]["name"]
        print_note(
            f"transformers has no class for the head {backend} of this detector: {out} holds the encoder for AutoModel "
            "and the detector for nes2net, and pipeline() cannot score with it"
        )
    with replacing_detector(out):
        network.save_pretrained(out)
        preprocessing.save_pretrained(out)
        write_json(out / PROCESSOR_FILE, {"feature_extractor": preprocessing.to_dict()})
        library_tensors = frontend.model.state_dict()
        prefix = f"{network.model_type.replace('-', '_')}." if head_tensors else ""
        write_tensors({**{f"{prefix}{k}": v for k, v in library_tensors.items()}, **head_tensors}, out / WEIGHTS)
        # Tensors that are in the first file, by their published names, are not repeated in the second.
        published = {f"ssl_model.model.{to_fairseq(name, frontend.extractor_mode)}" for name in library_tensors}
        head = {name: tensor for name, tensor in detector.state_dict().items() if name not in published}
        write_tensors(head, out / HEAD)
        record = {NAMES_KEY: head_options["label2id"]} if head_options else None
        detector.write_description(out, provenance_with_figures(detector), record)
