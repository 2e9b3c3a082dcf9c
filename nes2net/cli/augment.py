"""`nes2net augment`: write a file as training augments it, to hear and see the effects."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from nes2net.lib.errors import InputError, as_input_error
from nes2net.lib.output.terminal import printable_name, say, say_written
from nes2net.lib.shell.commands import Count, Flag, Folder, FromZero, command_facts
from nes2net.lib.storage.files import replacing


@dataclass(frozen=True)
class Effects:
    """Augmentation.

    Args:
        algo: RawBoost algorithm 0 (none) to 11
        speed: play at a speed drawn from LOW to HIGH
        musan: folder of MUSAN, for background noise
        rir: folder of room impulse responses
        noise_probability: chance of noise or reverberation; if not given, 0.5, and 0 with --condition
        condition: such as mp3:16 (nes2net info conditions); repeatable
        speech: folder of recordings, for babble
        fir: low-pass filter, cut off at 3.4-4 or 6.5-7.5 kHz
        fir_probability: chance of the low-pass filter
    """

    algo: int = 0
    speed: Annotated[Sequence[float] | None, Flag(("LOW", "HIGH"), nargs=2)] = None
    musan: Folder | None = None
    rir: Folder | None = None
    noise_probability: float | None = None
    condition: Annotated[Sequence[str], Flag("NAME[:STRENGTH]", repeated=True)] = ()
    speech: Folder | None = None
    fir: Literal["telephone", "wide"] | None = None
    fir_probability: float = 0.5


@command_facts(
    names={
        **{f"augment.{key}": f"--{key}" for key in ("algo", "speed", "musan", "rir", "fir")},
        "augment.noise_probability": "--noise-probability",
        "augment.conditions": "--condition",
        "augment.parameters": "--set",
        "sources.speech": "--speech",
    }
)
def augment(
    file: str,
    *,
    effects: Effects,
    set_: Annotated[Sequence[str], Flag("KEY=VALUE")] = (),
    seed: FromZero = 1234,
    epoch: Count = 1,
    num_samples: Count | None = None,
    crop: Literal["head", "random"] = "head",
    out: Folder,
    plot: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a file as training augments it, with a picture.

    Example:
        nes2net augment recording.flac --algo 4 --plot --out augmented

    Args:
        file: audio file, whose name seeds the random stream
        num_samples: crop to this length; whole if not given
        crop: which part of the file --samples takes
        out: folder to write to
        plot: draw waveform and spectrogram before and after
        overwrite: replace files written earlier

    Augmentation:
        set_: RawBoost parameters, e.g. --set N_f=3 SNRmin=5
        seed: seed of the run
        epoch: epoch, from 1
    """
    import numpy as np
    import soundfile

    from nes2net.data.audio.read import load_audio
    from nes2net.data.audio.waveform import SAMPLE_RATE
    from nes2net.lib.storage.yaml_text import read_value
    from nes2net.training.preview import augment as augmented
    from nes2net.training.preview import plot as draw
    from nes2net.training.recipes.augment import AugmentConfig

    fir_band: dict[str, object] | None = (
        {"band": effects.fir, "probability": effects.fir_probability} if effects.fir else None
    )
    parameters: dict[str, object] = {}
    for text in set_:
        key, _, value = text.partition("=")
        parameters[key] = read_value(value, None, f"RawBoost parameter {text}")
    # The section `augment` of a recipe.
    settings = AugmentConfig(
        algo=effects.algo,
        parameters=parameters,
        speed=effects.speed,  # type: ignore[arg-type]  # the section checks it
        musan=effects.musan,
        rir=effects.rir,
        noise_probability=effects.noise_probability,
        conditions=list(effects.condition),
        fir=fir_band,
    )
    path = Path(file)
    before = load_audio(path)
    after = augmented(path, settings, speech=effects.speech, seed=seed, epoch=epoch, num_samples=num_samples, crop=crop)
    words = [*_effect_words(effects, set_), f"seed {seed}", f"epoch {epoch}"]
    if num_samples:
        words.append(f"{crop} {num_samples}")
    # The names of the output files state the settings.
    name = Path(out, "_".join([path.stem, *(word.replace(" ", "") for word in words)]))
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


def _effect_words(effects: Effects, parameters: Sequence[str]) -> list[str]:
    words = []
    if effects.algo:
        words += [f"algo {effects.algo}", *parameters]
    if effects.speed:
        words.append("speed {:g}-{:g}".format(*effects.speed))
    words += [kind for kind in ("musan", "rir") if getattr(effects, kind)]
    words += [condition.replace(":", " ") for condition in effects.condition]
    if effects.fir:
        words.append(f"fir {effects.fir}")
    return words
