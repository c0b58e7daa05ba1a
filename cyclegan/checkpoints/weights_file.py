"""The networks in a file of weights that someone else wrote: what the file is, by its contents, and what it holds.

Nothing in a file is trusted: no code in it runs, and no number in it is read before names and shapes fit a network
(see `cyclegan.checkpoints.stored`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from cyclegan.checkpoints.containers import list_zip, open_legacy, open_safetensors, open_zip
from cyclegan.checkpoints.stored import Stored
from cyclegan.errors import CheckpointError, Message, message, shown

# Statistics that instance norm saved before 2018; the authors' later code drops them, too.
_UNUSED = ("running_mean", "running_var", "num_batches_tracked")
_DEPTH = 4
"""The most dictionaries within dictionaries around a network, as in {"models": {"G_AB": …}}."""
_MOST_LETTERS = 200
"""The letters of a dictionary's name that count."""
# The names of the layers of a network that is known here, after the name of the network itself.
_LAYERS = re.compile(r"(?P<network>(?:[\w-]+\.)*?)(?:model\.(?:\d|model\.)|net\.\d|stem\.)")

_AGAIN = message("download it again")
_NO_KERAS = message(
    "their layers differ from those here, so they can't be imported; look for the model's PyTorch weights, or train it "
    "here"
)
_UNPACK = message("unpack it and name the files in it")
_KINDS: tuple[tuple[Callable[[bytes, str], bool], Message, Message], ...] = (
    (lambda start, name: not start, message("an empty file"), _AGAIN),
    (
        lambda start, name: start.startswith(b"version https://git-lfs"),
        message("a Git LFS pointer, a line of text in place of the file"),
        message("run git lfs pull in its repository, or download it again from its page"),
    ),
    (
        lambda start, name: start.lstrip().startswith(b"<"),
        message("a web page, which a failed download often leaves"), _AGAIN,
    ),
    (lambda start, name: start.startswith(b"\x89HDF\r\n"), message("HDF5, such as weights of Keras"), _NO_KERAS),
    (
        lambda start, name: start.startswith(b"model_checkpoint_path:")
        or re.search(r"\.(index|meta|pb|data-\d{5}-of-\d{5})$", name) is not None,
        message("a part of a TensorFlow checkpoint"), _NO_KERAS,
    ),
    (
        lambda start, name: start[4:8] == b"TFL3", message("a TensorFlow Lite network"), _NO_KERAS,
    ),
    (
        lambda start, name: start[:1] == b"\x08" and (name.endswith(".onnx") or b"pytorch" in start[:32]),
        message("an ONNX network"),
        message("import the PyTorch weights that it was exported from, because ONNX doesn't keep their names"),
    ),
    (
        lambda start, name: start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!"))
        or start[257:262] == b"ustar",
        message("an archive"), _UNPACK,
    ),
    (
        lambda start, name: start.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")),
        message("a picture"), message("name the file of weights"),
    ),
)  # fmt: skip
"""Other kinds of files: how they begin or are named, what they are, and the remedy."""


def read_networks(path: Path) -> dict[str, dict[str, Stored]]:
    """Return the networks in a file: weights by their names, by the network's name in the file.

    A file may hold one network, whose name is then "", or several in dictionaries or behind prefixes, as training
    programs save them: {"state_dict": …}, {"G_AB": …, "G_BA": …, "optimizer": …}, "module.…". What isn't a tensor is
    left out.

    Args:
        path: a file that `torch.save` wrote, or safetensors.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, or holds more than weights, or no weights.
    """
    content = _load(path)
    found: dict[str, dict[str, Stored]] = {}
    _collect(content, "", found, _DEPTH, set())
    if not found:
        raise CheckpointError(
            "{name} holds no weights by name: save the network's state_dict(), not the network or a tensor",
            name=shown(path.name),
        )
    return found


def _collect(
    content: object, name: str, found: dict[str, dict[str, Stored]], depth: int, seen: set[int]
) -> None:
    # A pickle of a few bytes can hold one dictionary in a million places, so each is looked into once.
    if not isinstance(content, Mapping) or depth == 0 or id(content) in seen:
        return
    seen.add(id(content))
    for key, value in content.items():
        if isinstance(value, Stored):
            match = _LAYERS.match(key)
            prefix = match["network"] if match else "module." * key.startswith("module.")
            network = ".".join(part for part in (name, *prefix.split(".")) if part and part != "module")
            found.setdefault(network, {})[key[len(prefix) :]] = value
        else:
            # Cut, because a name of megabytes would be repeated for each dictionary in it.
            _collect(value, f"{name}.{key[:_MOST_LETTERS]}".strip("."), found, depth - 1, seen)


def plain(name: str, weights: Mapping[str, Stored]) -> dict[str, Stored]:
    """Return a network's weights without unused statistics; nothing is read.

    Args:
        name: of the file, for messages.

    Raises:
        CheckpointError: a tensor isn't plain numbers, or several share their numbers.
    """
    kept = {key: tensor for key, tensor in weights.items() if not key.endswith(_UNUSED)}
    for key, tensor in kept.items():
        if not tensor.is_plain:
            raise CheckpointError(
                "{name}: {key} ({kind}) is not plain floating-point numbers: import the network as it was before it "
                "was quantised, pruned or otherwise changed",
                name=name, key=shown(key), kind=shown(tensor.kind),
            )
    # Many weights in one piece of memory would take far more than the file; those of the networks here share nothing.
    stored = {tensor.storage.start: tensor.storage.nbytes for tensor in kept.values()}
    if sum(tensor.nbytes for tensor in kept.values()) > sum(stored.values()):
        raise CheckpointError(
            "{name} holds weights that share their numbers, as no network here does: save the network's own "
            "state_dict() again",
            name=name,
        )
    return kept


def copied(name: str, weights: Mapping[str, Stored]) -> dict[str, Tensor]:
    """Return a network's weights as float32 with memory of their own.

    Args:
        name: of the file, for messages.
        weights: from `plain`.

    Raises:
        CheckpointError: a value isn't finite.
    """
    copies: dict[str, Tensor] = {}
    for key, tensor in weights.items():
        numbers = tensor.read().to(torch.float32).contiguous()
        if not torch.isfinite(numbers).all():
            raise CheckpointError(
                "{name}: {key} holds values that are not finite, so the training had failed: import an earlier epoch",
                name=name, key=shown(key),
            )
        copies[key] = numbers
    return copies


def some(names: Iterable[str]) -> str:
    """Return the first three names, and how many more there are."""
    names = list(names)
    return ", ".join(map(shown, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# --- reading --------------------------------------------------------------------------------------------------


def _load(path: Path) -> object:
    """Return the content of a file, without running any code in it."""
    try:
        if path.is_dir():
            if (path / "saved_model.pb").exists():
                raise _other_kind(path, message("TensorFlow's SavedModel"), _NO_KERAS)
            raise CheckpointError("{path} is a folder: name the *_net_G*.pth files in it", path=path)
        if not path.exists():
            raise CheckpointError("there is no file {path}: check the name", path=path)
        if not path.is_file():  # Reading a pipe or a device may never end.
            raise CheckpointError("{path} is not a regular file: name the file of weights", path=path)
        size = path.stat().st_size
        with path.open("rb") as file:  # A file of the kernel has no size, and reading it may never end.
            start = file.read(512 if size else 0)
    except OSError as error:
        raise CheckpointError(
            "{name} can't be read ({reason}): check its permissions", name=path.name, reason=error
        ) from error
    if 2 <= int.from_bytes(start[:8], "little") < size and start[8:9] == b"{":
        return open_safetensors(path)
    for matches, kind, remedy in _KINDS:
        if matches(start, path.name):
            raise _other_kind(path, kind, remedy)
    if start.startswith(b"PK"):
        return _load_zip(path)
    if start[:1] != b"\x80":  # The bare pickle of torch before 1.6.
        raise CheckpointError(
            "{name} isn't a PyTorch checkpoint: a failed download often leaves another file; download it again",
            name=shown(path.name),
        )
    return open_legacy(path)


def _load_zip(path: Path) -> object:
    """Return the content of a zip that torch wrote, and refuse any other."""
    members = list_zip(path)
    names = {member.filename.rpartition("/")[2] for member in members}
    if {"config.json", "model.weights.h5"} <= names:
        raise _other_kind(path, message("a network of Keras"), _NO_KERAS)
    if "data.pkl" not in names and any(name.endswith((".pth", ".pt", ".bin", ".h5", ".safetensors")) for name in names):
        raise _other_kind(path, message("an archive"), _UNPACK)
    # torch stores without compressing, so a file that claims more than it has would only fill the memory.
    packed = any(member.compress_type or member.file_size != member.compress_size for member in members)
    if packed or sum(member.file_size for member in members) > path.stat().st_size:
        raise _other_kind(path, message("a compressed archive"), _UNPACK)
    return open_zip(path, members)


def _other_kind(path: Path, kind: Message, remedy: Message) -> CheckpointError:
    return CheckpointError(
        "{name} isn't a PyTorch checkpoint but {kind}: {remedy}", name=shown(path.name), kind=kind, remedy=remedy
    )

