"""A CSV file of results, with a row for each detector and corpus."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from nes2net.evaluation.result import Result
from nes2net.evaluation.tables import EER
from nes2net.lib.errors import InputError
from nes2net.lib.output.terminal import printable_name
from nes2net.lib.storage.files import exclusive_lock, write_output
from nes2net.lib.storage.text_files import as_cell, read_text


def result_rows(result: Result) -> list[dict[str, object]]:
    """Make a row for each system: column → cell.

    The EER and the ends of its 95 % interval are in percent; ``sha256`` is that of the score file.
    ``published`` (id of the published result) and ``commit`` (of the measuring code) are left empty.

    Raises:
        InputError: if the result has no EERs of recordings.
    """
    header = result.header
    rows = []
    for system, file in zip(result.rows("systems"), header["inputs"]):  # the first inputs are the score files
        name = system.labels["system"]
        interval = system["eer"].interval
        if interval is None:
            break
        low, high = map(EER.write, interval)
        row = {
            "system": name,
            "corpus": header["corpus"],
            "phase": header["phase"],
            "scores": file["path"],
            "source": header["sources"][name].get("checkpoint", ""),
            "published": "",
            "bonafide": int(system.value("num_bonafide")),
            "spoof": int(system.value("num_spoof")),
            "eer": f"{100 * system.value('eer'):.4f}",
            "low": low,
            "high": high,
            "sha256": file["sha256"],
            "commit": "",
        }
        rows.append(row)
    if not rows:
        raise InputError(
            "`append` stores EERs of recordings, which the result lacks: remove it, or add eer to `metric`"
        )
    return rows


def append_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Add ``rows`` to a CSV file, atomically; a row that the file has is not added again.

    Raises:
        InputError: if the file cannot be read or written, has other columns, or another process
            adds rows.
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(rows[0])
    for row in rows:
        table.writerow([as_cell(printable_name(cell)) for cell in row.values()])
    columns, *lines = text.getvalue().splitlines()
    with exclusive_lock(Path(f"{path}.lock"), f"another command adds rows to {path}: run this command again"):
        stored_lines = [columns]
        if path.is_file():
            stored_lines = read_text(path).splitlines()
        if stored_lines[:1] != [columns]:
            raise InputError(f"{path}: begins with {stored_lines[:1]}, not with {columns}: name another file")
        unique_lines = dict.fromkeys([*stored_lines, *lines])
        write_output(path, "\n".join(unique_lines) + "\n")
