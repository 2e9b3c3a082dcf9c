"""`nes2net report`: write a page or a PDF about one recording, for readers who never read a paper."""

from __future__ import annotations

import shlex
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

from nes2net.actions.flags import Deciding, EvidenceFlags, Loading, ModelName
from nes2net.lib.errors import InputError
from nes2net.lib.output.terminal import printable_name, say_written
from nes2net.lib.shell.commands import Count, File, Flag, FromZero, command_facts, flags_of


@command_facts(
    about="The page says what a detector takes the recording for, and why; how often the detector is wrong; and "
    "what it cannot tell. The page needs no other file. A recording of at most ten minutes can be played "
    "in the page.",
    resumes=False,
)
def report(
    file: Annotated[str, Flag("FILE")],
    *,
    model: ModelName,
    loading: Loading,
    html: File | None = None,
    pdf: File | None = None,
    json_: File | None = None,
    channel: FromZero | None = None,
    deciding: Deciding,
    evidence: EvidenceFlags,
    batch_size: Count | None = None,
) -> int:
    """Report on one recording in plain words.

    Example:
        nes2net report talk.mp3 --model AASIST --calibration c.json --html r.html

    Args:
        file: an audio file
        html: page to write
        pdf: PDF to write, with the same content; needs WeasyPrint
        json_: JSON to write, as of nes2net predict --track --json
        channel: channel to examine, from 0; the mean of all if not given
        batch_size: windows at once (8, or 64 on a GPU)
    """
    from nes2net.apps.report.examination import ExaminedFile, examine
    from nes2net.apps.report.page import ReportProvenance, html_page
    from nes2net.apps.report.pdf import weasyprint, write_pdf
    from nes2net.lib.storage.files import Unchanged, check_writable, json_text, write_output
    from nes2net.lib.storage.outputs import check_files_differ

    outputs = {"--html": html, "--pdf": pdf, "--json": json_}
    paths = {flag: path for flag, path in outputs.items() if path is not None}
    if not paths:
        raise InputError("a report requires a file: name one with `html`, `pdf` or `json`")
    # Check the flags and the files to write before a large model is loaded.
    check_files_differ([file], paths.values())
    for flag, path in paths.items():
        check_writable(path, stream=flag != "--pdf")
    if pdf is not None:
        weasyprint()
    person = deciding.person_decider()
    decider = deciding.decider
    requests = evidence.requests()
    recording = Unchanged(file)  # check() below raises InputError if the file changes meanwhile
    audio = ExaminedFile.of(Path(file), channel)
    detector = loading.load(model)
    examination = examine(audio, detector, person or decider, batch_size, requests)
    # Compose the command for the report, without the folders of its files.
    channel_words = [] if channel is None else ["--channel", str(channel)]
    words = [
        "report",
        _without_folders(file),
        "--model",
        _without_folders(model),
        *channel_words,
        *map(_without_folders, [*flags_of(loading), *flags_of(deciding)]),
    ]
    for request in requests:
        words += ["--evidence", _without_folders(request)]
    for flag, path in paths.items():
        words += [flag, _without_folders(path)]
    provenance = ReportProvenance(
        _without_folders(model),
        printable_name(shlex.join(["nes2net", *words])),
        decider.calibration.sha256 if decider else "",
        datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    )
    page = html_page(examination, provenance) if html is not None else ""
    paper = html_page(examination, provenance, for_paper=True) if pdf is not None else ""
    recording.check()
    if html is not None:
        write_output(html, page)
    if pdf is not None:
        write_pdf(paper, pdf)
    if json_ is not None:
        write_output(json_, json_text(examination.judged.to_row(), indent=1) + "\n")
    for path in paths.values():
        say_written(path)
    return 0


def _without_folders(value: str) -> str:
    """Remove the folders from ``value`` if it is a path, because the report may be passed on to others."""
    parts = []
    for part in value.split(":"):  # STORE:NAME, or NAME:ARGUMENT
        path = Path(part)
        parts.append(path.name if path.is_absolute() or path.exists() else part)
    return ":".join(parts)
