"""THE checkpoint format: the only module that writes or reads it.

A run is a folder:

    RUN/
      epoch-0001/  epoch-0002/ …      checkpoints, which are published: see `save_checkpoint`
      training_state/step-000002740/  the state that resuming needs, never published with a checkpoint:
                                      see `training_state.save_training_state`
      metrics.jsonl  curves.png

Reading a checkpoint never runs code from it: safetensors and JSON only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.checkpoints.checksums import own_checksum
from cyclegan.config import DIRECTIONS, DataConfig, Direction, ModelConfig, TrainConfig, direction_name
from cyclegan.errors import CheckpointError, ConfigError, shown
from cyclegan.files import is_full, read_json, sha256, whole_folder, write_json

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

FORMAT_VERSION = 3
"""The newest version. A checkpoint has the oldest one that holds its settings; 2 and 3 added settings (3: channels and
ranges of the domains, which are 8-bit RGB without them), and no migration."""
MOST_EPOCHS, MOST_STEPS = 10**9 - 1, 10**15
"""The largest numbers of an epoch and of a step; no training gets there."""
EPOCH_NAME = re.compile(r"epoch-(\d{4,})")
GENERATOR_OF: dict[str, str] = {"ab": "gen_ab", "ba": "gen_ba"}
DISCRIMINATORS = "disc*.safetensors"
"""The pattern of the files that `--save_discriminators` adds; only `load_discriminators` reads them."""
_DISCRIMINATOR = re.compile(r"disc\w{0,40}\.safetensors", re.ASCII)
SAMPLES: dict[Direction, str] = {direction: f"samples/{direction}.png" for direction in DIRECTIONS}
"""The grid of test pictures in an epoch's folder, by direction; see `save_checkpoint`."""


# --- the description of a checkpoint ------------------------------------------------------------------------


@dataclass(frozen=True)
class CheckpointConfig:
    """config.json: the settings that rebuild the networks, and how their pictures were prepared."""

    model: ModelConfig
    data: DataConfig = field(default_factory=DataConfig)
    method: str = "cyclegan"
    train: Mapping[str, Any] | None = None
    """Losses, optimiser and run settings of the training, for the record; None for imported weights."""

    @classmethod
    def of(cls, config: TrainConfig) -> CheckpointConfig:
        """Return the settings of a run that matter for its result, without paths of the machine it ran on."""
        data = config.data
        folder = Path(os.path.expanduser(data.dataset))
        with contextlib.suppress(OSError):
            if folder.exists():
                data = dataclasses.replace(data, dataset=folder.resolve().name)
        # A checkpoint's pictures are looked for whole, because only a training can stream.
        data = dataclasses.replace(data, **{name: getattr(DataConfig(), name) for name in DataConfig.of_stream})
        run = config.run.to_json()
        kept = {name: run[name] for name in ("seed", "mixed_precision", "save_precision", "compile")}
        train = {"loss": config.loss.recorded()[0], "optim": config.optim.to_json(), "run": kept}
        return cls(model=config.model, data=data, method=config.run.method, train=train)

    def to_json(self) -> dict[str, Any]:
        """Return the content of config.json."""
        (model, least), (data, needed) = self.model.recorded(), self.data.recorded()
        return {
            "format_version": max(least, needed),
            "method": self.method,
            "model": model,
            "data": data,
            "train": self.train,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], where: str) -> CheckpointConfig:
        """Return the settings in config.json's content, of this or an older format version.

        Raises:
            CheckpointError: a newer format, or settings that are invalid.
        """
        values = _migrated(values, where)
        try:
            data = DataConfig.from_json(values["data"])
            return cls(
                model=ModelConfig.from_json(values["model"]),
                data=dataclasses.replace(data, domain_a=shown(data.domain_a), domain_b=shown(data.domain_b)),
                method=shown(str(values["method"])),
                train=values["train"],
            )
        except (KeyError, TypeError, ConfigError) as error:
            raise CheckpointError(
                "{where}: config.json is damaged ({reason}); get the checkpoint again",
                where=where, reason=error,
            ) from error


def _migrated(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Return config.json in this format version; each older version gets a named function (there is none yet)."""
    found = values.get("format_version")
    if not isinstance(found, int) or found < 1:
        raise CheckpointError(
            "{where}: config.json has no format_version; it is not a checkpoint of this program", where=where
        )
    if found > FORMAT_VERSION:
        raise CheckpointError(
            "{where} was written by a newer version of this program (format {found}, this one reads up to "
            "{newest}); update the program",
            where=where, found=found, newest=FORMAT_VERSION,
        )
    return values


@dataclass(frozen=True)
class CheckpointInfo:
    """A checkpoint as a source lists it, without weights."""

    epoch: int
    commit_sha: str
    """40 hex digits that pin the content: the Hub's commit, or for a local folder a digest of its files. Results are
    kept by it, so two checkpoints with different weights or settings must not share one."""
    created: str
    """ISO 8601, UTC."""
    global_step: int = 0
    losses: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    config: CheckpointConfig | None = None
    directions: tuple[Direction, ...] = DIRECTIONS
    measured_on: str = ""
    """The split that samples and metrics are of: "test", or "train" for want of test pictures; "" if unknown."""
    measured_pictures: str = ""
    """Equal for epochs whose samples and metrics are of the same pictures; "" if unknown."""
    read_by: str = ""
    """The fingerprint of the segmenter's weights that the semantic term read with; "" without the term."""

    @property
    def tag(self) -> str:
        """`epoch-0012`."""
        return epoch_name(self.epoch)


@dataclass(frozen=True)
class Checkpoint:
    """Generators that are ready to run, and the checkpoint that they come from."""

    info: CheckpointInfo
    config: CheckpointConfig
    generators: Mapping[str, nn.Module]
    """The networks by direction; a checkpoint may hold one direction only."""

    def generator(self, direction: Direction) -> nn.Module:
        """Return the generator of a direction. Raises CheckpointError if the checkpoint lacks it."""
        if direction not in self.generators:
            raise missing_direction(self.info.tag, self.generators, direction)
        return self.generators[direction]


def missing_direction(name: str, directions: Iterable[str], wanted: str) -> CheckpointError:
    """Return the error for a checkpoint called `name` that has `directions`, but not `wanted`."""
    only = ", ".join(map(direction_name, directions))
    return CheckpointError(
        "{name} translates {only} only, not {wanted}", name=name, only=only, wanted=direction_name(wanted)
    )


def epoch_name(epoch: int) -> str:
    """Return the folder and tag of a completed epoch, counted from 1: `epoch-0012`."""
    return f"epoch-{epoch:04d}"


# --- writing ------------------------------------------------------------------------------------------------


def write_error(error: OSError, target: Path) -> CheckpointError:
    """Return the error for a `target` that the disk refused while training, with the way to continue."""
    if is_full(error):
        return CheckpointError(
            "the disk is full: {target} could not be written to {parent}. Earlier epochs are intact. Free some "
            "space, then run the same command with --resume auto",
            target=target.name, parent=target.parent,
        )
    return CheckpointError(
        "{target} could not be written ({reason}). Earlier epochs are intact. Make the folder writable, then run "
        "the same command with --resume auto",
        target=target, reason=error,
    )


@contextlib.contextmanager
def explained_writes(target: Path) -> Iterator[None]:
    """Turn an OSError while `target` is written into a `write_error`."""
    try:
        yield
    except OSError as error:
        raise write_error(error, target) from error


def save_checkpoint(
    run: Path,
    *,
    epoch: int,
    weights: Mapping[str, Mapping[str, Tensor]],
    config: CheckpointConfig,
    record: Mapping[str, Any],
    samples: Mapping[str, Image.Image] | None = None,
    half: bool = False,
) -> Path:
    """Write an epoch's checkpoint and return its folder; an existing one of that epoch is replaced whole.

        RUN/epoch-0012/
          gen_ab.safetensors  gen_ba.safetensors   the generators' weights, fp32 or fp16; one of them may be missing
          disc_a.safetensors  disc_b.safetensors   with --save_discriminators; the app never loads them
          config.json                              rebuilds the networks; format_version; method; domain names
          checkpoint.json                          epoch, global_step, losses, metrics, seeds, package versions, run_id,
                                                   parent, created, sha256 of the weights; after --init_from also
                                                   started_from; ended_early: the step of the epoch at
                                                   which --max_steps ended it; measured_on: the split and a
                                                   fingerprint of the pictures of samples and metrics;
                                                   imported_from: the Hub's repository of imported weights
          samples/ab.png  samples/ba.png           fixed test pictures: real, fake, rec, one grid per direction

    Args:
        run: the run's folder.
        epoch: completed epochs, from 1.
        weights: state dicts by the network's name (`gen_ab`, `gen_ba`, `disc_a`).
        record: further entries of checkpoint.json: global_step, losses, metrics, seeds, run_id, parent (the epoch
            before, or the checkpoint that the run started from), weights ("raw", "ema" or "imported").
        samples: pictures by file stem.
        half: store in fp16.

    Raises:
        CheckpointError: the disk is full, or the folder can't be written.
    """
    import torch
    from safetensors.torch import save

    target = run / epoch_name(epoch)
    with explained_writes(target), whole_folder(target) as folder:
        digests = {}
        for name, state in weights.items():
            path = folder / f"{name}.safetensors"
            tensors = {
                key: value.detach()
                .to("cpu", torch.float16 if half and value.is_floating_point() else None)
                .contiguous()
                for key, value in state.items()
            }
            # Encoded first, because a full disk then raises OSError, not an error of the library.
            content = save(tensors)
            path.write_bytes(content)
            digests[path.name] = hashlib.sha256(content).hexdigest()
        settings = config.to_json()
        written = {
            "format_version": settings["format_version"],
            "epoch": epoch,
            **record,
            "precision": "fp16" if half else "fp32",
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "versions": package_versions(),
            "sha256": digests,
        }
        write_json(folder / "config.json", settings)
        write_json(folder / "checkpoint.json", written)
        if samples:
            (folder / "samples").mkdir()
            for stem, image in samples.items():
                image.save(folder / "samples" / f"{stem}.png")
    return target


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that the result depends on."""
    versions = {}
    for name in ("torch", "torchvision", "accelerate", "pillow", "numpy", "safetensors"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


# --- reading ------------------------------------------------------------------------------------------------


def read_info(folder: Path, *, commit_sha: str | None = None) -> CheckpointInfo:
    """Return the description of the checkpoint in `folder`, without its weights.

    Args:
        commit_sha: the Hub's commit that the folder is a copy of; None for a digest of its files.

    Raises:
        CheckpointError: it is not a checkpoint, damaged, of a newer format, or in the folder of another epoch.
    """
    return _read_folder(folder, commit_sha)[0]


def _read_folder(folder: Path, commit_sha: str | None) -> tuple[CheckpointInfo, dict[str, Any]]:
    """Return the description of the checkpoint in `folder`, and the content of its checkpoint.json."""
    config_values, record = (
        read_json(folder / name, error=CheckpointError) for name in ("config.json", "checkpoint.json")
    )
    files = {path.name for path in folder.iterdir() if path.is_file()}
    where = Path(os.path.abspath(folder)).name  # Path(".") has no name.
    info = make_info(config_values, record, files=files, where=where, commit_sha=commit_sha)
    if EPOCH_NAME.fullmatch(where) and where != info.tag:
        raise CheckpointError(
            "{where} is damaged: it holds epoch {epoch}; name the folder {tag}, or get the checkpoint again",
            where=where, epoch=info.epoch, tag=info.tag,
        )
    if commit_sha is None:
        sums = _own_checksums(folder, info, record)
        info = dataclasses.replace(info, commit_sha=_digest(config_values, {**record, "sha256": sums}))
    return info, record


def _digest(config_values: dict[str, Any], record: Mapping[str, Any]) -> str:
    """Return what pins a checkpoint that no commit pins: a digest of its settings, epoch and weights' checksums."""
    pinned = json.dumps([config_values, record.get("sha256"), record.get("epoch")], sort_keys=True)
    return hashlib.sha256(pinned.encode()).hexdigest()[:40]


def _own_checksums(folder: Path, info: CheckpointInfo, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checksums in checkpoint.json, with one for each generator that is there and for no other."""
    recorded = record.get("sha256")
    sums = dict(recorded) if isinstance(recorded, dict) else {}
    for direction, network in GENERATOR_OF.items():
        found = sums.pop(file := f"{network}.safetensors", None)
        if direction in info.directions:  # No generator is larger than one in fp64.
            sums[file] = own_checksum(folder / file, found, lambda: 2 * weights_bytes(info.config))
    return sums


def make_info(
    config_values: dict[str, Any],
    record: Mapping[str, Any],
    *,
    files: Collection[str],
    where: str,
    commit_sha: str | None = None,
) -> CheckpointInfo:
    """Return the description of a checkpoint from its files.

    Args:
        config_values: the content of config.json.
        record: the content of checkpoint.json.
        files: names of the files next to them.
        where: the checkpoint's name in messages.
        commit_sha: the commit that holds it; None for a digest of its configuration, epoch and weights' checksums.

    Raises:
        CheckpointError: it is damaged, of a newer format, or has no weights that can be loaded.
    """
    try:
        config = CheckpointConfig.from_json(config_values, where)
        commit_sha = commit_sha or _digest(config_values, record)
    except RecursionError as error:
        raise CheckpointError(
            "{where} is damaged: its JSON is nested too deeply; get the checkpoint again", where=where
        ) from error
    directions = tuple(d for d in DIRECTIONS if f"{GENERATOR_OF[d]}.safetensors" in files)
    if not directions:
        pickles = sorted(name for name in files if name.endswith((".pth", ".bin", ".pt", ".ckpt")))
        if pickles:
            raise CheckpointError(
                "{where} has no gen_ab.safetensors or gen_ba.safetensors; {file} is a pickle, which is never loaded: "
                "use `python -m cyclegan import`",
                where=where, file=pickles[0],
            )
        raise CheckpointError("{where} has no gen_ab.safetensors or gen_ba.safetensors", where=where)
    epoch, step = record.get("epoch"), record.get("global_step", 0)
    measured = record.get("measured_on")
    measured = measured if isinstance(measured, dict) else {}
    segmenter = record.get("semantic_segmenter")
    if type(epoch) is not int or type(step) is not int or not (1 <= epoch <= MOST_EPOCHS and abs(step) <= MOST_STEPS):
        raise CheckpointError(
            "{where}/checkpoint.json is damaged: it names no epoch; get the checkpoint again", where=where
        )
    return CheckpointInfo(
        epoch=epoch,
        commit_sha=commit_sha,
        created=shown(str(record.get("created", ""))[:40]),
        global_step=step,
        losses=read_figures(record.get("losses")),
        metrics=read_figures(record.get("metrics")),
        config=config,
        directions=directions,
        measured_on=measured["split"] if measured.get("split") in ("test", "train") else "",
        measured_pictures=str(measured.get("pictures", ""))[:64],
        read_by=str(segmenter.get("weights", ""))[:64] if isinstance(segmenter, dict) else "",
    )


def read_figures(values: Any) -> dict[str, float]:
    """Return the losses or metrics in a JSON object, without entries that aren't numbers."""
    figures = {}
    for key, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, (int, float)):
            with contextlib.suppress(OverflowError):
                figures[str(key)] = float(value)
    return figures


def load_checkpoint(
    folder: Path, directions: tuple[Direction, ...] | None = None, *, commit_sha: str | None = None
) -> Checkpoint:
    """Return the checkpoint in an epoch's folder, with its generators in fp32 and eval mode, on the CPU.

    Args:
        directions: the directions to load; None for all that the checkpoint has.
        commit_sha: see `read_info`.

    Raises:
        CheckpointError: damaged, of a newer format, a direction is missing, or weights don't fit the config.
    """
    import torch

    from cyclegan.networks import generator_of

    info, record = _read_folder(folder, commit_sha)
    recorded = record.get("sha256")
    recorded = recorded if isinstance(recorded, dict) else {}
    generators = {}
    for direction in directions or info.directions:
        if direction not in info.directions:
            raise missing_direction(folder.name, info.directions, direction)
        path = folder / f"{GENERATOR_OF[direction]}.safetensors"
        with torch.device("meta"):
            generator = generator_of(info.config, direction)
        expected = {key: list(value.shape) for key, value in generator.state_dict().items()}
        state = _load_weights(path, expected, info.config.model, recorded)
        generator = generator.to_empty(device="cpu")
        generator.load_state_dict(state)
        generators[direction] = generator.eval().requires_grad_(False)
    return Checkpoint(info=info, config=info.config, generators=generators)


def load_discriminators(folder: Path, names: Collection[str] | None = None) -> dict[str, dict[str, Tensor]]:
    """Return the weights of the discriminators in an epoch's folder, fp32, by the network's name; {} for none.

    Their shapes are whatever the files have: a network that they are loaded into is compared by the caller.

    Args:
        folder: the epoch's.
        names: the networks that are wanted; None for all. Other files aren't read.

    Raises:
        CheckpointError: a file is damaged.
    """
    recorded = read_json(folder / "checkpoint.json", error=CheckpointError).get("sha256")
    recorded = recorded if isinstance(recorded, dict) else {}
    found = [path for path in sorted(folder.glob(DISCRIMINATORS)) if _DISCRIMINATOR.fullmatch(path.name)]
    paths = [path for path in found if path.is_file()]  # Reading a pipe or a device may never end.
    return {path.stem: _read_tensors(path, recorded) for path in paths if names is None or path.stem in names}


def discriminator_files(record: Mapping[str, Any], names: Collection[str] | None = None) -> list[str]:
    """Return the names of the discriminators' files that a checkpoint.json records; of those `names`, or of all."""
    recorded = record.get("sha256")
    found = sorted(map(str, recorded)) if isinstance(recorded, dict) else ()
    wanted = None if names is None else {f"{name}.safetensors" for name in names}
    return [file for file in found if _DISCRIMINATOR.fullmatch(file) and (wanted is None or file in wanted)]


def _read_tensors(path: Path, recorded: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the tensors in a file by name, in fp32; its checksum is compared where one is recorded."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = f"{path.parent.name}/{path.name}"
    try:
        if path.name in recorded and sha256(path) != recorded[path.name]:
            raise CheckpointError("{file} is damaged: its checksum is not the recorded one", file=file)
        return {key: _numbers(file, key, value) for key, value in load_file(path).items()}
    except (SafetensorError, OSError, RuntimeError, MemoryError) as error:
        raise _unreadable(file, error) from error


def _numbers(file: str, key: str, tensor: Tensor) -> Tensor:
    """Return a tensor of a file in fp32, and refuse one that no network can have learned.

    The sum of its values shows at once whether all are finite; comparing its checksum takes ten times as long.
    """
    import torch

    if not tensor.is_floating_point():
        raise CheckpointError(
            "{file}: {key} ({kind}) is not floating-point numbers; get the checkpoint as it was before it was "
            "quantised or otherwise changed",
            file=file, key=shown(key), kind=str(tensor.dtype).removeprefix("torch."),
        )
    numbers = tensor.float()
    if not torch.isfinite(numbers.sum()) and not torch.isfinite(numbers).all():
        raise CheckpointError(
            "{file}: {key} holds values that are not finite, so the training had failed; use an earlier epoch",
            file=file, key=shown(key),
        )
    return numbers


def _load_weights(
    path: Path, expected: Mapping[str, list[int]], model: ModelConfig, recorded: Mapping[str, str]
) -> dict[str, Tensor]:
    """Return a network's tensors by name, in fp32.

    Args:
        expected: the shape of each tensor.
        model: the settings that `expected` comes from, for messages.
        recorded: SHA-256 by file name; files that aren't in it are not checked.
    """
    from safetensors import SafetensorError, safe_open

    file = f"{path.parent.name}/{path.name}"
    try:
        # By the header alone, so that nothing is read or allocated for weights that can't fit.
        with safe_open(path, framework="pt") as weights:
            found = {key: weights.get_slice(key).get_shape() for key in weights.keys()}  # noqa: SIM118
        if found != expected:
            wrong = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
            raise CheckpointError(
                "{file} does not fit its config.json ({generator}, ngf {ngf}): {key} and {count} more differ",
                file=file, generator=model.generator, ngf=model.ngf, key=wrong[0][:100], count=len(wrong) - 1,
            )
    except (SafetensorError, OSError, RuntimeError, MemoryError) as error:
        raise _unreadable(file, error) from error
    return _read_tensors(path, recorded)


def _unreadable(file: str, error: Exception) -> CheckpointError:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return CheckpointError("{file} is damaged ({reason}); get it again", file=file, reason=reason)


def weights_bytes(config: CheckpointConfig) -> int:
    """Return the most bytes that a file of one generator's weights can have: fp32, with its header.

    Raises:
        CheckpointError: the configuration describes no network that can be built.
    """
    return max(_weights_bytes(config.model, *(config.data.values(domain).channels for domain in way))
               for way in DIRECTIONS)  # fmt: skip


@functools.lru_cache(16)  # The epochs of a run share their settings.
def _weights_bytes(model: ModelConfig, in_channels: int, out_channels: int) -> int:
    import torch

    from cyclegan.networks import build_generator

    try:
        with torch.device("meta"):
            state = build_generator(model, in_channels=in_channels, out_channels=out_channels).state_dict()
    except (ConfigError, RuntimeError, ValueError, MemoryError, OverflowError) as error:
        raise CheckpointError("config.json describes no network that can be built ({reason})", reason=error) from error
    return sum(value.numel() * 4 for value in state.values()) + 1_000_000
