"""Benchmarks count utterances, seconds of audio and operations of each stage."""

import numpy as np
import soundfile
import torch

from nes2net import Detector
from nes2net.apps.bench.benchmark import StageSpeed, TimedStage, measure, speed_table
from nes2net.lib.computing.flops import count_flops


def test_the_benchmark_counts_utterances_seconds_of_audio_and_operations_of_each_stage(detector, tmp_path):
    file = tmp_path / "speech.wav"
    soundfile.write(file, np.zeros(24000), 16000)
    measured, _ = measure(detector, [file, file], 8000, [4], 1)
    decode, frontend, backend, end = (stage for stage, _ in measured)
    assert (decode.utterances, decode.audio, decode.flops) == (2, 3.0, None)
    assert (frontend.utterances, frontend.audio) == (4, 2.0)
    assert (end.utterances, end.audio) == (4, 2.0)
    counted = count_flops(Detector.on_meta(detector.config), torch.zeros(1, 8000, device="meta"))
    assert frontend.flops + backend.flops == end.flops == 4 * counted


def test_a_row_of_the_benchmark_table_has_utterances_and_seconds_of_audio_per_second(detector):
    stage = TimedStage("a stage", list, utterances=4, audio=16.0)
    row = speed_table([StageSpeed(stage, 0.5)], 1e9, detector)[2]
    assert [cell.strip() for cell in row.split("|")[1:4]] == ["a stage", "8.00", "32.0"]
