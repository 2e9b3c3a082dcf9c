"""Outputs of back-ends for which no published numbers travel with the tests.

They were recorded when all back-ends with published numbers equalled the published code, and show
that nothing has moved since. Weights and inputs come from NumPy's PCG64; outputs are float64.
"""

import json
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from builders import golden
from nes2net.models.backends.asp_mlp import AspMlp
from nes2net.models.backends.conformer import conformer
from nes2net.models.backends.mamba import Mamba
from nes2net.models.backends.mambo import MamBo
from nes2net.models.backends.mean_linear import MeanLinear
from nes2net.models.backends.nes2net import nes2net_la
from nes2net.models.backends.raptor import Raptor
from nes2net.models.backends.raw_aasist import raw_aasist

FEATURES = (2, 33, 48)
WAVEFORMS = (2, 20_000)
HIDDEN_STATES = (4, *FEATURES)
MAMBO = partial(MamBo, feature_dim=48, embed_dim=24, num_layers=1, num_mixers=2, state_dim=6, head_dim=12)
#: Name → back-end, the shape of its input, how far its weights are from zero at most.
MODELS = {
    "asp_mlp": (partial(AspMlp, feature_dim=48), FEATURES, 0.4),
    "conformer": (partial(conformer, feature_dim=48, embed_dim=24, num_blocks=2, num_heads=3), FEATURES, 0.4),
    "mamba_output": (partial(Mamba, feature_dim=48, embed_dim=24, num_layers=6, final_norm="output"), FEATURES, 0.4),
    "mambo_hydra": (partial(MAMBO, mixer="hydra", topology="mambo_4"), FEATURES, 0.4),
    "mambo_mamba2": (partial(MAMBO, mixer="mamba2"), FEATURES, 0.4),
    "mean_linear_one_class": (partial(MeanLinear, feature_dim=48, head="one_class"), FEATURES, 0.4),
    "nes2net_la": (partial(nes2net_la, feature_dim=48, nes_ratio=(4, 4)), FEATURES, 0.4),
    "raptor": (partial(Raptor, feature_dim=48, num_blocks=2), HIDDEN_STATES, 0.4),
    "raw_aasist": (raw_aasist, WAVEFORMS, 0.2),
}


def logits(name: str) -> np.ndarray:
    """Logits of the model ``name`` in eval mode, in float64."""
    build, shape, spread = MODELS[name]
    model = build().double().eval()
    fill(model, spread)
    with torch.no_grad():
        x = random(1000, shape, -1.5, 1.5)
        return model(x.unbind() if len(shape) == 4 else x).numpy()


def fill(model: nn.Module, spread: float):
    """Give every number in ``model`` a value of its own, except the table of positions."""
    for index, (key, tensor) in enumerate(sorted(model.state_dict().items())):
        if tensor.is_floating_point() and not key.endswith("positional_emb"):
            low, high = (0.5, 1.5) if key.endswith("running_var") else (-spread, spread)
            tensor.copy_(random(index, tuple(tensor.shape), low, high))


def random(seed: int, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    return torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).uniform(low, high, shape))


# PYTHONPATH=.:tests python -m builders.pinned, only when every other comparison holds
if __name__ == "__main__":
    numbers = {name: logits(name).tolist() for name in MODELS}
    (golden.FOLDER / "pinned.json").write_text(json.dumps(numbers, indent=1))
