"""Find trials that share a recording, or overlapping parts of it."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path

from nes2net.data.audio.parts import RecordingPart
from nes2net.data.corpora.trial import Trial
from nes2net.lib.files import sha256_of
from nes2net.lib.progress import ProgressDisplay

_SHORT = 3.0  # seconds before the progress is shown
_TOLERANCE = 1e-3  # seconds, or samples


def shared_recordings(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Group trials whose files have the same bytes or, in shards, the same path."""
    sizes: dict[Path, int] = {}
    for path in map(Trial.audio_path, trials):
        with suppress(OSError):  # there is no such file
            sizes[path] = os.path.getsize(path)
    number = Counter(sizes.values())
    candidates = [path for path, size in sizes.items() if size and number[size] > 1]
    digests: dict[Path, str] = {}
    for path in ProgressDisplay(candidates, title="copies", unit="file", delay=_SHORT):
        with suppress(OSError):  # the file cannot be read
            digests[path] = sha256_of(path)
    # Only parts in the same unit and of the same channel, or of the mean of all, are compared.
    groups: dict[object, list[tuple[float, float, Trial]]] = defaultdict(list)
    for trial in trials:
        part = trial.part or RecordingPart()
        end = part.start + (part.length or math.inf)
        recording = digests.get(trial.audio_path()) or trial.path
        groups[recording, part.in_samples, part.channel].append((part.start, end, trial))
    shared: list[list[Trial]] = []
    for stretches in groups.values():
        reached = 0.0
        for start, end, trial in sorted(stretches, key=itemgetter(0)):
            if start >= reached - _TOLERANCE:
                shared.append([])
            shared[-1].append(trial)
            reached = max(reached, end)
    return [group for group in shared if len(group) > 1]
