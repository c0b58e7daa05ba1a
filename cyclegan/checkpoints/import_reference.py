"""Import of generators trained with the CycleGAN authors' PyTorch code, such as `latest_net_G_A.pth`.

Their file is a pickled state dict of one network and doesn't name the architecture, so it is recognised from the
names and shapes. Only the names differ here: their `model.10.conv_block.1.weight` is our `blocks.0.conv1.weight`.
The numbers are the same, and so is the translated picture.

Nothing in a file is trusted: it is read with `weights_only=True`, so that no code in it runs.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from cyclegan.checkpoints.format import (
    GENERATOR_OF,
    CheckpointConfig,
    CheckpointInfo,
    epoch_name,
    read_info,
    save_checkpoint,
)
from cyclegan.config import DataConfig, Direction, ModelConfig, direction_name
from cyclegan.errors import CheckpointError, ConfigError
from cyclegan.networks import build_generator

# Statistics that instance norm saved before 2018; the authors' later code drops them, too.
_UNUSED = ("running_mean", "running_var", "num_batches_tracked")

# <epoch>_net_G.pth, <epoch>_net_G_A.pth, <epoch>_net_G_B.pth
_FILE_NAME = re.compile(r"(?P<epoch>.+)_net_(?P<network>[GD])(?:_(?P<letter>[AB]))?\.(?:pth|pt)")

_BLOCK = re.compile(r"model\.(\d+)\.conv_block\.")


def find_direction(path: Path) -> Direction:
    """Return the direction in which a file of the reference translates, by its name.

    Args:
        path: `*_net_G_A.pth` (A → B), `*_net_G_B.pth` (B → A), or `*_net_G.pth`, the one network of a
            single-direction download, which counts as A → B.

    Raises:
        CheckpointError: the name matches none of these.
    """
    return "ba" if _parse_name(Path(path))["letter"] == "B" else "ab"


def read_reference(path: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Return the settings and the weights of one generator of the reference.

    Args:
        path: a file that the reference's trainer saved: ResNet with 6 or 9 blocks or U-Net 256 or 128, with
            instance norm, with or without dropout, of any width.

    Returns:
        The settings that rebuild it, and its weights by our names, float32 on the CPU:
        `build_generator(model).load_state_dict(weights)` fits exactly. A U-Net's dropout leaves no trace in
        its file; it counts as off, which doesn't change the output.

    Raises:
        CheckpointError: the file is missing, damaged, holds more than weights, or is of an unsupported network.
    """
    path = Path(path)
    weights = _clean(path, _load(path))
    model, names = _recognise(path, weights)

    with torch.device("meta"):
        expected = {key: tuple(tensor.shape) for key, tensor in build_generator(model).state_dict().items()}
    our_key = {
        f"{theirs}.{kind}": f"{ours}.{kind}"
        for theirs, ours in names.items()
        for kind in ("weight", "bias")
        if f"{ours}.{kind}" in expected
    }
    if unknown := [key for key in weights if key not in our_key]:
        raise CheckpointError(
            "{name} looks like {generator} but also holds {some}: it comes from a changed network, and only the "
            "unchanged ones of the authors' code can be imported",
            name=path.name, generator=model.generator, some=_some(unknown),
        )
    if missing := [key for key in our_key if key not in weights]:
        raise CheckpointError(
            "{name} looks like {generator} but lacks {some}: save the network's whole state_dict() again",
            name=path.name, generator=model.generator, some=_some(missing),
        )
    for key, tensor in weights.items():
        if tuple(tensor.shape) != expected[our_key[key]]:
            raise CheckpointError(
                "{name}: {key} has the shape {shape} where {generator} at ngf {ngf} has {expected}: it comes from a "
                "changed network, and only the unchanged ones of the authors' code can be imported",
                name=path.name, key=key, shape=tuple(tensor.shape), generator=model.generator, ngf=model.ngf,
                expected=expected[our_key[key]],
            )
    return model, {our_key[key]: tensor for key, tensor in weights.items()}


def import_reference(paths: Sequence[Path]) -> dict[Direction, tuple[ModelConfig, dict[str, Tensor]]]:
    """Return the generators of one model: one, or one for each direction.

    Args:
        paths: one file, or the two of one epoch; see `find_direction` for their names.

    Returns:
        `read_reference`'s result by direction, "ab" first.

    Raises:
        CheckpointError: there are not one or two files, they are of one direction, of different epochs or
            of different architectures, or one of them can't be read.
    """
    paths = [Path(path) for path in paths]
    if not 1 <= len(paths) <= 2:
        raise CheckpointError(
            "one or two files make a model, not {count}: name *_net_G_A.pth and *_net_G_B.pth, or *_net_G.pth",
            count=len(paths),
        )
    by_direction = {find_direction(path): path for path in paths}
    if len(paths) == 2:
        first, second = (_parse_name(path) for path in paths)
        names = {"first": paths[0].name, "second": paths[1].name}
        if len(by_direction) == 1:
            raise CheckpointError(
                "{first} and {second} both translate {direction}: name one *_net_G_A.pth and one *_net_G_B.pth",
                **names, direction=direction_name(next(iter(by_direction))),
            )
        if first["letter"] is None or second["letter"] is None:
            raise CheckpointError(
                "{first} and {second} aren't a pair: *_net_G.pth stands alone; import it by itself, or rename it to "
                "*_net_G_A.pth if it was trained with the other",
                **names,
            )
        if first["epoch"] != second["epoch"]:
            raise CheckpointError(
                "{first} and {second} are of different epochs: name two of the same epoch", **names
            )
    models = {d: read_reference(by_direction[d]) for d in ("ab", "ba") if d in by_direction}
    if len(models) == 2 and models["ab"][0] != models["ba"][0]:
        ab, ba = (dataclasses.asdict(models[d][0]) for d in ("ab", "ba"))
        differences = ", ".join(f"{name} {ab[name]} and {ba[name]}" for name in ab if ab[name] != ba[name])
        raise CheckpointError(
            "{first} and {second} don't belong to one model, they differ in {differences}: import each by itself",
            first=by_direction["ab"].name, second=by_direction["ba"].name, differences=differences,
        )
    return models


def import_checkpoint(
    files: Sequence[str], run: Path, *, epoch: int, domain_a: str, domain_b: str, crop_size: int,
    find: Callable[[str], Path] = Path,
) -> tuple[CheckpointInfo, Path]:
    """Write a checkpoint from the files of one model, and return its description and its folder.

    Args:
        files: see `import_reference`.
        run: the run's folder.
        epoch: the number of the epoch to write it as.
        domain_a, domain_b: the domains' names.
        crop_size: the size that it was trained at.
        find: returns the path of each of `files`.

    Raises:
        CheckpointError: as `import_reference`; the epoch exists already; or it can't be written.
        ConfigError: the names or the size are invalid.
    """
    target = run / epoch_name(epoch)
    if os.path.lexists(target):
        raise CheckpointError("{target} exists already: choose another --epoch or --output", target=target)
    paths = [find(name) for name in files]
    found = import_reference(paths)
    data = DataConfig(
        dataset="unknown", domain_a=domain_a, domain_b=domain_b, crop_size=crop_size,
        load_size=round(crop_size * 286 / 256),
    )  # fmt: skip
    data.validate()
    save_checkpoint(
        run,
        epoch=epoch,
        weights={GENERATOR_OF[direction]: state for direction, (_, state) in found.items()},
        config=CheckpointConfig(model=next(iter(found.values()))[0], data=data),
        record={"global_step": 0, "weights": "imported", "files": [path.name for path in paths]},
    )
    return read_info(target), target


def _parse_name(path: Path) -> dict[str, str | None]:
    match = _FILE_NAME.fullmatch(path.name)
    if not match:
        raise CheckpointError(
            "{name} doesn't say which way it translates: rename it to latest_net_G_A.pth for A → B or "
            "latest_net_G_B.pth for B → A",
            name=path.name,
        )
    if match["network"] == "D":
        raise _discriminator(path)
    return match.groupdict()


def _load(path: Path) -> object:
    """Return the content of a file, without running any code in it."""
    try:
        if not path.exists():
            raise CheckpointError("there is no file {path}: check the name", path=path)
        if path.is_dir():
            raise CheckpointError("{path} is a folder: name the *_net_G*.pth files in it", path=path)
        if not path.is_file():  # Reading a pipe or a device may never end.
            raise CheckpointError("{path} is not a regular file: name a file of weights", path=path)
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise CheckpointError(
            "{name} can't be read ({reason}): check its permissions",
            name=path.name, reason=error,
        ) from error
    if start != b"PK\x03\x04" and start[:1] != b"\x80":  # a zip, or the bare pickle of torch before 1.6
        raise CheckpointError(
            "{name} isn't a PyTorch checkpoint: a failed download often leaves a web page or an empty file; download "
            "it again",
            name=path.name,
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about old files; errors are explained below
            return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged file can make the reader fail in any way
        # torch's own text recommends weights_only=False, which would run a stranger's code.
        if isinstance(error, pickle.UnpicklingError) or "TorchScript" in str(error):
            raise CheckpointError(
                "{name} holds more than weights, and reading the rest could run code: load it where you trust it "
                "and save only the network's state_dict() again",
                name=path.name,
            ) from error
        raise CheckpointError("{name} is damaged or incomplete: download or copy it again", name=path.name) from error


def _clean(path: Path, weights: object) -> dict[str, Tensor]:
    """Return the weights as float32, without DataParallel's prefix and without unused statistics."""
    if not isinstance(weights, Mapping) or not weights:
        raise CheckpointError(
            "{name} holds no weights by name: save the network's state_dict(), not the network or a tensor",
            name=path.name,
        )
    cleaned: dict[str, Tensor] = {}
    for key, tensor in weights.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                "{name} holds {key!r}, which isn't a tensor: a training state, perhaps; save only the generator's "
                "state_dict()",
                name=path.name, key=key,
            )
        if key.endswith(_UNUSED):
            continue
        plain = tensor.is_floating_point() and tensor.layout == torch.strided and tensor.device.type == "cpu"
        # With a stride of 0, a few bytes can claim to be terabytes, which the copy below would allocate.
        if not plain or tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise CheckpointError(
                "{name}: {key} ({dtype}, {layout}) is not plain floating-point numbers: import the network as it "
                "was before it was quantised, pruned or otherwise changed",
                name=path.name, key=key, dtype=tensor.dtype, layout=tensor.layout,
            )
        tensor = tensor.detach().to(torch.float32, copy=True).contiguous()
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                "{name}: {key} holds values that are not finite, so the training had failed: import an earlier epoch",
                name=path.name, key=key,
            )
        cleaned[key.removeprefix("module.")] = tensor
    return cleaned


def _recognise(path: Path, weights: Mapping[str, Tensor]) -> tuple[ModelConfig, dict[str, str]]:
    """Return the architecture, and our name of each layer by their name."""
    if any(_BLOCK.match(key) for key in weights):
        generator, dropout, names = _recognise_resnet(path, weights)
        first, last, norm = "model.1", max(names, key=_position), "model.2"
    elif any(key.startswith("model.model.") for key in weights):
        generator, dropout, names = _recognise_unet(path, weights)
        first, last, norm = "model.model.0", "model.model.3", "model.model.1.model.2"
    elif "net.0.weight" in weights or _shape(weights, "model.0")[2:] == (4, 4):
        raise _discriminator(path)
    else:
        raise CheckpointError(
            "{name} holds {some}, and no generator of the authors' code does: only ResNets with 6 or 9 blocks and "
            "U-Nets 256 and 128 can be imported",
            name=path.name, some=_some(list(weights)),
        )

    for layer, side in ((first, 1), (last, 1 if generator.startswith("unet") else 0)):
        shape = _shape(weights, layer)
        if len(shape) != 4:
            raise CheckpointError(
                "{name} looks like {generator} but lacks the convolution {layer}.weight: save the network's whole "
                "state_dict() again",
                name=path.name, generator=generator, layer=layer,
            )
        if shape[side] != 3:
            raise CheckpointError(
                "{name} is for pictures with {shape} channels: only networks from RGB to RGB can be imported",
                name=path.name, shape=shape[side],
            )
    affine = f"{norm}.weight" in weights
    # The authors' code leaves a convolution's bias out where batch norm, which has its own, comes next.
    if affine and f"{_before(norm)}.bias" not in weights:
        raise _batch_norm(path)
    model = ModelConfig(
        generator=generator,
        ngf=_shape(weights, first)[0],
        dropout=dropout,
        norm_affine=affine,
        leaky_slope=0.2,
    )
    try:
        model.validate()
    except ConfigError as error:
        raise CheckpointError("{name} can't be rebuilt: {reason}", name=path.name, reason=error) from error
    return model, names


def _recognise_resnet(path: Path, weights: Mapping[str, Tensor]) -> tuple[str, bool, dict[str, str]]:
    """Return generator, dropout and names of a ResNet: one flat sequence, which also counts layers without weights."""
    positions = {int(m[1]) for key in weights if (m := _BLOCK.match(key))}
    blocks = len(positions)
    if blocks not in (6, 9):
        raise CheckpointError(
            "{name} has {blocks} residual blocks: only ResNets with 6 or 9 can be imported",
            name=path.name, blocks=blocks,
        )
    # Position 6 is the second convolution's norm, or with dropout the second convolution itself.
    dropout = len(_shape(weights, f"model.{min(positions)}.conv_block.6")) == 4
    second = 6 if dropout else 5
    names = {
        "model.1": "stem.conv", "model.2": "stem.norm",
        "model.4": "down.0.conv", "model.5": "down.0.norm",
        "model.7": "down.1.conv", "model.8": "down.1.norm",
    }  # fmt: skip
    for block in range(blocks):
        theirs, ours = f"model.{10 + block}.conv_block", f"blocks.{block}"
        names |= {
            f"{theirs}.1": f"{ours}.conv1", f"{theirs}.2": f"{ours}.norm1",
            f"{theirs}.{second}": f"{ours}.conv2", f"{theirs}.{second + 1}": f"{ours}.norm2",
        }  # fmt: skip
    end = 10 + blocks
    names |= {
        f"model.{end}": "up.0.conv", f"model.{end + 1}": "up.0.norm",
        f"model.{end + 3}": "up.1.conv", f"model.{end + 4}": "up.1.norm",
        f"model.{end + 7}": "head",
    }  # fmt: skip
    return f"resnet_{blocks}", dropout, names


def _recognise_unet(path: Path, weights: Mapping[str, Tensor]) -> tuple[str, bool, dict[str, str]]:
    """Return the same of a U-Net, whose levels nest: [activation, down, norm, next level, activation, up, norm]."""
    levels = ["model.model.1.model"]
    while any(key.startswith(f"{levels[-1]}.3.model.") for key in weights):
        levels.append(f"{levels[-1]}.3.model")
    n_down = 1 + len(levels)
    if n_down not in (7, 8):
        raise CheckpointError(
            "{name} is a U-Net that halves {n_down} times: only those for 256² (8 times) and 128² (7 times) can be "
            "imported",
            name=path.name, n_down=n_down,
        )
    names = {"model.model.0": "down.0.conv", "model.model.3": f"up.{n_down - 1}.conv"}
    for level, theirs in enumerate(levels, start=1):
        innermost = level == n_down - 1
        up = f"up.{n_down - 1 - level}"
        names[f"{theirs}.1"] = f"down.{level}.conv"
        if not innermost:
            names[f"{theirs}.2"] = f"down.{level}.norm"
        # The innermost has no norm on the way down and no level inside, so later layers move up by two.
        names[f"{theirs}.{3 if innermost else 5}"] = f"{up}.conv"
        names[f"{theirs}.{4 if innermost else 6}"] = f"{up}.norm"
    return f"unet_{2**n_down}", False, names


def _position(layer: str) -> int:
    return int(layer.split(".")[1])


def _before(layer: str) -> str:
    """Return the layer before, for example model.1 for model.2."""
    head, _, number = layer.rpartition(".")
    return f"{head}.{int(number) - 1}"


def _shape(weights: Mapping[str, Tensor], layer: str) -> tuple[int, ...]:
    tensor = weights.get(f"{layer}.weight")
    return () if tensor is None else tuple(tensor.shape)


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _discriminator(path: Path) -> CheckpointError:
    return CheckpointError(
        "{name} is a discriminator, and only generators can be imported: name the *_net_G*.pth file instead",
        name=path.name,
    )


def _batch_norm(path: Path) -> CheckpointError:
    return CheckpointError(
        "{name} was trained with batch norm: only networks with instance norm (--norm instance in the authors' "
        "code) can be imported",
        name=path.name,
    )
