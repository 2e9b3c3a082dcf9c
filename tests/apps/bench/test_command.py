"""`nes2net bench`: a table of every stage."""

import re

import numpy as np
import pytest
import soundfile

from nes2net import Detector

RANDOM = "--architecture wavlm_nes2net,frontend.name=wav2vec2_small --dtype bfloat16"
STAGES = ["decode, one thread", "front-end, batch 1", "back-end, batch 1", "front-end, batch 3", "back-end, batch 3"]
STAGES += ["files to scores, batch 3"]


@pytest.mark.parametrize("words, dtype", [(RANDOM, "bfloat16"), (". --model model.pth --device cpu", "float32")])
def test_bench_prints_a_row_of_figures_for_every_stage(words, dtype, workdir, output):
    Detector.from_config({"frontend": "lfcc", "backend": "asp_mlp"}).save("model.pth")
    for number in range(3):
        soundfile.write(f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(9000), 16000)
    facts, table = output(f"bench {words} --seconds 0.5 --batch-size 1 3 --rounds 1").out.split("\n\n")
    assert f"- precision: {dtype}\n" in facts
    assert "- device: cpu\n" in facts
    stages = []
    for row in table.strip().splitlines()[2:]:
        stage, *figures = [cell.strip() for cell in row.strip("|").split("|")]
        stages.append(stage)
        numbers = [float(re.sub("[,%]", "", figure)) for figure in figures if figure != "–"]
        assert numbers
    assert stages == [*STAGES]
