"""`nes2net augment`: hear and see how training augments a file."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nes2net.audio.waveform import SAMPLE_RATE
from nes2net.cli.entry import check_at_least, subcommand
from nes2net.errors import InputError
from nes2net.machine.files import replacing
from nes2net.machine.terminal import say_written

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from nes2net.conditions.base import Condition

_EXAMPLE = "nes2net augment recording.flac --algo 4 --plot --out augmented"

_WINDOW = 512  # samples: 32 ms
_SPECTRUM_COLUMNS, _WAVEFORM_COLUMNS = 1500, 2000  # more than these would fall on one pixel
_DYNAMIC_RANGE = 80  # dB


def add(commands: argparse._SubParsersAction) -> None:
    text = "Write a file as training would hear it, with a picture"
    parser = subcommand(commands, "augment", _augment, text, example=_EXAMPLE)
    parser.add_argument(
        "file", help="audio file; its name without suffix is the utterance id, which seeds the random stream"
    )
    draws = parser.add_argument_group("augmentation")
    draws.add_argument("--algo", type=int, default=0, help="RawBoost algorithm 0 (none) to 11")
    draws.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="RawBoost parameters, e.g. --set N_f=3 SNRmin=5"
    )
    draws.add_argument(
        "--speed", type=float, nargs=2, metavar=("LOW", "HIGH"), help="play at a speed drawn from LOW to HIGH"
    )
    draws.add_argument("--musan", help="folder of MUSAN, for background noise")
    draws.add_argument("--rir", help="folder of room impulse responses, for reverberation")
    draws.add_argument(
        "--noise-probability",
        type=float,
        help="probability of background noise or reverberation; 0.5 if not given, and 0 with --condition",
    )
    draws.add_argument(
        "--condition",
        action="append",
        default=[],
        dest="conditions",
        metavar="NAME[:STRENGTH]",
        help="a condition, e.g. mp3:16 (nes2net info lists them); again for a second one, which follows the first",
    )
    draws.add_argument("--speech", metavar="DIR", help="folder of recordings, for the condition babble")
    draws.add_argument("--fir", choices=["telephone", "wide"], help="low-pass filter of this band")
    draws.add_argument("--fir-probability", type=float, default=0.5, help="probability of the low-pass filter")
    draws.add_argument("--seed", type=int, default=1234, help="seed of the run")
    draws.add_argument("--epoch", type=int, default=1, help="epoch, from 1")
    parser.names |= {"augment.musan": "--musan", "augment.rir": "--rir", "sources.speech": "--speech"}
    parser.add_argument("--samples", type=int, help="crop to this length, e.g. 64600; whole if not given")
    parser.add_argument("--crop", default="head", choices=["head", "random"], help="part that --samples takes")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--plot", action="store_true", help="draw waveform and spectrogram before and after")
    parser.add_argument("--overwrite", action="store_true", help="replace files written earlier")


def _augment(args: argparse.Namespace) -> int:
    import soundfile

    from nes2net.audio.read import load_audio

    path = Path(args.file)
    before, after = load_audio(path), augmented(args)
    name = f"{path.stem}_{_describe(args, '_', '')}"
    writers: dict[Path, Callable[[Path], None]] = {
        Path(args.out) / f"{name}.wav": lambda file: soundfile.write(
            file, after, SAMPLE_RATE, subtype="FLOAT", format="WAV"
        )
    }
    if args.plot:
        title = f"after: {_describe(args, ', ', ' ')}"
        writers[Path(args.out) / f"{name}.png"] = lambda file: plot(file, before, after, f"before: {path.name}", title)
    _write_all(writers, args.overwrite)
    if np.array_equal(before, after):
        print("nothing was changed: this seed and epoch draw no augmentation for this utterance")
    for file in writers:
        say_written(file)
    return 0


def augmented(args: argparse.Namespace) -> np.ndarray:
    """Prepare the file as :class:`nes2net.training.dataset.TrainingSet` does for this seed and epoch; (N,) float32."""
    from nes2net.augment import NoiseAugmentation, RawBoostParameters
    from nes2net.augment.fir import LowPass
    from nes2net.augment.rawboost import ALGORITHMS
    from nes2net.conditions.augmentation import InOrder
    from nes2net.corpora.trial import Trial
    from nes2net.recipes.augment import AugmentConfig
    from nes2net.training.augmentation import Augmentation
    from nes2net.training.dataset import Examples, TrainingSet

    if args.algo not in ALGORITHMS:
        raise InputError(f"--algo is 0 (no RawBoost) to {ALGORITHMS[-1]}, not {args.algo}")
    if not (args.algo or args.speed or args.musan or args.rir or args.conditions or args.fir or args.samples):
        raise InputError(
            "nothing to do: choose --algo 1 to 11, --speed, --condition or --fir, or name a folder with --musan or --rir"
        )
    AugmentConfig(speed=args.speed)  # checks it
    check_at_least(args, seed=0, epoch=1, samples=1)
    parameters = RawBoostParameters.of(**dict(_parameter(text) for text in args.set))
    probability = args.noise_probability
    if probability is None:
        probability = 0.0 if args.conditions else 0.5
    musan, rir = (args.musan, args.rir) if probability or not args.conditions else (None, None)
    noise = NoiseAugmentation(musan, rir, probability)
    found = _conditions(args, probability)
    augmentation = Augmentation(
        args.speed,
        noise,
        args.algo,
        parameters,
        InOrder(found) if found else None,
        LowPass(args.fir, args.fir_probability) if args.fir else None,
    )
    trial = Trial(Path(args.file).stem, Path(args.file))
    examples = TrainingSet(Examples([trial]), args.samples, augmentation, seed=args.seed, crop=args.crop)
    return examples.prepare(0, args.epoch)[0]


def _conditions(args: argparse.Namespace, noise_probability: float) -> list[Condition]:
    from nes2net.audio.files import with_folders_listed
    from nes2net.conditions.base import Sources
    from nes2net.registry import create_condition

    musan, rir = (None if folder is None else Path(folder) for folder in (args.musan, args.rir))
    if args.speech and not Path(args.speech).is_dir():
        raise InputError(f"--speech: there is no folder {args.speech}")
    sources = Sources(musan, rir, with_folders_listed([args.speech]) if args.speech else ())
    found = [create_condition(text, sources) for text in args.conditions]
    for name in ("musan", "rir", "speech"):
        used = any(name in condition.needs for condition in found) or (noise_probability and name != "speech")
        if getattr(args, name) and not used:
            raise InputError(
                f"--{name} changes nothing, because no --condition needs it: leave it out"
                + ("" if name == "speech" else ", or give --noise-probability")
            )
    return found


def _parameter(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    for number in (int, float):
        try:
            return name, number(value)
        except ValueError:
            pass
    raise InputError(f"RawBoost parameter '{text}' is not of the form KEY=NUMBER")


def _describe(args: argparse.Namespace, separator: str, space: str) -> str:
    """Join the augmentations asked for into a file name or a title."""
    parts = [f"algo{space}{args.algo}", *args.set] if args.algo else []
    parts += [f"speed{space}{args.speed[0]:g}-{args.speed[1]:g}"] if args.speed else []
    parts += [kind for kind in ("musan", "rir") if getattr(args, kind)]
    parts += [condition.replace(":", space) for condition in args.conditions]
    parts += [f"fir{space}{args.fir}"] if args.fir else []
    parts += [f"seed{space}{args.seed}", f"epoch{space}{args.epoch}"]
    if args.samples:
        parts.append(f"{args.crop}{space}{args.samples}")
    return separator.join(parts)


def _write_all(writers: dict[Path, Callable[[Path], None]], overwrite: bool) -> None:
    """Let each writer write its file; a file appears complete or not at all."""
    if not overwrite and (there := [str(file) for file in writers if file.exists()]):
        raise InputError(f"{', '.join(there)} is there already: give --overwrite, or another folder with --out")
    for file, write in writers.items():
        try:
            with replacing(file) as temporary:
                write(temporary)
        except (OSError, RuntimeError) as error:
            raise InputError(f"{file} cannot be written ({error}): choose another folder with --out") from error


def plot(file: Path, before: np.ndarray, after: np.ndarray, before_title: str, after_title: str) -> None:
    """Draw both waveforms (N,) with their spectrograms below them, on common scales, to the PNG ``file``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.5), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    spectrograms = [spectrogram_db(waveform) for waveform in (before, after)]
    top = max(s.max() for s in spectrograms)
    for column, (waveform, title) in enumerate(((before, before_title), (after, after_title))):
        _draw_waveform(axes[0, column], waveform)
        image = _draw_spectrogram(axes[1, column], spectrograms[column], waveform, top)
        axes[0, column].set_title(title, fontsize="medium", wrap=True)
    axes[0, 0].set_ylabel("amplitude")
    axes[1, 0].set_ylabel("frequency in kHz")
    figure.colorbar(image, ax=axes[1], label="level in dB of a full-scale sine")
    figure.savefig(file, dpi=120, format="png")


def spectrogram_db(waveform: np.ndarray) -> np.ndarray:
    """Compute the level of ``waveform`` (N,) in dB of a full-scale sine, (frequencies, frames); Hann windows of 32 ms."""
    window = np.hanning(_WINDOW + 1)[:-1]
    padded = np.pad(waveform.astype(np.float64), _WINDOW // 2)
    hop = max(_WINDOW // 4, len(waveform) // _SPECTRUM_COLUMNS)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::hop]
    magnitude = np.abs(np.fft.rfft(frames * window)).T / (window.sum() / 2)
    return 20 * np.log10(np.maximum(magnitude, 1e-6))


def _draw_waveform(axes: Axes, waveform: np.ndarray) -> None:
    """Draw the band between the smallest and the largest sample of each column, whatever the length."""
    starts = np.unique(np.linspace(0, len(waveform), _WAVEFORM_COLUMNS, endpoint=False).astype(int))
    low, high = np.minimum.reduceat(waveform, starts), np.maximum.reduceat(waveform, starts)
    axes.fill_between(starts / SAMPLE_RATE, low, high, linewidth=0.5, edgecolor="C0")
    axes.axhline(0, color="grey", linewidth=0.5)


def _draw_spectrogram(axes: Axes, levels: np.ndarray, waveform: np.ndarray, top: float) -> AxesImage:
    seconds = len(waveform) / SAMPLE_RATE
    axes.set_xlabel("time in s")
    return axes.imshow(
        levels,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, SAMPLE_RATE / 2000),
        vmin=top - _DYNAMIC_RANGE,
        vmax=top,
        cmap="magma",
        interpolation="nearest",
    )
