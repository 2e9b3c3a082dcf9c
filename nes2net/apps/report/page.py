"""Write the report as one HTML page without scripts or links; it contains its styles, picture and sound.

The template escapes all text from files, and the page's own policy forbids scripts and requests. The
same inputs give the same bytes, except for the date.
"""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from shlex import quote

import numpy as np
import soundfile
from markupsafe import Markup

from nes2net.apps.report.answer import answer_kind, decided_windows, in_hundred, percent, stretch_of
from nes2net.apps.report.examination import Examination
from nes2net.apps.report.picture import draw
from nes2net.data.audio.packed import AnyRecording
from nes2net.data.audio.read import SAMPLE_RATE, stream_audio
from nes2net.evaluation.origin import training_in_words
from nes2net.evaluation.result import versions
from nes2net.lib.errors import pluralise, readable_size, with_flag_names
from nes2net.lib.output.templates import page_templates
from nes2net.lib.output.terminal import printable
from nes2net.lib.output.times import clock, plain_duration, readable_duration
from nes2net.lib.parts.options import part_names

#: A recording of at most this duration in seconds can be played in the page.
MAX_EXAMINED = 600.0
_MAX_LISTED = 50  # largest number of fake stretches in the list on the page
_FILTERS = {
    "clock": clock,
    "duration": partial(readable_duration, exact=True),
    "in_hundred": in_hundred,
    "part_names": part_names,
    "percent": percent,
    "plain_duration": plain_duration,
    "pluralise": pluralise,
    "quote": quote,
    "readable_size": readable_size,
    "training_in_words": training_in_words,
    "with_flag_names": with_flag_names,
}
_XML_NAMESPACES = re.compile(r' xmlns(:\w+)?="[^"]*"')  # declarations in SVG that HTML does not need


@dataclass(frozen=True)
class ReportProvenance:
    model: str
    """As on the command line."""
    command: str
    """Without the folders of its files."""
    calibration_sha256: str
    """Empty without a calibration."""
    date: str


def html_page(examination: Examination, provenance: ReportProvenance, *, for_paper: bool = False) -> str:
    """Write a report as an HTML page, ``for_paper`` without the player of the recording."""
    environment = page_templates("nes2net.apps.report")
    environment.filters |= _FILTERS
    style = ""
    for package in ("nes2net.evaluation", "nes2net.apps.report"):
        style += (files(package) / "page.css").read_text(encoding="utf-8")
    sound = ""
    if not for_paper and examination.file.duration <= MAX_EXAMINED:
        sound = _sound_url(examination.file.recording)
    page = environment.get_template("page.html.jinja").render(
        style=Markup(style),  # the style is part of this package, so it needs no escaping
        kind=answer_kind(examination.judged),
        stretch=stretch_of(examination.judged),
        num_silent=int((~decided_windows(examination.judged)).sum()),
        examination=examination,
        picture=Markup(_XML_NAMESPACES.sub("", draw(examination))),
        sound=sound,
        for_paper=for_paper,
        max_listed=_MAX_LISTED,
        provenance=provenance,
        versions={**versions(), "torch": version("torch")},
    )
    return printable(page)


def _sound_url(path: AnyRecording) -> str:
    """The detector's input, one channel at 16 kHz, as FLAC."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
        for block in stream_audio(path):
            file.write(np.clip(block, -1, 1))
    return f"data:audio/flac;base64,{base64.b64encode(buffer.getvalue()).decode()}"
