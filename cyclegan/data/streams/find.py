"""The pictures that `--stream` reads: tars, Parquet files, or a data set of the Hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cyclegan.config import DataConfig
from cyclegan.data.domains import Splits, is_drawn, no_folder
from cyclegan.data.streams.sources import TAKEN, Source, Streamed, Taken
from cyclegan.data.streams.tars import Tars, find_tars, identity_of
from cyclegan.data.tables import has_table, is_saved, stream_table
from cyclegan.errors import DataError, Message, message

__all__ = ["open_stream"]

NOTE = message(
    "--stream: pictures are decoded as they come, so none is checked before training, kept in memory, or compared with "
    "those of an earlier start"
)
_SIDES = ("traina", "trainb", "testa", "testb")


def open_stream(config: DataConfig, *, paired: bool = False, is_hub_id: bool = False) -> Splits:
    """Return the data set that `config.dataset` names, of which nothing is read but what its files are.

    Args:
        paired: the method learns from pairs, which no stream has.
        is_hub_id: the name has the form of a data set's id on the Hub; a folder of that name wins.

    Raises:
        DataError: it isn't found, can't be streamed, or other settings don't suit a stream.
    """
    _check(config, paired)
    text = config.dataset.strip()
    root = Path(text).expanduser()
    if is_drawn(text) and not root.is_dir():
        raise DataError("{dataset} is drawn as it is needed: leave out --stream", dataset=text)
    if found := find_tars(text):
        sources = {key: _tars(key, found[key], config) for key in _SIDES if key in found}
        notes = [_tars_note(part, source) for source, part in sources.values()]
    else:
        sources = _tables(text, root, is_hub_id)
        notes = [message("{part}: streamed", part=part) for _, part in sources.values()]
    names = config.domain_a, config.domain_b
    for key in _SIDES[:2]:
        if key not in sources:
            raise DataError("{dataset} has no training pictures for domain {side}", dataset=text, side=key[-1].upper())
    train, test = [], [None, None]
    for name, key in zip(names, _SIDES[:2], strict=True):
        source, part = sources[key]
        train.append(Streamed(name, part, source, config.epoch_pictures or 1))
    if all(key in sources for key in _SIDES[2:]):
        test = [Taken(name, part, source) for name, (source, part) in zip(
            names, (sources[key] for key in _SIDES[2:]), strict=True)]  # fmt: skip
        notes.append(message("samples and figures are of the first test pictures ({most} or fewer)", most=TAKEN))
    return Splits(*train, *test, notes=[*notes, NOTE])


def _check(config: DataConfig, paired: bool) -> None:
    """Raise DataError for settings that no stream can follow."""
    default = DataConfig()
    if paired:
        raise DataError("--stream reads the two domains apart, so it has no pairs: use --method cyclegan, or a folder")
    if config.max_images is not None:
        raise DataError("--max_images takes the first pictures of a folder; with --stream, leave it out")
    if config.cache_mb not in (default.cache_mb, 0):
        raise DataError("--stream keeps no decoded pictures: leave out --cache_mb")
    if config.order == "random":
        raise DataError("--order random draws from all pictures, which --stream doesn't know: leave it out")


def _tars(key: str, paths: list[Path], config: DataConfig) -> tuple[Source, str]:
    part = f"{key[:-1]}{key[-1].upper()}"
    return Tars(paths, skip_damaged=config.skip_bad_images), part


def _tars_note(part: str, source: Source) -> Message:
    return message("{part}: {n} tar, streamed", "{part}: {n} tars, streamed", source.shards, part=part)


def _tables(text: str, root: Path, is_hub_id: bool) -> Mapping[str, tuple[Source, str]]:
    from cyclegan.data.streams.tables import sources_of  # Imported here, because tars need no package.

    if root.is_dir() and is_saved(root):
        raise DataError(
            "{path} is a folder of save_to_disk, which is read as it is needed anyway: leave out --stream", path=text
        )
    if root.is_dir() and has_table(root) or root.suffix.lower() == ".parquet" and root.is_file():
        files = sorted(root.rglob("*.parquet")) if root.is_dir() else [root]
        return sources_of({"default": stream_table(root)}, root.name, identity_of(files))
    if root.is_dir():
        raise DataError(
            "{folder} has no tars and no Parquet files, which --stream reads: for pictures in folders, leave it out, "
            "or give --no-stream to a run that had it",
            folder=text,
        )  # fmt: skip
    if os.path.exists(root):
        raise DataError(
            "{file} holds one file's pictures, but --stream needs tars of both domains: give the folder of "
            "trainA-0000.tar and trainB-0000.tar", file=text,
        )  # fmt: skip
    if not is_hub_id or root.parent.is_dir() and root.parent != Path("."):
        raise DataError(
            "{missing}, and no tar fits that name: give a folder with trainA-0000.tar, trainB-0000.tar and so on, or "
            "a data set's id on the Hub", missing=no_folder(text),
        )  # fmt: skip
    from cyclegan.data.hub import fetch_streams

    repo, _, config = text.partition(":")
    sets, commit = fetch_streams(repo, config or None)
    return sources_of(sets, text, commit)
