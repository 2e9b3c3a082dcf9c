"""Encoders of waveforms that have no front-end of their own, computed by the transformers library."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from torch.nn import functional

from nes2net.lib.errors import as_input_error, check_known
from nes2net.lib.parts.options import Options, check_at_most
from nes2net.lib.storage.files import AnyPath
from nes2net.models.checkpoints.huggingface import HARMLESS_KEYS, WITHOUT_MASKS, read_waveform_encoder
from nes2net.models.checkpoints.model_types import from_transformers
from nes2net.models.frontends.base import Frontend, Layers
from nes2net.models.frontends.onednn import with_onednn
from nes2net.models.frontends.ssl import HUGGINGFACE_EPS, hop_of, receptive_field

_CONFORMER = {"model_type": "wav2vec2-conformer"}


class AudioEncoder(Frontend):
    """Waveform B×N → hidden states B×T×D of an encoder of waveforms in the transformers library.

    The library computes the hidden states by its own code, such as those of wav2vec 2.0 Conformer,
    SEW and SEW-D. L is the number of layers plus 1 for the final output, which always is after the
    final norm; L is 1 if the layers have fewer frames than the output (SEW). No layer is dropped in
    training, and nothing masked.

    Args:
        checkpoint: a Hugging Face folder, whose settings replace all options. Heads are omitted.
            None for random weights.
        configuration: ``model_type``, the library's name of the network, and settings that differ
            from the library's defaults.
        do_normalize: whether to normalise each waveform to mean 0 and variance 1.

    Raises:
        InputError: if the library cannot build the network, its configuration does not state the
            frames, or the checkpoint cannot be used.

    >>> import torch
    >>> sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    >>> configuration = {"model_type": "wav2vec2-conformer", **sizes, "conv_dim": [32] * 7}
    >>> frontend = AudioEncoder(configuration=configuration)
    >>> [tuple(state.shape) for state in frontend(torch.randn(1, 8000), layers="all")]
    [(1, 24, 32), (1, 24, 32)]
    """

    source = 'Wolf et al., "Transformers: State-of-the-art natural language processing", EMNLP 2020.'
    untrained = r"model\.encoder\.pos_conv_embed\..*"  # the library's Conformer does not use it

    def __init__(
        self,
        checkpoint: AnyPath | None = None,
        *,
        configuration: Options = _CONFORMER,
        do_normalize: bool = True,
    ) -> None:
        super().__init__()
        state_dict = None
        if checkpoint is not None:
            state_dict, configuration, do_normalize = read_waveform_encoder(Path(checkpoint))
        self.config = {"name": "audio_encoder", "configuration": configuration, "do_normalize": do_normalize}
        kind = configuration.get("model_type")
        library, auto = from_transformers("AutoConfig", "AutoModel")
        problem = f"{checkpoint or 'audio_encoder'}: transformers has no encoder of waveforms of type {kind} with"
        with as_input_error(f"{problem} these settings", Exception, remedy="use other settings, or another model"):
            known_settings = {"model_type", *library.for_model(kind).to_dict().keys() - HARMLESS_KEYS}
            check_known([*configuration, "conv_stride", "num_hidden_layers"], known_settings, f"{problem} a setting")
            config = library.for_model(**{**configuration, **WITHOUT_MASKS})
            check_at_most("num_hidden_layers", config.num_hidden_layers, 128)
            convolutions = list(zip(config.conv_dim, config.conv_kernel, config.conv_stride))
            self.hop_length = hop_of(convolutions)
            self.model = with_onednn(auto.from_config(config, trust_remote_code=False))
        # As in SSLFrontend: the library would compute a gradient of the waveform in train mode.
        self.model.feature_extractor._requires_grad = False
        self.out_dim = config.hidden_size
        self.num_layers = config.num_hidden_layers + 1
        # SEW averages frames before its layers, and writes as many frames for each of their outputs.
        averaged_frames = config.to_dict().get("squeeze_factor", 1)
        if averaged_frames > 1:
            self.num_layers = 1
        self.min_samples = receptive_field([*convolutions, (1, averaged_frames, averaged_frames)])
        if state_dict is not None:
            self.load_pretrained(state_dict, checkpoint)

    def forward(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]:
        """Compute the hidden states of ``waveform`` (B×N, 16 kHz, in [−1, 1]).

        Returns:
            For ``"all"``, L tensors B×T×D: the input of each layer, then the final output, which is
            all for ``"last"``.

        Raises:
            InputError: if the waveform is too short for one frame.
        """
        self.check_length(waveform)
        if self.config["do_normalize"]:
            waveform = functional.layer_norm(waveform, waveform.shape[-1:], eps=HUGGINGFACE_EPS)
        output = self.model(waveform, output_hidden_states=layers == "all")
        states = [output.last_hidden_state]
        if layers == "all":
            states = [*output.hidden_states[: self.num_layers - 1], *states]
        return states
