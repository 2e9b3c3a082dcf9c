"""`nes2net merge`: an ordinary detector of an adapted one and its base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from nes2net.cli.flags import File, Flag, called
from nes2net.errors import InputError
from nes2net.machine.terminal import say_written


@called(resumes=False)
def merge(
    model: Annotated[str, Flag("CHECKPOINT")],
    out: Annotated[str, Flag("OUT")],
    *,
    base: File | None = None,
    overwrite: bool = False,
) -> None:
    """Make an ordinary detector of an adapted one and its base.

    LoRA and DoRA become part of the weights; adapters and prompts stay beside them, in one file.

    Example:
        nes2net merge models/0520_lora/epoch_10.pth detector.pth

    Args:
        model: checkpoint (.pth) or folder of an adapted detector
        out: file (.pth) or folder to write
        base: file or folder with the weights that an adapted detector's checkpoint leaves out; that which it names,
            there or beside it, if not given
        overwrite: replace what is there
    """
    from nes2net.detector import Detector

    if Path(out).exists() and not overwrite:
        raise InputError(f"{out} exists: pass --overwrite or name another")
    detector = Detector.from_pretrained(model, device="cpu", base=base)
    adapt = detector.frontend.config.get("adapt", {"kind": ""})
    if detector.base is None and adapt["kind"] in ("", "adapter", "prompt"):
        raise InputError(f"{model} holds all tensors of its detector: there is nothing to merge")
    detector.merged().save(out, **detector.record)
    say_written(out)
