"""CycleGAN workbench: train, show and judge unpaired image-to-image translation.

    import cyclegan

    source = cyclegan.open_source("runs/mine")  # hub.open_source also opens USER/NAME
    translator = cyclegan.Translator(source.load(200))
    fake = translator.translate(cyclegan.open_image("a.jpg"), "ab").fake

Names load on first use (PEP 562), so importing this package loads neither torch nor any other library.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Checkpoint": "cyclegan.checkpoints.format",
    "Method": "cyclegan.methods",
    "TrainConfig": "cyclegan.config",
    "Trainer": "cyclegan.training.trainer",
    "Translator": "cyclegan.translation.translator",
    "UserError": "cyclegan.errors",
    "evaluate": "cyclegan.evaluation.scores.evaluate",
    "make_study": "cyclegan.study.make",
    "open_image": "cyclegan.images",
    "open_source": "cyclegan.checkpoints.sources",
    "register_method": "cyclegan.methods",
}
"""The module of each public name."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
