"""Self-supervised front-ends on waveforms: strided convolutions, then a transformer.

One class implements wav2vec 2.0, HuBERT, WavLM and data2vec, with fairseq's parameter names.
WavLM's attention has a gated bias of relative positions; several convolutions encode data2vec's
positions. wav2vec 2.0 and HuBERT differ only in tensors of pre-training.
:mod:`nes2net.models.frontends.sizes` lists the published sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from nes2net.lib.computing.module_size import count_numbers
from nes2net.lib.errors import InputError
from nes2net.lib.parts.options import (
    OFF,
    UNSCALED,
    Options,
    Preset,
    Probability,
    Share,
    Size,
    Takes,
    UpTo64,
    UpTo1024,
    UpTo4096,
    check_at_most,
    check_divides,
)
from nes2net.lib.storage.files import AnyPath
from nes2net.models.checkpoints.fairseq import read_ssl_checkpoint, to_fairseq, to_transformers
from nes2net.models.checkpoints.huggingface import (
    library_options,
    normalize_of_folder,
    read_huggingface_folder,
)
from nes2net.models.checkpoints.model_types import from_transformers, types_of
from nes2net.models.checkpoints.state_dict import rename_tensors
from nes2net.models.frontends import fairseq_engine
from nes2net.models.frontends.attention import for_transformers
from nes2net.models.frontends.base import Frontend, Layers, UsedSamples, check_hop_length
from nes2net.models.frontends.feature_extractor import embed_positions, extract_features
from nes2net.models.frontends.onednn import with_onednn

#: Seven convolutions (channels, kernel, stride): 20 ms hop, 25 ms receptive field at 16 kHz.
STANDARD_CONVOLUTIONS = ((512, 10, 5), *((512, 3, 2),) * 4, *((512, 2, 2),) * 2)
#: Network → the options of this network that at least one other network lacks.
OWN_OPTIONS = {
    "wav2vec2": {"conv_pos", "final_dim", "latent_vars", "latent_groups", "engine"},
    "hubert": {"conv_pos", "final_dim", "num_targets"},
    "wavlm": {"conv_pos", "num_buckets", "max_distance"},
    "data2vec": {"pos_conv_depth", "pos_conv_kernel"},
}
# Network → its publication.
_SOURCES = {
    "wav2vec2": 'Baevski et al., "wav2vec 2.0" (NeurIPS 2020), define the network, and Babu et al., "XLS-R" '
    "(arXiv 2111.09296), the size XLS-R 300M.",
    "hubert": 'Hsu et al., "HuBERT" (IEEE/ACM TASLP 2021, arXiv 2106.07447): the network of wav2vec 2.0 without its '
    "quantiser. UniSpeech-SAT (Chen et al., ICASSP 2022, arXiv 2110.05752) and mHuBERT-147 (Zanon Boito et al., "
    "Interspeech 2024, arXiv 2406.06371) are the same network, as is UniSpeech (Wang et al., ICML 2021, arXiv 2101.07597).",
    "wavlm": 'Chen et al., "WavLM" (IEEE JSTSP 2022, arXiv 2110.13900): a wav2vec 2.0 encoder with gated relative '
    "position bias.",
    "data2vec": 'Baevski et al., "data2vec" (ICML 2022, arXiv 2202.03555): the network of wav2vec 2.0 with several '
    "convolutions that encode positions.",
}
_OPTIONS_OF_SOME = set().union(*OWN_OPTIONS.values())
# Names in the constructor that are no options of the architecture.
_NO_ARCHITECTURE = {"self", "__class__", "name", "checkpoint", "normalize", "repeat_last", "pre_emphasis"}
# Limits of the convolutions. Without limits, a short configuration could describe a network that fills the memory.
_MAX_FRAME_SAMPLES = 160_000  # largest number of samples that a frame depends on; 400 in XLS-R
_MIN_HOP = 128  # smallest number of samples from one frame to the next; 320 in XLS-R
_MAX_NUMBERS = 1024  # largest number of outputs of a convolution per sample of the waveform; 103 in XLS-R

_Number = UpTo4096
Convolutions = Annotated[
    Sequence[Annotated[Sequence[_Number], Field(min_length=3, max_length=3)]],
    Field(min_length=1, max_length=16),
    Takes("a list of 1 to 16 lists [channels, kernel, stride] of whole numbers from 1 to 4096"),
]
EncoderLayers = Annotated[int, Field(ge=1, le=128)]
Heads = UpTo64
Kernel = UpTo1024
Normalize = Annotated[bool | Literal["batch", "huggingface"] | None, Takes("true, false, batch, huggingface or null")]
_NORM_EPS = 1e-5  # number that PyTorch's layer norm adds to the variance
HUGGINGFACE_EPS = 1e-7  # number that Wav2Vec2FeatureExtractor adds to the variance


class SSLFrontend(Frontend):
    """Waveform B×N → hidden states B×T×D of a self-supervised transformer.

    L is the number of transformer layers plus 1 for the final output. A ``checkpoint`` determines
    options and weights, which are random without one.

    Args:
        name: the network: ``"wav2vec2"``, ``"hubert"``, ``"wavlm"`` or ``"data2vec"``. Options that
            belong to other networks (:data:`OWN_OPTIONS`) have no effect.
        checkpoint: a pre-training file of fairseq or unilm, or a Hugging Face folder. The
            checkpoint's configuration replaces all options except ``normalize`` and, if they are
            stated, probabilities and ``feature_grad_mult``. None for random weights.
        normalize: true to layer-normalise each waveform first. ``"batch"`` normalises the whole
            batch B×N together, as torchaudio's bundles and the systems that use these bundles do; a
            score then depends on the other utterances of the batch. ``"huggingface"`` adds 1e-7
            instead of 1e-5 to the variance, as the transformers library's feature extractor does,
            so that quiet waveforms become as loud as other waveforms. With None, a Hugging Face
            folder decides (``do_normalize``, by default true), and a file means false.
        repeat_last: repeat the last frame until there is a frame for each hop that begins in the
            waveform, as s3prl.nn does: 202 frames for 64,600 samples instead of 201.
        pre_emphasis: coefficient c of the pre-emphasis y[n] = x[n] − c·x[n − 1] of a recording,
            before it is cut or repeated; 0 for none. The detectors of Spectra have c = 0.97.
        extractor_mode: ``"layer_norm"`` for a layer norm after each convolution; ``"default"`` for
            a group norm after the first convolution.
        conv_feature_layers: the convolutions on the waveform, each [channels, kernel, stride].
        conv_bias: whether the convolutions on the waveform have a bias.
        layer_norm_first: normalise before the attention and before the feed-forward network,
            instead of after each.
        encoder_layers: number of transformer layers, L − 1.
        encoder_embed_dim: size of a hidden state, D.
        encoder_ffn_embed_dim: hidden size of the feed-forward networks.
        encoder_attention_heads: number of heads of the self-attention.
        conv_pos: kernel size in frames of the convolution that encodes positions.
        pos_conv_depth: number of convolutions that encode positions.
        pos_conv_kernel: kernel size in frames of each of these convolutions.
        conv_pos_groups: groups of the convolutions that encode positions.
        num_buckets: number of buckets of the relative position bias.
        max_distance: distance in frames; all larger distances in one direction share a bucket.
        dropout: probability of dropout at a layer's output. All probabilities apply in training
            only.
        attention_dropout: probability of dropout of attention weights.
        activation_dropout: probability of dropout inside a feed-forward network.
        dropout_input: probability of dropout at the convolutions' output.
        encoder_layerdrop: probability of skipping a transformer layer.
        feature_grad_mult: factor of the gradient of the convolutions, 0 to 1; 0 freezes them, as
            s3prl does.
        pretraining_heads: keep the tensors that only pre-training uses: the mask embedding; for
            wav2vec 2.0 also the quantizer and the projections; for HuBERT also the embeddings of
            the targets and the projections. The published checkpoints contain these tensors, and
            the published code refuses checkpoints without these tensors.
        final_dim: size of the projections of pre-training.
        num_targets: number of targets of pre-training: clusters and fairseq's four special symbols.
        latent_vars: number of entries of each codebook of pre-training.
        latent_groups: number of codebooks of pre-training.
        engine: ``"transformers"``, or ``"fairseq"`` for the original module if fairseq is
            installed. With both engines, the weights have the same names and shapes, the outputs
            are the same, and the same checkpoints can be read.

    Raises:
        InputError: if options do not fit each other, or the checkpoint cannot be used.

    >>> frontend = wavlm(encoder_layers=2, encoder_embed_dim=48, encoder_ffn_embed_dim=48)
    >>> [tuple(state.shape) for state in frontend(torch.randn(1, 8000), layers="all")]
    [(1, 24, 48), (1, 24, 48), (1, 24, 48)]
    """

    takes_prompt = True
    normalize: bool | str = False
    """How waveforms are normalised, as the option ``normalize``."""
    model: Any
    """Network of the transformers library, or of fairseq."""

    def __init__(
        self,
        name: str,
        checkpoint: AnyPath | None = None,
        *,
        normalize: Normalize = None,
        repeat_last: bool = False,
        pre_emphasis: Probability = 0.0,
        extractor_mode: Literal["layer_norm", "default"] = "layer_norm",
        conv_feature_layers: Convolutions = STANDARD_CONVOLUTIONS,
        conv_bias: bool = True,
        layer_norm_first: bool = True,
        encoder_layers: EncoderLayers = 24,
        encoder_embed_dim: Size = 1024,
        encoder_ffn_embed_dim: Size = 4096,
        encoder_attention_heads: Heads = 16,
        conv_pos: Kernel = 128,
        pos_conv_depth: UpTo64 = 5,
        pos_conv_kernel: Kernel = 19,
        conv_pos_groups: Size = 16,
        num_buckets: Size = 320,
        max_distance: Size = 800,
        dropout: Probability = OFF,
        attention_dropout: Probability = OFF,
        activation_dropout: Probability = OFF,
        dropout_input: Probability = OFF,
        encoder_layerdrop: Probability = OFF,
        feature_grad_mult: Share = UNSCALED,
        pretraining_heads: bool = True,
        final_dim: Size = 768,
        num_targets: Size = 504,
        latent_vars: Size = 320,
        latent_groups: Size = 2,
        engine: Literal["transformers", "fairseq"] = "transformers",
    ) -> None:
        # The options of the architecture. This line comes first, because locals() would hold later variables, too.
        options = {**locals()}
        for key in _NO_ARCHITECTURE | _OPTIONS_OF_SOME - OWN_OPTIONS[name]:
            del options[key]
        super().__init__()
        state_dict = None
        checkpoint_options: Options = {}
        if checkpoint is not None:
            read_checkpoint = read_huggingface_folder if Path(checkpoint).is_dir() else read_ssl_checkpoint
            state_dict, checkpoint_options, self.model_type = read_checkpoint(
                checkpoint, types_of(name), wanted_options=options
            )
            if Path(checkpoint).is_dir():
                normalize_by_folder, reason = normalize_of_folder(Path(checkpoint))
                if normalize is None:
                    normalize = normalize_by_folder
                    treatment = "normalised" if normalize else "not normalised"
                    self.note = f"{checkpoint}: waveforms are {treatment}, because {reason}"
        options = self.adopt_options(options, checkpoint_options, checkpoint)
        options["conv_feature_layers"] = [list(layer) for layer in options["conv_feature_layers"]]
        _check_combination(options)
        # The configuration omits options that are switched off, and the engine, on which the outputs do not depend.
        self.engine = options.pop("engine", "transformers")
        preparation = {"normalize": normalize, "repeat_last": repeat_last, "pre_emphasis": pre_emphasis}
        self.config = {"name": name, **options, **{key: value for key, value in preparation.items() if value}}
        self.pre_emphasis = pre_emphasis
        self.repeat_last = repeat_last
        self.source = _SOURCES[name]
        self._set_sizes(options)
        self.set_normalize(normalize or False)

        self.register_state_dict_post_hook(partial(rename_tensors, _fairseq_name))
        self.register_load_state_dict_pre_hook(partial(rename_tensors, _own_name))
        with self.loading(state_dict, checkpoint):
            self.model = _build_model(options, self.engine)
            self.unused = nn.Module()  # names of buffers must not have dots: ``__`` replaces each dot
            if options["pretraining_heads"]:
                for key, shape in _unused_shapes(options).items():
                    self.unused.register_buffer(key.replace(".", "__"), torch.zeros(shape))
        self.num_unused = count_numbers(self.unused.buffers())
        # If ``_requires_grad`` were True, the library would compute a gradient of the waveform in train mode, for
        # gradient checkpointing.
        self.model.feature_extractor._requires_grad = False
        self.requires_grad_()

    def _set_sizes(self, options: Options) -> None:
        self.uses_all_weights = not self.encoder_layerdrop
        self.layer_norm_first = options["layer_norm_first"]
        self.extractor_mode = options["extractor_mode"]
        self.hop_length = hop_of(options["conv_feature_layers"])
        self.min_samples = receptive_field(options["conv_feature_layers"])
        self.used_samples = UsedSamples(self.min_samples, self.hop_length)
        if self.extractor_mode == "default":  # the group norm of the first convolution reads the whole time axis
            _, kernel, stride = options["conv_feature_layers"][0]
            self.used_samples = UsedSamples(kernel, stride)
        if self.repeat_last:  # the number of frames depends on all samples
            self.used_samples = UsedSamples()

    def requires_grad_(self, requires_grad: bool = True) -> SSLFrontend:
        """Convolutions with ``feature_grad_mult`` 0 stay frozen."""
        super().requires_grad_(requires_grad)
        if not self.config["feature_grad_mult"]:
            self.model.feature_extractor.requires_grad_(False)
        return self

    @property
    def transformer_layers(self) -> Sequence[nn.Module]:
        return self.model.encoder.layers

    @property
    def after_layers(self) -> Sequence[nn.Module]:
        """The encoder's layer norm if ``layer_norm_first``, otherwise applied before the first layer."""
        return [self.model.encoder.layer_norm] if self.layer_norm_first else []

    def forward(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]:
        """Compute the hidden states of ``waveform`` (B×N, 16 kHz, in [−1, 1]).

        Args:
            final_norm: whether the last state is taken after the final layer norm; false as in
                fairseq's ``layer_results``, which SLS and AttM read.

        Returns:
            For ``"all"``, L tensors B×T×D: the input of each layer, then the final output, which is
            all for ``"last"``. T is 201 for 64,600 samples; ``repeat_last`` may add a frame.

        Raises:
            InputError: if the waveform is too short for one frame.
        """
        self.check_length(waveform)
        if self.normalize:
            # "batch" normalises all waveforms together, as the published code does.
            shape = waveform.shape if self.normalize == "batch" else waveform.shape[-1:]
            eps = HUGGINGFACE_EPS if self.normalize == "huggingface" else _NORM_EPS
            waveform = functional.layer_norm(waveform, shape, eps=eps)
        states = self._encode(waveform, layers, final_norm)
        if self.repeat_last:
            num_frames = -(-waveform.shape[-1] // self.hop_length)  # rounded up
            frames = torch.arange(num_frames, device=waveform.device).clamp(max=states[-1].shape[1] - 1)
            states = [state[:, frames] for state in states]
        return states

    def _encode(self, waveform: Tensor, layers: Layers, final_norm: bool) -> list[Tensor]:
        if self.engine == "fairseq":
            return fairseq_engine.encode(self.model, waveform, layers, final_norm)
        encoder = self.model.encoder
        x = extract_features(self.model.feature_extractor, waveform)  # B×T×channels
        if 0 < (scale := self.config["feature_grad_mult"]) < 1:  # with 0, the convolutions are frozen
            x = x.detach() + scale * (x - x.detach())  # the sum equals x, but scales the gradient by ``scale``
        x = self.model.feature_projection(x)[0]  # B×T×D
        x = x + embed_positions(encoder.pos_conv_embed, x)
        if not self.layer_norm_first:
            x = encoder.layer_norm(x)
        return self.through_layers(encoder.dropout(x), layers, final_norm)

    def set_normalize(self, normalize: bool | str) -> None:
        """Set the option ``normalize``; if true, hidden states depend on all samples (:attr:`used_samples`)."""
        self.normalize = normalize
        if normalize:  # mean and variance depend on all samples
            self.used_samples = UsedSamples()

    def run_layer(self, layer: nn.Module, x: Tensor, shared: Any) -> tuple[Tensor, Any]:
        """Apply a layer; WavLM's ``shared`` is the position bias 1×H×T×T."""
        if "num_buckets" in self.config:  # WavLM
            if shared is None:  # the bias is computed here, because layer drop may skip the first layer
                shared = self.model.encoder.layers[0].attention.position_bias(x.shape[1])
            return layer(x, position_bias=shared)[0], shared
        if self.layer_norm_first and x.dtype == torch.bfloat16 and torch.is_grad_enabled():
            # ``shared`` is the last output, rounded and exact. A prompt may have changed the frames since.
            if shared is None or shared[0] is not x:
                shared = x, x.detach().float()
            shared = layer(x, exact=shared[1])
            return shared[0], shared
        return super().run_layer(layer, x, shared)


def receptive_field(conv_feature_layers: Sequence[Sequence[int]]) -> int:
    """Compute how many samples a frame depends on; a shorter waveform has none.

    >>> receptive_field(STANDARD_CONVOLUTIONS)
    400
    """
    length = 1
    for _, kernel, stride in reversed(conv_feature_layers):
        length = (length - 1) * stride + kernel
    return length


def _check_combination(options: Options) -> None:
    """Raise :class:`InputError` for sizes or norms that no network can have."""
    dim = options["encoder_embed_dim"]
    for name in ("encoder_attention_heads", "conv_pos_groups"):
        check_divides(name, options[name], "encoder_embed_dim", dim)
    if "pos_conv_depth" in options and (options["layer_norm_first"] or options["extractor_mode"] == "default"):
        raise InputError(
            "front-end 'data2vec' only works with layer_norm_first=false and extractor_mode=layer_norm: remove these options"
        )


def hop_of(layers: Sequence[Sequence[int]]) -> int:
    """Compute the hop of convolutions [channels, kernel, stride]; raise :class:`InputError` if they would fill the memory."""
    hop = 1
    for channels, _, stride in layers:
        hop *= stride
        check_at_most("channels / stride of conv_feature_layers", -(-channels // hop), _MAX_NUMBERS)  # rounded up
    check_hop_length(hop, _MIN_HOP)
    check_at_most("the number of samples that conv_feature_layers read", receptive_field(layers), _MAX_FRAME_SAMPLES)
    return hop


def _build_model(options: Options, engine: str) -> nn.Module:
    """HuBERT is built as a ``Wav2Vec2Model``, which computes the same as a ``HubertModel``."""
    if engine == "fairseq":
        return fairseq_engine.build_model(options)
    gated = "num_buckets" in options
    kind = "WavLM" if gated else "Wav2Vec2"
    if "pos_conv_depth" in options:
        kind = "Data2VecAudio"
    attention = "eager" if gated else "nes2net"
    config_class, model_class, interface = from_transformers(f"{kind}Config", f"{kind}Model", "AttentionInterface")
    interface.register("nes2net", for_transformers)
    model = model_class(config_class(**library_options(options), attn_implementation=attention))
    layers = model.encoder.layers
    if gated:
        from nes2net.models.frontends.relative_attention import GatedRelativeAttention  # start-up

        for layer in layers:
            layer.attention.__class__ = GatedRelativeAttention
    elif options["layer_norm_first"]:
        from nes2net.models.frontends.residual import PreNormLayer  # start-up

        for layer in layers:
            layer.__class__ = PreNormLayer
    return with_onednn(model)


def _unused_shapes(options: Options) -> dict[str, tuple[int, ...]]:
    """Fairseq's name → shape of the tensors that only pre-training uses."""
    channels = options["conv_feature_layers"][-1][0]
    dim = options["encoder_embed_dim"]
    shapes: dict[str, tuple[int, ...]] = {"mask_emb": (dim,)}
    final = options.get("final_dim", 0)
    if "num_targets" in options:  # HuBERT
        shapes["label_embs_concat"] = (options["num_targets"], final)
    if "latent_vars" in options:  # wav2vec 2.0
        codes = options["latent_vars"] * options["latent_groups"]
        shapes |= {
            "quantizer.vars": (1, codes, final // options["latent_groups"]),
            "quantizer.weight_proj.weight": (codes, channels),
            "quantizer.weight_proj.bias": (codes,),
            "project_q.weight": (final, final),
            "project_q.bias": (final,),
        }
    if final:
        shapes["final_proj.weight"] = (final, dim)
        shapes["final_proj.bias"] = (final,)
    return shapes


def _fairseq_name(frontend: SSLFrontend, name: str) -> str:
    child, _, name = name.partition(".")
    published = to_fairseq(name, frontend.extractor_mode) if child == "model" else name.replace("__", ".")
    return f"model.{published}"


def _own_name(frontend: SSLFrontend, name: str) -> str:
    child, _, published = name.partition(".")
    if child != "model":
        return name
    buffer = published.replace(".", "__")  # a buffer's name holds no dot
    is_unused = buffer in dict(frontend.unused.named_buffers())
    return f"unused.{buffer}" if is_unused else f"model.{to_transformers(published)}"


def _preset(name: str, description: str, **defaults: Any) -> Preset:
    return Preset(SSLFrontend, name, summary=description, without=_OPTIONS_OF_SOME - OWN_OPTIONS[name], **defaults)


# The Base size of HuBERT and data2vec.
_BASE: Options = {
    "conv_bias": False,
    "layer_norm_first": False,
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
}
wav2vec2 = _preset(
    "wav2vec2",
    """Waveform B×N → hidden states B×T×D of a wav2vec 2.0 transformer.

    The waveform, in [−1, 1], is not layer-normalised unless ``normalize`` or the folder says so.
    The published detectors read fairseq's file and do not normalise the waveform, although XLS-R's
    task configuration says ``normalize``.

    The options have fairseq's names and meanings, except ``normalize``, ``pretraining_heads`` and
    ``engine``. The defaults describe XLS-R 300M's pre-training file, with every dropout 0: 24
    layers of 1024, and 317,390,592 parameters with the pre-training heads.
    """,
)
hubert = _preset(
    "hubert",
    """Waveform B×N → hidden states B×T×D of a HuBERT, UniSpeech or UniSpeech-SAT transformer.

    The waveform, in [−1, 1], is not layer-normalised unless ``normalize`` or the folder says so. The
    options have fairseq's names and meanings, except ``normalize``, ``pretraining_heads`` and
    ``num_targets``. The defaults describe HuBERT Base, with every dropout 0: 12 layers of 768.
    The pre-training heads of UniSpeech and UniSpeech-SAT are not read.
    """,
    extractor_mode="default",
    **_BASE,
    final_dim=256,
)
wavlm = _preset(
    "wavlm",
    """Waveform B×N → hidden states B×T×D of a WavLM transformer.

    The first layer contains the embedding of the bias; all layers share the bias.

    The CtrSVDD systems layer-normalise waveforms (s3prl, following WavLM-Large's configuration); the
    ASVspoof 5 systems do not. The options have unilm's names and meanings, except ``normalize`` and
    ``pretraining_heads``. The defaults describe WavLM-Large: 24 layers of 1024, 315,453,120
    parameters.
    """,
    conv_bias=False,
)

data2vec = _preset(
    "data2vec",
    """Waveform B×N → hidden states B×T×D of a data2vec transformer for audio.

    The waveform, in [−1, 1], is not layer-normalised unless ``normalize`` or the folder says so. Only
    Hugging Face folders are read. The defaults describe data2vec Audio Base, with every dropout 0:
    12 layers of 768.
    """,
    **_BASE,
)

#: Options of a small front-end that learns from scratch in minutes on a CPU; its four convolutions
#: have a hop of 16 ms.
SMALL: Options = {
    "conv_feature_layers": ((64, 16, 8), (64, 4, 4), (64, 4, 4), (64, 4, 2)),
    "encoder_layers": 3,
    "encoder_embed_dim": 128,
    "encoder_ffn_embed_dim": 256,
    "encoder_attention_heads": 4,
    "conv_pos": 32,
    "conv_pos_groups": 4,
    "pretraining_heads": False,
}
wav2vec2_small = Preset(
    wav2vec2,
    summary="A small wav2vec 2.0 without pre-training, for tests and the demonstration: 0.6 M parameters.",
    without=("checkpoint",),
    **SMALL,
)
