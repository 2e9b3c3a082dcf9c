"""Define a part of a corpus, such as the evaluation set."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from numpy.typing import NDArray

from nes2net.data.corpora.corpus import Corpus, Protocols, Root
from nes2net.data.corpora.trial import Trial
from nes2net.data.registry import corpora
from nes2net.lib.errors import InputError
from nes2net.lib.storage.text_files import reading_once


@dataclass(frozen=True)
class Part:
    """A part of a corpus, and the folders of its files; its list is read once.

    It is a data set for ``torch.utils.data.DataLoader``: ``part[index]`` is the waveform (N,) at 16 kHz,
    float32, and 1 for bona fide, 0 for spoof, None without a label.
    """

    corpus: str
    root: Root
    split: str = "eval"
    protocols: Protocols = None
    """None if they are in ``root``."""
    revision: str | None = None
    """Commit of a data set downloaded from the hub."""

    @property
    def definition(self) -> Corpus:
        return corpora.get(self.corpus)

    @cached_property
    def trials(self) -> list[Trial]:
        """All trials, as :meth:`~nes2net.data.corpora.corpus.Corpus.trials` lists them."""
        with reading_once():
            return self.definition.trials(self.root, self.split, protocols=self.protocols)

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, index: int) -> tuple[NDArray, int | None]:
        from nes2net.data.audio.read import load_audio  # imported late, because listing trials needs no decoder

        trial = self.trials[index]
        return load_audio(trial.recording()), trial.target

    @property
    def has_labels(self) -> bool:
        """Whether there is a protocol, which is not read, or a label in a user's own list."""
        corpus = self.definition
        with suppress(InputError, OSError):
            corpus.find_protocol(self.root, self.split, self.protocols)
            return not corpus.user_defined or any(trial.label for trial in self.trials)
        return False

    def facts(self) -> dict[str, str]:
        """Describe the part by plain data, for the record of scores or a run."""
        facts = {"name": self.corpus}
        if self.revision:
            facts["revision"] = self.revision
        return facts | {"root": str(self.root), "split": self.split}
