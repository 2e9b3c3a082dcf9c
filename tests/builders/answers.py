"""A detector that hears tones, recordings of both classes to calibrate it on, and its answers by every entrance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import soxr

from builders import hears_a_tone
from builders.live import heard
from builders.voices import voice
from nes2net.apps.listen.listening import AudioBlock, LiveJudge
from nes2net.apps.serve.desk import Desk
from nes2net.cli.main import main
from nes2net.scoring.calibrated import default_window
from nes2net.scoring.decisions import Decider, load

RATE = 16000
#: Number of clips of each class.
NUM_CLIPS = 12
#: Seconds of the shortest and the longest clip.
MIN_SECONDS = 1.4
MAX_SECONDS = 3.7


def speech(seconds: float, fake: tuple[float, float] | None = None, seed: int = 0) -> np.ndarray:
    """A voice in noise, (N,), with a tone between two times in seconds, which the detector takes for fake."""
    samples = 0.3 * voice(seed, seconds, pauses=False)
    samples += 0.02 * np.random.default_rng(seed).standard_normal(len(samples))
    if fake is not None:
        start, end = fake
        time = np.arange(len(samples)) / RATE
        tone = 0.1 * np.sin(2 * np.pi * hears_a_tone.FREQUENCY * time)
        samples += tone * ((time >= start) & (time < end))
    return samples.astype(np.float32)


def by_telephone(samples: np.ndarray) -> np.ndarray:
    """The same as μ-law of 8 kHz (G.711), decoded, at 16 kHz."""
    narrow = soxr.resample(samples, RATE, 8000)
    compressed = np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)
    steps = np.round(127 * compressed) / 127
    expanded = np.sign(steps) * (256 ** np.abs(steps) - 1) / 255
    return soxr.resample(expanded, 8000, RATE).astype(np.float32)


def write_clips(folder: Path):
    """Write the detector ``tone.pth``, and clips of both classes in the folders ``real`` and ``fake``."""
    hears_a_tone.detector().save(folder / "tone.pth")
    for name in ("real", "fake"):
        (folder / name).mkdir()
    for number, seconds in enumerate(np.linspace(MIN_SECONDS, MAX_SECONDS, NUM_CLIPS)):
        clips = {"real": speech(seconds, None, number), "fake": speech(seconds, (0.0, seconds), 100 + number)}
        for name, samples in clips.items():
            soundfile.write(folder / name / f"{number}.wav", samples, RATE)


class Answer(NamedTuple):
    """The answer of an entrance about a recording."""

    decision: str
    """For a live channel: ``"spoof"`` if there was an alarm, ``"cannot tell"`` if no window counted."""
    probability: float | None
    reason: str


def _of_row(row):
    return Answer(row["decision"], row["probability"], row.get("reason", ""))


def _of_python(path, calibration, abstain):
    decider = Decider(load(calibration), abstain=abstain)
    return _of_row(hears_a_tone.detector().decide(path, decider).row())


def _of_page(path, calibration, abstain):
    folder = path.parent / "desk"
    folder.mkdir(exist_ok=True)
    decider = Decider(load(calibration), abstain=abstain)
    return _of_row(Desk(hears_a_tone.detector(), folder, decider=decider).score(path, path.name).row())


def listened(path: Path, calibration: Path, abstain: float) -> list[dict[str, Any]]:
    """The lines of a live channel."""
    detector = hears_a_tone.detector()
    decider = Decider(load(calibration), abstain=abstain)
    judge = LiveJudge(detector, "tone.pth", decider, None, window=default_window(detector, decider))
    return heard(judge, [AudioBlock(soundfile.read(path, dtype="float32")[0][None])])


def _of_channel(path, calibration, abstain):
    lines = listened(path, calibration, abstain)
    reasons = [line["unusual"] for line in lines if "unusual" in line]
    decision = "bonafide" if lines[-1]["probability"] is not None else "cannot tell"
    if any(line["event"] == "alarm" for line in lines):
        decision = "spoof"
    return Answer(decision, lines[-1]["probability"], "".join(reasons[:1]))


#: Name of an entrance → function that answers by it, about a recording by a calibration.
ENTRANCES = {
    "python": _of_python,
    "page": _of_page,
    "channel": _of_channel,
}


def predicted(capsys, path: Path, calibration: Path, abstain: float, *flags: str) -> dict[str, Any]:
    """The row of `nes2net predict --json`."""
    model = calibration.parent / "tone.pth"
    words = ["predict", path, "--model", model, "--device", "cpu", "--calibration", calibration]
    assert main([*map(str, words), "--abstain", str(abstain), "--json", *flags]) == 0
    return json.loads(capsys.readouterr().out)
