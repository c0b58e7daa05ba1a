"""The app's pages, one file each, and what they share: the runs on show, their loaded networks, the look.

Nothing here imports torch before a picture is translated: the page is served first, torch is loaded behind it
(`Workbench.warm`).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

# Read by gradio and huggingface_hub as they are imported: nothing is reported to anyone.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

try:
    import spaces  # Of the Hub's Spaces; it rearranges torch, so it has to come before that.
except ImportError:
    spaces = None

import gradio as gr  # noqa: E402

from cyclegan.checkpoint import CheckpointError, CheckpointSource  # noqa: E402

if TYPE_CHECKING:
    from cyclegan.translator import Translator

NETWORKS = "networks"
"""The concurrency_id of every event that runs a network: one at a time, the others wait in the queue."""

GPU_IS_LENT = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
"""Whether this is a Space without a GPU of its own, which is lent one for each call (ZeroGPU)."""

log = logging.getLogger(__name__)
Function = TypeVar("Function", bound=Callable[..., Any])


def on_gpu(fn: Function) -> Function:
    """A function that runs networks, on a GPU that a Space is lent for the call; `fn` itself everywhere else.

    There it runs in a process of its own, forked for it: what it is given, yields and raises is pickled, of errors
    only gr.Error arrives as it was, and what it loads stays there.
    """
    return fn if spaces is None else spaces.GPU(fn)


class Workbench:
    """The runs that the pages show, by name, and the translators made from their checkpoints.

    Args:
        sources: at least one; runs of one name are told apart by a number.
    """

    def __init__(self, sources: Sequence[CheckpointSource]) -> None:
        self.runs: dict[str, CheckpointSource] = {}
        for source in sources:
            same = sum(known.name == source.name for known in self.runs.values())
            self.runs[f"{source.name} ({same + 1})" if same else source.name] = source
        self._cache: Any = None
        self._lock = threading.Lock()
        self.ready = threading.Event()
        """Set once torch and a checkpoint are loaded, or their loading in the background has failed."""

    def run(self, name: str | None) -> CheckpointSource:
        """The run of this name, None for the first.

        Raises:
            CheckpointError: there is no such run.
        """
        if name is None:
            return next(iter(self.runs.values()))
        if name not in self.runs:
            raise CheckpointError(f"there is no run {name!r} here; there is {', '.join(self.runs)}")
        return self.runs[name]

    def translator(self, run: str | None, epoch: int | None) -> Translator:
        """The networks of a run's epoch, None for the newest; the first call waits for torch.

        Raises:
            CheckpointError: it isn't there or can't be read.
        """
        from cyclegan.translator import TranslatorCache

        with self._lock:
            if self._cache is None:
                self._cache = TranslatorCache()
        translator = self._cache.get(self.run(run), epoch)
        self.ready.set()
        return translator

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


def launch_options(css: Sequence[Path]) -> dict[str, Any]:
    """What `launch` is told whatever the pages: the look, limits on uploads, and nothing from or to elsewhere."""
    return {
        "theme": theme(),
        "css_paths": list(css),
        "max_file_size": "50mb",
        "footer_links": ["api"],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
    }
