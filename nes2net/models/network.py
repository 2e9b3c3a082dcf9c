"""The network of a detector: front-end, aggregation and back-end, with the published parameter names.

:class:`Network` has, in this order: properties; ``forward`` and the steps from waveform to logits;
embeddings, scores and scores of segments; ``compile`` and ``fingerprint``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils._pytree import tree_leaves

from nes2net.data.audio.read import SAMPLE_RATE
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.data.corpora.trial import BONAFIDE
from nes2net.lib.computing.cuda_graph import Replayed
from nes2net.lib.computing.devices import (
    PRECISIONS,
    at_least_float32,
    check_precision,
    parse_precision,
    without_autocast,
)
from nes2net.lib.computing.module_size import count_numbers
from nes2net.lib.errors import InputError, check_setting, join_names
from nes2net.lib.output.terminal import printable_name
from nes2net.lib.parts.options import FrontendSizes, ModelConfig, Options, fit_options, name_and_options
from nes2net.models.aggregations.base import Aggregation
from nes2net.models.backends.base import Backend, ScoreRule, SegmentLogits
from nes2net.models.backends.plain_module import PlainModule
from nes2net.models.checkpoints.published_names import name_in_files, name_in_network
from nes2net.models.checkpoints.state_dict import digest, rename_tensors
from nes2net.models.frontends.adaptation import merge
from nes2net.models.frontends.base import Frontend, Layers, UsedSamples
from nes2net.models.provenance import Provenance
from nes2net.models.published_models import PublishedModel
from nes2net.models.quantisation import fastest_precision, quantise
from nes2net.models.registry import backends, create_aggregation, create_backend

if TYPE_CHECKING:
    from typing_extensions import Self


#: The part of a network that computes an embedding (:meth:`Network.embeddings`).
EmbeddingOf: TypeAlias = Literal["frontend", "aggregation", "backend"]


class Network(nn.Module):
    """Front-end, aggregation and back-end in a row: waveform B×N → logits B×n, or scores (B,).

    The back-end's ``score_rule`` computes the score, mostly the second of two logits or the only
    one; higher means more bona fide. Scores are not calibrated: choose a threshold on a development
    set from your own conditions.

    State dicts have the parameter names of the published whole-model checkpoints
    (:mod:`nes2net.models.checkpoints.published_names`).

    Args:
        frontend: waveform B×N → list of hidden states B×T×D.
        aggregation: list of hidden states B×T×D → features B×T×D.
        backend: features B×T×D → logits B×n; a module without the class
            :class:`nes2net.models.backends.base.Backend` gives B×1 or B×2, bona fide last.

    Attributes:
        provenance: origin of the weights, as the checkpoint states it; otherwise empty.
        source: file, folder or name of the checkpoint; otherwise empty.
        base: ``{"digest": …, "file": …}`` for a detector with an adapted front-end
            (:mod:`nes2net.models.frontends.adaptation`): SHA-256 and file of the frozen tensors,
            which :meth:`save` omits. None if no file holds them.

    Print a part, as in ``print(detector.backend)``, to see its layers.

    >>> from nes2net import Detector
    >>> backend = {"name": "nes2net_x", "nes_ratio": [4, 4]}
    >>> detector = Detector.from_config({"frontend": "wav2vec2_small", "backend": backend})
    >>> detector(torch.zeros(2, 16000)).shape
    torch.Size([2, 2])
    """

    def __init__(self, frontend: Frontend, aggregation: Aggregation, backend: nn.Module) -> None:
        super().__init__()
        if not isinstance(backend, Backend):
            backend = PlainModule(backend, frontend.out_dim)
        self.frontend = frontend
        self.aggregation = aggregation
        self.backend = backend
        if backend.wants_layers == "all" and backend.num_states > frontend.num_layers:
            raise InputError(
                f"back-end '{backend.config['name']}' reads {backend.num_states} hidden states, and front-end "
                f"'{frontend.config['name']}' gives {frontend.num_layers}: use a back-end that reads the last one, such as "
                "`model.backend=nes2net_x`, or a front-end with more layers"
            )
        self.layers: Layers = "last"
        if "all" in (backend.wants_layers, aggregation.wants_layers):
            self.layers = "all"
        self.provenance = Provenance()
        self.source = ""  # the file or name that the weights are from; empty without one
        # Digest and file of the frozen tensors that save() omits; None if it saves all.
        self.base: dict[str, str] | None = None
        # set_precision() stores the precision here, because the type of the weights does not show tf32 and int8.
        self._chosen_precision = ""  # empty until then
        self._fingerprint = ""  # fingerprint of the weights before they were quantised; empty until then
        self._replayed: Replayed | None = None  # computes the scores of a compiled detector; None before compile()
        # Tensors have their published names in state dicts.
        self.register_state_dict_post_hook(partial(rename_tensors, name_in_files))
        self.register_load_state_dict_pre_hook(partial(rename_tensors, name_in_network))
        self.register_load_state_dict_pre_hook(_forget_recordings)

    @classmethod
    def with_frontend(cls, frontend: Frontend, config: ModelConfig) -> Self:
        """Build aggregation and back-end of ``config`` for ``frontend``, and join all three.

        Missing options that depend on the front-end, such as ``feature_dim``, are set.
        """
        name, options = name_and_options(config, "aggregation", "last", reserved=("num_layers", "feature_dim"))
        aggregation = create_aggregation(name, frontend.num_layers, frontend.out_dim, **options)
        name, options = name_and_options(config, "backend")
        # For an unknown name, create_backend raises an error below.
        if name in backends.names():
            # Number of frames of the usual crop of 64,600 samples, for back-ends with a fixed number of frames.
            frames = (frontend.used_samples(ASVSPOOF_SAMPLES) - frontend.min_samples) // frontend.hop_length + 1
            options = fit_options(
                backends.get(name), options, FrontendSizes(frontend.out_dim, frontend.num_layers, frames)
            )  # sets what the user does not
        return cls(frontend, aggregation, create_backend(name, **{"feature_dim": frontend.out_dim, **options}))

    @property
    def config(self) -> dict[str, Options]:
        """Plain data from which :meth:`from_config` builds this architecture again."""
        return {
            "frontend": dict(self.frontend.config),
            "aggregation": dict(self.aggregation.config),
            "backend": dict(self.backend.config),
        }

    def __repr__(self) -> str:
        lines = [type(self).__name__]
        for role, part in self.named_children():
            options = ", ".join(f"{key}={value}" for key, value in self.config[role].items())
            lines.append(
                shorten(f"{role}: {count_numbers(part.parameters()):,} parameters, {options}", 98, placeholder=" …")
            )
        lines.append(f"{self.precision} on {self.device}, training={self.training}")
        if self.source:
            lines.append(f"from {printable_name(self.source)}")
        return "\n  ".join(lines)

    if TYPE_CHECKING:  # tells mypy the types of a call, which torch.nn.Module does not declare

        def __call__(self, waveform: Tensor, scores: Tensor | None = None) -> Tensor: ...

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def computes_on(self) -> torch.device:
        """Device on which scores are computed; differs from :attr:`device` only in some ONNX detectors."""
        return self.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.parameters()).dtype

    @property
    def precision(self) -> str:
        """Precision in which scores are computed: ``"int8"``, ``"tf32"``, or else the type of the weights."""
        if self._chosen_precision == "int8" or (self._chosen_precision == "tf32" and self.dtype == torch.float32):
            return self._chosen_precision
        return str(self.dtype).removeprefix("torch.")

    def set_precision(self, precision: str | torch.dtype) -> Self:
        """Compute scores in ``precision`` from now on; return this detector.

        Args:
            precision: one of :data:`nes2net.lib.computing.devices.PRECISIONS`, or ``"fastest"``
                (:func:`nes2net.models.quantisation.fastest_precision`). ``"float32"`` uses all 23
                bits of the mantissa, on a GPU too; ``"tf32"`` uses 10. ``"int8"``
                (:mod:`nes2net.models.quantisation`) loses the original weights.

        Raises:
            InputError: if the precision is unknown or not supported by the device, or if quantised
                weights should get another than int8.
        """
        if precision == "fastest":
            name = fastest_precision(self, self.device)
        else:
            name = parse_precision(precision)
        check_precision(name, self.device)
        if name != "int8":
            if self.precision == "int8":
                raise InputError(f"the weights of this detector are quantised to int8: load it again in {name}")
            self.to(PRECISIONS[name])
        elif self.precision != "int8":
            self._fingerprint = self.fingerprint()  # stored before quantisation changes the weights
            merge(self.frontend)
            quantise(self)
        self._chosen_precision = name
        return self

    @property
    def min_samples(self) -> int:
        """Samples of the shortest waveform with enough frames for the back-end."""
        return self.frontend.min_samples + (self.backend.min_frames - 1) * self.frontend.hop_length

    @property
    def pre_emphasis(self) -> float:
        """Coefficient of the pre-emphasis of recordings before they are cut; 0 for none."""
        return self.frontend.pre_emphasis

    @property
    def score_rule(self) -> ScoreRule:
        """The rule that computes scores from logits (:data:`nes2net.models.backends.base.ScoreRule`)."""
        return self.backend.score_rule

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, bona fide last; usually ``("spoof", "bonafide")``."""
        return self.backend.classes

    @property
    def num_scores(self) -> int:
        """Number of other systems' scores that the detector fuses; usually 0."""
        return self.backend.num_scores

    @property
    def published(self) -> PublishedModel | None:
        """The published model whose weights the detector has, if any."""
        name_and_facts = self.provenance.published
        return name_and_facts[1] if name_and_facts else None

    @property
    def used_samples(self) -> UsedSamples:
        """Number of samples of a waveform → number of leading samples that scores depend on."""
        return self.frontend.used_samples

    def forward(self, waveform: Tensor, scores: Tensor | None = None) -> Tensor:
        """Compute logits B×n of ``waveform`` B×N: 16 kHz mono, in [−1, 1], float32 for any precision.

        Args:
            scores: for a detector that fuses scores, B×``num_scores`` of other systems, normalised
                as in training (:func:`nes2net.scoring.system_scores.normalise`).

        Raises:
            InputError: if a detector that fuses scores gets no scores, or any other detector gets scores;
                or if ``waveform`` is not a tensor.
        """
        if not isinstance(waveform, Tensor):
            raise InputError(
                f"a call computes logits of a tensor B×N at 16 kHz, not of a {type(waveform).__name__}: use "
                "detector.score(…), which reads recordings"
            )
        return self.logits(self.features(self.hidden_states(waveform)), scores)

    def logits(self, features: Tensor | list[Tensor], scores: Tensor | None = None) -> Tensor:
        """Compute logits B×n by the back-end, from the :meth:`features` of a waveform; raise as :meth:`forward`."""
        if scores is None:  # a back-end that fuses scores refuses this
            return self.backend.utterance_logits(features)
        if not self.num_scores:
            raise InputError(
                f"back-end '{self.backend.config['name']}' uses no scores of other systems: remove `scores`"
            )
        return self.backend(features, scores)

    def hidden_states(self, waveform: Tensor, layers: Layers | None = None) -> list[Tensor]:
        """Compute the hidden states B×T×D of the front-end for ``waveform`` B×N.

        Args:
            layers: ``"last"`` or ``"all"``; None for those that aggregation and back-end need.
        """
        weight = next(self.frontend.parameters(), None)
        context: AbstractContextManager[None] = nullcontext()
        if weight is not None:
            dtype = weight.dtype
            if dtype.itemsize < 4:  # weights of half precision need no autocast, which would convert to and fro
                context = without_autocast(waveform.device)
            if self.frontend.full_precision:
                dtype = torch.promote_types(dtype, torch.float32)
            waveform = waveform.to(dtype)
        with context:
            states = self.frontend(waveform, layers=layers or self.layers, final_norm=self.backend.wants_final_norm)
        if weight is None:  # a front-end without weights, such as a spectrum, computes in the waveform's precision
            return [state.to(self.dtype) for state in states]
        return states

    def features(self, hidden_states: list[Tensor]) -> Tensor | list[Tensor]:
        """Compute the input of the back-end: aggregated hidden states B×T×D, or the list of all.

        Zeros are appended to each frame if the back-end's ``feature_dim`` is larger than D.
        """
        padding = 0, self.num_zeros  # number of zeros before and after the D numbers of a frame
        if self.backend.wants_layers != "all":
            features = self.aggregation(hidden_states)
            return pad(features, padding) if self.num_zeros else features
        if not self.num_zeros:
            return hidden_states
        return [pad(state, padding) for state in hidden_states]

    @property
    def num_zeros(self) -> int:
        """Number of zeros to append to each frame, max(``feature_dim`` − D, 0)."""
        return max(0, self.backend.feature_dim - self.frontend.out_dim)

    def embeddings(self, waveform: Tensor, of: EmbeddingOf = "frontend", layer: int | str = "last") -> Tensor:
        """Compute embeddings B×E of ``waveform`` B×N, in the current mode and precision of the detector.

        Args:
            of: ``"frontend"`` for the mean over time of a hidden state, ``"aggregation"`` for the
                mean of the back-end's input, ``"backend"`` for the input of the back-end's last
                layer.
            layer: hidden state of the front-end: ``"last"``; 0 to L − 1, where 0 is the input of
                the first transformer layer; or ``"all"`` for all L concatenated, E = L·D.

        Raises:
            InputError: if there is no such embedding.
        """
        if of == "frontend":
            states = self.hidden_states(waveform, "last" if layer == "last" else "all")
            if isinstance(layer, int):
                if not 0 <= layer < len(states):
                    raise InputError(
                        f"the front-end has hidden states 0 to {len(states) - 1}: choose one of them, not `layer` {layer}"
                    )
                states = [states[layer]]
            else:
                check_setting("layer", layer, layer in ("last", "all"), "'last', 'all' or a number")
            return torch.cat([at_least_float32(state).mean(1) for state in states], dim=1)
        if layer != "last":
            raise InputError(
                f"`layer` chooses a hidden state of the front-end, so it only works with `of=frontend`: remove it for `of={of}`"
            )
        features = self.features(self.hidden_states(waveform))
        if of == "backend":
            return self.backend.embed(features)
        if isinstance(features, list):
            name = self.backend.config["name"]
            raise InputError(f"back-end '{name}' reads all hidden states without an aggregation: use `of=frontend`")
        return at_least_float32(features).mean(1)

    def scores(self, waveform: Tensor, system_scores: Tensor | None = None) -> Tensor:
        """Compute scores (B,) of ``waveform`` B×N, in the current mode and precision.

        In eval mode, a compiled detector replays a CUDA graph if one can be recorded.
        ``system_scores`` are the ``scores`` of :meth:`forward`.
        """
        if self._replayed is None or self.training or system_scores is not None:
            return self._scores(waveform, system_scores)
        return self._replayed(waveform)

    def check_score(self) -> None:
        """Raise :class:`InputError` unless the last class is bona fide, without which there is no score."""
        if self.classes[-1] != BONAFIDE:
            raise InputError(
                f"this detector has the classes {join_names(self.classes, 5)}, without bona fide, so it has no score: use the "
                "`judgement` classes"
            )

    def _scores(self, waveform: Tensor, system_scores: Tensor | None = None) -> Tensor:
        self.check_score()
        if system_scores is None:  # a forward that replaces forward() may have only one parameter
            return self.backend.scores(self(waveform))
        return self.backend.scores(self(waveform, system_scores))

    def posteriors(self, waveform: Tensor) -> Tensor:
        """Compute posteriors B×K (float64), the uncalibrated softmax of the logits, for ``waveform`` B×N."""
        return self.backend.posteriors(self(waveform))

    @property
    def frame_ms(self) -> float:
        """Milliseconds between frames of the front-end."""
        return self.frontend.hop_length * 1000 / SAMPLE_RATE

    @property
    def resolutions(self) -> tuple[float, ...]:
        """Lengths in ms of the segments that the detector scores, ascending; may be empty."""
        return tuple(factor * self.frame_ms for factor in sorted(self.backend.resolutions))

    def num_segments(self, num_samples: int) -> dict[float, int]:
        """Count the segments in ``num_samples`` samples: length in ms → number."""
        num_frames = (self.used_samples(num_samples) - self.frontend.min_samples) // self.frontend.hop_length + 1
        counts = self.backend.num_segments(num_frames)
        return {factor * self.frame_ms: count for factor, count in zip(self.backend.resolutions, counts)}

    @property
    def trained_on_segments(self) -> bool:
        """Whether the checkpoint's recipe or, without one, the back-end is for scores of segments."""
        if self.provenance.recipe is not None:
            section = self.provenance.recipe.get("segments")
            return isinstance(section, dict) and bool(section.get("resolutions"))
        return self.backend.made_for_segments

    def segment_logits(self, waveform: Tensor) -> SegmentLogits:
        """Compute the logits of the T segments of ``waveform`` B×N: segment length in ms → B×T×n.

        Raises:
            InputError: if the back-end cannot score segments.
        """
        return self.backend.segments(self.features(self.hidden_states(waveform)), self.frame_ms)

    def segment_scores(self, waveform: Tensor) -> dict[float, Tensor]:
        """Compute the scores of the T segments of ``waveform`` B×N: segment length in ms → B×T.

        Segment t begins t segment lengths after the start.
        """
        return {
            resolution: self.backend.scores(logits.flatten(0, 1)).unflatten(0, logits.shape[:2])
            for resolution, logits in self.segment_logits(waveform).items()
        }

    def part_not_finite(self, waveforms: Tensor) -> str | None:
        """Name the first part whose output for ``waveforms`` B×N is not finite; None if all are finite.

        Empty if the part's code is not to blame: it is built in, or its weights or ``waveforms`` are
        not finite.
        """
        if not _are_finite([waveforms]):
            return ""
        states = self.hidden_states(waveforms)
        features = self.features(states)
        outputs: list[tuple[Any, Any]] = [
            (self.frontend, states),
            (self.aggregation, [*tree_leaves(features), self.aggregation.penalty]),
        ]
        if not self.num_scores:
            outputs.append((self.backend, [self.logits(features)]))
        for module, tensors in outputs:
            if not _are_finite(tensors):
                return module.subject if _are_finite(module.parameters()) else ""
        return None

    def compile(self, **options: Any) -> None:
        """Compile the parts in place; a front-end of equal layers is compiled layer by layer.

        Parts are compiled when they next compute, for each input shape. A GPU also replays CUDA
        graphs. ``options`` go to ``torch.compile``.
        """
        for module in (self.frontend, self.aggregation, self.backend):
            module.compile(**options)
        self._replayed = Replayed(self._scores)

    def _apply(self, *args: Any, **options: Any) -> Self:
        """CUDA graphs hold addresses of weights; PyTorch calls this in ``to()`` and ``half()``."""
        self.forget_recordings()
        return super()._apply(*args, **options)

    def forget_recordings(self) -> None:
        """Drop recorded CUDA graphs, which hold addresses of weights; call it after moving a single part."""
        if self._replayed is not None:
            self._replayed = Replayed(self._scores)

    def fingerprint(self) -> str:
        """Return the SHA-256 of architecture and weights (in int8, before quantisation)."""
        if self.precision == "int8":
            return self._fingerprint
        architecture = json.dumps(self.config, sort_keys=True).encode()
        return hashlib.sha256(architecture + digest(self.state_dict())).hexdigest()


def _are_finite(tensors: Iterable[Tensor | None]) -> bool:
    return all(tensor is None or bool(tensor.isfinite().all()) for tensor in tensors)


def _forget_recordings(network: Network, *_: object) -> None:
    network.forget_recordings()  # because CUDA graphs would read the old weights
