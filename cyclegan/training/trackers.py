"""The trackers of `--report_to`, which show a training's losses elsewhere."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

from accelerate import Accelerator

from cyclegan.config import TrainConfig
from cyclegan.errors import ConfigError, TrainingError

OF_THE_NETWORK = ("gradio_client", "httpx", "httpx2", "huggingface_hub", "trackio")
"""Packages whose errors mean that trackio couldn't reach its Space, or may not use it."""


def check_tracker(name: str) -> None:
    """Raise ConfigError if `--report_to`'s package is not installed."""
    if name != "none" and find_spec(name) is None:
        raise ConfigError("--report_to {name} needs the package {name}: pip install {name}", name=name)


def start_tracker(config: TrainConfig, accelerator: Accelerator) -> None:
    """Start the tracker that the run reports to, if any.

    Raises:
        TrainingError: trackio can't use the Space.
    """
    run = config.run
    if run.report_to == "none":
        return
    logging.getLogger("accelerate.tracking").setLevel(logging.ERROR)
    flat = {k: v for group in config.to_json().values() for k, v in group.items() if v is not None}
    options = {"trackio": {"space_id": run.trackio_space}} if run.trackio_space else {}
    try:
        accelerator.init_trackers(Path(run.output_dir).name or "cyclegan", config=flat, init_kwargs=options)
    except Exception as error:
        of_network = isinstance(error, OSError) or type(error).__module__.split(".")[0] in OF_THE_NETWORK
        if not run.trackio_space or not of_network:
            raise
        raise TrainingError(
            "trackio can't use the Space {space} ({reason}): check its name, and that `hf auth login` or HF_TOKEN "
            "gives a token that can write; or leave out --trackio_space",
            space=run.trackio_space, reason=" ".join(str(error).split())[:300] or type(error).__name__,
        ) from error
