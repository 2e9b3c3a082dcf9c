"""Integrated gradients of the score, over the cells of the Fourier transform.

The waveform is the inverse transform of its cells, so the score is a function of the cells. Its
derivative with respect to the logarithm of a cell's magnitude is integrated along a straight line
in log magnitudes, from the baseline to the recording, with the phases of the recording. A straight
line between complex cells would pass near 0, where the logarithm of a spectrum has no gradient.

The relevance of a time bin or a band is the sum over its cells. Their sum is the difference between
the scores of recording and baseline (Sundararajan et al., "Axiomatic attribution for deep networks",
ICML 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nes2net.apps.explanation.relevance import Relevance
from nes2net.apps.explanation.subject import Removable, Subject
from nes2net.lib.computing.devices import differentiable
from nes2net.lib.errors import InputError
from nes2net.lib.process.installation import optional
from nes2net.scoring.kernel import scoring_mode

# Smaller magnitudes are raised to this magnitude, because 0 has no logarithm. A full-scale tone is 142 dB above this
# magnitude.
_MIN_MAGNITUDE = 1e-5


def attribute(subject: Subject, grid: Removable, steps: int) -> tuple[Relevance, float]:
    """Compute the relevance of the time bins, bands and cells of ``grid`` by gradients of the score.

    The baseline has the magnitudes of ``grid.absent``.

    Returns:
        The relevance, and the score of the recording minus the score of the baseline, to which the
        relevance should add up.

    Raises:
        MissingLibrary: if captum is not installed.
        InputError: if the detector computes in int8, or a gradient is not finite.
    """
    detector = subject.detector
    if detector.precision == "int8":
        raise InputError(
            "int8 has no gradients for `method=integrated_gradients`: load the detector in float32, or use "
            "`method=occlusion`"
        )

    def score_of(spectrum: Tensor) -> Tensor:
        """Return the scores (B,) of transforms B×R×C, with gradients."""
        subject.progress(len(spectrum))
        return detector.backend.scores(detector(subject.detector_input(grid.waveform_of(spectrum))))

    captum = optional("captum.attr", "gradients need captum", "explain", ", or use `method=occlusion`")
    spectrum = grid.spectrum[None].to(detector.device)
    with scoring_mode(detector), differentiable(detector.modules()):
        phases = torch.polar(torch.ones_like(spectrum.real), spectrum.angle())
        log_present = spectrum.abs().clamp(min=_MIN_MAGNITUDE).log()  # logarithms of magnitudes
        log_absent = grid.absent[None].to(detector.device).abs().clamp(min=_MIN_MAGNITUDE).log()
        attributor = captum.IntegratedGradients(lambda levels: score_of(levels.exp() * phases))
        gradients = attributor.attribute(log_present, log_absent, n_steps=steps, internal_batch_size=subject.batch_size)
        ends = subject.scores(grid.waveform_of(torch.cat([log_present, log_absent]).exp() * phases).cpu())
    if not torch.isfinite(gradients).all():
        raise InputError("a gradient is not finite, so it explains nothing: use `method=occlusion`")
    cells = grid.sum_over_cells(gradients[0].detach().cpu())
    return Relevance(grid.times, grid.bands, cells.sum(0), cells.sum(1), cells, additive=True), float(ends[0] - ends[1])
