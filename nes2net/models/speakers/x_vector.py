"""X-vector models of the transformers library."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from nes2net.lib.errors import as_input_error, check_known
from nes2net.lib.parts.options import Options
from nes2net.lib.storage.files import AnyPath
from nes2net.models.checkpoints.fairseq import with_present_norm
from nes2net.models.checkpoints.huggingface import CONFIG_FILE, normalize_of_folder, read_configuration, read_weights
from nes2net.models.checkpoints.model_types import from_transformers
from nes2net.models.frontends.ssl import receptive_field
from nes2net.models.speakers.files import find_encoder_file
from nes2net.models.speakers.network import NetworkEncoder

_CLASSES = ("Data2VecAudioForXVector", "UniSpeechSatForXVector", "Wav2Vec2ForXVector", "WavLMForXVector")
# Ends of the names of tensors that only training uses.
_UNUSED = ("masked_spec_embed", "classifier.weight", "classifier.bias", "objective.weight")


class XVector(NetworkEncoder):
    """X-vectors of WavLM, wav2vec 2.0, UniSpeech-SAT or data2vec in a Hugging Face folder.

    Args:
        checkpoint: the folder, or its name on the hub.
        device: where the network computes.
    """

    source = 'D. Snyder et al., "X-vectors: robust DNN embeddings for speaker recognition", ICASSP 2018.'
    name = "x_vector"
    published = "hub:microsoft/wavlm-base-plus-sv"

    def __init__(self, checkpoint: AnyPath | None = None, *, device: str = "cpu") -> None:
        file = find_encoder_file(checkpoint or self.published)
        with as_input_error(f"{file.path}: its {CONFIG_FILE} describes no x-vector model", Exception):
            model = _build_model(read_configuration(file.path))
            self.min_samples = _shortest(model.config)
        self.dimension = model.config.xvector_output_dim
        self.is_normalized = bool(normalize_of_folder(file.path)[0])
        expected = model.state_dict()
        state_dict = {}
        for name, tensor in read_weights(file.path).items():
            if name in expected or not name.endswith(_UNUSED):
                state_dict[with_present_norm(name)] = tensor
        self.use(model, state_dict, file, device)

    def forward(self, waveform: Tensor) -> Tensor:
        if self.is_normalized:
            waveform = functional.layer_norm(waveform, waveform.shape, eps=1e-7)
        return self.network(waveform[None]).embeddings[0]  # type: ignore[no-any-return]


def _build_model(settings: Options) -> Any:
    (kind,) = settings["architectures"]
    check_known([kind], _CLASSES, "no speaker encoder has the class")
    (model_class,) = from_transformers(kind)
    keys = model_class.config_class().to_dict().keys() & settings.keys()  # others could name code to load
    config = model_class.config_class(**{key: settings[key] for key in keys} | {"return_dict": True})
    model = model_class(config)
    model.classifier = nn.Identity()
    model.objective = nn.Identity()
    return model


def _shortest(config: Any) -> int:
    """Count the samples of two frames of the TDNN: one has no standard deviation."""
    convolutions = list(zip(config.conv_dim, config.conv_kernel, config.conv_stride))
    for kernel, dilation in zip(config.tdnn_kernel, config.tdnn_dilation):
        convolutions.append((1, (kernel - 1) * dilation + 1, 1))
    return receptive_field([*convolutions, (1, 2, 1)])
