"""The class Detector: a network that reads recordings and judges them.

The order of the methods: scores of whole recordings, embeddings, decisions, scores along a
recording, and segments of a recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from nes2net.data.audio.packed import AnyRecording
from nes2net.data.audio.sources import Audio
from nes2net.data.audio.waveform import Padding
from nes2net.evaluation.judgements import Frames, Scores
from nes2net.lib.errors import InputError
from nes2net.metrics.localisation.segments import Segment
from nes2net.metrics.localisation.stretches import MIN_DURATION
from nes2net.models.loading import SavedNetwork
from nes2net.models.network import EmbeddingOf
from nes2net.scoring.calibrated import as_decider
from nes2net.scoring.files import judge_files
from nes2net.scoring.judged import Failed, Judged
from nes2net.scoring.judging import JudgingSettings, judge_recording
from nes2net.scoring.kernel import check_takes_audio_alone, score_each, score_or_raise, scoring_mode, start_rows
from nes2net.scoring.score_length import RequestedSamples, samples_to_score
from nes2net.scoring.stream import Stream
from nes2net.scoring.track import FrameScores, Track, frame_scores, score_track
from nes2net.scoring.waveforms import Crop, PeakNormalize, WaveformReader

if TYPE_CHECKING:
    from nes2net.scoring.decisions.calibration import LinearCalibration
    from nes2net.scoring.decisions.decision import Decider, Decision


class Detector(SavedNetwork):
    """A trained network that judges recordings: it scores, embeds and decides.

    The back-end's ``score_rule`` computes the score of a recording from the logits of
    :class:`nes2net.models.network.Network`. A higher score means more bona fide. Scores are not
    calibrated, so choose a threshold on a development set of your own conditions.

    >>> detector = Detector.from_config({"frontend": "lfcc", "backend": "mean_linear"})
    >>> isinstance(detector.score(torch.zeros(16000), sample_rate=16000), float)
    True
    """

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
        answers = judge_files(self, Scores(), paths, score_length.num_samples, batch_size=batch_size, workers=workers)

        def scored() -> Iterator[tuple[AnyRecording, float]]:
            for answer in answers:
                if isinstance(answer, Judged):
                    yield answer.recording, answer.value
                elif callable(on_error):
                    on_error(answer.recording, answer.error)
                else:
                    raise answer.error

        return scored()

    def decide(
        self,
        audio: Audio,
        calibration: LinearCalibration | Decider,
        sample_rate: float | None = None,
    ) -> Decision:
        """Score a recording and decide by a calibration: log-likelihood ratio, probability and decision.

        The number of scored samples is the same as for the recordings from which the calibration
        was learned, and windows decide on a longer recording. If this number is unknown, the
        recording is scored in one piece or, if it is longer than two minutes, by the mean of its
        windows. If the calibration holds traits of recordings, such as their bandwidth, the same
        traits of this recording are measured, too.

        Args:
            audio, sample_rate: as for :meth:`score`.
            calibration: a calibration of this detector, or a :class:`nes2net.scoring.decisions.Decider`
                with another prior or operating point.

        Raises:
            InputError: as for :meth:`score`; or if the calibration belongs to another detector. To
                find this out, every call computes a hash of the weights.
        """
        judged: Judged[float] | Failed = judge_recording(self, audio, as_decider(calibration), sample_rate=sample_rate)
        if isinstance(judged, Failed):
            raise judged.error
        assert judged.decision is not None
        return judged.decision

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
        judgement = Frames(resolution_ms, threshold, hysteresis, min_duration)
        decider = None if calibration is None else as_decider(calibration)
        settings = JudgingSettings(batch_size=batch_size)
        judged = judge_recording(self, audio, decider, judgement, sample_rate=sample_rate, settings=settings)
        if isinstance(judged, Failed):
            raise judged.error
        assert judged.frames is not None
        return judged.frames.stretches
