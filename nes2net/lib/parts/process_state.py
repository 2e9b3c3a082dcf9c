"""Put back what a part of another package changes in the whole process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pkgutil import resolve_name

from nes2net.lib.errors import join_names
from nes2net.lib.output.terminal import note_once

# What a part may change → two functions, which get and set it. They are called only if their module is imported already.
_FUNCTIONS = {
    "the working directory": "os:getcwd os:chdir",
    "environment variables": "os:environ.copy nes2net.lib.parts.process_state:set_environment",
    "filters of warnings": "warnings:filters.copy warnings:filters.__init__",
    "handlers of logging": "logging:root.handlers.copy logging:root.handlers.__init__",
    "the level of logging": "logging:root.getEffectiveLevel logging:root.setLevel",
    "disabled levels of logging": "logging:root.manager.disable.__int__ logging:disable",
    "random numbers of Python": "random:getstate random:setstate",
    "random numbers of NumPy": "numpy.random:get_state numpy.random:set_state",
    "the seed of PyTorch": "torch:initial_seed torch:manual_seed",
    "PyTorch's number of threads": "torch:get_num_threads torch:set_num_threads",
    "PyTorch's default type": "torch:get_default_dtype torch:set_default_dtype",
    "PyTorch's default device": "torch:get_default_device torch:set_default_device",
    "PyTorch's gradients": "torch:is_grad_enabled torch:set_grad_enabled",
    "PyTorch's determinism": "torch:get_deterministic_debug_mode torch:set_deterministic_debug_mode",
}
# What libraries change when they are imported, which is no fault of the part that imports them.
_BY_LIBRARIES = ("environment variables", "filters of warnings", "handlers of logging", "random numbers of Python")


def set_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


@contextmanager
def same_process_state(subject: str) -> Iterator[None]:
    """Undo at the end what the part ``subject`` changed, which a note says; what it prints goes to standard error."""
    num_modules = len(sys.modules)
    before = {}
    for state_name, functions in _FUNCTIONS.items():
        if functions.partition(":")[0] in sys.modules:
            before[state_name] = resolve_name(functions.split()[0])()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        ignored = _BY_LIBRARIES if len(sys.modules) > num_modules else ()
        changed = []
        for state_name, value in before.items():
            get, put = map(resolve_name, _FUNCTIONS[state_name].split())
            if state_name not in ignored and repr(get()) != repr(value):
                put(value)
                changed.append(state_name)
        if changed:
            note_once(f"{subject} changed {join_names(changed)}; this was undone: correct the part")
