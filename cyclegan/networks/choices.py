"""The faster of two ways of computing a layer, measured once for each kind of layer and processor.

Which way is faster depends on the processor, its caches, the layer's channels and torch's kernels; a rule that was made
on one machine is wrong by a third on the next. A measurement takes milliseconds, and is kept in a file, so that later
starts have neither its time nor another result.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cyclegan.errors import UserError, number_of
from cyclegan.files import read_json, user_cache, whole_file

VARIABLE = "CYCLEGAN_LAYERS"
"""The environment variable that is "fixed" to choose by rule: the same bits in each process of a machine."""
ROUNDS = 3
CLEAR = 1.5
"""Times as long as the other way: then one round is enough."""
MARGIN = 0.97
"""Part of the usual way's time below which another way is chosen: less can't be told from chance."""


class Choices:
    """Which ways were faster, from this process and from earlier ones.

    Args:
        folder: the folder of the file that remembers; None: the user's cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, bool] | None = None
        self._lock = threading.Lock()

    def other_is_faster(
        self,
        layer: str,
        shape: tuple[int, ...],
        usual: Callable[[Tensor], Any],
        other: Callable[[Tensor], Any],
        *,
        rule: bool = False,
    ) -> bool:
        """Return whether `other` takes less time than `usual` with as many threads as torch has now.

        Args:
            layer: what the time depends on besides the shape, the processor and the threads.
            shape: of the input, (N, C, H, W), which is channels-last.
            rule: the answer of this process where the rounds don't agree, as on a busy machine.
        """
        threads = torch.get_num_threads()
        name = f"{layer}, {'×'.join(map(str, shape))}, {number_of(threads, 'thread')}"
        with self._lock:  # Two at once would measure each other.
            if self._known is None:
                self._known = self._read()
            if name not in self._known:
                faster, sure = _measured(shape, usual, other)
                self._known[name] = faster if sure else rule
                if sure:
                    self._keep(name, faster)
            return self._known[name]

    def _file(self) -> Path:
        """Return the file that remembers. Raises RuntimeError where the user has no home."""
        return (self._folder or user_cache()) / "layers.json"

    def _all(self) -> dict[str, Any]:
        """Return what the file holds, by processor; nothing where it is missing or damaged, as it can be made again."""
        try:
            return read_json(self._file())
        except (UserError, OSError, RuntimeError):
            return {}

    def _read(self) -> dict[str, bool]:
        found = self._all().get(_processor())
        found = found if isinstance(found, dict) else {}
        return {name: faster for name, faster in found.items() if isinstance(faster, bool)}

    def _keep(self, name: str, faster: bool) -> None:
        """Remember a choice; where nothing can be written, this process alone does."""
        before = self._all()
        here = before.get(_processor())
        choices = (here if isinstance(here, dict) else {}) | {name: faster}
        text = json.dumps(before | {_processor(): choices}, indent=2, ensure_ascii=False)
        with contextlib.suppress(OSError, RuntimeError), whole_file(self._file(), durable=False) as part:
            part.write_text(text + "\n", "utf-8")


def is_fixed() -> bool:
    """Return whether ways are chosen by rule."""
    return os.environ.get(VARIABLE, "").strip().lower() == "fixed"


def _measured(
    shape: tuple[int, ...], usual: Callable[[Tensor], Any], other: Callable[[Tensor], Any]
) -> tuple[bool, bool]:
    """Return whether the other way is faster, by the shortest of some times each, and whether all rounds agree."""
    with torch.inference_mode():
        # Drawn by a generator of its own: who measures within a training must not change what that draws.
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)
        usual(x), other(x)  # Kernels are prepared in the first call.
        rounds = [(_seconds(usual, x), _seconds(other, x))]
        while len(rounds) < ROUNDS and max(rounds[0]) < CLEAR * min(rounds[0]):
            rounds.append((_seconds(usual, x), _seconds(other, x)))
    one, two = (min(times) for times in zip(*rounds, strict=True))
    faster = two < MARGIN * one
    return faster, all((second < MARGIN * first) == faster for first, second in rounds)


def _seconds(way: Callable[[Tensor], Any], x: Tensor) -> float:
    started = time.perf_counter()
    way(x)
    return time.perf_counter() - started


@functools.cache
def _processor() -> str:
    """Return the processor and torch's version, on which times depend."""
    info = Path("/proc/cpuinfo")
    try:
        lines = info.read_text("utf-8", "replace").splitlines() if info.is_file() else []
    except OSError:
        lines = []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
    model = model or platform.processor() or platform.machine()
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, torch {torch.__version__}"
