"""The settings of windows and server, which are flags of `nes2net listen`, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from nes2net.lib.shell.commands import Count, Flag, Ranged, Seconds
from nes2net.lib.web.service_log import LogKind

#: What happens if windows arrive faster than they can be scored. ``"all"``: every window is scored, and the source
#: waits. ``"latest"``: old windows are skipped.
Keep: TypeAlias = Literal["all", "latest"]
#: Voice activity detection. ``"weigh"``: the weight of a window is its share of speech, or 0 below a quarter.
#: ``"skip"``: the same, but windows of weight 0 are not scored. ``"none"``: all weights are 1.
Vad: TypeAlias = Literal["weigh", "skip", "none"]


@dataclass(frozen=True, kw_only=True)
class LiveWindows(Ranged):
    """The windows.

    Args:
        window: seconds; as in training, or as the calibration
        hop: seconds from one window to the next
        keep: if computing is slow: all windows, or the latest
        max_behind: with latest: seconds that may wait
        latch: an alarm lasts until the end
        vad: windows without speech
    """

    window: Seconds | None = None
    hop: Seconds = 1.0
    keep: Keep | None = None
    max_behind: Seconds = 5.0
    latch: bool = False
    vad: Vad = "weigh"


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """A server for WebSocket clients.

    Args:
        clients: most clients at once
        allow_name: a further name of this machine
        allow_origin: a site whose pages may use this server
        idle: seconds without a message that end a session
        state: folder by which calls continue after a restart
        drain: seconds for calls after SIGTERM
        log: json: a line for a call or alarm
    """

    clients: Count = 4
    allow_name: Annotated[Sequence[str], Flag("NAME", repeated=True)] = ()
    allow_origin: Annotated[Sequence[str], Flag("URL", repeated=True)] = ()
    idle: Seconds = 30.0
    state: Annotated[str | None, Flag("FOLDER")] = None
    drain: Annotated[float, Flag("S", minimum=0)] = 0.0
    log: LogKind = "text"
