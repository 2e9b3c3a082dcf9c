"""Running out of memory is told apart from other errors."""

from mmap import mmap

import pytest
import torch
from builders import input_error

from nes2net.lib.process.this_process import enough_memory


def test_a_lack_of_memory_becomes_an_error_that_says_what_was_too_large():
    for take in (
        lambda: torch.empty(1 << 60, dtype=torch.uint8),
        lambda: bytearray(1 << 62),
        lambda: mmap(-1, 1 << 60),
    ):
        with input_error("too large for it"), enough_memory(lambda: "too large for it"):
            take()


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), FileNotFoundError("a")])
def test_another_error_is_not_taken_for_a_lack_of_memory(error):
    with pytest.raises(type(error)) as caught, enough_memory(lambda: "too large for it"):
        raise error
    assert caught.value is error
