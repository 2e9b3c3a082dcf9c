"""A report as one HTML page that needs nothing else: no script, no network, styles and plots inside.

Text from files (names of systems, attacks, utterances, paths) is escaped where it enters the page, and the page's own policy forbids
scripts and requests. The same report gives the same bytes.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from nes2net.errors import InputError
from nes2net.evaluation.breakdown import OFFICIAL, Row, Table
from nes2net.evaluation.compare import Report, format_p
from nes2net.evaluation.evaluate import Evaluation, describe_excluded
from nes2net.evaluation.plots import det_svg, distribution_svg, series_style
from nes2net.metrics.dcf import ASVSPOOF5_COSTS
from nes2net.registry import corpora

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
# Longer tables start folded.
_LONG = 40


class Html(str):
    """Markup of this page's own; any other text is escaped."""


def write_report(report: Report, page: str | Path | None = None, data: str | Path | None = None) -> None:
    """Write the page and the JSON; a file appears whole or not at all. One that cannot be written is :class:`InputError`."""
    if page is not None:
        _write(Path(page), html_page(report))
    if data is not None:
        _write(Path(data), json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def check_writable(*paths: str | Path | None) -> None:
    """:class:`InputError` if a file cannot be written at one of ``paths``; known before the figures for it are computed."""
    for path in (Path(path) for path in paths if path is not None):
        if path.is_dir():
            raise InputError(f"{path}: is a folder; name a file to write")
        _write(path, None)


def html_page(report: Report) -> str:
    """The page of ``report``."""
    several = len(report.systems) > 1
    title = f"{corpora.get(report.corpus).title}, {report.phase}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        _lead(report),
        *(_partial_note(system, several) for system in report.systems if system.is_partial),
        _summary(report.systems) if several else _figures(report.systems[0]),
        _section("Differences", _differences(report)) if several else "",
        _section("Curves", _plots(report.systems)),
        _breakdowns(report.systems),
        _section("Inputs and versions", _provenance(report)),
    ]
    style = (files("nes2net.evaluation") / "page.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{_text(title)} – nes2net</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>",
            *(part for part in parts if part),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _write(path: Path, text: str | None) -> None:
    """``text`` into ``path``, whole or not at all; None only tries whether that is possible."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # A file name that is no UTF-8 comes as lone surrogates, which are shown as \\udcff.
        temporary.write_bytes((text or "").encode("utf-8", "backslashreplace"))
        if text is None:
            temporary.unlink()
        else:
            temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); name a file in a folder that exists"
        ) from error


def _text(value: object) -> Html:
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def _percent(rate: float | None, digits: int = 2) -> Html:
    return Html("–" if rate is None else f"{100 * rate:.{digits}f}")


def _interval(interval: Sequence[float] | None) -> Html:
    return Html("" if interval is None else f"{100 * interval[0]:.2f}–{100 * interval[1]:.2f}")


def _signed(points: float) -> str:
    return f"{points:+.2f}".replace("-", "−")


def _count(number: int) -> Html:
    return Html(f"{number:,}".replace(",", "&#8239;"))


def _section(title: str, *content: str, folded: bool | None = None) -> Html:
    """A section; ``folded`` not None makes it one that opens and closes."""
    inner = "\n".join(content)
    if folded is None:
        return Html(f"<section>\n<h2>{_text(title)}</h2>\n{inner}\n</section>")
    state = "" if folded else " open"
    return Html(
        f"<section>\n<details{state}>\n<summary><h2>{_text(title)}</h2></summary>\n{inner}\n</details>\n</section>"
    )


def _table(head: Iterable[object], rows: Iterable[Sequence[object]], *, labels: int = 1, kind: str = "") -> Html:
    """A table that scrolls in its own frame where it is too wide. The first ``labels`` columns are text, the others figures."""

    def cells(values: Iterable[object], tag: str) -> str:
        made = []
        for number, value in enumerate(values):
            role = ' class="label"' if number < labels else ""
            name = "th" if tag == "th" or number < labels else "td"
            scope = ' scope="col"' if tag == "th" else ' scope="row"' if name == "th" else ""
            made.append(
                f'<{name}{scope}{role}><span class="name">{_text(value)}</span></{name}>'
                if name == "th"
                else f"<td>{_text(value)}</td>"
            )
        return f"<tr>{''.join(made)}</tr>"

    body = "\n".join(cells(row, "td") for row in rows)
    named = f' class="{kind}"' if kind else ""
    return Html(
        f'<div class="scroll" tabindex="0">\n<table{named}>\n<thead>\n{cells(head, "th")}\n</thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _lead(report: Report) -> Html:
    first = report.systems[0]
    counts = Html(f"{_count(first.num_bonafide)} bona fide and {_count(first.num_spoof)} spoofed trials")
    sentence = f"{counts}. Intervals hold 95 %, from {first.num_resamples} bootstrap draws of {first.interval_over}"
    sentence += f" (in the breakdowns {first.num_row_resamples})."
    if first.excluded:
        sentence += f" Left out by definition: {_text(describe_excluded(first.excluded))}."
    return Html(f'<p class="lead">{sentence}</p>')


def _partial_note(system: Evaluation, several: bool) -> Html:
    who = f"<b>{_text(system.system)}</b>: partial result" if several else "<b>Partial result</b>"
    evaluated = system.num_bonafide + system.num_spoof
    return Html(
        f'<p class="warning">{who}, rests on {_count(evaluated)} of {_count(system.num_expected)} trials; '
        f"{_text(system.left_out)}</p>"
    )


def _figures(system: Evaluation) -> Html:
    """The pooled figures of one system, as tiles."""
    tiles = [("EER", f"{_percent(system.eer, 3)} %", f"95 % interval {_interval(system.interval)} %")]
    if system.min_tdcf is not None:
        tiles.append(("min t-DCF", f"{system.min_tdcf:.4f}", "with the organisers’ ASV system"))
    tiles += [
        ("minDCF", f"{system.min_dcf:.4f}", f"costs of {system.min_dcf_costs}"),
        ("actDCF", f"{system.act_dcf:.4f}", f"costs of {ASVSPOOF5_COSTS}; scores as log-likelihood ratios"),
        ("Cllr", f"{system.cllr:.4f} bits", "scores as log-likelihood ratios"),
        ("threshold", f"{system.threshold:.4g}", f"where the EER of {system.system} was read off"),
    ]
    boxes = "\n".join(
        f'<div class="tile"><dt>{_text(name)}</dt><dd>{_text(value)}</dd><dd class="small">{_text(note)}</dd></div>'
        for name, value, note in tiles
    )
    return Html(f'<dl class="tiles">\n{boxes}\n</dl>{_notes([system])}')


def _summary(systems: Sequence[Evaluation]) -> Html:
    """The pooled figures of several systems, as a table that is the plots' legend too."""
    with_tdcf = any(system.min_tdcf is not None for system in systems)
    head = [
        "system",
        "EER %",
        "95 % interval",
        *(["min t-DCF"] if with_tdcf else []),
        "minDCF",
        "actDCF",
        "Cllr, bits",
        "trials",
    ]
    rows = []
    for number, system in enumerate(systems):
        tdcf = "–" if system.min_tdcf is None else f"{system.min_tdcf:.4f}"
        costs = [f"{value:.4f}" for value in (system.min_dcf, system.act_dcf, system.cllr)]
        trials = _count(system.num_bonafide + system.num_spoof)
        name = Html(f"{_swatch(number)}{_text(system.system)}")
        rows.append(
            [name, _percent(system.eer), _interval(system.interval), *([tdcf] if with_tdcf else []), *costs, trials]
        )
    own = systems[0].min_dcf_costs
    costs = f"minDCF has the costs of {own}, actDCF those of {ASVSPOOF5_COSTS}."
    if own == ASVSPOOF5_COSTS:
        costs = f"minDCF and actDCF have the costs of {own}."
    return Html(f'{_table(head, rows)}\n<p class="small">{_text(costs)}</p>{_notes(systems)}')


def _notes(systems: Sequence[Evaluation]) -> str:
    notes = dict.fromkeys(note for system in systems for note in system.notes)
    return "".join(f'\n<p class="small">Note: {_text(note)}</p>' for note in notes)


def _swatch(number: int) -> Html:
    colour, line = series_style(number)
    style = {"-": "solid", "--": "dashed", "-.": "double", ":": "dotted"}[line]
    return Html(f'<span class="swatch" style="border-top: 3px {style} {colour}"></span>')


def _differences(report: Report) -> Html:
    pairs = {(pair.first, pair.second): pair for pair in report.pairs}
    names = [system.system for system in report.systems]
    rows = []
    for row in names:
        cells: list[object] = [row]
        for column in names:
            pair, sign = pairs.get((row, column)), 1
            if pair is None:
                pair, sign = pairs.get((column, row)), -1
            if pair is None:
                cells.append("")
                continue
            low, high = sorted(100 * sign * bound for bound in pair.interval)
            strong = "<b>" if pair.p_value < 0.05 else "<b class='weak'>"
            p_value = _text(format_p(pair.p_value))
            p_value = p_value if p_value.startswith("&lt;") else f"= {p_value}"
            cells.append(
                Html(
                    f"{strong}{_signed(100 * sign * pair.difference)}</b>"
                    f'<span class="small">{_signed(low)} to {_signed(high)}<br>p {p_value}</span>'
                )
            )
        rows.append(cells)
    text = (
        "EER of the row minus that of the column, in percent points, with its 95 % interval and two-sided p-value from a bootstrap that "
        "draws the same trials for both; bold below 0.05."
    )
    if len(report.pairs) > 1:
        text += f" The {len(report.pairs)} p-values are not corrected for their number."
    return Html(f"<p>{text}</p>\n{_table(['', *names], rows, kind='matrix')}")


def _plots(systems: Sequence[Evaluation]) -> Html:
    legend = "".join(
        f"<li>{_swatch(number)}{_text(system.system)} <span class='small'>{_percent(system.eer)} %</span></li>"
        for number, system in enumerate(systems)
    )
    figures = [
        f"<figure>\n{det_svg(systems)}\n<figcaption>DET, on the scale of normal deviates; the dot is the EER."
        f'<ul class="legend">{legend}</ul></figcaption>\n</figure>'
    ]
    for number, system in enumerate(systems):
        caption = (
            '<span class="key"><span class="box bonafide"></span>bona fide</span> <span class="key"><span class="box spoof"></span>'
            "spoof;</span> dashed: threshold of the EER. "
            "The outermost bars hold what lies beyond them, 0.05 % at most."
        )
        figures.append(
            f"<figure>\n{distribution_svg(system, str(number))}\n"
            f"<figcaption><b>{_text(system.system)}</b> {caption}</figcaption>\n</figure>"
        )
    return Html(f'<div class="plots">\n{chr(10).join(figures)}\n</div>')


def _breakdowns(systems: Sequence[Evaluation]) -> Html:
    """One section per breakdown: a table of all systems where it has one field, one matrix per system where it has two."""
    single, crossed = [], []
    for names in dict.fromkeys(table.fields for system in systems for table in system.tables):
        of = [(system, Table(names, rows)) for system in systems if (rows := system.rows(*names))]
        title = "By " + " and ".join(name.replace("_", " ") for name in names)
        if names == OFFICIAL:
            title = "Official table"
        if len(names) == 1:
            folded = True if max(len(table.rows) for _, table in of) > _LONG else None
            single.append(_section(title, _by_one(names[0], of, len(systems) > 1), folded=folded))
            continue
        text = "<p class='small'>EER in %, and below it the numbers of bona fide + spoofed trials; – where a class has none.</p>"
        matrices = []
        for system, table in of:
            named = f"<h3>{_text(system.system)}</h3>\n" if len(systems) > 1 else ""
            matrices.append(f"{named}{_by_two(table)}")
        crossed.append(_section(title, text, *matrices, folded=len(systems) > 1 or len(of[0][1].rows) > 10 * _LONG))
    beside = f'<div class="beside">\n{chr(10).join(single)}\n</div>' if single else ""
    return Html("\n".join([beside, *crossed]))


def _by_one(name: str, of: Sequence[tuple[Evaluation, Table]], several: bool) -> Html:
    columns = [{row.group[name]: row for row in table.rows} for _, table in of]
    values = dict.fromkeys(value for column in columns for value in column)
    worst = max((row.eer for column in columns for row in column.values() if row.eer is not None), default=0)
    if not several:
        return _of_one_system(name, list(columns[0].values()), worst)
    rows = []
    for value in values:
        found = [column.get(value) for column in columns]
        most = max((row for row in found if row), key=lambda row: row.num_bonafide + row.num_spoof)
        trials = (most.num_bonafide, most.num_spoof)
        cells = [
            _heat(row, worst, with_interval=True, with_counts=(row.num_bonafide, row.num_spoof) != trials)
            if row
            else "–"
            for row in found
        ]
        rows.append([value, *cells, _counts(most)])
    head = [name.replace("_", " "), *(system.system for system, _ in of), "bona fide + spoof"]
    return _table(head, rows)


def _of_one_system(name: str, rows: Sequence[Row], worst: float) -> Html:
    """Columns that no row has a value for are left out."""
    columns = [
        (name.replace("_", " "), lambda row: row.group[name]),
        ("EER %", lambda row: _heat(row, worst)),
        ("95 % interval", lambda row: _interval(row.interval)),
        ("minDCF", lambda row: "" if row.min_dcf is None else f"{row.min_dcf:.4f}"),
        ("bona fide", lambda row: _count(row.num_bonafide)),
        ("spoof", lambda row: _count(row.num_spoof)),
    ]
    filled = [(head, cell) for head, cell in columns if any(cell(row) for row in rows)]
    return _table([head for head, _ in filled], [[cell(row) for _, cell in filled] for row in rows])


def _by_two(table: Table) -> Html:
    rows, columns = ([*sorted({row.group[name] for row in table.rows})] for name in table.fields)
    cells = {tuple(row.group.values()): row for row in table.rows}
    worst = max((row.eer for row in table.rows if row.eer is not None), default=0)
    body = [
        [value, *(_heat(cells.get((value, column)), worst, with_counts=True) for column in columns)] for value in rows
    ]
    return _table([" / ".join(name.replace("_", " ") for name in table.fields), *columns], body, kind="matrix")


def _heat(row: Row | None, worst: float, *, with_interval: bool = False, with_counts: bool = False) -> Html:
    """An EER on a ground that is the stronger the nearer it comes to the worst of its table."""
    if row is None:
        return Html("")
    small = [_interval(row.interval)] if with_interval and row.interval else []
    small += [_counts(row)] if with_counts else []
    share = round(100 * row.eer / worst) if row.eer and worst else 0
    note = f'<span class="small">{"<br>".join(small)}</span>' if small else ""
    return Html(f'<span class="heat" style="--heat: {share}%">{_percent(row.eer)}{note}</span>')


def _counts(row: Row) -> Html:
    return Html(f"{_count(row.num_bonafide)} + {_count(row.num_spoof)}")


def _provenance(report: Report) -> Html:
    entries = []
    for entry in report.inputs:
        digests = [("SHA-256", entry.get("sha256")), ("SHA-256 of its trials", entry.get("trials_sha256"))]
        shown = "".join(
            f'<br><span class="small">{what}</span> <code>{digest}</code>' for what, digest in digests if digest
        )
        entries.append(f"<li>{_text(entry['kind'])}: <b>{_text(entry['path'])}</b>{shown}</li>")
    text = "That of the trials is of the sorted lines “utterance label phase”, whatever files and order the key is kept in."
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    return Html(
        f'<ul class="inputs">\n{chr(10).join(entries)}\n</ul>\n<p class="small">{text}</p>\n<p>{_text(versions)}</p>'
    )
