"""Run an exported detector by onnxruntime."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nes2net.lib.errors import InputError, counted, first_line
from nes2net.lib.this_process import is_out_of_memory
from nes2net.models.backends.base import ScoreRule
from nes2net.models.checkpoints.onnx_file import OnnxFile, accepted_lengths
from nes2net.models.frontends.base import UsedSamples
from nes2net.models.provenance import Provenance


class OnnxDetector(OnnxFile):
    """A detector in an ONNX file of :func:`nes2net.apps.export.onnx.export_onnx`.

    An exported detector is a :class:`nes2net.scoring.kernel.Scorer`, always in eval mode. Arguments
    and errors are as for :class:`OnnxFile`.

    A quantised file computes one waveform at a time: onnxruntime quantises activations with one
    range for the whole batch. In a batch, a score would therefore depend on the other utterances.

    Attributes:
        device: the CPU. Waveforms must be on the CPU even if onnxruntime computes on CUDA
            (:attr:`computes_on`).
        provenance: the facts about training data that the exported checkpoint stated
            (:meth:`nes2net.models.provenance.Provenance.start`).
    """

    runs = True
    device = torch.device("cpu")
    num_scores = 0
    resolutions = ()  # empty, because the exported graph does not score segments
    trained_on_segments = False

    def __init__(self, path: str | Path, device: str = "auto") -> None:
        super().__init__(path, device)
        self.provenance = Provenance.read(self.description["training"]).without_weights()
        self.score_rule: ScoreRule = self.description["score_rule"]
        self.used_samples = UsedSamples(most=self.description["used_samples"])

    def __call__(self, waveform: Tensor) -> Tensor:
        """Compute logits B×n of ``waveform`` B×N, on the CPU."""
        return self._run("logits", waveform)

    def check_score(self) -> None:
        """Do nothing: only detectors that have a score are exported."""

    def scores(self, waveform: Tensor, system_scores: Tensor | None = None) -> Tensor:
        """Compute scores (B,) of ``waveform`` B×N, on the CPU; ``system_scores`` are ignored."""
        return self._run("scores", waveform)

    def modules(self) -> Iterable[nn.Module]:
        """Return no modules: callers look for modules in train mode, and an exported detector has no such modules."""
        return ()

    def train(self, mode: bool = True) -> OnnxDetector:
        """Do nothing for eval mode; raise :class:`InputError` for train mode, which needs the original checkpoint."""
        if mode:
            raise InputError(f"{self.path} holds a detector in eval mode: train mode needs its checkpoint")
        return self

    def compile(self, **_: Any) -> None:
        """Raise :class:`InputError`, because onnxruntime optimises the graph itself."""
        raise InputError(f"{self.path} is an exported detector, which cannot be compiled: leave out `compile=True`")

    def _run(self, output: str, waveform: Tensor) -> Tensor:
        """Run the graph on ``waveform`` B×N, and check the shape of the result.

        Args:
            output: ``"logits"`` for B×n, or ``"scores"`` for (B,).

        Raises:
            InputError: if the graph does not take N samples, fails, or gives a result of the wrong
                shape.
        """
        # Check the length of the waveforms.
        samples = waveform.shape[1]
        if samples < self.min_samples or (self.max_samples and samples > self.max_samples):
            limit = accepted_lengths(self.min_samples, self.max_samples)
            raise InputError(f"{self.path} takes {limit} samples, got {samples}: crop or repeat the waveform")
        # Run the graph, and check that each result has the expected shape.
        array = np.ascontiguousarray(waveform.numpy(), dtype=np.float32)
        computed: list[np.ndarray] = []
        batches = [array]
        if self.precision == "int8":  # compute one waveform at a time, see the docstring of the class
            batches = np.split(array, len(array))
        for batch in batches:
            try:
                computed += self.session.run([output], {"waveform": batch})
            except Exception as error:  # onnxruntime's exceptions have no common class
                if is_out_of_memory(error):
                    raise
                raise InputError(
                    f"{self.path} fails for {len(batch)} × {samples} samples ({first_line(error)}): export it anew"
                ) from error
            shape = computed[-1].shape
            expected_shape = len(batch), *shape[1:2]  # logits have the shape B×n, for any n
            if output == "scores":
                expected_shape = (len(batch),)
            if shape != expected_shape:
                raise InputError(
                    f"{self.path} computed {output} of shape {shape} for {counted(len(batch), 'waveform')}: export it anew"
                )
        return torch.from_numpy(np.concatenate(computed))
