"""The tensors in a stranger's file of weights, found without believing anything in it.

`torch.load(weights_only=True)` runs no stranger's code either, but it makes whatever a file of a few bytes asks for:
2 GB of zeros, a tuple whose hash takes years, the contents of a tar archive. Here the operations of a pickle are read
one by one. Nothing that they name is imported or called; dictionaries, lists and the places of tensors come of them,
and nothing else. A tensor's numbers stay in the file until they are asked for.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cyclegan.errors import CheckpointError, shown

MOST_PARTS = 10_000
"""The most tensors in a file; the networks here have about a hundred."""
_MOST_STEPS = 50 * MOST_PARTS
"""The most operations of a file's pickles; a tensor takes 30 to 40."""
MOST_BYTES = 2**24
"""The most bytes that describe the tensors: a pickle, a zip's list of members, a header of safetensors."""
MOST_AXES = 8
"""The most axes of a tensor; the product of thousands of sizes would take long."""

_DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}
_OF_STORAGE = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128, "QInt8Storage": torch.qint8,
    "QUInt8Storage": torch.quint8, "QInt32Storage": torch.qint32, "UntypedStorage": torch.uint8,
}  # fmt: skip
_TENSORS = {f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")}
_WRAPPERS = {
    "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state", "torch.nn.parameter.Parameter",
}  # fmt: skip
_OTHER_TENSORS = {
    "torch._utils._rebuild_sparse_tensor": "sparse", "torch._utils._rebuild_qtensor": "quantised",
    "torch._utils._rebuild_nested_tensor": "nested", "torch._utils._rebuild_meta_tensor_no_storage": "meta",
    "torch._utils._rebuild_wrapper_subclass": "of a class of its own",
    "torch._utils._rebuild_device_tensor_from_numpy": "of another device",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "of another device",
    "torch._tensor._rebuild_from_type_v2": "of a class of its own",
}  # fmt: skip
_KNOWN = {
    "collections.OrderedDict", "collections.Counter", "torch.serialization._get_layout", "torch.Size", "torch.Tensor",
    "torch.device", "_codecs.encode", "builtins.bytearray", "builtins.set", "builtins.complex", "__builtin__.bytearray",
    "__builtin__.set", "__builtin__.complex", "torch.storage.UntypedStorage", "torch.per_tensor_affine",
    "torch.per_tensor_symmetric", "torch.per_channel_affine", "torch.per_channel_symmetric",
    "torch.per_channel_affine_float_qparams",
    *_DTYPES, *_TENSORS, *_WRAPPERS, *_OTHER_TENSORS,
    *(f"torch.{device}{name}" for name in _OF_STORAGE for device in ("", "cuda.")),
}  # fmt: skip
"""The names that torch writes next to weights. Any other is refused, and none is called."""


@dataclass
class Storage:
    """A piece of a file that tensors are in."""

    dtype: torch.dtype
    nbytes: int
    start: int = -1
    """Its place in the file; -1 until it is known."""


@dataclass(frozen=True)
class Stored:
    """A tensor whose numbers are still in the file."""

    path: Path
    kind: str
    """Its type, such as "torch.float32"; "sparse" and the like for one that isn't a piece of memory."""
    shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dtype: torch.dtype | None = None
    storage: Storage | None = None
    offset: int = 0
    """The numbers of the storage before its first one."""

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes that its numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize if self.dtype else 0

    @property
    def is_plain(self) -> bool:
        """True for floating-point numbers without gaps, all of them in the file.

        With a stride of 0, a few bytes can claim to be terabytes.
        """
        if self.storage is None or self.dtype is None or not self.dtype.is_floating_point or 0 in self.shape:
            return False
        span = 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        end = (self.offset + span) * self.dtype.itemsize
        return span == math.prod(self.shape) and end <= self.storage.nbytes

    def read(self) -> Tensor:
        """Return the numbers of a plain tensor.

        Raises:
            CheckpointError: the file can't be read any more.
        """
        assert self.is_plain and self.storage is not None and self.dtype is not None
        content = bytearray(self.nbytes)
        try:
            with self.path.open("rb") as file:
                file.seek(self.storage.start + self.offset * self.dtype.itemsize)
                found = file.readinto(content)
        except OSError as error:
            raise CheckpointError(
                "{name} can't be read ({reason}): check its permissions", name=self.path.name, reason=error
            ) from error
        if found < len(content):
            raise damaged(self.path)
        return torch.frombuffer(content, dtype=self.dtype).as_strided(self.shape, self.stride)


def damaged(path: Path) -> CheckpointError:
    """Return the refusal of a file that ends too early or contradicts itself."""
    return CheckpointError("{name} is damaged or incomplete: download or copy it again", name=shown(path.name))


def more_than_weights(path: Path, kind: str = "") -> CheckpointError:
    """Return the refusal of a file with objects; `kind` is the class or function of the first."""
    if kind:
        return CheckpointError(
            "{name} holds more than weights ({kind}), and reading that could run code: load it where you trust it and "
            "save only the network's state_dict() again",
            name=shown(path.name), kind=shown(kind),
        )
    return CheckpointError(
        "{name} holds more than weights, and reading the rest could run code: load it where you trust it and save only "
        "the network's state_dict() again",
        name=shown(path.name),
    )


def too_many(path: Path, count: int) -> CheckpointError:
    """Return the refusal of a file with more than MOST_PARTS parts."""
    return CheckpointError(
        "{name} has {count} parts, far more than these networks: save only the generator's state_dict() again",
        name=shown(path.name), count=count,
    )


def too_much(path: Path) -> CheckpointError:
    """Return the refusal of a file that describes far more than a network."""
    return CheckpointError(
        "{name} holds far more than these networks: save only the generator's state_dict() again",
        name=shown(path.name),
    )


# --- pickles ----------------------------------------------------------------------------------------------------

_FIXED = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}
_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES",
}  # fmt: skip
"""Operations that give a number or a text."""


@dataclass(frozen=True)
class _Named:
    """A class or function that a pickle names; or what calling it would give, which nobody asks for."""

    name: str


def check_numbers(*values: object) -> None:
    """Raise ValueError unless all are whole numbers that a computer can count to."""
    if not all(type(value) is int and 0 <= value < 2**48 for value in values):
        raise ValueError("no number of anything")


class PickleReader:
    """The operations of pickles, as `torch.save` uses them.

    Args:
        path: of the file.
        find: returns the storage of a type, by its key and its bytes.
    """

    def __init__(self, path: Path, find: Callable[[torch.dtype, str, int], Storage]) -> None:
        self.path, self.find = path, find
        self.steps = self.tensors = self.letters = 0

    def read(self, file: io.BytesIO) -> Any:
        """Return the object in the next pickle of `file`.

        Raises:
            CheckpointError: it is damaged, names a class or function that torch doesn't write, or is far too long.
        """
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        try:
            for operation, value, _ in pickletools.genops(file):
                self.steps += 1
                if self.steps > _MOST_STEPS:
                    raise too_much(self.path)
                if operation.name == "STOP":
                    return self.stack.pop()
                self._step(operation.name, value)
        except (ValueError, LookupError) as error:  # It takes from an empty stack, or names what isn't there.
            raise damaged(self.path) from error
        raise damaged(self.path)

    def _step(self, name: str, value: Any) -> None:
        """Do one operation."""
        stack = self.stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "BINPUT" | "LONG_BINPUT":
                self.memo[value] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[value])
            case "MARK":
                self.marks.append(stack)
                self.stack = []
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [stack.pop() for _ in range(int(name[-1]))]
                stack.append(tuple(reversed(items)))
            case "TUPLE":
                items = self._to_mark()
                self.stack.append(tuple(items))
            case "APPEND":
                self._extend([stack.pop()])
            case "APPENDS" | "ADDITEMS":
                self._extend(self._to_mark())
            case "SETITEM":
                held = stack.pop()
                self._set([stack.pop(), held])
            case "SETITEMS":
                self._set(self._to_mark())
            case "GLOBAL":
                stack.append(self._known(*value.split(" ", 1)))
            case "STACK_GLOBAL":
                held = stack.pop()
                stack.append(self._known(stack.pop(), held))
            case "BINPERSID":
                stack.append(self._storage(stack.pop()))
            case "REDUCE" | "NEWOBJ":
                arguments = stack.pop()
                stack.append(self._made(stack.pop(), arguments))
            case "BUILD":  # It gives attributes, such as the versions in a state dict.
                stack.pop()
            case _ if name in _FIXED:
                stack.append(_FIXED[name])
            case _ if name in _EMPTY:
                stack.append(_EMPTY[name]())
            case _ if name in _VALUES:
                stack.append(value)
            case _:
                raise more_than_weights(self.path)

    def _to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def _set(self, items: list[Any]) -> None:
        pairs = list(zip(items[::2], items[1::2], strict=True))
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update(self._named(pairs))

    def _named(self, pairs: Sequence[tuple[object, object]]) -> dict[str, Any]:
        """Return those pairs whose key is a name.

        The hash of a tuple of tuples can take years, and numbers of equal hashes make a dictionary slow.
        """
        named = {key: value for key, value in pairs if isinstance(key, str)}
        self.letters += sum(map(len, named))
        if self.letters > MOST_BYTES:  # A pickle can use one name of megabytes in each of many dictionaries.
            raise too_much(self.path)
        return named

    def _known(self, module: object, name: object) -> _Named:
        full = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else ""
        if full not in _KNOWN:
            raise more_than_weights(self.path, full.removeprefix("__builtin__.").removeprefix("builtins."))
        return _Named(full)

    def _storage(self, described: object) -> Storage:
        """Return the storage that a pickle refers to; raise ValueError or LookupError for nonsense."""
        if not isinstance(described, tuple):
            raise ValueError("no storage")
        if described[0] != "storage":  # Such as the source code of a whole network.
            raise more_than_weights(self.path)
        _, named, key, _, count, *view = described
        if not isinstance(named, _Named) or not isinstance(key, str) or any(part is not None for part in view):
            raise ValueError("no storage")
        check_numbers(count)
        dtype = _OF_STORAGE[named.name.rpartition(".")[2]]
        return self.find(dtype, key, count * dtype.itemsize)

    def _made(self, function: object, arguments: object) -> object:
        """Return what a call in a pickle stands for; raise ValueError for nonsense."""
        if not isinstance(function, _Named) or not isinstance(arguments, tuple):
            raise ValueError("no call")
        name = function.name
        if name == "torch._tensor._rebuild_from_type_v2":  # A tensor with attributes.
            inner, _, more, *_ = arguments
            if isinstance(inner, _Named) and inner.name in _TENSORS and isinstance(more, tuple):
                name, arguments = inner.name, more
        if name == "collections.OrderedDict":
            return self._ordered(*arguments)
        if name in _WRAPPERS and arguments:
            return arguments[0]
        if name in _TENSORS:
            return self._tensor(arguments)
        if name in _OTHER_TENSORS:
            return self._counted(Stored(self.path, _OTHER_TENSORS[name]))
        return function

    def _ordered(self, pairs: Any = (), *more: object) -> dict[str, Any]:
        """Return a dictionary from pairs, as Python 2 wrote it."""
        if more or not isinstance(pairs, (list, tuple)) or not all(isinstance(pair, (list, tuple)) for pair in pairs):
            raise ValueError("no pairs")
        return self._named(pairs)

    def _tensor(self, arguments: tuple[Any, ...]) -> Stored:
        storage, offset, shape, stride, *more = arguments
        if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
            raise ValueError("no tensor")
        check_numbers(offset, *shape, *stride)
        if len(shape) != len(stride) or len(shape) > MOST_AXES:
            raise ValueError("no shape")
        named = [_DTYPES[part.name] for part in more if isinstance(part, _Named) and part.name in _DTYPES]
        dtype = named[0] if named else storage.dtype
        return self._counted(Stored(self.path, str(dtype), shape, stride, dtype, storage, offset))

    def _counted(self, tensor: Stored) -> Stored:
        self.tensors += 1
        if self.tensors > MOST_PARTS:
            raise too_many(self.path, self.tensors)
        return tensor
