"""Read a cut of Lhotse as the fields of a row of a list."""

from __future__ import annotations

from nes2net.data.corpora.id_tables import label_of
from nes2net.data.corpora.trial import SPOOF
from nes2net.lib.errors import refuse, short_repr
from nes2net.lib.output.sheet import Facts

# Keys of a cut, of its recording and of the source of the recording that are read, or do not change the samples.
_KNOWN_KEYS = set(
    "id type start duration channel recording supervisions custom features "
    "sources sampling_rate num_samples channel_ids channels source".split()
)


def is_cut(entry: Facts) -> bool:
    return isinstance(entry.get("recording"), dict) or str(entry.get("type")).endswith("Cut")


def cut_fields(cut: Facts) -> Facts:
    """Return the fields of a cut; raise InputError if it is not part of a single file."""
    kind = cut.get("type", "MonoCut")
    refuse((kind != "MonoCut", f"a {kind} is not a single recording; write a MonoCut for each"))
    recording = cut["recording"]
    sources = recording["sources"]
    refuse((len(sources) != 1, f"its recording has {len(sources)} sources; expected one file"))
    [source] = sources
    channels = source["channels"]  # in the order in which they stand in the file
    items = (*cut.items(), *recording.items(), *source.items())
    unread = [key for key, value in items if value and key not in _KNOWN_KEYS]
    refuse(
        (unread, f"it has {', '.join(unread)}, which would change the samples and is not read; save the changed audio"),
        (source["type"] != "file", f"its source is of the type {source['type']!r}, which is not read; expected 'file'"),
        (
            cut["channel"] not in channels,
            f"it has channel {short_repr(cut['channel'])}, but its source has {short_repr(channels)}; correct it",
        ),
    )
    part = {name: cut[name] for name in ("id", "start", "duration")}
    if channels[1:]:  # of a single channel, the recording is the same as in a list without channels
        part["channel"] = channels.index(cut["channel"])
    return {**_joined_facts(cut), **part, "path": source["source"]}


def _joined_facts(cut: Facts) -> Facts:
    # The facts in which the supervisions agree, and the cut's own; it is spoofed if any of them says so.
    facts = []
    for supervision in cut.get("supervisions") or ():
        speech = {name: supervision.get(name) for name in ("speaker", "language")}
        facts.append({**(supervision.get("custom") or {}), **speech})
    first, *others = facts or [{}]
    joined = {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}
    joined |= cut.get("custom") or {}
    if SPOOF in [label_of(stated["label"]) for stated in (*facts, joined) if stated.get("label")]:
        joined["label"] = SPOOF
    return joined
