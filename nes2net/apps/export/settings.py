"""The settings of an export for the Arena, which are flags of `nes2net export`, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from nes2net.actions.flags import CorpusName, Length, Precision
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.shell.commands import Count, File, Flag


@dataclass(frozen=True)
class Arena(Length):
    """With --to arena: the adapter, and what meta.yaml says of the system.

    Args:
        dtype: precision; auto: the checkpoint's
        batch_size: recordings at once
        name: name of the system; if not given, the recipe's name or the parts' names
        arxiv: number of the paper, such as 2504.05657, or none
        check: say what the folder MODEL lacks, and write nothing
        scores: write the result of the folder MODEL on CORPUS, from this score file
        corpus: the set of SCORES, hub:OWNER/NAME
        deep_voice: scores of DeepVoice, whose EER gives the threshold for a set with only spoofed trials
    """

    dtype: Precision = "auto"
    batch_size: Count = 16
    name: str | None = None
    arxiv: Annotated[str | None, Flag("NUMBER")] = None
    check: Annotated[bool, NotWith("out", "push")] = False
    scores: Annotated[File | None, UsedWith("corpus"), NotWith("out", "push", "check")] = None
    corpus: Annotated[CorpusName | None, Flag("CORPUS"), UsedWith("scores")] = None
    deep_voice: Annotated[File | None, Flag("SCORES"), UsedWith("scores")] = None
