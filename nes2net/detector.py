"""The class Detector: a network that reads recordings and judges them.

The order of the methods: building, saving and loading; scores of whole recordings, embeddings,
decisions, scores along a recording, and segments of a recording.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from nes2net.data.audio.packed import AnyRecording
from nes2net.data.audio.sources import Audio
from nes2net.data.audio.waveform import Padding
from nes2net.evaluation.judgements import Scores
from nes2net.lib.devices import PRECISIONS, check_precision, choose_device, named_precision
from nes2net.lib.errors import InputError, check_known
from nes2net.lib.files import write_text
from nes2net.lib.options import check_model, name_and_options
from nes2net.lib.registry import PACKAGES_KEY, check_installed, packages_of
from nes2net.lib.terminal import check_one_line
from nes2net.lib.without_memory import without_memory
from nes2net.lib.yaml_text import write_yaml
from nes2net.metrics.localisation.segments import Segment
from nes2net.metrics.localisation.stretches import MIN_DURATION, fake_stretches
from nes2net.models.card import CARD, model_card, provenance_with_figures
from nes2net.models.checkpoints.folder import (
    CONFIG,
    NAME_IT,
    WEIGHTS,
    base_digest,
    clear,
    read_base,
    tensors_of_base,
    upload,
    write_tensors,
)
from nes2net.models.checkpoints.published_names import select_frontend, unwrap_frontend
from nes2net.models.checkpoints.state_dict import (
    check_fit,
    save_state_dict,
)
from nes2net.models.frontends.adaptation import merge
from nes2net.models.frontends.sizes import pretraining_file
from nes2net.models.loading import Checkpoint, build_errors_as_input_errors, find_checkpoint
from nes2net.models.network import EmbeddingOf, Network
from nes2net.models.provenance import Provenance
from nes2net.models.published_models import PUBLISHED_MODELS
from nes2net.models.registry import PARTS, create_frontend, named_parts
from nes2net.models.weights_known import TENSORS_KEY
from nes2net.scoring.calibrated import decide, stretch_rule
from nes2net.scoring.files import judge_files
from nes2net.scoring.kernel import check_takes_audio_alone, score_each, score_or_raise, scoring_mode, start_rows
from nes2net.scoring.score_length import RequestedSamples, samples_to_score
from nes2net.scoring.stream import Stream
from nes2net.scoring.track import FrameScores, Track, frame_scores, score_track
from nes2net.scoring.waveforms import Crop, PeakNormalize, WaveformReader

if TYPE_CHECKING:
    from typing_extensions import Self

    from nes2net.scoring.decisions.calibration import LinearCalibration
    from nes2net.scoring.decisions.decision import Decider, Decision


class Detector(Network):
    """A trained network that judges recordings: it scores, embeds and decides.

    The back-end's ``score_rule`` computes the score of a recording from the logits of
    :class:`nes2net.models.network.Network`. A higher score means more bona fide. Scores are not
    calibrated, so choose a threshold on a development set of your own conditions.

    >>> detector = Detector.from_config({"frontend": "lfcc", "backend": "mean_linear"})
    >>> isinstance(detector.score(torch.zeros(16000), sample_rate=16000), float)
    True
    """

    @classmethod
    def from_config(cls, config: dict[str, Any] | str, checkpoint: str | Path | None = None) -> Self:
        """Build a detector with random weights, or with a front-end whose weights are read from ``checkpoint``.

        If the front-end is adapted, ``checkpoint`` is recorded as the file of the frozen tensors,
        so that :meth:`save` leaves out these tensors.

        Args:
            config: the architecture, as ``{"frontend": {"name": …, options}, "aggregation": …,
                "backend": …}`` or as the name of a published model, such as
                ``"wav2vec2_Nes2Net_X"``. A part that is given by its name alone has its default
                options.
            checkpoint: the front-end's pre-training file or folder, or the name of a published
                size, such as ``"xlsr_300m"``; the file of a size is downloaded once.

        Raises:
            InputError: if a name or option is unknown, or the checkpoint cannot be used.
        """
        if isinstance(config, str):
            check_known([config], PUBLISHED_MODELS, "there is no published model", "nes2net info")
            config = PUBLISHED_MODELS[config]
        checkpoint = pretraining_file(checkpoint)
        check_model(config)
        frontend_name, frontend_options = name_and_options(config, "frontend", reserved=("checkpoint",))
        detector = cls.with_frontend(create_frontend(frontend_name, checkpoint, **frontend_options), config)
        if checkpoint is not None and detector.frontend.adapted:
            detector._set_base(checkpoint)
        return detector

    @classmethod
    def on_meta(cls, config: dict[str, Any] | str) -> Self | None:
        """Build a detector on the meta device, without memory; the caller then loads its weights from a file.

        Returns None if a part has tensors that checkpoints do not contain. The constructor of such
        a part computes the tensors, but on the meta device the tensors would have no values.
        """
        with without_memory():
            detector = cls.from_config(config)
        return detector if detector._saves_all else None

    @property
    def _saves_all(self) -> bool:
        """Whether the state dict contains every parameter and buffer, so that a file can give all their values."""
        saved_ids = {id(tensor) for tensor in self.state_dict(keep_vars=True).values()}
        return all(id(tensor) in saved_ids for tensor in (*self.parameters(), *self.buffers()))

    def base_names(self) -> set[str]:
        """Return the state-dict names of the frozen tensors of an adapted front-end; empty for other front-ends."""
        return {f"ssl_model.{name}" for name in self.frontend.base}

    def trained_state_dict(self) -> dict[str, Tensor]:
        """Return the state dict without the frozen tensors of an adapted front-end."""
        state_dict = self.state_dict()
        for name in self.base_names():
            del state_dict[name]
        return state_dict

    def base_digest(self) -> str:
        """Compute the SHA-256 of the frozen tensors of an adapted front-end."""
        return base_digest(self._base_tensors())

    def _set_base(self, file: str | Path) -> None:
        """Record that ``file`` holds the frozen tensors of the adapted front-end, so that :meth:`save` omits them."""
        self.base = {"digest": self.base_digest(), "file": str(file)}

    def save_base(self, file: str | Path) -> None:
        """Write the frozen tensors of an adapted front-end to ``file``, so that :meth:`save` omits these tensors."""
        save_state_dict(self._base_tensors(), file)
        self._set_base(file)

    def names_left_out(self, state_dict: Mapping[str, Tensor]) -> set[str]:
        """Find the names of the tensors that ``state_dict`` leaves out because they were frozen.

        If the front-end is adapted, and ``state_dict`` has none of its frozen tensors, the result
        has the names of all frozen tensors. If ``state_dict`` has exactly the tensors of
        aggregation and back-end, as in Spoof-SUPERB's files, the result has the names of all
        tensors of the front-end. In all other cases the result is empty.
        """
        if names := self.base_names():
            return set() if names & state_dict.keys() else names
        tensors = self.state_dict()
        names = set(select_frontend(tensors))
        return names if tensors.keys() - names == state_dict.keys() else set()

    def expected_tensors(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Select the tensors of this detector that ``state_dict`` must have: all except those in :meth:`names_left_out`."""
        names_left_out = self.names_left_out(state_dict)
        return {name: tensor for name, tensor in self.state_dict().items() if name not in names_left_out}

    def load_base(
        self, record: Any, checkpoint: str | Path, base: str | Path | None = None, remedy: str = NAME_IT
    ) -> None:
        """Load the frozen tensors of the front-end, because ``checkpoint`` leaves out these tensors.

        If the front-end is adapted, ``base`` or ``record`` states the file of the frozen tensors.
        If the front-end is not adapted, ``checkpoint`` has no tensors of the front-end, and
        ``base`` must be the pre-training file.

        Args:
            record: the value of :attr:`base` that the checkpoint states.
            checkpoint: the file or folder of the detector. The file of the frozen tensors may lie
                in the folder of the detector.
            base: as for :meth:`from_pretrained`.
            remedy: the end of error messages, which says what to do.

        Raises:
            InputError: if the tensors are not found, or their digest is not the recorded digest.
        """
        checkpoint = Path(checkpoint)
        frontend = self.config["frontend"]
        base = pretraining_file(base)
        # If the front-end is not adapted, ``checkpoint`` leaves out the whole front-end: read the
        # pre-training file.
        if not self.frontend.adapted:
            if base is None or not base.exists():
                message = (
                    f"{checkpoint} leaves out the front-end, which was frozen: name its pre-training file with `base`"
                )
                if base is not None:
                    message += f"; {base} was not found"
                raise InputError(message)
            tensors = select_frontend(tensors_of_base(base, frontend))
            check_fit(tensors, select_frontend(self.state_dict()), str(base))
            self.load_state_dict(tensors, strict=False, assign=True)
            return
        # If the front-end is adapted, ``checkpoint`` leaves out only the frozen tensors: find the file that holds them.
        base_path, tensors = read_base(record, checkpoint, base, frontend, self.base_names(), remedy)
        check_fit(tensors, self._base_tensors(), str(base_path))
        self.load_state_dict(tensors, strict=False, assign=True)
        self.base = dict(record)

    def _base_tensors(self) -> dict[str, Tensor]:
        names = self.base_names()
        return {name: tensor for name, tensor in self.state_dict().items() if name in names}

    def merged(self) -> Self:
        """Make a copy in which the trained tensors of an adapted front-end are added to its frozen weights.

        The copy keeps adapters and prompts, because they cannot be added to a weight. :meth:`save`
        writes all tensors of the copy.
        """
        detector = copy.deepcopy(self)
        # Use ``self``, because the copy will have another fingerprint.
        detector.provenance = provenance_with_figures(self)
        merge(detector.frontend)
        detector.base = None
        return detector

    def whole(self) -> Self:
        """Return a detector that needs no file of frozen tensors: a merged copy if the front-end is adapted."""
        return self.merged() if self.frontend.adapted else self

    def load(self, checkpoint: Checkpoint, base: str | Path | None = None, remedy: str = NAME_IT) -> None:
        """Load the weights of a checkpoint, whose tensors must have the names and shapes of the detector's tensors.

        A detector on the meta device takes the tensors of the file without a copy.

        Args:
            base: as for :meth:`from_pretrained`.
            remedy: the end of error messages about the base, which says what to do.

        Raises:
            InputError: if the checkpoint does not fit; the message says which names and shapes
                differ. The error is also raised if frozen tensors are left out and not found, or if
                ``base`` is given although no tensors are left out.
        """
        state_dict = unwrap_frontend(checkpoint.state_dict)
        is_empty = self.device.type == "meta"
        partial = bool(self.names_left_out(state_dict))
        if base is not None and not partial:
            raise InputError(f"{checkpoint.source} holds all tensors of its detector: leave `base` out")
        check_fit(state_dict, self.expected_tensors(state_dict), checkpoint.source)
        if partial:
            self.load_base(checkpoint.base, checkpoint.path, base, remedy)
        self.load_state_dict(state_dict, strict=not partial, assign=is_empty)

    def save(self, path: str | Path, **record: Any) -> None:
        """Write the detector as a state dict with the published names, or as a folder with a model card.

        The folder holds safetensors, YAML and the model card. If :attr:`base` is set, the frozen
        tensors are left out. The provenance of this detector is written, too, but without the
        folders of the corpora.

        Args:
            path: a file that ends in ``.pth`` or ``.pt``; any other path is a folder.
            record: plain data to keep beside the tensors and the architecture.
        """
        path = Path(path)
        provenance = provenance_with_figures(self)
        saved_facts = replace(provenance.start(places=False), training=provenance.training, figures=provenance.figures)
        record = {**saved_facts.to_dict(), **record}
        if packages := packages_of(named_parts(self.config)) | record.pop(PACKAGES_KEY, {}):
            record[PACKAGES_KEY] = packages
        state_dict = self.state_dict()
        if self.base is not None:
            state_dict = self.trained_state_dict()
            record["base"] = self.base
        if "published_model" in record:
            record[TENSORS_KEY] = base_digest(state_dict)
        if path.suffix in (".pth", ".pt"):
            save_state_dict(state_dict, path, model=self.config, **record)
        else:
            clear(path)
            write_tensors(state_dict, path / WEIGHTS)
            self.write_description(path, provenance, record)

    def write_description(self, folder: Path, provenance: Provenance, record: dict[str, Any] | None = None) -> None:
        """Write architecture, ``record`` and model card into ``folder``, but not the weights.

        The card shows ``provenance``. If this detector's checkpoint has a card beside it, the new
        card keeps the licence and the user's text of the old card.
        """
        earlier = None
        if self.source:
            source = Path(self.source)
            earlier = (source if source.is_dir() else source.parent) / CARD
        write_text(folder / CARD, model_card(self.config, provenance, earlier))
        write_text(folder / CONFIG, write_yaml({"model": self.config, **(record or {})}))

    def push_to_hub(self, name: str, *, private: bool = False, token: str | None = None) -> str:
        """Save the detector as a folder, upload it to the Hugging Face hub, and return the address of the repository.

        The trained tensors of an adapted front-end are merged first, so that the folder needs no
        other file.

        Args:
            name: ``owner/name`` on the hub.
            private: if the repository does not exist yet, make it private.
            token: access token of the hub; None for the token of ``hf auth login``.

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
    ) -> Self:
        """Load a trained detector, in eval mode; the front-end's pre-training file is not needed.

        On the CPU the weights stay memory-mapped: do not write to a checkpoint while its detector
        exists.

        Args:
            path_or_name: a ``.pth`` whole-model state dict; a folder written by :meth:`save`; the
                name of a published model that can be downloaded (:func:`nes2net.list_models`); or
                ``owner/name`` on the Hugging Face hub. An existing file or folder of that name
                takes precedence.
            device: ``"auto"`` for CUDA if there is a GPU, else the CPU.
            dtype: the precision of scores, see :meth:`set_precision`. ``"auto"`` keeps the
                precision of the checkpoint. If the tensors have several types, the precision is the
                type to which PyTorch promotes all of them.
            config: the architecture, for a checkpoint that does not contain its architecture, such
                as a file of the published code. The architecture has the form of
                :meth:`from_config`. Options may follow a name, as in
                ``"Nes2Net-X,backend.dilation=1"``. Options that determine shapes, such as the
                number of logits, are read from the checkpoint, and a printed note lists these
                options. With None, the architecture is taken from the published model whose tensors
                have the same names and shapes. ``"bonafide=NAME"`` says which class of a Hugging
                Face classification folder is bona fide, if the names of the classes do not show it.
            base: the file or folder with the frozen tensors that the checkpoint leaves out: a
                pre-training file, the name of a size (``"xlsr_300m"``), a detector, or the
                ``base.pth`` of a run. With None, the checkpoint says which file is read. If this
                file does not exist, a file of the same name in the folder of the checkpoint is
                read.

        Raises:
            InputError: if there is no such checkpoint, if it is damaged or does not fit, or if its
                base is not found or does not have the recorded digest.
        """
        # Check precision and device before anything is downloaded.
        precision = named_precision(dtype) if dtype not in ("auto", "fastest") else None
        target_device = choose_device(device)
        if precision is not None:
            check_precision(precision, target_device)
        checkpoint = find_checkpoint(path_or_name, config)
        source = checkpoint.source
        check_installed(source, checkpoint.provenance.facts.get(PACKAGES_KEY), PARTS)
        # Build the detector on the meta device first: a small file could describe a model that fills the memory.
        with build_errors_as_input_errors(source), without_memory():
            detector = cls.from_config(checkpoint.config or {})
        if not detector._saves_all:  # tensors that no file contains need values
            check_fit(checkpoint.state_dict, detector.expected_tensors(checkpoint.state_dict), source)
            detector = cls.from_config(checkpoint.config or {})
        detector.load(checkpoint, base)
        detector.provenance = checkpoint.provenance
        detector.source = source
        check_one_line(detector.classes, f"a class of {source}")
        # Move the detector to its device, and convert it to its precision.
        if dtype == "fastest":
            return detector.to(target_device).set_precision(dtype).eval()
        if precision is None:
            types = {tensor.dtype for tensor in detector.state_dict().values() if tensor.is_floating_point()}
            precision = named_precision(reduce(torch.promote_types, types))
        return detector.to(target_device, PRECISIONS[precision]).set_precision(precision).eval()

    def score(
        self,
        audio: Audio,
        sample_rate: float | None = None,
        num_samples: RequestedSamples = "auto",
        crop: Crop = "head",
        padding: Padding = "repeat",
        peak_normalize: PeakNormalize = "no",
    ) -> float:
        """Score one recording in one piece; a higher score means more bona fide.

        In one piece, the memory and the time of a transformer grow with the square of the length,
        so use :meth:`score_track` for minutes of audio. `nes2net predict` does this for a recording
        of more than two minutes: it gives ``score_track(audio).score``.

        A detector in train mode is switched to eval mode for the call. Any number of threads may
        score at once, but no thread may train the detector during the call.

        Args:
            audio: the recording. It may be a file, or a file object that is open in binary mode. It
                may be floating-point samples (N,) or (channels, N) in [−1, 1], on any device, or an
                iterator of blocks of such samples. It may also be a
                :class:`nes2net.data.audio.pcm.RawAudio`, which has samples in bytes without a
                header.
            sample_rate: sampling rate in Hz, needed for samples and blocks; a file states its own
                rate.
            num_samples: number of leading samples to score, as in the '4sec' protocol; a shorter
                recording is repeated. None scores the whole recording, which is repeated if it is
                shorter than ``min_samples``. ``"auto"`` chooses the number by
                :func:`nes2net.scoring.score_length.samples_to_score`. For a published detector,
                ``"auto"`` means as many samples as its authors score. For a detector that was
                trained on crops of about 4 s, as is usual, ``"auto"`` means the whole recording.
                For any other detector, ``"auto"`` means the length of the crops in training.
            crop: ``"head"`` takes the leading samples. ``"random"`` takes samples from a random
                start, like the authors of some published detectors; the start is the same in every
                call.
            padding: how a recording shorter than ``num_samples`` or ``min_samples`` is filled up:
                ``"repeat"`` repeats the recording, and ``"zeros"`` appends zeros.
            peak_normalize: ``"recording"`` divides the samples by the largest absolute sample of
                the whole recording, and ``"cut"`` by the largest absolute sample of the scored
                part. ``"no"`` leaves the samples as they are.

        Raises:
            InputError: if the file cannot be read, or samples have no ``sample_rate``. The error is
                also raised if there are no samples, or if samples are integers, not finite or far
                outside [−1, 1].
        """
        check_takes_audio_alone(self)
        score_length = samples_to_score(self.provenance, num_samples)
        reader = WaveformReader.of(
            self, score_length.num_samples, crop=crop, padding=padding, peak_normalize=peak_normalize
        )
        return score_or_raise(self, torch.from_numpy(reader.take(audio, sample_rate).waveform)[None])[0]

    def score_batch(
        self,
        waveforms: Iterable[np.ndarray | Tensor],
        sample_rate: float,
        num_samples: RequestedSamples = "auto",
    ) -> list[float]:
        """Score waveforms in memory, in batches. Each score differs by less than 1e-6 from the score by :meth:`score`.

        Waveforms of the same length are scored together, as many at once as fit into memory.

        Args:
            waveforms: B×N, or a sequence of (N,) or (channels, N), as for :meth:`score`.
            sample_rate: sampling rate of all waveforms, in Hz.
            num_samples: as for :meth:`score`.

        Raises:
            InputError: as :meth:`score`.

        >>> detector = Detector.from_config({"frontend": "lfcc", "backend": "mean_linear"})
        >>> len(detector.score_batch(torch.zeros(3, 16000), 16000))
        3
        """
        check_takes_audio_alone(self)
        reader = WaveformReader.of(self, samples_to_score(self.provenance, num_samples).num_samples)
        return score_each(self, [reader.take(waveform, sample_rate).waveform for waveform in waveforms])

    def embed(
        self,
        audio: Audio,
        sample_rate: float | None = None,
        num_samples: RequestedSamples = "auto",
        *,
        of: EmbeddingOf = "frontend",
        layer: int | str = "last",
    ) -> np.ndarray:
        """Compute the embedding (E,) float32 of one recording in one piece, as `nes2net embed` does.

        Args:
            audio, sample_rate, num_samples: as for :meth:`score`.
            of, layer: as for :meth:`embeddings`.

        Raises:
            InputError: as :meth:`score`; or if the detector has no embedding ``of``, or no hidden
                state ``layer``.
        """
        reader = WaveformReader.of(self, samples_to_score(self.provenance, num_samples).num_samples)
        waveform = torch.from_numpy(reader.take(audio, sample_rate).waveform)[None]
        with scoring_mode(self):
            (row,) = start_rows(
                self, "embedding is not finite", lambda waveforms: self.embeddings(waveforms, of, layer), waveform
            )()
        if isinstance(row, str):
            raise InputError(row)
        return row

    def score_files(
        self,
        paths: Iterable[AnyRecording],
        num_samples: RequestedSamples = "auto",
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        on_error: Literal["raise"] | Callable[[AnyRecording, InputError], object] = "raise",
    ) -> Iterator[tuple[AnyRecording, float]]:
        """Score files one after another: yield (path, score) in the order of ``paths``, which may be endless.

        Each file is scored in one piece. Only files of the same length share a batch, so that each
        score differs by less than 1e-6 from the score by :meth:`score`. Threads read the files of a
        few batches in advance.

        Args:
            num_samples: as for :meth:`score`.
            batch_size: largest number of files that are computed at once; None for 8 on a CPU and 64
                on a GPU.
            workers: number of threads that read files; None for a number that suits the device.
            on_error: what happens if a file cannot be scored. ``"raise"`` raises the
                :class:`InputError` for this file after the scores of the earlier files. A function
                is called with the path and the error, and the file is skipped. Any other value
                raises :class:`InputError`.
        """
        if on_error != "raise" and not callable(on_error):
            raise InputError(f"`on_error` is 'raise' or a function of a path and an error, not {on_error!r}")
        score_length = samples_to_score(self.provenance, num_samples)
        judged = judge_files(self, Scores(), paths, score_length.num_samples, batch_size=batch_size, workers=workers)

        def scored() -> Iterator[tuple[AnyRecording, float]]:
            """Yield the files with their scores; pass a failed file to ``on_error``, or raise its error."""
            for file in judged:
                if not isinstance(file.result, InputError):
                    yield file.path, file.result
                elif callable(on_error):
                    on_error(file.path, file.result)
                else:
                    raise file.result

        return scored()

    def decide(
        self,
        audio: Audio,
        calibration: LinearCalibration | Decider,
        sample_rate: float | None = None,
    ) -> Decision:
        """Score a recording and decide by a calibration: log-likelihood ratio, probability and decision.

        The number of scored samples is the same as for the recordings from which the calibration
        was learned. If this number is unknown, the recording is scored in one piece, as by
        :meth:`score`. If the calibration holds traits of recordings, such as their bandwidth, the
        same traits of this recording are measured, too.

        Args:
            audio, sample_rate: as for :meth:`score`.
            calibration: a calibration of this detector, or a :class:`nes2net.scoring.decisions.Decider`
                with another prior or operating point.

        Raises:
            InputError: as for :meth:`score`; or if the calibration belongs to another detector. To
                find this out, every call computes a hash of the weights.
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
        """Score along a long recording: a window of ``window`` seconds begins every ``hop`` seconds, and has one score.

        Files and blocks are read in pieces, so that hours take no more memory than minutes. The
        last window ends at the end of the recording. A recording that is shorter than a window has
        a single score, the same score as by :meth:`score`.

        Args:
            audio, sample_rate: as for :meth:`score`.
            window: length of a window in seconds. None stands for the number of samples that
                :meth:`score` takes. If :meth:`score` takes whole recordings, None stands for 64,600
                samples, the usual length in training.
            hop: seconds from the start of a window to the start of the next window. If the hop is
                longer than the window, samples between the windows are not scored.
            batch_size: as for :meth:`score_files`.

        Raises:
            InputError: as for :meth:`score`; or if the window is too short for the detector, or the
                hop is not positive.
        """
        return score_track(self, audio, sample_rate, window=window, hop=hop, batch_size=batch_size)

    def stream(
        self, sample_rate: float, *, window: float | None = None, hop: float = 0.5, batch_size: int = 1
    ) -> Stream:
        """Begin a stream, which scores audio while the audio arrives; the caller pushes blocks of samples.

        Blocks may have any size: the scores equal the scores by :meth:`score_track`. They are equal
        bit for bit if :meth:`score_track` gets the same ``batch_size``. A stream keeps at most two
        windows of samples in memory, and keeps no scores. Any number of streams may share a
        detector.

        Args:
            sample_rate: sampling rate in Hz of the samples that are pushed.
            window, hop: as for :meth:`score_track`.
            batch_size: number of windows that are scored at once; windows wait until this many
                windows have arrived.

        Raises:
            InputError: as :meth:`score_track`.

        >>> detector = Detector.from_config({"frontend": "lfcc", "backend": "mean_linear"})
        >>> stream = detector.stream(8000, window=1.0)
        >>> scored = stream.push(torch.zeros(12000)) + stream.push(torch.zeros(2000)) + stream.finish()
        >>> [(window.start, window.end) for window in scored]
        [(0.0, 1.0), (0.5, 1.5), (0.75, 1.75)]
        """
        return Stream(self, sample_rate, window=window, hop=hop, batch_size=batch_size)

    def frame_scores(
        self,
        audio: Audio,
        sample_rate: float | None = None,
        *,
        resolution_ms: float | None = None,
        batch_size: int | None = None,
    ) -> FrameScores:
        """Score the frames of a recording, if the detector can score frames.

        A recording of up to 30 s is scored in one piece. A longer recording is scored in windows of
        about 20 s. A window begins about every 10 s, and only the scores in the middle of each
        window are used. A file is read in pieces, so that hours take no more memory than minutes.

        Args:
            audio, sample_rate: as for :meth:`score`.
            resolution_ms: length of a frame in ms, one of :attr:`resolutions`; None for the
                shortest frames.
            batch_size: number of windows that are computed at once; None for 1 on a CPU and 12 on a
                GPU.

        Raises:
            InputError: as for :meth:`score`; or if the detector cannot score frames of this length.
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
        """Find the fake stretches of a recording from the scores of its frames (:meth:`frame_scores`).

        Args:
            audio, sample_rate, resolution_ms, batch_size: as for :meth:`frame_scores`.
            threshold, hysteresis, min_duration: as for
                :meth:`nes2net.metrics.localisation.stretches.StretchRule.of`.
            calibration: a calibration of this detector's frame scores. The operating point of the
                calibration gives the threshold, and the calibration also gives the resolution.

        Returns:
            The segments labelled ``spoof``, in order; the score of a segment is the mean score of
            its frames.

        Raises:
            InputError: as for :meth:`frame_scores`. The error is also raised if a number is out of
                its range, or if the calibration was not learned from frame scores of this detector.
                A detector that was trained on whole recordings needs ``threshold`` or
                ``calibration``; without them, the error is raised, too.
        """
        rule, resolution_ms = stretch_rule(
            self,
            calibration,
            resolution_ms=resolution_ms,
            threshold=threshold,
            hysteresis=hysteresis,
            min_duration=min_duration,
        )
        frames = self.frame_scores(audio, sample_rate, resolution_ms=resolution_ms, batch_size=batch_size)
        return fake_stretches(frames.scores, frames.resolution_ms, frames.duration, rule)
