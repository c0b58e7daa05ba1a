"""Requests of a Hugging Face Inference Endpoint: handler.py of a repository imports this from its code.zip.

`python -m hub endpoint` puts both there.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from cyclegan.checkpoints.format import load_checkpoint, missing_direction
from cyclegan.config import DIRECTIONS
from cyclegan.errors import CheckpointError, ConfigError, ImageError
from cyclegan.images import MAX_SIDE, MIN_SIDE, open_image
from cyclegan.translation.translator import Translator

PARAMETERS = ("direction", "size")


class EndpointHandler:
    """Translates pictures with the checkpoint in a folder, one after the other.

    Args:
        path: the repository's files at one commit.

    Raises:
        CheckpointError: it holds no whole checkpoint, or one of pictures that aren't 8-bit RGB.
    """

    def __init__(self, path: str | Path = "") -> None:
        folder = Path(path)
        if not any(folder.glob("gen_*.safetensors")):
            raise CheckpointError(
                "{folder} has no gen_ab.safetensors: choose the framework Custom for the endpoint, because others "
                "don't download such files", folder=folder.resolve(),
            )  # fmt: skip
        checkpoint = load_checkpoint(folder)
        if not checkpoint.config.data.plain:
            raise CheckpointError("the pictures of these networks aren't 8-bit RGB, and an endpoint sends no others")
        self.translator = Translator(checkpoint)
        self._lock = threading.Lock()

    def __call__(self, data: Mapping[str, Any]) -> Image.Image:
        """Return a picture's translation. The service sends it as PNG in base64, or as an image if that is asked for.

        Args:
            data: `inputs`, the picture: a file's bytes, the same in base64, or a PIL image; and `parameters`, which can
                have `direction` ("ab", "ba"; by default the first that the checkpoint has) and `size` (see
                `Translator.translate`).

        Raises:
            ImageError: it isn't a picture, or it is too large.
            CheckpointError: the checkpoint lacks this direction.
            ConfigError: the parameters are invalid.
        """
        directions = list(self.translator.generators)
        parameters = data.get("parameters") or {}
        if not isinstance(parameters, Mapping) or parameters.keys() - {*PARAMETERS}:
            raise ConfigError("parameters can have {names}, and nothing else", names=", ".join(PARAMETERS))
        direction, size = parameters.get("direction", directions[0]), parameters.get("size")
        if direction not in DIRECTIONS:
            raise ConfigError("direction must be ab or ba, not {direction!r}", direction=direction)
        if direction not in directions:
            raise missing_direction(self.translator.checkpoint.info.tag, directions, direction)
        if size is not None and (type(size) is not int or not MIN_SIDE <= size <= MAX_SIDE):
            raise ConfigError("size must be a number of pixels from {least} to {most}, not {size!r}", least=MIN_SIDE,
                              most=MAX_SIDE, size=size)  # fmt: skip
        picture = open_image(_source(data.get("inputs")), name="inputs")
        with self._lock:
            return self.translator.translate(picture, direction, size=size).fake


def _source(inputs: Any) -> bytes | Image.Image:
    """Return a request's picture as `open_image` takes it; never a path of this machine."""
    if isinstance(inputs, str):
        try:
            return base64.b64decode(inputs.partition(",")[2] if inputs.startswith("data:") else inputs, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ImageError("inputs isn't a picture in base64") from error
    if isinstance(inputs, (bytes, bytearray)):
        return bytes(inputs)
    if isinstance(inputs, Image.Image):
        return inputs
    raise ImageError("inputs must be a picture: a file's bytes, or the same in base64")
