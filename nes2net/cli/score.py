"""`nes2net score`: score a corpus with a trained detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from nes2net.cli.entry import report_finished
from nes2net.cli.flags import (
    Batches,
    CorpusName,
    Deciding,
    File,
    Flag,
    FromZero,
    Length,
    Loading,
    OnError,
    called,
    located,
)
from nes2net.cli.next_commands import after_scoring, print_next
from nes2net.errors import InputError

if TYPE_CHECKING:
    from nes2net.scoring.kernel import Scorer


@called(names={"resolution_ms": "--segments"})
def score(
    corpus: CorpusName,
    root: str | None = None,
    *,
    model: str,
    engine: Literal["torch", "onnx"] = "torch",
    out: str,
    overwrite: bool = False,
    on_error: OnError = "skip",
    split: str = "eval",
    protocols: str | None = None,
    length: Length,
    crop: Literal["head", "random"] = "head",
    crop_seed: FromZero = 0,
    segments: Annotated[float | None, Flag("MS", nargs="?", const=0.0)] = None,
    system_scores: Sequence[File] = (),
    score_range: Sequence[File] = (),
    loading: Loading,
    batches: Batches,
    compile: bool = False,
    deciding: Deciding,
) -> int:
    """Score a corpus with a trained detector.

    On several GPUs or processes, torchrun --nproc-per-node N -m nes2net score … writes the same file; the progress bar
    counts the share of the first process. Exit status 1 means that some files were left out; torchrun reports it as
    FAILED. The same command resumes an interrupted run, with any number of processes.

    Example:
        nes2net score asvspoof2021_df DB --model detector.pth --out scores_DF.txt

    Args:
        corpus: which corpus, or hub:OWNER/NAME for a data set of the Hugging Face hub
        root: its folder; one of the hub is downloaded if not given
        model: checkpoint (.pth), folder, or name on the Hugging Face hub
        engine: PyTorch, or onnxruntime for an exported FILE.onnx
        out: score file to write
        overwrite: replace a score file that another run made
        on_error: leave unreadable files out, or stop at the first

    Which trials, and how much of them:
        split: train, dev or eval, where the corpus has them
        protocols: folder of the protocols; searched for in root if not given
        protocol: the first 4 s, or whole utterances; if not given, what the authors of a published detector score,
            else what the detector was trained on, else 4sec
        num_samples: samples of '4sec'; if not given, the number of a published detector, else the number of training if
            it is not about 4 s, else the corpus's number
        crop: where the samples of '4sec' are cut out; random is how the authors of some published detectors score
        crop_seed: seed of --crop random
        segments: score frames of MS milliseconds of whole utterances instead, lines 'utterance frame score'; the
            detector's shortest frames if MS is not given

    Scores of other systems, for a detector that fuses them:
        system_scores: a score file of this corpus for each system, in the order of training
        score_range: a development set's score file for each system, whose lowest and highest scores set the
            normalisation; or 'test' to take them from --system-scores, as published; if not given, what training kept

    The detector:
        dtype: precision of weights and computation; auto takes the checkpoint's, float32 in the published ones; tf32 is
            for GPUs, int8 for the CPU

    Computing:
        compile: compile the detector first (torch.compile), which takes a while and pays for a large corpus scored
            in '4sec'

    What the score means:
        calibration: say in OUT.decisions.csv and OUT.decisions.json what each score means, by the file that `nes2net
            calibrate fit … --save FILE` wrote for this detector
    """
    from nes2net.actions.scoring import score_corpus
    from nes2net.registry import corpora

    decider, part = deciding.decider(), located(corpus, root, split, protocols)
    # Before a large model is read.
    trials = corpora.get(corpus).trials(part.root, split, protocols=protocols)
    scores, decisions = score_corpus(
        _scorer(model, engine, loading),
        part,
        out,
        checkpoint=model,
        trials=trials,
        num_samples=length.asked,
        protocol=length.protocol,
        resolution_ms="shortest" if segments == 0 else segments,
        system_scores=system_scores,
        score_range=score_range,
        decider=decider,
        calibration=deciding.calibration or "",
        crop=crop,
        crop_seed=crop_seed,
        batch_size=batches.batch_size,
        num_workers=batches.num_workers,
        on_error=on_error,
        overwrite=overwrite,
        compile=compile,
    )
    status = report_finished(scores)
    if decider and decisions:
        print("\n".join(decider.described()))
        counts = ", ".join(f"{count} {name}" for name, count in decisions.counts.items())
        print(
            f"decisions: {counts}, {'complete already' if decisions.already_complete else 'written'} in {decisions.path}"
        )
    assert part.root is not None
    commands = after_scoring(corpus, part.root, split, out, protocols)
    print_next([[*words, *(["--allow-partial"] if scores.failures else [])] for words in commands])
    return status


def _scorer(model: str, engine: str, loading: Loading) -> Scorer:
    from nes2net.machine.devices import own_device

    if engine == "onnx":
        from nes2net.export.onnx_detector import OnnxDetector

        if loading.base:
            raise InputError("an exported detector holds all its weights: leave `base` out")
        detector = OnnxDetector(model, own_device(loading.device))
        if loading.dtype not in ("auto", detector.precision):
            raise InputError(f"{model} computes in {detector.precision}, not in {loading.dtype}: leave out --dtype")
        return detector
    if Path(model).suffix == ".onnx":
        raise InputError(f"{model} is an exported detector: add --engine onnx")
    return loading.load(model)
