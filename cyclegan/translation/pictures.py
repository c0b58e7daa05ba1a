"""Picture files → PNG files of their translations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cyclegan.config import Direction
from cyclegan.errors import ConfigError, ImageError
from cyclegan.images import open_image
from cyclegan.translation.translator import Translator, save_png


def output_names(paths: Sequence[Path], *, reconstruct: bool) -> dict[Path, str]:
    """Return NAME.png for each input, or NAME.SUFFIX.png where inputs differ in their suffix only; all distinct.

    Args:
        reconstruct: NAME_rec.png is written for each, too.
    """
    stems = [path.stem.casefold() for path in paths]
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in paths:
        first = [path.stem] if stems.count(path.stem.casefold()) == 1 else []
        for name in (*first, path.name, *(f"{path.name}-{n}" for n in range(2, len(paths) + 2))):
            wanted = {f"{name}.png".casefold()}
            if reconstruct:
                wanted.add(f"{name}_rec.png".casefold())
            if not wanted & taken:
                break
        taken |= wanted
        names[path] = f"{name}.png"
    return names


def translate_pictures(
    translator: Translator, targets: Mapping[Path, Path], direction: Direction, *, reconstruct: bool = False,
    size: int | None = None, progress: Callable[[float], None] = lambda done: None,
) -> list[ImageError]:
    """Translate picture files one by one, and return the errors of those that can't be read or translated.

    Args:
        translator: the checkpoint.
        targets: the .png file to write for each input; with `reconstruct`, NAME_rec.png next to it.
        direction: the direction of the translation.
        reconstruct: also write the way back, if the checkpoint has both directions.
        size: see `Translator.translate_many`.
        progress: called with the number of pictures done; parts of pictures count.

    Raises:
        ConfigError: a result can't be written.
        CheckpointError: the checkpoint lacks this direction.
    """
    failed = []
    for number, (path, target) in enumerate(targets.items()):
        try:
            result = translator.translate_many(
                [open_image(path)], direction, reconstruct=reconstruct, size=size,
                progress=lambda part, number=number: progress(number + part),
            )[0]  # fmt: skip
            save_png(result.fake, target, checkpoint=translator.checkpoint, direction=direction)
            if result.rec is not None:
                rec = target.with_name(f"{target.stem}_rec.png")
                save_png(result.rec, rec, checkpoint=translator.checkpoint, direction=direction)
        except ImageError as error:
            failed.append(error)
        except OSError as error:
            raise ConfigError(
                "{target} can't be written ({reason}): free space or choose another --output",
                target=target, reason=error,
            ) from error
        progress(number + 1.0)
    return failed
