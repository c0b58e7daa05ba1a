"""Import of generators of the CycleGAN authors' PyTorch code, such as `latest_net_G_A.pth`, and of its relatives.

Such a file is a pickled state dict and doesn't name the architecture, so it is recognised from the names and shapes.
Only the names differ here: their `model.10.conv_block.1.weight` is our `blocks.0.conv1.weight`. The numbers are the
same, and so is the translated picture. HugGAN's and PyTorch-GAN's generators have other names and another upsampling,
for which `--upsample resize_zeros` exists.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cyclegan.checkpoints.format import (
    GENERATOR_OF,
    MOST_EPOCHS,
    CheckpointConfig,
    CheckpointInfo,
    epoch_name,
    read_info,
    save_checkpoint,
)
from cyclegan.checkpoints.import_discriminators import import_discriminators, is_discriminator
from cyclegan.checkpoints.stored import Stored
from cyclegan.checkpoints.weights_file import copied, plain, read_networks, some
from cyclegan.config import DataConfig, Direction, ModelConfig, check_option, direction_name
from cyclegan.errors import CheckpointError, ConfigError, message, shown
from cyclegan.networks import build_generator
from cyclegan.values import MAX_CHANNELS, PLAIN

# <epoch>_net_G.pth, <epoch>_net_G_A.pth, <epoch>_net_G_B.pth
_FILE_NAME = re.compile(r"(?P<epoch>.+)_net_(?P<network>[GD])(?:_(?P<letter>[AB]))?\.(?:pth|pt)")
# G_AB, genA2B, netG_AtoB, generator_xy, in lower case.
_WAYS = {
    way: re.compile(rf"(?<![a-z0-9])(?:net)?(?:g|gen|generator)?[_.-]?(?:{one}[_-]?(?:2|to)?[_-]?{two})(?![a-z])")
    for way, one, two in (("ab", "[ax]", "[by]"), ("ba", "[by]", "[ax]"))
}

_BLOCK = re.compile(r"model\.(?P<position>\d{1,3})\.(?P<kind>conv_block|block)\.")
_MOST_CROP = 17_900
"""Its load_size, which is in the reference's proportion to it, is within the bounds of DataConfig."""
Generator = tuple[ModelConfig, dict[str, Tensor]]


def find_direction(path: Path) -> Direction:
    """Return the direction in which a file of the reference translates, by its name.

    Args:
        path: `*_net_G_A.pth` (A → B), `*_net_G_B.pth` (B → A), or `*_net_G.pth`, the one network of a
            single-direction download, which counts as A → B; or a name with AB, A2B, AtoB or the other way round.

    Raises:
        CheckpointError: the name matches none of these.
    """
    name = Path(path).name
    if (match := _FILE_NAME.fullmatch(name)) and match["network"] == "D":
        raise _discriminator(name)
    if (way := _way(name)) is None:
        raise CheckpointError(
            "{name} doesn't say which way it translates: rename it to latest_net_G_A.pth for A → B or "
            "latest_net_G_B.pth for B → A",
            name=shown(name),
        )
    return way


def read_reference(path: Path) -> Generator:
    """Return the settings and the weights of the one generator in a file.

    Args:
        path: see `read_generators`.

    Returns:
        The settings that rebuild it, and its weights by our names, float32 on the CPU:
        `build_generator(model).load_state_dict(weights)` fits exactly. A U-Net's dropout leaves no trace in
        its file; it counts as off, which doesn't change the output.

    Raises:
        CheckpointError: as `read_generators`; or it holds several.
    """
    found = read_generators(path)
    if len(found) > 1:
        raise CheckpointError(
            "{name} holds {count} generators ({some}): save one of them by itself",
            name=shown(Path(path).name), count=len(found), some=some(found),
        )
    return next(iter(found.values()))


def read_generators(path: Path) -> dict[str, Generator]:
    """Return the generators in a file, by their names in it; "" for one that is alone there.

    Args:
        path: a file that the reference's trainer saved, or one with the same networks (see `read_networks`): ResNet
            with 6 or 9 blocks or U-Net 256 or 128, with instance norm, with or without dropout, of any width.
            Discriminators next to a generator are left out.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, holds more than weights, or no generator that
            can be rebuilt here.
    """
    path = Path(path)
    generators: dict[str, Generator] = {}
    other: CheckpointError | None = None
    for inner, weights in read_networks(path).items():
        name = f"{shown(path.name)} ({shown(inner)})" if inner else shown(path.name)
        weights = _without_wrapper(weights)
        if any(_BLOCK.match(key) for key in weights) or any(key.startswith("model.model.") for key in weights):
            generators[inner] = _rebuild(name, plain(name, weights))
        else:
            other = other or _no_generator(name, weights)
    if not generators:
        assert other is not None
        raise other
    return generators


def _without_wrapper(weights: Mapping[str, Stored]) -> Mapping[str, Stored]:
    """Return the weights of a ResNet that is the `model` of another module, by their own names."""
    inner = {key.removeprefix("model."): tensor for key, tensor in weights.items()}
    wrapped = all(key.startswith("model.model.") for key in weights) and any(_BLOCK.match(key) for key in inner)
    return inner if wrapped else weights


def _rebuild(name: str, weights: Mapping[str, Stored]) -> Generator:
    """Return a network's settings and its weights by our names; they are copied once their names and shapes fit."""
    model, names = _recognise(name, weights)
    ours = {ours: tuple(weights[f"{theirs}.weight"].shape) for theirs, ours in names.items()
            if f"{theirs}.weight" in weights}  # fmt: skip
    source, target = _channels(ours)
    with torch.device("meta"):
        network = build_generator(model, in_channels=source, out_channels=target)
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
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
            name=name, generator=model.generator, some=some(unknown),
        )
    if missing := [key for key in our_key if key not in weights]:
        raise CheckpointError(
            "{name} looks like {generator} but lacks {some}: save the network's whole state_dict() again",
            name=name, generator=model.generator, some=some(missing),
        )
    for key, tensor in weights.items():
        if tuple(tensor.shape) != expected[our_key[key]]:
            raise CheckpointError(
                "{name}: {key} has the shape {shape} where {generator} at ngf {ngf} has {expected}: it comes from a "
                "changed network, and only the unchanged ones of the authors' code can be imported",
                name=name, key=key, shape=tuple(tensor.shape), generator=model.generator, ngf=model.ngf,
                expected=expected[our_key[key]],
            )
    return model, {our_key[key]: tensor for key, tensor in copied(name, weights).items()}


def _channels(shapes: Mapping[str, Sequence[int]]) -> tuple[int, int]:
    """Return the channels of a generator's input and output, by the shapes of its layers by our names."""
    first = shapes.get("stem.conv") or shapes["down.0.conv"]
    if "head" in shapes:
        return first[1], shapes["head"][0]
    last = max((name for name in shapes if name.startswith("up.")), key=_position)
    return first[1], shapes[last][1]  # A transposed convolution has its outputs second.


def import_reference(paths: Sequence[Path], direction: Direction | None = None) -> dict[Direction, Generator]:
    """Return the generators of one model: one, or one for each direction.

    The contents count first: a network's name in its file, such as G_AB, then the file's name; see `find_direction`.

    Args:
        paths: one file, or the two of one epoch.
        direction: of one generator whose name doesn't say it; of two, the one to return.

    Returns:
        `read_reference`'s result by direction, "ab" first.

    Raises:
        CheckpointError: there are not one or two files, they are of one direction, of different epochs or
            of different architectures, their directions are unknown, or one of them can't be read.
    """
    paths = [Path(path) for path in paths]
    if not 1 <= len(paths) <= 2:
        raise CheckpointError(
            "one or two files make a model, not {count}: name *_net_G_A.pth and *_net_G_B.pth, or *_net_G.pth",
            count=len(paths),
        )
    found: list[tuple[str, Direction | None, Generator]] = []
    for path in paths:
        generators = read_generators(path)
        for inner, generator in generators.items():
            name = f"{shown(path.name)} ({shown(inner)})" if inner else shown(path.name)
            found.append((name, _way(inner) or (_way(path.name) if len(generators) == 1 else None), generator))
    if direction is not None:
        found = [each for each in found if len(found) == 1 or each[1] == direction]
        found = [(name, direction, generator) for name, _, generator in found]
    models = _by_direction(found)
    if len(paths) == 2:
        _check_pair(*paths)
    if len(models) == 2 and models["ab"][1][0] != models["ba"][1][0]:
        ab, ba = (dataclasses.asdict(models[d][1][0]) for d in ("ab", "ba"))
        differences = ", ".join(f"{name} {ab[name]} and {ba[name]}" for name in ab if ab[name] != ba[name])
        raise CheckpointError(
            "{first} and {second} don't belong to one model, they differ in {differences}: import each by itself",
            first=models["ab"][0], second=models["ba"][0], differences=differences,
        )
    return {way: generator for way, (_, generator) in models.items()}


def _by_direction(
    found: Sequence[tuple[str, Direction | None, Generator]],
) -> dict[Direction, tuple[str, Generator]]:
    """Return names and generators by direction, "ab" first."""
    unknown = [name for name, way, _ in found if way is None]
    if len(found) == 1 and unknown:
        raise CheckpointError(
            "{name} holds a generator, but doesn't say which way it translates: add --direction ab for A → B, or "
            "--direction ba for B → A",
            name=unknown[0],
        )
    if unknown or not found:
        raise CheckpointError(
            "{some} hold generators, but don't say which way they translate: import one file with --direction ab or "
            "ba, or rename them to latest_net_G_A.pth for A → B and latest_net_G_B.pth for B → A",
            some=some(unknown) or message("the files"),
        )
    models: dict[Direction, tuple[str, Generator]] = {}
    for way in ("ab", "ba"):
        names = [name for name, found_way, _ in found if found_way == way]
        if len(names) > 1:
            raise CheckpointError(
                "{first} and {second} both translate {direction}: name one *_net_G_A.pth and one *_net_G_B.pth",
                first=names[0], second=names[1], direction=direction_name(way),
            )
        for name, found_way, generator in found:
            if found_way == way:
                models[way] = (name, generator)
    return models


def _check_pair(first: Path, second: Path) -> None:
    """Refuse two files whose names in the reference's form contradict each other."""
    one, two = _FILE_NAME.fullmatch(first.name), _FILE_NAME.fullmatch(second.name)
    if one is None or two is None:
        return
    names = {"first": first.name, "second": second.name}
    if one["letter"] is None or two["letter"] is None:
        raise CheckpointError(
            "{first} and {second} aren't a pair: *_net_G.pth stands alone; import it by itself, or rename it to "
            "*_net_G_A.pth if it was trained with the other",
            **names,
        )
    _check_epoch(first, second)


def _check_epoch(first: Path, second: Path) -> None:
    """Refuse two files whose names in the reference's form are of different epochs."""
    one, two = _FILE_NAME.fullmatch(first.name), _FILE_NAME.fullmatch(second.name)
    if one and two and one["epoch"] != two["epoch"]:
        raise CheckpointError(
            "{first} and {second} are of different epochs: name two of the same epoch",
            first=first.name, second=second.name,
        )


def import_checkpoint(
    files: Sequence[str], run: Path, *, epoch: int, domain_a: str, domain_b: str, crop_size: int,
    direction: Direction | None = None, find: Callable[[str], Path] = Path,
) -> tuple[CheckpointInfo, Path]:
    """Write a checkpoint from the files of one model, and return its description and its folder.

    Args:
        files: see `import_reference`; and the discriminators of the same epoch, `*_net_D_A.pth` and `*_net_D_B.pth`.
        run: the run's folder.
        epoch: the number of the epoch to write it as.
        domain_a, domain_b: the domains' names.
        crop_size: the size that it was trained at.
        direction: see `import_reference`.
        find: returns the path of each of `files`.

    Raises:
        CheckpointError: as `import_reference`; the epoch exists already; or it can't be written.
        ConfigError: the names, the epoch or the size are invalid.
    """
    check_option("epoch", epoch, None, {"least": 1, "most": MOST_EPOCHS})
    check_option("crop_size", crop_size, None, {"least": 16, "most": _MOST_CROP})
    data = DataConfig(
        dataset="unknown", domain_a=domain_a, domain_b=domain_b, crop_size=crop_size,
        load_size=round(crop_size * 286 / 256),
    )  # fmt: skip
    data.validate()
    target = run / epoch_name(epoch)
    if os.path.lexists(target):
        raise CheckpointError("{target} exists already: choose another --epoch or --output", target=target)
    paths = [find(name) for name in files]
    judges = [path for path in paths if is_discriminator(path)]
    generators = [path for path in paths if path not in judges]
    if judges and not generators:
        raise _discriminator(shown(judges[0].name))
    found = import_reference(generators, direction)
    for judge in judges:
        _check_epoch(generators[0], judge)
    data = dataclasses.replace(data, **_domains(found))
    model = next(iter(found.values()))[0]
    settings, discriminators = import_discriminators(judges, list(found))
    model = dataclasses.replace(model, **settings)
    save_checkpoint(
        run,
        epoch=epoch,
        weights={GENERATOR_OF[direction]: state for direction, (_, state) in found.items()} | discriminators,
        config=CheckpointConfig(model=model, data=data),
        record={"global_step": 0, "weights": "imported", "files": [path.name for path in paths], **_source(files)},
    )
    return read_info(target), target


def _source(files: Sequence[str]) -> dict[str, str]:
    """Return the entry `imported_from` of checkpoint.json, if all files are of one repository of the Hub."""
    prefix = "hub:"
    found = {name.removeprefix(prefix).partition(":")[0].partition("@")[0] for name in files if name.startswith(prefix)}
    if len(found) != 1 or not all(name.startswith(prefix) for name in files):
        return {}
    return {"imported_from": found.pop()}


def _domains(found: Mapping[Direction, Generator]) -> dict[str, Any]:
    """Return the settings of domains whose pictures aren't RGB; the reference's are of 8 bits.

    Raises:
        CheckpointError: the generators differ in the channels of a domain.
    """
    counts: dict[str, int] = {}
    for way, (_, weights) in found.items():
        layers = {key.removesuffix(".weight"): value.shape for key, value in weights.items() if key.endswith(".weight")}
        for domain, count in zip(way, _channels(layers), strict=True):
            if counts.setdefault(domain, count) != count:
                raise CheckpointError(
                    "the generators differ in the channels of domain {domain}: {one} and {other}; they aren't of one "
                    "model", domain=domain.upper(), one=counts[domain], other=count,
                )  # fmt: skip
    rest = {domain: count for domain, count in counts.items() if count != 3}
    return {f"channels_{domain}": count for domain, count in rest.items()} | {f"range_{d}": PLAIN for d in rest}


def _way(name: str) -> Direction | None:
    """Return the direction that a network's or a file's name says, None for none."""
    if match := _FILE_NAME.fullmatch(name):
        return None if match["network"] == "D" else "ba" if match["letter"] == "B" else "ab"
    if match := re.fullmatch(r"(?:.*\.)?(?:net)?G_([AB])", name):  # As the reference calls them: G_A takes A.
        return "ab" if match[1] == "A" else "ba"
    return next((way for way, pattern in _WAYS.items() if pattern.search(name.lower())), None)


def _no_generator(name: str, weights: Mapping[str, Stored]) -> CheckpointError:
    """Return the refusal of a network that isn't a known generator."""
    if "net.0.weight" in weights or _shape(weights, "model.0")[2:] == (4, 4):
        return _discriminator(name)
    if any(key in weights for key in ("stem.conv.weight", "down.0.conv.weight")):
        return CheckpointError(
            "{name} is a generator of this program already: name its run's or epoch's folder as it is, without an "
            "import",
            name=name,
        )
    if any(key.startswith(("sd_", "unet_lora", "vae_lora", "rank_")) or "lora_" in key for key in weights):
        return CheckpointError(
            "{name} adapts a diffusion model, as CycleGAN-turbo does: that isn't a network of this program and can't "
            "be imported",
            name=name,
        )
    return CheckpointError(
        "{name} holds {some}, and no generator of the authors' code does: only ResNets with 6 or 9 blocks and "
        "U-Nets 256 and 128 can be imported",
        name=name, some=some(weights),
    )


def _recognise(name: str, weights: Mapping[str, Stored]) -> tuple[ModelConfig, dict[str, str]]:
    """Return the architecture, and our name of each layer by their name."""
    if any(re.fullmatch(r"model\.\d+\.filt", key) for key in weights):
        raise CheckpointError(
            "{name} is a generator of CUT (contrastive-unpaired-translation), which blurs wherever it halves or "
            "doubles the size; the networks here have no such layers, so it can't be imported: train it there with "
            "--no_antialias --no_antialias_up, or here",
            name=name,
        )
    if any(_BLOCK.match(key) for key in weights):
        settings, names = _recognise_resnet(name, weights)
        first, last, norm = "model.1", max(names, key=_position), "model.2"
    else:
        settings, names = _recognise_unet(name, weights)
        first, last, norm = "model.model.0", "model.model.3", "model.model.1.model.2"
    generator = settings["generator"]
    for layer, side in ((first, 1), (last, 1 if generator.startswith("unet") else 0)):
        shape = _shape(weights, layer)
        if len(shape) != 4:
            raise CheckpointError(
                "{name} looks like {generator} but lacks the convolution {layer}.weight: save the network's whole "
                "state_dict() again",
                name=name, generator=generator, layer=layer,
            )
        if not 1 <= shape[side] <= MAX_CHANNELS:
            raise CheckpointError(
                "{name} is for pictures with {shape} channels: only networks of 1 to {most} can be imported",
                name=name, shape=shape[side], most=MAX_CHANNELS,
            )  # fmt: skip
    affine = f"{norm}.weight" in weights
    # The authors' code leaves a convolution's bias out where batch norm, which has its own, comes next.
    if affine and f"{_before(norm)}.bias" not in weights:
        raise _batch_norm(name)
    model = ModelConfig(
        **settings,
        ngf=_shape(weights, first)[0],
        norm_affine=affine,
        leaky_slope=0.2,
    )
    try:
        model.validate()
    except ConfigError as error:
        raise CheckpointError("{name} can't be rebuilt: {reason}", name=name, reason=error) from error
    return model, names


def _recognise_resnet(name: str, weights: Mapping[str, Stored]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return settings and names of a ResNet: one flat sequence, which also counts layers without weights."""
    found = [match for key in weights if (match := _BLOCK.match(key))]
    positions, kind = {int(match["position"]) for match in found}, found[0]["kind"]
    blocks, end = len(positions), 10 + len(positions)
    if blocks not in (6, 9):
        raise CheckpointError(
            "{name} has {n} residual block: only ResNets with 6 or 9 can be imported",
            "{name} has {n} residual blocks: only ResNets with 6 or 9 can be imported", blocks, name=name,
        )
    # Position 6 is the second convolution's norm, or with dropout the second convolution itself.
    dropout = len(_shape(weights, f"model.{min(positions)}.{kind}.6")) == 4
    second = 6 if dropout else 5
    names = {
        "model.1": "stem.conv", "model.2": "stem.norm",
        "model.4": "down.0.conv", "model.5": "down.0.norm",
        "model.7": "down.1.conv", "model.8": "down.1.norm",
    }  # fmt: skip
    for block in range(blocks):
        theirs, ours = f"model.{10 + block}.{kind}", f"blocks.{block}"
        names |= {
            f"{theirs}.1": f"{ours}.conv1", f"{theirs}.2": f"{ours}.norm1",
            f"{theirs}.{second}": f"{ours}.conv2", f"{theirs}.{second + 1}": f"{ours}.norm2",
        }  # fmt: skip
    # HugGAN's and PyTorch-GAN's have a layer without weights, which resizes, before each convolution on the way up.
    resizes = kind == "block" and f"model.{end}.weight" not in weights
    for stage in (0, 1):
        conv = end + 4 * stage + 1 if resizes else end + 3 * stage
        names |= {f"model.{conv}": f"up.{stage}.conv", f"model.{conv + 1}": f"up.{stage}.norm"}
    names[f"model.{end + (9 if resizes else 7)}"] = "head"
    upsample = "resize_zeros" if resizes else "transpose"
    return {"generator": f"resnet_{blocks}", "dropout": dropout, "upsample": upsample}, names


def _recognise_unet(name: str, weights: Mapping[str, Stored]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the same of a U-Net, whose levels nest: [activation, down, norm, next level, activation, up, norm]."""
    levels = ["model.model.1.model"]
    while len(levels) < 16 and any(key.startswith(f"{levels[-1]}.3.model.") for key in weights):
        levels.append(f"{levels[-1]}.3.model")
    n_down = 1 + len(levels)
    if n_down not in (7, 8):
        raise CheckpointError(
            "{name} is a U-Net that halves once: only those for 256² (8 times) and 128² (7 times) can be imported",
            "{name} is a U-Net that halves {n} times: only those for 256² (8 times) and 128² (7 times) can be imported",
            n_down, name=name,
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
    return {"generator": f"unet_{2**n_down}"}, names


def _position(layer: str) -> int:
    return int(layer.split(".")[1])


def _before(layer: str) -> str:
    """Return the layer before, for example model.1 for model.2."""
    head, _, number = layer.rpartition(".")
    return f"{head}.{int(number) - 1}"


def _shape(weights: Mapping[str, Stored], layer: str) -> tuple[int, ...]:
    tensor = weights.get(f"{layer}.weight")
    return () if tensor is None else tuple(tensor.shape)


def _discriminator(name: str) -> CheckpointError:
    return CheckpointError(
        "{name} is a discriminator, which doesn't translate: name the *_net_G*.pth files, too, and it as *_net_D_A.pth "
        "(judges B) or *_net_D_B.pth (judges A)",
        name=name,
    )


def _batch_norm(name: str) -> CheckpointError:
    return CheckpointError(
        "{name} was trained with batch norm: only networks with instance norm (--norm instance in the authors' "
        "code) can be imported",
        name=name,
    )
