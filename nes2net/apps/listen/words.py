"""Write the lines about channels (:mod:`nes2net.apps.listen.channel`) in words, for a terminal."""

from __future__ import annotations

from nes2net.apps.listen.channel import Line
from nes2net.lib.errors import pluralise
from nes2net.lib.output.terminal import table_line
from nes2net.lib.output.times import clock

_WIDTHS = (8, 8, 10, 8, 11, 0)  # widths of the columns of the table in characters; 0 for any width


def heading(line: Line, evidence: object) -> list[str]:
    """Write the line ``ready`` in words, and the headings of the table that follows."""
    calibration_words = "no calibration, so there are scores and no probabilities"
    columns = ["channel", "to", "score", "llr", "probability", ""]
    if line["calibration"] is not None:
        calibration_words = f"calibration {line['calibration']}"
    if not evidence:
        columns[3:5] = ["", ""]
    return [
        f"# {line['model']} hears {line['window']:.4g} s every {line['hop']:g} s; {calibration_words}",
        *(f"# {sentence}" for sentence in line["meaning"]),
        table_line(columns, _WIDTHS),
    ]


def in_words(line: Line) -> str:
    """Write any other line: ``end`` as a summary, the others as rows of a table."""
    event = line["event"]
    if event == "end":
        return _summary(line)
    cells = [line["channel"], clock(line.get("time") or line["end"], 1)]
    for value in (line.get("score", event), line.get("llr", ""), line.get("probability", "")):
        if isinstance(value, float):
            value = f"{value:.4f}"
        cells.append(value or "")
    notes = [line.get(key) for key in ("error", "decision", "reason", "unusual", "because")]
    if event == "score":
        notes.append("ALARM" if line.get("alarm") else None)
    elif event not in ("alarm", "clear"):
        notes = [f"from {clock(line['start'], 1)}", line.get("message"), *notes]
    return table_line([*cells, "; ".join(filter(None, notes))], _WIDTHS, "lrrrrl")


def _summary(line: Line) -> str:
    facts = [pluralise(line["windows"], "window")]
    if line["skipped"]:
        facts.append(f"{line['skipped']} skipped")
    if lowest := line["lowest"]:
        facts.append(f"lowest {lowest['score']:.4f} at {clock(lowest['start'], 1)}")
    for key, name in (("compute", "computing a window"), ("lag", "lag")):
        if seconds := line[key]:
            facts.append(f"{name} {seconds['median']:.3g} s (95 %: {seconds['p95']:.3g} s)")
    if "unusual_share" in line:
        facts.append(f"{line['unusual_share']:.0%} of its windows with speech are unusual")
    facts += filter(None, [line.get("decision"), line["remark"]])
    return f"# {line['channel']}: {clock(line['seconds'], 1)}, {'; '.join(facts)}"
