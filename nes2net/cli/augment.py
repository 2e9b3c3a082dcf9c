"""`nes2net augment`: write a file as training augments it, to hear and see the effects."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from nes2net.lib.errors import InputError, as_input_error, check_known
from nes2net.lib.output.terminal import printable_name, say, say_written
from nes2net.lib.shell.commands import Count, Flag, Folder, FromZero, command_facts
from nes2net.lib.storage.files import replacing


@command_facts(
    names={
        **{f"augment.{key}": f"--{key}" for key in ("algo", "musan", "rir")},
        "augment.conditions": "--condition",
        "sources.speech": "--speech",
    }
)
def augment(
    file: str,
    overrides: Annotated[Sequence[str], Flag("augment.key=value")] = (),
    *,
    algo: FromZero = 0,
    condition: Annotated[Sequence[str], Flag("NAME[:STRENGTH]", repeated=True)] = (),
    musan: Folder | None = None,
    rir: Folder | None = None,
    speech: Folder | None = None,
    seed: FromZero = 1234,
    epoch: Count = 1,
    out: Folder,
    plot: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a file as training augments it, with a picture.

    Example:
        nes2net augment recording.flac --algo 4 --plot --out augmented

    Args:
        file: audio file, whose name seeds the random stream
        overrides: key of a recipe, e.g. augment.speed=[0.8,1.2]; nes2net info recipe augment lists them
        out: folder to write to
        plot: draw waveform and spectrogram before and after
        overwrite: replace files written earlier

    Augmentation:
        algo: RawBoost algorithm 0 (none) to 11
        condition: such as mp3:16 (nes2net info conditions); repeatable
        musan: folder of MUSAN, for background noise
        rir: folder of room impulse responses
        speech: folder of recordings, for babble
        seed: seed of the run
        epoch: epoch, from 1
    """
    import numpy as np
    import soundfile

    from nes2net.data.audio.read import load_audio
    from nes2net.data.audio.waveform import SAMPLE_RATE
    from nes2net.training.preview import augment as augmented
    from nes2net.training.preview import plot as draw
    from nes2net.training.recipes.reading import apply_overrides
    from nes2net.training.recipes.recipe import recipe_from_dict

    check_known(
        [key.partition(".")[0] for key in overrides], ["augment"], "keys of the section `augment` apply, not of"
    )
    section = {"algo": algo, "musan": musan, "rir": rir, "conditions": list(condition)}
    settings = recipe_from_dict(apply_overrides({"augment": section}, overrides)).augment
    path = Path(file)
    before = load_audio(path)
    after = augmented(path, settings, speech=speech, seed=seed, epoch=epoch)
    folders = [kind for kind in ("musan", "rir") if section[kind]]
    words = []
    if algo:
        words.append(f"algo {algo}")
    words += [*(text.removeprefix("augment.") for text in overrides), *folders, *condition]
    words += [f"seed {seed}", f"epoch {epoch}"]
    # The names of the output files state the settings.
    name = Path(out, "_".join([path.stem, *(re.sub(r"[^\w.,-]", "", word) for word in words)]))
    writers: dict[Path, Callable[[Path], None]] = {
        Path(f"{name}.wav"): lambda file: soundfile.write(os.fsencode(file), after, SAMPLE_RATE, "FLOAT", format="WAV")
    }
    if plot:
        title = f"after: {', '.join(words)}"
        writers[Path(f"{name}.png")] = lambda file: draw(
            file, before, after, f"before: {printable_name(path.name)}", title
        )
    if not overwrite and (existing := [str(file) for file in writers if file.exists()]):
        raise InputError(
            f"the output {', '.join(existing)} exists: add --overwrite to replace it, or name another folder with --out"
        )
    for to, write in writers.items():
        with as_input_error(
            f"{to} cannot be written", OSError, RuntimeError, remedy="choose another folder with --out"
        ):
            with replacing(to, durable=True) as temporary:
                write(temporary)
    if np.array_equal(before, after):
        say("nothing was changed: this seed and epoch draw no augmentation for this utterance")
    for to in writers:
        say_written(to)
