"""The selective scan of Mamba in plain PyTorch: parallel, exact, exportable for any number of frames.

A. Gu, T. Dao, "Mamba: linear-time sequence modeling with selective state spaces", 2023
(arXiv 2312.00752), Sec. 3.2, eqs. 2 and 4.

A Python loop over the T frames is slow, and its export fixes T. Here two passes step through K
chunks of 16 frames in parallel. The first starts each chunk from a zero state, to find what the
chunk adds; the second from the true state. Products of decays are sums of logarithms, which are
never positive, so nothing overflows. Up to rounding, the result equals the loop's.

All operations are deterministic on CUDA, unlike ``torch.cumsum`` of floats.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._higher_order_ops.scan import scan

CHUNK = 16  # number of frames in a chunk


def selective_scan(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Compute the selective scan y_t = C_t·s_t with s_t = exp(Δ_t A)·s_{t−1} + Δ_t B_t x_t and s_{−1} = 0.

    Time and memory are linear in T. For torch.compile, the scan is one operator, because compiling
    its parts would take minutes; for torch.export, ordinary tensor operations; for torch.onnx, a
    loop.

    Args:
        x: B×T×D; all arguments have one dtype.
        delta: Δ > 0, B×T×D.
        A: negative, D×N.
        B, C: B×T×N.

    Returns:
        y, B×T×D. Only the first derivatives of y can be computed.

    >>> frames, one = torch.ones(1, 3, 1), torch.ones(1, 1)
    >>> selective_scan(frames, frames, -0.6931472 * one, frames, frames).flatten()  # s_t = s_{t−1} / 2 + 1
    tensor([1.0000, 1.5000, 1.7500])
    """
    if not torch.compiler.is_exporting():
        return _scan_operator(x, delta, A, B, C)
    if not torch.onnx.is_in_onnx_export():
        return _scan(x, delta, A, B, C)

    # In an ONNX graph, a loop over frames has five nodes; a scan in chunks would have hundreds of
    # nodes. PyTorch's scan() calls step() for each frame.
    def step(state_and_A: tuple[Tensor, Tensor], frame: tuple[Tensor, ...]) -> tuple[tuple[Tensor, Tensor], Tensor]:
        state, A = state_and_A  # B×D×N, D×N
        x, delta, B, C = frame  # B×D, B×D, B×N, B×N
        state = torch.exp(delta.unsqueeze(2) * A) * state + (delta * x).unsqueeze(2) * B.unsqueeze(1)
        return (state, A.clone()), (state @ C.unsqueeze(2)).squeeze(2)  # step() may not return its input A: clone A

    return scan(step, (x.new_zeros(x.shape[0], x.shape[2], A.shape[1]), A.clone()), (x, delta, B, C), dim=1)[1]


def _scan(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    # As selective_scan(). Each state is B×K×D×N, each c B×K×N.
    states = _states(delta * x, delta, A, B)
    return _in_order([(state @ c.unsqueeze(3)).squeeze(3) for state, c in zip(states, _steps(C))], x.shape[1])


def _states(u: Tensor, delta: Tensor, A: Tensor, b: Tensor) -> Iterator[Tensor]:
    """Yield s_t = exp(Δ_t A)·s_{t−1} + u_t b_t: CHUNK tensors B×K×D×N, the i-th for frame i of all chunks.

    ``u`` and ``delta`` are B×T×D, ``A`` is D×N, ``b`` is B×T×N.
    """
    # In the first pass, each chunk starts from a zero state. The deque keeps only the last tensor:
    # the states after the last frame of each chunk, B×K×D×N.
    left_behind = deque(_recurrence(_transitions(u, delta, A, b)), maxlen=1).pop()
    log_decays = _steps(delta).sum(dim=0).unsqueeze(3) * A  # B×K×D×N: of each chunk
    return _recurrence(_transitions(u, delta, A, b), _states_before_chunks(log_decays, left_behind))


def _states_before_chunks(log_decays: Tensor, left_behind: Tensor) -> Tensor:
    # All tensors are B×K×D×N. The state after chunk k is s_k = exp(log_decay_k)·s_{k−1} + left_behind_k: again a scan,
    # of K steps, cut into outer chunks. The effect of each on each later one is computed directly, at a cost quadratic
    # in T / 256.
    log_decays = _steps(log_decays)
    states = torch.stack(list(_recurrence(zip(torch.exp(log_decays), _steps(left_behind)))))
    since = torch.stack(list(accumulate(log_decays)))  # log decay since the start of an outer chunk

    # At the end of outer chunk k, s_k = Σ_{j ≤ k} exp(Σ_{j < i ≤ k} d_i)·e_j: d_i, in since[-1], is the log decay of
    # outer chunk i; e_j, in states[-1], the state at the end of outer chunk j if it starts from zero.
    weights = decays_between(since[-1].movedim(1, -1)).movedim((3, 4), (1, 2))  # B×k×j×D×N
    ends = (weights * states[-1].unsqueeze(1)).sum(dim=2)
    earlier = F.pad(ends, (0, 0, 0, 0, 1, -1))  # each outer chunk starts from the end state of the chunk before
    return _in_order(torch.addcmul(states, torch.exp(since), earlier), left_behind.shape[1], delay=1)


def _transitions(u: Tensor, delta: Tensor, A: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield exp(Δ_t A) and u_t b_t, B×K×D×N, for frame i of all chunks; computing twice is faster than storing."""
    for delta_step, u_step, b_step in zip(_steps(delta), _steps(u), _steps(b)):
        yield torch.exp(delta_step.unsqueeze(3) * A), u_step.unsqueeze(3) * b_step.unsqueeze(2)


def _recurrence(transitions: Iterable[tuple[Tensor, Tensor]], state: Tensor | None = None) -> Iterator[Tensor]:
    """s ← decay·s + drive over ``transitions``, from ``state`` or 0."""
    for decay, drive in transitions:
        if state is not None:
            drive = torch.addcmul(drive, decay, state)
        state = drive
        yield state


def cut_into_chunks(x: Tensor, size: int) -> Tensor:
    """Cut ``x`` into K chunks of ``size`` frames, B×T×… → B×K×…×``size``, with zeros after the last frame.

    One or two chunks of zeros keep K ≥ 2, because torch.export treats a size of 1 as a special
    case. For an unknown T it supports neither a reshape nor a slice of T frames, hence unfolding
    and negative padding.
    """
    num_chunks = x.shape[1] // size + 2
    return F.pad(x, [0, 0] * (x.ndim - 2) + [0, num_chunks * size - x.shape[1]]).unfold(1, size, size)


def _steps(x: Tensor) -> Tensor:
    """B×T×… → CHUNK×B×K×…; the appended zeros keep the state, because Δ is 0 there."""
    return cut_into_chunks(x, CHUNK).movedim(-1, 0)


def decays_between(log_decay: Tensor) -> Tensor:
    """Decays from step j (column) to k (row), exp(Σ_{j < i ≤ k} log_decay_i), 0 if k < j: …×N → …×N×N.

    Sums are in float64, because differences of long sums must be accurate, and a GPU may round
    float32 products to TF32.
    """
    index = torch.arange(log_decay.shape[-1], device=log_decay.device)
    ahead = index[:, None] < index  # k < j
    total = log_decay.double() @ (~ahead).double().mT  # cumulative sums, …×N
    log_weight = (total.unsqueeze(-1) - total.unsqueeze(-2)).to(log_decay.dtype)
    return torch.exp(log_weight.masked_fill(ahead, -torch.inf))


def _in_order(steps: Iterable[Tensor], num_frames: int, delay: int = 0) -> Tensor:
    """Undo :func:`_steps` after ``delay`` frames of zeros: B×``num_frames``×…."""
    x = torch.stack(list(steps), dim=2).flatten(1, 2)
    return F.pad(x, [0, 0] * (x.ndim - 2) + [delay, num_frames - delay - x.shape[1]])


@torch.library.custom_op("nes2net::selective_scan", mutates_args=())
def _scan_operator(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return _scan(x, delta, A, B, C)


@torch.library.custom_op("nes2net::selective_scan_backward", mutates_args=())
def _backward_operator(
    grad: Tensor, x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of all inputs from ``grad`` ȳ, B×T×D; states are recomputed to save memory.

    Their gradients g_t = C_t ȳ_t + exp(Δ_{t+1} A)·g_{t+1} are a scan of the same form, backwards in
    time.
    """
    num_frames = x.shape[1]
    with torch.autocast(x.device.type, enabled=False):
        # Δ_{t+1} in reversed time, 0 at first.
        next_delta = F.pad(delta.flip(1), (0, 0, 1, -1))
        g = _in_order(_states(grad.flip(1), next_delta, A, C.flip(1)), num_frames).flip(1)  # B×T×D×N, of each s_t
        u = delta * x
        steps = list(_states(u, delta, A, B))  # as in _scan()
        grad_C = (grad.unsqueeze(2) @ _in_order(steps, num_frames)).squeeze(2)
        grad_B = (u.unsqueeze(2) @ g).squeeze(2)
        grad_u = (g @ B.unsqueeze(3)).squeeze(3)
        grad_log_decay = g * _in_order(steps, num_frames, delay=1) * torch.exp(delta.unsqueeze(3) * A)  # of Δ_t A
        grad_A = (grad_log_decay * delta.unsqueeze(3)).sum(dim=(0, 1))
        grad_delta = (grad_log_decay * A).sum(dim=3) + grad_u * x
    # The gradients must be contiguous, because the fake operator below promises this to the compiler.
    grad_x = (grad_u * delta).contiguous()
    return grad_x, grad_delta.contiguous(), grad_A.contiguous(), grad_B.contiguous(), grad_C.contiguous()


_scan_operator.register_fake(lambda x, *_: x.new_empty(x.shape))
_backward_operator.register_fake(lambda _, *inputs: tuple(tensor.new_empty(tensor.shape) for tensor in inputs))
_scan_operator.register_autograd(
    lambda ctx, grad: _backward_operator(grad, *ctx.saved_tensors),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)
