"""Read dictionaries of arrays in ``.npy`` files without running code that the file holds.

``numpy.save`` pickles a dictionary, and ``numpy.load`` with ``allow_pickle`` runs any program in
it. Here a pickle may contain only NumPy's arrays and data types, read first as stand-ins, which
become arrays after their sizes have been checked.
"""

from __future__ import annotations

import io
import math
import re
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nes2net.lib.errors import InputError, expecting, short_repr
from nes2net.lib.storage.files import AnyPath, Budget, read_bounded
from nes2net.lib.storage.guarded_pickle import GuardedUnpickler, PickleRefused
from nes2net.lib.storage.text_files import MAX_BYTES


def read_npy_dictionary(path: AnyPath) -> dict[str, NDArray]:
    """Read a dictionary of name → array.

    Raises:
        InputError: if the file is missing or damaged, does not hold such a dictionary, or contains
            objects of other types.
    """
    content = read_bounded(path, MAX_BYTES, "give the path of a .npy file")
    budget = Budget(str(path), _MAX_GROWTH * len(content), _MAX_STEPS, len(content))
    with expecting("a .npy file with a dictionary of arrays", path, "download it again"):
        try:
            # The header of the file must announce an array of one object.
            stream = io.BytesIO(content)
            version = np.lib.format.read_magic(stream)
            read_header = np.lib.format.read_array_header_2_0
            if version == (1, 0):
                read_header = np.lib.format.read_array_header_1_0
            shape, _, dtype = read_header(stream)
            if not dtype.hasobject or dtype.names or shape != ():
                raise ValueError(f"it holds an array of {dtype} of shape {shape}")
            # The object must be a dictionary.
            unpickled = _ArrayUnpickler(stream, budget).load()
            if isinstance(unpickled, _Array):
                if unpickled.shape != () or not isinstance(unpickled.data, list) or len(unpickled.data) != 1:
                    raise ValueError(
                        f"it holds an array of shape {short_repr(unpickled.shape)} instead of one dictionary"
                    )
                unpickled = unpickled.data[0]
            if not isinstance(unpickled, dict):
                raise ValueError(f"it holds a {type(unpickled).__name__}")
            if not all(isinstance(name, str) for name in unpickled):
                raise ValueError("it holds a dictionary with a key that is not text")
            return {name: _array_of(value) for name, value in unpickled.items()}
        except PickleRefused as error:
            raise InputError(
                f"{path} was not read: {error}, which a file of arrays does not need; nothing in it was run; download it again"
            ) from error


def _array_of(value: Any) -> NDArray:
    if not isinstance(value, _Array):
        raise ValueError(f"it holds a {type(value).__name__} where an array was expected")
    return value.numpy()


_MAX_GROWTH = 16  # most memory, as a multiple of the size of the file
_MAX_DIMENSIONS = 32  # largest number of dimensions of an array, as in NumPy 1
_MAX_STEPS = 20_000_000  # largest number of steps of reading; PartialSpoof's evaluation set takes 11,000,000


class _DataType:
    """Stands for ``dtype(name, …)`` with the state ``(version, byte order, …)``."""

    # NumPy pickles further arguments, and the byte order as a state that comes later.
    def __init__(self, name: Any, *_: Any) -> None:
        self.name = name
        self.byte_order = "|"

    def __setstate__(self, state: tuple) -> None:
        self.byte_order = state[1]

    def numpy(self) -> np.dtype:
        """Convert numbers, truth values or text; raise ValueError for any other type."""
        if not (isinstance(self.name, str) and re.fullmatch(r"[biufSU]\d{1,6}", self.name)):
            raise ValueError(f"it holds an array of {short_repr(self.name)}")
        if self.byte_order not in ("<", ">", "|", "="):
            raise ValueError(f"it holds numbers in the unknown byte order {short_repr(self.byte_order)}")
        return np.dtype(f"{self.byte_order}{self.name}")


class _Array:
    """Stands for an array with the state (version, shape, type, Fortran order, data)."""

    # The file may set these attributes to any value, so :meth:`numpy` checks them.
    shape: Any = ()
    dtype: Any = None
    fortran: Any = False
    data: Any = None

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state

    def numpy(self) -> NDArray:
        if not isinstance(self.dtype, _DataType) or not isinstance(self.data, (bytes, bytearray)):
            raise ValueError("it holds an array without data")
        dtype = self.dtype.numpy()
        is_shape = isinstance(self.shape, tuple) and len(self.shape) <= _MAX_DIMENSIONS
        if not is_shape or not all(isinstance(n, int) and 0 <= n < 1 << 63 for n in self.shape):
            raise ValueError(f"it holds an array of the impossible shape {short_repr(self.shape)}")
        num_bytes = math.prod(self.shape) * dtype.itemsize
        if num_bytes != len(self.data):
            shape = short_repr(self.shape)
            raise ValueError(f"it holds an array of shape {shape} in {len(self.data)} bytes instead of {num_bytes}")
        order: Literal["F", "C"] = "F" if self.fortran else "C"
        return np.frombuffer(self.data, dtype).reshape(self.shape, order=order)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """Stand in for NumPy's ``_frombuffer`` (pickles of protocol 5)."""
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", data))  # version 1
    return array


# (module, name) in the pickle → the object that stands for it here.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DataType,
    ("__builtin__", "bytes"): lambda: b"",  # protocol 2 writes empty bytes like this
}


class _ArrayUnpickler(GuardedUnpickler):
    """Reads a pickle of the names in ``_ALLOWED``; runs no code of the file."""

    keeps_state = (_Array, _DataType)

    def __init__(self, stream: io.BytesIO, budget: Budget) -> None:
        super().__init__(stream, stream.getbuffer().nbytes, "latin1", budget)

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name; raise Refused if it is not allowed."""
        if (module, name) == ("_codecs", "encode"):
            return self.encode
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise PickleRefused(f"it asks for {f'{module}.{name}'[:100]}") from None
