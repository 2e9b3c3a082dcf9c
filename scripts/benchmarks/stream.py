"""Claim: a 20 ms push takes 0.02 ms, and one core carries 81 channels of LFCC + Nes2Net-X.

Weights are random. Times are processor time of one thread, which a loaded machine changes little.

    scripts/bench stream            # minutes; XLS-R 300M needs 3 GB of memory
    scripts/bench stream --small    # as a test; the figures mean nothing
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from _harness import first_line
from numpy.typing import NDArray
from scipy.signal import sawtooth

from nes2net.apps.listen.channel import Channel
from nes2net.apps.listen.listening import LiveJudge
from nes2net.detector import Detector
from nes2net.lib.files import json_text
from nes2net.scoring.decisions import Decider, fit
from nes2net.scoring.stream import TimedWindow

RATES = (8000, 16000, 48000)
PUSH = 0.02  # s of audio in a push
SMALL_FRONTEND = {"name": "wav2vec2_small", "encoder_layers": 1, "encoder_embed_dim": 64}
LFCC = {"frontend": {"name": "lfcc"}, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}}


def speech(seconds: float, rate: int) -> NDArray:
    """Make a voice (1, N) with gliding pitch and syllables, which the detector of speech takes for speech."""
    times = np.arange(round(seconds * rate)) / rate
    pitch = 140 + 40 * np.sin(2 * np.pi * 0.7 * times)
    syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * times)
    return (0.3 * syllables * sawtooth(2 * np.pi * np.cumsum(pitch) / rate)).astype(np.float32)[None]


def detectors(is_small: bool) -> dict[str, Callable[[], Detector]]:
    """Name functions that build the detectors; if ``is_small``, the transformer is tiny and the others are left out."""
    ssl = SMALL_FRONTEND if is_small else {"name": "xlsr_300m", "pretraining_heads": False}
    built = {}
    if not is_small:
        built["LFCC + Nes2Net-X"] = lambda: Detector.from_config(LFCC)
        built["AASIST"] = lambda: Detector.from_config({"frontend": "waveform", "backend": "raw_aasist"})
    name = "XLS-R 300M + Nes2Net-X, int8"
    built[name] = lambda: Detector.from_config({"frontend": ssl, "backend": "nes2net_x"}).set_precision("int8")
    return built


def channel_of(detector: Detector, rate: int) -> Channel:
    """Make a channel that listens with ``detector``, as `nes2net listen` does with a calibration."""
    rng = np.random.default_rng(0)
    decider = Decider(fit(rng.normal(1, 1, 200), rng.normal(-1, 1, 200)))
    judge = LiveJudge(detector.eval(), "random weights", decider, hop=1.0)
    return judge.session(rate, "s16le", ["mix"], True, "all").channels[0]


def run(channel: Channel, samples: NDArray, rate: int, seconds: float) -> tuple[list[float], list[float]]:
    """Give a channel ``seconds`` of audio in pushes of 20 ms, faster than real time; ``samples`` (1, N) are repeated.

    Returns:
        The processor seconds of each push that completed no window, and those of each window from
        the push that completes it to its lines.
    """
    step = round(PUSH * rate)
    pushes = []
    windows = []
    for number in range(round(seconds / PUSH)):
        first = number * step % (samples.shape[1] - step)
        began = time.process_time()
        channel.take(samples[:, first : first + step], None, None)
        num_windows = 0
        while channel.queue:
            item = channel.queue.popleft()
            num_windows += isinstance(item, TimedWindow)
            for line in channel.judge(item):
                json_text(line)
        (windows if num_windows else pushes).append(time.process_time() - began)
    return pushes, windows


def milliseconds(seconds: list[float]) -> str:
    """Write median, 95th percentile and maximum."""
    median, p95, maximum = 1000 * np.quantile(seconds, [0.5, 0.95, 1.0])
    return f"median {median:8.3f} ms, 95 % {p95:8.3f} ms, maximum {maximum:8.3f} ms"


def measure_pushes(seconds: float) -> None:
    """Print how long a push takes that completes no window."""
    detector = Detector.from_config(LFCC)
    for rate in RATES:
        pushes, _ = run(channel_of(detector, rate), speech(20.0, rate), rate, seconds)
        print(f"push of 20 ms at {rate:6} Hz without a window: {milliseconds(pushes)}", flush=True)


def measure_windows(is_small: bool) -> None:
    """Print how long a window takes, and how many channels one core carries with a window a second."""
    for name, build in detectors(is_small).items():
        detector = build()
        channel = channel_of(detector, 16000)
        samples = speech(20.0, 16000)
        run(channel, samples, 16000, 6.0)  # to warm up
        pushes, windows = run(channel, samples, 16000, 20.0)
        each = sum(pushes + windows) / 20.0
        print(
            f"{name}: a window of {channel.stream.window:g} s {milliseconds(windows)}; a channel takes {each:.4f} s a second, "
            f"so one core carries {1 / each:.1f}",
            flush=True,
        )


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument("--small", action="store_true", help="only a tiny transformer, and 10 s of audio for each rate")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    measure_pushes(10.0 if arguments.small else 60.0)
    measure_windows(arguments.small)


if __name__ == "__main__":
    main()
