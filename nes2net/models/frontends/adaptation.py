"""Parameter-efficient fine-tuning: train a few added tensors in a front-end whose own weights are frozen.

The frozen tensors, called the base, keep their names in the state dict. Added ones have names such
as ``encoder.layers.0.self_attn.q_proj.lora_A``. LoRA and DoRA come from the library peft.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from nes2net.lib.errors import InputError, check_known, refuse, short_repr
from nes2net.lib.parts.options import Options, Probability, Takes, UpTo1000, UpTo4096, check_at_most, check_options
from nes2net.models.checkpoints.state_dict import rename_tensors
from nes2net.models.frontends.base import Frontend

#: Kind of adaptation → names of its options.
KINDS: dict[str, tuple[str, ...]] = {
    "lora": ("rank", "alpha", "targets", "dropout"),
    "dora": ("rank", "alpha", "targets", "dropout"),
    "adapter": ("bottleneck",),
    "prompt": ("tokens", "deep"),
    "bitfit": (),
}
# Names of the linear layers in a transformer layer. Each front-end has some of these names.
_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj", "linear_q", "linear_k", "linear_v", "linear_out", "o_proj")
_FEED_FORWARD = ("intermediate_dense", "output_dense", "fc1", "fc2")
#: Names of the linear layers in a transformer layer, which LoRA changes and int8 quantises.
LINEAR_LAYERS = (*_ATTENTION, *_FEED_FORWARD)

Targets = Annotated[
    Literal["attention", "feed_forward", "all"]
    | Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(min_length=1, max_length=16)],
    Takes("attention, feed_forward, all or a list of names of linear layers"),
]


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """Options that say which tensors of a front-end are trained instead of its weights.

    Args:
        kind: ``"lora"`` adds a product of two small matrices to the weight of linear layers,
            W + (alpha / rank)·B·A (Hu et al., "LoRA", arXiv 2106.09685, Sec. 4.1). ``"dora"`` also
            trains the length of each row of W (Liu et al., "DoRA", arXiv 2402.09353).
            ``"adapter"`` puts a small network of two linear layers after the attention and after the
            feed-forward network of each transformer layer (Houlsby et al., arXiv 1902.00751,
            Sec. 2.1). ``"prompt"`` puts learned vectors before the frames that the transformer
            layers read (Jia et al., "Visual prompt tuning", arXiv 2203.12119). ``"bitfit"`` trains
            the biases of the transformer layers (Ben Zaken et al., arXiv 2106.10199).
        rank: number of rows of A and of columns of B, for LoRA and DoRA.
        alpha: numerator of the factor alpha / rank, for LoRA and DoRA.
        targets: linear layers that LoRA and DoRA change, namely ``"attention"`` (queries, keys,
            values and output), ``"feed_forward"``, ``"all"`` for both, or a list of names of
            layers, such as ``["q_proj", "v_proj"]``.
        dropout: probability of dropout at the input of A in training, for LoRA and DoRA.
        bottleneck: size between the two linear layers of an adapter; the paper has 8, 64 and 256.
        tokens: number of vectors of a prompt; 10 is an assumption.
        deep: whether each transformer layer has its own prompt, which replaces the previous layer's
            outputs at the positions of the prompt (VPT-Deep).
    """

    kind: Literal["lora", "dora", "adapter", "prompt", "bitfit"]
    rank: UpTo4096 = 8
    alpha: Annotated[float, Field(gt=0, le=65_536)] = 16
    targets: Targets = "attention"
    dropout: Probability = 0.0
    bottleneck: UpTo4096 = 64
    tokens: UpTo1000 = 10
    deep: bool = False

    @property
    def options(self) -> Options:
        """The kind and its options, as plain data."""
        return {"kind": self.kind, **{name: asdict(self)[name] for name in KINDS[self.kind]}}


def check_adaptation(options: Any, owner: str) -> Adaptation:
    """Build an adaptation from a mapping of its options.

    Raises:
        InputError: if ``options`` is not a mapping, or an option is unknown, out of range or of
            another kind.

    >>> check_adaptation({"kind": "lora", "rank": 4}, "`train.adapt`").options
    {'kind': 'lora', 'rank': 4, 'alpha': 16, 'targets': 'attention', 'dropout': 0.0}
    """
    if not isinstance(options, Mapping):
        raise InputError(
            f"{owner} must be a mapping such as {{kind: lora, rank: 8, alpha: 16}}, not {short_repr(options)}"
        )
    check_known(options, inspect.signature(Adaptation).parameters, f"{owner} has no option")
    if "kind" not in options:
        raise InputError(f"{owner} has no kind: add one of {', '.join(KINDS)}")
    check_options(Adaptation, options, owner)
    kind = options["kind"]
    for name in options:
        if name != "kind" and name not in KINDS[kind]:
            kinds = " and ".join(kind for kind, names in KINDS.items() if name in names)
            raise InputError(
                f"{owner} of kind {kind} has no option '{name}', which only works with {kinds}: remove it, or change the kind"
            )
    return Adaptation(**options)


def adapt(frontend: Frontend, adaptation: Adaptation) -> None:
    """Freeze the parameters of ``frontend``, and add the tensors to train; BitFit unfreezes biases.

    ``frontend`` is changed in place, with ``base`` and ``config``. Only a prompt changes the hidden
    states before training. Initial values come from PyTorch's generator.

    Raises:
        InputError: if ``frontend`` is adapted already, has no transformer layers or the engine
            fairseq, cannot take a prompt, or lacks the linear layers to adapt, or they are too
            small for the rank.
    """
    name = frontend.config["name"]
    kind = adaptation.kind
    refuse(
        (frontend.adapted, f"front-end '{name}' is adapted already: merge it first (`nes2net export --to merged`)"),
        (
            not frontend.transformer_layers,
            f"front-end '{name}' has no transformer layers to adapt: remove the option adapt",
        ),
        (
            frontend.engine == "fairseq",
            "the layers of the engine fairseq cannot be adapted: remove `model.frontend.engine=fairseq`",
        ),
        (
            kind == "prompt" and not frontend.takes_prompt,
            f"front-end '{name}' cannot use a prompt: use lora, dora, adapter or bitfit as the kind",
        ),
    )
    base = frozenset(frontend.state_dict())
    frontend.requires_grad_(False)
    if kind == "adapter":
        _add_adapters(frontend, adaptation.bottleneck)
    elif kind == "prompt":
        _add_prompt(frontend, adaptation)
    elif kind == "bitfit":
        for layer in frontend.transformer_layers:
            for layer_name, parameter in layer.named_parameters():
                parameter.requires_grad_(_last_word(layer_name) == "bias")
    else:
        _add_lora(frontend, adaptation)
    # The base consists of all tensors that were not added and are not trained.
    tensors = frontend.state_dict(keep_vars=True)
    frontend.base = frozenset(name for name in base if not tensors[name].requires_grad)
    frontend.config = {**frontend.config, "adapt": adaptation.options}


def merge(frontend: Frontend) -> None:
    """Add the trained tensors to the frozen weights of ``frontend``, in place, and unfreeze all weights.

    Adapters and prompts cannot be added, and are kept.
    """
    if not frontend.adapted:
        return
    for parent, name, layer in _lora_layers(frontend):
        layer.merge(safe_merge=True)  # merge() adds to a copy, because the weight may be memory-mapped
        setattr(parent, name, layer.get_base_layer())
    frontend.base = frozenset()
    frontend.requires_grad_(True)
    if frontend.config["adapt"]["kind"] not in ("adapter", "prompt"):
        frontend.config = {key: value for key, value in frontend.config.items() if key != "adapt"}


def _linear_layers(frontend: Frontend, targets: str | list[str]) -> dict[str, nn.Linear]:
    """Find the linear layers of the transformer layers that ``targets`` of :class:`Adaptation` names, by dotted name."""
    inside = {id(module) for layer in frontend.transformer_layers for module in layer.modules()}
    layers = {
        name: module
        for name, module in frontend.named_modules()
        if id(module) in inside and isinstance(module, nn.Linear) and _last_word(name) in LINEAR_LAYERS
    }
    last_names = dict.fromkeys(map(_last_word, layers))
    if isinstance(targets, str):
        target_names = {"attention": _ATTENTION, "feed_forward": _FEED_FORWARD, "all": tuple(last_names)}[targets]
    else:
        # Users may also write fairseq's names of layers. Name that the user writes → name in the transformers library.
        library_names = {"fc1": "intermediate_dense", "fc2": "output_dense", **{name: name for name in last_names}}
        target_names = tuple(library_names.get(name, name) for name in targets)
        check_known(
            target_names,
            last_names,
            f"the transformer layers of front-end '{frontend.config['name']}' have no linear layer",
        )
    return {name: module for name, module in layers.items() if _last_word(name) in target_names}


def _last_word(name: str) -> str:
    return name.rpartition(".")[2]


def _add_adapters(frontend: Frontend, bottleneck: int) -> None:
    for layer_name, linear in _linear_layers(frontend, "all").items():
        if _last_word(layer_name) in ("out_proj", "linear_out", "o_proj", "output_dense", "fc2"):
            parent = frontend.get_submodule(layer_name.rpartition(".")[0])
            setattr(parent, _last_word(layer_name), _keep_names_of_linear(Bottleneck(linear, bottleneck)))


def _add_prompt(frontend: Frontend, adaptation: Adaptation) -> None:
    weight = next(frontend.transformer_layers[0].parameters())
    layers = len(frontend.transformer_layers) if adaptation.deep else 1
    prompt = torch.empty(layers, adaptation.tokens, frontend.out_dim, device=weight.device, dtype=weight.dtype)
    # Prompts start as standard normal numbers, as large as the output of a layer norm. This distribution is an assumption.
    frontend.model.prompt = nn.Parameter(nn.init.normal_(prompt))
    frontend.has_prompt = True


def _add_lora(frontend: Frontend, adaptation: Adaptation) -> None:
    from peft import LoraConfig, inject_adapter_in_model  # imported late, because the import takes seconds

    layers = _linear_layers(frontend, adaptation.targets)
    smallest = min(min(layer.weight.shape) for layer in layers.values())
    check_at_most("rank", adaptation.rank, smallest, "the smaller size of a layer to adapt")
    config = LoraConfig(
        r=adaptation.rank,
        lora_alpha=adaptation.alpha,  # type: ignore[arg-type]  # peft divides it by the rank, so floats are fine
        lora_dropout=adaptation.dropout,
        target_modules=list(layers),
        use_dora=adaptation.kind == "dora",
    )
    inject_adapter_in_model(config, frontend)
    del frontend.peft_config
    for _, _, layer in _lora_layers(frontend):
        _keep_names_of_linear(layer)


def _lora_layers(frontend: Frontend) -> list[tuple[nn.Module, str, Any]]:
    return [  # parent, name in it, layer
        (parent, name, child)
        for parent in frontend.modules()
        for name, child in parent.named_children()
        if hasattr(child, "lora_A")
    ]


class Bottleneck(nn.Module):
    """A linear layer D' → D with output y, then an adapter with output y + W₂·GELU(W₁·y + b₁) + b₂.

    W₂ and b₂ are 0 before training.

    Args:
        size: number of rows of W₁.
    """

    def __init__(self, linear: nn.Linear, size: int) -> None:
        super().__init__()
        dim = linear.out_features
        weight = linear.weight
        self.base_layer = linear
        self.adapter_down = nn.Linear(dim, size, device=weight.device, dtype=weight.dtype)
        self.adapter_up = nn.Linear(size, dim, device=weight.device, dtype=weight.dtype)
        nn.init.zeros_(self.adapter_up.weight)
        nn.init.zeros_(self.adapter_up.bias)

    def forward(self, x: Tensor) -> Tensor:
        y = self.base_layer(x)
        return y + self.adapter_up(functional.gelu(self.adapter_down(y)))


# Tensors of a module that replaces a linear layer: name in the module → name in state dicts.
_SAVED_NAMES = {
    "base_layer.weight": "weight",
    "base_layer.bias": "bias",
    "lora_A.default.weight": "lora_A",
    "lora_B.default.weight": "lora_B",
    "lora_magnitude_vector.default.weight": "lora_magnitude",
}
_OWN_NAMES = {saved_name: name for name, saved_name in _SAVED_NAMES.items()}


def _keep_names_of_linear(layer: nn.Module) -> nn.Module:
    layer.register_state_dict_post_hook(partial(rename_tensors, partial(_new_name, _SAVED_NAMES)))
    layer.register_load_state_dict_pre_hook(partial(rename_tensors, partial(_new_name, _OWN_NAMES)))
    return layer


def _new_name(names: Mapping[str, str], _: nn.Module, name: str) -> str:
    return names.get(name, name)
