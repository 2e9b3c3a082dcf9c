"""Reading processes: full shared memory, deaths, hangs and signals while a batch is waited for."""

import gc
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import active_children
from multiprocessing.queues import Queue
from pathlib import Path

import pytest
import torch
from builders import PATIENCE
from builders.shared_memory import with_shared_memory
from torch.utils.data import Dataset

from nes2net.lib.errors import Unfinished
from nes2net.lib.process import workers
from nes2net.lib.process.workers import Loader, stack_shared
from nes2net.training.interruption import StopRequests

NUM_BATCHES = 12


class Numbers(Dataset):
    """Tensors of 0.5 MB; reading number ``acting_number`` calls ``action``."""

    def __init__(self, acting_number=-1, action=None):
        self.acting_number = acting_number
        self.action = action

    def __getitem__(self, number):
        if number == self.acting_number:
            self.action()
        return torch.full((1 << 17,), number)


def collate(rows):
    return stack_shared(rows), [len(row) for row in rows]


def loader(dataset, num_workers=2, collate=collate):
    return Loader(dataset, [[2 * n, 2 * n + 1] for n in range(NUM_BATCHES)], collate, num_workers)


def numbers(batches):
    return [tensor[:, -1].tolist() for tensor, _ in batches]


EXPECTED = [[2 * n, 2 * n + 1] for n in range(NUM_BATCHES)]


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    while True:
        time.sleep(0.1)


def signal_and(number, then):
    """In a reader: signal the main process, which has started all of them."""
    os.kill(os.getppid(), number)
    then()


@pytest.fixture(scope="module", autouse=True)
def no_readers_left():
    """Ends the readers of loaders in reference cycles here: it takes a second, which a later test might count."""
    yield
    gc.collect()


@pytest.fixture
def soon(monkeypatch):
    """Looks at the readers often, and waits little after a signal."""
    monkeypatch.setattr(workers, "_LOOK", 0.1)
    monkeypatch.setattr(workers, "_GRACE", 0.3)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_come_in_order_in_the_first_and_in_the_second_pass(num_workers):
    batches = loader(Numbers(), num_workers)
    assert numbers(batches) == EXPECTED
    assert numbers(batches) == EXPECTED


PROGRAM = f"""
import os, pathlib, signal, subprocess, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_workers import EXPECTED, Numbers, loader, numbers
"""


def with_shm(size, program):
    """A process that runs ``program`` with a /dev/shm of ``size``."""
    command = with_shared_memory(size, [sys.executable, "-c", PROGRAM + program])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


SMALL = """
assert numbers(loader(Numbers())) == EXPECTED, "the batches differ"
print(*pathlib.Path("/dev/shm").iterdir())
"""


@pytest.fixture(scope="module")
def little_memory():
    """Status, output and errors of a program that reads with a /dev/shm of 512 kB, and prints what stays there."""
    process = with_shm("512k", SMALL)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    return process.returncode, stdout, stderr


@pytest.mark.slow
def test_with_little_shared_memory_workers_deliver_every_batch(little_memory):
    status, _, stderr = little_memory
    assert status == 0, stderr


@pytest.mark.slow
def test_after_the_last_batch_nothing_is_left_in_a_small_shared_memory(little_memory):
    assert little_memory[1] == "\n"


@pytest.mark.slow
def test_with_little_shared_memory_a_single_warning_says_what_to_change(little_memory):
    stderr = little_memory[2]
    (warning,) = [line for line in stderr.splitlines() if "warning: " in line]
    assert "warning: shared memory is full" in warning
    assert "lower `num_workers` (now 2)" in warning
    assert "--shm-size" in warning


def test_a_killed_worker_is_reported_with_a_hint_on_memory():
    with pytest.raises(Unfinished, match=r"was killed \(SIGKILL\).*memory ran out: lower `num_workers` \(now 2\)"):
        numbers(loader(Numbers(0, kill)))


def test_a_worker_that_dies_while_nobody_waits_is_reported_with_the_next_batch():
    """The main process finishes its step; PyTorch's handler would raise amid it."""
    batches = loader(Numbers())
    waiting = iter(batches)
    next(waiting)
    before = signal.getsignal(signal.SIGCHLD)
    batches.worker_processes[1].kill()
    batches.worker_processes[1].join()
    for _ in range(1000):
        torch.zeros(10).sum()  # a step
    assert signal.getsignal(signal.SIGCHLD) is before
    with pytest.raises(Unfinished, match="was killed"):
        numbers(waiting)


def test_hanging_workers_are_ended_after_a_signal_has_ended_the_wait_for_them(soon):
    """Training defers signals to the end of a step, which never comes."""
    batches = loader(Numbers(0, partial(signal_and, signal.SIGTERM, hang)))
    with (
        StopRequests() as stop,
        pytest.raises(Unfinished, match="stopped by SIGTERM while waiting"),
        stop.defer("a step"),
    ):
        numbers(batches)
    readers = batches.worker_processes
    del batches  # which kills readers that hang
    for reader in readers:
        reader.join(PATIENCE)
    assert not set(readers) & set(active_children())


def test_a_signal_before_waiting_ends_waiting_for_hanging_workers(soon):
    with (
        StopRequests() as stop,
        pytest.raises(Unfinished, match="stopped by SIGTERM while waiting"),
        stop.defer("a step"),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
        numbers(loader(Numbers(0, hang)))


def test_batches_that_arrive_in_time_are_read_in_spite_of_a_deferred_sigterm(soon, monkeypatch):
    monkeypatch.setattr(workers, "_GRACE", PATIENCE)
    with StopRequests() as stop:
        stop._deferred = "a step"
        assert numbers(loader(Numbers(5, partial(signal_and, signal.SIGTERM, partial(time.sleep, 0.5))))) == EXPECTED
        assert stop.requested == signal.SIGTERM


def test_ctrl_c_ends_waiting_for_batches_at_once(monkeypatch):
    """SIGTERM leaves time for a slow disk."""
    monkeypatch.setattr(workers, "_GRACE", float("inf"))  # seconds for a slow disk, which nobody would wait for
    with pytest.raises(KeyboardInterrupt):
        numbers(loader(Numbers(5, partial(signal_and, signal.SIGINT, hang))))


def test_ctrl_c_does_not_interrupt_a_queue(monkeypatch):
    """Otherwise its lock may stay locked, and the end of the workers waits for it for ever."""
    put_numbers = []
    put = Queue.put

    def put_with_ctrl_c(queue, item):
        if len(put_numbers) in interrupted:
            os.kill(os.getpid(), signal.SIGINT)
        put(queue, item)
        put_numbers.append(len(put_numbers))

    monkeypatch.setattr(Queue, "put", put_with_ctrl_c)
    for interrupted in ([0], [NUM_BATCHES - 1]):  # at the start of the workers, and for a later batch
        put_numbers.clear()
        with pytest.raises(KeyboardInterrupt):
            numbers(loader(Numbers()))
        assert interrupted[0] in put_numbers


def test_waiting_for_a_worker_that_hangs_ends_with_an_error_after_a_limit_of_time(monkeypatch, soon):
    monkeypatch.setattr(workers, "_PATIENCE", 0.5)
    with pytest.raises(Unfinished, match="have delivered nothing for .* minutes.*a disk or a network hangs"):
        numbers(loader(Numbers(5, hang)))


ORPHANS = """
batches = loader(Numbers())
next(iter(batches))
print(*(reader.pid for reader in batches.worker_processes), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_workers_end_when_the_main_process_is_killed():
    """Also those with a batch in a pipe that nobody reads."""
    process = with_shm("512k", ORPHANS)
    numbers = process.communicate(timeout=PATIENCE)[0].split()
    assert process.returncode == -signal.SIGKILL
    assert len(numbers) == 2
    end = time.monotonic() + PATIENCE
    while any(Path("/proc", number).is_dir() for number in numbers):  # PyTorch's readers look every 5 s
        assert time.monotonic() < end
        time.sleep(0.1)


def test_errors_of_workers_are_raised_also_outside_the_main_thread():
    """An error of the data, and that of a reader that was killed."""

    def fail():
        raise RuntimeError("something else")

    with ThreadPoolExecutor(1) as pool:
        for action, error, message in ((kill, Unfinished, "was killed"), (fail, RuntimeError, "something else")):
            with pytest.raises(error, match=message):
                pool.submit(lambda action=action: numbers(loader(Numbers(9, action)))).result(PATIENCE)
