"""`nes2net export`: write a detector in another format, or push it to the Hugging Face hub."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from nes2net.actions.flags import Architecture, CorpusName, Length, ModelName, Precision
from nes2net.lib.commands import File, Flag, called
from nes2net.lib.conditions import NotWith, UsedWith
from nes2net.lib.errors import InputError
from nes2net.lib.terminal import say, say_written

if TYPE_CHECKING:
    from nes2net.detector import Detector


@dataclass(frozen=True)
class Arena(Length):
    """With --to arena: the adapter, and what meta.yaml says of the system.

    Args:
        dtype: precision; auto: the checkpoint's
        batch_size: recordings at once
        name: name of the system; if not given, the recipe's name or the parts' names
        slug: name of the system in addresses, of a-z, 0-9 and -
        code_url: where the code is
        checkpoint_url: where the weights are, if not on the hub
        arxiv: number of the paper, such as 2504.05657, or none
        check: say what the folder MODEL lacks, and write nothing
        scores: write the result of the folder MODEL on CORPUS, from this score file
        corpus: the set of SCORES, hub:OWNER/NAME
        deep_voice: scores of DeepVoice, whose EER gives the threshold for a set with only spoofed trials
    """

    dtype: Precision = "auto"
    batch_size: int = 16
    name: str | None = None
    slug: str | None = None
    code_url: Annotated[str | None, Flag("URL")] = None
    checkpoint_url: Annotated[str | None, Flag("URL")] = None
    arxiv: Annotated[str | None, Flag("NUMBER")] = None
    check: Annotated[bool, NotWith("out", "push")] = False
    scores: Annotated[File | None, UsedWith("corpus"), NotWith("out", "push", "check")] = None
    corpus: Annotated[CorpusName | None, Flag("CORPUS"), UsedWith("scores")] = None
    deep_voice: Annotated[File | None, Flag("SCORES"), UsedWith("scores")] = None

    def write(self, detector: Detector, out: str, hub_name: str | None) -> None:
        """Write the folder ``out`` for the Arena, and print what the description of the system lacks.

        Args:
            hub_name: name of the detector on the hub; None to write the detector to the folder.
        """
        from nes2net.apps.export.arena import ADAPTER, META, About, lacking, write_arena
        from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES

        folder = Path(out)
        meta = write_arena(
            detector,
            folder,
            About(self.name, self.slug, None, self.code_url, self.checkpoint_url, self.arxiv),
            num_samples=self.chosen(ASVSPOOF_SAMPLES, detector.provenance),
            hub_name=hub_name,
            precision=self.dtype,
            batch_size=self.batch_size,
        )
        say_written(folder / ADAPTER)
        say_written(folder / META)
        if "paper" not in meta:
            say("no paper is named, so the Arena will not rank the system: --arxiv NUMBER names one")
        elif self.arxiv is None:
            say(f"paper: arXiv {meta['paper']['arxiv_id']}, of a published system of the same parts")
        if empty := lacking(meta):
            say(f"{META} lacks {', '.join(f'system.{key}' for key in empty)}: fill in before you submit")
        name = shlex.quote(str(folder))
        run = "speech-spoof-bench run --model-module arena_model:Model --datasets OWNER/NAME"
        say("next:", f"  cd {name} && {run}")


@called(
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
    if bool(to) != bool(out) or not (to or push):
        raise InputError("name a format and a path with --to and --out, or a hub repository with --push")
    if out and Path(out).exists() and not overwrite:
        raise InputError(f"{out} exists: pass --overwrite or name another")
    if to and out:
        check_export(to, out, quantize=quantize, calibration=calibration)
    detector = Detector.from_pretrained(model, device="cpu", config=architecture.described, base=architecture.base)
    if to == "arena" and out:
        on_hub = not Path(model).exists() and architecture == Architecture()
        arena.write(detector, out, model if on_hub else None)
    elif to and out:
        written = exported(detector, to, out, quantize=quantize, calibration=calibration)
        say_written(written)
        # The weights of a large ONNX file are in a second file.
        if (weights := written.with_name(f"{written.name}.data")).exists():
            say_written(weights)
    if push:
        say(f"pushed to {detector.push_to_hub(push, private=private)}")
