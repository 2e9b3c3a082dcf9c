"""Measure traits of a recording, or of a corpus in workers, for calibrations and decisions."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Container, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat, TypeAdapter

from nes2net.data.audio.blocks import push_all
from nes2net.data.audio.packed import AnyRecording
from nes2net.data.audio.read import AudioFile, join_blocks, stream_audio
from nes2net.data.audio.remarks import Channels, Listener, Remark
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.trial import Trial, Trials
from nes2net.lib.errors import InputError
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.lib.process.processes import Processes
from nes2net.lib.process.this_process import usable_processors
from nes2net.lib.process.workers import Loader
from nes2net.lib.storage.files import AnyPath, json_text
from nes2net.lib.storage.plain_data import parse_json
from nes2net.models.network import Network
from nes2net.models.speakers import SpeakerEncoder
from nes2net.scoring.batches import BatchPlan, Item, ItemDataset, ReadItem
from nes2net.scoring.claimed import AnyDecider, PersonDecider
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.decisions.decision import Decider
from nes2net.scoring.decisions.population import SCALARS, Traits, measure, measure_blocks
from nes2net.scoring.embeddings import Embeddings
from nes2net.scoring.engine import BatchResult, NothingDone, RunSettings, run_over
from nes2net.scoring.journal import JournalRow, Reasons
from nes2net.scoring.kernel import Scorer, scoring_mode
from nes2net.scoring.output import Output
from nes2net.scoring.record import recordings_digest
from nes2net.scoring.track import Track
from nes2net.scoring.waveforms import Recording, RecordingToJudge, judged_share

#: Largest number of recordings of a corpus that are measured. With 10,000 recordings, the smallest p-value is about 1
#: in 10,000.
MAX_MEASURED = 10_000
_BATCH = 8  # number of recordings that a worker measures in one task
_MAX_WORKERS = 8  # largest number of processes, unless the caller chooses one
_SEED = 0


def measure_file(path: AnyRecording, num_samples: int | None, max_used_samples: int | None = None) -> Traits:
    """Measure the scored part of a file.

    Args:
        num_samples: leading samples that are scored; None for all, of any length.
        max_used_samples: leading samples that can affect scores; None for all.

    Raises:
        InputError: if the file cannot be read.
    """
    listener = Listener(Channels(num_samples))
    if num_samples is None:
        traits = measure_blocks(push_all(stream_audio(path, listener.channels), listener))
        length = listener.num_samples
    else:
        with AudioFile(path) as audio:
            head, length = audio.read_with_length(num_samples, channels=listener.channels)
        traits = measure_blocks(listener.push(head))
    remark = listener.remark(trained_on=0)  # no recording is too short for training
    judged = judged_share(length, num_samples, max_used_samples)
    return traits._replace(judged=judged, unfit=remark.unfit, clipping=remark.clipping)


def draw_trials(trials: Trials, max_trials: int = MAX_MEASURED) -> list[Trial]:
    """Draw at most ``max_trials`` in order, the same in every run."""
    if len(trials) <= max_trials:
        return list(trials)
    return [trials[i] for i in sorted(random.Random(_SEED).sample(range(len(trials)), max_trials))]


class TraitsOutput(Output[Traits]):
    """A file of traits in JSON lines: ``[id, duration, level, bandwidth, judged, unfit, clipping]``."""

    doing = "measuring"
    done = "measured"
    what = "traits"

    def to_json(self, value: Traits) -> list[float | str]:
        return [getattr(value, name) for name in _MEASURED]

    def from_json(self, values: Any) -> Traits:
        """Restore traits; raise ValueError if the list is damaged."""
        duration, level, bandwidth, judged, unfit, clipping = _VALUES.validate_python(values)
        return Traits(duration, level, bandwidth, judged=judged, unfit=unfit, clipping=clipping)

    def read(self, out: Path) -> Iterable[tuple[str, Traits]]:
        with open(out, encoding="utf-8") as file:
            for line in file:
                id, *scalars = parse_json(line, "a line")
                yield id, self.from_json(scalars)

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, Traits]]) -> Facts:
        with open(files[0], "w", encoding="utf-8") as file:
            file.writelines(json_text([trial.id, *self.to_json(traits)]) + "\n" for trial, traits in rows)
        return {}


_Finite = Annotated[FiniteFloat, Field(strict=True)]
_MEASURED = (*SCALARS, "judged", "unfit", "clipping")
_VALUES = TypeAdapter(
    tuple[
        Annotated[_Finite, Field(gt=0)],
        _Finite,
        _Finite,
        Annotated[_Finite, Field(gt=0, le=1)],
        Annotated[str, Field(max_length=200)],
        Annotated[str, Field(max_length=200)],
    ]
)


def measure_trials(
    trials: Trials,
    beside: AnyPath,
    num_samples: int | None,
    *,
    scorer: Scorer | None = None,
    embed: bool = False,
    num_workers: int | None = None,
) -> tuple[dict[str, Traits], Reasons]:
    """Measure recordings by :func:`measure_file`; with ``embed``, also embed them.

    Under ``torchrun``, only the first process may call this. ``{beside}.traits`` and
    ``{beside}.embeddings.npy`` keep the results, for resuming and repeated calls, until
    :func:`forget_traits`.

    Args:
        scorer: None if unknown.
        embed: ignored for an exported detector.
        num_workers: None for one per processor, at most 8.

    Returns:
        Id → traits, in the order of ``trials``; and id → reason of missing traits or embeddings,
        also printed on standard error.

    Raises:
        InputError, Unfinished: as :func:`nes2net.scoring.engine.run_over`, but not if all
            recordings failed.
    """
    workers = min(_MAX_WORKERS, usable_processors()) if num_workers is None else num_workers
    most_samples = scorer.used_samples.most if scorer else None
    output = TraitsOutput()
    out, embeddings = _files_beside(beside)

    def read(trials: Trials, done: Container[str], processes: Processes) -> Generator[list[ReadItem], None, None]:
        # Other recordings of a batch change no trait, so none is measured again.
        batches = BatchPlan(_BATCH).batches([trial for trial in trials if trial.id not in done], processes=processes)
        yield from Loader(ItemDataset(partial(_measure_item, num_samples, most_samples)), batches, list, workers)

    def compute(batches: Iterable[list[ReadItem]]) -> Generator[BatchResult[Traits], None, None]:
        for batch in batches:
            rows = {}
            reasons = {}
            for read_trial in batch:
                if isinstance(read_trial.content, str):  # why it could not be measured
                    reasons[read_trial.id] = read_trial.content
                else:
                    rows[read_trial.id] = JournalRow(read_trial.content, read_trial.file_stamp)
            yield BatchResult(rows, reasons)

    run: FactsDict = {
        "traits": " ".join(_MEASURED),
        "trials": recordings_digest(trials),
        "num_samples": num_samples,
    }
    try:
        settings = RunSettings(overwrite="others", alone=True)
        failures = run_over(trials, read, compute, output, out, run=run, about={}, settings=settings).failures
    except NothingDone as error:
        return {}, dict(error.failures)
    traits = dict(output.read(out))
    if not embed or not isinstance(scorer, Network):  # exported detectors make no embeddings
        return traits, failures
    judgement = Embeddings("backend")
    result = judge_trials(
        scorer,
        [trial for trial in trials if trial.id in traits],
        embeddings,
        judgement,
        settings=ScoringSettings(num_samples=num_samples, num_workers=num_workers, overwrite="others", alone=True),
    )
    for id, row in judgement.read(embeddings):
        traits[id] = traits[id]._replace(embedding=np.array(row))
    return traits, {**result.failures, **failures}


def forget_traits(beside: AnyPath) -> None:
    """Remove the files of :func:`measure_trials` with this ``beside``."""
    for out in _files_beside(beside):
        for suffix in ("", ".csv", ".json"):
            out.with_name(f"{out.name}{suffix}").unlink(missing_ok=True)


def _files_beside(beside: AnyPath) -> tuple[Path, Path]:
    return Path(f"{beside}.traits"), Path(f"{beside}.embeddings.npy")


def _measure_item(num_samples: int | None, max_used_samples: int | None, item: Item) -> Traits:
    return measure_file(item.path, num_samples, max_used_samples)


@dataclass(frozen=True)
class Measurer:
    """Measures what a calibration needs for decisions.

    Args:
        embed: whether embeddings are compared, and ``scorer`` makes them.
        encoder: embeds the voice in whole recordings; None if not compared.
    """

    scorer: Scorer
    embed: bool
    encoder: SpeakerEncoder | None = None

    @classmethod
    def of(cls, scorer: Scorer, decider: AnyDecider) -> Measurer:
        """Make the measurer for ``decider``; it embeds if the calibration compares embeddings."""
        if isinstance(decider, PersonDecider):
            return cls(scorer, False, decider.encoder)
        population = decider.calibration.population if isinstance(decider, Decider) and decider.abstain else None
        compares_embeddings = population is not None and population.has_embeddings
        return cls(scorer, compares_embeddings and isinstance(scorer, Network))  # exported detectors make none

    def measure(self, recording: Recording, remark: Remark) -> Traits:
        """Measure the scored part, except its embedding; ``remark`` says whether it is unfit or clipped."""
        traits = measure(recording.plain, recording.num_samples)  # leave out the repetition of a short recording
        return traits._replace(judged=recording.judged, unfit=remark.unfit, clipping=remark.clipping)

    def with_embeddings(self, traits: Sequence[Traits], waveforms: NDArray) -> list[Traits]:
        """Add the embeddings of ``waveforms`` B×N to the traits, where available."""
        if not self.embed:
            return list(traits)
        with scoring_mode(self.scorer):
            rows = Embeddings("backend").start(self.scorer, [torch.from_numpy(waveforms)])()
        with_embeddings = []
        for measured, row in zip(traits, rows):
            if not isinstance(row, str):  # a text is the reason why the embedding is missing
                measured = measured._replace(embedding=row)
            with_embeddings.append(measured)
        return with_embeddings

    def with_voice(self, traits: Traits, source: RecordingToJudge) -> Traits:
        """Add the voice in the whole recording, or say why it has none."""
        if self.encoder is None:
            return traits
        waveform = join_blocks(source.blocks()[0])
        try:
            voice = self.encoder.embed(waveform, SAMPLE_RATE)
        except InputError as error:
            return traits._replace(unfit=traits.unfit or error.reason)
        return traits._replace(voice=voice, sha256=hashlib.sha256(waveform.data).hexdigest())

    def along(self, blocks: Iterable[NDArray], track: Track, beginning: Traits | None = None) -> Traits:
        """Measure a recording, in ``blocks`` (N,) at 16 kHz in [−1, 1], whose windows ``track`` scores.

        Args:
            beginning: traits of the beginning, if its score decides; they give ``judged``, and the
                embedding if the first window has speech.
        """
        traits = measure_blocks(blocks)._replace(
            judged=track.judged, unfit=track.remark.unfit, clipping=track.remark.clipping, in_windows=True
        )
        if beginning is None:
            return traits
        embedding = beginning.embedding if track.speech is not None and track.speech[0] > 0 else None
        return traits._replace(
            judged=beginning.judged, embedding=embedding, voice=beginning.voice, sha256=beginning.sha256
        )
