"""The class Detector: a network that reads recordings and judges them.

In order: building, saving and loading; scores of recordings, embeddings, decisions, scores along a
recording, and segments.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from nes2net.data.audio.remarks import Channels
from nes2net.data.audio.sources import Audio, hinting_at_rate
from nes2net.data.audio.waveform import SAMPLE_RATE, Padding
from nes2net.evaluation.judgements import Frames, Scores
from nes2net.lib.computing.devices import PRECISIONS, check_precision, choose_device, parse_precision
from nes2net.lib.computing.without_memory import without_memory
from nes2net.lib.errors import InputError, check_setting
from nes2net.lib.output.progress import Work
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import check_one_line
from nes2net.lib.parts.options import Options, check_model, name_and_options
from nes2net.lib.parts.registry import PACKAGES_KEY, check_installed, packages_of
from nes2net.lib.storage.files import AnyPath, write_text
from nes2net.lib.storage.yaml_text import write_yaml
from nes2net.metrics.localisation.segments import Segment
from nes2net.metrics.localisation.stretches import MIN_DURATION
from nes2net.models.card import CARD, model_card, provenance_with_figures
from nes2net.models.checkpoints.base import base_digest, expected_tensors, record_base, trained_tensors
from nes2net.models.checkpoints.folder import (
    CONFIG,
    WEIGHTS,
    replacing_detector,
    write_tensors,
)
from nes2net.models.checkpoints.hub import upload
from nes2net.models.checkpoints.state_dict import check_fit, save_state_dict
from nes2net.models.frontends.adaptation import merge
from nes2net.models.frontends.sizes import pretraining_file
from nes2net.models.loading import (
    AnyCheckpoint,
    as_path,
    build_errors_as_input_errors,
    find_checkpoint,
    load_weights,
    read_architecture,
    saves_all,
)
from nes2net.models.network import EmbeddingOf, Network
from nes2net.models.provenance import Provenance
from nes2net.models.registry import PARTS, create_frontend, named_parts
from nes2net.models.weights_known import TENSORS_KEY
from nes2net.scoring.calibrated import as_decider
from nes2net.scoring.embeddings import Embeddings
from nes2net.scoring.files import judge_files
from nes2net.scoring.judged import Failed, Judged
from nes2net.scoring.judging import JudgingSettings, judge_recording
from nes2net.scoring.kernel import check_takes_audio_alone, score_each, score_or_raise, scoring_mode, values_or_raise
from nes2net.scoring.score_length import RequestedSamples, samples_to_score
from nes2net.scoring.stream import Stream
from nes2net.scoring.track import FrameScores, Track, frame_scores, score_track
from nes2net.scoring.waveforms import Crop, PeakNormalize, WaveformReader

if TYPE_CHECKING:
    from typing_extensions import Self

    from nes2net.scoring.decisions.calibration import LinearCalibration
    from nes2net.scoring.decisions.decision import Decider, Decision

#: The kind of the recordings that :meth:`Detector.score_files` gets and yields.
AnyAudio = TypeVar("AnyAudio", bound=Audio)


class Detector(Network):
    """A trained network that judges recordings: it scores, embeds and decides.

    The back-end's ``score_rule`` turns the logits of :class:`nes2net.models.network.Network` into a
    score; higher means more bona fide. Scores are not calibrated: choose a threshold on a
    development set of your conditions.

    >>> detector = Detector.from_config({"frontend": "lfcc", "backend": "mean_linear"})
    >>> isinstance(detector.score(torch.zeros(16000), sample_rate=16000), float)
    True
    """

    @classmethod
    def from_config(cls, config: Options | str, checkpoint: AnyPath | None = None) -> Self:
        """Build a detector with random weights, or with a front-end from ``checkpoint``.

        For an adapted front-end, ``checkpoint`` is recorded, so that :meth:`save` omits its frozen
        tensors.

        Args:
            config: ``{"frontend": {"name": …, options}, "aggregation": …, "backend": …}``, where a
                name alone has default options; or a published model, such as
                ``"wav2vec2_Nes2Net_X"`` or ``"AASIST,backend.num_logits=1"``.
            checkpoint: pre-training file or folder, or a published size, such as ``"xlsr_300m"``,
                whose file is downloaded once.

        Raises:
            InputError: if a name or option is unknown, or the checkpoint cannot be used.
        """
        if isinstance(config, str):
            config = read_architecture(config)
        checkpoint = pretraining_file(checkpoint)
        model = check_model(config)
        frontend_name, frontend_options = name_and_options(model, "frontend", reserved=("checkpoint",))
        detector = cls.with_frontend(create_frontend(frontend_name, checkpoint, **frontend_options), model)
        if checkpoint is not None and detector.frontend.adapted:
            record_base(detector, checkpoint)
        return detector

    @classmethod
    def on_meta(cls, config: Options | str) -> Self | None:
        """Build a detector without memory, on the meta device, to load weights from a file.

        None if a part has tensors that checkpoints do not contain, which would have no values.
        """
        with without_memory():
            detector = cls.from_config(config)
        return detector if saves_all(detector) else None

    def merged(self) -> Self:
        """Copy the detector, with the trained tensors of an adapted front-end added to its frozen weights.

        Adapters and prompts stay, because no weight can take them. :meth:`save` writes all tensors
        of the copy.
        """
        detector = copy.deepcopy(self)
        # Use ``self``, because the copy will have another fingerprint.
        detector.provenance = provenance_with_figures(self)
        merge(detector.frontend)
        detector.base = None
        return detector

    def whole(self) -> Self:
        """Return a detector that needs no file of frozen tensors: itself, or :meth:`merged` if adapted."""
        return self.merged() if self.frontend.adapted else self

    def save(self, path: AnyPath, **record: Any) -> None:
        """Write a state dict with the published names, or a folder with a model card.

        A folder holds safetensors, YAML and the card. If :attr:`base` is set, frozen tensors are
        omitted. The provenance is written without folders of corpora.

        Args:
            path: a file ``.pth`` or ``.pt``; any other path is a folder.
            record: plain data to keep beside the provenance, such as ``epoch``.

        Raises:
            InputError: if another process writes to the folder.
        """
        path = Path(path)
        provenance = provenance_with_figures(self)
        saved_facts = replace(
            provenance.only_training_data(folders=False), training=provenance.training, figures=provenance.figures
        )
        record = {**saved_facts.to_dict(), **record}
        if packages := packages_of(named_parts(self.config)) | record.pop(PACKAGES_KEY, {}):
            record[PACKAGES_KEY] = packages
        state_dict = self.state_dict()
        if self.base is not None:
            state_dict = trained_tensors(self)
            record["base"] = self.base
        if "published_model" in record:
            # Recognises these weights if other code loses the provenance.
            record[TENSORS_KEY] = base_digest(state_dict)
        if path.suffix in (".pth", ".pt"):
            save_state_dict(state_dict, path, model=self.config, **record)
        else:
            with replacing_detector(path):
                write_tensors(state_dict, path / WEIGHTS)
                self.write_description(path, provenance, record)

    def write_description(self, folder: Path, provenance: Provenance, record: Facts | None = None) -> None:
        """Write architecture, ``record`` and a model card with ``provenance``, but not the weights.

        Keeps licence and user's text of a card beside this detector's checkpoint.
        """
        earlier = None
        if self.source:
            source = Path(self.source)
            earlier = (source if source.is_dir() else source.parent) / CARD
        write_text(folder / CARD, model_card(self.config, provenance, earlier))
        write_text(folder / CONFIG, write_yaml({"model": self.config, **(record or {})}))

    def push_to_hub(self, name: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload the detector as a folder to the Hugging Face hub; return the repository's address.

        Trained tensors of an adapted front-end are merged, so that no other file is needed.

        Args:
            name: ``owner/name`` on the hub.
            private: make a new repository private.
            token: access token; None for that of ``hf auth login``.

        Raises:
            InputError: if the hub refuses the upload or cannot be reached.
        """
        with TemporaryDirectory() as folder:
            self.whole().save(folder)
            return upload(folder, name, private, token)

    @classmethod
    def from_pretrained(
        cls,
        path_or_name: AnyCheckpoint,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        config: Options | str | None = None,
        base: AnyPath | None = None,
    ) -> Self:
        """Load a trained detector, in eval mode, without the front-end's pre-training file.

        On the CPU the weights stay memory-mapped: do not write to a checkpoint while its detector
        exists.

        Args:
            path_or_name: a whole-model state dict ``.pth``; a folder by :meth:`save`; a run folder,
                for its best epoch by the run's own measure; a published model
                (:func:`nes2net.list_models`); ``owner/name`` on the Hugging Face hub; a file open
                in binary mode; or a state dict. Existing files and folders take precedence.
            device: ``"auto"`` for CUDA if there is a GPU, else the CPU.
            dtype: precision, see :meth:`set_precision`; ``"auto"`` for the checkpoint's; of several
                types, the one to which PyTorch promotes them.
            config: the architecture as for :meth:`from_config`, perhaps with options, as in
                ``"Nes2Net-X,backend.dilation=1"``, for a checkpoint without one, such as a file of
                the published code. Options of shapes, such as the number of logits, are read from
                the checkpoint, and a note lists them. None for the published model with the same
                names and shapes of tensors. ``"bonafide=NAME"`` names the bona fide class of a
                Hugging Face classification folder, if its classes do not show it.
            base: the frozen tensors that the checkpoint omits: a pre-training file or folder, a
                size (``"xlsr_300m"``), a detector, or a run's ``base.pth``. None for the recorded
                file, or one of the same name in the checkpoint's folder.

        Raises:
            InputError: if there is no such checkpoint, it is damaged or does not fit, or its base
                is missing or has another digest than recorded.
        """
        precision = parse_precision(dtype) if dtype not in ("auto", "fastest") else None
        target_device = choose_device(device)
        if precision is not None:
            check_precision(precision, target_device)
        with as_path(path_or_name) as path, Work(f"loading {path}"):
            checkpoint = find_checkpoint(path, config)
            source = checkpoint.source
            check_installed(source, checkpoint.provenance.facts, PARTS)
            # Build the detector on the meta device first: a small file could describe a model that fills the memory.
            with build_errors_as_input_errors(source), without_memory():
                detector = cls.from_config(checkpoint.config or {})
            if not saves_all(detector):  # tensors that no file contains need values
                check_fit(checkpoint.state_dict, expected_tensors(detector, checkpoint.state_dict), source)
                detector = cls.from_config(checkpoint.config or {})
            load_weights(detector, checkpoint, base)
            detector.provenance = checkpoint.provenance
            detector.source = source
            check_one_line(detector.classes, f"a class of {source}")
            if dtype == "fastest":
                return detector.to(target_device).set_precision(dtype).eval()
            if precision is None:
                types = {tensor.dtype for tensor in detector.state_dict().values() if tensor.is_floating_point()}
                precision = parse_precision(reduce(torch.promote_types, types))
            return detector.to(target_device, PRECISIONS[precision]).set_precision(precision).eval()

    @hinting_at_rate
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

        Memory and time of a transformer grow with the square of the length, so use
        :meth:`score_track` for minutes of audio. Beyond two minutes, `nes2net predict` prints
        ``score_track(audio).score``.

        Train mode is switched to eval mode for the call. Threads may score at once, but not train
        meanwhile.

        Args:
            audio: a file, also one open in binary mode, or its bytes; samples (N,) or (channels, N),
                floating-point in [−1, 1], on any device, or an iterator of blocks of them; a
                dictionary such as ``{"array": samples, "sampling_rate": 16000}``; or
                :class:`nes2net.data.audio.pcm.RawAudio`, samples in bytes without a header.
            sample_rate: Hz, for samples and blocks only.
            num_samples: leading samples, repeating shorter recordings, as in the '4sec' protocol;
                None for all, repeating below ``min_samples``. ``"auto"``
                (:func:`nes2net.scoring.score_length.samples_to_score`) means as many as the authors
                of a published detector score; all for a detector trained on crops of about 4 s;
                else the length of training crops.
            crop: ``"head"``, or ``"random"`` for a random start, as for some published detectors;
                the same in every call.
            padding: fill up short recordings by ``"repeat"``, or by ``"zeros"``.
            peak_normalize: divide by the largest absolute sample of the ``"recording"`` or of the
                scored ``"cut"``; or ``"no"``.

        Raises:
            InputError: if the file cannot be read, there are no samples, they lack a
                ``sample_rate``, or are integers, not finite or far outside [−1, 1].
        """
        check_takes_audio_alone(self)
        score_length = samples_to_score(self.provenance, num_samples)
        reader = replace(
            WaveformReader.of(self, score_length.num_samples), crop=crop, padding=padding, peak_normalize=peak_normalize
        )
        return score_or_raise(self, torch.from_numpy(reader.read_audio(audio, sample_rate).waveform)[None])[0]

    @hinting_at_rate
    def score_batch(
        self,
        waveforms: Iterable[NDArray | Tensor],
        sample_rate: float,
        num_samples: RequestedSamples = "auto",
    ) -> list[float]:
        """Score waveforms in memory, in batches of equal length; within 1e-6 of :meth:`score`.

        As many are scored at once as fit into memory.

        Args:
            waveforms: B×N, or a sequence of (N,) or (channels, N).
            sample_rate: of all waveforms, in Hz.

        Raises:
            InputError: as :meth:`score`.

        >>> detector = Detector.from_config({"frontend": "lfcc", "backend": "mean_linear"})
        >>> len(detector.score_batch(torch.zeros(3, 16000), 16000))
        3
        """
        check_takes_audio_alone(self)
        reader = WaveformReader.of(self, samples_to_score(self.provenance, num_samples).num_samples)
        return score_each(self, [reader.read_audio(waveform, sample_rate).waveform for waveform in waveforms])

    @hinting_at_rate
    def embed(
        self,
        audio: Audio,
        sample_rate: float | None = None,
        num_samples: RequestedSamples = "auto",
        *,
        of: EmbeddingOf = "frontend",
        layer: int | Literal["last", "all"] = "last",
    ) -> NDArray:
        """Compute the embedding (E,) float32 of one recording in one piece.

        Args:
            audio, sample_rate, num_samples: as for :meth:`score`.
            of, layer: as for :meth:`embeddings`.

        Raises:
            InputError: as :meth:`score`; or if the detector has no embedding called ``of``, or no
                hidden state ``layer``.
        """
        reader = WaveformReader.of(self, samples_to_score(self.provenance, num_samples).num_samples)
        waveform = torch.from_numpy(reader.read_audio(audio, sample_rate).waveform)[None]
        with scoring_mode(self):
            (embedding,) = values_or_raise(Embeddings(of, layer).start(self, [waveform])())
        return embedding

    def score_files(
        self,
        paths: Iterable[AnyAudio],
        num_samples: RequestedSamples = "auto",
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        on_error: Literal["raise"] | Callable[[AnyAudio, InputError], object] = "raise",
    ) -> Iterator[tuple[AnyAudio, float]]:
        """Score files, or recordings with their rates, in order; yield (path, score). ``paths`` may be endless.

        Each file is scored in one piece. Only files of equal length share a batch, so scores are
        within 1e-6 of :meth:`score`. Threads read a few batches ahead.

        Args:
            batch_size: files at once; None for 8 on a CPU and 64 on a GPU.
            workers: threads that read; None to suit the device.
            on_error: ``"raise"`` raises a file's :class:`InputError` after the scores of earlier
                files; a function is called with path and error, and the file is skipped.
        """
        fits = on_error == "raise" or callable(on_error)
        check_setting("on_error", on_error, fits, "'raise' or a function of a path and an error")
        score_length = samples_to_score(self.provenance, num_samples)
        answers = judge_files(self, Scores(), paths, score_length.num_samples, batch_size=batch_size, workers=workers)

        # A generator's code starts at its first item; the settings above are checked at the call.
        def scored() -> Iterator[tuple[AnyAudio, float]]:
            for answer in answers:
                if isinstance(answer, Judged):
                    yield answer.recording, answer.value
                elif callable(on_error):
                    on_error(answer.recording, answer.error)
                else:
                    raise answer.error

        return scored()

    @hinting_at_rate
    def decide(
        self,
        audio: Audio,
        calibration: LinearCalibration | Decider | AnyPath,
        sample_rate: float | None = None,
    ) -> Decision:
        """Score a recording and decide by a calibration.

        Scores as many samples as for the calibration; windows decide on longer recordings. If
        unknown, a recording is scored in one piece, or beyond two minutes by the mean of windows.
        Traits that the calibration holds, such as bandwidth, are measured, too.

        Args:
            audio, sample_rate: as for :meth:`score`.
            calibration: of this detector, or its file, or a
                :class:`nes2net.scoring.decisions.Decider` with another prior or operating point.

        Raises:
            InputError: as :meth:`score`; or if the calibration is of another detector, for which
                every call hashes the weights.
        """
        judged: Judged[float] | Failed = judge_recording(self, audio, as_decider(calibration), sample_rate=sample_rate)
        if isinstance(judged, Failed):
            raise judged.error
        assert judged.decision is not None
        return judged.decision

    @hinting_at_rate
    def score_track(
        self,
        audio: Audio,
        sample_rate: float | None = None,
        *,
        window: float | None = None,
        hop: float = 0.5,
        batch_size: int | None = None,
    ) -> Track:
        """Score a window of ``window`` seconds every ``hop`` seconds along a recording.

        Files and blocks are read in pieces, so hours take no more memory than minutes. The last
        window ends with the recording; a recording shorter than a window has one score, that of
        :meth:`score`.

        Args:
            window: seconds; None for as much as :meth:`score` takes or, if that is all, 64,600
                samples, as usual in training.
            hop: seconds between starts; samples between windows are not scored.
            batch_size: as for :meth:`score_files`.

        Raises:
            InputError: as :meth:`score`; or if the window is too short for the detector, or the hop
                not positive.
        """
        channels = Channels()
        stream = Stream(self, SAMPLE_RATE, window=window, hop=hop, batch_size=batch_size, channels=channels)
        return score_track(stream, audio, sample_rate, channels)

    @hinting_at_rate
    def stream(
        self, sample_rate: float, *, window: float | None = None, hop: float = 0.5, batch_size: int = 1
    ) -> Stream:
        """Begin a stream, which scores pushed blocks of samples while audio arrives.

        Blocks have any size: scores equal those of :meth:`score_track`, bit for bit with the same
        ``batch_size``. A stream holds at most two windows and no scores. Streams may share a
        detector.

        Args:
            sample_rate: Hz of the pushed samples.
            batch_size: windows scored at once, for which earlier ones wait.

        Raises:
            InputError: as :meth:`score_track`.

        >>> detector = Detector.from_config({"frontend": "lfcc", "backend": "mean_linear"})
        >>> stream = detector.stream(8000, window=1.0)
        >>> scored = stream.push(torch.zeros(12000)) + stream.push(torch.zeros(2000)) + stream.finish()
        >>> [(window.start, window.end) for window in scored]
        [(0.0, 1.0), (0.5, 1.5), (0.75, 1.75)]
        """
        return Stream(self, sample_rate, window=window, hop=hop, batch_size=batch_size)

    @hinting_at_rate
    def frame_scores(
        self,
        audio: Audio,
        sample_rate: float | None = None,
        *,
        resolution_ms: float | None = None,
        batch_size: int | None = None,
    ) -> FrameScores:
        """Score the frames of a recording.

        Recordings of up to 30 s are scored in one piece, longer ones in windows of about 20 s, one
        about every 10 s, of which the middle is used. A file is read in pieces, so hours take no
        more memory than minutes.

        Args:
            resolution_ms: ms of a frame, one of :attr:`resolutions`; None for the shortest.
            batch_size: windows at once; None for 1 on a CPU and 12 on a GPU.

        Raises:
            InputError: as :meth:`score`; or if the detector cannot score such frames.
        """
        return frame_scores(self, audio, sample_rate, resolution_ms=resolution_ms, batch_size=batch_size)

    @hinting_at_rate
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
        calibration: LinearCalibration | Decider | AnyPath | None = None,
    ) -> list[Segment]:
        """Find the fake stretches of a recording by :meth:`frame_scores`.

        Args:
            threshold, hysteresis, min_duration: as for
                :meth:`nes2net.metrics.localisation.stretches.StretchRule.of`.
            calibration: of this detector's frame scores; gives threshold and resolution.

        Returns:
            Segments labelled ``spoof`` in order; a score is the mean over frames.

        Raises:
            InputError: as :meth:`frame_scores`; if a number is out of its range, the calibration is
                not of this detector's frames, or a detector of whole recordings gets neither
                ``threshold`` nor ``calibration``.
        """
        judgement = Frames(resolution_ms, threshold, hysteresis, min_duration)
        decider = None if calibration is None else as_decider(calibration)
        settings = JudgingSettings(batch_size=batch_size)
        judged = judge_recording(self, audio, decider, judgement, sample_rate=sample_rate, settings=settings)
        if isinstance(judged, Failed):
            raise judged.error
        assert judged.frames is not None
        return judged.frames.stretches
