"""The published order of RawBoost's random draws: one global stream (deviation 8).

Training and validation draw alternately from this stream.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


class LegacyStream:
    """NumPy's and Python's generators as the published code seeds them, for RawBoost.

    RawBoost draws from them in the order in which utterances are read. This order is fixed only if one
    process reads all utterances.

    >>> stream = LegacyStream(1234)
    >>> np.random.seed(1234)
    >>> stream.rng.random() == np.random.random()
    True
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.RandomState(seed % 2**32)
        #: generator that decides which kinds of noise occur in algorithms 10 and 11
        self.gates = random.Random(seed)

    def state_dict(self) -> dict[str, Any]:
        """Position of the stream, as numbers and tensors, for :meth:`load_state_dict`."""
        numpys = self.rng.get_state(legacy=False)
        version, internal, gauss_next = self.gates.getstate()
        return {
            "keys": torch.from_numpy(numpys["state"]["key"].astype(np.int64)),
            "position": numpys["state"]["pos"],
            "has_gauss": numpys["has_gauss"],
            "cached_gaussian": numpys["gauss"],
            "gates": torch.tensor(internal),
            "gates_version": version,
            "gates_gauss_next": gauss_next,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the position at which ``state`` was taken."""
        keys = state["keys"].numpy().astype(np.uint32)
        self.rng.set_state(("MT19937", keys, state["position"], state["has_gauss"], state["cached_gaussian"]))
        self.gates.setstate((state["gates_version"], tuple(state["gates"].tolist()), state["gates_gauss_next"]))
