"""Operations of a computation, and which of them a GPU cannot repeat bit for bit."""

from collections.abc import Callable

import torch

#: Parts of the names of operations without a deterministic implementation on CUDA, from the
#: documentation of ``torch.use_deterministic_algorithms``.
_NOT_REPEATABLE = """cumsum avg_pool3d_backward adaptive_avg_pool2d_backward adaptive_max_pool2d_backward fractional_max_pool
    max_unpool upsample reflection_pad nll_loss2d ctc_loss embedding_bag aten::put_ histc bincount median kthvalue
    grid_sample scatter_reduce""".split()


def operations(compute: Callable[[], object]) -> set[str]:
    """Names of all operations of torch that ``compute`` runs on the CPU, those within others too."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        compute()
    return {event.key for event in profile.key_averages()}


def not_repeatable(compute: Callable[[], object]) -> set[str]:
    """Those of its operations that CUDA has no deterministic implementation of."""
    names = operations(compute)
    assert any(name.startswith("aten::") for name in names)
    return {name for name in names if any(fragment in name for fragment in _NOT_REPEATABLE)}
