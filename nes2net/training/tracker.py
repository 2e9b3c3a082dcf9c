"""Send the values of a run to Weights & Biases or MLflow, with accelerate's trackers."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Annotated

from accelerate.tracking import GeneralTracker, MLflowTracker, WandBTracker
from pydantic import Field

from nes2net.lib.errors import InputError, MissingLibrary, first_line
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import say_aside
from nes2net.lib.storage.files import is_absent, write_json
from nes2net.lib.storage.plain_data import StrictModel, read_json_as
from nes2net.training.recipes.recipe import Recipe, flatten

#: File of the run folder with the id of the tracker's run, which a resumed run continues.
TRACKER_FILE = "tracker.json"
_TITLES = {"wandb": "Weights & Biases", "mlflow": "MLflow"}
#: Name of the project of all runs in the tracker; a run has the name of its run folder.
_PROJECT = "nes2net"


_Id = Annotated[str, Field(pattern=r"^[\w.-]{1,128}$")]


class _Ids(StrictModel):
    """Name of a tracker → id of the run in this tracker."""

    wandb: _Id | None = None
    mlflow: _Id | None = None


@dataclass
class Tracker:
    """The callback that sends values to a tracker, if any; once it has failed, it is not called again."""

    name: str
    tracker: GeneralTracker | None
    """None if no tracker was chosen, or if it has failed."""

    def __call__(self, event: str, facts: Facts, /) -> None:
        if self.tracker is None:
            return
        try:
            if event == "epoch":
                self.tracker.log(facts["values"], step=facts["epoch"])
            if event == "end":
                _end_run(self.tracker, facts["error"] is None)
        except Exception as error:  # an error of a tracker must not stop training
            self.tracker = None
            say_aside(f"warning: {_failure_text(self.name, error)}; training continues without it")


def require_library(name: str | None) -> None:
    """Raise :class:`MissingLibrary` if the library of the tracker ``name`` is not installed."""
    try:
        if name is not None:
            importlib.import_module(name)
    except ImportError as error:
        raise MissingLibrary(f"`tracker={name}` needs a library that is not installed: pip install {name}") from error


def start_tracker(recipe: Recipe, folder: Path) -> Tracker:
    """Start or resume the run, named after ``folder``, in the tracker's project ``nes2net``.

    Args:
        folder: the run folder, which stores the id of the tracker's run.

    Returns:
        The tracker; if that of a resumed run cannot start, a warning, and one that does nothing.

    Raises:
        InputError: if the tracker of a new run cannot start.
    """
    name = recipe.tracker
    assert name is not None  # Monitor.open_logs calls this only if the recipe has a tracker
    path = folder / TRACKER_FILE
    ids = _Ids() if is_absent(path) else read_json_as(_Ids, path, 1 << 16, "a file of tracker ids", "remove it")
    earlier = getattr(ids, name)
    try:
        tracker: GeneralTracker
        if name == "wandb":
            id = os.environ.get("WANDB_RUN_ID") or earlier or token_hex(8)
            tracker = WandBTracker(
                os.environ.get("WANDB_PROJECT") or _PROJECT,
                name=os.environ.get("WANDB_NAME") or folder.name,
                id=id,
                resume=os.environ.get("WANDB_RESUME") or "allow",
            )
            tracker.start()
        else:
            # By default MLflow waits for minutes for a server that does not answer, and training would wait too.
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
            tracker = MLflowTracker(_PROJECT, run_id=earlier, run_name=os.environ.get("MLFLOW_RUN_NAME") or folder.name)
            tracker.start()
            id = tracker.tracker.info.run_id
        # Send the recipe only if the run is new: MLflow refuses changed values, such as a corpus folder that has moved.
        if earlier is None:
            tracker.store_init_configuration(flatten(recipe.to_dict()))
    except Exception as error:  # a tracker may raise any error: of the network, of its settings, …
        if earlier is None:
            raise InputError(f"{_failure_text(name, error)}: correct that, or remove `tracker={name}`") from error
        say_aside(f"warning: {_failure_text(name, error)}; training continues without it")
        return Tracker(name, None)
    write_json(path, {**ids.model_dump(exclude_none=True), name: id})
    return Tracker(name, tracker)


def _end_run(tracker: GeneralTracker, finished: bool) -> None:
    """accelerate's trackers cannot say how a run ended, so call the libraries directly."""
    if tracker.name == "wandb":
        tracker.tracker.finish(exit_code=int(not finished))
        return
    import mlflow  # optional

    mlflow.end_run("FINISHED" if finished else "KILLED")


def _failure_text(name: str, error: Exception) -> str:
    return f"{_TITLES[name]} failed ({type(error).__name__}: {first_line(error)})"
