"""`nes2net export`: write a detector in another format, or push it to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from nes2net.cli.flags import Architecture, File, Flag
from nes2net.errors import InputError
from nes2net.machine.terminal import say_written


def export(
    model: str,
    *,
    to: Literal["pth", "safetensors", "hf", "onnx", "space"] | None = None,
    quantize: Literal["int8"] | None = None,
    calibration: File | None = None,
    out: str | None = None,
    overwrite: bool = False,
    push: Annotated[str | None, Flag("OWNER/NAME")] = None,
    private: bool = False,
    architecture: Architecture,
) -> None:
    """Write a detector in another format, or upload it.

    Example:
        nes2net export detector.pth --to onnx --out detector.onnx

    Args:
        model: checkpoint (.pth), folder, or name on the Hugging Face hub
        to: pth: published names; safetensors: folder of this package; hf: transformers folder of the front-end, with
            the head; onnx; space: folder for a Hugging Face Space with the page of nes2net serve
        quantize: onnx only: the front-end's linear layers in int8; smaller and faster on a CPU
        calibration: space only: calibration of this model, saved by nes2net calibrate
        out: file (pth, onnx) or folder to write
        overwrite: replace what is there
        push: upload the safetensors folder to the hub under this name
        private: make the hub's repository private
    """
    from nes2net.detector import Detector
    from nes2net.export.formats import export as exported

    if bool(to) != bool(out) or not (to or push):
        raise InputError("name a format and a path with --to and --out, or a hub repository with --push")
    if quantize and not to:
        raise InputError("`quantize` goes with `to=onnx`")
    if calibration and not to:
        raise InputError("`calibration` goes with `to=space`")
    if out and Path(out).exists() and not overwrite:
        raise InputError(f"{out} exists: pass --overwrite or name another")
    detector = Detector.from_pretrained(model, device="cpu", config=architecture.config, base=architecture.base)
    if to and out:
        written = exported(detector, to, out, quantize=quantize, calibration=calibration)
        say_written(written)
        if (weights := written.with_name(f"{written.name}.data")).exists():  # of an ONNX file beyond 2 GB
            say_written(weights)
    if push:
        print(f"pushed to {detector.push_to_hub(push, private=private)}")
