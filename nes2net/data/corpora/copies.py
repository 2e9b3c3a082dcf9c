"""Find trials that share a recording."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from nes2net.data.corpora.trial import Trial
from nes2net.lib.files import sha256_of
from nes2net.lib.progress import ProgressDisplay

_SHORT = 3.0  # seconds before the progress is shown


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
    groups = defaultdict(list)
    for trial in trials:
        groups[digests.get(trial.audio_path()) or trial.path].append(trial)
    return [group for group in groups.values() if len(group) > 1]
