"""Gradient × input and integrated gradients of the score, over the cells of the Fourier transform.

The waveform is the inverse transform of its cells, so the score is a function of the cells.

Gradient × input: the relevance of a cell z is Re(z)·∂score/∂Re(z) + Im(z)·∂score/∂Im(z), the
derivative of the score with respect to the logarithm of the cell's magnitude.

Integrated gradients: this derivative is integrated along a straight line in log magnitudes, from
the baseline to the recording, with the phases of the recording. A straight line between complex
cells would pass near 0, where the logarithm of a spectrum has no gradient.

The relevance of a time bin or a band is the sum over its cells.

Shrikumar et al., "Not just a black box", arXiv 1605.01713 (gradient × input); Sundararajan et al.,
"Axiomatic attribution for deep networks", ICML 2017 (integrated gradients; their sum is the
difference between the scores of recording and baseline).
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


def attribute(subject: Subject, grid: Removable, method: str, steps: int) -> tuple[Relevance, float | None]:
    """Compute the relevance of the time bins, bands and cells of ``grid`` by gradients of the score.

    Args:
        method: ``"gradient_x_input"`` or ``"integrated_gradients"``, whose baseline has the
            magnitudes of ``grid.absent``.

    Returns:
        The relevance, and for integrated gradients the score of the recording minus the score of
        the baseline, to which the relevance should add up.

    Raises:
        MissingLibrary: if captum is not installed.
        InputError: if the detector computes in int8, or a gradient is not finite.
    """
    detector = subject.detector
    if detector.precision == "int8":
        raise InputError(
            f"int8 has no gradients for `method={method}`: load the detector in float32, or use `method=occlusion`"
        )

    def score_of(spectrum: Tensor) -> Tensor:
        """Return the scores (B,) of transforms B×R×C, with gradients."""
        subject.progress(len(spectrum))
        return detector.backend.scores(detector(subject.detector_input(grid.waveform_of(spectrum))))

    captum = optional("captum.attr", "gradients need captum", "explain", ", or use `method=occlusion`")
    spectrum = grid.spectrum[None].to(detector.device)
    with scoring_mode(detector), differentiable(detector.modules()):
        if method == "gradient_x_input":
            attributor = captum.InputXGradient(lambda cells: score_of(torch.view_as_complex(cells)))
            gradients = attributor.attribute(torch.view_as_real(spectrum).requires_grad_()).sum(3)  # 1×R×C×2 → 1×R×C
            difference = None
        else:
            phases = torch.polar(torch.ones_like(spectrum.real), spectrum.angle())
            log_present = spectrum.abs().clamp(min=_MIN_MAGNITUDE).log()  # logarithms of magnitudes
            log_absent = grid.absent[None].to(detector.device).abs().clamp(min=_MIN_MAGNITUDE).log()
            attributor = captum.IntegratedGradients(lambda levels: score_of(levels.exp() * phases))
            gradients = attributor.attribute(
                log_present, log_absent, n_steps=steps, internal_batch_size=subject.batch_size
            )
            ends = subject.scores(grid.waveform_of(torch.cat([log_present, log_absent]).exp() * phases).cpu())
            difference = float(ends[0] - ends[1])
    if not torch.isfinite(gradients).all():
        raise InputError(f"a gradient is not finite, so `method={method}` explains nothing: use `method=occlusion`")
    cells = grid.sum_over_cells(gradients[0].detach().cpu())
    return Relevance(grid.times, grid.bands, cells.sum(0), cells.sum(1), cells, additive=True), difference
