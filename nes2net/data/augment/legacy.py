"""RawBoost's random numbers in the published order, training then validation (deviation 8)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


class LegacyStream:
    """Generators of NumPy and Python for RawBoost, seeded as in the published code.

    One process must read all utterances, because the draws follow their order.

    >>> stream = LegacyStream(1234)
    >>> np.random.seed(1234)
    >>> stream.rng.random() == np.random.random()
    True
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.RandomState(seed % 2**32)
        #: The generator that decides which kinds of noise occur in algorithms 10 and 11.
        self.gates = random.Random(seed)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both generators, as numbers and tensors."""
        numpy_state = self.rng.get_state(legacy=False)
        return {
            "keys": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
            "position": numpy_state["state"]["pos"],
            "has_gauss": numpy_state["has_gauss"],
            "cached_gaussian": numpy_state["gauss"],
            # The rest of the state never changes, because this generator draws no normal numbers.
            "gates": torch.tensor(self.gates.getstate()[1]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue at the result of :meth:`state_dict`."""
        keys = state["keys"].numpy().astype(np.uint32)
        self.rng.set_state(("MT19937", keys, state["position"], state["has_gauss"], state["cached_gaussian"]))
        self.gates.setstate((3, tuple(state["gates"].tolist()), None))  # 3: version of the format
