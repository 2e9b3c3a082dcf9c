"""The base class of front-ends with a pre-trained encoder of log-mel features: w2v-BERT 2.0, Whisper and AST."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from nes2net.lib.computing.devices import at_least_float32, without_autocast
from nes2net.lib.parts.options import Options, check_divides
from nes2net.models.checkpoints.mel_encoders import Family, read_mel_encoder
from nes2net.models.frontends.base import Frontend, Layers
from nes2net.models.frontends.onednn import with_onednn


class MelEncoder(Frontend):
    """Compute hidden states B×T×D from a waveform B×N by an encoder of log-mel features.

    L is the number of layers plus 1 for the final output. Tensors have the transformers library's
    names with the prefix ``model.``. A ``checkpoint`` determines options and weights, which are
    random without one. The features are at least float32 in any precision of the encoder.

    Args:
        arguments: ``locals()`` of a subclass's constructor: ``checkpoint`` and options.
    """

    name: str
    family: ClassVar[Family]
    """Layout of the checkpoints that the front-end reads."""
    full_precision = True
    takes_prompt = True
    model: Any

    def __init__(self, arguments: Options) -> None:
        super().__init__()
        options = {name: value for name, value in arguments.items() if name not in ("self", "__class__")}
        checkpoint = options.pop("checkpoint")
        state_dict = None
        checkpoint_options: Options = {}
        if checkpoint is not None:
            state_dict, checkpoint_options, self.model_type = read_mel_encoder(checkpoint, self.family)
        options = self.adopt_options(options, checkpoint_options, checkpoint)
        if state_dict is not None and "pretraining_heads" in options:
            options["pretraining_heads"] = "masked_spec_embed" in state_dict
        check_divides("encoder_attention_heads", options["encoder_attention_heads"], "encoder_embed_dim", self.out_dim)
        self.config = {"name": self.name, **options}
        with self.loading(state_dict, checkpoint):
            self.model = with_onednn(self.build_model(options))

    @abstractmethod
    def build_model(self, options: Options) -> nn.Module:
        """Build the encoder of the transformers library for ``options``."""

    @abstractmethod
    def features(self, waveform: Tensor) -> Tensor:
        """Compute the encoder's input from ``waveform`` B×N, float32 or float64."""

    @abstractmethod
    def embed(self, features: Tensor) -> Tensor:
        """Compute the input B×T×D of the first layer from ``features``."""

    def forward(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]:
        """Compute the hidden states of ``waveform`` (B×N, 16 kHz, in [−1, 1]).

        Returns:
            For ``"all"``, L tensors B×T×D: the input of each layer, then the final output, which is
            all for ``"last"``.

        Raises:
            InputError: if the waveform is too short for one frame.
        """
        self.check_length(waveform)
        with without_autocast(waveform.device):
            features = self.features(at_least_float32(waveform)).to(next(self.model.parameters()).dtype)
        return [self.drop_padding(x, waveform) for x in self.through_layers(self.embed(features), layers, final_norm)]

    def drop_padding(self, x: Tensor, waveform: Tensor) -> Tensor:
        """Remove frames of ``x`` B×T×D after the end of ``waveform`` B×N, if the encoder pads it."""
        return x
