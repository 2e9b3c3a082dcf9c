"""Read a cut of Lhotse as the fields of a row of a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nes2net.data.corpora.id_tables import LABELS
from nes2net.data.corpora.trial import SPOOF
from nes2net.lib.errors import short_repr

# Keys of a cut, of its recording and of the source of the recording that are read, or do not change the samples.
_KNOWN_KEYS = set(
    "id type start duration channel recording supervisions custom features "
    "sources sampling_rate num_samples channel_ids channels source".split()
)


def is_cut(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("recording"), dict) or str(entry.get("type")).endswith("Cut")


def cut_fields(cut: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a cut; raise ValueError if it is not part of a single file."""
    if cut.get("type") not in (None, "MonoCut"):
        raise ValueError(f"a {cut['type']} is not a single recording")
    recording = cut["recording"]
    sources = recording["sources"]
    unread: list[str] = []
    for mapping in (cut, recording, *sources):
        unread += [key for key, value in mapping.items() if value and key not in _KNOWN_KEYS]
    source = sources[0]
    channels = source["channels"]  # in the order in which they stand in the file
    fault = ""
    if unread:
        fault = f"it has {', '.join(unread)}, which would change the samples and is not read"
    elif len(sources) > 1:
        fault = f"its recording has {len(sources)} sources; expected one file"
    elif source["type"] != "file":
        fault = f"its source is of the type {source['type']!r}, which is not read; expected 'file'"
    elif cut["channel"] not in channels:
        fault = f"it has channel {short_repr(cut['channel'])}, but its source has {short_repr(channels)}"
    if fault:
        raise ValueError(fault)
    fields = _joined_facts(cut)
    fields |= {name: cut[name] for name in ("id", "start", "duration")}
    fields["path"] = source["source"]
    if len(channels) > 1:
        fields["channel"] = channels.index(cut["channel"])
    return fields


def _joined_facts(cut: Mapping[str, Any]) -> dict[str, Any]:
    # The facts in which the supervisions agree, and the cut's own; it is spoofed if any of them says so.
    facts = []
    for supervision in cut.get("supervisions") or ():
        own_facts = {name: supervision.get(name) for name in ("speaker", "language")}
        facts.append({**(supervision.get("custom") or {}), **own_facts})
    first = next(iter(facts), {})
    joined = {name: value for name, value in first.items() if all(other.get(name) == value for other in facts)}
    own_facts = cut.get("custom") or {}
    words = [str(other["label"]).lower() for other in (*facts, own_facts) if other.get("label")]
    labels = {LABELS.get(word, word) for word in words}
    joined |= own_facts
    if SPOOF in labels:
        joined["label"] = SPOOF
    elif len(labels) > 1:
        raise ValueError(f"its labels are {' and '.join(sorted(labels))}; expected one, or a spoofed part")
    return joined
