"""Parity: a GPU computes the same as the CPU in float32, and scores do not depend on how they are asked for."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _gpu import Stage, configuration, relative
from scoring import quietly
from torch import Tensor, nn
from train import generated_trials

from nes2net.detector import Detector
from nes2net.evaluation.judgements import Scores
from nes2net.lib.devices import choose_device, float32_settings
from nes2net.lib.this_process import usable_processors
from nes2net.models import registry
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.kernel import Result, differentiable, score_batch, scoring_mode
from nes2net.scoring.score_file import read_scores

# Largest relative errors of float32; with TF32 they would be at least ten times larger.
LOGITS = 1e-4
GRADIENTS = 1e-3
# Largest difference of two float32 scores of one utterance.
SCORES = 1e-5

_SSL = {
    "encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4, "conv_pos": 16,
    "conv_pos_groups": 4, "conv_feature_layers": [[32, 16, 8], [32, 4, 4], [32, 4, 4], [32, 4, 2]],
}  # fmt: skip
WAV2VEC2 = {"name": "wav2vec2_small", **_SSL}
_MEL = {"encoder_layers": 1, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4}
FRONTENDS = {
    "raw_aasist": "waveform", "raw_aasist_l": "waveform", "mpif_res2net": {"name": "lps", "num_bins": 45},
    "multires_gmlp": {**WAV2VEC2, "encoder_embed_dim": 128},  # the last of its seven scales has a 64th of this width
    "one_class_distillation": {"name": "teacher_student", "teacher": WAV2VEC2, "student": {"encoder_layers": 1}},
}  # fmt: skip
SMALLER: dict[str, dict[str, Any]] = {
    "aasist2": {"width": 4, "scale": 3},
    "asp_cosine": {"num_layers": 2},
    "attm_lstm": {"num_layers": 2},
    "conformer": {"num_blocks": 2},
    "ensemble": {"kind": "classification", "num_layers": 2},
    "mamba": {"num_layers": 4},
    "mambo": {"embed_dim": 32, "num_layers": 1, "num_mixers": 1, "state_dim": 16, "head_dim": 32},
    "mfa": {"num_layers": 2},
    "mpif_res2net": {"num_frames": 64, "planes": [8, 16, 32, 64], "scale": 4},
    "multires_gmlp": {"num_layers": 2, "gmlp_layers": 1, "max_frames": 256},
    "one_class_distillation": {"backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}},
    **{name: {"nes_ratio": [4, 4]} for name in ("nes2net", "nes2net_la", "nes2net_x", "nes2net_x_selu")},
    "raptor": {"num_blocks": 1},
    "sls": {"num_layers": 2},
    "tcm": {"num_blocks": 2},
}


def systems() -> dict[str, dict[str, Any]]:
    """Configure small detectors that use every registered back-end, aggregation and kind of front-end: title → configuration."""
    configurations = {}
    for name in registry.backends.names():
        backend = {"name": name, **SMALLER.get(name, {})}
        configurations[f"back-end {name}"] = {"frontend": FRONTENDS.get(name, WAV2VEC2), "backend": backend}
    for name in registry.aggregations.names():
        configurations[f"aggregation {name}"] = {"frontend": WAV2VEC2, "aggregation": name, "backend": "asp_mlp"}
    small = {
        **dict.fromkeys(("hubert", "wavlm"), _SSL),
        "w2v_bert2": _MEL,
        "whisper": {**_MEL, "chunk_length": 4},
        "lps": {},
        "lfcc": {},
    }
    for name, options in small.items():
        configurations[f"front-end {name}"] = {"frontend": {"name": name, **options}, "backend": "asp_mlp"}
    return configurations


def measure(stage: Stage) -> None:
    """Do all comparisons."""
    if stage.cuda:
        torch.set_num_threads(usable_processors())  # for the reference
    for name, config in list(systems().items())[:: 6 if stage.small else 1]:
        stage.attempt("small detectors against the CPU", name, partial(small, stage, name, config), 3)
    for name in ("xlsr_300m", "wavlm_large"):
        stage.attempt("full size against the CPU", name, partial(full_size, stage, name), 25)
    for precision in stage.precisions:
        stage.attempt("batches", precision, partial(batches, stage, precision))
    for precision in stage.precisions:
        label = f"score, score_files, judge_trials, {precision}"
        stage.attempt("one score", label, partial(one_score, stage, label, precision))
    if stage.cuda:
        stage.attempt("memory", "memory that is too small", partial(too_little_memory, stage), 10)
        sizes = (("bfloat16", 64, 24), ("float32", 32, 48))
        for precision, batch, seconds in [("float32", 4, 2)] if stage.small else sizes:
            label = f"{batch} × {seconds} s, {precision}"
            stage.attempt("2³¹ elements", label, partial(many_elements, stage, label, precision, batch, seconds), 10)
    stage.attempt("float32 inside scoring_mode", "switches", partial(switches, stage), 20)


def small(stage: Stage, name: str, config: dict[str, Any]) -> None:
    """Compare a small detector on the device and on the CPU.

    Logits are compared with float64 on the CPU, the gradient with float32 on the CPU.
    """
    path = stage.work / "small.pth"
    torch.manual_seed(0)
    on_cpu = Detector.from_config(config).eval()
    on_cpu.save(path)
    waveforms = stage.noise(3, samples_of(on_cpu, stage.num_samples // 2))
    exact = stage.load(path, "float64", "cpu")
    with torch.inference_mode():
        reference = exact(waveforms.double())
        errors = {"float32, CPU": relative(on_cpu(waveforms), reference)}
    for precision in stage.precisions:
        on_device = stage.load(path, precision)
        with scoring_mode(on_device), torch.inference_mode():
            errors[precision] = relative(on_device(waveforms.to(stage.device)), reference)
    on_device = stage.load(path, "float32")
    cpu_gradient = gradient(on_cpu, waveforms)
    device_gradient = gradient(on_device, waveforms.to(stage.device))
    gap = relative(device_gradient, cpu_gradient)
    holds = errors["float32"] <= LOGITS and gap <= GRADIENTS
    stage.add("small detectors against the CPU", name, **errors, gradient=gap, holds=holds)


def samples_of(detector: Detector, usual: int) -> int:
    """The number of samples for a detector: ``usual``, or its own if its back-end reads one number of frames."""
    return detector.min_samples if detector.backend.fixed_frames else usual


def gradient(detector: Detector, waveforms: Tensor) -> Tensor:
    """Compute the gradients of the sum of squared logits by all parameters, in one row."""
    with scoring_mode(detector), differentiable(detector):
        parameters = [p for p in detector.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(detector(waveforms).square().sum(), parameters, allow_unused=True)
    return torch.cat([torch.zeros(1), *(g.flatten().cpu() for g in gradients if g is not None)])


def full_size(stage: Stage, frontend: str) -> None:
    """Compare features and logits of a full-size detector with those on the CPU in float32."""
    path = stage.published() if frontend == "xlsr_300m" else stage.checkpoint(
        frontend, configuration(frontend, small=stage.small)
    )  # fmt: skip
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
        stage.add(
            "full size against the CPU",
            f"{frontend} + nes2net_x, {precision}",
            features=relative(device_features, features),
            logits=error,
            largest=(device_logits.float().cpu() - logits).abs().max().item(),
            holds=error <= LOGITS if precision == "float32" else None,
        )


def batches(stage: Stage, precision: str) -> None:
    """Check that a score is the same alone, in half the batch, and computed twice."""
    detector = stage.load(stage.published(), precision)
    waveforms = stage.noise(4 if stage.small else 64)
    together = score_batch(detector, waveforms)
    again = score_batch(detector, waveforms)
    alone = [score_batch(detector, w[None])[0] for w in waveforms[:8]]
    half = score_batch(detector, waveforms[: len(waveforms) // 2])
    largest = max(difference(together, alone), difference(together, half))
    stage.add(
        "batches",
        f"{len(waveforms)} together, {precision}",
        alone=difference(together, alone),
        half=difference(together, half),
        deviation=float(np.std(np.array(together, float))),
        **{"twice the same": together == again},
        holds=largest <= SCORES if precision == "float32" else None,
    )


def difference(a: Sequence[Result], b: Sequence[Result]) -> float:
    """The largest difference of the scores of two lists; NaN if a score is missing."""
    pairs = list(zip(a, b))
    if any(isinstance(x, str) for pair in pairs for x in pair):
        return math.nan
    return max(abs(float(x) - float(y)) for x, y in pairs)


def one_score(stage: Stage, label: str, precision: str) -> None:
    """Compare `score` and `score_files` with `judge_trials`."""
    detector = stage.load(stage.published(), precision)
    folder = stage.work / "one_score"
    folder.mkdir(exist_ok=True)
    trials = generated_trials(folder, 4 if stage.small else 16)
    options = {"num_samples": stage.num_samples, "batch_size": 8, "num_workers": 2, "overwrite": True}
    quietly(
        lambda: judge_trials(detector, trials, folder / "scores.txt", Scores(), settings=ScoringSettings(**options))
    )
    corpus = read_scores(folder / "scores.txt")[1].tolist()
    alone = [detector.score(trial.path, num_samples=stage.num_samples) for trial in trials]
    paths = [trial.path for trial in trials]
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
    needed = stage.memory(lambda: score_batch(detector, waveforms)) or 0.0
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
        stage.add(
            "memory",
            f"64 utterances in {share:.1%} of {needed:.1f} GiB",
            largest=gap,
            missing=len(missing),
            holds=in_parts if share >= 0.1 else refused,
        )


def many_elements(stage: Stage, label: str, precision: str, batch: int, seconds: int) -> None:
    """Score long utterances whose first convolution has more elements than 32 bits can count."""
    detector = stage.load(stage.published(), precision)
    waveforms = stage.noise(batch, seconds * 16000)
    ends = [0, batch - 1]
    alone = score_batch(detector, waveforms[ends])
    together = score_batch(detector, waveforms)
    gap = difference([together[i] for i in ends], alone)
    limit = SCORES if precision == "float32" else 0.05
    stage.add("2³¹ elements", label, largest=gap, memory=stage.memory(lambda: score_batch(detector, waveforms)),
              holds=gap <= limit)  # fmt: skip


# Settings that a program may make before it scores → code that makes them.
CHOICES = {
    "as PyTorch comes": "",
    "set_float32_matmul_precision('high')": "torch.set_float32_matmul_precision('high')",
    "backends.fp32_precision = 'tf32'": "torch.backends.fp32_precision = 'tf32'",
}


def switches(stage: Stage) -> None:
    """Check that float32 stays float32 in scoring, whatever a program or the machine has set, and that settings are restored."""
    override = {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}  # as in NVIDIA's containers
    cases = [(name, line, {}) for name, line in CHOICES.items()]
    cases.append(("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1", "", override))
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    children = []
    for name, line, extra in cases[: 1 if stage.small else None]:
        code = f"import torch, _gpu_parity\n{line}\nprint(_gpu_parity.errors_inside({str(stage.device)!r}))"
        command = [sys.executable, "-W", "ignore", "-c", code]
        environment = {**os.environ, "PYTHONPATH": path, **extra}
        children.append((name, subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)))
    for name, child in children:
        errors = json.loads(child.communicate(timeout=120)[0])
        holds = errors["product"] < 1e-5 and errors["convolution"] < 1e-5 and errors["put back"]
        stage.add("float32 inside scoring_mode", name, **errors, holds=holds)


def errors_inside(device: str) -> str:
    """Compute relative errors of a product and a convolution in scoring mode, and whether the settings are restored.

    The result is JSON; a process of its own calls this.
    """
    gpu = choose_device(device)
    detector = Detector.from_config({"frontend": "lps", "backend": "asp_mlp"}).to(gpu)
    a = torch.randn(512, 512)
    b = torch.randn(512, 512)
    x = torch.randn(4, 64, 512)
    weight = torch.randn(64, 64, 3)
    settings_before = float32_settings()
    with scoring_mode(detector), torch.inference_mode():
        product = a.to(gpu) @ b.to(gpu)
        convolution = nn.functional.conv1d(x.to(gpu), weight.to(gpu))
    put_back = float32_settings() == settings_before
    errors = {
        "product": relative(product, a.double() @ b.double()),
        "convolution": relative(convolution, nn.functional.conv1d(x.double(), weight.double())),
    }
    return json.dumps({**errors, "put back": put_back})
