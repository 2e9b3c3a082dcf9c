"""Who is to blame for an error: the last part in the traceback, if another package provides it."""

from functools import partial

import pytest

from nes2net.lib.errors import BrokenPart, InputError, Unfinished
from nes2net.lib.parts.contracts import Extension, blame_part


class Part(Extension):
    """A part that calls a function, perhaps another part's method."""

    def __init__(self, subject=""):
        self.subject = subject

    def compute(self, function):
        return function()


def failing(error):
    def fail():
        raise error

    return fail


def call(function, *callers):
    """Let each of `callers` call the next one, and the last one `function`."""
    for caller in reversed(callers):
        function = partial(caller.compute, function)
    with blame_part():
        function()


STRANGER = Part("loss 'mine' (package my-parts 1.0)")


@pytest.mark.parametrize("error", [KeyError("level"), SystemExit(2), OSError("no such file")], ids=repr)
def test_an_error_in_the_code_of_a_part_names_the_part_the_method_and_the_line_and_keeps_its_cause(error):
    with pytest.raises(BrokenPart) as raised:
        call(failing(error), STRANGER)
    assert f"loss 'mine' (package my-parts 1.0): compute raised {type(error).__name__}: " in str(raised.value)
    assert "(test_contracts.py, line " in str(raised.value)
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), InputError("for the user"), Unfinished("a signal"), BrokenPart("known"), MemoryError()],
    ids=repr,
)
def test_interruptions_explained_errors_and_a_lack_of_memory_stay_as_they_are(error):
    with pytest.raises(type(error)) as raised:
        call(failing(error), STRANGER)
    assert raised.value is error


@pytest.mark.parametrize("callers", [[], [Part()], [STRANGER, Part()]], ids=["no part", "built in", "built in, last"])
def test_an_error_outside_the_code_of_another_package_is_not_changed(callers):
    with pytest.raises(KeyError):
        call(failing(KeyError("level")), *callers)


def test_the_last_of_several_parts_is_to_blame():
    with pytest.raises(BrokenPart, match="effect 'theirs'"):
        call(failing(KeyError("level")), STRANGER, Part(), Part("effect 'theirs'"))


def test_a_tiny_batch_that_takes_all_memory_is_blamed_on_the_part():
    with pytest.raises(BrokenPart, match="forward raised RuntimeError: DefaultCPUAllocator: can't allocate memory"):
        with blame_part("back-end 'huge'", "forward", InputError):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
