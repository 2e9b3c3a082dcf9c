"""The check of a part at the border: one sentence for each fault that is planted in a good part."""

from functools import partial

import pytest
import torch

from nes2net import Detector, create_backend
from nes2net.data.augment.conditions import check_effect
from nes2net.lib.errors import BrokenPart
from nes2net.lib.parts.part_checks import check_part
from nes2net.models.contract_checks import check_aggregation, check_backend, check_frontend
from nes2net.training.losses.by_name import check_loss

IMPORTS = """
import sys
import numpy as np
import torch
from torch import nn
from nes2net.data.augment.effect import Effect
from nes2net.models.aggregations.base import Aggregation
from nes2net.models.backends.base import Backend, LogitLayer
from nes2net.models.frontends.base import Frontend, UsedSamples
from nes2net.training.losses.criterion import MeanOfSamples
"""
#: Kind of part → source of a part without fault.
SOURCES = {
    "backend": """
class Part(Backend):
    last_layer_name = "out"
    score_rule = "logit"
    min_frames = 2

    def __init__(self):
        super().__init__(16)
        self.conv = nn.Conv1d(16, 8, 2)
        self.scale = torch.ones(8)
        self.out = LogitLayer(8, 2)

    def embed(self, features):
        h = self.conv(features.transpose(1, 2)).relu()
        e = h.mean(2) * self.scale
        return e
""",
    "frontend": """
class Part(Frontend):
    num_layers = 2
    out_dim = 8
    hop_length = 320
    min_samples = 640
    pre_emphasis = 0.97
    used_samples = UsedSamples(640, 320)

    def __init__(self):
        super().__init__()
        self.weights = nn.Linear(8, 8)

    def forward(self, waveform, layers="last", final_norm=True):
        frames = waveform.unfold(1, 640, 320).unflatten(2, (8, 80))
        e = (frames.square().mean(3) + 1e-6).log()
        states = [e, self.weights(e)]
        return states if layers == "all" else states[-1:]
""",
    "aggregation": """
class Part(Aggregation):
    wants_layers = "all"

    def __init__(self):
        super().__init__(2, 8)
        self.weights = nn.Linear(8, 8)

    def forward(self, hidden_states):
        x = hidden_states[0] + self.weights(hidden_states[1])
        return x
""",
    "loss": """
class Part(MeanOfSamples):
    num_logits = None
    mean = 0.0

    def numerator(self, outputs, targets, step, durations):
        losses = (outputs[:, -1] - targets).square()
        return losses.sum()
""",
    "effect": """
class Part(Effect):
    strengths = ()

    def __call__(self, x, rng):
        y = x + np.float32(0.001) * rng.standard_normal(len(x), np.float32)
        return y
""",
}
MAKE_BATCH = {
    "backend": partial(check_backend, num_logits=2),
    "frontend": check_frontend,
    "aggregation": check_aggregation,
    "loss": partial(check_loss, embedding_dim=None),
    "effect": check_effect,
}
#: Kind → text in its source, what replaces it, and words of the message.
FAULTS = [
    ("backend", "return e", "return None", "embed returned None; expected a tensor of 2 × 8 (the last size is 'in_fea"),
    ("backend", "return e", "return h", "embed returned a tensor (2, 8, 11) of float32; expected a tensor of 2 × 8"),
    ("backend", '"out"', '"lineal"', "its attribute 'last_layer_name' is 'lineal'; expected"),
    ("backend", "(8, 2)\n\n", "(8, 3)\n\n", "forward returned a tensor (2, 3) of float32; expected"),
    ("backend", "return e", "return e / 0", "embed returned NaN or infinity in a tensor (2, 8)"),
    ("backend", "return e", "return e / (not self.training)", "embed returned NaN or infinity in a tensor (2, 8)"),
    ("backend", "return e", "return e[:, :, 0]", "embed raised IndexError: too many indices"),
    ("backend", "return e", "return e if len(h[0, 0]) < 40 else 1", "embed returned 1; expected a tensor"),
    ("backend", "return e", "sys.exit(3)", "embed raised SystemExit: 3"),
    ("backend", "return e", "return e.half()", "returned a tensor (2, 8) of float16; expected float32"),
    ("backend", "return e", "return e - e.mean(0)", "forward of a batch and its rows alone differ by"),
    ("backend", "return e", "return e + torch.rand(1)", "two calls of forward differ by"),
    ("backend", "return e", "return e.detach()", "no gradient reaches ['conv.weight', 'conv.bias']; expected"),
    ("backend", "h = ", "features.zero_(); h = ", "forward changed its input [<Tensor>]; expected a new tensor"),
    ("backend", "ones(8)", "rand(8)", "outputs before saving and after loading differ by"),
    ("backend", "ones(8)", "ones(8, requires_grad=True)", "forward trains [<Tensor>]; expected only parameters"),
    ("backend", "h.mean(2)", "self._modules.setdefault('new', nn.Linear(8, 8))(h.mean(2))", "load_state_dict raised"),
    ("backend", '"logit"', '"sigmoid"', "its attribute 'score_rule' is 'sigmoid'; expected"),
    ("frontend", "out_dim = 8", "out_dim = 9", "expected a tensor of 2 × any × 9 (the last size is 'out_dim')"),
    (
        "frontend",
        "return states",
        "return e",
        "returned a tensor (2, 12, 8) of float32; expected a list of 2 (of 'num_l",
    ),
    ("frontend", "layers = 2", "layers = 3", "expected a list of 3 (of 'num_layers' 3)"),
    ("frontend", "hop_length = 320", "", "its attribute 'hop_length' is None; expected a whole number"),
    ("frontend", "hop_length = 320", "hop_length = 160", "frames in each, by 'hop_length'"),
    ("frontend", "hop_length = 320", "hop_length = 300", "(2, 188, 8) of float32; expected 200 frames in each"),
    ("frontend", "samples = 640", "samples = 400", "forward raised RuntimeError: maximum size for tensor"),
    ("frontend", "0.97", "97.0", "its attribute 'pre_emphasis' is 97.0; expected a number from 0 to 1"),
    ("frontend", " + 1e-6", "", "forward returned NaN or infinity in a tensor (2, 12, 8)"),
    ("frontend", "states[-1:]", "states[:1]", "layers='last' and the last of layers='all' differ by"),
    (
        "frontend",
        "40, 320)\n\n",
        "40, 320, most=3200)\n\n",
        "'used_samples' returned a tensor (2, 9, 8) of float32; exp",
    ),
    ("aggregation", "return x", "return x.transpose(1, 2)", "returned a tensor (2, 8, 12) of float32; expected a tens"),
    ("aggregation", "return x", "self.penalty = 0.1; return x", "its attribute 'penalty' returned 0.1; expected"),
    ("aggregation", '"all"', '"every"', "its attribute 'wants_layers' is 'every'; expected"),
    (
        "aggregation",
        "super().__init__(2, 8)",
        "nn.Module.__init__(self)",
        "its attribute 'num_layers' is None; expected",
    ),
    ("loss", ".sum()", "", "numerator returned a tensor (2,) of float32; expected a tensor of one number"),
    ("loss", "def numerator", "def forward", "numerator raised NotImplementedError"),
    ("loss", "mean = 0.0", "weight_of = len", "weight_of returned 2; expected a tensor of one number"),
    ("loss", "mean = 0.0", "weight_of = torch.sub", "weight_of raised TypeError"),
    ("loss", "sum()", "sum().detach()", "numerator returned a tensor () of float32; expected a number with a gradient"),
    ("loss", ".sum()", ".mean()", "numerator of a batch and its rows alone differ by"),
    ("loss", "return ", "self.mean += 0.5; return self.mean + ", "two calls of numerator differ by 0.5"),
    ("loss", "return ", "step + 1; return ", "numerator raised TypeError: unsupported operand"),
    ("loss", "None", "'two'", "its attribute 'num_logits' is 'two'; expected a whole number"),
    ("effect", "return y", "return None", "__call__ returned None; expected finite samples, an array of shape (N,)"),
    ("effect", "return y", "return y * np.nan", "returned an array (12000,) of float32; expected finite samples"),
    ("effect", "return y", "return y * 32768", "returned an array (12000,) of float32; expected finite samples"),
    ("effect", "return y", "return y[:-1]", "expected 12000 samples, or the attribute 'time_moves' = True"),
    ("effect", "y = x +", "x *= 2; y = x +", "__call__ changed its input [<Tensor>]; expected a new tensor"),
    ("effect", "rng.", "np.random.", "__call__ raised TypeError"),
    ("effect", "rng.", "np.random.default_rng().", "two calls of __call__ differ by"),
    ("effect", "strengths = ()", "choices = 8.0", "its attribute 'choices' is 8.0; expected a list"),
]


def built(kind, text="", replacement=""):
    """A part from its source, in which `replacement` stands for `text`."""
    space = {"__name__": "stranger"}
    exec(IMPORTS + SOURCES[kind].replace(text, replacement), space)
    stranger = space["Part"]()
    stranger.config = {"name": "part"}
    return stranger


def check(kind, *fault):
    check_part("part 'test'", built(kind, *fault), MAKE_BATCH[kind], partial(built, kind, *fault))


@pytest.mark.parametrize("kind", SOURCES)
def test_a_part_without_fault_passes_the_check(kind):
    check(kind)


@pytest.mark.parametrize("kind, text, replacement, words", FAULTS)
def test_a_fault_of_a_part_is_told_in_words(kind, text, replacement, words):
    with pytest.raises(BrokenPart) as raised:
        check(kind, text, replacement)
    assert words in str(raised.value)


def test_a_part_is_checked_once_for_its_class_and_the_way_it_is_built():
    calls = []
    effect = built("effect")
    for _ in range(2):
        check_part("part 'once'", effect, lambda *arguments: calls.append(1) or check_effect(*arguments), built)
    assert len(calls) == 3  # lengths


def test_parts_of_other_packages_keep_weights_of_one_name_apart_in_files():
    detectors = []
    for _ in range(2):
        backend = create_backend("mean_linear", feature_dim=8)
        detectors.append(Detector(built("frontend"), built("aggregation"), backend).eval())
    saved = detectors[0].state_dict()
    assert {"frontend.weights.bias", "aggregation.weights.bias", "proj_fc.bias"} < saved.keys()
    detectors[1].load_state_dict(saved)
    waveforms = torch.randn(2, 16000)
    assert torch.equal(detectors[0](waveforms), detectors[1](waveforms))
