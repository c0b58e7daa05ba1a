"""The state behind the pages: the runs, their loaded networks, and the results.

Nothing here imports torch before a picture is translated, because the page is served first; `Workbench.warm` loads
torch in the background.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.errors import CheckpointError, UserError
from cyclegan.ui import spaces, words
from cyclegan.ui.engine import Engine
from cyclegan.ui.feedback import page_error
from cyclegan.ui.results import Picture, Result, ResultCache, ResultRequest, compute

if TYPE_CHECKING:
    from PIL import Image

    from cyclegan.translation.translator import Translator


GPU_IS_LENT = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
"""True in a Space without a GPU of its own, which is lent one for each call (ZeroGPU)."""

PEOPLE: dict[str, Any] = {"concurrency_id": "people", "concurrency_limit": 1 if GPU_IS_LENT else 32}
"""For every event that translates a picture: so many visitors wait for the engine, the others in gradio's queue."""
JOBS: dict[str, Any] = {"concurrency_id": "jobs", "concurrency_limit": 1 if GPU_IS_LENT else 2}
"""For every event that translates a video or many files."""
FILES: dict[str, Any] = {"queue": True, "concurrency_id": "files", "concurrency_limit": 4}
"""For every other event that opens what a visitor has sent: events that aren't queued have no limit."""
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""For events that only rearrange a page."""
QUEUED: dict[str, Any] = {**QUICK, "queue": True, "concurrency_limit": None}
"""For events that may show a notice, or change a state that others follow: gradio tells pages of both in the answers of
queued events only."""
MAX_OPENED = 32
"""So many of the runs that visitors have named are remembered."""
WAIT_S, MOST_WAITS = 0.5, 60
"""Time between two steps of a visitor who waits for the first example, and their number; gradio can end the event at
each of them. A run on the Hub may take longer, and nobody else should wait for that."""
MAX_NAME = 300
"""Most characters in the name of a run."""

log = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable[..., Any])


def on_gpu(seconds: int = 60) -> Callable[[Function], Function]:
    """Return a decorator that runs a function on the GPU that a Space is lent for the call; elsewhere it does nothing.

    There the function runs in a forked process: its arguments, what it yields and what it raises are pickled, only a
    gr.Error arrives as it was raised, and what it loads is lost with the process.

    Args:
        seconds: the longest time for which the GPU is lent.
    """
    return (lambda fn: fn) if spaces is None else spaces.GPU(duration=seconds)


class Workbench:
    """The runs that the pages show, by name, and their checkpoints' translations of pictures.

    Args:
        sources: at least one; runs of the same name get a number.
        open_more: opens another source that a visitor names; raises CheckpointError. None: no other can be opened.
        own: whether the visitor owns this computer, whose time and folders then are theirs.
        cache_bytes: bound of the loaded weights; the checkpoint used last is kept whatever its size.
        studies: a `cyclegan.study.shelf.Studies`, for its page.
    """

    def __init__(
        self, sources: Sequence[CheckpointSource], open_more: Callable[[str], CheckpointSource] | None = None, *,
        own: bool = False, cache_bytes: int = 2 * 2**30, studies: Any = None,
    ) -> None:
        self.runs: dict[str, CheckpointSource] = {}
        for source in sources:
            same = sum(known.name == source.name for known in self.runs.values())
            self.runs[f"{source.name} ({same + 1})" if same else source.name] = source
        self.own, self._cache_bytes, self.studies = own, cache_bytes, studies
        self.engine = None if GPU_IS_LENT else Engine()
        """Runs the networks; None where each call is lent a GPU in a process of its own."""
        self._open_more = open_more
        self._opened: OrderedDict[str, CheckpointSource] = OrderedDict()
        self._cache: Any = None
        self._lock = threading.Lock()
        self._results = ResultCache()
        self.ready = threading.Event()
        """Set once torch and a checkpoint are loaded, or their loading in the background has failed."""
        self.pace: dict[str, float] = {}
        """Seconds per pixel and result that networks took last, by commit SHA."""
        self.first: Callable[[], None] | None = None
        """Called in the background once the first checkpoint is loaded; visitors' pictures wait a little for it."""
        self._first_done = threading.Event()
        self._first_done.set()

        @on_gpu()
        def compute_results(
            picture: Image.Image, wanted: list[ResultRequest], say: words.Speaker
        ) -> Iterator[Result | float]:
            def translator_of(one: ResultRequest) -> Translator:
                return self.translator(one.run, one.epoch)

            try:
                yield from compute(self.engine, translator_of, picture, wanted)
            except Exception as error:
                raise page_error(error, say) from error  # Only gr.Error comes back from a process with a GPU.

        self._compute = compute_results

    @property
    def takes_more(self) -> bool:
        """True where visitors can name runs that aren't in `runs`."""
        return self._open_more is not None

    def run(self, name: str | None) -> CheckpointSource:
        """Return the run of this name, None for the first.

        Args:
            name: one of `runs`, or where `takes_more` what its opener takes, such as USER/NAME on the Hub.

        Raises:
            CheckpointError: there is no such run.
        """
        if name is None:
            return next(iter(self.runs.values()))
        if isinstance(name, str) and name in self.runs:
            return self.runs[name]
        valid = isinstance(name, str) and name.isprintable() and len(name) <= MAX_NAME
        if not valid or self._open_more is None:
            raise CheckpointError(
                "there is no run {name!r} here; there is {runs}", name=str(name)[:MAX_NAME], runs=", ".join(self.runs)
            )
        with self._lock:
            source = self._opened.get(name)
            if source is None:
                source = self._opened[name] = self._open_more(name.strip())  # Reads nothing yet.
            self._opened.move_to_end(name)
            while len(self._opened) > MAX_OPENED:
                self._opened.popitem(last=False)
        return source

    def info(self, run: str | None, epoch: int | None) -> CheckpointInfo:
        """Return a run's epoch, None for the newest.

        Raises:
            CheckpointError: it isn't there.
        """
        source = self.run(run)
        infos = source.list()
        found = next((info for info in infos if epoch is None or info.epoch == epoch), None)
        if found is None:
            if not infos and not source.problems:
                raise CheckpointError("{name} has no epoch yet", name=source.name)
            if epoch is None:
                raise CheckpointError("{name} has no epoch that can be read", name=source.name)
            if not infos:
                raise CheckpointError("{name} has no epoch {epoch} that can be read", name=source.name, epoch=epoch)
            have = ", ".join(str(info.epoch) for info in infos[:8]) + (", …" if len(infos) > 8 else "")
            raise CheckpointError(
                "{name} has no epoch {epoch}; it has {have}", name=source.name, epoch=epoch, have=have
            )
        return found

    def translator(self, run: str | None, epoch: int | None) -> Translator:
        """Return the networks of a run's epoch, None for the newest; the first call waits for torch.

        Raises:
            CheckpointError: it isn't there or can't be read.
        """
        from cyclegan.translation.cache import TranslatorCache

        with self._lock:
            if self._cache is None:
                self._cache = TranslatorCache(self._cache_bytes)
        translator = self._cache.get(self.run(run), epoch)
        self.ready.set()
        return translator

    def device_type(self) -> str:
        """Return where the networks run: cpu, cuda, mps."""
        if GPU_IS_LENT:
            return "cuda"
        from cyclegan.translation.translator import default_device

        return default_device()

    def input(self, picture: Picture) -> str:
        """Return a picture as a file for the browser."""
        return self._results.input(picture)

    def results(self, picture: Picture, wanted: Sequence[ResultRequest], say: words.Speaker) -> Iterator[Result]:
        """Yield a picture's results in order, each as soon as it is ready; those made before at once.

        Raises:
            gr.Error: one can't be made; a sentence in the visitor's language.
        """
        return (result for result in self.follow(picture, wanted, say) if isinstance(result, Result))

    def follow(self, picture: Picture, wanted: Sequence[ResultRequest], say: words.Speaker) -> Iterator[Result | float]:
        """As `results`; before and while the next one is made, also its progress now and then, 0 to 1.

        Gradio can end the event of a visitor who has left or cancelled only where it yields.
        """
        for _ in range(MOST_WAITS):
            if self._first_done.wait(WAIT_S):
                break
            yield 0.0
        yield from self.compute(picture, wanted, say)

    def compute(
        self, picture: Picture, wanted: Sequence[ResultRequest], say: words.Speaker
    ) -> Iterator[Result | float]:
        """As `follow`, without waiting for `first`."""
        kept = [self._results.get(picture, one) for one in wanted]
        missing = [one for one, result in zip(wanted, kept, strict=True) if result is None]
        made = iter(self._compute(picture.image, missing, say) if missing else ())
        for one, result in zip(wanted, kept, strict=True):
            if result is None:
                yield 0.0
            while result is None:
                step = next(made)
                if isinstance(step, Result):
                    result = step
                    self._results.put(picture, one, result)
                else:
                    yield step
            yield result

    def warm(self) -> None:
        """Load torch and the first run's newest checkpoint in the background, then call `first`."""
        if GPU_IS_LENT:
            self.ready.set()  # This process has no GPU, and `spaces` has loaded torch.
            return
        self._first_done.clear()
        threading.Thread(target=self._warm, name="warm", daemon=True).start()

    def _warm(self) -> None:
        try:
            import torch  # noqa: F401  # Also where the first run has no epoch yet.

            if self.run(None).list():
                self.translator(None, None)
                if self.first is not None:
                    self.first()
        except UserError as error:
            log.warning("%s", error)  # The page shows it to whoever asks for the checkpoint.
        except Exception:
            log.exception("the networks could not be loaded")
        finally:
            self.ready.set()
            self._first_done.set()
