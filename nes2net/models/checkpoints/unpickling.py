"""An unpickler that runs no code, and a function that copies foreign metadata as plain data.

A pickle is a program that can name any function and call it. This unpickler builds only tensors and
plain containers. In place of an object of any other class, this unpickler builds a :class:`Record`,
which stores the arguments and runs no code. A name that does not belong in a checkpoint, such as
``os.system``, raises an error.

In reading order: ``TensorUnpickler`` reads a pickle, and calls the functions below this class in
place of PyTorch's functions; ``plain`` copies metadata.
"""

from __future__ import annotations

import pickle
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from nes2net.lib.errors import InputError, shown
from nes2net.lib.files import Budget
from nes2net.lib.guarded_pickle import GuardedUnpickler, Refused
from nes2net.lib.plain_data import LONGEST_NUMBER, MOST_BYTES, MOST_DEPTH, MOST_VALUES

# Name of a storage class of PyTorch → type of the numbers in such a storage.
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "UntypedStorage": torch.uint8,
}

# Classes and modules of the standard library and of PyTorch that occur in real checkpoints; their objects become
# records.
_HARMLESS = (
    "argparse.Namespace",
    "typing.",
    "pathlib.",
    "datetime.",
    "enum.",
    "torch.nn.",
    "torch.optim.",
    "torch.device",
)
_HARMLESS_BUILTINS = {
    "builtins.int",
    "builtins.float",
    "builtins.complex",
    "builtins.bool",
    "builtins.str",
    "builtins.bytes",
    "builtins.tuple",
    "builtins.object",
    "builtins.slice",
    "builtins.NoneType",
    "builtins.Ellipsis",  # the ellipsis in types such as Tuple[int, ...]
}

MOST_CLASSES = 1000  # largest number of distinct classes that become records
LONGEST_NAME = 500  # largest number of characters in the name of a class
_MOST_DIMENSIONS = 64  # largest number of dimensions of a tensor


class Record:
    """Stands for an object that is not built; stores the arguments, items, elements and state of the object.

    The unpickler fills the record by the methods below, as it would fill the real object.
    :attr:`class_name` is the name of the object's class.
    """

    __slots__ = ("arguments", "elements", "items", "state")
    class_name = ""
    arguments: tuple[Any, ...]
    state: Any
    items: dict[Any, Any]
    elements: list[Any]

    def __new__(cls, *arguments: Any) -> Record:
        """Store the arguments here, because an unpickler may create an object without calling ``__init__``."""
        self = super().__new__(cls)
        self.arguments = arguments
        self.state = None
        self.items = {}
        self.elements = []
        return self

    def __setstate__(self, state: Any) -> None:
        """Store the state of the object that this record replaces."""
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Store an item of the dictionary-like object that this record replaces."""
        self.items[key] = value

    def append(self, element: Any) -> None:
        """Store an element of the list-like object that this record replaces."""
        self.elements.append(element)

    def extend(self, elements: Any) -> None:
        """Store elements of the list-like object that this record replaces."""
        self.elements.extend(elements)


class TensorUnpickler(GuardedUnpickler):
    """Reads one pickle from ``file``, a file of ``size`` bytes.

    Args:
        budget: see :class:`GuardedUnpickler`.
        storage_of: function that returns a storage; the arguments are the key and the number of
            bytes of the storage.
        records: name of a class → the subclass of :class:`Record` that stands for the class. The
            unpickler fills this mapping.
        tensors_only: whether objects of refused classes also become records; if False, such an
            object raises an error.
    """

    keeps_state = (Record,)
    keeps_items = (dict, Record)
    keys = (Tensor,)

    def __init__(
        self,
        file: Any,
        size: int,
        budget: Budget,
        storage_of: Callable[[str, int], torch.UntypedStorage],
        records: dict[str, type[Record]],
        tensors_only: bool,
    ) -> None:
        super().__init__(file, size, "utf-8", budget)
        self.storage_of = storage_of
        self.records = records
        self.tensors_only = tensors_only

    def find_class(self, module: str, name: str) -> Any:
        """Return the object that the pickle gets for ``module.name``; nothing is imported.

        The object is a type of numbers, a function of this module, a container, or a subclass of
        :class:`Record`. Python's unpickler calls this method for every name in the pickle.

        Raises:
            Refused: if ``tensors_only`` is false, and the name belongs to Python or PyTorch, but is
                not needed by any checkpoint. An example is ``os.system``.
            ValueError: if ``module.name`` cannot be the name of a class, or there are too many
                classes.
        """
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and isinstance(dtype := vars(torch).get(name), torch.dtype):
            return dtype
        if self.proto < 3:  # torch.save writes protocol 2: modules have Python 2's names
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full_name = f"{module}.{name}"
        if function := _FUNCTIONS.get(full_name):
            return function
        if full_name in _CONTAINERS:
            return partial(self._container, *_CONTAINERS[full_name])
        if full_name == "_codecs.encode":
            return self.encode
        # A record runs no code, but a file that names a function such as os.system is an attack, which should be
        # reported. From the standard library and PyTorch, only known data classes therefore become records.
        package = full_name.partition(".")[0]
        is_refused = package in sys.stdlib_module_names or package == "torch"
        if (
            is_refused
            and not full_name.startswith(_HARMLESS)
            and full_name not in _HARMLESS_BUILTINS
            and not self.tensors_only
        ):
            raise Refused(f"it asks for {full_name[:120]}")
        if full_name not in self.records:
            if len(full_name) > LONGEST_NAME or not full_name.isprintable():
                raise ValueError(f"{shown(full_name)} is not the name of a class")
            if len(self.records) == MOST_CLASSES:
                raise ValueError(f"it names more than {MOST_CLASSES:,} classes")
            self.records[full_name] = type("Record", (Record,), {"class_name": full_name, "__slots__": ()})
        return self.records[full_name]

    def _container(self, kind: type, position: int, *arguments: Any) -> Any:
        """Make a container of type ``kind``; Python's unpickler calls this method in place of the constructor.

        Args:
            position: index of the argument that holds the container's items. Without this
                argument, the container is empty.
            arguments: arguments of the call.

        Raises:
            TypeError: if the argument at ``position`` is not a container.
        """
        items = arguments[position] if position < len(arguments) else ()
        if not isinstance(items, (list, tuple, dict, set, frozenset)):
            raise TypeError(f"a {kind.__name__} is made of items")
        if issubclass(kind, (set, frozenset, dict)) and not isinstance(items, dict):
            keys = [item[0] for item in items] if issubclass(kind, dict) else items
            self.check_keys(keys)
        return kind(self.count_copied(items))

    def persistent_load(self, saved_id: Any) -> _Storage:
        """Return the storage that ``saved_id`` describes. Python's unpickler calls this method for every storage.

        Args:
            saved_id: ``("storage", type, key, device, number of elements)``, as ``torch.save``
                writes it.

        Raises:
            ValueError: if ``saved_id`` has another form, or describes a view of another storage.
        """
        match saved_id:
            case ("storage", torch.dtype() as dtype, str() | int() as key, _, int() as numel, *view) if (
                numel >= 0 and len(view) <= 1
            ):
                pass
            case _:
                raise ValueError("a tensor's storage is described in an unknown way")
        if view not in ([], [None]):
            raise ValueError("storages that are views of others are not read: load and save it with a newer PyTorch")
        return _Storage(self.storage_of(str(key), numel * dtype.itemsize), dtype)

    def load_build(self) -> None:
        """Execute the instruction BUILD, which sets the state of an object.

        For an ordered dictionary, only the metadata in the state are kept.
        """
        if not isinstance(self.stack[-2], OrderedDict):
            return super().load_build()
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(state, dict) and isinstance(state.get("_metadata"), dict):
            target._metadata = state["_metadata"]

    instructions: ClassVar = {**GuardedUnpickler.instructions, pickle.BUILD[0]: load_build}


@dataclass(eq=False, slots=True)
class _Storage:
    """The bytes of a tensor's storage, and the data type of the numbers in these bytes."""

    data: torch.UntypedStorage
    dtype: torch.dtype


def _rebuild_tensor(storage: _Storage, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    """Make a tensor of shape ``size`` that views ``storage``; its first number is at ``offset``.

    This function replaces PyTorch's function of the same name. Further arguments are ignored.
    """
    if not (isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= _MOST_DIMENSIONS):
        raise ValueError("a tensor's shape is described in an unknown way")
    flat = torch.empty(0, dtype=storage.dtype, device="cpu").set_(storage.data)
    # If the storage is too small, as_strided() raises an error, whereas set_() would enlarge the storage.
    return flat.as_strided(size, stride, offset)


def _rebuild_tensor_of(
    storage: _Storage, offset: int, size: tuple, stride: tuple, _grad: Any, _hooks: Any, dtype: torch.dtype, *_: Any
) -> Tensor:
    """Make a tensor as :func:`_rebuild_tensor` does, but read the bytes of ``storage`` as numbers of ``dtype``."""
    return _rebuild_tensor(_Storage(storage.data, dtype), offset, size, stride)


def _rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    """Return the tensor ``data`` in place of a parameter."""
    if not isinstance(data, Tensor):
        raise TypeError("a parameter is not a tensor")
    return data


def _reconstruct(cls: type, _base: Any, _state: Any) -> Record:
    """Return an empty record in place of the object of class ``cls`` that ``copyreg`` would build."""
    if not (isinstance(cls, type) and issubclass(cls, Record)):
        raise TypeError("an object has no class")
    return cls()


def _annotation(*_: Any) -> Record:
    """Return an empty record in place of a type such as ``Tuple[int, str]``, which some configurations contain."""
    return Record()


def _enum_member(cls: type, name: Any) -> Record:
    """Return a record in place of the member ``name`` of an enumeration, stored as ``getattr(Class, "MEMBER")``.

    Raises:
        Refused: if ``cls`` is not a subclass of :class:`Record`, or ``name`` is not a text.
    """
    if not (isinstance(cls, type) and issubclass(cls, Record) and isinstance(name, str)):
        raise Refused("it asks for builtins.getattr")
    return cls(name)


# Name of a function that a pickle may call → the function to call in its place.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_of,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "builtins.getattr": _enum_member,
    "copyreg._reconstructor": _reconstruct,
    "builtins.type": _annotation,  # the pickle of a type such as Optional[int] calls type(None)
    "_operator.getitem": _annotation,
    "_operator.or_": _annotation,
    "functools.reduce": _annotation,
    "types.GenericAlias": _annotation,
}

# Name of a container → the type to build, and the position of the items among the arguments of the call.
_CONTAINERS: dict[str, tuple[type, int]] = {
    "torch.Size": (tuple, 0),
    "collections.OrderedDict": (OrderedDict, 0),
    "collections.defaultdict": (dict, 1),
    "collections.Counter": (dict, 0),
    "collections.deque": (deque, 0),
    "builtins.set": (set, 0),
    "builtins.frozenset": (frozenset, 0),
    "builtins.list": (list, 0),
    "builtins.dict": (dict, 0),
}


def plain(value: Any, owner: str) -> Any:
    """Copy metadata as plain data: mappings with texts as keys, lists, tuples, texts, numbers, truth values, None.

    A :class:`Record` is replaced by its content (:func:`content_of`). Any other object is replaced
    by a short text that describes the object. An object that occurs several times is copied and
    counted each time.

    Args:
        owner: beginning of the error message, such as the name of the file.

    Raises:
        InputError: if there are more values, characters or levels than any model needs.

    >>> plain({"layers": [(512, 10, 5)], 1: {2}}, "the file")
    {'layers': [(512, 10, 5)], '1': '{2}'}
    """
    budget = Budget(f"{owner}: its metadata", MOST_BYTES, MOST_VALUES)

    def copy(value: Any, level: int) -> Any:
        """Copy ``value``, which lies inside ``level`` nested containers."""
        # Count each value, so that nested or repeated values cannot fill the memory.
        num_bytes = len(value) if isinstance(value, str) else 0
        budget.take("values", bytes=num_bytes, steps=1)
        if level > MOST_DEPTH:
            raise InputError(f"{owner}: its metadata is nested more than {MOST_DEPTH} deep")
        if isinstance(value, Record):
            return copy(content_of(value), level + 1)
        if isinstance(value, dict):
            copied = {}
            for key, item in value.items():
                name = key if isinstance(key, str) else shown(key)
                copied[copy(name, level)] = copy(item, level + 1)
            return copied
        if isinstance(value, (list, tuple)):
            return type(value)([copy(v, level + 1) for v in value])
        if value is None or isinstance(value, (str, float)):
            return value
        if isinstance(value, int) and value.bit_length() <= LONGEST_NUMBER:
            return value
        return shown(value)

    return copy(value, 0)


def content_of(record: Record) -> Any:
    """Return the data in a record: a Namespace's attributes, an omegaconf node's content, an enumeration's value."""
    state = record.state if isinstance(record.state, dict) else record.items
    if state or not record.arguments:
        return state.get("_val", state.get("_content", state))
    return record.arguments[0]
