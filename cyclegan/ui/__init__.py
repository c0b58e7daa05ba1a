"""The app: its pages, one file each, and what they share."""

import contextlib
import gc
import inspect
import os
from collections.abc import Iterator

# Read by gradio and huggingface_hub as they are imported: nothing is reported to anyone.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

try:
    import spaces  # Of the Hub's Spaces; it rearranges torch, so it has to come before that.
except ImportError:
    spaces = None


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Pause the garbage collector, which would search a million new objects again and again, all of which last."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def _no_stub_files() -> Iterator[None]:
    """Keep gradio from writing editor stubs (.pyi) of its components as it is imported.

    It parses the source of some 60 classes twice for them, which is two fifths of its import, and writes into the
    installed package. It leaves out classes that have no file (gradio.component_meta.create_or_modify_pyi).
    """
    find = inspect.getfile

    def getfile(item: object) -> str:
        if type(item).__name__ == "ComponentMeta":
            raise OSError("no stub file")
        return find(item)

    inspect.getfile = getfile
    try:
        yield
    finally:
        inspect.getfile = find


with _no_stub_files(), uncollected():
    import gradio  # noqa: F401
