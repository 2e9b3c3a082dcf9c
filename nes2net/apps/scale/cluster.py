"""Start or reach a Ray cluster, and compute the resources of the scoring actors."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated

from nes2net.apps.scale.libraries import library
from nes2net.lib.errors import InputError, as_input_error
from nes2net.lib.process.this_process import usable_processors
from nes2net.lib.shell.commands import Flag, Ranged
from nes2net.training.interruption import StopRequests

_LOCAL_STORE = 4 << 30  # largest number of bytes of shared memory for Ray's objects, if this process starts Ray


@dataclass(frozen=True)
class Resources(Ranged):
    """The number of actors (the processes that score), and the resources that Ray reserves for each actor.

    Args:
        num_actors: number of actors; None for as many actors as the cluster has room for. Then
            actors on GPUs use all GPUs, and actors without a GPU leave one processor free.
        cpus_per_actor: number of threads of an actor without a GPU.
        gpus_per_actor: number of GPUs, which may be a fraction; None for one GPU if there are GPUs.
        address: address of a Ray cluster, such as ``"auto"``; None for the address in the variable
            RAY_ADDRESS, or for this machine.
    """

    num_actors: Annotated[int | None, Flag(minimum=1)] = None
    cpus_per_actor: Annotated[float, Flag(minimum=0)] = 1
    gpus_per_actor: Annotated[float | None, Flag(minimum=0)] = None
    address: str | None = None

    def resolve(self, available: dict[str, float], device: str) -> Resources:
        """Replace each None by a number that suits the cluster; GPU actors reserve no processors.

        Args:
            available: the numbers of ``"CPU"`` and ``"GPU"`` of the cluster.
            device: device of the detector, such as ``"auto"`` or ``"cpu"``.

        Raises:
            InputError: if the cluster has fewer GPUs than an actor requires.
        """
        gpus = available.get("GPU", 0.0)
        gpus_per_actor = 0.0 if device == "cpu" else self.gpus_per_actor
        if gpus_per_actor is None:
            gpus_per_actor = float(device.startswith("cuda") or (device == "auto" and gpus >= 1))
        if gpus_per_actor > gpus:
            raise InputError(
                f"an actor requires {gpus_per_actor:g} GPUs, but Ray finds {gpus:g}: lower `gpus_per_actor`, or use `device=cpu`"
            )
        if gpus_per_actor:
            cpus_per_actor: float = 0
            num_fitting = gpus // gpus_per_actor
        else:
            cpus_per_actor = self.cpus_per_actor
            num_fitting = (available.get("CPU", 1.0) - 1) // max(cpus_per_actor, 1e-3)  # one is left for reading
        return replace(
            self,
            num_actors=self.num_actors or max(1, int(num_fitting)),
            cpus_per_actor=cpus_per_actor,
            gpus_per_actor=gpus_per_actor,
        )

    @property
    def device(self) -> str:
        """The device of an actor, without a number, because an actor sees only the GPUs that Ray gives it."""
        return "cuda" if self.gpus_per_actor else "cpu"

    def ray_options(self) -> dict[str, float]:
        """Return what Ray reserves for an actor; only after :meth:`resolve`."""
        assert self.gpus_per_actor is not None  # set by `resolve`
        return {"num_cpus": self.cpus_per_actor, "num_gpus": self.gpus_per_actor}


def start_ray(resources: Resources) -> bool:
    """Connect this process to Ray; return whether it was not connected before.

    Without an address in ``resources`` or RAY_ADDRESS, Ray is started on this machine, without a
    dashboard and with a small object store.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # prevent a warning on machines without GPUs
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray = library("ray")
    context = library("ray.data").DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if ray.is_initialized():
        return False
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    # Run as a client's job, so that Ray does not add the current folder to the search path of workers.
    quiet["job_config"] = library("ray.job_config").JobConfig(_client_job=True)
    location = resources.address or os.environ.get("RAY_ADDRESS")
    problem = f"Ray cannot be started or reached on {location or 'this machine'}"
    with as_input_error(problem, ConnectionError, RuntimeError, ValueError, OSError):
        if location:
            ray.init(address=resources.address, **quiet)
            return True
        try:  # give Ray's store an eighth of the memory, from 256 MiB to 4 GiB
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            store = min(_LOCAL_STORE, max(256 << 20, memory // 8))
        except (AttributeError, ValueError, OSError):
            store = _LOCAL_STORE // 4
        processors = math.ceil((resources.num_actors or 1) * resources.cpus_per_actor)
        sys.stderr.flush()
        standard_error = os.dup(2)
        null_device = os.open(os.devnull, os.O_WRONLY)
        try:  # hide a message of Ray's C++ code about its log level; errors are raised as exceptions
            os.dup2(null_device, 2)
            ray.init(
                address="local",
                # Offer one processor more, so that tasks can read and decode even if the actors take all other
                # processors.
                num_cpus=max(usable_processors(), processors) + 1,
                include_dashboard=False,
                object_store_memory=store,
                **quiet,
            )
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
            os.close(null_device)
    return True


@contextmanager
def connect(resources: Resources) -> Iterator[None]:
    """Connect to Ray in this context; disconnect afterwards unless Ray was connected before."""
    started_here = False
    try:
        with (
            StopRequests() as stop,
            stop.defer("the start of Ray"),
        ):  # an interrupted start of Ray would leave processes behind
            started_here = start_ray(resources)
        yield
    finally:
        if started_here:
            library("ray").shutdown()
