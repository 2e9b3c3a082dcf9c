"""Save the evidence of calls in a folder, so that calls continue after a restart of the server."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from nes2net.apps.listen.channel import Tally
from nes2net.apps.listen.listening import LiveJudge, Session
from nes2net.lib.errors import InputError
from nes2net.lib.storage.files import check_writable, json_text, replacing, writing
from nes2net.lib.storage.plain_data import StrictModel, read_json_as
from nes2net.lib.web.service_log import LOGGER

#: Seconds within which a call may continue from its saved state, after its loss or a restart of the server.
MAX_AGE = 600.0
_REMEDY = "name a folder of yours with `state`"
_MAX_BYTES = 1 << 18  # largest number of bytes in a file; eight channels with embeddings of 512 numbers need 90,000
_MAX_FILES = 1000


class Parked(NamedTuple):
    """A session that a client may resume."""

    session: Session
    since: float  # reading of the monotonic clock when the connection was lost or the state saved


class _SavedCall(StrictModel):
    basis: str  # digest of what evidence depends on besides audio, see SavedCalls._digest_of_settings
    channels: list[Tally]  # in the order of the session's channels
    time: float  # reading of the monotonic clock, which is the same for all processes until this machine restarts


class SavedCalls:
    """A small file per call, without audio, named by a digest of the session's key.

    For the claim of a person, it has the sum of the embeddings of the voice.
    """

    def __init__(self, folder: Path, judge: LiveJudge) -> None:
        with writing(folder, _REMEDY):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_writable(folder / "call.json", _REMEDY)
        self._folder = folder
        self._facts = {
            "detector": judge.scorer.fingerprint(),
            "decisions": judge.decider and judge.decider.basis(),
            "latch": judge.latch,
        }
        files = sorted(self._folder.glob(f"call-{'[0-9a-f]' * 64}.json"), key=os.path.getmtime)
        # File of a lost call → reading of the monotonic clock when it was lost, oldest first.
        self._lost = dict.fromkeys(files, time.monotonic())
        self.tidy()

    def save(self, session: Session, tallies: list[Tally]) -> None:
        state = _SavedCall(basis=self._digest_of_settings(session), channels=tallies, time=time.monotonic())
        try:
            with replacing(self._path(session.ready["session"])) as temporary:
                temporary.write_text(state.model_dump_json(), encoding="utf-8")
        except (OSError, InputError) as error:
            LOGGER.warning("the state of a call could not be saved, so it cannot continue after a restart: %s", error)

    def restore(self, key: str, begin: Callable[[Sequence[Tally]], Session]) -> Parked | None:
        """Return the session of ``key``; None if its state is missing, damaged, too old or of other settings.

        ``begin`` makes a session with the client's present settings.
        """
        self.tidy()
        path = self._path(key)
        if not path.exists():
            return None
        try:
            saved = read_json_as(_SavedCall, path, _MAX_BYTES, "the state of a call", "remove it")
            session = begin(saved.channels)
        except (OSError, InputError) as error:
            LOGGER.warning("a call begins again, because its saved state cannot be used: %s", error)
            return None
        if saved.basis != self._digest_of_settings(session) or len(saved.channels) != len(session.ready["channels"]):
            return None
        if saved.time > time.monotonic():  # this machine was restarted
            return None
        self._lost.pop(path, None)
        session.ready["session"] = key
        return Parked(session, saved.time)

    def end(self, key: str, may_continue: bool) -> None:
        path = self._path(key)
        if may_continue:
            self._lost[path] = time.monotonic()
        else:
            path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove old files, and the oldest of too many."""
        oldest = time.monotonic() - MAX_AGE
        for number, (path, since) in enumerate(reversed(list(self._lost.items()))):
            if number >= _MAX_FILES or since < oldest:
                self._lost.pop(path, None)  # another thread may be faster
                path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"call-{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _digest_of_settings(self, session: Session) -> str:
        """Evidence may continue if the digest is equal."""
        facts = {**session.ready, **self._facts, "session": None}
        return hashlib.sha256(json_text(facts).encode()).hexdigest()
