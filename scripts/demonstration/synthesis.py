"""Make spoofs: by text-to-speech programs of two generations, and by four methods that resynthesise human speech.

Every method takes human speech (float64, 16 kHz, without pauses), and returns speech of about the
same length or longer.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from nes2net.lib.errors import InputError
from nes2net.lib.process.installation import how_to_install

from . import spectral, voices
from .channel import RATE, generator, speech_only

HOP = 160
FFT = 1024
LEARNT = ("train", "dev")
EVALUATION_PARTS = ("la", "df", "wild")
LPC_ORDER = 18
_SENTENCES = Path(__file__).with_name("sentences.txt")
_ESPEAK_VOICES = {"en": "en-us", "fr": "fr-fr", "it": "it", "ru": "ru"}
_NEURAL = "neural_vocoder_nonautoregressive"
KLATT_VARIANTS = ("klatt", "klatt2", "klatt3", "klatt4")
_ESPEAK_VARIANTS = {"train": ("m1", "m3", "m7", "f1", "f2", "f5"), "eval": ("m4", "m5", "m6", "f3", "f4")}


@dataclass(frozen=True)
class Method:
    """A method of spoofing.

    - ``attack`` is its number, ``vocoder`` its class in the key of 2021 DF.
    - ``unseen`` methods occur in evaluation only.
    - ``languages`` are those that it speaks; empty for all.
    - ``program`` is the program that it runs; empty for none.
    """

    attack: str
    vocoder: str
    description: str
    unseen: bool = False
    languages: tuple[str, ...] = ()
    program: str = ""

    def speaks(self, language: str) -> bool:
        """Whether the method speaks a language."""
        return not self.languages or language in self.languages

    def used_in(self, part_name: str, languages: set[str]) -> bool:
        """Whether a part with human speech in ``languages`` has spoofs by this method."""
        return (part_name not in LEARNT or not self.unseen) and any(map(self.speaks, languages))


METHODS = {
    "espeak": Method("A01", "unknown", "espeak-ng, formant synthesis, several voices", program="espeak-ng"),
    "flite": Method(
        "A02",
        "unknown",
        "flite, English voices slt, rms, awb (statistical parametric) and kal16 (diphone)",
        languages=("en",),
        program="flite",
    ),
    "world": Method("A03", "traditional_vocoder", "WORLD copy-synthesis (DIO, StoneMask, CheapTrick, D4C)"),
    "griffin_lim": Method("A04", "traditional_vocoder", "Griffin-Lim from 80 mel bands, 24 iterations"),
    "lpc": Method("A07", "traditional_vocoder", "LPC-18 resynthesis, pulse and noise excitation", unseen=True),
    "phase_vocoder": Method("A08", "traditional_vocoder", "phase vocoder, slower by 1.3 and back", unseen=True),
    "klatt": Method("A09", "unknown", "espeak-ng, Klatt voices", unseen=True, program="espeak-ng"),
    "piper": Method("A10", _NEURAL, "Piper, VITS, voice joe", unseen=True, languages=("en",)),
    "hibari": Method(
        "A11",
        "traditional_vocoder",
        "hibari, distilled from Kokoro, harmonic-plus-noise vocoder with a network, voice heart",
        unseen=True,
        languages=("en",),
    ),
    "kokoro": Method(
        "A12", _NEURAL, "Kokoro-82M, StyleTTS 2 with an iSTFT decoder, three voices", unseen=True, languages=("en",)
    ),
}


def available_methods() -> list[str]:
    """List the names of METHODS that can run on this machine.

    Raises:
        InputError: if pyworld is missing.
    """
    _pyworld()
    return [name for name in METHODS if _is_available(name)]


def _is_available(name: str) -> bool:
    if name in voices.PACKAGES:
        return voices.installed(name)
    program = METHODS[name].program
    return not program or shutil.which(program) is not None


@cache
def _pyworld():
    """Import pyworld; InputError with the remedy if it is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pyworld imports pkg_resources, which is deprecated
            import pyworld
    except ImportError as error:
        raise InputError(f"pyworld cannot be imported ({error}): {how_to_install('demo')}") from None
    return pyworld


@cache
def sentences(language: str, part_name: str) -> list[str]:
    """List the sentences for a part; no sentence is in two parts."""
    is_learnt = part_name in LEARNT
    key = [language, part_name if is_learnt else "eval"]
    rows = [line.split("\t") for line in _SENTENCES.read_text(encoding="utf-8").splitlines()]
    texts = [row[2] for row in rows if row[:2] == key]
    return texts if is_learnt else texts[EVALUATION_PARTS.index(part_name) :: len(EVALUATION_PARTS)]


def say_what_is_missing(methods: list[str]) -> None:
    """Print which synthesisers of METHODS are not among ``methods``."""
    absent = {METHODS[name].description.partition(",")[0] for name in METHODS if name not in methods}
    if absent:
        print(f"Not installed: {', '.join(sorted(absent))}; the spoofs are made without.")


def read_aloud(method: str, part_name: str, texts: list[str], work: Path, seed: int, pace: float = 1.0) -> list[Path]:
    """Have texts read by a neural method, and return the files.

    The model is loaded once for all texts. Finished files are used again.

    Args:
        pace: factor of the speed.
    """
    folder = _folder_of_speech(work, method, part_name)
    if not folder.is_dir():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            number = int(generator(seed, "aloud", method, part_name).integers(2**31))
            voices.read_aloud(method, texts, unfinished, number, pace)
        except subprocess.CalledProcessError as error:
            raise InputError(f"{method} failed: {_last_line(error.stderr)}; {how_to_install('voices')}") from None
        unfinished.rename(folder)
    return sorted(folder.glob("*.wav"))


def _folder_of_speech(work: Path, method: str, part_name: str) -> Path:
    return work / "aloud" / f"{method}-{part_name}"


def _last_line(output: bytes) -> str:
    return (output.decode(errors="replace").strip().splitlines() or ["no message"])[-1]


def _join_read_sentences(x: NDArray, rng: np.random.Generator, folder: Path) -> NDArray:
    return _read_aloud(read_speech, [str(path) for path in sorted(folder.glob("*.wav"))], len(x), rng)


def read_speech(path: str | Path) -> NDArray:
    """Read the file that a synthesiser wrote, at 16 kHz."""
    x, rate = soundfile.read(path)
    return soxr.resample(x, rate, RATE)


#: Speeds at which synthesisers say single words, so that they last as long as human ones: a factor for neural methods, and
#: words a minute for espeak-ng.
WORD_PACE = {"piper": 0.5, "hibari": 0.67, "kokoro": 0.82}
_WORDS_A_MINUTE = {"en": 120, "fr": 105, "it": 132, "ru": 114}


def espeak_variants(part_name: str) -> tuple[str, ...]:
    """List the voices of espeak-ng for a part; training and evaluation have different voices."""
    return _ESPEAK_VARIANTS["train" if part_name in LEARNT else "eval"]


def espeak_word(words: str, variant: str, language: str, pitch: int, rng: np.random.Generator) -> NDArray:
    """Have espeak-ng say a word."""
    speed = int(_WORDS_A_MINUTE[language] * rng.uniform(0.85, 1.18))
    return _run(_espeak_command(language, variant, speed, pitch), words)


def _espeak_command(language: str, variant: str, speed: int, pitch: int) -> list[str]:
    voice = f"{_ESPEAK_VOICES[language]}+{variant}"
    return ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", "{}", "--stdin"]


def _run(command: list[str], text: str) -> NDArray:
    """Run a program that writes speech to the file whose path replaces "{}", and return the speech at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder, "speech.wav")
        words = [word.replace("{}", str(wav)) for word in command]
        finished = subprocess.run(words, input=text.encode(), capture_output=True)
        if finished.returncode or not wav.is_file():
            raise InputError(f"{command[0]} failed on {text!r}: {_last_line(finished.stderr)}")
        return read_speech(str(wav))


def _read_aloud(speak: Callable[[str], NDArray], texts: list[str], samples: int, rng: np.random.Generator) -> NDArray:
    """Join sentences in random order, 100 ms apart, up to ``samples``."""
    pause = np.zeros(RATE // 10)
    waveforms = []
    length = 0
    while length < samples:
        for text in rng.permutation(texts):
            waveforms += [speech_only(speak(str(text))), pause]
            length += len(waveforms[-2]) + len(pause)
            if length >= samples + len(pause):
                break
    return np.concatenate(waveforms[:-1])


def _espeak(variants: tuple[str, ...], x: NDArray, rng: np.random.Generator, language: str, part_name: str) -> NDArray:
    variant = str(rng.choice(variants))
    command = _espeak_command(language, variant, int(rng.integers(130, 200)), int(rng.integers(30, 75)))
    return _read_aloud(partial(_run, command), sentences(language, part_name), len(x), rng)


def _flite(x: NDArray, rng: np.random.Generator, part_name: str) -> NDArray:
    stretch = f"duration_stretch={rng.uniform(0.85, 1.2):.3f}"
    voice = str(rng.choice(["slt", "rms", "awb", "kal16"]))

    def speak(text: str) -> NDArray:
        return _run(["flite", "-voice", voice, "--setf", stretch, "-t", text, "-o", "{}"], "")

    return _read_aloud(speak, sentences("en", part_name), len(x), rng)


def _world(x: NDArray) -> NDArray:
    world = _pyworld()
    f0, times = world.dio(x, RATE)
    f0 = world.stonemask(x, f0, times, RATE)
    envelope = world.cheaptrick(x, f0, times, RATE)
    return world.synthesize(f0, envelope, world.d4c(x, f0, times, RATE), RATE)


def _other_voice(x: NDArray, rng: np.random.Generator) -> NDArray:
    world = _pyworld()
    up = rng.choice([-1.0, 1.0])
    f0, times = world.dio(x, RATE)
    envelope = world.cheaptrick(x, f0, times, RATE)
    aperiodicity = world.d4c(x, f0, times, RATE)
    num_bins = envelope.shape[1]
    bins = np.arange(num_bins) / np.exp(up * rng.uniform(0.03, 0.2))
    bins = np.minimum(bins, num_bins - 1).astype(int)
    envelope = np.ascontiguousarray(envelope[:, bins])
    pitch = np.exp(up * rng.uniform(0.15, 0.5))
    return world.synthesize(pitch * f0, envelope, aperiodicity, RATE)


def copy(method: str, x: NDArray, rng: np.random.Generator) -> NDArray:
    """Resynthesise ``x``.

    Args:
        method: "griffin_lim" keeps the voice; "other_griffin_lim" and "other_world" change it.
    """
    direction = rng.choice([-1.0, 1.0])
    rate = int(RATE * np.exp(direction * rng.uniform(0.1, 0.25)))
    if method == "other_world":
        return _other_voice(x, rng)
    if method == "other_griffin_lim":
        x = soxr.resample(x, RATE, rate)
    return _griffin_lim(x, rng)


@cache
def _mel_bands() -> tuple[NDArray, NDArray]:
    """The matrix of 80 mel bands, and its pseudo-inverse."""
    mel = spectral.mel_bands(80, FFT)
    return mel, np.linalg.pinv(mel)


def _griffin_lim(x: NDArray, rng: np.random.Generator) -> NDArray:
    """Resynthesise from 80 mel bands: magnitudes by the pseudo-inverse, phases by fast Griffin-Lim."""
    mel, inverse = _mel_bands()
    magnitude = np.abs(spectral.spectrum(x, FFT, FFT // 4))
    magnitude = np.maximum(inverse @ (mel @ magnitude), 0)
    return spectral.griffin_lim(magnitude, FFT, len(x), 24, rng)


def _phase_vocoder(x: NDArray, factor: float = 1.3) -> NDArray:
    return spectral.change_speed(spectral.change_speed(x, 1 / factor, FFT, HOP), factor, FFT, HOP)


def _lpc(x: NDArray, rng: np.random.Generator) -> NDArray:
    """Resynthesise by linear prediction of order 18 in 25 ms frames, excited by pulses if voiced, otherwise by noise."""
    f0, _ = _pyworld().dio(x, RATE, frame_period=1000 * HOP / RATE)
    excitation = _excitation(np.repeat(f0, HOP)[: len(x)], rng)
    length = 400
    shape = np.hanning(length)
    emphasised = np.append(x[0], x[1:] - 0.95 * x[:-1])
    padded = np.pad(emphasised, (length, 2 * length))
    source = np.pad(excitation, (length, 2 * length))
    out = np.zeros(len(padded))
    for start in range(0, len(x) + length, HOP):
        window = slice(start, start + length)
        frame = padded[window] * shape
        coefficients = _predictor(frame)
        if coefficients is None:
            continue
        excited = lfilter([1.0], coefficients, source[window]) * shape
        energy = np.sum(excited**2)
        if energy > 0:
            out[window] += excited * np.sqrt(np.sum(frame**2) / energy)
    return lfilter([1.0], [1.0, -0.95], out[length : length + len(x)])


def _predictor(frame: NDArray) -> NDArray | None:
    """Compute the filter of linear prediction, whose inverse shapes the excitation; None for silence."""
    lags = np.correlate(frame, frame, "full")[len(frame) - 1 :]
    correlation = lags[: LPC_ORDER + 1]
    if correlation[0] < 1e-10:
        return None
    correlation[0] *= 1 + 1e-5
    return np.append(1.0, -solve_toeplitz(correlation[:-1], correlation[1:]))


def _excitation(f0: NDArray, rng: np.random.Generator) -> NDArray:
    """Make pulses at the pitch ``f0`` (Hz per sample) of unit mean power, and white noise at samples with f0 = 0."""
    noise = rng.standard_normal(len(f0))
    phase = np.cumsum(f0) / RATE
    amplitude = np.sqrt(RATE / np.maximum(f0, 1))
    pulses = np.diff(np.floor(phase), prepend=0) * amplitude
    return np.where(f0 > 0, pulses + 0.05 * noise, noise)


def spoof(
    method: str, x: NDArray, rng: np.random.Generator, language: str, part_name: str, work: Path = Path()
) -> NDArray:
    """Make a spoof that copies or replaces the human speech ``x``.

    Args:
        method: a key of METHODS.
        work: folder with what :func:`read_aloud` made for the neural methods.
    """
    makers = {
        "espeak": partial(_espeak, espeak_variants(part_name), x, rng, language, part_name),
        "klatt": partial(_espeak, KLATT_VARIANTS, x, rng, language, part_name),
        "flite": partial(_flite, x, rng, part_name),
        "world": partial(_world, x),
        "griffin_lim": partial(_griffin_lim, x, rng),
        "lpc": partial(_lpc, x, rng),
        "phase_vocoder": partial(_phase_vocoder, x),
    }
    if method in makers:
        return makers[method]()
    return _join_read_sentences(x, rng, _folder_of_speech(work, method, part_name))
