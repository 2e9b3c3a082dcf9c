"""Compare score files of the published detector with those that the CPU writes in float32; of 4 s and of whole utterances."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from _gpu import Stage, relative
from _gpu_parity import LOGITS
from scoring import quietly
from train import generated_trials

from nes2net.evaluation.judgements import Scores
from nes2net.lib.this_process import usable_processors
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.score_file import read_scores

SECTION = "score files against the CPU"


def measure(stage: Stage) -> None:
    """Compare the scores in each precision."""
    if stage.cuda:
        torch.set_num_threads(usable_processors())  # for the reference
    folder = stage.work / "scores"
    folder.mkdir()
    trials = generated_trials(folder, 4 if stage.small else 16)

    def scores(precision: str, device: str, options: dict[str, Any]) -> np.ndarray:
        """Score all trials, and return the scores of the file."""
        detector = stage.load(stage.published(), precision, device)
        out = folder / "scores.txt"
        settings = {"batch_size": 8, "overwrite": True, **options}
        finished = quietly(partial(judge_trials, detector, trials, out, Scores(), settings=ScoringSettings(**settings)))
        if finished.failures:
            raise RuntimeError(
                f"{len(finished.failures)} trials have no score: {next(iter(finished.failures.values()))}"
            )
        return read_scores(out)[1]

    def compare(label: str, options: dict[str, Any]) -> None:
        """Compare the scores of each precision on the device with those on the CPU."""
        expected = scores("float32", "cpu", options)
        for precision in stage.precisions:
            device_scores = scores(precision, str(stage.device), options)
            error = relative(torch.as_tensor(device_scores), torch.as_tensor(expected))
            holds = error <= LOGITS if precision == "float32" else None
            largest = float(np.abs(device_scores - expected).max())
            stage.add(SECTION, f"{label}, {precision}", relative=error, largest=largest, holds=holds)

    stage.attempt(SECTION, "4 s", partial(compare, "4 s", {"num_samples": stage.num_samples}), 20)
    stage.attempt(SECTION, "whole utterances", partial(compare, "whole", {"num_samples": None}), 20)
