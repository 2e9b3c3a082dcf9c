"""The Detector: front-end, aggregation and back-end, with the published parameter names."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, reduce
from os.path import exists, isfile
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nes2net.aggregations.base import Aggregation
from nes2net.audio.crop import ASVSPOOF_SAMPLES
from nes2net.audio.read import SAMPLE_RATE
from nes2net.backends.base import Backend
from nes2net.checkpoints.base import NAME_IT, base_digest, find_base, read_base
from nes2net.checkpoints.folder import CONFIG, download, read_folder, upload, write_folder
from nes2net.checkpoints.huggingface import holds_other_model, read_weights
from nes2net.checkpoints.published_names import (
    layout_of,
    of_frontend,
    read_published_names,
    unwrap_frontend,
    write_published_names,
)
from nes2net.checkpoints.state_dict import (
    Misfit,
    check_fit,
    compare,
    digest,
    load_state_dict,
    read_record,
    save_state_dict,
)
from nes2net.errors import InputError, MissingLibrary, check_known, did_you_mean, first_line
from nes2net.frontends.adaptation import merge
from nes2net.frontends.base import Frontend, Layers, UsedSamples
from nes2net.localisation.segments import Segment
from nes2net.localisation.stretches import MIN_DURATION, fake_stretches
from nes2net.machine.autocast import at_least_float32
from nes2net.machine.cuda_graph import Replayed
from nes2net.machine.devices import choose_device
from nes2net.machine.precision import PRECISIONS, check_precision, named_precision
from nes2net.machine.terminal import printable_name
from nes2net.options import Input, check_model, declared, fitted
from nes2net.published_models import (
    CODES,
    PUBLISHED_MODELS,
    RECORD_KEY,
    PublishedModel,
    published_model,
    samples_to_score,
    start_of,
)
from nes2net.quantisation import quantise
from nes2net.recipes.recipe import load_recipe
from nes2net.registry import backends, create_aggregation, create_backend, create_frontend
from nes2net.scoring.calibrated import decide, stretch_rule
from nes2net.scoring.files import OnError, score_files
from nes2net.scoring.frame_scores import FrameScores, frame_scores
from nes2net.scoring.kernel import score_each, score_or_raise, scoring_mode, start_embedding
from nes2net.scoring.scorer import check_takes_audio_alone
from nes2net.scoring.track import Track, score_track
from nes2net.scoring.waveforms import Audio, Crop, WaveformReader

if TYPE_CHECKING:
    from nes2net.decisions.calibration import LinearCalibration
    from nes2net.decisions.decision import Decider, Decision

#: What an embedding is taken of, see :meth:`Detector.embeddings`.
EmbeddingOf: TypeAlias = Literal["frontend", "aggregation", "backend"]


class Detector(nn.Module):
    """A waveform B×N → logits B×n, or a score.

    The score is made of the logits by the back-end's ``score_rule``: of most systems it is the
    second of two logits, or the only one. Higher means more bona fide. It is not calibrated: choose
    a threshold on a development set of your own conditions.
    ``state_dict()`` and ``load_state_dict`` use the parameter names of the published whole-model
    checkpoints.

    Args:
        frontend: waveform B×N → list of hidden states B×T×D.
        aggregation: list of hidden states B×T×D → features B×T×D.
        backend: features B×T×D → logits B×n.

    Attributes:
        record: the facts of its training that its checkpoint holds, such as the recipe; empty for a
            detector that was not loaded.
        source: the file, folder or name that it was loaded from; empty if it was not loaded.
        base: of a detector with an adapted front-end (:mod:`nes2net.frontends.adaptation`),
            ``{"digest": …, "file": …}``: the SHA-256 of the frozen tensors, and the file that they
            came from. :meth:`save` leaves them out. None if they are in no file.

    Its text is a few lines; the layers are those of its parts, as in ``print(detector.backend)``.

    >>> backend = {"name": "nes2net_x", "nes_ratio": [4, 4]}
    >>> detector = Detector.from_config({"frontend": "wav2vec2_small", "backend": backend})
    >>> detector(torch.zeros(2, 16000)).shape
    torch.Size([2, 2])
    """

    def __init__(self, frontend: Frontend, aggregation: Aggregation, backend: Backend) -> None:
        super().__init__()
        self.frontend, self.aggregation, self.backend = frontend, aggregation, backend
        if backend.wants_layers == "all" and backend.num_states > frontend.num_layers:
            raise InputError(
                f"back-end '{backend.config['name']}' reads {backend.num_states} hidden states, and front-end "
                f"'{frontend.config['name']}' gives {frontend.num_layers}: take a back-end that reads the last one, such as "
                "`model.backend=nes2net_x`, or a front-end with more layers"
            )
        self.layers: Layers = "all" if "all" in (backend.wants_layers, aggregation.wants_layers) else "last"
        self.record: dict[str, Any] = {}
        self.source = ""
        self.base: dict[str, str] | None = None
        self._asked_for = ""  # a precision that the type of the weights does not tell
        self._fingerprint = ""  # of the weights before they were quantised
        self._replayed: Replayed | None = None  # once it is compiled
        self.register_state_dict_post_hook(_write_published_names)
        self.register_load_state_dict_pre_hook(_read_published_names)

    @classmethod
    def from_config(cls, config: dict[str, Any] | str, checkpoint: str | Path | None = None) -> Detector:
        """Build a detector with random weights, except those in the front-end's ``checkpoint``.

        Args:
            config: ``{"frontend": {"name": …, options}, "aggregation": …, "backend": …}``, where a
                name alone means its default options; or the name of a published model, such as
                ``"wav2vec2_Nes2Net_X"``.
            checkpoint: the front-end's pre-training file.

        Raises:
            InputError: if a name or option is unknown, or the checkpoint cannot be used.
        """
        if isinstance(config, str):
            check_known([config], PUBLISHED_MODELS, "there is no published model", "nes2net info")
            config = PUBLISHED_MODELS[config]
        check_model(config)
        frontend_name, frontend_options = _name_and_options(config, "frontend", given=("checkpoint",))
        detector = cls._with_frontend(create_frontend(frontend_name, checkpoint, **frontend_options), config)
        if checkpoint is not None and detector.frontend.adapted:
            detector.set_base(checkpoint)
        return detector

    @classmethod
    def _with_frontend(cls, frontend: Frontend, config: Mapping[str, Any]) -> Detector:
        """Build the other parts of ``config`` for ``frontend``."""
        name, options = _name_and_options(config, "aggregation", "last", given=("num_layers", "feature_dim"))
        aggregation = create_aggregation(name, frontend.num_layers, frontend.out_dim, **options)
        name, options = _name_and_options(config, "backend")
        if name in backends.names():
            frames = (frontend.used_samples(ASVSPOOF_SAMPLES) - frontend.min_samples) // frontend.hop_length + 1
            options = fitted(backends.get(name), options, Input(frontend.out_dim, frontend.num_layers, frames))
        backend = create_backend(name, **{"feature_dim": frontend.out_dim, **options})
        return cls(frontend, aggregation, backend)

    @classmethod
    def on_meta(cls, config: dict[str, Any] | str) -> Detector | None:
        """Build the architecture without memory, for weights from a file.

        None if a part has tensors that are computed when it is built and not saved in checkpoints.
        """
        with torch.device("meta"):
            detector = cls.from_config(config)
        return detector if detector.saves_all else None

    @property
    def saves_all(self) -> bool:
        """Whether its state dict has all its tensors: none is computed when it is built."""
        held = {id(tensor) for tensor in self.state_dict(keep_vars=True).values()}
        return all(id(tensor) in held for tensor in (*self.parameters(), *self.buffers()))

    @property
    def config(self) -> dict[str, Any]:
        """Plain data from which :meth:`from_config` builds this architecture again."""
        return {
            "frontend": dict(self.frontend.config),
            "aggregation": dict(self.aggregation.config),
            "backend": dict(self.backend.config),
        }

    def __repr__(self) -> str:
        states = f"{self.frontend.num_layers} hidden state{'s' * (self.frontend.num_layers > 1)}"
        unused = "" if self.backend.wants_layers == "last" else "not used: the back-end reads all layers"
        parts = [
            _part_line("front-end", self.frontend, f"{states} of {self.frontend.out_dim}"),
            _part_line("aggregation", self.aggregation, unused),
            _part_line("back-end", self.backend, _main_options(self.backend)),
        ]
        size = f"{_count(self):,} parameters, {self.precision} on {self.device}, {'train' if self.training else 'eval'} mode"
        origin = [f"from {printable_name(self.source)}"] if self.source else []
        return "\n  ".join(["Detector", *parts, size, *origin])

    if TYPE_CHECKING:  # torch.nn.Module says no more than that it can be called

        def __call__(self, waveform: Tensor, scores: Tensor | None = None) -> Tensor: ...

    @property
    def device(self) -> torch.device:
        """Device of its weights."""
        return next(self.parameters()).device

    @property
    def computes_on(self) -> torch.device:
        """The device that computes: that of its weights."""
        return self.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of its weights."""
        return next(self.parameters()).dtype

    @property
    def precision(self) -> str:
        """Precision of its scores: the type of its weights, ``"tf32"`` or ``"int8"``."""
        if self._asked_for == "int8" or (self._asked_for == "tf32" and self.dtype == torch.float32):
            return self._asked_for
        return str(self.dtype).removeprefix("torch.")

    def set_precision(self, precision: str | torch.dtype) -> Detector:
        """Compute scores in ``precision`` from now on; return this detector.

        Args:
            precision: one of :data:`nes2net.machine.precision.PRECISIONS`. ``"float32"`` has its
                whole mantissa also on a GPU, ``"tf32"`` is faster there. ``"int8"`` quantises the
                weights, see :mod:`nes2net.quantisation`, which cannot be undone.

        Raises:
            InputError: if the precision is unknown, the device does not compute it, or the weights
                are quantised already.
        """
        name = named_precision(precision)
        check_precision(name, self.device)
        if self.precision == "int8" != name:
            raise InputError(f"the weights of this detector are quantised to int8: load it again in {name}")
        if name != "int8":
            self.to(PRECISIONS[name])
        elif self.precision != "int8":
            self._fingerprint = self.fingerprint()
            merge(self.frontend)
            quantise(self)
        self._asked_for = name
        return self

    @property
    def min_samples(self) -> int:
        """Samples of the shortest waveform that gives the back-end enough frames."""
        return self.frontend.min_samples + (self.backend.min_frames - 1) * self.frontend.hop_length

    @property
    def score_rule(self) -> str:
        """How its scores are made of its logits (:data:`nes2net.backends.base.ScoreRule`)."""
        return self.backend.score_rule

    @property
    def num_scores(self) -> int:
        """How many scores of other systems it takes beside a waveform; 0 for most detectors."""
        return self.backend.num_scores

    @property
    def published(self) -> PublishedModel | None:
        """The facts of the published model that it was loaded as; None for another detector."""
        found = published_model(self.record)
        return found[1] if found else None

    @property
    def used_samples(self) -> UsedSamples:
        """How many leading samples of a waveform its scores depend on."""
        return self.frontend.used_samples

    def forward(self, waveform: Tensor, scores: Tensor | None = None) -> Tensor:
        """Logits B×n of ``waveform`` B×N: 16 kHz mono, in [−1, 1].

        The waveform is float32 for any precision of the detector.

        Args:
            scores: B×``num_scores`` scores of other systems, normalised as in training
                (:func:`nes2net.scoring.system_scores.normalised`), for a detector that fuses them.

        Raises:
            InputError: if it fuses scores and there are none, or the other way round.
        """
        return self.logits(self.features(self.hidden_states(waveform)), scores)

    def logits(self, features: Tensor | list[Tensor], scores: Tensor | None = None) -> Tensor:
        """Logits B×n of :meth:`features`, and of ``scores`` if the back-end takes scores."""
        if scores is None:
            return self.backend.utterance_logits(features)
        if not self.num_scores:
            raise InputError(
                f"back-end '{self.backend.config['name']}' takes no scores of other systems: leave them out"
            )
        return self.backend(features, scores)

    def hidden_states(self, waveform: Tensor, layers: Layers | None = None) -> list[Tensor]:
        """The hidden states B×T×D of the front-end.

        Args:
            layers: which of them; None for those that aggregation and back-end ask for.
        """
        weight = next(self.frontend.parameters(), None)
        if weight is not None:
            least = torch.float32 if self.frontend.full_precision else weight.dtype
            waveform = waveform.to(torch.promote_types(weight.dtype, least))
        states = self.frontend(waveform, layers=layers or self.layers, final_norm=self.backend.wants_final_norm)
        # A front-end without weights, such as a spectrum, computes in the waveform's precision.
        return states if weight is not None else [state.to(self.dtype) for state in states]

    def features(self, hidden_states: list[Tensor]) -> Tensor | list[Tensor]:
        """Input of the back-end: the aggregation of the hidden states, B×T×D, or all of them.

        Zeros fill them up to the back-end's ``feature_dim`` if that is more than D.
        """
        features = hidden_states if self.backend.wants_layers == "all" else self.aggregation(hidden_states)
        if not (missing := self.num_zeros):
            return features
        return [pad(x, (0, missing)) for x in features] if isinstance(features, list) else pad(features, (0, missing))

    @property
    def num_zeros(self) -> int:
        """Zeros behind the numbers of a hidden state, for a back-end that reads other sizes."""
        return max(0, self.backend.feature_dim - self.frontend.out_dim)

    def embeddings(self, waveform: Tensor, of: EmbeddingOf = "frontend", layer: int | str = "last") -> Tensor:
        """Embeddings B×E of ``waveform`` B×N, in the current mode and precision of the detector.

        Args:
            of: ``"frontend"`` for the mean over time of a hidden state, ``"aggregation"`` for that
                of the back-end's input, ``"backend"`` for what the back-end's last layer gets.
            layer: of the front-end, ``"last"``, a number from 0, the input of the first transformer
                layer, to L − 1, the last one, or ``"all"`` for all L of them in a row, E = L·D.

        Raises:
            InputError: if there is no such embedding.
        """
        if of == "frontend":
            states = self.hidden_states(waveform, "last" if layer == "last" else "all")
            if isinstance(layer, int):
                if not 0 <= layer < len(states):
                    raise InputError(
                        f"the front-end has hidden states 0 to {len(states) - 1}: there is no `layer` {layer}"
                    )
                states = [states[layer]]
            elif layer not in ("last", "all"):
                raise InputError(f"`layer` is 'last', 'all' or a number, not {layer!r}")
            return torch.cat([at_least_float32(state).mean(1) for state in states], dim=1)
        if layer != "last":
            raise InputError(f"`layer` names a hidden state of the front-end: leave it out for {of}")
        features = self.features(self.hidden_states(waveform))
        if of == "backend":
            return self.backend.embed(features)
        if isinstance(features, list):
            name = self.backend.config["name"]
            raise InputError(f"back-end '{name}' reads all hidden states without an aggregation: embed its front-end")
        return at_least_float32(features).mean(1)

    def scores(self, waveform: Tensor, system_scores: Tensor | None = None) -> Tensor:
        """Scores (B,) of ``waveform`` B×N, in the current mode and precision of the detector.

        Args:
            system_scores: the ``scores`` of :meth:`forward`.
        """
        if self._replayed is None or self.training or system_scores is not None:
            return self._scores(waveform, system_scores)
        return self._replayed(waveform)

    def _scores(self, waveform: Tensor, system_scores: Tensor | None = None) -> Tensor:
        others = () if system_scores is None else (system_scores,)
        return self.backend.scores(self(waveform, *others))

    @property
    def frame_ms(self) -> float:
        """Milliseconds from one frame of its front-end to the next."""
        return self.frontend.hop_length * 1000 / SAMPLE_RATE

    @property
    def resolutions(self) -> tuple[float, ...]:
        """Lengths in ms of the segments that it scores, the shortest first; empty if it scores none."""
        return tuple(factor * self.frame_ms for factor in sorted(self.backend.resolutions))

    def num_segments(self, num_samples: int) -> dict[float, int]:
        """How many segments it scores of a waveform of ``num_samples``, by the length of a segment in ms."""
        num_frames = (self.used_samples(num_samples) - self.frontend.min_samples) // self.frontend.hop_length + 1
        counts = self.backend.num_segments(num_frames)
        return {factor * self.frame_ms: count for factor, count in zip(self.backend.resolutions, counts)}

    @property
    def trained_on_segments(self) -> bool:
        """Whether the scores of its segments were trained, as far as its record or its back-end tells.

        The recipe of a checkpoint of this toolkit tells it. Without one, back-ends that are made
        for segments count as trained on them, and others, whose frames share the last layer with
        the utterance, do not.
        """
        recipe = self.record.get("recipe")
        if isinstance(recipe, dict):
            section = recipe.get("segments")
            return isinstance(section, dict) and bool(section.get("resolutions"))
        return self.backend.made_for_segments

    def segment_logits(self, waveform: Tensor) -> dict[float, Tensor]:
        """Logits B×T×n of the segments of ``waveform`` B×N, by the length of a segment in ms.

        Raises:
            InputError: if its back-end sees no segments.
        """
        return self.backend.segments(self.features(self.hidden_states(waveform)), self.frame_ms)

    def segment_scores(self, waveform: Tensor) -> dict[float, Tensor]:
        """Scores B×T of the segments of ``waveform`` B×N, by the length of a segment in ms.

        Segment t begins t times its length after the beginning. Higher means more bona fide.
        """
        return {
            resolution: self.backend.scores(logits.flatten(0, 1)).unflatten(0, logits.shape[:2])
            for resolution, logits in self.segment_logits(waveform).items()
        }

    def compile(self, **options: Any) -> None:
        """Compile its parts in place, a front-end of equal layers by layer.

        Each part is compiled when it computes the next time, and again for further shapes. On a GPU
        the kernels of a batch are then replayed as a CUDA graph, too.

        Args:
            options: those of ``torch.compile``.
        """
        for part in (self.frontend, self.aggregation, self.backend):
            part.compile(**options)
        self._replayed = Replayed(self._scores)

    def _apply(self, *args: Any, **options: Any) -> Detector:
        self.forget_recordings()
        return super()._apply(*args, **options)

    def forget_recordings(self) -> None:
        """Drop the CUDA graphs of :meth:`compile`, which know where in memory the weights were.

        That is done when the detector is moved or converted, and when weights are loaded. Call it
        after moving a part of a compiled detector.
        """
        if self._replayed is not None:
            self._replayed = Replayed(self._scores)

    def fingerprint(self) -> str:
        """SHA-256 of the architecture and the weights, in int8 of those before quantisation."""
        if self.precision == "int8":
            return self._fingerprint
        architecture = json.dumps(self.config, sort_keys=True).encode()
        return hashlib.sha256(architecture + digest(self.state_dict())).hexdigest()

    def score(
        self,
        audio: Audio,
        sample_rate: float | None = None,
        num_samples: int | Literal["auto"] | None = "auto",
        crop: Crop = "head",
    ) -> float:
        """Score one recording in one piece: higher means more bona fide.

        In one piece, the memory and the time of a transformer grow with the square of the length.
        Use :meth:`score_track` for minutes of audio. `nes2net predict` does so beyond two minutes,
        and its score is then ``score_track(audio).score``.

        A detector in train mode is put into eval mode for the call and back afterwards. Any number
        of threads may score at once, but none may train the detector meanwhile.

        Args:
            audio: a file, a file object that is open in binary mode, or floating-point samples (N,)
                or (channels, N) in [−1, 1], on any device.
            sample_rate: of samples, in Hz, which an array does not say; a file has its own.
            num_samples: how many leading samples to take, repeated if there are fewer, as in the
                '4sec' protocol. None for the whole recording, which is repeated up to
                ``min_samples``; ``"auto"`` as :func:`nes2net.published_models.samples_to_score`
                chooses: as many as a published detector's authors score, or as a detector was
                trained on if that is not about 4 s, and else the whole recording.
            crop: ``"random"`` takes them from a random start, as the authors of some published
                detectors do; it is the same in every call.

        Raises:
            InputError: if the file cannot be read; or if samples have no ``sample_rate``, there are
                none, or they are integers, not finite or far outside [−1, 1].
        """
        check_takes_audio_alone(self)
        reader = WaveformReader.of(self, samples_to_score(self.record, num_samples).num_samples, crop=crop)
        return score_or_raise(self, torch.from_numpy(reader.take(audio, sample_rate).waveform)[None])[0]

    def score_batch(
        self,
        waveforms: Iterable[np.ndarray | Tensor],
        sample_rate: float,
        num_samples: int | Literal["auto"] | None = "auto",
    ) -> list[float]:
        """Score waveforms in memory: one score each, that of :meth:`score`, to 1e-6.

        Waveforms of one length are computed together, all of them at once if they fit into memory.

        Args:
            waveforms: B×N, or a sequence of (N,) or (channels, N), as for :meth:`score`.
            sample_rate: of all of them, in Hz.
            num_samples: as for :meth:`score`.

        Raises:
            InputError: as :meth:`score`.

        >>> detector = Detector.from_config({"frontend": "lfcc", "backend": "mean_linear"})
        >>> len(detector.score_batch(torch.zeros(3, 16000), 16000))
        3
        """
        check_takes_audio_alone(self)
        reader = WaveformReader.of(self, samples_to_score(self.record, num_samples).num_samples)
        return score_each(self, [reader.take(waveform, sample_rate).waveform for waveform in waveforms])

    def embed(
        self,
        audio: Audio,
        sample_rate: float | None = None,
        num_samples: int | Literal["auto"] | None = "auto",
        *,
        of: EmbeddingOf = "frontend",
        layer: int | str = "last",
    ) -> np.ndarray:
        """Embedding (E,) float32 of one recording, in one piece: a row of `nes2net embed`.

        Args:
            audio, sample_rate, num_samples: as for :meth:`score`.
            of, layer: as for :meth:`embeddings`.

        Raises:
            InputError: as :meth:`score`; or if there is no such embedding.
        """
        reader = WaveformReader.of(self, samples_to_score(self.record, num_samples).num_samples)
        waveform = torch.from_numpy(reader.take(audio, sample_rate).waveform)[None]
        with scoring_mode(self):
            (row,) = start_embedding(self, lambda waveforms: self.embeddings(waveforms, of, layer), waveform)()
        if isinstance(row, str):
            raise InputError(row)
        return row

    def score_files(
        self,
        paths: Iterable[str | Path],
        num_samples: int | Literal["auto"] | None = "auto",
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        on_error: OnError = "raise",
    ) -> Iterator[tuple[str | Path, float]]:
        """Score files lazily: yield (path, score) in the order of ``paths``, which may be endless.

        Each score equals that of :meth:`score`, to 1e-6, because only utterances of one length
        share a batch; each file is scored in one piece. Threads read a few batches of files ahead.

        Args:
            num_samples: as for :meth:`score`.
            batch_size: largest number of files that are computed at once; None for 8 on a CPU and 64
                on a GPU.
            workers: threads that read files; None for a number that suits the device.
            on_error: ``"raise"`` raises :class:`InputError`, which names the file, after the scores
                of the files before it. A function is called with the path and the error, and the
                file is skipped.
        """
        heard = samples_to_score(self.record, num_samples)
        scored = score_files(self, paths, heard.num_samples, batch_size=batch_size, workers=workers, on_error=on_error)
        return ((file.path, file.score) for file in scored)

    def decide(
        self,
        audio: Audio,
        calibration: LinearCalibration | Decider,
        sample_rate: float | None = None,
    ) -> Decision:
        """Say what the score of a recording means: log-likelihood ratio, probability, decision.

        The recording is scored as those of the calibration were, else as by :meth:`score`, in one
        piece, and measured if the calibration knows what its recordings were like.

        Args:
            audio, sample_rate: as for :meth:`score`.
            calibration: of this detector, or a :class:`nes2net.decisions.Decider` with another
                prior or operating point.

        Raises:
            InputError: as for :meth:`score`; or if the calibration is of another detector. To find
                out, the weights are hashed in every call.
        """
        return decide(self, audio, calibration, sample_rate)

    def score_track(
        self,
        audio: Audio,
        sample_rate: float | None = None,
        *,
        window: float | None = None,
        hop: float = 0.5,
        batch_size: int | None = None,
    ) -> Track:
        """Score along a long recording: one score per ``window`` seconds, every ``hop`` seconds.

        A file is read in pieces, so that hours take no more memory than minutes. The last window
        ends with the recording. A recording shorter than a window has one score, that of
        :meth:`score`.

        Args:
            audio, sample_rate: as for :meth:`score`.
            window, hop: in seconds. None for the part of a recording that :meth:`score` takes, or
                64,600 samples, the usual length of training. A hop longer than the window leaves gaps.
            batch_size: as for :meth:`score_files`.

        Raises:
            InputError: as for :meth:`score`; or if the window is too short for the detector, or the
                hop is not positive.
        """
        return score_track(self, audio, sample_rate, window=window, hop=hop, batch_size=batch_size)

    def frame_scores(
        self,
        audio: Audio,
        sample_rate: float | None = None,
        *,
        resolution_ms: float | None = None,
        batch_size: int | None = None,
    ) -> FrameScores:
        """Score the frames of a recording, by a detector that sees segments.

        Up to 30 s are scored in one piece, a longer recording in windows of about 20 s that begin
        about every 10 s, of which the middle is kept. A file is read in pieces, so that hours take
        no more memory than minutes.

        Args:
            audio, sample_rate: as for :meth:`score`.
            resolution_ms: length of a frame, one of :attr:`resolutions`; None for the shortest.
            batch_size: windows that are computed at once; None for 1 on a CPU and 12 on a GPU.

        Raises:
            InputError: as for :meth:`score`; or if the detector sees no segments, or none of that
                length.
        """
        return frame_scores(self, audio, sample_rate, resolution_ms=resolution_ms, batch_size=batch_size)

    def segment(
        self,
        audio: Audio,
        sample_rate: float | None = None,
        *,
        resolution_ms: float | None = None,
        threshold: float | None = None,
        hysteresis: float | None = None,
        min_duration: float = MIN_DURATION,
        batch_size: int | None = None,
        calibration: LinearCalibration | Decider | None = None,
    ) -> list[Segment]:
        """Find the fake stretches of a recording, by :meth:`frame_scores`.

        Args:
            audio, sample_rate, resolution_ms, batch_size: as for :meth:`frame_scores`.
            threshold, hysteresis, min_duration: as for
                :meth:`nes2net.localisation.stretches.StretchRule.of`.
            calibration: of frame scores of this detector; the threshold is then that of its
                operating point, and the resolution its own.

        Returns:
            Segments ``spoof`` in order, whose score is the mean of their frames.

        Raises:
            InputError: as for :meth:`frame_scores`; if it was trained on whole recordings and there
                is neither a threshold nor a calibration; if a number is out of its range; or if the
                calibration is not of these frame scores.
        """
        rule, resolution_ms = stretch_rule(
            self,
            calibration,
            resolution_ms=resolution_ms,
            threshold=threshold,
            hysteresis=hysteresis,
            min_duration=min_duration,
        )
        found = self.frame_scores(audio, sample_rate, resolution_ms=resolution_ms, batch_size=batch_size)
        return fake_stretches(found.scores, found.resolution_ms, found.duration, rule)

    def base_names(self) -> set[str]:
        """Names in its state dict of the frozen tensors of an adapted front-end; empty without."""
        return {f"ssl_model.{name}" for name in self.frontend.base}

    def trained_state_dict(self) -> dict[str, Tensor]:
        """Its state dict without the frozen tensors of an adapted front-end."""
        state_dict = self.state_dict()
        for name in self.base_names():
            del state_dict[name]
        return state_dict

    def base_digest(self) -> str:
        """SHA-256 of the frozen tensors of an adapted front-end."""
        return base_digest(self._base_tensors())

    def set_base(self, file: str | Path) -> None:
        """Leave the frozen tensors of an adapted front-end out of checkpoints from now on: ``file`` has them."""
        self.base = {"digest": self.base_digest(), "file": str(file)}

    def save_base(self, file: str | Path) -> None:
        """Write the frozen tensors of an adapted front-end to ``file``, and leave them out from now on."""
        save_state_dict(self._base_tensors(), file)
        self.set_base(file)

    def left_out(self, state_dict: Mapping[str, Tensor]) -> set[str]:
        """Names of the tensors that ``state_dict`` leaves out because they were frozen.

        These are the base of an adapted front-end, or the whole front-end in files that have all
        else, such as those of Spoof-SUPERB.
        """
        names = self.base_names()
        if names:
            return names if not names & state_dict.keys() else set()
        names = set(self._frontend_tensors())
        return names if self.state_dict().keys() - names == state_dict.keys() else set()

    def is_partial(self, state_dict: Mapping[str, Tensor]) -> bool:
        """Whether ``state_dict`` leaves tensors out, see :meth:`left_out`."""
        return bool(self.left_out(state_dict))

    def expected(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Its own tensors but for those that ``state_dict`` may leave out."""
        left_out = self.left_out(state_dict)
        return {name: tensor for name, tensor in self.state_dict().items() if name not in left_out}

    def load_base(
        self, record: Any, checkpoint: str | Path, base: str | Path | None = None, remedy: str = NAME_IT
    ) -> None:
        """Load the frozen tensors of its adapted front-end, which ``checkpoint`` leaves out.

        Args:
            record: what the checkpoint says of them, the :attr:`base` of the detector that was saved.
            checkpoint: a file or folder; its base may stand beside it.
            base: as for :meth:`from_pretrained`.
            remedy: what to do if they are not found or are others, for the message.

        Raises:
            InputError: if they are not found, or are others.
        """
        checkpoint, frontend = Path(checkpoint), self.config["frontend"]
        if not self.frontend.adapted:
            self._load_frontend(checkpoint, base)
            return
        found = find_base(record, checkpoint, base, remedy)
        tensors = read_base(
            found, self.base_names(), record, checkpoint, lambda path: _tensors_of_base(path, frontend), remedy
        )
        check_fit(tensors, self._base_tensors(), str(found))
        self.load_state_dict(tensors, strict=False, assign=True)
        self.base = dict(record)

    def _load_frontend(self, checkpoint: Path, path: str | Path | None) -> None:
        """Load the front-end from ``path``, because ``checkpoint`` leaves it out."""
        if path is None or not Path(path).exists():
            raise InputError(
                f"{checkpoint} leaves out the front-end, which was frozen: name its pre-training file with `base`"
                + (f"; {path} was not found" if path is not None else "")
            )
        tensors = of_frontend(_tensors_of_base(Path(path), self.config["frontend"]))
        check_fit(tensors, self._frontend_tensors(), str(path))
        self.load_state_dict(tensors, strict=False, assign=True)

    def _frontend_tensors(self) -> dict[str, Tensor]:
        return of_frontend(self.state_dict())

    def _base_tensors(self) -> dict[str, Tensor]:
        names = self.base_names()
        return {name: tensor for name, tensor in self.state_dict().items() if name in names}

    def merged(self) -> Detector:
        """A copy with what was trained folded into its front-end's weights: an ordinary detector.

        Adapters and prompts, which no weight can hold, stay as they are. :meth:`save` writes all
        tensors of the copy in either case.
        """
        detector = copy.deepcopy(self)
        merge(detector.frontend)
        detector.base = None
        return detector

    def whole(self) -> Detector:
        """Itself, or :meth:`merged` if its front-end is adapted."""
        return self.merged() if self.frontend.adapted else self

    def load_published(self, state_dict: Mapping[str, Tensor], path: str, assign: bool = False) -> None:
        """Load a whole-model state dict strictly.

        One without the frozen tensors of an adapted front-end leaves them as they are.

        Args:
            path: its file, for messages.
            assign: make its tensors the parameters instead of copying them.

        Raises:
            InputError: if it does not fit; the message names keys and shapes.
        """
        state_dict = unwrap_frontend(state_dict)
        partial = self.is_partial(state_dict)
        check_fit(state_dict, self.expected(state_dict), path)
        self.load_state_dict(state_dict, strict=not partial, assign=assign)

    def save(self, path: str | Path, **record: Any) -> None:
        """Write a state dict with the published names, or a folder with a model card.

        The folder holds safetensors, YAML and the model card. With a :attr:`base` its tensors are
        left out.

        Args:
            path: a file that ends in ``.pth`` or ``.pt``, or a folder.
            record: plain data to keep beside the tensors and the architecture.
        """
        path = Path(path)
        record = {**start_of(self.record, places=False), **record}
        state_dict = self.state_dict()
        if self.base is not None:
            state_dict, record = self.trained_state_dict(), {**record, "base": self.base}
        if path.suffix in (".pth", ".pt"):
            save_state_dict(state_dict, path, model=self.config, **record)
        else:
            write_folder(path, state_dict, self.config, record)

    def push_to_hub(self, name: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload the folder of :meth:`save` to the Hugging Face hub and return its address.

        Args:
            name: ``owner/name`` on the hub.
            private: whether a new repository is private.
            token: None for that of ``hf auth login``.

        Raises:
            InputError: if the hub refuses the upload or cannot be reached.
        """
        with TemporaryDirectory() as folder:
            self.whole().save(folder)
            return upload(folder, name, private, token)

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: str | Path,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        config: dict[str, Any] | str | None = None,
        base: str | Path | None = None,
    ) -> Detector:
        """Load a trained detector, in eval mode; the front-end's pre-training file is not needed.

        On the CPU the weights stay memory-mapped: do not write to a checkpoint while its detector
        exists.

        Args:
            path_or_name: a ``.pth`` whole-model state dict, a folder written by :meth:`save`, or a
                name on the Hugging Face hub.
            device: ``"auto"`` for CUDA if there is one, else the CPU.
            dtype: the precision of scores, see :meth:`set_precision`; ``"auto"`` keeps that of the
                file, or the type that holds all of its numbers if it has several.
            config: the architecture, for a checkpoint that does not contain it, such as those of
                the published code. It is given as for :meth:`from_config`, or as the file of a
                recipe. None for the published model with the keys and shapes of the checkpoint.
            base: the file or folder with the frozen tensors of an adapted front-end, which its
                checkpoint leaves out: a pre-training file, a detector or the ``base.pth`` of a run.
                None for the file that the checkpoint names, there or beside the checkpoint.

        Raises:
            InputError: if there is no such checkpoint, or it is damaged or does not fit, or its base
                is not found or is another one.
        """
        precision = None if dtype == "auto" else named_precision(dtype)
        on = choose_device(device)
        if precision is not None:
            check_precision(precision, on)
        path = Path(path_or_name)
        if not exists(path):
            path = download(str(path_or_name))
        if path.suffix == ".onnx":
            raise InputError(
                f"{path} is a detector exported to ONNX, not a checkpoint: score with it by `nes2net score … "
                f"--model {path} --engine onnx`, or in Python by nes2net.export.onnx_detector.OnnxDetector"
            )
        state_dict: Mapping[str, Tensor]
        if path.is_dir():
            bare = not (path / CONFIG).is_file() and holds_other_model(path)
            state_dict, record = (read_weights(path), {}) if bare else read_folder(path)
        else:
            state_dict = load_state_dict(path)
            record = read_record(state_dict)
        architecture = record.pop("model", None)
        if architecture is None and config is None:
            config = _recognised(state_dict, str(path_or_name), f" (it has no {CONFIG})" if path.is_dir() else "")
        if isinstance(config, str):
            if architecture is None and config in PUBLISHED_MODELS:
                record[RECORD_KEY] = config
            config = named_architecture(config)
        config = architecture or config
        assert config is not None
        with sound_description(str(path_or_name)), torch.device("meta"):
            empty = cls.from_config(config)
        state_dict, base_record = unwrap_frontend(state_dict), record.pop("base", None)
        partial = empty.is_partial(state_dict)
        if base is not None and not partial:
            raise InputError(f"{path_or_name} holds all tensors of its detector: leave `base` out")
        # Weights of the file's own size come before memory is taken for those that it describes.
        check_fit(state_dict, empty.expected(state_dict), str(path_or_name))
        detector = empty if empty.saves_all else cls.from_config(config)
        if partial:
            detector.load_base(base_record, path, base)
        detector.load_published(state_dict, str(path_or_name), assign=detector is empty)
        detector.record, detector.source = record, str(path_or_name)
        types = {tensor.dtype for tensor in detector.state_dict().values() if tensor.is_floating_point()}
        if precision is None:
            precision = named_precision(reduce(torch.promote_types, types))
        return detector.to(on, PRECISIONS[precision]).set_precision(precision).eval()


def _part_line(role: str, part: Frontend | Aggregation | Backend, about: str) -> str:
    """A line of a detector's text."""
    facts = [f"{_count(part):,} parameters"] if _count(part) else []
    facts += [about] if about else []
    return shorten(
        f"{role}: {part.config['name']}" + (f" ({', '.join(facts)})" if facts else ""), 98, placeholder=" …)"
    )


def _main_options(backend: Backend) -> str:
    """The options of ``backend``, also those with their default, but for the size that its front-end gives."""
    name = backend.config["name"]
    known = declared(backends.get(name)) if name in backends.names() else {}
    options = {key: option.default for key, option in known.items()} | backend.config
    return ", ".join(
        f"{key}={list(value) if isinstance(value, tuple) else value}"
        for key, value in options.items()
        if key not in ("name", "feature_dim")
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _write_published_names(detector: Detector, state_dict: dict, prefix: str, _metadata: dict) -> None:
    write_published_names(state_dict, prefix, detector.backend.checkpoint_prefix)


def _read_published_names(detector: Detector, state_dict: dict, prefix: str, *_: object) -> None:
    detector.forget_recordings()
    read_published_names(state_dict, prefix, detector.backend.checkpoint_prefix)


def _name_and_options(
    config: Mapping[str, Any], part: str, default: str | None = None, given: Sequence[str] = ()
) -> tuple[str, dict[str, Any]]:
    """Name and options of a part in ``config``, which may be the name alone.

    Args:
        given: what the part is given besides its options.
    """
    value = config.get(part, default)
    if value is None:
        raise InputError(f"the model's {part} has no name: write '{part}: {{name: …}}'")
    options = {"name": value} if isinstance(value, str) else dict(value)
    name = options.pop("name")
    check_known([key for key in options if key in given], (), f"the model's {part} has no option")
    return name, options


def named_architecture(name: str) -> dict[str, Any]:
    """Architecture of the published model ``name``, or of the recipe in the file ``name``.

    Raises:
        InputError: if ``name`` is neither.
    """
    if name in PUBLISHED_MODELS:
        return PUBLISHED_MODELS[name]
    if isfile(name):
        return load_recipe(name).model
    raise InputError(
        f"architecture '{name}' is neither a published model nor a recipe{did_you_mean(name, PUBLISHED_MODELS, 'nes2net info')}"
    )


@contextmanager
def sound_description(path: str) -> Iterator[None]:
    """Turn errors of building the model that ``path`` describes into :class:`InputError`."""
    try:
        yield
    except MissingLibrary:
        raise
    except InputError as error:
        raise InputError(f"{path} describes a model that cannot be built: {error}") from error
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, ArithmeticError, RuntimeError) as error:
        raise InputError(
            f"{path} describes a model that cannot be built ({type(error).__name__}: {first_line(error)})"
        ) from error


def _tensors_of_base(path: Path, frontend: dict[str, Any]) -> dict[str, Tensor]:
    """Tensors of a front-end in a detector, the base of a run or a pre-training file, under published names.

    Args:
        frontend: its name and options.
    """
    state_dict: Mapping[str, Tensor] = {}
    ours = (path / CONFIG).is_file()
    if ours:
        state_dict = read_folder(path)[0]
    elif path.is_file():
        with suppress(InputError):  # a pre-training file may be no state dict; the front-end says what is wrong
            state_dict = load_state_dict(path)
            ours = "model" in read_record(state_dict)
    state_dict = unwrap_frontend(state_dict)
    if ours or any(name.startswith("ssl_model.") for name in state_dict):
        return dict(state_dict)
    options = {key: value for key, value in frontend.items() if key not in ("name", "adapt")}
    tensors = create_frontend(frontend["name"], path, **options).state_dict()
    return {f"ssl_model.{name}": tensor for name, tensor in tensors.items()}


def recognise(state_dict: Mapping[str, Tensor]) -> dict[str, Misfit]:
    """Compare a whole-model state dict with each published model; the nearest one comes first."""
    layout, state_dict = layout_of(state_dict), unwrap_frontend(state_dict)
    code = layout.code if layout else ""
    heard = bool(of_frontend(state_dict))  # else the front-end was frozen
    misfits = {
        name: compare(state_dict, _published_tensors(json.dumps(config), heard))
        for name, config in PUBLISHED_MODELS.items()
        if CODES.get(name, "") == code
    }
    return dict(sorted(misfits.items(), key=lambda item: len(item[1])))


def leaves_out_frontend(state_dict: Mapping[str, Tensor], name: str) -> bool:
    """Whether ``state_dict``, which fits the published model ``name``, is without its front-end."""
    return len(state_dict) < len(_published_tensors(json.dumps(PUBLISHED_MODELS[name]), True))


@cache
def _published_tensors(config: str, frontend: bool) -> dict[str, Tensor]:
    """The tensors, without memory, of the architecture in the JSON ``config``, with its front-end or without."""
    model = json.loads(config)
    with torch.device("meta"):
        detector = Detector._with_frontend(_meta_frontend(json.dumps(model["frontend"])), model)
    tensors = detector.state_dict()
    left_out = set() if frontend else set(of_frontend(tensors))
    return {name: tensor for name, tensor in tensors.items() if name not in left_out}


@cache
def _meta_frontend(config: str) -> Frontend:
    """The front-end in the JSON ``config``, without memory; many published models share one."""
    name, options = _name_and_options({"frontend": json.loads(config)}, "frontend")
    with torch.device("meta"):
        return create_frontend(name, **options)


def _recognised(state_dict: Mapping[str, Tensor], path: str, about: str) -> str:
    """The only published model that a checkpoint fits.

    Args:
        about: what else the message says of ``path``.

    Raises:
        InputError: if no published model fits, or several do.
    """
    misfits = recognise(state_dict)
    fitting = [name for name, misfit in misfits.items() if not misfit]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(
            f"{path} fits {' and '.join(fitting)}, whose weights have the same names and shapes: choose one "
            "with `config`"
        )
    nearest, misfit = next(iter(misfits.items()))
    raise InputError(
        f"{path} fits no published model{about}; from the nearest, {nearest}, it differs in {misfit}: name its architecture "
        "with `config`"
    )
