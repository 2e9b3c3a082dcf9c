"""`nes2net embed`: write the embeddings of a corpus or of files, as .npy or .parquet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from nes2net.actions.flags import (
    BatchFlags,
    CorpusName,
    Loading,
    ModelName,
    Reading,
    locate_part,
    report_finished,
)
from nes2net.lib.errors import InputError
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.shell.commands import File, Flag, Folder, command_facts


@command_facts(
    about="A .npy file has a row for each utterance, with ids and labels in OUT.csv; a .parquet file has "
    "columns. The same command resumes an interrupted run. Exit status 1 means that files failed."
)
def embed(
    corpus: CorpusName | None = None,
    root: str | None = None,
    *,
    out: File,
    overwrite: bool = False,
    files: Sequence[File] | None = None,
    split: str = "eval",
    protocols: Folder | None = None,
    length: Reading,
    model: ModelName | None = None,
    frontend: Annotated[str | None, Flag("NAME|OPTIONS"), NotWith("base")] = None,
    ssl_checkpoint: Annotated[File | None, UsedWith("frontend")] = None,
    of: Annotated[Literal["frontend", "aggregation", "backend"], UsedWith("model")] = "frontend",
    layer: str = "last",
    loading: Loading,
    batches: BatchFlags,
) -> int:
    """Write the embeddings of a corpus or of files.

    Example:
        nes2net embed asvspoof2019_la DB --split dev --model model.pth --out dev.npy
        nes2net embed --files folder/ --frontend lps --out folder.parquet

    Args:
        root: corpus folder, or a list for the corpus generic
        out: .npy or .parquet file to write
        overwrite: replace the embeddings of another run

    Which utterances:
        files: audio files or folders instead of a corpus
        split: train, dev or eval
        protocols: protocol folder; searched for in root if not given

    Embeddings of what:
        model: checkpoint, folder, or name on the hub
        frontend: a front-end without a detector, as in a recipe
        ssl_checkpoint: pre-training file of --frontend
        of: mean of the frames of front-end or aggregation, or input of the last layer
        layer: hidden state of the front-end: last, all, or a number from 0
    """
    from nes2net.actions.embedding import embed_recordings, frontend_alone
    from nes2net.data.audio.files import expand_folders
    from nes2net.data.corpora.trial import Trial
    from nes2net.lib.storage.yaml_text import read_value
    from nes2net.scoring.corpus import ScoringSettings
    from nes2net.scoring.embeddings import Embeddings

    number: Any = int(layer) if layer.isdecimal() else layer
    embeddings = Embeddings(of, number)
    if (corpus is None) == (files is None):
        raise InputError("name either a corpus and its folder, or audio files with --files, and not both")
    source: dict[str, object] = {"files": files}
    if corpus is None:
        trials = [Trial(str(path), path) for path in dict.fromkeys(expand_folders(files or ()))]
    else:
        located_part = locate_part(corpus, root, split, protocols)
        trials = located_part.trials
        source = {"corpus": located_part.facts()}
    if (model is None) == (frontend is None):
        raise InputError("name either a trained detector with `model`, or a front-end with `frontend`, and not both")
    if model is None:
        frontend_options = read_value(str(frontend), None, "`frontend`")
        detector = frontend_alone(frontend_options, ssl_checkpoint, loading.device, loading.dtype)
        source["frontend"] = {"ssl_checkpoint": ssl_checkpoint}
    else:
        detector = loading.load(model)
        source["checkpoint"] = {**detector.provenance.to_dict(), "path": model}
    result = embed_recordings(
        detector,
        length.choose(trials),
        out,
        embeddings,
        num_samples=length.requested_samples_of_files(),
        about=source,
        settings=ScoringSettings(overwrite=overwrite, **vars(batches)),
    )
    return report_finished(result)
