"""The common part of our unpicklers of untrusted files.

A pickle is a program. Each unpickler decides in ``find_class`` which names it may ask for. Whatever
they are, it sets state and items only of objects that are meant for it, and its cost in memory and
time stays in proportion to its size.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any, ClassVar

# Written in Python, where a huge memo index costs no memory. The types of the library do not
# declare its stack and its load_… methods.
_Unpickler: Any = pickle._Unpickler


class Refused(pickle.UnpicklingError):
    """The pickle asks for something that has no place in the file."""


class GuardedUnpickler(_Unpickler):
    """Reads one pickle of ``stream``, which has ``size`` bytes."""

    #: Classes whose objects a pickle may give state and items.
    keeps_state: ClassVar[tuple[type, ...]] = ()
    keeps_items: ClassVar[tuple[type, ...]] = (dict,)

    def __init__(self, stream: Any, size: int, encoding: str) -> None:
        super().__init__(_Bounded(stream, size), encoding=encoding)

    def get_extension(self, code: int) -> Any:
        raise Refused(f"it asks for the registered extension {code}")

    def load_build(self) -> None:
        if not isinstance(self.stack[-2], self.keeps_state):
            raise Refused(f"it sets the state of a {type(self.stack[-2]).__name__}")
        super().load_build()

    def load_setitem(self) -> None:
        self._check_items(self.stack[-3], self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        self._check_items(self.metastack[-1][-1], self.stack[::2])
        super().load_setitems()

    def load_additems(self) -> None:
        check_keys(self.stack)
        super().load_additems()

    def load_frozenset(self) -> None:
        check_keys(self.stack)
        super().load_frozenset()

    def load_bytearray8(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        data = self.read(length)  # the library's own reserves the claimed length before it reads
        if len(data) < length:
            raise EOFError("it ends too early")
        self.append(bytearray(data))

    def _check_items(self, target: Any, keys: list) -> None:
        if not isinstance(target, self.keeps_items):
            raise ValueError(f"it sets items of a {type(target).__name__}")
        check_keys(keys)

    dispatch: ClassVar = {
        **_Unpickler.dispatch,
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.ADDITEMS[0]: load_additems,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }


class _Bounded:
    """A stream of ``size`` bytes, which reserves no memory for more."""

    def __init__(self, stream: Any, size: int) -> None:
        self.stream, self.size, self.readline = stream, size, stream.readline

    def read(self, length: int) -> bytes:
        if length > self.size:
            raise EOFError(f"it ends too early for the {length} bytes that it claims to hold in one piece")
        return self.stream.read(length)


def check_keys(keys: Any) -> None:
    """Refuse nested tuples as keys: hashing them may take for ever, or crash if they are deep."""
    for key in keys:
        if isinstance(key, tuple) and any(isinstance(part, (tuple, frozenset)) for part in key):
            raise ValueError("a key is a nested tuple")


def encode_latin1(text: Any, encoding: Any) -> bytes:
    """Do what ``_codecs.encode`` does where protocol 2 writes bytes, with no other encoding."""
    if encoding != "latin1" or not isinstance(text, str):
        raise ValueError("bytes are encoded in an unknown way")
    return text.encode("latin1")
