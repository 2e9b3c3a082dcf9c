"""Answer the page in lines of JSON: progress, then what the page shows of a recording."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeAlias

from anyio import CancelScope

from nes2net.actions.prediction import COLUMNS, as_columns
from nes2net.apps.serve.decoding import NotDecoded
from nes2net.apps.serve.desk import Closed, Desk, Progress, ScoredUpload
from nes2net.apps.serve.uploads import Upload
from nes2net.lib.errors import settings_called, with_flag_names
from nes2net.lib.storage.files import json_text
from nes2net.lib.storage.text_files import as_cell
from nes2net.lib.web.server import in_thread

#: The box on the page for recordings whose channels are to be scored one by one.
EACH_CHANNEL = "score each channel by itself"
#: Largest number of channels of a file that are scored one by one.
MAX_CHANNELS = 100
_BASIS = ("prior", "operating_point", "llr_threshold")  # columns of the downloaded table with facts of the calibration
_FIGURES = 4  # decimal places of the waveform, whose full scale is 1
#: Plain data that the page gets as a line of JSON.
Line: TypeAlias = dict[str, Any]


async def lines_of(desk: Desk, upload: Upload, each_channel: bool) -> AsyncIterator[str]:
    """Score a recording, or each of its channels, and yield lines of JSON for the page meanwhile.

    A line has the keys ``share`` and ``step`` of :data:`nes2net.apps.serve.desk.Progress`, or is an
    answer: ``row`` of :meth:`Scored.row`, or the keys ``file`` and ``error``; ``columns`` are its
    cells in a table. If nobody takes the lines any more, the scoring ends.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[Line | None] = asyncio.Queue()
    is_closed = threading.Event()

    def tell(line: Line | None) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, line)

    def check() -> None:
        if is_closed.is_set():
            raise Closed("the page was closed")

    def progress(share: float, step: str) -> None:
        tell({"share": share, "step": step})

    def score() -> None:
        try:
            for answer in _answers(desk, upload, each_channel, progress, check):
                tell(answer)
        finally:
            tell(None)  # the end

    scoring = asyncio.ensure_future(in_thread(score))
    try:
        while (line := await lines.get()) is not None:
            yield json_text(line) + "\n"
    finally:
        is_closed.set()
        with CancelScope(shield=True):  # the thread uses the upload until its next check()
            await scoring


def _answers(
    desk: Desk, upload: Upload, each_channel: bool, progress: Progress, check: Callable[[], object]
) -> Iterator[Line]:
    name = upload.name
    channel = None
    try:
        with upload.store(desk) as source:
            for channel in range(MAX_CHANNELS) if each_channel else [None]:
                if channel is not None:
                    name = f"{upload.name}, channel {channel}"
                scored = desk.score(
                    source, name, for_page=True, channel=channel, person=upload.person, progress=progress, check=check
                )
                yield _scored_row(scored)
    except Exception as error:
        # If channel 0 was decoded, and a later channel is not, there is no such channel.
        if not (channel and isinstance(error, NotDecoded)):
            row = {"file": name, "error": desk.observer.failure(error)[1]}
            yield {"row": row, "columns": _table_cells(row)}


def _scored_row(scored: ScoredUpload) -> Line:
    assert scored.picture is not None  # the page always asks the desk for a picture
    row = scored.row()
    with settings_called({"channel": EACH_CHANNEL}):
        row |= {key: with_flag_names(row[key]) for key in ("remark", "reason") if isinstance(row.get(key), str)}
    decider = scored.judged.decider
    decision = scored.judged.decision
    # static/page.js reads these keys.
    return {
        "row": row,
        "columns": _table_cells(row),
        **({"verdict": _verdict(row)} if decision else {}),
        "why": decision and decision.reason and row["reason"],
        "along": decision.words if decision else [],
        "basis": scored.basis,
        "usual": decider.usual_scores if decider else None,
        "low": scored.picture.low.astype(float).round(_FIGURES).tolist(),
        "high": scored.picture.high.astype(float).round(_FIGURES).tolist(),
        "spectrogram": base64.b64encode(scored.picture.spectrogram).decode(),
        "player": scored.token,
    }


def _verdict(row: Line) -> str:
    in_part = ", in part" if row.get("along", {}).get("in_part") else ""
    return row["decision"].replace("bonafide", "bona fide") + in_part


def _table_cells(row: Line) -> Line:
    cells = as_columns(row)
    if isinstance(basis := row.get("basis"), dict):
        cells |= {name: basis.get(name) for name in _BASIS}
    return {name: as_cell(cells.get(name)) for name in (*COLUMNS, *_BASIS)}
