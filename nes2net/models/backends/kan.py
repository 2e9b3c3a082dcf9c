"""Kolmogorov-Arnold layers, in which every pair of an input and an output has its own spline.

Liu et al., "KAN: Kolmogorov-Arnold networks", ICLR 2025 (arXiv 2404.19756), in the form of the
detectors Spectra-AASIST3 and AASIST3.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nes2net.lib.computing.devices import at_least_float32, without_autocast

_NOISE = 0.05  # initial values of splines are random, of magnitude at most _NOISE / number of grid cells


class KanLinear(nn.Module):
    """A Kolmogorov-Arnold layer from i inputs to o outputs, …×i → …×o.

    y_o = Σ_i base_weight[o, i]·PReLU(x_i) + Σ_i spline_scaler[o, i]·Σ_g spline_weight[o, i, g]·B_g(x_i).

    The grid of the B-splines B_g has ``grid_size`` equal cells between −1 and 1, and
    ``spline_order`` more on either side; outside, B_g(x_i) = 0. There is no bias.

    Args:
        in_features, out_features: numbers of inputs i and outputs o.
        grid_size: G.
        spline_order: degree k of the splines.

    >>> KanLinear(3, 2)(torch.zeros(4, 5, 3)).shape
    torch.Size([4, 5, 2])
    """

    grid: Tensor

    def __init__(self, in_features: int, out_features: int, grid_size: int = 16, spline_order: int = 4) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.grid_size = grid_size
        self.spline_order = spline_order
        # The knots are the ends of the cells: G cells from −1 to 1, and k cells on either side.
        knots = (torch.arange(grid_size + 2 * spline_order + 1) - spline_order) * (2 / grid_size) - 1
        self.register_buffer("grid", knots.expand(in_features, -1).clone())  # i×(G + 2k + 1), the same for every input
        bound = 1 / math.sqrt(in_features)
        self.base_weight = nn.Parameter(torch.empty(out_features, in_features).uniform_(-bound, bound))
        self.spline_scaler = nn.Parameter(torch.empty(out_features, in_features).uniform_(-bound, bound))
        # At first, the splines have small random values at the knots.
        noise = (torch.rand(grid_size + 1, in_features, out_features) - 0.5) * (2 * _NOISE / grid_size)
        self.spline_weight = nn.Parameter(self.coefficients(noise))
        self.base_activation = nn.PReLU()

    def bases(self, x: Tensor) -> Tensor:
        """Compute all B-splines …×i×(G + k) at ``x`` …×i."""
        x = x.unsqueeze(-1)
        knots = self.grid.to(x.dtype)
        values = ((x >= knots[:, :-1]) & (x < knots[:, 1:])).to(x.dtype)  # degree 0: 1 in the cell of x
        for degree in range(1, self.spline_order + 1):  # the recursion of Cox and de Boor
            rising = (x - knots[:, : -degree - 1]) / (knots[:, degree:-1] - knots[:, : -degree - 1])
            falling = (knots[:, degree + 1 :] - x) / (knots[:, degree + 1 :] - knots[:, 1:-degree])
            values = rising * values[..., :-1] + falling * values[..., 1:]
        return values

    def coefficients(self, values: Tensor) -> Tensor:
        """Find weights o×i×(G + k) of least norm whose splines have ``values`` (G + 1)×i×o at knots from −1 to 1."""
        knots = self.grid[0, self.spline_order : self.spline_order + self.grid_size + 1].double()
        bases = self.bases(knots.unsqueeze(1).expand(-1, self.in_features))[:, 0]  # (G + 1)×(G + k)
        solution = torch.linalg.pinv(bases) @ values.double().flatten(1)
        return solution.view(-1, self.in_features, self.out_features).permute(2, 1, 0).to(values.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.combine(x, self.base_activation.weight, self.base_weight)

    def combine(self, x: Tensor, slope: Tensor, base_weight: Tensor) -> Tensor:
        """Compute …×o from ``x`` …×i with weights of its type; ``slope`` is that of PReLU, (1,)."""
        scaled = (self.spline_weight * self.spline_scaler.unsqueeze(2)).flatten(1).to(x.dtype)  # o×i·(G + k)
        return F.linear(F.prelu(x, slope), base_weight) + F.linear(self.bases(x).flatten(-2), scaled)


class KanLogits(KanLinear):
    """A last layer B×i → B×o in at least float32: scores in half precision would often be equal."""

    def forward(self, x: Tensor) -> Tensor:
        with without_autocast(x.device):
            return self.combine(*map(at_least_float32, (x, self.base_activation.weight, self.base_weight)))
