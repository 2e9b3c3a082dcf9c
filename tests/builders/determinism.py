"""Operations of a computation that a GPU cannot repeat bit for bit."""

from collections.abc import Callable

import torch
from simulated.rules import NOT_DETERMINISTIC


def not_repeatable(compute: Callable[[], object]) -> set[str]:
    """Names of the operations of ``compute``, run on the CPU, that CUDA has no deterministic implementation of."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        compute()
    found = {event.key for event in profile.key_averages()}
    assert any(name.startswith("aten::") for name in found)
    return found & {*NOT_DETERMINISTIC, "aten::cumsum", "aten::median"}
