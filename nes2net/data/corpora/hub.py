"""Data sets of the Hugging Face hub as corpora: ``hub:OWNER/NAME``, or ``hub:OWNER/NAME@REVISION``.

The shards are downloaded once, into the folder that huggingface_hub keeps (``HF_HOME``), resumable and
verified; :mod:`nes2net.data.corpora.shards` reads them there. ``HF_HUB_OFFLINE=1`` uses only what is
already downloaded.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from nes2net.data.corpora.corpus import Corpus
from nes2net.data.corpora.shards import CORPUS
from nes2net.lib.errors import InputError, shown
from nes2net.lib.hub_errors import hub_errors

#: What the names of such corpora begin with.
PREFIX = "hub:"

_NAME = re.compile(r"hub:(?P<set>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
# Shards and what describes them; the hub's own folders of results and scripts stay there.
_WANTED = ["*.parquet", "*.arrow", "*.tar", "eval.yaml", "README.md"]
_NOT_WANTED = ["submissions/*", ".*"]


def hub_corpus(name: str) -> Corpus:
    """The corpus ``hub:OWNER/NAME[@REVISION]``; nothing is downloaded before its trials are asked for.

    Its methods take a folder, as for every corpus; ``None`` and ``"."`` stand for the folder
    :attr:`~nes2net.data.corpora.corpus.Corpus.home`.

    Raises:
        InputError: if the name has another form.
    """
    if _NAME.fullmatch(name) is None or ".." in name:
        raise InputError(
            f"{shown(name)} is not a data set of the hub: write hub:OWNER/NAME, or hub:OWNER/NAME@REVISION"
        )

    return replace(CORPUS, title=name.removeprefix(PREFIX), home=lambda: download(name))


@lru_cache(maxsize=64)
def download(name: str) -> Path:
    """Download the data set ``name``, as far as it is not there yet, and return its folder.

    The name of the folder is the commit.

    Raises:
        InputError: if it does not exist, its licence has to be accepted first, or the hub cannot be
            reached and the set is not complete here.
        Unfinished: if the connection breaks.
    """
    match = _NAME.fullmatch(name)
    assert match is not None
    repository = match["set"]
    revision = match["revision"]
    from huggingface_hub import snapshot_download  # start-up

    page = f"https://huggingface.co/datasets/{repository}"
    with hub_errors(f"{name} is not here and was not downloaded from the Hugging Face hub", page, "what has arrived"):
        return Path(
            snapshot_download(
                repository, repo_type="dataset", revision=revision, allow_patterns=_WANTED, ignore_patterns=_NOT_WANTED
            )
        )
