"""The original wav2vec 2.0 module, for users who have fairseq installed.

Ott et al., "fairseq: a fast, extensible toolkit for sequence modeling", NAACL 2019 demonstrations.
fairseq never reads a checkpoint itself, because its reader lets a file run code.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nes2net.lib.errors import MissingLibrary
from nes2net.lib.parts.options import Options
from nes2net.lib.process.installation import how_to_install
from nes2net.models.checkpoints.fairseq import to_fairseq
from nes2net.models.checkpoints.state_dict import rename_tensors
from nes2net.models.frontends.base import Layers

# Options that are not passed to fairseq, because fairseq's Wav2Vec2Config lacks them or only pre-training uses them.
_NOT_PASSED = ("engine", "pretraining_heads", "final_dim", "latent_vars", "latent_groups")


def build_model(options: Options) -> nn.Module:
    """Build fairseq's ``Wav2Vec2Model`` without the parts that only pre-training uses.

    Raises:
        MissingLibrary: if fairseq cannot be imported.
    """
    try:
        from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model  # optional
    except (ImportError, ValueError, AttributeError) as error:
        # On new versions of Python, the import of fairseq 0.12.2 raises ValueError or AttributeError.
        raise MissingLibrary(
            f"engine=fairseq needs the package fairseq, which cannot be imported ({error}): "
            f"{how_to_install('fairseq')}, then pip install --no-deps fairseq-fixed==0.12.3.1 (Python 3.11 and a C++ "
            "compiler); or use engine=transformers, whose outputs are the same"
        ) from error
    fields = {k: v for k, v in options.items() if k not in _NOT_PASSED}
    fields["conv_feature_layers"] = str([tuple(map(int, layer)) for layer in options["conv_feature_layers"]])
    with torch.device("cpu"):  # fairseq's initialisation cannot run on the meta device
        model = Wav2Vec2Model(Wav2Vec2Config(**fields))
        if model.post_extract_proj is None:  # fairseq may omit this layer, but published files have it
            model.post_extract_proj = nn.Linear(model.embed, options["encoder_embed_dim"])
    # The front-end itself keeps the tensors that only pre-training uses.
    model.remove_pretraining_modules()
    del model.mask_emb
    new_name = partial(_fairseq_name, options["extractor_mode"])
    model.register_load_state_dict_pre_hook(partial(rename_tensors, new_name))
    return model


def encode(model: Any, waveform: Tensor, layers: Layers, final_norm: bool) -> list[Tensor]:
    """Compute hidden states by fairseq, as :meth:`nes2net.models.frontends.ssl.SSLFrontend.forward` returns them.

    Args:
        waveform: B×N, normalised already.
    """
    encoder = model.encoder
    inputs: dict[Any, Tensor] = {}  # index of a layer, or "layer_norm" → input of this module

    def store_input(name: Any, _: nn.Module, args: tuple[Tensor]) -> None:
        inputs[name] = args[0]

    hooks = [encoder.layer_norm.register_forward_pre_hook(partial(store_input, "layer_norm"))]
    if layers == "all":
        hooks += [layer.register_forward_pre_hook(partial(store_input, i)) for i, layer in enumerate(encoder.layers)]
    try:
        out = model(waveform, mask=False, features_only=True)["x"]
    finally:
        for hook in hooks:
            hook.remove()
    before_norm = out  # the output of the last layer, if no norm follows that layer
    if encoder.layer_norm_first:
        before_norm = inputs["layer_norm"]
    states = [out if final_norm else before_norm]
    if layers != "all":
        return states
    # For a dropped layer, report the next layer's input. fairseq's layers read T×B×D with T padded to an even number.
    state = before_norm
    for i in reversed(range(len(encoder.layers))):
        if i in inputs:
            state = inputs[i].transpose(0, 1)[:, : out.shape[1]]
        states.insert(0, state)
    return states


def _fairseq_name(extractor_mode: str, _: nn.Module, name: str) -> str:
    return to_fairseq(name, extractor_mode)
