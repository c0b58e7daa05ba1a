"""RUN/scores/NAME.json: the figures of epochs, baselines and ceilings. The only place that reads and writes it::

    {"version": 1, "name": "test", "run": "mine", "names": {"a": "day", "b": "night"},
     "measured": "2026-11-30T02:09:16+00:00",
     "ab": {"measured_on": {"dataset": …, "pictures": 60, "features": "lite0", …},
            "scores": {"epoch-0012": {"commit_sha": …,
                                      "kid": {"kid": {"value": 41.2, "low": 36.0, "high": 46.4}}, …}},
            "baselines": {"untranslated": {"kid": …}, "one_colour": …, "blind": …, "another": …},
            "ceilings": {"real": …, "truth": …}},
     "ba": …}

A figure is in the score that gives it; `details` of a score holds what a closer look needs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from cyclegan.checkpoints.sources import CheckpointSource, LocalSource
from cyclegan.config import DIRECTIONS, Direction
from cyclegan.errors import ConfigError, Message, UserError, message
from cyclegan.files import keeps_locks, read_json, write_json

if TYPE_CHECKING:
    from cyclegan.checkpoints.format import CheckpointInfo
    from cyclegan.data.fingerprints import Known
    from cyclegan.evaluation.scores.answers import Answer
    from cyclegan.evaluation.scores.kinds import Result

VERSION, MOST_NAME = 1, 100
SECTIONS = ("scores", "baselines", "ceilings")
CHANGED = {
    "fingerprint": message("the test pictures"), "labels": message("the labels of the test pictures"),
    "truths": message("the true pictures"), "segmenter_weights": message("the weights of the segmenter"),
}  # fmt: skip
"""Facts that are fingerprints, in words."""


class ScoresError(UserError):
    """A file of scores that can't be read, or is about something else."""


class OtherFactsError(ConfigError):
    """A file of scores that was measured on other pictures, or in another way."""


class Report:
    """The figures in a file of scores.

    Args:
        path: the file's.
        content: see above.
    """

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path, self.content = path, content

    @property
    def name(self) -> str:
        """Its name."""
        return self.content["name"]

    @property
    def directions(self) -> list[Direction]:
        """The directions that are scored."""
        return [way for way in DIRECTIONS if way in self.content]

    def section(self, way: Direction, section: str) -> dict[str, Any]:
        """Return the scores by answer of a section: `scores`, `baselines` or `ceilings`."""
        return self.content[way][section]

    def value(self, way: Direction, section: str, answer: str, score: str, key: str) -> dict[str, float] | None:
        """Return a figure as {"value", "low", "high"}, None where it wasn't measured."""
        return self.content[way][section].get(answer, {}).get(score, {}).get(key)

    def measure_on(self, way: Direction, facts: dict[str, Any], splits: tuple[str, str]) -> None:
        """Begin a direction, or check that it was measured on the same.

        Raises:
            OtherFactsError: the file's figures are of other pictures or settings.
        """
        self.content["names"] = dict(zip("ab", splits, strict=True))
        if way not in self.content:
            self.content[way] = {"measured_on": facts, **{section: {} for section in SECTIONS}}
            return
        known = self.content[way]["measured_on"]
        for key, value in facts.items():
            # A network that neither needs makes no difference, and may be added.
            if known.get(key) is None:
                known[key] = value
            elif value is not None and known[key] != value:
                if key in CHANGED:
                    raise OtherFactsError(
                        "{what} have changed since {file} was written: they are other files, or have other contents. "
                        "Choose another --name to measure these, or remove that file",
                        what=CHANGED[key], file=self.path,
                    )  # fmt: skip
                raise OtherFactsError(
                    "{file} was measured with another {key} ({old}, now {new}): choose another --name, or remove it",
                    file=self.path, key=key, old=known[key], new=value,
                )  # fmt: skip

    def set_known(self, way: Direction, known: Known | None) -> None:
        """Keep how many of a direction's test pictures the run was trained on, None for none."""
        self.content[way].pop("trained_on", None)
        if known is not None:
            self.content[way]["trained_on"] = {"count": known.count, "of": known.of}

    def known(self, way: Direction) -> Message | None:
        """Return a sentence about pictures that the run was trained on, None without any."""
        if self.content[way]["measured_on"].get("split") == "train":
            return message(
                "These are training pictures, which the networks may know: the figures say nothing about new pictures."
            )
        known = self.content[way].get("trained_on")
        return known and message(
            "Test pictures that the run was trained on: {count} of {of}. The figures are better than those of new "
            "pictures would be.", **known,
        )  # fmt: skip

    def is_of(self, way: Direction, info: CheckpointInfo) -> bool:
        """Return True if an epoch's figures are of the same weights; False also without figures."""
        return self.content[way]["scores"].get(info.tag, {}).get("commit_sha") == info.commit_sha

    def begin_epoch(self, way: Direction, info: CheckpointInfo) -> None:
        """Keep an epoch's figures only if they are of the same weights."""
        if not self.is_of(way, info):
            self.content[way]["scores"][info.tag] = {"commit_sha": info.commit_sha, "epoch": info.epoch}

    def has(self, way: Direction, answer: Answer, score: str) -> bool:
        """Return True if the figures are there, and not of `content` by an earlier version, which computed others."""
        known = self.content[way][answer.group].get(answer.name, {}).get(score)
        return known is not None and (score != "content" or "cases" in known.get("details", {}))

    def add(self, way: Direction, answer: Answer, score: str, result: Result) -> None:
        """Add an answer's figures."""
        values = {
            key: {name: end for name, end in vars(value).items() if end is not None}
            for key, value in result.values.items()
        }
        details = {"details": dict(result.details)} if result.details else {}
        self.content[way][answer.group].setdefault(answer.name, {})[score] = {**values, **details}
        self.content["measured"] = datetime.now(timezone.utc).isoformat(timespec="seconds")

    def write(self) -> None:
        """Write the file, whole. Raises ScoresError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self.content)
        except OSError as error:
            raise ScoresError(
                "{file} can't be written ({reason}): free space, or choose another --output_dir", file=self.path,
                reason=error,
            ) from error  # fmt: skip


def read_report(folder: Path, name: str, run: str) -> Report:
    """Return the file of scores NAME in a folder, or an empty one.

    Raises:
        ScoresError: it can't be read, or another version has written it.
    """
    if not name or name != Path(name).name or name.startswith(".") or len(os.fsencode(name)) > MOST_NAME:
        raise ConfigError("{name!r} isn't a name for a file of scores: at most {most} letters, digits and hyphens",
                          name=name[:80], most=MOST_NAME)  # fmt: skip
    path = folder / f"{name}.json"
    if not path.exists():
        return Report(path, {"version": VERSION, "name": name, "run": run})
    return report_of(path, read_json(path, error=ScoresError))


@contextlib.contextmanager
def writing(folder: Path, name: str) -> Iterator[None]:
    """Hold the file of scores NAME in a folder, which is made: of two that write it, the second would undo the first.

    A folder that can't be written isn't held, because everything may be in the file already.

    Raises:
        ConfigError: another process holds it.
    """
    path = folder / f"{name}.json"
    lock = FileLock(path.with_name(f".{name}.lock"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if keeps_locks(folder):
            lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            "another process is measuring scores into {file}: wait for it, or choose another --name", file=path
        ) from error
    except OSError:
        pass  # Whatever has to be written will say so.
    try:
        yield
    finally:
        lock.release()


def report_of(path: Path, content: dict[str, Any]) -> Report:
    """Return the report of a file's content. Raises ScoresError if another version has written it."""
    if content.get("version") != VERSION or not isinstance(content.get("name"), str):
        # Visitors of a server read it, and needn't learn where its folders are.
        where = f"{path.parent.name}/{path.name}"
        raise ScoresError("{file} isn't a file of scores of this version: remove it", file=where)
    return Report(path, content)


def scores_folder(source: CheckpointSource) -> Path:
    """Return the folder of a run's scores: RUN/scores; scores/USER--NAME here for a repository of the Hub."""
    if not isinstance(source, LocalSource):
        return Path("scores") / source.name.replace("/", "--").replace("\\", "--")  # A visitor may have typed it.
    single = (source.folder / "checkpoint.json").is_file()  # The folder of one epoch, which nothing may change.
    return (source.folder.parent if single else source.folder) / "scores"
