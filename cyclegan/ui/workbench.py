"""What the pages share: the runs on show, their loaded networks, the look.

Nothing here imports torch before a picture is translated: the page is served first, torch is loaded behind it
(`Workbench.warm`).
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr
from starlette.routing import BaseRoute

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.errors import CheckpointError
from cyclegan.ui import spaces, words
from cyclegan.ui.engine import Engine
from cyclegan.ui.results import Picture, Reading, Readings, Wanted, compute

if TYPE_CHECKING:
    from PIL import Image

    from cyclegan.translation.translator import Translator

CSS = Path(__file__).with_name("ui.css")

GPU_IS_LENT = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
"""Whether this is a Space without a GPU of its own, which is lent one for each call (ZeroGPU)."""

PEOPLE: dict[str, Any] = {"concurrency_id": "people", "concurrency_limit": 1 if GPU_IS_LENT else 32}
"""For every event that makes readings: so many visitors wait for the engine, the others in gradio's queue."""
JOBS: dict[str, Any] = {"concurrency_id": "jobs", "concurrency_limit": 1 if GPU_IS_LENT else 2}
"""For every event that translates a video or many files."""
FILES: dict[str, Any] = {"queue": True, "concurrency_id": "files", "concurrency_limit": 4}
"""For every event that opens what a visitor has sent, beside those: what isn't queued has no limit."""
MAX_OPENED = 32
"""Runs that visitors have named, and that are remembered."""
MAX_NAME = 300
"""Characters of what a visitor may name."""

log = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable[..., Any])


def on_gpu(seconds: int = 60) -> Callable[[Function], Function]:
    """Makes a function that runs networks do so on a GPU that a Space is lent for the call; elsewhere nothing.

    There it runs in a process of its own, forked for it: what it is given, yields and raises is pickled, of errors
    only gr.Error arrives as it was, and what it loads stays there.

    Args:
        seconds: for how long the GPU is lent at most.
    """
    return (lambda fn: fn) if spaces is None else spaces.GPU(duration=seconds)


class Workbench:
    """The runs that the pages show, by name, and what their checkpoints make of pictures.

    Args:
        sources: at least one; runs of one name are told apart by a number.
        open_more: opens what a visitor names beside them; raises CheckpointError. None: nothing can be opened.
        own: whether the visitor owns this computer, whose time and folders then are theirs.
        cache_bytes: bound of the weights that are kept loaded; the checkpoint used last is kept whatever its size.
        studies: a `cyclegan.ui.pages.studies.Studies`, for its page.
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
        """What runs the networks; None where each call is lent a GPU in a process of its own."""
        self._open_more = open_more
        self._opened: OrderedDict[str, CheckpointSource] = OrderedDict()
        self._cache: Any = None
        self._lock = threading.Lock()
        self._readings = Readings()
        self.ready = threading.Event()
        """Set once torch and a checkpoint are loaded, or their loading in the background has failed."""

        @on_gpu()
        def compute_readings(
            picture: Image.Image, wanted: list[Wanted], say: words.Speaker
        ) -> Iterator[Reading | float]:
            def translator_of(one: Wanted) -> Translator:
                return self.translator(one.run, one.epoch)

            try:
                yield from compute(self.engine, translator_of, picture, wanted)
            except Exception as error:
                from cyclegan.ui.common import told_error

                raise told_error(error, say) from error

        self._compute = compute_readings

    @property
    def takes_more(self) -> bool:
        """Whether visitors can name runs that are not in `runs`."""
        return self._open_more is not None

    def run(self, name: str | None) -> CheckpointSource:
        """The run of this name, None for the first.

        Args:
            name: one of `runs`, or where `takes_more` what its opener takes, such as USER/NAME on the Hub.

        Raises:
            CheckpointError: there is no such run.
        """
        if name is None:
            return next(iter(self.runs.values()))
        if not isinstance(name, str) or not name.isprintable() or len(name) > MAX_NAME:
            raise CheckpointError(
                "there is no run {name!r} here; there is {runs}",
                name=str(name)[:MAX_NAME], runs=', '.join(self.runs),
            )
        if name in self.runs:
            return self.runs[name]
        if self._open_more is None:
            raise CheckpointError(
                "there is no run {name!r} here; there is {runs}",
                name=name, runs=', '.join(self.runs),
            )
        with self._lock:
            source = self._opened.get(name)
            if source is None:
                source = self._opened[name] = self._open_more(name.strip())  # Looks at nothing yet.
            self._opened.move_to_end(name)
            while len(self._opened) > MAX_OPENED:
                self._opened.popitem(last=False)
        return source

    def info(self, run: str | None, epoch: int | None) -> CheckpointInfo:
        """A run's epoch, None for the newest.

        Raises:
            CheckpointError: it isn't there.
        """
        source = self.run(run)
        infos = source.list()
        found = next((info for info in infos if epoch is None or info.epoch == epoch), None)
        if found is None:
            have = ", ".join(str(info.epoch) for info in infos[:8]) + (", …" if len(infos) > 8 else "")
            why = f"{source.name} has no epoch {epoch}" if epoch is not None else f"{source.name} has no epoch"
            raise CheckpointError(f"{why}; it has {have}" if infos else f"{why} that can be read")
        return found

    def translator(self, run: str | None, epoch: int | None) -> Translator:
        """The networks of a run's epoch, None for the newest; the first call waits for torch.

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
        """Where the networks run: cpu, cuda, mps."""
        if GPU_IS_LENT:
            return "cuda"
        from cyclegan.translation.translator import default_device

        return default_device()

    def input(self, picture: Picture) -> str:
        """A picture as a file for the browser."""
        return self._readings.input(picture)

    def read(self, picture: Picture, wanted: Sequence[Wanted], say: words.Speaker) -> Iterator[Reading]:
        """A picture's readings, in order, each as soon as it is there; those made before at once.

        Raises:
            gr.Error: one can't be made; a sentence in the visitor's language.
        """
        return (reading for reading in self.follow(picture, wanted, say) if isinstance(reading, Reading))

    def follow(self, picture: Picture, wanted: Sequence[Wanted], say: words.Speaker) -> Iterator[Reading | float]:
        """As `read`; and before and while the next one is made, now and then what part of it is done (0 to 1).

        Gradio can end an event for a visitor who has left or has enough only where it yields something.
        """
        kept = [self._readings.get(picture, one) for one in wanted]
        missing = [one for one, reading in zip(wanted, kept, strict=True) if reading is None]
        made = iter(self._compute(picture.image, missing, say) if missing else ())
        for one, reading in zip(wanted, kept, strict=True):
            if reading is None:
                yield 0.0
            while reading is None:
                step = next(made)
                if isinstance(step, Reading):
                    reading = step
                    self._readings.put(picture, one, reading)
                else:
                    yield step
            yield reading

    def warm(self) -> None:
        """Load torch and the first run's newest checkpoint in the background."""
        if GPU_IS_LENT:
            self.ready.set()  # This process can't put networks on a GPU; torch came with `spaces`.
            return
        threading.Thread(target=self._warm, name="warm", daemon=True).start()

    def _warm(self) -> None:
        try:
            self.translator(None, None)
        except CheckpointError as error:
            log.warning("%s", error)  # Whoever asks for it is told in the page.
        except Exception:
            log.exception("the networks could not be loaded")
        finally:
            self.ready.set()


def theme() -> gr.themes.Base:
    """Calm greys, one accent, the system's own fonts: nothing is fetched from elsewhere."""
    return gr.themes.Default(
        primary_hue="teal",
        neutral_hue="slate",
        font=("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Noto Sans CJK KR", "sans-serif"),
        font_mono=("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"),
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_label_background_fill="*background_fill_primary",
        # The built-in greys for small text fall short of a contrast of 4.5 to 1.
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
    )


NAVIGATION = (
    ("translate", ""), ("compare", "compare"), ("files", "files"), ("checkpoints", "checkpoints"),
    ("studies", "studies"),
)
"""The pages: the key of each one's name, and its path."""

words.add({
    "page.translate": ("Translate", "변환"),
    "page.compare": ("Compare", "비교"),
    "page.files": ("Video and files", "동영상·파일"),
    "page.checkpoints": ("Checkpoints", "체크포인트"),
    "page.studies": ("Studies", "연구"),
})


def header(page: str) -> None:
    """Put the name of the app and the way to its pages at the top of a page. `page`: its key in NAVIGATION."""
    gr.HTML("<h1>CycleGAN workbench</h1>", elem_classes="title", padding=False)
    with gr.Row(elem_classes="navigation"):
        for key, path in NAVIGATION:
            current = {"elem_classes": "current"} if key == page else {}
            gr.Button(words.label(f"page.{key}"), link=f"./{path}", link_target="_self", size="sm", **current)


def launch_options(css: Sequence[Path], *, own: bool, routes: Sequence[BaseRoute] = ()) -> dict[str, Any]:
    """What `launch` is told whatever the pages: the look, limits on uploads, and nothing from or to elsewhere.

    Args:
        css: the pages' style sheets.
        own: whether the visitor owns this computer.
        routes: what is served beside gradio's pages.
    """
    return {
        "app_kwargs": {"routes": list(routes)},
        "theme": theme(),
        "css_paths": [CSS, *css],
        "i18n": words.i18n(),
        "mcp_server": find_spec("mcp") is not None,  # Of gradio's extra `mcp`.
        "max_threads": 80,
        "max_file_size": None if own else "50mb",
        "footer_links": ["api"],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
    }
