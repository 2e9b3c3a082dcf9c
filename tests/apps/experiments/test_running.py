"""Tasks in several processes: their order, GPUs, logs, failures, and a signal to all of them."""

import os
import signal
import sys
import threading
import time

import pytest
from builders import PATIENCE, input_error

from nes2net.apps.experiments.plan import JobGroup
from nes2net.apps.experiments.running import do_in_processes
from nes2net.lib.errors import Unfinished

TASKS = [
    JobGroup("a", []),
    JobGroup("a_then", [], "a"),
    JobGroup("b", []),
    JobGroup("b_then", [], "b"),
    JobGroup("c", []),
]


def python(text: str) -> list[str]:
    return [sys.executable, "-S", "-c", text]


def test_a_failed_task_is_told_with_its_exit_status_its_last_line_and_its_log(tmp_path):
    """And only tasks that need it are skipped."""
    commands = {task.name: python("pass") for task in TASKS} | {"b": python("print('why'); raise SystemExit(3)")}
    errors = do_in_processes(TASKS, commands.__getitem__, tmp_path, num_processes=2)
    skipped = "b_then: not begun: it needs: b"
    assert list(map(str, errors)) == [f"b: exit status 3: why ({tmp_path / 'b.log'})", skipped]


def test_a_task_begins_when_another_than_the_first_running_one_has_ended(tmp_path):
    """The first runs until the third has begun."""
    begun = str(tmp_path / "begun")
    wait = f"while not os.path.exists({begun!r}):\n assert time.monotonic() < end\n time.sleep(0.02)"
    first = f"import os, time; end = time.monotonic() + {PATIENCE}\n{wait}"
    third = f"open({begun!r}, 'w')"
    commands = {"first": python(first), "second": python("pass"), "third": python(third)}
    tasks = [JobGroup(name, []) for name in commands]
    failures = do_in_processes(tasks, commands.__getitem__, tmp_path / "logs", num_processes=2)
    assert failures == []


def test_a_task_begins_after_the_one_that_it_needs_and_sees_one_gpu_of_the_given(tmp_path):
    say = python("import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], time.time_ns())")
    assert do_in_processes(TASKS, lambda _: say, tmp_path, num_processes=2, gpus=["4", "6"]) == []
    logs = {path.stem: path.read_text().split() for path in tmp_path.glob("*.log")}
    assert int(logs["a"][1]) < int(logs["a_then"][1])
    assert {gpu for gpu, *_ in logs.values()} == {"4", "6"}


def test_the_log_of_a_task_is_not_written_through_a_link(tmp_path):
    (tmp_path / "elsewhere").write_text("old")
    (tmp_path / "a.log").symlink_to("elsewhere")
    with input_error(r"a\.log: is a link"):
        do_in_processes(TASKS[:1], lambda _: python("print('new')"), tmp_path, num_processes=1)
    assert (tmp_path / "elsewhere").read_text() == "old"


@pytest.mark.parametrize("number, error", [(signal.SIGTERM, Unfinished), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_to_a_run_is_passed_to_its_running_tasks_in_place_of_beginning_another(
    tmp_path, number, error, capsys
):
    handler = "lambda *_: (print('saved', flush=True), os._exit(75))"
    text = f"import os, signal, time; signal.signal({int(number)}, {handler}); print('ready', flush=True)"
    command = python(f"{text}; time.sleep({PATIENCE})")
    logs = [tmp_path / f"{name}.log" for name in ("a", "b")]

    def interrupt() -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and not all(log.is_file() and "ready\n" in log.read_text() for log in logs):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(error):
        do_in_processes(TASKS, lambda _: command, tmp_path, num_processes=2)
    assert [log.read_text().split() for log in logs] == [["ready", "saved"]] * 2
    assert not (tmp_path / "c.log").exists()
    assert capsys.readouterr().err == "note: waiting for the end of a, b\n"
