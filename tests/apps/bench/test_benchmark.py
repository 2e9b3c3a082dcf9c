"""Benchmarks count utterances and seconds of audio of each stage."""

import numpy as np
import soundfile

from nes2net.apps.bench.benchmark import StageSpeed, TimedStage, measure, speed_table


def test_the_benchmark_counts_utterances_and_seconds_of_audio_of_each_stage(detector, tmp_path):
    file = tmp_path / "speech.wav"
    soundfile.write(file, np.zeros(24000), 16000)
    measured = measure(detector, [file, file], 8000, [4], 1)
    decode, frontend, backend, end = (stage for stage, _ in measured)
    assert (decode.utterances, decode.audio) == (2, 3.0)
    for stage in (frontend, backend, end):
        assert (stage.utterances, stage.audio) == (4, 2.0)


def test_a_row_of_the_benchmark_table_has_utterances_and_seconds_of_audio_per_second():
    stage = TimedStage("a stage", list, utterances=4, audio=16.0)
    row = speed_table([StageSpeed(stage, 0.5)])[2]
    assert [cell.strip() for cell in row.split("|")[1:4]] == ["a stage", "8.00", "32.0"]
