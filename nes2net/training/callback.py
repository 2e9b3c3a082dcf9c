"""What programs and loggers do in a run."""

from __future__ import annotations

from typing import Protocol

from nes2net.lib.output.sheet import Facts


class Callback(Protocol):
    """A function, or an object that can be called, which a run calls in its main process.

    ============== =====================================================================
    event          facts
    ============== =====================================================================
    ``start``      ``state``, as all but ``end``: ``recipe``, ``detector``, ``selection`` …
    ``step``       ``epoch`` (from 1), ``step`` (from 0) and its ``loss``
    ``validation`` ``epoch`` and ``values``, which have the keys of ``history.json``
    ``epoch``      the same with loss and learning rate, after the epoch was saved
    ``end``        ``error``, or None if the run is done or was stopped
    ============== =====================================================================

    If it returns True, the run stops after its next save; the same call resumes the run.
    """

    def __call__(self, event: str, facts: Facts, /) -> bool | None: ...
