"""Outputs of the comparison back-ends, kept in tests/golden/comparison_backends.npz from when they equalled the published code.

So they are also checked without the reference folder. Weights and inputs are NumPy's PCG64, outputs float64. No published
numbers exist for ``conformer`` and ``asp_mlp``: theirs only show that nothing moved.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nes2net.backends.asp_mlp import AspMlp
from nes2net.backends.attm_lstm import AttMLSTM
from nes2net.backends.conformer import conformer, tcm
from nes2net.backends.mamba import Mamba
from nes2net.backends.sls import SLS

FEATURE_DIM, FRAMES = 48, 33
MODELS = {
    "asp_mlp": AspMlp,
    "attm_lstm": partial(AttMLSTM, num_layers=4),
    "conformer": partial(conformer, embed_dim=24, num_blocks=2, num_heads=3),
    "mamba": partial(Mamba, embed_dim=24, num_layers=6),
    "mamba_output": partial(Mamba, embed_dim=24, num_layers=6, final_norm="output"),
    "sls": partial(SLS, num_layers=4, num_frames=FRAMES),
    "tcm": partial(tcm, embed_dim=24, num_blocks=2, num_heads=3, kernel_size=8),
}
FILE = Path(__file__).parents[1] / "golden" / "comparison_backends.npz"


def logits(name: str) -> np.ndarray:
    """Logits of the model ``name`` in eval mode, in float64."""
    model = MODELS[name](feature_dim=FEATURE_DIM).double().eval()
    fill(model)
    states = [random(1000 + layer, (2, FRAMES, FEATURE_DIM), -1.5, 1.5) for layer in range(5)]
    with torch.no_grad():
        return model(states if model.wants_layers == "all" else states[0]).numpy()


def fill(model: nn.Module) -> None:
    """Give every number in ``model`` a value of its own, except the table of positions."""
    for index, (key, tensor) in enumerate(sorted(model.state_dict().items())):
        if tensor.is_floating_point() and not key.endswith("positional_emb"):
            low, high = (0.5, 1.5) if key.endswith("running_var") else (-0.4, 0.4)
            tensor.copy_(random(index, tuple(tensor.shape), low, high))


def random(seed: int, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    return torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).uniform(low, high, shape))


def check_pinned(name: str) -> None:
    np.testing.assert_allclose(logits(name), np.load(FILE)[name], rtol=0, atol=1e-9)


if __name__ == "__main__":  # to be run only when every comparison with the published code holds
    np.savez_compressed(FILE, **{name: logits(name) for name in MODELS})
