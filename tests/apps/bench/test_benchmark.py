"""Benchmarks count utterances, seconds of audio and operations of each stage."""

import numpy as np
import soundfile
import torch

from nes2net import Detector
from nes2net.apps.bench.benchmark import Measured, measure
from nes2net.lib.flops import count_flops


def test_counts_of_each_stage(detector, tmp_path):
    file = tmp_path / "speech.wav"
    soundfile.write(file, np.zeros(24000), 16000)
    measured, product = measure(detector, [file, file], 8000, [4], 1)
    decode, frontend, backend, end = measured
    assert product > 0
    assert (decode.utterances, decode.audio, decode.flops) == (2, 3.0, None)
    assert (frontend.utterances, frontend.audio) == (4, 2.0)
    assert (end.utterances, end.audio) == (4, 2.0)
    counted = count_flops(Detector.on_meta(detector.config), torch.zeros(1, 8000, device="meta"))
    assert frontend.flops + backend.flops == end.flops == 4 * counted
    stage = Measured("stage", seconds=0.5, utterances=4, audio=16.0)
    assert stage.per_second == 8
    assert stage.times_real_time == 32
