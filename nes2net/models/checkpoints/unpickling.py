"""An unpickler that runs no code, and a function that copies foreign metadata as plain data.

A pickle is a program that can name any function and call it. This unpickler builds only tensors,
plain containers and, in place of other objects, a :class:`UnbuiltObject`, which stores the arguments. A
name that does not belong in a checkpoint, such as ``os.system``, raises an error.

``TensorUnpickler`` calls the functions below it in place of PyTorch's; ``plain`` copies metadata.
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

from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.storage.files import Budget
from nes2net.lib.storage.guarded_pickle import GuardedUnpickler, PickleRefused
from nes2net.lib.storage.plain_data import MAX_BYTES, MAX_DEPTH, MAX_NUMBER_BITS, MAX_VALUES

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

MAX_CLASSES = 1000  # largest number of distinct classes that become records
MAX_CLASS_NAME_LENGTH = 500  # largest number of characters in the name of a class
_MAX_DIMENSIONS = 64  # largest number of dimensions of a tensor


class UnbuiltObject:
    """Stands for an object of the class :attr:`class_name` that is not built.

    The unpickler fills in arguments, items, elements and state, as for the real object.
    """

    __slots__ = ("arguments", "elements", "items", "state")
    class_name = ""
    arguments: tuple[Any, ...]
    state: Any
    items: dict[Any, Any]
    elements: list[Any]

    def __new__(cls, *arguments: Any) -> UnbuiltObject:
        """Store the arguments, because an unpickler may not call ``__init__``."""
        self = super().__new__(cls)
        self.arguments = arguments
        self.state = None
        self.items = {}
        self.elements = []
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, element: Any) -> None:
        self.elements.append(element)

    def extend(self, elements: Any) -> None:
        self.elements.extend(elements)


class TensorUnpickler(GuardedUnpickler):
    """Reads one pickle from ``file``, a file of ``size`` bytes.

    Args:
        storage_of: (key, number of bytes) → storage.
        records: name of a class → its subclass of :class:`UnbuiltObject`; filled here.
        tensors_only: whether objects of refused classes also become records, not errors.
    """

    keeps_state = (UnbuiltObject,)
    keeps_items = (dict, UnbuiltObject)
    keys = (Tensor,)

    def __init__(
        self,
        file: Any,
        size: int,
        budget: Budget,
        storage_of: Callable[[str, int], torch.UntypedStorage],
        records: dict[str, type[UnbuiltObject]],
        tensors_only: bool,
    ) -> None:
        super().__init__(file, size, "utf-8", budget)
        self.storage_of = storage_of
        self.records = records
        self.tensors_only = tensors_only

    def find_class(self, module: str, name: str) -> Any:
        """Return the object that the pickle gets for ``module.name``; nothing is imported.

        It is a type of numbers, a function of this module, a container, or a subclass of
        :class:`UnbuiltObject`.

        Raises:
            Refused: if ``tensors_only`` is false, and no checkpoint needs this name of Python or
                PyTorch, such as ``os.system``.
            ValueError: if it cannot be a class, or there are too many classes.
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
        # A record runs no code, but a file that names a function such as os.system is an attack to report. Therefore,
        # only known data classes of the standard library and PyTorch become records.
        package = full_name.partition(".")[0]
        is_refused = package in sys.stdlib_module_names or package == "torch"
        if (
            is_refused
            and not full_name.startswith(_HARMLESS)
            and full_name not in _HARMLESS_BUILTINS
            and not self.tensors_only
        ):
            raise PickleRefused(f"it asks for {full_name[:120]}")
        if full_name not in self.records:
            if len(full_name) > MAX_CLASS_NAME_LENGTH or not full_name.isprintable():
                raise ValueError(f"{short_repr(full_name)} is not the name of a class")
            if len(self.records) == MAX_CLASSES:
                raise ValueError(f"it names more than {MAX_CLASSES:,} classes")
            self.records[full_name] = type(
                "UnbuiltObject", (UnbuiltObject,), {"class_name": full_name, "__slots__": ()}
            )
        return self.records[full_name]

    def _container(self, kind: type, position: int, *arguments: Any) -> Any:
        """Called in place of a constructor; the argument at ``position``, if any, holds the items."""
        items = arguments[position] if position < len(arguments) else ()
        if not isinstance(items, (list, tuple, dict, set, frozenset)):
            raise TypeError(f"a {kind.__name__} is made of a {type(items).__name__} instead of items")
        if issubclass(kind, (set, frozenset, dict)) and not isinstance(items, dict):
            keys = [item[0] for item in items] if issubclass(kind, dict) else items
            self.check_keys(keys)
        return kind(self.count_copied(items))  # items, counted in the budget

    def persistent_load(self, saved_id: Any) -> _Storage:
        """Return the storage that ``saved_id`` describes.

        Args:
            saved_id: ``("storage", type, key, device, number of elements)``, from ``torch.save``.

        Raises:
            ValueError: if it has another form, or describes a view of another storage.
        """
        match saved_id:
            case ("storage", torch.dtype() as dtype, str() | int() as key, _, int() as numel, *view) if (
                numel >= 0 and len(view) <= 1
            ):
                pass
            case _:
                raise ValueError(f"a tensor's storage is described in an unknown way, {short_repr(saved_id)}")
        if view not in ([], [None]):
            raise ValueError(
                "its storages are views of others, as before PyTorch 1.6: load and save it with a newer PyTorch"
            )
        return _Storage(self.storage_of(str(key), numel * dtype.itemsize), dtype)

    def load_build(self) -> None:
        """Execute BUILD, which sets the state of an object; an ordered dictionary gets only metadata."""
        # The stack ends with the object and its state.
        if not isinstance(self.stack[-2], OrderedDict):
            return super().load_build()
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(state, dict) and isinstance(state.get("_metadata"), dict):
            target._metadata = state["_metadata"]

    instructions: ClassVar = {**GuardedUnpickler.instructions, pickle.BUILD[0]: load_build}


@dataclass(eq=False, slots=True)
class _Storage:
    """The bytes of a tensor's storage, and the type of their numbers."""

    data: torch.UntypedStorage
    dtype: torch.dtype


def _rebuild_tensor(storage: _Storage, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    if not (isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= _MAX_DIMENSIONS):
        raise ValueError(f"a tensor's shape is described in an unknown way, {short_repr(size)}")
    flat = torch.empty(0, dtype=storage.dtype, device="cpu").set_(storage.data)
    # If the storage is too small, as_strided() raises an error, whereas set_() would enlarge the storage.
    return flat.as_strided(size, stride, offset)


def _rebuild_tensor_of_type(
    storage: _Storage, offset: int, size: tuple, stride: tuple, _grad: Any, _hooks: Any, dtype: torch.dtype, *_: Any
) -> Tensor:
    return _rebuild_tensor(_Storage(storage.data, dtype), offset, size, stride)  # arguments as in torch._utils


def _rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise TypeError(f"a parameter is a {type(data).__name__} instead of a tensor")
    return data


def _reconstruct(cls: type, _base: Any, _state: Any) -> UnbuiltObject:
    """Called in place of ``copyreg._reconstructor``, which makes an object without arguments."""
    if not (isinstance(cls, type) and issubclass(cls, UnbuiltObject)):
        raise TypeError("an object has no class")
    return cls()


def _annotation(*_: Any) -> UnbuiltObject:
    return UnbuiltObject()  # nobody reads the annotation


def _enum_member(cls: type, name: Any) -> UnbuiltObject:
    """Called for ``getattr(Class, "MEMBER")``; raises ``PickleRefused`` unless ``cls`` is an :class:`UnbuiltObject`."""
    if not (isinstance(cls, type) and issubclass(cls, UnbuiltObject) and isinstance(name, str)):
        raise PickleRefused("it asks for builtins.getattr")
    return cls(name)


# Name of a function that a pickle may call → the function to call in its place.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_of_type,
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

    A :class:`UnbuiltObject` becomes its content (:func:`content_of`), any other object a short text.

    Raises:
        InputError: if there are more values, characters or levels than any model needs.

    >>> plain({"layers": [(512, 10, 5)], 1: {2}}, "the file")
    {'layers': [(512, 10, 5)], '1': '{2}'}
    """
    budget = Budget(f"{owner}: its metadata", most_bytes=MAX_BYTES, most_steps=MAX_VALUES)

    def copy(value: Any, level: int) -> Any:
        # Count each value, so that nested or repeated values cannot fill the memory.
        num_bytes = len(value) if isinstance(value, str) else 0
        budget.take("values", bytes=num_bytes, steps=1)
        if level > MAX_DEPTH:
            raise InputError(f"{owner}: its metadata is nested more than {MAX_DEPTH} deep: copy or download it again")
        if isinstance(value, UnbuiltObject):
            return copy(content_of(value), level + 1)
        if isinstance(value, dict):
            copied = {}
            for key, item in value.items():
                name = key if isinstance(key, str) else short_repr(key)
                copied[copy(name, level)] = copy(item, level + 1)
            return copied
        if isinstance(value, (list, tuple)):
            return type(value)([copy(v, level + 1) for v in value])
        if value is None or isinstance(value, (str, float)):
            return value
        if isinstance(value, int) and value.bit_length() <= MAX_NUMBER_BITS:
            return value
        return short_repr(value)

    return copy(value, 0)


def content_of(record: UnbuiltObject) -> Any:
    """Return a Namespace's attributes, an omegaconf node's content, or an enumeration's value."""
    state = record.state if isinstance(record.state, dict) else record.items
    if state or not record.arguments:
        return state.get("_val", state.get("_content", state))  # names of omegaconf
    return record.arguments[0]
