"""Parity in full size: a GPU computes the same as the CPU in float32, and scores do not depend on how they are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from _gpu import Stage, configuration, relative
from _harness import generated_trials, quietly
from scoring import score_trials

from nes2net.lib.process.this_process import usable_processors
from nes2net.scoring.kernel import Result, score_batch, scoring_mode
from nes2net.scoring.score_file import read_scores

# Largest relative errors of float32; with TF32 they would be at least ten times larger.
LOGITS = 1e-4
GRADIENTS = 1e-3
# Largest difference of two float32 scores of one utterance.
SCORES = 1e-5


def measure(stage: Stage) -> None:
    """Do all comparisons."""
    if stage.cuda:
        torch.set_num_threads(usable_processors())  # for the reference
    for name in ("xlsr_300m", "wavlm_large"):
        stage.attempt("full size against the CPU", name, partial(full_size, stage, name), 25)
    for precision in stage.precisions:
        stage.attempt("batches", precision, partial(batches, stage, precision))
        label = f"score, score_files, judge_trials, {precision}"
        stage.attempt("one score", label, partial(one_score, stage, label, precision))
    if stage.cuda:
        stage.attempt("memory", "memory that is too small", partial(too_little_memory, stage), 10)
        sizes = [("float32", 4, 2)] if stage.small else [("bfloat16", 64, 24), ("float32", 32, 48)]
        for precision, batch, seconds in sizes:
            label = f"{batch} × {seconds} s, {precision}"
            stage.attempt("2³¹ elements", label, partial(many_elements, stage, label, precision, batch, seconds), 10)


def full_size(stage: Stage, frontend: str) -> None:
    """Compare features and logits of a full-size detector with those on the CPU in float32."""
    path = stage.checkpoint(frontend, configuration(frontend, small=stage.small))
    waveforms = stage.noise(2)
    on_cpu = stage.load(path, "float32", "cpu")
    with torch.inference_mode():
        features = on_cpu.hidden_states(waveforms)[-1]
        logits = on_cpu(waveforms)
    for precision in stage.precisions:
        on_device = stage.load(path, precision)
        x = waveforms.to(stage.device)
        with scoring_mode(on_device), torch.inference_mode():
            device_features = on_device.hidden_states(x)[-1]
            device_logits = on_device(x)
        error = relative(device_logits, logits)
        errors = {"features": relative(device_features, features), "logits": error}
        largest = (device_logits.float().cpu() - logits).abs().max().item()
        holds = error <= LOGITS if precision == "float32" else None
        label = f"{frontend} + nes2net_x, {precision}"
        stage.add("full size against the CPU", label, **errors, largest=largest, holds=holds)


def batches(stage: Stage, precision: str) -> None:
    """Check that a score is the same alone, in half the batch, and computed twice."""
    detector = stage.load(stage.published(), precision)
    waveforms = stage.noise(4 if stage.small else 64)
    together = score_batch(detector, waveforms)
    again = score_batch(detector, waveforms)
    alone = [score_batch(detector, w[None])[0] for w in waveforms[:8]]
    half = score_batch(detector, waveforms[: len(waveforms) // 2])
    gaps = {"alone": difference(together, alone), "half": difference(together, half)}
    deviation = float(np.std(np.array(together, float)))
    holds = max(gaps.values()) <= SCORES if precision == "float32" else None
    label = f"{len(waveforms)} together, {precision}"
    stage.add("batches", label, **gaps, deviation=deviation, **{"twice the same": together == again}, holds=holds)


def difference(a: Sequence[Result], b: Sequence[Result]) -> float:
    """The largest difference of the scores of two lists; NaN if a score is missing."""
    if any(isinstance(result, str) for result in [*a, *b]):
        return math.nan
    return max(abs(float(x) - float(y)) for x, y in zip(a, b))


def one_score(stage: Stage, label: str, precision: str) -> None:
    """Compare `score` and `score_files` with `judge_trials`."""
    detector = stage.load(stage.published(), precision)
    folder = stage.work / "one_score"
    folder.mkdir(exist_ok=True)
    trials = generated_trials(folder, 4 if stage.small else 16)
    out = folder / "scores.txt"
    settings = {"num_samples": stage.num_samples, "batch_size": 8, "num_workers": 2, "overwrite": True}
    quietly(partial(score_trials, detector, trials, out, **settings))
    corpus = read_scores(out)[1].tolist()
    paths = [trial.recording() for trial in trials]
    alone = [detector.score(path, num_samples=stage.num_samples) for path in paths]
    files = [score for _, score in detector.score_files(paths, stage.num_samples, batch_size=8)]
    gaps = {"score": difference(alone, corpus), "score_files": difference(files, corpus)}
    holds = max(gaps.values()) <= SCORES if precision == "float32" else None
    stage.add("one score", label, **gaps, deviation=float(np.std(corpus)), holds=holds)


def too_little_memory(stage: Stage) -> None:
    """Limit the memory: a batch that does not fit is scored in parts, with the same scores.

    If a single utterance does not fit, the result is a reason instead of a score.
    """
    detector = stage.load(stage.published(), "float32")
    waveforms = stage.noise(64).pin_memory()
    expected = score_batch(detector, waveforms)
    stage.release()
    needed = stage.memory(partial(score_batch, detector, waveforms)) or 0.0
    total = torch.cuda.get_device_properties(stage.device).total_memory
    used_memory = torch.cuda.memory_allocated()
    # With a tiny model, an utterance fits even into the memory that the allocator holds beside the weights.
    shares = (0.4,) if stage.small else (0.4, 0.1, 0.005)
    for share in shares:
        stage.release()
        torch.cuda.set_per_process_memory_fraction((used_memory + share * needed * 2**30) / total)
        try:
            results = score_batch(detector, waveforms)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        missing = [result for result in results if isinstance(result, str)]
        gap = math.nan if missing else difference(expected, results)
        in_parts = not missing and gap <= SCORES
        refused = len(missing) == len(results) and "do not fit into the memory" in missing[0]
        label = f"64 utterances in {share:.1%} of {needed:.1f} GiB"
        holds = in_parts if share >= 0.1 else refused
        stage.add("memory", label, largest=gap, missing=len(missing), holds=holds)


def many_elements(stage: Stage, label: str, precision: str, batch: int, seconds: int) -> None:
    """Score long utterances whose first convolution has more elements than 32 bits can count."""
    detector = stage.load(stage.published(), precision)
    waveforms = stage.noise(batch, seconds * 16000)
    ends = [0, batch - 1]
    alone = score_batch(detector, waveforms[ends])
    together = score_batch(detector, waveforms)
    gap = difference([together[i] for i in ends], alone)
    limit = SCORES if precision == "float32" else 0.05
    gibibytes = stage.memory(partial(score_batch, detector, waveforms))
    stage.add("2³¹ elements", label, largest=gap, memory=gibibytes, holds=gap <= limit)
