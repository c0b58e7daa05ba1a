"""Several processes of one run: what all must see alike, and the end of this one when another is dead or frozen."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from cyclegan.errors import CheckpointError, Message, message
from cyclegan.files import read_json

ROUND_S = 5.0
"""Seconds between two signs of life."""
SILENT_ROUNDS = 8
"""A process that gave none for so many rounds is dead, or frozen as a node without power or network is."""
SEEN_WITHIN_S = 60.0
"""The longest that a client of NFS keeps an old listing of a folder, by its defaults."""
_BYE = 2**32
"""Added to the count of a process that has reached the end of the training."""


def from_main(accelerator: Any, value: Any) -> Any:
    """Return the main process's value on every process; called on every process."""
    return value if accelerator.num_processes == 1 else broadcast_object_list([value])[0]


def check_shared(folder: Path, run_id: str | None, accelerator: Any) -> None:
    """Raise CheckpointError on every process if one of them doesn't see the main process's run in `folder`.

    Args:
        folder: the run's.
        run_id: the run's; of the main process alone.
        accelerator: the processes.
    """
    if accelerator.num_processes == 1:
        return
    run_id, until = from_main(accelerator, run_id), time.monotonic() + SEEN_WITHIN_S
    while not (found := _holds(folder, run_id)) and time.monotonic() < until:
        time.sleep(0.5)
    blind = gather_object([] if found else [(accelerator.process_index, platform.node())])
    if blind:
        index, host = blind[0]
        raise CheckpointError(
            "process {index} on {host} doesn't see --output_dir {folder} as process 0 does: use a folder that all "
            "nodes share",
            index=index, host=host, folder=folder,
        )  # fmt: skip


def _holds(folder: Path, run_id: str) -> bool:
    try:
        return read_json(folder / "run.json", error=CheckpointError).get("run_id") == run_id
    except CheckpointError:
        return False


class Peers:
    """Ends this process with one sentence when another one of its run is dead or frozen.

    A collective would wait for that one: for gloo until its timeout, and for ever if nothing is exchanged just then. So
    each process counts aloud in the processes' common store, and listens to the others, in threads of its own. Work
    that takes one process long, while others wait for it, therefore ends nobody.

    Use it as a context around the rest of the training; a process that leaves it in order isn't missed.
    """

    def __init__(self, accelerator: Accelerator, command: str) -> None:
        """Begin to count and to listen; called on every process. Does nothing with one process.

        Args:
            accelerator: the processes.
            command: the command line that continues the run.
        """
        self._rank, self._command = accelerator.process_index, command
        self._closed, self._said_bye = threading.Event(), False
        self._threads: list[threading.Thread] = []
        if accelerator.num_processes == 1:
            return
        self._hosts = gather_object([platform.node()])
        self._silent = {rank: 0 for rank in range(accelerator.num_processes) if rank != self._rank}
        """Rounds since the last sign of life of each other process."""
        self._left: set[int] = set()
        """Those that have reached the end."""
        token = from_main(accelerator, uuid.uuid4().hex)
        # The second thread watches the first one, too, which waits for ever if the store's own computer is frozen.
        for work in (lambda: self._count(token), self._watch):
            self._threads.append(threading.Thread(target=work, name="peers", daemon=True))
            self._threads[-1].start()

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._said_bye = kind is None  # Of a process that failed, the others must learn.
        self.close()

    def close(self) -> None:
        """Stop counting and listening."""
        self._closed.set()
        for thread in self._threads:
            thread.join(ROUND_S)
        self._threads = []

    def _count(self, token: str) -> None:
        """Count in the store, round by round, and note whose count has risen."""
        from torch.distributed import PrefixStore, TCPStore

        # A connection of its own, because the processes' one is locked while somebody waits in it.
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        heard: dict[int, int] = {}
        try:
            server = TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=30))
            store = PrefixStore(f"peers/{token}", server)
            while not self._closed.is_set():
                store.add(str(self._rank), 1)
                for rank in self._silent.keys() - self._left:
                    count = store.add(str(rank), 0)
                    if count >= _BYE:
                        self._left.add(rank)
                    elif count != heard.get(rank):
                        heard[rank], self._silent[rank] = count, 0
                self._closed.wait(ROUND_S)
            if self._said_bye:
                store.add(str(self._rank), _BYE)
        except RuntimeError:  # Without the store, all others fall silent.
            return

    def _watch(self) -> None:
        """Count the rounds in which nothing was heard.

        Rounds rather than seconds, because a scheduler may freeze all processes together and go on hours later.
        """
        while not self._closed.wait(ROUND_S):
            for rank in self._silent:
                self._silent[rank] += 1
            quiet = [rank for rank, rounds in self._silent.items() if rounds >= SILENT_ROUNDS]
            silent = [rank for rank in quiet if rank not in self._left]
            if silent:
                self._end(silent)

    def _end(self, silent: list[int]) -> None:
        """End this process; one process of each computer reports why.

        The main thread can't do so, because it waits in a collective.
        """
        each = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        first = self._rank // each * each
        if self._rank == min(rank for rank in range(first, first + each) if rank not in silent):
            where = f" in process {self._rank}" if self._rank else ""
            print(f"\nerror{where}: {self.sentence(silent)}", file=sys.stderr, flush=True)
        else:
            time.sleep(1.0)  # A launcher ends all of its processes when the first one has ended.
        os._exit(1)

    def sentence(self, silent: list[int]) -> Message:
        """Return what happened, with the command that continues the run."""
        return message(
            "process {index} on {host} has given no sign of life for {seconds:.0f} s; continue with: {command}",
            index=silent[0], host=self._hosts[silent[0]], seconds=ROUND_S * SILENT_ROUNDS,
            command=Message(self._command),
        )  # fmt: skip
