"""`nes2net listen`: score live audio while it arrives, from a pipe, a microphone or WebSocket clients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from nes2net.actions.flags import Deciding, Loading, ModelName
from nes2net.apps.listen.settings import LiveWindows, ServerSettings
from nes2net.lib.errors import InputError, refuse
from nes2net.lib.output.terminal import print_note, say
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.process.installation import optional
from nes2net.lib.process.stop_signals import StopSignals
from nes2net.lib.shell.commands import Count, Flag, command_facts

if TYPE_CHECKING:
    from nes2net.apps.listen.channel import Line
    from nes2net.apps.listen.listening import LiveJudge
    from nes2net.apps.listen.sources import LiveSource


@dataclass(frozen=True)
class AudioInput:
    """The audio.

    Args:
        encoding: s16le (default), s16be, f32le, mulaw or alaw
        rate: needed for raw samples; 16000 for the microphone
        channels: channels of raw samples or microphone
        split: names of channels, each judged by itself: A,B
        speed: 1 is real time, inf is at once
    """

    encoding: Annotated[Literal["s16le", "s16be", "f32le", "mulaw", "alaw"] | None, Flag("ENCODING")] = None
    rate: Annotated[float | None, Flag("HZ", minimum=1)] = None
    channels: Count = 1
    split: Annotated[str | None, Flag("NAMES")] = None
    speed: Annotated[float, Flag(minimum=0.001, maximum=math.inf)] = 1.0


@command_facts(
    resumes=False,
    names={"host": "--serve", "port": "--serve", "channel": "--split"},
)
def listen(
    source: str | None = None,
    *,
    model: ModelName,
    loading: Loading,
    deciding: Deciding,
    audio: Annotated[AudioInput, NotWith("serve")],
    windows: LiveWindows,
    json_: bool = False,
    serve: Annotated[str | None, Flag("[HOST:]PORT")] = None,
    server: Annotated[ServerSettings, UsedWith("serve")],
) -> None:
    """Score live audio while it arrives, until it ends or Ctrl-C.

    Example:
        nes2net listen microphone --model detector.pth
        parec --raw --rate 8000 | nes2net listen - --rate 8000 --model detector.pth

    Args:
        source: - (standard input), pipe, microphone or recording
        json_: print one JSON object per line
        serve: listen for WebSocket clients in place of a source
    """
    with StopSignals() as stop:
        _ = deciding.decider  # a wrong calibration is found before PyTorch is imported
        from nes2net.apps.listen.sources import open_source

        if (source is None) == (serve is None):
            raise InputError("name one source, such as - for the standard input, or `serve`, and not both")
        load = partial(_load_judge, model, loading, deciding, windows, serve is not None)
        if serve is not None:
            for library in ("websockets", "fastapi", "uvicorn", "prometheus_client"):
                optional(library, f"clients need {library}", "listen")
            _serve(load, Path(model).name, serve, server, stop)
            return
        opened_source = open_source(str(source), **vars(audio))
        stop.check()
        _listen(load(), opened_source, json_, stop)


def _load_judge(
    model: str, loading: Loading, deciding: Deciding, windows: LiveWindows, calls_name_people: bool
) -> LiveJudge:
    from nes2net.apps.listen.listening import LiveJudge
    from nes2net.data.audio.waveform import SAMPLE_RATE
    from nes2net.scoring.calibrated import check_decider, default_window

    calibrated = deciding.decider
    person = deciding.person_decider()
    is_nameless = person is not None and not person.name
    refuse((is_nameless and not calls_name_people, "`person` must name who is claimed to speak: STORE:NAME"))
    scorer = loading.scorer(model)
    window = windows.window or default_window(scorer, calibrated)
    calibration = deciding.calibration and Path(deciding.calibration).name
    judge = LiveJudge(
        scorer, Path(model).name, person or calibrated, calibration, **{**vars(windows), "window": window}
    )
    if calibrated is not None:
        for note in check_decider(scorer, calibrated, round(window * SAMPLE_RATE)):
            print_note(note)
    return judge


def _listen(judge: LiveJudge, source: LiveSource, as_json: bool, stop: StopSignals) -> None:
    from nes2net.apps.listen.listening import MAX_WAIT, Listening
    from nes2net.apps.listen.words import heading, in_words
    from nes2net.lib.storage.files import json_text

    session = judge.session(source.rate, source.encoding, source.names, source.is_live, source.keep)
    listening = Listening(session, source.blocks)
    stop.action = listening.stop
    stop.check()
    write: Callable[[Line], str] = in_words
    if as_json:
        write = json_text
        say(json_text(session.ready))
    else:
        say(*heading(session.ready, session.channels[0].evidence))
    try:
        for line in listening.lines():
            say(write(line))
    finally:
        listening.stop()
        listening.wait(MAX_WAIT)


def _serve(
    load: Callable[[], LiveJudge], model: str, address: str, settings: ServerSettings, stop: StopSignals
) -> None:
    from nes2net.apps.listen.server import Calls
    from nes2net.lib.web.http_server import address_of, address_to_serve, announce, listening_socket, names_at
    from nes2net.lib.web.service_log import logging_as

    host, port = address_to_serve(address)
    with listening_socket(host, range(port, port + 1)) as listener, logging_as(settings.log):  # only this port
        tell_ready = partial(announce, model, address_of(listener, host, "ws"), host, "server")
        Calls(model, settings, names_at(host)).serve(listener, load, tell_ready, stop)
