"""`nes2net arena`: what the client of the Speech Anti-Spoofing Arena needs to run a detector."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nes2net.cli.flags import Architecture, Flag, Folder, Length, Precision
from nes2net.errors import InputError
from nes2net.machine.terminal import printable_name, say_written


@dataclass(frozen=True)
class System:
    """What meta.yaml says of the system.

    Args:
        name: its name; that of its recipe or its parts if not given
        slug: its name in addresses, of a-z, 0-9 and -; made of the name if not given
        description: one line; its parts if not given
        code_url: where its code is
        checkpoint_url: where its weights are; known of a detector on the hub
        arxiv: of its paper, such as 2504.05657, or none: the Arena does not rank a system without one; that of a
            published system of the same parts if not given
    """

    name: str | None = None
    slug: str | None = None
    description: str | None = None
    code_url: Annotated[str | None, Flag("URL")] = None
    checkpoint_url: Annotated[str | None, Flag("URL")] = None
    arxiv: Annotated[str | None, Flag("NUMBER")] = None


def arena(
    *,
    model: str | None = None,
    out: Folder | None = None,
    overwrite: bool = False,
    check: Folder | None = None,
    architecture: Architecture,
    length: Length,
    dtype: Precision = "auto",
    batch_size: int = 16,
    system: System,
) -> None:
    """Write an adapter for the Speech Anti-Spoofing Arena.

    The folder holds the detector, arena_model.py for the client (pip install speech-spoof-bench), and meta.yaml, which
    says what the system is.

    Example:
        nes2net arena --model detector.pth --out my-system --name 'My system'
        nes2net arena --check my-system

    Args:
        model: checkpoint (.pth), folder, or name on the Hugging Face hub
        out: folder to write
        overwrite: replace what is there
        check: say what meta.yaml of this folder still lacks, and write nothing

    How much of each recording:
        dtype: precision of weights and computation; auto is that of the checkpoint
        batch_size: recordings that the client gives at once
    """
    from nes2net.audio.waveform import ASVSPOOF_SAMPLES
    from nes2net.detector import Detector
    from nes2net.export.arena import ADAPTER, META, About, check_meta, lacking, write_arena

    if check:
        if model or out:
            raise InputError("`check` looks at a folder that is there: leave out `model` and `out`")
        check_meta(Path(check))
        print(f"{printable_name(Path(check) / META)} says all that the Arena asks")
        return
    if not (model and out):
        raise InputError("name a detector with `model` and a folder to write with `out`, or a folder to `check`")
    folder = Path(out)
    if folder.exists() and not overwrite:
        raise InputError(f"{out} exists: pass --overwrite or name another")
    detector = Detector.from_pretrained(model, device="cpu", config=architecture.config, base=architecture.base)
    on_hub = not Path(model).exists() and architecture == Architecture()
    meta = write_arena(
        detector,
        folder,
        About(**vars(system)),
        num_samples=length.samples(ASVSPOOF_SAMPLES, detector.record),
        hub_name=model if on_hub else None,
        precision=dtype,
        batch_size=batch_size,
    )
    say_written(folder / ADAPTER)
    say_written(folder / META)
    if "paper" not in meta:
        print("no paper is named, so the Arena will not rank the system: --arxiv NUMBER names one")
    elif system.arxiv is None:
        print(f"paper: arXiv {meta['paper']['arxiv_id']}, of a published system of the same parts")
    if empty := lacking(meta):
        print(f"{META} lacks {', '.join(f'system.{key}' for key in empty)}: fill in before you submit")
    print("next:")
    name = printable_name(shlex.quote(str(folder)))
    print(f"  cd {name} && speech-spoof-bench run --model-module arena_model:Model --datasets OWNER/NAME")
