"""`nes2net export`: write a detector in another format, or push it to the Hugging Face hub."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from nes2net.actions.flags import Architecture, ModelName
from nes2net.apps.export.settings import Arena
from nes2net.lib.errors import refuse
from nes2net.lib.output.terminal import say, say_written
from nes2net.lib.parts.conditions import UsedWith
from nes2net.lib.shell.commands import File, Flag, command_facts
from nes2net.lib.storage.files import FOLDER_LOCK, is_absent

if TYPE_CHECKING:
    from nes2net.detector import Detector


@command_facts(
    about="An adapted detector is first merged with its base weights.",
    resumes=False,
)
def export(
    model: ModelName,
    *,
    to: Literal["pth", "safetensors", "merged", "hf", "onnx", "space", "arena"] | None = None,
    out: str | None = None,
    overwrite: bool = False,
    quantize: Annotated[Literal["int8"] | None, UsedWith("to=onnx")] = None,
    calibration: Annotated[File | None, UsedWith("to=space")] = None,
    push: Annotated[str | None, Flag("OWNER/NAME")] = None,
    private: bool = False,
    architecture: Architecture,
    arena: Annotated[Arena, UsedWith("to=arena")],
) -> None:
    """Write a detector in another format, or upload it.

    Example:
        nes2net export detector.pth --to onnx --out detector.onnx
        nes2net export detector.pth --to arena --out my-system --name 'My system'

    Args:
        to: pth: the published layout; safetensors: a folder of this package; merged: an adapted detector with its
            record; hf: a folder for transformers; space: a page like nes2net serve; arena: the Speech Anti-Spoofing
            Arena
        out: file (pth, onnx, merged) or folder to write
        overwrite: replace an existing file or folder
        quantize: for onnx: quantise the front-end's linear layers
        calibration: for space: a file of nes2net calibrate
        push: upload the detector to the hub under this name
        private: make the hub's repository private
    """
    from nes2net.apps.export.formats import check_export
    from nes2net.apps.export.formats import export as exported
    from nes2net.detector import Detector

    if arena.check:
        from nes2net.apps.export.arena import META, check_meta

        check_meta(Path(model))
        say(f"{Path(model) / META} says all that the Arena asks")
        return
    if arena.scores is not None and arena.corpus is not None:
        from nes2net.apps.export.arena_result import write_arena_result

        deep_voice = None if arena.deep_voice is None else Path(arena.deep_voice)
        say_written(write_arena_result(Path(model), arena.corpus, Path(arena.scores), deep_voice))
        return
    refuse(
        (
            bool(to) != bool(out) or not (to or push),
            "name both a format and a path, with --to and --out, or a hub repository with --push",
        ),
        (
            out and Path(out).exists() and not overwrite and is_absent(Path(out, FOLDER_LOCK)),
            f"{out} exists: name another with --out, or add --overwrite to replace it",
        ),
    )
    if to and out:
        check_export(to, out)
    detector = Detector.from_pretrained(model, device="cpu", config=architecture.as_config, base=architecture.base)
    if to == "arena" and out:
        on_hub = not Path(model).exists() and architecture == Architecture()
        _write_arena(detector, Path(out), arena, model if on_hub else None)
    elif to and out:
        written = exported(detector, to, out, quantize=quantize, calibration=calibration)
        say_written(written)
        # The weights of a large ONNX file are in a second file.
        if (weights := written.with_name(f"{written.name}.data")).exists():
            say_written(weights)
    if push:
        say(f"pushed to {detector.push_to_hub(push, private=private)}")


def _write_arena(detector: Detector, folder: Path, arena: Arena, hub_name: str | None) -> None:
    from nes2net.apps.export.arena import ADAPTER, META, lacking, write_arena
    from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES

    num_samples = arena.choose_num_samples(ASVSPOOF_SAMPLES, detector.provenance)
    system = write_arena(detector, folder, arena, num_samples, hub_name)
    say_written(folder / ADAPTER)
    say_written(folder / META)
    if "paper" not in system:
        say("no paper is named, so the Arena will not rank the system: --arxiv NUMBER names one")
    elif arena.arxiv is None:
        say(f"paper: arXiv {system['paper']['arxiv_id']}, of a published system of the same parts")
    say(f"{META} lacks {', '.join(f'system.{key}' for key in lacking(system))}: fill in before you submit")
    run = "speech-spoof-bench run --model-module arena_model:Model --datasets OWNER/NAME"
    say("next:", f"  cd {shlex.quote(str(folder))} && {run}")
