"""Loaded checkpoints that are kept for the next visitor."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections import OrderedDict
from typing import Any
from weakref import WeakValueDictionary

from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.translation.translator import Translator


class TranslatorCache:
    """Loaded checkpoints by commit SHA; the least recently used are dropped when they exceed a bound.

    Args:
        max_bytes: bound of all weights together; the newest is kept whatever its size.
    """

    def __init__(self, max_bytes: int = 2 * 2**30, device: str | None = None) -> None:
        self.max_bytes, self.device = max_bytes, device
        self._kept: OrderedDict[str, Translator] = OrderedDict()
        self._lock = threading.Lock()
        self._loading: WeakValueDictionary[str, Any] = WeakValueDictionary()
        """A lock by commit SHA: one thread loads it and others wait, but nobody waits for another checkpoint."""

    def get(self, source: CheckpointSource, epoch: int | None = None) -> Translator:
        """Return the translator of `epoch`, None for the newest; load it if it isn't kept.

        Raises:
            CheckpointError: it is missing or can't be read.
        """
        infos = source.list()
        info = next((i for i in infos if epoch is None or i.epoch == epoch), None)
        if info is None:
            return self._keep(Translator(source.load(epoch), self.device))
        with self._lock:
            loading = self._loading.setdefault(info.commit_sha, threading.Lock())
        with loading:
            with self._lock:
                if info.commit_sha in self._kept:
                    self._kept.move_to_end(info.commit_sha)
                    return self._kept[info.commit_sha]
            # Loading may include a download of minutes.
            return self._keep(Translator(source.load(info.epoch), self.device))

    def _keep(self, translator: Translator) -> Translator:
        with self._lock:
            self._kept[translator.checkpoint.info.commit_sha] = translator
            while len(self._kept) > 1 and sum(t.nbytes for t in self._kept.values()) > self.max_bytes:
                self._kept.popitem(last=False)
        _return_memory()
        return translator


def _return_memory() -> None:
    """Return freed memory to the system, because glibc would keep gigabytes of it after many checkpoints."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # Other C libraries do so by themselves.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
