"""Find trials that share a recording, or overlapping parts of it."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from contextlib import suppress
from operator import itemgetter
from pathlib import Path

from nes2net.data.audio.parts import RecordingPart
from nes2net.data.corpora.trial import Trial, Trials
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.storage.files import sha256_of

_TOLERANCE = 1e-3  # seconds, or samples


def shared_recordings(trials: Trials) -> list[list[Trial]]:
    """Group trials of files with the same bytes or, in shards, the same path, whose parts overlap.

    Only parts in the same unit and of the same channel, or of the mean of all, are compared.
    """
    sizes: dict[Path, int] = {}
    for path in map(Trial.audio_path, trials):
        with suppress(OSError):  # there is no such file
            sizes[path] = os.path.getsize(path)
    number = Counter(sizes.values())
    content: dict[Path | None, str] = {}  # file that may have a copy → its digest
    for path, size in ProgressDisplay(sizes.items(), title="copies", unit="file"):
        if size and number[size] > 1:
            with suppress(OSError):  # the file cannot be read
                content[path] = sha256_of(path)
    comparable: dict[object, list[tuple[float, float, Trial]]] = defaultdict(list)  # start, end
    for trial in trials:
        part = trial.part or RecordingPart()
        kind = (content.get(trial.path, trial.path), part.in_samples, part.channel)
        comparable[kind].append((part.start, part.start + (part.length or math.inf), trial))
    groups: list[list[Trial]] = []
    for spans in comparable.values():
        last_end = 0.0
        for start, end, trial in sorted(spans, key=itemgetter(0)):
            if start >= last_end - _TOLERANCE:
                groups.append([])
            groups[-1].append(trial)
            last_end = max(last_end, end)
    return [group for group in groups if len(group) > 1]
