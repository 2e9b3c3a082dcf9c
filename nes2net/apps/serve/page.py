"""Build the page with Gradio: users drop files or record speech, listen, and see the scores over time."""

from __future__ import annotations

import base64
import csv
import functools
import io
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import gradio
import numpy as np
from fastapi import FastAPI
from gradio.routes import file_upload_statuses

from nes2net.actions.prediction import COLUMNS, as_columns
from nes2net.apps.serve.answers import Info
from nes2net.apps.serve.decoding import NotDecoded
from nes2net.apps.serve.desk import Closed, Desk, Scored, display_name
from nes2net.apps.serve.drops import DropsCheck
from nes2net.apps.serve.observing import LOGGER
from nes2net.apps.serve.uploads import Uploads
from nes2net.lib.errors import InputError, settings_called, worded
from nes2net.lib.files import json_text
from nes2net.lib.templates import page_templates
from nes2net.lib.terminal import printable, printable_name
from nes2net.lib.text_files import as_cell
from nes2net.lib.times import clock, readable_duration
from nes2net.metrics.localisation.stretches import drawn_places
from nes2net.scoring.track import LEAST_SPAN, Track

#: The box on the page for recordings whose channels are to be scored one by one.
EACH_CHANNEL = "score each channel by itself"
#: Largest number of files that are scored after one drop, and of channels of a file.
MOST_FILES = 100
_MOST_POINTS = 400  # largest number of points of the score line over the picture
_BOX_STEPS = 1200  # fake stretches with gaps below 1/1200 of the duration are drawn as one box
_MOST_REMEMBERED = 200  # largest number of sessions, drops and uploads that Gradio remembers; more than may wait
_MOST_MESSAGES = 20  # largest number of messages that wait for a page which does not fetch them
_MOST_LISTED = 200  # largest number of fake stretches in the list below the picture
_BASIS = ("prior", "operating_point", "llr_threshold")  # columns of the downloaded table with facts of the calibration
# What the place of the results holds before the first upload.
_EMPTY = """<div class="n2 n2-empty">
<h2>What you get for each recording</h2>
<ul>
<li>the answer of the detector: its score, and a decision if the page was started with a calibration</li>
<li>the waveform and the spectrogram, with the score of each window over time</li>
<li>a player that starts at the place in the picture on which you click</li>
<li>all figures as CSV and JSON</li>
</ul>
<p>No recording at hand? <button type="button" data-n2-sample>Score synthetic vowels</button>, which your browser makes.</p>
</div>"""
#: The scores of a recording; or its name, and the error.
Result: TypeAlias = Scored | dict[str, str]
_FONTS = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
_TEMPLATES = page_templates("nes2net.apps.serve")
_TEMPLATES.filters["number"] = lambda pattern, value: (pattern % value).replace("-", "−")
_TEMPLATES.filters["time"] = functools.partial(readable_duration, exact=True)
_TEMPLATES.filters["worded"] = settings_called({"channel": EACH_CHANNEL})(worded)


def mount_page(app: FastAPI, desk: Desk, uploads: Uploads, server_facts: Info) -> gradio.Blocks:
    """Mount the page at the root of ``app``, and return the page; first call ``set_up_gradio(desk.folder)``.

    Args:
        server_facts: facts about the server, for the templates of the page.
    """
    blocks = _build_page(desk, uploads, server_facts)
    events = {number: isinstance(event.inputs[0], gradio.File) for number, event in blocks.fns.items()}
    sessions = blocks._queue.pending_messages_per_session
    app.add_middleware(DropsCheck, events=events, sessions=sessions, folder=uploads.folder)
    fonts, monospaced = _FONTS
    theme = gradio.themes.Default(primary_hue="slate", neutral_hue="slate", font=fonts, font_mono=monospaced)
    gradio.mount_gradio_app(
        app,
        blocks,
        path="/",
        footer_links=[],
        allowed_paths=[],
        max_file_size=desk.limits.max_bytes,
        enable_monitoring=False,
        ssr_mode=False,
        theme=theme,
        css=_resource("page.css"),
        head=f"<script>{_resource('page.js')}</script>",
    )
    return blocks


def forget_requests(blocks: gradio.Blocks) -> None:
    """Shorten tables of Gradio that grow with each upload and drop, and messages that nobody fetches."""
    queue = blocks._queue
    tables: list[dict[str, Any]] = [queue.pending_event_ids_session, queue.event_ids_to_events]
    tables += [file_upload_statuses._statuses, file_upload_statuses._signals]
    for table in tables:
        for key in list(table)[:-_MOST_REMEMBERED]:
            del table[key]
    for event_ids in queue.pending_event_ids_session.values():
        if len(event_ids) > _MOST_REMEMBERED:
            event_ids.clear()
    for messages in queue.pending_messages_per_session.values():
        while messages.qsize() > _MOST_MESSAGES:
            messages.get_nowait()
    blocks.upload_file_set.clear()


def _accept_uploads_only(component: gradio.components.Component, folder: Path) -> None:
    """Refuse a URL that a request gives in place of an upload; Gradio would download it."""

    async def take_upload(url_or_file_path: str | Path | None) -> str | None:
        if url_or_file_path is not None:
            url_or_file_path = str(Path(url_or_file_path).resolve())
            # Gradio stores an upload as FOLDER/HASH/NAME.
            if Path(url_or_file_path).parent.parent != folder:
                raise gradio.Error("not an uploaded file", print_exception=False)
        return url_or_file_path

    component.async_move_resource_to_block_cache = take_upload  # type: ignore[method-assign]


def _build_page(desk: Desk, uploads: Uploads, server_facts: Info) -> gradio.Blocks:
    template = _TEMPLATES.get_template("results.html.jinja")

    def score_drop(
        paths: list[str] | str | None,
        each_channel: bool,
        request: gradio.Request,
        progress: gradio.Progress = gradio.Progress(),  # noqa: B008
    ) -> Iterator[tuple[str, Any]]:
        """Score the files of a drop, or each of their channels; Gradio calls this with the paths of the files.

        Yields:
            A pair after each file. The first value is HTML with the results so far. The second
            value updates the input component. All updates before the last leave the component
            unchanged. The last update is None, which empties the component.
        """
        paths = [paths] if isinstance(paths, str) else paths or []
        results = []
        rows = []

        def check() -> None:
            if not any(event.alive for event in _running_events(blocks) if event.session_hash == request.session_hash):
                raise Closed("the page was closed")

        try:
            with uploads.move_to_drop(paths) as uploaded:
                for number, path in enumerate(paths):
                    source = uploaded.get(path)
                    for channel in range(MOST_FILES) if each_channel else [None]:
                        result = _score_upload(desk, path, source, channel, number, len(paths), progress, check)
                        if result is None:
                            break
                        results.append(result)
                        rows.append(_template_facts(result))
                        if isinstance(result, dict):  # the other channels would fail alike
                            break
                    if number + 1 < len(paths):
                        yield (
                            template.render(rows=rows, about=server_facts, unscored=len(paths) - number - 1),
                            gradio.skip(),
                        )
            shown = template.render(rows=rows, about=server_facts, downloads=_download_urls(results))
        except BaseException as error:
            desk.withdraw(_player_tokens(results))
            if isinstance(error, Closed):
                raise gradio.Error(str(error), print_exception=False) from None
            raise
        # Offer the player files only now: scoring many files may take longer than a file is offered.
        desk.offer(_player_tokens(results))
        yield shown, None

    with gradio.Blocks(title="nes2net", analytics_enabled=False) as blocks:
        gradio.HTML(_TEMPLATES.get_template("head.html.jinja").render(about=server_facts), apply_default_css=False)
        with gradio.Row():
            dropped = gradio.File(
                label="Recordings",
                file_count="multiple",
                height=170,
                elem_id="n2-files",
                scale=3,
                min_width=280,
            )
            spoken = gradio.Audio(
                label="Microphone", sources=["microphone"], type="filepath", elem_id="n2-microphone", scale=2, buttons=[],
                editable=False, min_width=280,
            )  # fmt: skip
        each_channel = gradio.Checkbox(label=EACH_CHANNEL, elem_id="n2-channels")
        shown = gradio.HTML(_EMPTY, elem_id="n2-results", min_height=120, apply_default_css=False)
        _accept_uploads_only(dropped, uploads.folder)
        _accept_uploads_only(spoken, uploads.folder)
        private: dict[str, Any] = {"api_visibility": "private", "show_progress_on": shown, "concurrency_id": "desk"}
        dropped.upload(score_drop, [dropped, each_channel], [shown, dropped], **private)
        spoken.stop_recording(score_drop, [spoken, each_channel], [shown, spoken], **private)
    # Mark the page as launched, because before the launch Gradio accepts any path of this machine as an upload.
    blocks.has_launched = blocks.is_running = True
    blocks.state_session_capacity = _MOST_REMEMBERED
    blocks.queue(max_size=desk.limits.waiting, default_concurrency_limit=desk.limits.workers, api_open=False)
    blocks._queue.ANALYTICS_MAX_EVENTS = _MOST_REMEMBERED
    uploads.queued_paths = lambda: _queued_paths(blocks)
    return blocks


def _queued_paths(blocks: gradio.Blocks) -> Iterator[str]:
    lines = list(blocks._queue.event_queue_per_concurrency_id.values())
    waiting = [event for line in lines for event in list(line.queue)]
    for event in (*waiting, *_running_events(blocks)):
        value = event.data.data[0] if event.data and event.data.data else None
        items = value if isinstance(value, list) else [value]
        paths = [item.get("path") for item in items if isinstance(item, dict)]
        yield from {path for path in paths if isinstance(path, str)}


def _running_events(blocks: gradio.Blocks) -> list[Any]:
    return list(chain.from_iterable(filter(None, list(blocks._queue.active_jobs))))


def _score_upload(
    desk: Desk,
    path: str,
    source: Path | None,
    channel: int | None,
    number: int,
    count: int,
    progress: gradio.Progress,
    check: Callable[[], object],
) -> Result | None:
    """Score one file of a drop, or one of its channels.

    Args:
        path: path under which the file was uploaded; its last part is shown.
        source: present path of the file; None if the file was removed.
        channel: counted from 0; None for the mean of all channels.
        number: index of the file in the drop, from 0.
        count: number of files in the drop.

    Returns:
        The result, or the name of the file and the error; None if there is no such channel.
    """
    suffix = "" if channel is None else f", channel {channel}"
    name = printable_name(display_name(Path(path).name)) + suffix
    title = name if count == 1 else f"{number + 1} of {count}, {name}"

    def show_progress(share: float, step: str) -> None:
        progress((number + share) / count, desc=f"{title}: {step}")

    check()
    try:
        if number >= MOST_FILES:
            raise InputError(f"not scored: {MOST_FILES} files are taken at once")
        if source is None:
            raise InputError("was removed already: drop it again")
        return desk.score(source, name, look=True, channel=channel, progress=show_progress, check=check)
    except Closed:
        raise
    except InputError as error:
        if channel and isinstance(error, NotDecoded):  # channel 0 was decoded, so only this channel is missing
            return None
        return {"file": name, "error": str(error)}
    except Exception as error:
        LOGGER.exception("a recording was not scored")
        return {"file": name, "error": f"not scored: the server failed ({type(error).__name__})"}


def _player_tokens(results: Sequence[Result]) -> list[str]:
    return [result.token for result in results if isinstance(result, Scored)]


def _template_facts(result: Result) -> dict[str, Any]:
    if isinstance(result, dict):
        return {"name": result["file"], "error": result["error"]}
    along = result.judged.along
    fakes = _fake_facts(result)
    boxes = []
    if fakes is not None:
        boxes = fakes["boxes"]
    elif along and along.decision == "spoof" and along.stretch and along.stretch.stands_out:
        boxes = [_box_of(along.stretch.start, along.stretch.end, result.judged.duration)]
    judged = result.judged
    return {
        "name": result.name,
        "token": result.token,
        "error": "",
        "score": judged.value,
        "track": judged.track,
        "judged": judged.judged,
        "num_samples": judged.samples,
        "remark": judged.remarks,
        "meaning": judged.decider and {"decision": judged.decision, "decider": judged.decider},
        "is_mean": judged.is_mean,
        "picture": _picture_facts(result),
        "fakes": fakes,
        "along": along.words if along else [],
        "in_part": along is not None and along.in_part,
        "boxes": boxes,
    }


def _picture_facts(scored: Scored) -> dict[str, Any]:
    """Collect what the template draws over the picture, and the labels of both axes.

    Times are placed in ‰ of the duration, and scores in % of the height from the top.
    """
    assert scored.picture is not None  # the page always asks the desk for a picture
    track = scored.judged.track
    assert track is not None
    decider = scored.judged.decider
    picture = scored.picture
    times, low, middle, high = thin_out(track)
    ticks = _time_labels(track.duration)
    threshold = decider.threshold if decider else None
    usual = decider.usual_scores if decider else None
    lowest, highest = score_axis(track, threshold)

    def x(seconds: float) -> float:
        return round(1000 * seconds / track.duration, 2)  # ‰ of the width

    def y(score: float) -> float:
        return round(100 * (highest - score) / (highest - lowest), 2)  # % of the height, from the top

    def line(values: Sequence[float]) -> list[str]:
        return [f"{x(t)},{y(v)}" for t, v in zip(times, values)]

    # Make the outline of the waveform, in a box of 1000 × 100.
    loudest = max(1e-4, float(np.abs([picture.low, picture.high]).max()))
    columns = np.linspace(0, 1000, len(picture.low)) if len(picture.low) > 1 else np.array([500.0])

    def outline(samples: np.ndarray) -> list[str]:
        return [f"{column:.1f},{50 - 48 * sample / loudest:.1f}" for column, sample in zip(columns, samples)]

    band = " ".join([*line(low), *reversed(line(high))]) if len(track) > _MOST_POINTS else ""
    return {
        "spectrogram": base64.b64encode(picture.spectrogram).decode(),
        "waveform": " ".join([*outline(picture.high), *reversed(outline(picture.low))]),
        "line": " ".join(line(middle)),
        "band": band,
        "threshold": None if threshold is None else y(threshold),
        "usual": None if usual is None else (y(usual[1]), round(y(usual[0]) - y(usual[1]), 2)),
        "levels": [(value, y(value)) for value in _score_labels(lowest, highest)],
        "ticks": [(clock(t, int(any(t % 1 for t in ticks))), x(t) / 10) for t in ticks],
        "points": json_text([[round(t, 3), round(v, 4)] for t, v in zip(times, middle)]),
    }


def _box_of(start: float, end: float, duration: float) -> tuple[float, float]:
    """Return place and width of the box of a stretch in ‰ of the duration; ``start`` and ``end`` are in seconds."""
    return round(1000 * start / duration, 2), round(1000 * (end - start) / duration, 2)


def _fake_facts(scored: Scored) -> dict[str, Any] | None:
    if scored.fakes is None:
        return None
    stretches = scored.fakes.stretches
    duration = scored.judged.duration
    listed = [(clock(s.start, 2), clock(s.end, 2), s.score, s.start) for s in stretches[:_MOST_LISTED]]
    return {
        "listed": listed,
        "more": len(stretches) - len(listed),
        "boxes": [_box_of(start, end, duration) for start, end in drawn_places(stretches, duration / _BOX_STEPS)],
        "share": sum(s.end - s.start for s in stretches) / duration,
        "rule": scored.fakes.rule,
        "resolution_ms": scored.fakes.resolution_ms,
    }


def thin_out(track: Track) -> tuple[list[float], list[float], list[float], list[float]]:
    """Reduce a track to a line that can be drawn: join neighbouring windows into at most ``_MOST_POINTS`` groups.

    Returns:
        For each group the mean time in seconds, and the lowest, the median and the highest score. A
        point is added at both ends of the recording, so that the line covers the whole recording.
    """
    groups = np.array_split(np.arange(len(track)), min(len(track), _MOST_POINTS))
    times = [float(track.times[group].mean()) for group in groups]
    columns = [[float(f(track.scores[group])) for group in groups] for f in (np.min, np.median, np.max)]
    low, middle, high = ([values[0], *values, values[-1]] for values in columns)
    return [0.0, *times, track.duration], low, middle, high


def score_axis(track: Track, threshold: float | None) -> tuple[float, float]:
    """Choose the ends of the score axis around all scores and the threshold, at least LEAST_SPAN apart."""
    shown_scores = [float(track.scores.min()), float(track.scores.max())]
    if threshold is not None:
        shown_scores.append(threshold)
    middle = (min(shown_scores) + max(shown_scores)) / 2
    half = max(LEAST_SPAN, 1.15 * (max(shown_scores) - min(shown_scores))) / 2
    return middle - half, middle + half


def _score_labels(lowest: float, highest: float) -> list[float]:
    rough = (highest - lowest) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999))
    margin = 0.06 * (highest - lowest)
    first = np.ceil((lowest + margin) / step)
    last = np.floor((highest - margin) / step)
    return [round(float(n * step), 6) + 0.0 for n in np.arange(first, last + 1)]  # + 0.0 turns -0 into 0


def _time_labels(duration: float) -> list[float]:
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
    step = next((step for step in steps if duration / step <= 6), 14400)
    return [float(t) for t in np.arange(0, duration * 0.85, step)]  # no label near the end: a narrow screen lacks room


def _download_urls(results: Sequence[Result]) -> dict[str, str]:
    rows: list[dict[str, Any]] = [item if isinstance(item, dict) else item.row() for item in results]
    lines = []
    for row in rows:
        lines.append({**{key: row["basis"][key] for key in _BASIS if "basis" in row}, **as_columns(row)})
    columns = [column for column in (*COLUMNS, *_BASIS) if any(column in line for line in lines)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: as_cell(value) for key, value in line.items()} for line in lines)
    return {
        "csv": _data_url("text/csv", text.getvalue()),
        "json": _data_url("application/json", json_text(rows, indent=1, ensure_ascii=False)),
    }


def _data_url(kind: str, text: str) -> str:
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(printable(text).encode()).decode()}"


def _resource(name: str) -> str:
    return (files("nes2net.apps.serve") / name).read_text(encoding="utf-8")
