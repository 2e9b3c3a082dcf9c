"""Writing a detector in the formats of others: a published ``.pth``, this package's folder, a Hugging Face folder, ONNX."""

from __future__ import annotations

from pathlib import Path

from nes2net.checkpoints.fairseq import to_fairseq
from nes2net.checkpoints.folder import HEAD, WEIGHTS, clear, write_description, write_tensors
from nes2net.detector import Detector
from nes2net.errors import InputError

FORMATS = ("pth", "safetensors", "hf", "onnx")


def export(detector: Detector, to: str, out: str | Path) -> Path:
    """Write ``detector`` to ``out``, a file for ``"pth"`` and ``"onnx"``, a folder for ``"safetensors"`` and ``"hf"``.

    ``pth``: bare state dict under the published names, which the published code loads strictly. ``safetensors``: weights, architecture
    and a model card. ``hf``: the same in two parts, the front-end as the transformers library has it (``AutoModel.from_pretrained``
    reads it), the rest beside it. ``onnx``: see :func:`nes2net.export.onnx.export_onnx`. All but ONNX are read back by
    :meth:`Detector.from_pretrained`.

    Raises:
        InputError: an unknown format, ``out`` has the wrong kind of name, or the detector cannot be written so.
    """
    out = Path(out)
    if to not in FORMATS:
        raise InputError(f"export is to one of {', '.join(FORMATS)}, not '{to}'")
    suffix = {"pth": (".pth", ".pt"), "onnx": (".onnx",)}.get(to, ("",))
    if out.suffix not in suffix and to in ("pth", "onnx"):
        raise InputError(f"`to={to}` writes a file: give it a name that ends in {suffix[0]}, not {out.name}")
    if to in ("safetensors", "hf") and (out.is_file() or out.suffix in (".pth", ".pt", ".onnx", ".safetensors")):
        raise InputError(f"`to={to}` writes a folder: give the name of one, not {out}")
    if to == "onnx":
        from nes2net.export.onnx import export_onnx

        export_onnx(detector, out)
    elif to == "hf":
        _save_huggingface(detector, out)
    else:
        detector.save(out)
    return out


def _save_huggingface(detector: Detector, folder: Path) -> None:
    from nes2net.checkpoints.huggingface import library_config
    from nes2net.frontends.ssl import SSLFrontend

    frontend = detector.frontend
    if frontend.engine == "fairseq":
        raise InputError("a front-end on the fairseq engine is exported after loading it with engine=transformers")
    if not isinstance(frontend, SSLFrontend):
        raise InputError(
            f"the front-end '{frontend.config['name']}' has no model in the transformers library: export to safetensors"
        )
    config, preprocessing = library_config(frontend.config)
    clear(folder)
    config.save_pretrained(folder)
    preprocessing.save_pretrained(folder)
    library_tensors = frontend.model.state_dict()
    write_tensors(library_tensors, folder / WEIGHTS)
    published = {f"ssl_model.model.{to_fairseq(name, frontend.extractor_mode)}" for name in library_tensors}
    head = {name: tensor for name, tensor in detector.state_dict().items() if name not in published}
    write_tensors(head, folder / HEAD)
    write_description(folder, detector.config)
