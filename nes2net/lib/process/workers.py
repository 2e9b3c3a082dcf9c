"""Workers: processes that read data for the process that computes."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import get_start_method, parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from multiprocessing.util import Finalize, is_exiting
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data._utils import signal_handling

from nes2net.lib.errors import Explained, InputError, Unfinished, first_line, readable_size, with_flag_names
from nes2net.lib.process.search_path import secure_multiprocessing
from nes2net.lib.process.stop_signals import StopSignals, delaying_signals
from nes2net.lib.process.this_process import usable_processors

_PATIENCE = 1800.0  # longest time in seconds to wait for a batch; decoding hours of audio takes less
_GRACE = 5.0  # seconds to wait for a batch if a signal is deferred
_LOOK = 1.0  # seconds between two checks of workers and signals while waiting for a batch
_SHARED_MEMORY = Path("/dev/shm")


def usable_workers(num_workers: int) -> int:
    return max(0, min(num_workers, usable_processors()))


def stack_shared(rows: Sequence[Tensor]) -> Tensor:
    """Stack ``rows`` as ``torch.stack`` does; in a worker, put the result into shared memory.

    If shared memory is full, the result goes through a pipe. PyTorch would move it to shared memory
    later, in a thread; if that failed, the main process would wait for the batch for ever.
    """
    if get_worker_info() is None:
        return torch.stack(tuple(rows))
    try:
        storage = torch.UntypedStorage._new_shared(len(rows) * rows[0].nbytes)  # as PyTorch's default_collate does
    except (OSError, RuntimeError) as error:
        if leftover := re.search(r"/(torch_\w+)", str(error)):  # remove the file that PyTorch failed to fill
            (_SHARED_MEMORY / leftover[1]).unlink(missing_ok=True)
        return cast(Tensor, _Piped(torch.stack(tuple(rows)).numpy()))
    shared = torch.empty(0, dtype=rows[0].dtype).set_(storage).view(len(rows), *rows[0].shape)
    return torch.stack(tuple(rows), out=shared)


class _Piped:
    """Sends a tensor through a pipe; unpickling makes the tensor again."""

    arrived = False
    """Whether this process has received a tensor through a pipe."""

    def __init__(self, array: NDArray) -> None:
        self.array = array

    def __reduce__(self) -> tuple:
        return _unpickle_piped, (self.array,)


def _unpickle_piped(array: NDArray) -> Tensor:
    _Piped.arrived = True  # in the main process
    return torch.from_numpy(array)


class Loader(DataLoader[Any]):
    """A ``DataLoader`` that raises an error, instead of hanging, when a worker dies.

    Args:
        batches: for each batch, the indices of its items in ``dataset``.
        collate: makes a batch from a list of items; it must stack tensors by :func:`stack_shared`.
        num_workers: 0 to read in this process.
        setting: the setting for the number of workers, for messages.

    Iterating raises:
        InputError: if the machine cannot start the workers, or cannot open more files.
        Unfinished: if a worker ended or hangs, or if no batch comes within 5 s after SIGTERM.
        KeyboardInterrupt: if no batch comes within 5 s after SIGINT.
    """

    _told = False  # whether the warning about full shared memory was printed

    def __init__(
        self,
        dataset: Dataset[Any],
        batches: Iterable[list[Any]],
        collate: Callable[[list[Any]], Any],
        num_workers: int,
        *,
        pin_memory: bool = False,
        setting: str = "num_workers",
    ) -> None:
        num_workers = usable_workers(num_workers)
        secure_multiprocessing()
        options: dict[str, Any] = {}
        if num_workers:
            # Up to 8 workers prefetch 8 batches together. A batch of 64 utterances of 4 s takes 16 MB; with a GPU, this is
            # pinned memory.
            options["prefetch_factor"] = max(1, min(2, 8 // num_workers))
            options["worker_init_fn"] = _set_up_worker
            options["timeout"] = _PATIENCE
        super().__init__(
            dataset,
            batch_sampler=batches,
            collate_fn=collate,
            pin_memory=pin_memory,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            # PyTorch draws a seed when it starts workers. A separate generator for this draw keeps
            # the global generator, which dropout uses, unchanged.
            generator=torch.Generator().manual_seed(0),
            **options,
        )
        self.setting = setting
        self.worker_processes: list[BaseProcess] = []  # empty until they start

    def __iter__(self) -> Any:
        if not self.num_workers:
            return super().__iter__()
        # PyTorch's handler for the end of a child might raise in the middle of a step, so keep it from being set.
        signal_handling._SIGCHLD_handler_set = True
        self._check_workers()
        try:
            if not self.worker_processes:
                # With full shared memory, this raises OSError; PyTorch would also print a traceback. A queue has
                # three locks, and PyTorch makes one for each worker, besides some others.
                _ = [torch.multiprocessing.Lock() for _ in range(3 * self.num_workers + 8)]
            with delaying_signals():
                batches = super().__iter__()
        except (OSError, RuntimeError) as error:
            raise self._too_many_workers("the workers cannot be started", first_line(error)) from None
        if not self.worker_processes:
            self.worker_processes = batches._workers  # type: ignore[attr-defined]
            # At the end of the program, multiprocessing waits until the workers end. Because of exitpriority, it calls
            # _kill_workers before it waits.
            Finalize(self, _kill_workers, args=(self.worker_processes,), exitpriority=0)
        return self._read_batches(batches)

    def _read_batches(self, batches: Any) -> Iterator[Any]:
        while True:
            try:
                batch = self._next_batch(batches)
            except StopIteration:
                return
            if _Piped.arrived and not Loader._told:
                Loader._told = True
                text = f"warning: shared memory is full, so reading is slower: {self._remedy()}"
                logging.getLogger("nes2net").warning("%s", with_flag_names(text))
            yield batch

    def _next_batch(self, batches: Any) -> Any:
        """Wait for the next batch, but not if a worker ends, a signal is deferred, or the wait is too long."""
        began = time.monotonic()
        while True:
            self._check_workers()
            # A short time-out for this call only: the next call may still get the batch. The public setting
            # ``timeout`` also applies at the start of a pass, where PyTorch's iterator fails for good after a
            # time-out.
            batches._timeout = _LOOK
            try:
                with delaying_signals():
                    return next(batches)
            except StopIteration:
                raise
            except Exception as error:
                if isinstance(error, (OSError, EOFError)):  # the connection broke: a worker may be dying
                    dying = wait([worker.sentinel for worker in self.worker_processes], timeout=_LOOK)
                    for worker in self.worker_processes:
                        if worker.sentinel in dying:
                            worker.join()
                self._check_workers()
                if "Too many open files" in str(error):
                    raise self._too_many_workers("too many files are open for more batches", "see ulimit -n") from None
                if isinstance(error, Explained) and "Original Traceback" in error.problem:
                    # PyTorch has put the worker's traceback before the message, which is its last line.
                    error.problem = error.problem.splitlines()[-1].partition(": ")[2]
                if not str(error).startswith("DataLoader timed out"):
                    raise
            finally:
                batches._timeout = _PATIENCE
            now = time.monotonic()
            stop = StopSignals.innermost
            if stop is not None and now - max(began, stop.since) >= _GRACE:
                if stop.requested == signal.SIGINT:
                    raise KeyboardInterrupt
                raise Unfinished(
                    "stopped by SIGTERM while waiting for audio; the same command resumes from the work done"
                )
            if now - began >= _PATIENCE:
                raise Unfinished(
                    f"the workers that read audio have delivered nothing for {_PATIENCE / 60:.0f} minutes, most "
                    "likely because a disk or a network hangs; the same command resumes from the work done"
                )

    def _check_workers(self) -> None:
        status = next((worker.exitcode for worker in self.worker_processes if worker.exitcode is not None), None)
        if status is None:
            return
        name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        if name == "SIGKILL":
            why = f"was killed ({name}), most likely because memory ran out: {self._remedy()}"
        elif name == "SIGBUS":
            why = f"was killed ({name}), most likely because shared memory is full: {self._remedy()}"
        else:
            why = f"ended ({name}): see its message above, or try `{self.setting}=0`"
        raise Unfinished(f"a worker that reads audio {why}; the same command resumes from the work done")

    def _too_many_workers(self, problem: str, reason: str) -> InputError:
        return InputError(f"{problem} ({reason}): {self._remedy()}; the same command resumes from the work done")

    def _remedy(self) -> str:
        fewer = f"lower `{self.setting}` (now {self.num_workers})"
        try:
            size = readable_size(shutil.disk_usage(_SHARED_MEMORY).total)
        except OSError:  # another system
            return fewer
        return f"{fewer}, or enlarge {_SHARED_MEMORY} (now {size}; docker run --shm-size=8g)"


def _set_up_worker(_number: int) -> None:
    """Let a worker ignore SIGINT and SIGTERM, which go to all processes.

    The main process finishes its step and ends the workers.
    """

    def end_worker(error: Exception, _batch: Any) -> None:
        print(f"a batch could not be handed over: {first_line(error)}", file=sys.stderr, flush=True)
        os._exit(1)  # otherwise the main process would wait for the lost batch for ever

    parent = parent_process()
    if get_start_method() == "fork" and parent is not None and os.getppid() != parent.pid:
        os._exit(0)  # the main process is already dead, which PyTorch would not notice
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Queue._on_queue_feeder_error = staticmethod(end_worker)  # type: ignore[attr-defined]
    # End at once: otherwise, the worker would wait until the main process takes the last batches, even if that was
    # killed.
    Finalize(None, os._exit, args=(0,), exitpriority=100)


def _kill_workers(workers: list[BaseProcess]) -> None:
    """Kill workers: at once at the program's end, otherwise after a second."""

    def kill() -> None:
        for worker in workers:
            worker.kill()

    if is_exiting():
        kill()
    else:  # give workers time to end: a worker that is killed while it ends may leave a lock for which PyTorch waits
        timer = threading.Timer(_LOOK, kill)
        timer.daemon = True
        timer.start()
