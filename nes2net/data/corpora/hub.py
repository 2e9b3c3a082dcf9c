"""Use a data set of the Hugging Face hub as a corpus: ``hub:OWNER/NAME`` or ``hub:OWNER/NAME@REVISION``.

The shards (:mod:`nes2net.data.corpora.shards`) are downloaded once, into the cache of
huggingface_hub (``HF_HOME``), and verified. With ``HF_HUB_OFFLINE=1``, nothing is downloaded.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from nes2net.data.corpora.corpus import Corpus
from nes2net.data.corpora.shards import CORPUS
from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.web.hub import HUB_PREFIX, check_fetched, hub_errors

_NAME = re.compile(r"hub:(?P<set>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
# Patterns of files to download (shards and their descriptions), and patterns of files to leave out.
_WANTED = ["*.parquet", "*.arrow", "*.tar", "eval.yaml", "README.md"]
_NOT_WANTED = ["submissions/*", ".*"]


def hub_corpus(name: str) -> Corpus:
    """Make the corpus ``hub:OWNER/NAME[@REVISION]``, downloaded when its trials are first read.

    Raises:
        InputError: if ``name`` does not have this form.
    """
    if _NAME.fullmatch(name) is None or ".." in name:
        raise InputError(
            f"{short_repr(name)} is not a data set of the hub: write hub:OWNER/NAME, or hub:OWNER/NAME@REVISION"
        )

    return replace(CORPUS, title=name.removeprefix(HUB_PREFIX), home=lambda: download(name))


@lru_cache(maxsize=64)
def download(name: str) -> Path:
    """Download the missing files; return the folder, named after the commit of the data set.

    Raises:
        InputError: if the data set does not exist, if its licence has to be accepted first, or if
            the hub cannot be reached and the local copy is not complete.
        Unfinished: if the connection breaks.
    """
    match = _NAME.fullmatch(name)
    assert match is not None
    repository = match["set"]
    revision = match["revision"]
    from huggingface_hub import snapshot_download  # start-up

    page = f"https://huggingface.co/datasets/{repository}"
    with hub_errors(f"{name} is not here and was not downloaded from the Hugging Face hub", page, "what has arrived"):
        folder = snapshot_download(
            repository, repo_type="dataset", revision=revision, allow_patterns=_WANTED, ignore_patterns=_NOT_WANTED
        )
    return check_fetched(Path(folder))
