"""The common part of our unpicklers of untrusted files.

A pickle is a program. Each unpickler's ``find_class`` decides which names it may use. The common
part sets state and items only of permitted classes, and limits steps, the length of lines, and keys
to those that are quick to hash.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from nes2net.lib.storage.files import Budget
from nes2net.lib.storage.plain_data import MAX_NUMBER_BITS

# The unpickler that is written in Python: in the one written in C, a huge memo index would use much memory. Any,
# because the type stubs lack its stack and its load_… methods.
_Unpickler: Any = pickle._Unpickler

#: Most keys that are numbers, in all dictionaries and sets of a pickle: a file could choose numbers
#: whose hashes collide, which makes dictionaries slow.
MAX_NUMBERS_AS_KEYS = 100_000
_MAX_LINE_BYTES = 1 << 24  # largest number of bytes of a line

#: Instructions that make an object, or keep an object in the memo.
_MAKING = frozenset(
    getattr(pickle, name)[0]
    for name in (
        "MARK EMPTY_LIST EMPTY_DICT EMPTY_SET LIST DICT FROZENSET TUPLE TUPLE1 TUPLE2 TUPLE3 BYTEARRAY8 INT BININT "
        "BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 "
        "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 PUT BINPUT LONG_BINPUT MEMOIZE"
    ).split()
)
_OBJECT = 5  # number of steps to count for making an object, because objects need memory


class PickleRefused(pickle.UnpicklingError):
    """Raised if a pickle asks for something that real files do not need."""


class Exceeded(ValueError):
    """Raised for keys that may be slow to hash; real files have none."""


def _checked(check: Callable[[Any], None], load: Callable[[Any], None]) -> Callable[[Any], None]:
    def checked(self: Any) -> None:
        check(self)
        load(self)

    return checked


class GuardedUnpickler(_Unpickler):
    """Reads one pickle of ``size`` bytes from ``stream``.

    Args:
        encoding: encoding of the texts that Python 2 wrote as bytes.
        budget: counts each instruction as one step, or five if it makes an object, and each copied
            element as one.
    """

    keeps_state: ClassVar[tuple[type, ...]] = ()
    """Classes whose state a pickle may set."""
    keeps_items: ClassVar[tuple[type, ...]] = (dict,)
    """Classes whose items a pickle may set."""
    keys: ClassVar[tuple[type, ...]] = ()
    """Classes of keys besides text and numbers; their objects equal only themselves."""

    def __init__(self, stream: Any, size: int, encoding: str, budget: Budget) -> None:
        super().__init__(_Bounded(stream, size), encoding=encoding)
        self.budget = budget
        self.dispatch = _Instructions(self.instructions, budget)
        self.num_number_keys = 0  # number of keys so far that are numbers
        self.encoded: dict[int, tuple[str, bytes]] = {}  # id of a text → the text, and its encoded bytes

    def load(self) -> Any:
        """Read the pickle, and empty the memo of objects."""
        try:
            return super().load()
        finally:  # functions in the memo refer to this unpickler; this cycle would keep the tensors in memory
            self.memo.clear()

    def count_copied(self, items: Collection) -> Any:
        """Count ``items`` as steps before the caller copies them."""
        self.budget.take("steps", steps=len(items))
        return items

    def check_keys(self, keys: Iterable) -> None:
        """Raise :class:`Exceeded` for keys that may be slow to hash: tuples, long numbers, very many numbers or None."""
        for key in keys:
            if isinstance(key, (str, bytes, *self.keys)) or type(key).__hash__ is object.__hash__:
                continue
            is_number = isinstance(key, (int, float, type(None)))
            if not is_number or (isinstance(key, int) and key.bit_length() > MAX_NUMBER_BITS):
                raise Exceeded(f"a key has the type {type(key).__name__}: it is not text or a number of 64 bits")
            self.num_number_keys += 1
        if self.num_number_keys > MAX_NUMBERS_AS_KEYS:
            raise Exceeded(f"more than {MAX_NUMBERS_AS_KEYS:,} of its keys are numbers")

    def encode(self, text: Any, encoding: Any) -> bytes:
        """Encode as ``_codecs.encode``, but each text only once; an encoding other than ``latin1`` raises ValueError."""
        if encoding != "latin1" or not isinstance(text, str):
            raise ValueError("bytes are encoded in an unknown way")
        if id(text) not in self.encoded:
            self.encoded[id(text)] = text, text.encode("latin1")  # keeps the text, and so its id
        return self.encoded[id(text)][1]

    def get_extension(self, code: int) -> Any:
        """Refuse extension codes (``copyreg``), which name a class by number."""
        raise PickleRefused(f"it asks for the registered extension {code}")

    def load_build(self) -> None:
        """Set the state of an object, or raise :class:`PickleRefused` (:attr:`keeps_state`)."""
        # The stack ends with the object and its state.
        if not isinstance(self.stack[-2], self.keeps_state):
            raise PickleRefused(f"it sets the state of a {type(self.stack[-2]).__name__}")
        super().load_build()

    def load_bytearray8(self) -> None:
        """Read a bytearray without reserving memory for its stated length, or raise EOFError."""
        (length,) = struct.unpack("<Q", self.read(8))
        data = self.read(length)
        if len(data) < length:
            raise EOFError("it ends too early")
        self.append(bytearray(data))

    def _check_items(self, target: Any, keys: list) -> None:
        if not isinstance(target, self.keeps_items):
            raise ValueError(f"it sets items of a {type(target).__name__}")
        self.check_keys(keys)

    def _check_arguments(self, arguments: Any) -> None:
        if not isinstance(arguments, tuple):
            raise ValueError(f"a call has a {type(arguments).__name__} instead of arguments")
        self.budget.take("steps", steps=len(arguments) + _OBJECT)

    # Operands are the last items of the stack: for SETITEM, the target, a key and a value; for SETITEMS and DICT, keys
    # and values in turn, after a mark. The target of SETITEMS lies below the mark, on the stack put aside
    # (``metastack``).
    instructions: ClassVar = {
        **_Unpickler.dispatch,
        pickle.BUILD[0]: load_build,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        **{
            getattr(pickle, name)[0]: _checked(check, _Unpickler.dispatch[getattr(pickle, name)[0]])
            for name, check in {
                "SETITEM": lambda self: self._check_items(self.stack[-3], self.stack[-2:-1]),
                "SETITEMS": lambda self: self._check_items(self.metastack[-1][-1], self.stack[::2]),
                "DICT": lambda self: self.check_keys(self.stack[::2]),
                "ADDITEMS": lambda self: self.check_keys(self.stack),
                "FROZENSET": lambda self: self.check_keys(self.stack),
                "REDUCE": lambda self: self._check_arguments(self.stack[-1]),
                "NEWOBJ": lambda self: self._check_arguments(self.stack[-1]),
                "NEWOBJ_EX": lambda self: self._check_arguments(self.stack[-2]),
            }.items()
        },
    }


class _Instructions(dict):
    """Maps each instruction to its method; looking it up counts its steps."""

    def __init__(self, methods: dict[int, Any], budget: Budget) -> None:
        super().__init__(methods)
        self.budget = budget

    def __getitem__(self, instruction: int) -> Any:
        budget = self.budget
        # Calling take() would be too slow here, because a pickle may have millions of instructions.
        budget.steps += _OBJECT if instruction in _MAKING else 1
        if budget.steps > budget.most_steps:
            budget.take("steps")
        return dict.__getitem__(self, instruction)


@dataclass
class _Bounded:
    """Reads a stream of ``size`` bytes; refuses longer requests before memory is reserved."""

    stream: Any
    size: int

    def read(self, length: int) -> bytes:
        """Read up to ``length`` bytes; raise EOFError if the whole stream is shorter."""
        if length > self.size:
            raise EOFError(f"it ends too early for the {length} bytes that it claims to hold in one piece")
        return self.stream.read(length)

    def readline(self) -> bytes:
        """Read a line; raise ValueError above 16 MiB."""
        line = self.stream.readline(_MAX_LINE_BYTES)
        if len(line) == _MAX_LINE_BYTES:
            raise ValueError(f"it has a line of more than {_MAX_LINE_BYTES:,} bytes")
        return line
