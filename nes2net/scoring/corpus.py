"""A corpus to a file of scores, scores of frames or embeddings: runs of :mod:`nes2net.scoring.engine`."""

from __future__ import annotations

import csv
import math
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from nes2net.data.audio.tables import pyarrow_module
from nes2net.data.audio.waveform import Padding
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError, counted
from nes2net.lib.text_files import as_cell, of_cell
from nes2net.lib.this_process import is_first
from nes2net.scoring import score_file, segment_file
from nes2net.scoring.batches import (
    Compute,
    FramesOfBatch,
    Plan,
    ReadBatch,
    compute_scores,
    waveforms_for,
)
from nes2net.scoring.engine import Finished, Output, Share, Way, run_over
from nes2net.scoring.kernel import (
    Scorer,
    chosen_batch_size,
    default_batch_size,
    depends_on_batch,
    scoring_mode,
    start_rows,
)
from nes2net.scoring.record import circumstances, plain, run_identity
from nes2net.scoring.score_file import check_ids, read_scores
from nes2net.scoring.segment_file import read_segment_scores
from nes2net.scoring.system_scores import check_system_scores
from nes2net.scoring.waveforms import Crop, PeakNormalize, Transform, WaveformReader


class ScoreOutput(Output[float]):
    """A line ``utterance score`` for each trial (:mod:`nes2net.scoring.score_file`)."""

    doing, done, what = "scoring", "scored", "scores"

    def check(self, trials: Sequence[Trial]) -> None:
        check_ids(trial.id for trial in trials)

    def to_json(self, value: float) -> float:
        return float(value)

    def from_json(self, kept: Any) -> float:
        if not isinstance(kept, float) or not math.isfinite(kept):
            raise ValueError(kept)
        return kept

    def read(self, out: Path) -> Iterable[tuple[str, float]]:
        return zip(*read_scores(out))

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, float]]) -> dict[str, Any]:
        with open(files[0], "w", encoding="utf-8", newline="\n") as file:
            file.writelines(score_file.line(trial.id, score) for trial, score in rows)
        return {}


class FrameOutput(Output[NDArray]):
    """A line ``utterance frame score`` for each frame of each trial (:mod:`nes2net.scoring.segment_file`).

    Args:
        resolution_ms: length of a frame.
    """

    doing, done, what = "scoring", "scored", "scores"

    def __init__(self, resolution_ms: float) -> None:
        self.resolution_ms = resolution_ms
        self.rows_are = f"utterances in frames of {resolution_ms:g} ms"

    def check(self, trials: Sequence[Trial]) -> None:
        check_ids(trial.id for trial in trials)

    def to_json(self, value: NDArray) -> list[float]:
        return value.tolist()

    def from_json(self, kept: Any) -> NDArray:
        scores = np.array(kept, np.float32)
        if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
            raise ValueError(kept)
        return scores

    def read(self, out: Path) -> Iterable[tuple[str, NDArray]]:
        return ((id, scores.astype(np.float32)) for id, scores in read_segment_scores(out).scores.items())

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, NDArray]]) -> dict[str, Any]:
        with open(files[0], "w", encoding="utf-8", newline="\n") as file:
            file.writelines(segment_file.lines(trial.id, scores) for trial, scores in rows)
        return {"resolution_ms": self.resolution_ms}


@dataclass(frozen=True, kw_only=True)
class ScoringWay(Way):
    """How a corpus is scored, beside the way of any run."""

    crop: Crop = "head"
    """``"random"`` takes the samples from a start that is drawn for each utterance, as the authors of
    some published detectors do."""
    crop_seed: int = 0
    """Seed of those starts, which depend only on it and on the utterance's file."""
    padding: Padding = "repeat"
    """What fills up a shorter utterance; ``"zeros"`` follow it in the scoring of some benchmarks."""
    peak_normalize: PeakNormalize = "no"
    """Whose largest sample becomes 1: that of the whole ``"recording"``, or of the ``"cut"``, as in the
    scoring of some benchmarks and published detectors."""
    legacy_train_mode: bool = False
    """Whether to score as the published In-the-Wild scoring, which never left train mode: with the
    batch statistics of single utterances, and with dropout (deviation 2). The random numbers come
    from one stream per utterance."""
    compile: bool = False
    """Whether to compile the detector for the batches of '4sec' (:meth:`nes2net.Detector.compile`). It
    stays compiled."""
    transform: Transform | None = None
    """Changes each whole utterance before it is cut; it belongs to the run."""

    def identity(self) -> dict[str, Any]:
        """The part of it that belongs to the run."""
        found: dict[str, Any] = {}
        if self.crop != "head":
            found |= {"crop": self.crop, "crop_seed": self.crop_seed}
        if self.padding != "repeat":
            found["padding"] = self.padding
        if self.peak_normalize != "no":
            found["peak_normalize"] = self.peak_normalize
        if self.transform is not None:
            found["transform"] = self.transform.identity
        return found


def score_trials(
    scorer: Scorer,
    trials: Sequence[Trial],
    out: str | Path,
    *,
    num_samples: int | None,
    resolution_ms: float | None = None,
    about: Mapping[str, Any] | None = None,
    **options: Any,
) -> Finished:
    """Score ``trials`` into the file ``out``: one line ``utterance score`` per trial, in order.

    With ``resolution_ms`` the file has a line ``utterance frame score`` for each frame of each
    trial (:mod:`nes2net.scoring.segment_file`). A whole utterance of up to 30 s is then scored in
    one piece, and a longer one in windows (:func:`nes2net.scoring.track.frame_scores`).

    Each score equals the one computed alone, up to the rounding of float32: utterances share a
    batch only if they give the detector the same number of samples, and there is no padding. The
    exception is a front-end with ``normalize: batch``: a note says so, and the batch size becomes
    part of the run's identity. Under ``torchrun`` each process scores a share, and the first one
    writes the file. The file is the same to the last bit for any number of processes and
    interruptions, if each process has the same number of threads. The detector is left in the mode
    in which it was.

    Args:
        num_samples: how many leading samples of each utterance to take, repeated if there are fewer
            ('4sec'); None for whole utterances ('full').
        resolution_ms: length of the frames to score, one of the detector's; None for one score an
            utterance.
        about: plain data for ``{out}.json``, such as the corpus, the checkpoint and its recipe.
        options: the fields of :class:`ScoringWay`.

    Raises:
        InputError: if the detector fuses scores of other systems that the trials do not have
            (:func:`nes2net.scoring.system_scores.with_system_scores`); if it does not score frames
            of ``resolution_ms``, or frames are asked for and not whole utterances; if ``out`` is a
            folder or a device, belongs to another run, or is being written by one; if ``out`` or
            audio of its trials was changed since it was finished; if there are no trials, or a
            score file cannot hold an id; if no trial could be scored; if an argument is out of its
            range; or if the disk is full.
        Unfinished: if a process that reads audio was killed or hangs; the scores so far are kept.
    """
    way = ScoringWay(**options)
    legacy, batch_matters = way.legacy_train_mode, depends_on_batch(scorer)
    reader = WaveformReader.of(
        scorer,
        num_samples,
        crop=way.crop,
        seed=way.crop_seed,
        padding=way.padding,
        peak_normalize=way.peak_normalize,
    )
    if way.compile and num_samples is None:
        raise InputError(
            "a detector can be compiled only for waveforms of one length, as in '4sec': leave out `compile=True`"
        )
    if legacy and scorer.precision == "int8":
        raise InputError("a detector in int8 has no train mode: score as published in float32")
    check_system_scores(trials, scorer.num_scores)
    batch_size = way.batch_size or default_batch_size(scorer.computes_on)
    plan = Plan(
        1 if legacy else batch_size,
        whole=num_samples is None and not legacy,
        filled=not (legacy or batch_matters),
        compiled=way.compile,
    )
    run = run_identity(scorer, trials, num_samples, legacy, way.compile)
    run |= {"batch_size": batch_size} if batch_matters else {}
    run |= way.identity()
    output: Output[Any]
    compute: Compute[Any]
    if resolution_ms is None:
        reader = replace(reader, transform=way.transform)
        system_scores = {trial.id: trial.system_scores for trial in trials} if scorer.num_scores else None
        output = ScoreOutput()
        compute = compute_scores(scorer, plan, random_streams=legacy, system_scores=system_scores)
    else:
        if num_samples is not None or legacy or way.transform is not None or way.padding != "repeat":
            raise InputError(
                "frames are scored in whole, unchanged utterances and in eval mode: leave out `num_samples`, `padding` "
                "and the transform"
            )
        frames = FramesOfBatch(scorer, resolution_ms)
        run["resolution_ms"] = frames.resolution_ms
        reader = replace(reader, min_samples=1)  # a repeated utterance would have frames behind its end
        output = FrameOutput(frames.resolution_ms)
        compute = Compute(scorer, plan, lambda group, rows: frames.start(group.waveforms, rows))

    def begin(batches: Iterator[ReadBatch]) -> Generator[Share[Any], None, None]:
        if batch_matters and is_first():
            tqdm.write(
                f"the front-end normalises the batch as a whole, so a score depends on the {counted(batch_size, 'utterance')} "
                "of its batch: a front-end without `normalize: batch` avoids this",
                file=sys.stderr,
            )
        if way.compile:
            scorer.compile(dynamic=False)
        yield from compute(batches)

    about = {**plain(about or {}), "architecture": plain(scorer.config), "score_rule": scorer.score_rule}
    with scoring_mode(scorer, legacy):
        about |= circumstances(scorer, batch_size)
        read = waveforms_for(scorer.device, reader, plan, way.num_workers)
        return run_over(trials, read, begin, output, out, run=run, about=about, way=way)


#: Kinds of files that hold embeddings.
SUFFIXES = (".npy", ".parquet")
_FLOAT = np.dtype("<f4")
_ROWS_AT_ONCE = 8192  # in memory while the finished file is written


@dataclass
class EmbeddingResult(Finished):
    """The outcome of :func:`embed_trials`."""

    size: int = 0
    """E, the numbers of an embedding."""


class EmbeddingOutput(Output[NDArray]):
    """One row of E numbers per trial, in float32.

    Args:
        suffix: suffix of the file, one of :data:`SUFFIXES`.
    """

    doing, done, what = "embedding", "embedded", "embeddings"

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self.beside = (".csv",) if suffix == ".npy" else ()

    def to_json(self, value: NDArray) -> str:
        return b64encode(np.ascontiguousarray(value, _FLOAT).data).decode()

    def from_json(self, kept: Any) -> NDArray:
        return np.frombuffer(b64decode(kept, validate=True), _FLOAT)

    def read(self, out: Path) -> Iterable[tuple[str, NDArray]]:
        if self.suffix == ".parquet":
            with pyarrow_module("pyarrow.parquet", out).ParquetFile(out) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["id", "embedding"]):
                    rows = batch.column("embedding").values.to_numpy(zero_copy_only=False)
                    yield from zip(batch.column("id").to_pylist(), rows.reshape(len(batch), -1))
            return
        with open(out.with_name(f"{out.name}.csv"), encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield from zip((of_cell(row["id"]) for row in csv.DictReader(file)), np.load(out, mmap_mode="r"))

    def write(self, files: Sequence[Path], count: int, rows: Iterator[tuple[Trial, NDArray]]) -> dict[str, Any]:
        first = next(rows)
        rows, size = chain([first], rows), len(first[1])
        parts = iter(lambda: list(islice(rows, _ROWS_AT_ONCE)), [])
        if self.suffix == ".parquet":
            _write_parquet(files[0], size, parts)
            return {"size": size}
        with (
            open(files[0], "wb") as file,
            open(files[1], "w", encoding="utf-8", errors="surrogateescape", newline="") as list_file,
        ):
            header = {"descr": _FLOAT.str, "fortran_order": False, "shape": (count, size)}
            np.lib.format.write_array_header_1_0(file, header)
            writer = csv.writer(list_file, lineterminator="\n")
            writer.writerow(["id", "label"])
            for part in parts:
                file.write(np.stack([row for _, row in part]).data)
                writer.writerows([as_cell(trial.id), trial.label or ""] for trial, _ in part)
        return {"size": size}


def embed_trials(
    scorer: Scorer,
    embed: Callable[[Tensor], Tensor],
    trials: Sequence[Trial],
    out: str | Path,
    *,
    what: str,
    num_samples: int | None = None,
    about: Mapping[str, Any] | None = None,
    **options: Any,
) -> EmbeddingResult:
    """Embed ``trials`` into the file ``out``: one row per trial, in order, in float32.

    Utterances share a batch only if they give the detector the same number of samples, so each
    embedding equals the one computed alone, up to the rounding of float32. A trial whose file
    cannot be used has no row.

    A ``.npy`` file is an array N×E, and ``{out}.csv`` names the id and label of each row; an apostrophe
    comes before an id that a spreadsheet would compute (:func:`~nes2net.lib.text_files.as_cell`).
    A ``.parquet`` file has the columns ``id``, ``label`` and ``embedding``, a list of E numbers.

    Args:
        scorer: the detector whose parts ``embed`` computes with, in eval mode.
        embed: embeddings B×E of waveforms B×N.
        what: names what ``embed`` computes; it is part of the run's identity.
        num_samples, about: as in :func:`nes2net.scoring.corpus.score_trials`.
        options: the fields of :class:`~nes2net.scoring.engine.Way`.

    Raises:
        InputError: if ``out`` has another suffix or belongs to another run; if there are no trials,
            or two of one id; if no trial could be embedded; or if a file cannot be written.
        Unfinished: if a process that reads audio was killed or hangs; the rows so far are kept.
    """
    out = Path(out)
    if out.suffix not in SUFFIXES:
        raise InputError(f"{out}: embeddings go to a file that ends in {' or '.join(SUFFIXES)}: name another `out`")
    if out.suffix == ".parquet":
        pyarrow_module("pyarrow", out)  # before hours of work
    way = Way(**options)
    batch_size = chosen_batch_size(scorer, way.batch_size)
    plan = Plan(batch_size, whole=num_samples is None)
    compute: Compute[NDArray] = Compute(
        scorer,
        plan,
        lambda group, rows: start_rows(scorer, "embedding is not finite", embed, group.waveforms, rows=rows),
    )
    with scoring_mode(scorer):
        result = run_over(
            trials,
            waveforms_for(scorer.device, WaveformReader.of(scorer, num_samples), plan, way.num_workers),
            compute,
            EmbeddingOutput(out.suffix),
            out,
            run={**run_identity(scorer, trials, num_samples, False, False), "embedding": what},
            about={**plain(about or {}), "architecture": plain(scorer.config), **circumstances(scorer, batch_size)},
            way=way,
        )
    if out.suffix == ".npy":
        size = np.load(out, mmap_mode="r").shape[1]
    else:
        size = pyarrow_module("pyarrow.parquet", out).read_schema(out).field("embedding").type.list_size
    return EmbeddingResult(**{**vars(result), "what": f"embeddings of {size} numbers"}, size=size)


def _write_parquet(path: Path, size: int, parts: Iterable[list[tuple[Trial, NDArray]]]) -> None:
    arrow, parquet = pyarrow_module("pyarrow", path), pyarrow_module("pyarrow.parquet", path)
    columns = [("id", arrow.string()), ("label", arrow.string()), ("embedding", arrow.list_(arrow.float32(), size))]
    schema = arrow.schema(columns)
    with parquet.ParquetWriter(path, schema) as file:
        for part in parts:
            trials = [trial for trial, _ in part]
            ids = [trial.id.encode(errors="surrogateescape").decode(errors="replace") for trial in trials]
            numbers = arrow.FixedSizeListArray.from_arrays(arrow.array(np.concatenate([row for _, row in part])), size)
            labels = arrow.array([trial.label for trial in trials], arrow.string())
            file.write_table(arrow.Table.from_arrays([arrow.array(ids), labels, numbers], schema=schema))
