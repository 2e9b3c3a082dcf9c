"""The convolutions of wav2vec 2.0 and WavLM, with the channels innermost in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def extract_features(extractor: Any, waveform: Tensor) -> Tensor:
    """Compute features B×T×C of ``waveform`` B×N by the ``extractor`` of the transformers library."""
    # The library's layer norms transpose and copy the feature map. 2-D convolutions of height 1 keep the channels innermost,
    # and take half the time on the CPU.
    weights = [_channels_last(layer.conv.weight) for layer in extractor.conv_layers]
    waveform = waveform[:, None, None]  # B×1×1×N
    if waveform.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return _convolve(extractor, weights, waveform)
    # Compute one utterance at a time, so that the activations of the first layers fit into the processor's cache.
    return torch.cat([_convolve(extractor, weights, utterance) for utterance in waveform.split(1)])


def _convolve(extractor: Any, weights: list[Tensor], x: Tensor) -> Tensor:
    # ``x`` is B×1×1×N at first, then B×C×1×T.
    for layer, weight in zip(extractor.conv_layers, weights):
        # The first layer is computed as a matrix product with frames of the waveform: in bfloat16, the product takes a
        # third of the time of a convolution.
        if x.shape[1] == 1:
            frames = x[:, 0].unfold(-1, *layer.conv.kernel_size, *layer.conv.stride)  # B×1×T×K
            # The product of a matrix adds the bias before it rounds; the product of a batch rounds twice.
            rows = functional.linear(frames.flatten(0, 2), weight.flatten(1), layer.conv.bias)  # B·T×C
            x = rows.unflatten(0, frames.shape[:3]).permute(0, 3, 1, 2)  # B×C×1×T
        else:
            x = functional.conv2d(x, weight, layer.conv.bias, (1, *layer.conv.stride))
        norm = getattr(layer, "layer_norm", None)  # None if the layer has no norm
        if isinstance(norm, nn.LayerNorm):
            x = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        elif norm is not None:  # the first layer of wav2vec 2.0 Base has a group norm
            x = norm(x)
        x = layer.activation(x)
    return x.squeeze(2).transpose(1, 2)  # B×T×C


def embed_positions(embedding: Any, x: Tensor) -> Tensor:
    """Compute the positional embeddings B×T×D of ``x`` B×T×D by the library's ``embedding``.

    On the CPU, half of the library's time in bfloat16, two thirds in float32.
    """
    if x.device.type != "cpu" or hasattr(embedding, "layers"):  # data2vec has several convolutions
        return embedding(x)
    conv = embedding.conv
    image = x.transpose(1, 2).unsqueeze(2)  # B×D×1×T, channels last
    padding = (0, conv.kernel_size[0] // 2)
    x = functional.conv2d(image, _channels_last(conv.weight), conv.bias, padding=padding, groups=conv.groups)
    return embedding.activation(x[..., : image.shape[-1]].squeeze(2).transpose(1, 2))  # an even kernel gives T + 1


def _channels_last(weight: Tensor) -> Tensor:
    """C'×C×K → C'×C×1×K, channels innermost."""
    if weight.shape[1] == 1:
        return weight.unsqueeze(2)
    return weight.unsqueeze(2).clone(memory_format=torch.channels_last)
