"""Declare a corpus whose lists state the segments of each utterance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from nes2net.data.corpora.corpus import Protocols
from nes2net.data.corpora.layout import ListedCorpus, Rows
from nes2net.data.corpora.segments import Uncovered, any_spoof, check_labels, fill_gaps, read_labels
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import concerning
from nes2net.lib.storage.files import AnyPath
from nes2net.metrics.localisation.segments import Segment, SegmentsByUtterance


class LabelledUtterance(NamedTuple):
    """An utterance of a list, with its segments."""

    trial: Trial
    """Without path and phase."""
    file: str
    """Path below the folder of the audio."""
    duration: float
    """In seconds."""
    segments: list[Segment]
    """In any order."""


@dataclass(frozen=True, kw_only=True)
class SegmentListCorpus(ListedCorpus):
    """A corpus whose lists state the segments of each utterance."""

    utterances: Callable[[Path], Iterator[LabelledUtterance]]
    """Yields the utterances of a list; raises ``InputError`` if malformed."""
    uncovered: Uncovered = None
    """The class of time that no segment covers; None if it is an error."""
    rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        # These fields of a frozen class hold functions; here they need `self.utterances`.
        object.__setattr__(self, "rows", self._trials_of_list)
        object.__setattr__(self, "segments", self._segments_of_split)
        object.__setattr__(self, "segment_labels", partial(read_labels, self._segments_of_split))

    def _trials_of_list(self, path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
        for trial, file, _, _ in self.utterances(path):
            recording = audio / file if audio is not None else None
            yield replace(trial, path=recording, phase=phase)

    def _segments_of_split(self, root: AnyPath, split: str, *, protocols: Protocols = None) -> SegmentsByUtterance:
        """Return utterance → segments that cover it from 0 to its end; ``root`` may be a list."""
        split = self.resolve_split(split)
        protocol = self.find_protocol(root, split, protocols or root)
        lists = self._lists_in(protocol, split) if protocol.is_dir() else [protocol]
        segments_by_id = {}
        for path in lists:
            trials = []
            for trial, _, duration, segments in self.utterances(path):
                trials.append(trial)
                with concerning(f"{path}: {trial.id}:"):
                    segments_by_id[trial.id] = fill_gaps(segments, duration, self.uncovered)
            check_labels(any_spoof(segments_by_id), trials, path)
        return segments_by_id
