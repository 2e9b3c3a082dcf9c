"""The scan of Mamba-2 in plain PyTorch: matrix products over chunks, exportable for any number of frames.

T. Dao, A. Gu, "Transformers are SSMs", ICML 2024 (arXiv 2405.21060), Sec. 6. All channels of a head
have the same decay, so within a chunk the scan is a masked product of two matrices, as in
attention. The recurrence over the few chunks is also computed as a product.

Products of decays are sums of logarithms, which are never positive, so nothing overflows; in
float64, because differences of long sums must be accurate. All operations are deterministic on
CUDA, unlike ``torch.cumsum`` of floats.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nes2net.models.backends.selective_scan import cut_into_chunks, decays_between

CHUNK = 32  # number of frames in a chunk


def state_space_dual(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Compute the scan of Mamba-2, y_t = s_t C_t with s_t = exp(Δ_t A)·s_{t−1} + Δ_t x_t B_tᵀ and s_{−1} = 0.

    Each of the h heads has P channels, a state P×N and its own decay. All heads share B and C.

    Args:
        x: B×T×h×P; all arguments have one dtype.
        delta: Δ > 0, B×T×h.
        A: negative, h.
        B, C: B×T×N.

    Returns:
        y, B×T×h×P.

    >>> one = torch.ones(1, 3, 1)
    >>> state_space_dual(one[..., None], one, torch.tensor([-0.6931472]), one, one).flatten()  # s_t = s_{t−1} / 2 + 1
    tensor([1.0000, 1.5000, 1.7500])
    """
    num_frames = x.shape[1]
    log_decay = cut_into_chunks(delta * A, CHUNK)  # B×K×h×Q, K chunks of Q frames
    u = cut_into_chunks(delta.unsqueeze(3) * x, CHUNK).mT  # B×K×h×Q×P
    b = cut_into_chunks(B, CHUNK).mT  # B×K×Q×N
    c = cut_into_chunks(C, CHUNK).mT  # B×K×Q×N
    within = decays_between(log_decay)  # B×K×h×Q×Q
    y = ((c @ b.mT).unsqueeze(2) * within) @ u  # the part of y that comes from frames of the same chunk
    residues = (within[..., -1, :, None] * u).mT @ b.unsqueeze(2)  # B×K×h×P×N: states after chunks that start from 0
    between = decays_between(log_decay.sum(dim=3).movedim(1, 2))  # B×h×K×K
    states = (between @ residues.movedim(2, 1).flatten(3)).unflatten(
        3, residues.shape[3:]
    )  # B×h×K×P×N, the state after each chunk
    before = F.pad(states, (0, 0, 0, 0, 1, -1)).movedim(1, 2)  # the state before each chunk
    since = within[..., 0] * torch.exp(log_decay[..., :1])  # B×K×h×Q, decay since the start of the chunk
    y = y + since.unsqueeze(4) * (c.unsqueeze(2) @ before.mT)
    y = y.movedim(2, 3).flatten(1, 2)
    return F.pad(y, (0, 0, 0, 0, 0, num_frames - y.shape[1]))
