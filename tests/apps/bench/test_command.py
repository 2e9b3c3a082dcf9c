"""`nes2net bench`: a table of every stage, below the settings that it depends on."""

import re

import numpy as np
import pytest
import soundfile
import torch

from nes2net import Detector

RANDOM = "--architecture wavlm_nes2net --frontend wav2vec2_small --dtype bfloat16"
STAGES = ["decode, one thread", "front-end, batch 1", "back-end, batch 1", "front-end, batch 3", "back-end, batch 3"]
STAGES += ["files to scores, batch 3", "matrix product, "]


@pytest.mark.parametrize(
    "words, dtype, files, message",
    [
        (RANDOM, "bfloat16", "8 generated FLAC files", "wav2vec2 + last + nes2net_x"),
        (". --model model.pth --device cpu", "float32", "3 files", "lfcc + last + asp_mlp"),
    ],
)
def test_bench_prints_its_settings_and_a_row_for_every_stage(words, dtype, files, message, workdir, output):
    """The head names the settings, and each stage has a row of positive numbers."""
    Detector.from_config({"frontend": "lfcc", "backend": "asp_mlp"}).save("model.pth")
    for number in range(3):
        soundfile.write(f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(9000), 16000)
    out, err = output(f"bench {words} --seconds 0.5 --batch-size 1 3 --rounds 1")
    assert ("this takes a while" in err) == (words == RANDOM)
    head, rows = out.split("\n\n")
    assert message in head
    assert "nes2net 0" in head
    assert f"torch {torch.__version__}" in head
    assert " thread" in head
    assert f"{dtype} on cpu" in head
    assert f"{files}, utterances of 8,000 samples" in head
    titles, _, *rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.strip().splitlines()]
    assert titles == ["stage", "utterances / s", "× real time", "GFLOP/s", "of the matrix product"]
    assert [row[0] for row in rows] == [*STAGES[:-1], STAGES[-1] + dtype]
    for row in rows:
        numbers = [float(re.sub("[,%]", "", cell)) for cell in row[1:] if cell != "–"]
        assert numbers
        assert min(numbers) >= 0
