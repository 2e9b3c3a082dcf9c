"""`nes2net embed`: embeddings of a corpus or of files, as .npy or .parquet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from nes2net.cli.entry import report_finished
from nes2net.cli.flags import Batches, CorpusName, Count, File, Flag, Loading, OnError, located
from nes2net.errors import InputError


def embed(
    corpus: CorpusName | None = None,
    root: str | None = None,
    *,
    out: str,
    overwrite: bool = False,
    on_error: OnError = "skip",
    files: Sequence[File] | None = None,
    split: str = "eval",
    protocols: str | None = None,
    num_samples: Count | None = None,
    whole: bool = False,
    model: str | None = None,
    frontend: Annotated[str | None, Flag("NAME|OPTIONS")] = None,
    ssl_checkpoint: File | None = None,
    of: Literal["frontend", "aggregation", "backend"] = "frontend",
    layer: str = "last",
    loading: Loading,
    batches: Batches,
) -> int:
    """Write the embeddings of a corpus or of files.

    A .npy file is an array with a row per utterance, whose ids and labels are in OUT.csv; a .parquet file has the
    columns id, label and embedding. OUT.json says what made them. Exit status 1 means that some files were left out.
    The same command resumes an interrupted run.

    Example:
        nes2net embed asvspoof2019_la DB --split dev --model model.pth --out dev.npy
        nes2net embed --files folder/ --frontend lps --out folder.parquet

    Args:
        corpus: which corpus, or hub:OWNER/NAME; generic takes a list of yours
        root: its folder or list
        out: .npy or .parquet file to write
        overwrite: embed anew, and replace a finished file or what another run left
        on_error: leave unreadable files out, or stop at the first

    Which utterances, and how much of them:
        files: audio files, or folders of them, instead of a corpus
        split: train, dev or eval, where the corpus has them
        protocols: folder of the protocols; searched for in root if not given
        num_samples: the first N samples at 16 kHz, repeating shorter files (64600: the '4sec' protocol); if not given,
            the number that the authors of a published detector always score, else the number of training if it is not
            about 4 s, else all samples
        whole: all samples of each recording, whatever the detector

    Embeddings of what:
        model: trained detector: checkpoint (.pth), folder, or name on the Hugging Face hub
        frontend: a front-end alone instead: its name, or as in a recipe '{name: lps, n_fft: 512}'
        ssl_checkpoint: pre-training file of --frontend
        of: the mean over time of a hidden state of the front-end, or of the aggregation; or the input of the
            back-end's last layer
        layer: hidden state of the front-end: last, a number from 0 (the input of the first layer), or all of them in a
            row

    The detector:
        dtype: precision of weights and computation; auto takes the checkpoint's, or float32
    """
    from nes2net.actions.embedding import check_layer, embed_recordings, frontend_alone, trials_of_files
    from nes2net.machine.yaml_text import read_value
    from nes2net.registry import corpora

    if whole and num_samples is not None:
        raise InputError("`whole` takes all samples: leave out `num_samples`")
    number: Any = int(layer) if layer.isdecimal() else layer
    check_layer(of, number)
    if (corpus is None) == (files is None):
        raise InputError("name a corpus and its folder, or audio files with --files, and not both")
    source: dict[str, Any] = {"files": files}
    if corpus is None:
        trials = trials_of_files(files or ())
    else:
        part = located(corpus, root, split, protocols)
        trials = corpora.get(corpus).trials(part.root, split, protocols=protocols)
        source = {"corpus": {"name": corpus, "root": str(part.root), "split": split}}
    if (model is None) == (frontend is None):
        raise InputError("name a trained detector with `model`, or a front-end with `frontend`, and not both")
    if model is None:
        if of != "frontend":
            raise InputError(f"a front-end alone has no {of}: take a trained detector with `model`")
        if loading.base:
            raise InputError("a front-end alone has no base: leave `base` out")
        named = read_value(str(frontend), None, "`frontend`")
        detector = frontend_alone(named, ssl_checkpoint, loading.device, loading.dtype)
        source["frontend"] = {"ssl_checkpoint": ssl_checkpoint}
    else:
        if ssl_checkpoint:
            raise InputError("a trained detector holds its front-end: leave `ssl_checkpoint` out")
        detector = loading.load(model)
        source["checkpoint"] = {**detector.record, "path": model}
    result = embed_recordings(
        detector,
        trials,
        out,
        of=of,
        layer=number,
        num_samples=None if whole else "auto" if num_samples is None else num_samples,
        on_error=on_error,
        overwrite=overwrite,
        about=source,
        **vars(batches),
    )
    return report_finished(result)
