"""THE checkpoint format: the only module that writes or reads it; where checkpoints come from.

A run is a folder:

    RUN/
      epoch-0001/  epoch-0002/ …      checkpoints, what is published: see `save_checkpoint`
      training_state/step-000002740/  what resuming needs, never published with a checkpoint: see `save_training_state`
      metrics.jsonl  curves.png

Reading a checkpoint never runs code from it: safetensors and JSON only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.config import DIRECTIONS, DataConfig, Direction, ModelConfig, TrainConfig
from cyclegan.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

FORMAT_VERSION = 1
EPOCH_NAME = re.compile(r"epoch-(\d{4,})")
GENERATOR_OF: dict[str, str] = {"ab": "gen_ab", "ba": "gen_ba"}
SAMPLES: dict[Direction, str] = {direction: f"samples/{direction}.png" for direction in DIRECTIONS}
"""By direction, the grid of test pictures in an epoch's folder; see `save_checkpoint`."""
_MAX_JSON_BYTES = 10_000_000


# --- what a checkpoint says of itself -----------------------------------------------------------------------


@dataclass(frozen=True)
class CheckpointConfig:
    """config.json: what rebuilds the networks and how their pictures were prepared."""

    model: ModelConfig
    data: DataConfig = field(default_factory=DataConfig)
    method: str = "cyclegan"
    train: Mapping[str, Any] | None = None
    """Losses, optimiser and run settings of the training, for the record; None for imported weights."""

    @classmethod
    def of(cls, config: TrainConfig) -> CheckpointConfig:
        """What a checkpoint tells of a run: all that matters for its result, no path of the machine it ran on."""
        data = config.data
        folder = Path(os.path.expanduser(data.dataset))
        with contextlib.suppress(OSError):
            if folder.exists():
                data = dataclasses.replace(data, dataset=folder.resolve().name)
        run = config.run.to_json()
        kept = {name: run[name] for name in ("seed", "mixed_precision", "save_precision", "compile")}
        train = {"loss": config.loss.to_json(), "optim": config.optim.to_json(), "run": kept}
        return cls(model=config.model, data=data, method=config.run.method, train=train)

    def to_json(self) -> dict[str, Any]:
        """The content of config.json."""
        return {
            "format_version": FORMAT_VERSION,
            "method": self.method,
            "model": self.model.to_json(),
            "data": self.data.to_json(),
            "train": self.train,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], where: str) -> CheckpointConfig:
        """Read config.json's content, of this or an older format version.

        Raises:
            CheckpointError: a newer format, or settings that make no sense.
        """
        values = _migrated(values, where)
        try:
            return cls(
                model=ModelConfig.from_json(values["model"]),
                data=DataConfig.from_json(values["data"]),
                method=values["method"],
                train=values["train"],
            )
        except (KeyError, TypeError, ConfigError) as error:
            raise CheckpointError(
                "{where}: config.json is damaged ({reason}); get the checkpoint again",
                where=where, reason=error,
            ) from error


def _migrated(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Bring config.json to this format version, by named functions from version to version (none yet)."""
    found = values.get("format_version")
    if not isinstance(found, int) or found < 1:
        raise CheckpointError(
            "{where}: config.json has no format_version; it is not a checkpoint of this program",
            where=where,
        )
    if found > FORMAT_VERSION:
        raise CheckpointError(
            "{where} was written by a newer version of this program (format {found}, this one reads up to "
            "{FORMAT_VERSION}); update the program",
            where=where, found=found, FORMAT_VERSION=FORMAT_VERSION,
        )
    return values


@dataclass(frozen=True)
class CheckpointInfo:
    """One epoch as a source lists it, without weights."""

    epoch: int
    commit_sha: str
    """40 hex digits that pin the content: the Hub's commit, or for a local folder a digest of its files."""
    created: str
    """ISO 8601, UTC."""
    global_step: int = 0
    losses: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    config: CheckpointConfig | None = None
    directions: tuple[Direction, ...] = DIRECTIONS

    @property
    def tag(self) -> str:
        """`epoch-0012`."""
        return epoch_name(self.epoch)


@dataclass(frozen=True)
class Checkpoint:
    """Generators that are ready to run, and where they come from."""

    info: CheckpointInfo
    config: CheckpointConfig
    generators: Mapping[str, nn.Module]
    """By direction; a checkpoint may hold one direction only."""


def epoch_name(epoch: int) -> str:
    """Folder and tag of a completed epoch, counted from 1: `epoch-0012`."""
    return f"epoch-{epoch:04d}"


# --- folders that are there whole or not at all -------------------------------------------------------------


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a hidden sibling of `target` to fill; at the end it is flushed to disk and takes `target`'s name.

    A crash at any moment leaves either the old `target`, or none, or the new one; never a part. What a crash
    left behind begins with a dot, is never listed, and is removed by `sweep`.

    Raises:
        CheckpointError: the disk is full, or the folder can't be written.
    """
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        part.mkdir(parents=True)
        yield part
        for path in sorted(part.rglob("*"), reverse=True):
            _fsync(path)
        _fsync(part)
        if target.exists():
            old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
            os.rename(target, old)
            os.rename(part, target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(part, target)
        _fsync(target.parent)
    except OSError as error:
        raise write_error(error, target) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_error(error: OSError, target: Path) -> CheckpointError:
    """What to tell a person whose disk refused `target`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CheckpointError(
            "the disk is full: {target} could not be written to {parent}. Earlier epochs are intact. Free some "
            "space, then run the same command with --resume auto",
            target=target.name, parent=target.parent,
        )
    return CheckpointError(
        "{target} could not be written ({reason}). Earlier epochs are intact. Make the folder writable, then run "
        "the same command with --resume auto",
        target=target, reason=error.strerror or error,
    )


def sweep(run: Path) -> None:
    """Remove what an interrupted write left behind in a run that no other process is writing."""
    for folder in (run, run / "training_state"):
        for pattern in (".*.part", ".*.old"):
            for leftover in folder.glob(pattern):
                shutil.rmtree(leftover, ignore_errors=True)


def _fsync(path: Path) -> None:
    """Flush a file or a folder's entries; folders can't be opened on Windows, where renames are journalled anyway."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- writing ------------------------------------------------------------------------------------------------


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
    """Write one epoch's checkpoint and return its folder; an existing one of that epoch is replaced whole.

        RUN/epoch-0012/
          gen_ab.safetensors  gen_ba.safetensors   the generators' weights, fp32 or fp16; one of them may be missing
          config.json                              rebuilds the networks; format_version; method; domain names
          checkpoint.json                          epoch, global_step, losses, metrics, seeds, package versions, run_id,
                                                   parent, created, sha256 of the weights
          samples/ab.png  samples/ba.png           fixed test pictures: real, fake, rec, one grid per direction

    Args:
        run: the run's folder.
        epoch: completed epochs, from 1.
        weights: by generator name (`gen_ab`, `gen_ba`), state dicts.
        record: what goes into checkpoint.json beside what is added here: global_step, losses, metrics, seeds,
            run_id, parent, weights ("raw", "ema" or "imported").
        samples: pictures by file stem.
        half: store in fp16.

    Raises:
        CheckpointError: the disk is full, or the folder can't be written.
    """
    import torch
    from safetensors.torch import save

    target = run / epoch_name(epoch)
    with whole_folder(target) as folder:
        digests = {}
        for name, state in weights.items():
            path = folder / f"{name}.safetensors"
            tensors = {
                key: value.detach()
                .to("cpu", torch.float16 if half and value.is_floating_point() else None)
                .contiguous()
                for key, value in state.items()
            }
            # As bytes first: what a full disk raises is then an OSError, whichever library made them.
            content = save(tensors)
            path.write_bytes(content)
            digests[path.name] = hashlib.sha256(content).hexdigest()
        written = {
            "format_version": FORMAT_VERSION,
            "epoch": epoch,
            **record,
            "precision": "fp16" if half else "fp32",
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "versions": package_versions(),
            "sha256": digests,
        }
        write_json(folder / "config.json", config.to_json())
        write_json(folder / "checkpoint.json", written)
        if samples:
            (folder / "samples").mkdir()
            for stem, image in samples.items():
                image.save(folder / "samples" / f"{stem}.png")
    return target


def write_json(path: Path, values: Any) -> None:
    """Write readable JSON in place of an old file, whole or not at all; not-a-number, unknown to JSON, becomes null.

    Raises:
        OSError: the file can't be written; an old one is as it was.
    """
    text = json.dumps(_without_nan(values), indent=2, ensure_ascii=False) + "\n"
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        # A file name that is no Unicode becomes a JSON escape.
        part.write_bytes(text.encode("utf-8", "backslashreplace"))
        _fsync(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _without_nan(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _without_nan(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_without_nan(value) for value in values]
    return None if isinstance(values, float) and values - values != 0 else values


def package_versions() -> dict[str, str]:
    """Versions of what the result depends on."""
    versions = {}
    for name in ("torch", "torchvision", "accelerate", "pillow", "numpy", "safetensors"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def file_sha256(path: Path) -> str:
    """A file's checksum, in hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


# --- reading ------------------------------------------------------------------------------------------------


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises CheckpointError naming the file and its folder."""
    try:
        if path.exists() and not path.is_file():  # A pipe would be waited for, a device read for ever.
            raise CheckpointError("{parent}/{name} is not a regular file", parent=path.parent.name, name=path.name)
        with open(path, "rb") as file:
            content = file.read(_MAX_JSON_BYTES + 1)
        if len(content) > _MAX_JSON_BYTES:
            raise CheckpointError(
                "{parent}/{name} is too large to be a checkpoint's",
                parent=path.parent.name, name=path.name,
            )
        values = json.loads(content.decode("utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(
            "{parent} has no {name}; it is not a whole checkpoint",
            parent=path.parent.name, name=path.name,
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            "{parent}/{name} can't be read ({reason}); get it again",
            parent=path.parent.name, name=path.name, reason=error,
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(
            "{parent}/{name} is damaged: a JSON object was expected",
            parent=path.parent.name, name=path.name,
        )
    return values


def read_info(folder: Path) -> CheckpointInfo:
    """What the checkpoint in `folder` says of itself, without its weights.

    Raises:
        CheckpointError: it is not a checkpoint, damaged, or of a newer format.
    """
    config_values, record = read_json(folder / "config.json"), read_json(folder / "checkpoint.json")
    files = {path.name for path in folder.iterdir() if path.is_file()}
    return make_info(config_values, record, files=files, where=folder.name)


def make_info(
    config_values: dict[str, Any],
    record: Mapping[str, Any],
    *,
    files: Collection[str],
    where: str,
    commit_sha: str | None = None,
) -> CheckpointInfo:
    """What a checkpoint says of itself.

    Args:
        config_values: config.json.
        record: checkpoint.json.
        files: names of the files beside them.
        where: how messages call it.
        commit_sha: the commit that holds it; None for a digest of its configuration, epoch and weights' checksums.

    Raises:
        CheckpointError: it is damaged, of a newer format, or without weights that are ever loaded.
    """
    try:
        config = CheckpointConfig.from_json(config_values, where)
        pinned = json.dumps([config_values, record.get("sha256"), record.get("epoch")], sort_keys=True).encode()
    except RecursionError as error:
        raise CheckpointError(
            "{where} is damaged: its JSON is nested too deeply; get the checkpoint again",
            where=where,
        ) from error
    directions = tuple(d for d in DIRECTIONS if f"{GENERATOR_OF[d]}.safetensors" in files)
    if not directions:
        pickles = sorted(name for name in files if name.endswith((".pth", ".bin", ".pt", ".ckpt")))
        hint = f"; {pickles[0]} is a pickle, which is never loaded: use `python -m cyclegan import`" if pickles else ""
        raise CheckpointError("{where} has no gen_ab.safetensors or gen_ba.safetensors{hint}", where=where, hint=hint)
    epoch, step = record.get("epoch"), record.get("global_step", 0)
    if type(epoch) is not int or type(step) is not int or not 1 <= epoch < 10**9:
        raise CheckpointError(
            "{where}/checkpoint.json is damaged: it names no epoch; get the checkpoint again",
            where=where,
        )
    return CheckpointInfo(
        epoch=epoch,
        commit_sha=commit_sha or hashlib.sha256(pinned).hexdigest()[:40],
        created=str(record.get("created", "")),
        global_step=step,
        losses=read_figures(record.get("losses")),
        metrics=read_figures(record.get("metrics")),
        config=config,
        directions=directions,
    )


def read_figures(values: Any) -> dict[str, float]:
    """The losses or metrics in a JSON object; what is no number is left out."""
    figures = {}
    for key, value in values.items() if isinstance(values, dict) else ():
        if isinstance(value, (int, float)):
            with contextlib.suppress(OverflowError):
                figures[str(key)] = float(value)
    return figures


def load_checkpoint(folder: Path, directions: tuple[Direction, ...] | None = None) -> Checkpoint:
    """Rebuild the generators of one epoch's folder, in fp32 and eval mode, on the CPU.

    Args:
        directions: which to load; None for all that are there.

    Raises:
        CheckpointError: damaged, of a newer format, a direction is missing, or weights don't fit the config.
    """
    import torch
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    from cyclegan.networks import build_generator

    info = read_info(folder)
    recorded = read_json(folder / "checkpoint.json").get("sha256")
    recorded = recorded if isinstance(recorded, dict) else {}
    generators = {}
    for direction in directions or info.directions:
        if direction not in info.directions:
            raise CheckpointError(
                "{folder} translates {directions} only, not {direction_name}",
                folder=folder.name, directions=' and '.join(map(direction_name, info.directions)),
                direction_name=direction_name(direction),
            )
        path = folder / f"{GENERATOR_OF[direction]}.safetensors"
        with torch.device("meta"):
            generator = build_generator(info.config.model)
        expected = {key: list(value.shape) for key, value in generator.state_dict().items()}
        try:
            # By the header alone, so that nothing is read or allocated for what can't fit.
            with safe_open(path, framework="pt") as file:
                found = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
            if found != expected:
                wrong = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
                raise CheckpointError(
                    "{folder}/{name} does not fit its config.json ({generator}, ngf {ngf}): {wrong} and {count} "
                    "more differ",
                    folder=folder.name, name=path.name, generator=info.config.model.generator,
                    ngf=info.config.model.ngf, wrong=wrong[0][:100], count=len(wrong) - 1,
                )
            if path.name in recorded and file_sha256(path) != recorded[path.name]:
                raise CheckpointError(
                    "{folder}/{name} is damaged: its checksum is not the recorded one",
                    folder=folder.name, name=path.name,
                )
            state = {key: value.float() for key, value in load_file(path).items()}
        except (SafetensorError, OSError, RuntimeError, MemoryError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise CheckpointError(
                "{folder}/{name} is damaged ({reason}); get it again",
                folder=folder.name, name=path.name, reason=reason,
            ) from error
        generator = generator.to_empty(device="cpu")
        generator.load_state_dict(state)
        generators[direction] = generator.eval().requires_grad_(False)
    return Checkpoint(info=info, config=info.config, generators=generators)


def weights_bytes(config: CheckpointConfig) -> int:
    """How many bytes a file of one generator's weights has at most: fp32, with its header.

    Raises:
        CheckpointError: the configuration describes no network that can be built.
    """
    import torch

    from cyclegan.networks import build_generator

    try:
        with torch.device("meta"):
            state = build_generator(config.model).state_dict()
    except (ConfigError, RuntimeError, ValueError, MemoryError, OverflowError) as error:
        raise CheckpointError("config.json describes no network that can be built ({reason})", reason=error) from error
    return sum(value.numel() * 4 for value in state.values()) + 1_000_000


def direction_name(direction: str) -> str:
    """`A → B` or `B → A`."""
    return "A → B" if direction == "ab" else "B → A"


# --- the training state -------------------------------------------------------------------------------------

