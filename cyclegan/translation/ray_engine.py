"""Many pictures by Ray Data: read on processors, translated on every GPU or node of a cluster, written by its workers.

Ray restarts what dies. Which pictures are finished is in the driver's manifest, as without Ray.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from cyclegan.checkpoints.format import Checkpoint
from cyclegan.config import Direction
from cyclegan.errors import ConfigError, ImageError, UserError, message
from cyclegan.rasters.files import Stack
from cyclegan.translation.at_once import batch_size, goes_alone, most_at_once, prepare, translations
from cyclegan.translation.files import Item, PictureReader
from cyclegan.translation.manifest import Manifest
from cyclegan.translation.pictures import PicturesTranslation, name_of, smaller_note
from cyclegan.translation.saving import Encoding, save_picture
from cyclegan.translation.translator import Picture, TranslationResult, Translator, working_size
from cyclegan.values import Values

BATCH = 32
"""Pictures that an actor gets at once; it puts those of one size together. At the end, threads wait for the last."""
ANSWER_S = 10.0
BLOCK = 64
"""Pictures of a block, which is what a dead worker loses."""
HELPER_CPUS, NETWORK_CPUS = 0.25, 0.5
"""Processors that reading and writing, and a network, are scheduled for: a few of them fit next to each other. They
differ, or Ray would read within the network's process."""
Rows = dict[str, Any]


def translate_by_ray(
    checkpoint: Checkpoint, items: Sequence[Item], folder: Path, direction: Direction, *, reconstruct: bool = False,
    size: int | None = None, encoding: Encoding, manifest: Manifest, address: str | None = None,
    progress: Callable[[float], None] = lambda done: None,
) -> PicturesTranslation:
    """Translate pictures on a Ray cluster; those that can't be read, translated or written don't stop the others.

    Every node must see the pictures and `folder` under the same paths, and have this program. A volume isn't a picture
    here.

    Args:
        checkpoint: its networks are sent to the workers.
        items, folder, direction, reconstruct, size, encoding, manifest, progress: as `translate_pictures` takes them.
        address: of the cluster; None starts one on this machine, or takes that of RAY_ADDRESS.

    Raises:
        ConfigError: Ray isn't installed, or the cluster can't be reached.
    """
    ray = _connected(address)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = False
        resources, nodes = ray.cluster_resources(), [node for node in ray.nodes() if node["Alive"]]
        gpus = int(resources.get("GPU", 0))
        workers = gpus or len(nodes)
        cpus = int(resources.get("CPU", 1))
        threads = None if gpus else max(1, cpus // workers)
        # Where the networks compute on processors, more helpers would only take these away from them.
        helpers = ray.data.TaskPoolStrategy(size=None if gpus else max(1, cpus // 2))
        networks = ray.put(checkpoint)  # Kept here, because a worker that is started again needs it, too.
        rows = ray.data.from_items(
            [{"number": number, "item": pickle.dumps(item)} for number, item in enumerate(items)],
            override_num_blocks=max(1, -(-len(items) // BLOCK)),
        )
        read = functools.partial(_read, values=checkpoint.config.data.values(direction[0]))
        write = functools.partial(_write, info=_Info(checkpoint), folder=folder.resolve(), direction=direction,
                                  encoding=encoding)  # fmt: skip
        results = (
            rows.map_batches(read, batch_size=BATCH, compute=helpers, num_cpus=HELPER_CPUS)
            .map_batches(
                _Network, batch_size=BATCH, compute=ray.data.ActorPoolStrategy(size=workers),
                fn_constructor_args=(networks, direction, reconstruct, size, threads),
                num_cpus=NETWORK_CPUS, num_gpus=1 if gpus else 0,
            )
            .map_batches(write, batch_size=BATCH, compute=helpers, num_cpus=HELPER_CPUS)
        )
        return _collect(results.iter_rows(), items, manifest, size, progress)
    finally:
        ray.shutdown()


def _connected(address: str | None) -> Any:
    """Return Ray, connected to a cluster."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError(
            "--engine ray needs a package: pip install 'cyclegan-workbench[ray]', or pip install 'ray[data]'"
        ) from error
    address = address or os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        if address and address != "auto":  # Ray itself would ask a dead address for minutes.
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            "no Ray cluster answers at {address} ({reason}): start one with `ray start --head`, set "
            "RAY_AUTH_MODE=token if it asks for a token, or leave --address out",
            address=address or "this machine", reason=str(error).splitlines()[0],
        ) from error
    return ray


def _collect(
    rows: Iterator[dict[str, Any]], items: Sequence[Item], manifest: Manifest, size: int | None,
    progress: Callable[[float], None],
) -> PicturesTranslation:
    """Record the results as they come. A retried block may bring some twice."""
    done, seen = PicturesTranslation(), set()
    for row in rows:
        if (number := int(row["number"])) in seen:
            continue
        seen.add(number)
        item = items[number]
        if row["error"]:
            done.failed.append(message("{error}", error=row["error"]))
            manifest.failed(item.source, row["error"])
        else:
            manifest.finished(name_of(item), item.source, json.loads(row["outputs"]))
            given = (int(row["width"]), int(row["height"]))
            if (note := smaller_note(item.shown, given, size)) is not None:
                done.smaller.append(note)
        progress(float(len(seen)))
    return done


# --- the workers' part --------------------------------------------------------------------------------------


class _Info:
    """The part of a checkpoint that results name, without its networks."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.info = checkpoint.info


def _packed(values: Sequence[Any]) -> list[bytes]:
    """Return objects as bytes, because Ray would make one array of pictures of one size."""
    return [pickle.dumps(value) for value in values]


def _unpacked(values: Sequence[bytes]) -> list[Any]:
    return [pickle.loads(value) for value in values]  # Between our own processes only.


def _read(rows: Rows, values: Values) -> Rows:
    pictures, errors = [], []
    with PictureReader(values) as reader:
        for item in _unpacked(rows["item"]):
            picture, error = None, ""
            try:
                picture = reader.read(item)
                if isinstance(picture, Stack):
                    picture = None
                    error = f"{item.shown} is a volume, which --engine ray doesn't translate: leave --engine out"
            except ImageError as failed:
                error = str(failed)
            pictures.append(picture)
            errors.append(error)
    return {**rows, "picture": _packed(pictures), "error": errors}


class _Network:
    """An actor with the networks on its device."""

    def __init__(
        self, checkpoint: Any, direction: Direction, reconstruct: bool, size: int | None, threads: int | None
    ) -> None:
        import ray

        if threads:
            torch.set_num_threads(threads)
        self.translator = Translator(ray.get(checkpoint))
        self.direction, self.reconstruct, self.size = direction, reconstruct, size
        self.threads = torch.get_num_threads()
        self.at_once = most_at_once(self.translator.device, self.threads)
        self.pool = ThreadPoolExecutor(self.at_once)
        prepare(self.translator, self.threads // self.at_once)

    def __call__(self, rows: Rows) -> Rows:
        pictures, items, errors = _unpacked(rows["picture"]), _unpacked(rows["item"]), list(rows["error"])
        results: list[TranslationResult | None] = [None] * len(items)
        groups: dict[tuple[int, int], list[int]] = {}
        for place, picture in enumerate(pictures):
            if picture is not None:
                groups.setdefault(working_size(picture.size, self.size), []).append(place)
        batches = []
        for worked, places in groups.items():
            most = batch_size(self.translator, worked, self.at_once)
            alone = self.at_once == 1 or goes_alone(self.translator, worked)
            batches += [(alone, places[start : start + most]) for start in range(0, len(places), most)]
        threads = self.threads // self.at_once
        running = [
            (places, self.pool.submit(self._translate, [pictures[place] for place in places], threads))
            for alone, places in batches if not alone
        ]  # fmt: skip
        found = [(places, each.result()) for places, each in running]
        found += [(places, self._translate([pictures[place] for place in places], self.threads))
                  for alone, places in batches if alone]  # fmt: skip
        for places, translated in found:
            for place, result in zip(places, translated, strict=True):
                if isinstance(result, ImageError):
                    errors[place] = f"{items[place].shown}: {result}"
                else:
                    results[place] = result
        sizes = [(0, 0) if picture is None else picture.size for picture in pictures]
        return {
            "number": rows["number"], "item": rows["item"], "result": _packed(results), "error": errors,
            "width": [width for width, _ in sizes], "height": [height for _, height in sizes],
        }  # fmt: skip

    def _translate(self, pictures: Sequence[Picture], threads: int) -> list[TranslationResult | ImageError]:
        return translations(
            self.translator, pictures, self.direction, reconstruct=self.reconstruct, size=self.size, threads=threads
        )


def _write(rows: Rows, info: _Info, folder: Path, direction: Direction, encoding: Encoding) -> Rows:
    outputs, errors = [], list(rows["error"])
    for place, (item, result) in enumerate(zip(_unpacked(rows["item"]), _unpacked(rows["result"]), strict=True)):
        pictures = () if result is None else ((result.fake, ""), (result.rec, "_rec"))
        written = []
        try:
            for picture, part in pictures:
                if picture is not None:
                    path = save_picture(picture, folder / item.target, checkpoint=info, direction=direction, part=part,
                                        of=item.path, encoding=encoding)  # fmt: skip
                    written.append(path.relative_to(folder).as_posix())
        except (UserError, OSError) as error:
            errors[place] = f"{item.shown}: its translation can't be written as {item.target} ({error})"
        outputs.append(json.dumps(written))
    return {"number": rows["number"], "outputs": outputs, "error": errors, "width": rows["width"],
            "height": rows["height"]}  # fmt: skip
