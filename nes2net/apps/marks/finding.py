"""What a reader of marks gets, and what it tells."""

from __future__ import annotations

import numpy as np

from nes2net.data.audio.packed import AnyRecording
from nes2net.lib.errors import InputError
from nes2net.scoring.marks import Mark
from nes2net.scoring.waveforms import RecordingToJudge

_KEYS = (
    "kind state value threshold false_alarms claim source_type title issuer common_name signed_at generator codes "
    "reader trust_list second reason"
)


def original(recording: RecordingToJudge) -> AnyRecording:
    """Return the file as it came; raise :class:`InputError` if there are only samples."""
    if isinstance(recording.decoded, np.ndarray):
        raise InputError("not read: samples only")
    return recording.upload or recording.recording


def mark(words: str, **facts: object) -> list[Mark]:
    """Make the finding of a kind of marks; its facts have the same keys for all kinds.

    - ``state``: found, unclear, not_found, no_reading, broken, untrusted, trusted, unreadable or
      remote.
    - ``value``, ``threshold``, ``false_alarms``: of a watermark.
    - ``claim``: ai, recording, other, or None.
    - ``second``: what a second reader finds.
    """
    return [Mark("mark", words, facts=dict.fromkeys(_KEYS.split()) | facts)]
