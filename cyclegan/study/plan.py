"""THE study format: the only module that writes or reads it; and the sequence of trials of every session.

A study is a folder, frozen before the first vote:

    STUDY/
      study.json            protocol, checkpoints by commit SHA, seed, texts, stimuli; never sent to a browser
      stimuli/<sha256>.png  all of one size in pixels and in bytes
      votes.sqlite3         beside it, once somebody votes (`store.py`), unless DATABASE_URL names another database

Everything random in it is drawn by SHA-256 from the seed, so that a study gives the same sequences under every version
of Python and NumPy, for as long as it is played.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import re
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from cyclegan.config import DIRECTIONS, Direction
from cyclegan.errors import StudyError

FORMAT_VERSION = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A study's name: its folder's, and part of its address."""
SHA256 = re.compile(r"[0-9a-f]{64}")
TASKS = ("realness", "pick", "tag")
PRESENTATIONS = ("together", "sequence", "single")
PAIRINGS = ("same", "different")
PHASES = ("practice", "test")
KINDS = ("real", "fake", "broken")
TAGS = ("blur", "smear", "colour", "missing", "invented", "checkerboard", "other")
"""What can be wrong with a fake, for the task `tag`."""
MAX_TRIALS = 1000
FILE_TIME = 946_684_800
"""Seconds: the time of every stimulus file, 2000-01-01 UTC, so that it says nothing."""

Side = Literal["left", "right"]


class _Newer(StudyError):
    """Its sentence is told as it is."""


# --- the protocol -------------------------------------------------------------------------------------------


def _field(default: Any, help: str, choices: Sequence[Any] | None = None, least: float = 0, most: float = 1e6) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices, "least": least, "most": most})


@dataclass(frozen=True)
class Protocol:
    """How judgements are collected. Every field can be overridden as a study is built, and reports print them all."""

    name: str = _field("custom", "which preset the fields were taken from")
    task: str = _field("realness", "realness: real or fake; pick: which of two epochs; tag: what is wrong", TASKS)
    question: str = _field("real", "which picture participants are asked for", ("real", "fake"))
    presentation: str = _field("together", "two pictures side by side or in sequence, or one by one", PRESENTATIONS)
    practice_trials: int = _field(10, "trials with feedback, which never count", most=MAX_TRIALS)
    test_trials: int = _field(40, "trials without feedback, controls among them", least=1, most=MAX_TRIALS)
    exposure_ms: int = _field(1000, "how long each picture is shown; 0: until the answer", most=60_000)
    blank_ms: int = _field(600, "empty screen before each picture, at least", most=10_000)
    mask: bool = _field(False, "cover the places of the pictures with a pattern once they are gone")
    feedback_ms: int = _field(2400, "how long practice says what was right", most=60_000)
    pairing: str = _field("different", "the real picture shows the fake's own scene, or another one", PAIRINGS)
    vigilance_share: float = _field(0.0, "part of the test trials with a plainly broken fake", most=0.5)
    real_real_share: float = _field(0.0, "part of the test trials with two real pictures", most=0.5)
    repeat_share: float = _field(0.0, "part of the test trials that show an earlier pair again, sides swapped",
                                 most=0.5)
    vigilance_pass: float = _field(0.0, "part of the vigilance trials that a session must get right to count", most=1)
    qualification: float = _field(0.0, "part of practice that must be right to go on to the test", most=1)
    epochs_per_session: str = _field("one", "each session judges one epoch, or all of them mixed", ("one", "mixed"))
    login: str = _field("none", "who takes part: whoever has the link, or accounts of Hugging Face",
                        ("none", "huggingface"))
    session_hours: int = _field(24, "how long after its start a session still takes votes", least=1, most=10_000)

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value, allowed = getattr(self, f.name), f.metadata["choices"]
            kind = {"str": str, "int": int, "float": (int, float), "bool": bool}[f.type]
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise StudyError("{f} is {value!r}, which is no {type}", f=f.name, value=value, type=f.type)
            if allowed and value not in allowed:
                raise StudyError(
                    "{f} is {value!r}: choose {allowed}",
                    f=f.name, value=value, allowed=' or '.join(allowed),
                )
            if kind in (int, (int, float)) and not f.metadata["least"] <= value <= f.metadata["most"]:
                raise StudyError(
                    "{f} is {value}: it goes from {metadata:g} to {metadata_2:g}",
                    f=f.name, value=value, metadata=f.metadata['least'], metadata_2=f.metadata['most'],
                )
        if self.task == "pick" and self.presentation == "single":
            raise StudyError("picking takes two pictures: presentation can't be single")
        if self.task == "pick" and self.real_real_share:
            raise StudyError("real_real_share is for judging real or fake: leave it out of picking")
        if self.task == "tag" and (self.presentation != "single" or self.practice_trials or self.controls):
            raise StudyError("tagging shows one fake at a time, without practice, vigilance or controls")
        if self.presentation == "single" and self.real_real_share:
            raise StudyError("real_real_share is for pairs: leave it out where pictures are shown one by one")
        if self.qualification and not self.practice_trials:
            raise StudyError("qualification is judged in practice: practice_trials can't be 0")
        if self.task != "realness" and self.qualification:
            raise StudyError("qualification is for judging real or fake: a preference has no right answer")
        if self.vigilance_pass and not self.counts["vigilance"]:
            raise StudyError("vigilance_pass without a vigilance trial: set vigilance_share")
        once = self.test_trials - self.counts["repeat"]
        if self.counts["comparison"] < 1 or self.counts["repeat"] > min(self.counts["comparison"], (once + 1) // 2):
            raise StudyError("too few comparisons are left beside vigilance, controls and repeats: lower their shares")

    @property
    def controls(self) -> float:
        """The shares of all test trials that don't compare."""
        return self.vigilance_share + self.real_real_share + self.repeat_share

    @property
    def counts(self) -> dict[str, int]:
        """Test trials of a session by kind: comparison, vigilance, real_real, repeat."""
        shares = {"vigilance": self.vigilance_share, "real_real": self.real_real_share, "repeat": self.repeat_share}
        counts = {kind: max(1, round(share * self.test_trials)) if share else 0 for kind, share in shares.items()}
        return {"comparison": self.test_trials - sum(counts.values()), **counts}

    def to_json(self) -> dict[str, Any]:
        """Its part of study.json and of reports."""
        return dataclasses.asdict(self)


_PAPERS = {"exposure_ms": 1000, "practice_trials": 10, "test_trials": 40, "presentation": "together"}
PROTOCOLS: dict[str, Protocol] = {
    "cyclegan2017": Protocol("cyclegan2017", question="real", **_PAPERS),
    "pix2pix2017": Protocol("pix2pix2017", question="fake", **_PAPERS),
    "colorization2016": Protocol("colorization2016", question="fake", pairing="same", vigilance_share=0.1, **_PAPERS),
    "hype_infinity": Protocol(
        "hype_infinity", presentation="single", practice_trials=20, test_trials=100, exposure_ms=0, qualification=0.65,
    ),
    "pick": Protocol("pick", task="pick", practice_trials=0, exposure_ms=0, epochs_per_session="mixed"),
    "tag": Protocol(
        "tag", task="tag", presentation="single", practice_trials=0, test_trials=20, exposure_ms=0,
        epochs_per_session="mixed",
    ),
}  # fmt: skip
"""Presets: those of the papers, as far as they say; what they leave open is in docs/study.md."""


def protocol(name: str, **overrides: Any) -> Protocol:
    """A preset with some fields of one's own; None among them means the preset's.

    Raises:
        StudyError: there is no such preset, or the fields make no sense together.
    """
    if name not in PROTOCOLS:
        raise StudyError("there is no protocol {name!r}: choose {names}", name=name, names=', '.join(PROTOCOLS))
    return dataclasses.replace(PROTOCOLS[name], **{key: v for key, v in overrides.items() if v is not None})


# --- stimuli and trials -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stimulus:
    """A picture that participants are shown."""

    sha256: str
    """Of the file, in hex digits; also its name."""
    kind: str
    """real; fake; or broken: what nobody takes for real, for vigilance trials."""
    scene: str
    """What it shows: equal for a fake, its input and the real picture of the same place. Never sent to a browser."""
    epoch: int | None = None
    """Of the checkpoint that made it; None if none did."""

    def __post_init__(self) -> None:
        named = isinstance(self.sha256, str) and SHA256.fullmatch(self.sha256) and isinstance(self.scene, str)
        if not named or self.kind not in KINDS or (type(self.epoch) is int) != (self.kind == "fake"):
            raise StudyError("stimulus {sha256} is not described rightly", sha256=str(self.sha256)[:16])


@dataclass(frozen=True)
class PlannedCheckpoint:
    """A checkpoint under judgement."""

    epoch: int
    commit_sha: str
    source: str
    """As a person named it: a folder's name or USER/NAME."""

    def __post_init__(self) -> None:
        if type(self.epoch) is not int or not 1 <= self.epoch < 10**9:
            raise StudyError("{epoch!r} is no epoch", epoch=str(self.epoch)[:20])
        if not all(isinstance(text, str) for text in (self.commit_sha, self.source)):
            raise StudyError("epoch {epoch} has no commit_sha or source", epoch=self.epoch)


@dataclass(frozen=True)
class Trial:
    """One trial of a session, as planned. For the server and reports only: it holds the truth."""

    index: int
    """Counted from 0 over practice and test."""
    phase: str
    kind: str
    """comparison, vigilance, real_real, repeat."""
    left: Stimulus
    right: Stimulus | None
    """None where one picture is shown."""
    repeats: int | None = None
    """Index of the trial whose pair this shows again."""

    @property
    def real_side(self) -> str | None:
        """left, right, both or neither; None where one picture is shown."""
        if self.right is None:
            return None
        real = (self.left.kind == "real", self.right.kind == "real")
        return {(True, False): "left", (False, True): "right", (True, True): "both"}.get(real, "neither")

    @property
    def stimuli(self) -> tuple[Stimulus, ...]:
        """Left and right, or the one."""
        return (self.left,) if self.right is None else (self.left, self.right)

    @property
    def epoch(self) -> int | None:
        """Of the fake that is judged; None where there is none, or in picking two."""
        epochs = {s.epoch for s in self.stimuli if s.epoch is not None}
        return epochs.pop() if len(epochs) == 1 else None


# --- the study ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """A frozen study: what study.json says. `folder` is where it was read from or written to."""

    name: str
    title: str
    protocol: Protocol
    direction: Direction
    domains: tuple[str, str]
    """What domains a and b are called."""
    dataset: str
    """Its name, without a path."""
    checkpoints: tuple[PlannedCheckpoint, ...]
    """By epoch."""
    seed: int
    size: tuple[int, int]
    """Width and height of every stimulus, in pixels."""
    stimuli: tuple[Stimulus, ...]
    bytes_per_stimulus: int = 0
    contact: str = ""
    """Whom participants can ask, and who answers for their data."""
    completion_code: str = ""
    """The same code for everyone, as Prolific wants it; empty: one of its own for each session."""
    completion_url: str = ""
    """Where the last page links to; `{code}` and `{participant}` are filled in."""
    folder: Path | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise StudyError(
                "{name!r} can't be a study's name: use letters, digits, dot, hyphen, underscore",
                name=self.name,
            )
        if self.name == "static":
            raise StudyError("{name!r} can't be a study's name: the files of its page are there", name=self.name)
        if self.direction not in DIRECTIONS:
            raise StudyError("direction is {direction!r}: choose ab or ba", direction=self.direction)
        for text in (self.title, self.contact, self.dataset, self.completion_code, self.completion_url, *self.domains):
            if not isinstance(text, str) or not text.isprintable():  # Half a surrogate can't be written either.
                raise StudyError(
                    "{text!r} is no text that can be shown: leave out what can't be printed",
                    text=str(text)[:60],
                )
        sized = len(self.size) == 2 and all(type(n) is int and 0 <= n < 10**5 for n in self.size)
        if len(self.domains) != 2 or not sized:
            raise StudyError("a study has two domains, and stimuli of a width and a height")
        if type(self.seed) is not int:
            raise StudyError("{seed!r} is no seed: give a whole number", seed=str(self.seed)[:20])
        if not self.checkpoints:
            raise StudyError("a study needs at least one checkpoint")
        if self.completion_url and not re.match(r"https?://", self.completion_url):
            raise StudyError(
                "completion_url is {completion_url!r}: it has to begin with https://",
                completion_url=self.completion_url,
            )
        if len({c.epoch for c in self.checkpoints}) < len(self.checkpoints):
            raise StudyError("an epoch is named twice")
        if self.protocol.task == "pick" and len(self.checkpoints) < 2:
            raise StudyError("picking compares epochs: name at least two")

    @cached_property
    def study_id(self) -> str:
        """32 hex digits that pin everything that is in study.json, and by their hashes the stimuli."""
        return hashlib.sha256(self._bytes()).hexdigest()[:32]

    @property
    def epochs(self) -> tuple[int, ...]:
        """In ascending order."""
        return tuple(sorted(c.epoch for c in self.checkpoints))

    @property
    def arms(self) -> tuple[tuple[int, ...], ...]:
        """The epochs that a session may judge: one each, or all of them."""
        mixed = self.protocol.epochs_per_session == "mixed" or self.protocol.task == "pick"
        return (self.epochs,) if mixed else tuple((epoch,) for epoch in self.epochs)

    @property
    def trials_per_session(self) -> int:
        """Practice and test together."""
        return self.protocol.practice_trials + self.protocol.test_trials

    @cached_property
    def by_hash(self) -> Mapping[str, Stimulus]:
        """Stimuli by SHA-256."""
        return {s.sha256: s for s in self.stimuli}

    def commit_sha(self, epoch: int | None) -> str | None:
        """The commit that an epoch's fakes were made with."""
        return next((c.commit_sha for c in self.checkpoints if c.epoch == epoch), None)

    def stimulus_path(self, sha256: str) -> Path:
        """The file of a stimulus. Raises StudyError if it is none of this study."""
        if self.folder is None or sha256 not in self.by_hash:
            raise StudyError("{name} has no stimulus {sha256}", name=self.name, sha256=sha256[:16])
        return self.folder / "stimuli" / f"{sha256}.png"

    def stimulus(self, sha256: str) -> bytes:
        """The content of a stimulus. Raises StudyError if it is none of this study, missing, or not what was frozen."""
        path = self.stimulus_path(sha256)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StudyError(
                "{path} can't be read ({reason}): get the study again",
                path=path, reason=error.strerror or error,
            ) from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StudyError("{path} is not what was frozen: get the study again", path=path)
        return content

    def trials(self, arm: int, slot: int) -> tuple[Trial, ...]:
        """The sequence of the session that came `slot`-th (from 0) into an arm; the same at every call.

        Within a session, practice included, no scene comes twice, neither as a fake nor as a real picture, but in pairs
        of one scene and in repeats; sides are even.
        Over the sessions of an arm, pictures, sides and epochs are used as evenly as whole numbers allow.
        """
        return self._sequences.get(arm, slot)

    @cached_property
    def _sequences(self) -> _Sequences:
        return _Sequences(self)

    # --- on the disk ----------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The content of study.json."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "folder"}
        values |= {
            "protocol": self.protocol.to_json(),
            "checkpoints": [dataclasses.asdict(c) for c in self.checkpoints],
            "stimuli": [dataclasses.asdict(s) for s in self.stimuli],
        }
        return {"format_version": FORMAT_VERSION, **values}

    def _bytes(self) -> bytes:
        return (json.dumps(self.to_json(), indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()

    def check_enough(self) -> None:
        """Raise StudyError, naming what is missing, if the stimuli can't fill the sessions of each arm."""
        for arm in range(len(self.arms)):
            self.trials(arm, 1)  # And the one before it; those after them need as much as these two.


def write_study(study: Study, contents: Mapping[str, bytes], folder: Path) -> Study:
    """Write a study's folder, there whole or not at all.

    Args:
        contents: the file of each stimulus, by SHA-256.
        folder: its name is the study's; must not exist.

    Raises:
        StudyError: it exists, can't be written, or the contents are not those of the stimuli.
    """
    if folder.exists():
        raise StudyError("{folder} exists already: a study is frozen, so choose another name", folder=folder)
    if contents.keys() != study.by_hash.keys():
        raise StudyError("the contents are not those of the study's stimuli")
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        (part / "stimuli").mkdir(parents=True)
        for sha256, content in contents.items():
            path = part / "stimuli" / f"{sha256}.png"
            path.write_bytes(content)
            os.utime(path, (FILE_TIME, FILE_TIME))
        (part / "study.json").write_bytes(study._bytes())
        for path in (*part.rglob("*"), part):
            flush(path)
        part.rename(folder)
    except OSError as error:
        raise StudyError(
            "{folder} can't be written ({reason}): free space or name another",
            folder=folder, reason=error.strerror or error,
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return dataclasses.replace(study, folder=folder)


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in place of an old one, whole or not at all, and its folders. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        part.write_bytes(content)
        flush(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_study(folder: str | Path) -> Study:
    """The study in a folder, without its pictures.

    Raises:
        StudyError: there is none, or it is damaged or of a newer format.
    """
    folder = Path(folder)
    path = folder / "study.json"
    if not path.is_file():
        raise StudyError(
            "{folder} holds no study: name a folder that `python -m cyclegan study build` has written",
            folder=folder,
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = values.pop("format_version")
        if found > FORMAT_VERSION:
            raise _Newer(
                "{folder} is of a newer version of this program (format {found}); update the program",
                folder=folder, found=found,
            )
        values |= {
            "protocol": Protocol(**values["protocol"]),
            "domains": tuple(values["domains"]),
            "size": tuple(values["size"]),
            "checkpoints": tuple(PlannedCheckpoint(**c) for c in values["checkpoints"]),
            "stimuli": tuple(Stimulus(**s) for s in values["stimuli"]),
        }
        return Study(**values, folder=folder)
    except _Newer:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise StudyError(
            "{path} is damaged ({reason}); build the study again, or get it again",
            path=path, reason=error,
        ) from error


def find_studies(folders: Iterable[str | Path]) -> list[Study]:
    """The studies in these folders: each one itself, or those that lie directly in it, by name.

    Raises:
        StudyError: a folder is none and holds none; two studies have one name; one is damaged.
    """
    found: dict[str, Study] = {}
    for folder in map(Path, folders):
        paths = [folder] if (folder / "study.json").is_file() else sorted(p.parent for p in folder.glob("*/study.json"))
        if not paths:
            raise StudyError(
                "{folder} holds no study: name a folder that `python -m cyclegan study build` has written",
                folder=folder,
            )
        for study in map(read_study, paths):
            if study.name in found:
                raise StudyError(
                    "two studies are called {study}: build one of them under another name",
                    study=study.name,
                )
            found[study.name] = study
    return list(found.values())


# --- sequences ----------------------------------------------------------------------------------------------


class _Sequences:
    """Every session's trials, computed in order, since each evens out what those before it used."""

    def __init__(self, study: Study) -> None:
        self.study, self.protocol = study, study.protocol
        self._lock = threading.Lock()
        self._made: list[list[tuple[Trial, ...]]] = [[] for _ in study.arms]
        self._used: list[Counter] = [Counter() for _ in study.arms]
        by_scene: dict[str, dict[int, Stimulus]] = {}
        for stimulus in study.stimuli:
            if stimulus.kind == "fake" and stimulus.epoch is not None:
                by_scene.setdefault(stimulus.scene, {})[stimulus.epoch] = stimulus
        self.fakes = {scene: fakes for scene, fakes in by_scene.items() if fakes.keys() == set(study.epochs)}
        self.reals = [s for s in study.stimuli if s.kind == "real"]
        self.broken = [s for s in study.stimuli if s.kind == "broken"]
        # What practice has told of a scene must not help in the test: its scenes, of fakes and of real pictures, are
        # kept for it, and no scene is among both.
        practice = self.protocol.practice_trials
        single = self.protocol.presentation == "single"
        order = self._order("practice", sorted(self.fakes))
        self.practice_scenes = order[: practice - practice // 2 if single else practice]
        if self.protocol.task != "realness":
            wanted = 0
        elif self.protocol.pairing == "same" and not single:
            self.practice_reals = [real for real in self.reals if real.scene in self.practice_scenes]
            wanted = None
        else:
            wanted = practice // 2 if single else practice
        if wanted is not None:
            others = [real for real in self.reals if real.scene not in self.practice_scenes]
            self.practice_reals = self._order("practice reals", others)[:wanted]
        kept = {*self.practice_scenes, *(real.scene for real in self.practice_reals)}
        self.test_scenes = [scene for scene in order if scene not in kept]
        self.test_reals = [real for real in self.reals if real.scene not in kept]

    def get(self, arm: int, slot: int) -> tuple[Trial, ...]:
        with self._lock:
            made = self._made[arm]
            while len(made) <= slot:
                made.append(self._session(arm, len(made)))
            return made[slot]

    # --- drawing --------------------------------------------------------------------------------------------

    def _number(self, *what: object) -> int:
        text = "|".join(map(str, (self.study.seed, *what)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

    def _order(self, purpose: object, items: Iterable[Any]) -> list[Any]:
        """Items in a random order."""
        return sorted(items, key=lambda item: self._number(purpose, _key(item)))

    def _least_used(self, arm: int, slot: int, role: str, items: Sequence[Any], count: int, missing: str) -> list[Any]:
        """`count` different items, those that this arm has used least in this role; in random order."""
        if len(items) < count:
            raise StudyError(
                "a session needs {count} {reason} and the study has {count_2}: take a larger data set, or lower "
                "practice_trials and test_trials",
                count=count, reason=missing, count_2=len(items),
            )
        used = self._used[arm]
        draw = {id(item): self._number(arm, slot, role, _key(item)) for item in items}
        chosen = sorted(items, key=lambda item: (used[role, _key(item)], draw[id(item)]))[:count]
        used.update((role, _key(item)) for item in chosen)
        return sorted(chosen, key=lambda item: draw[id(item)])

    def _swapped(self, arm: int, slot: int, role: str, items: Sequence[Any]) -> list[bool]:
        """For each item whether the first of its pair goes to the right: half of them, those due for it."""
        used = self._used[arm]
        draw = [self._number(arm, slot, role, "side", _key(item)) for item in items]
        order = sorted(range(len(items)), key=lambda n: (used[role, "side", _key(items[n])], draw[n]))
        right = len(items) // 2
        if len(items) % 2:  # The odd one by turns.
            right += (slot + self._number(arm, role, "odd")) % 2
        swapped = [False] * len(items)
        for place in order[:right]:
            swapped[place] = True
        for item, swap in zip(items, swapped, strict=True):
            used[role, "side", _key(item)] += 1 if swap else -1
        return swapped

    # --- a session ------------------------------------------------------------------------------------------

    def _session(self, arm: int, slot: int) -> tuple[Trial, ...]:
        practice, test = (self._phase(arm, slot, phase) for phase in PHASES)
        trials = [dataclasses.replace(trial, index=index) for index, trial in enumerate(practice + test)]
        return tuple(
            trial if trial.repeats is None else dataclasses.replace(trial, repeats=trial.repeats + len(practice))
            for trial in trials
        )

    def _phase(self, arm: int, slot: int, phase: str) -> list[Trial]:
        protocol, practice = self.protocol, phase == "practice"
        if practice and not protocol.practice_trials:
            return []
        counts = {"comparison": protocol.practice_trials} if practice else protocol.counts
        scenes = self.practice_scenes if practice else self.test_scenes
        pairs = {"realness": self._realness, "pick": self._pick, "tag": self._single}[protocol.task]
        if protocol.presentation == "single":
            pairs = self._single
        taken: set[str] = set()
        trials = pairs(arm, slot, phase, scenes, counts, taken)
        # Shuffled; what is repeated goes to the first half, and comes again in the second, not right after it.
        trials = self._order((arm, slot, phase, "order"), trials)
        half = (len(trials) + 1) // 2
        repeated = self._order((arm, slot, "repeat"), [t for t in trials if t.kind == "comparison"])
        repeated = repeated[: counts.get("repeat", 0)]
        chosen = {id(trial) for trial in repeated}
        free = [place for place in range(half) if id(trials[place]) not in chosen]
        for place in range(half, len(trials)):
            if id(trials[place]) in chosen:
                other = free.pop()
                trials[place], trials[other] = trials[other], trials[place]
        late: list[Any] = list(trials[half:])
        for number, trial in enumerate(repeated):
            place = min(1, len(late)) + self._number(arm, slot, "place", number) % max(1, len(late))
            late.insert(place, (trial,))  # A tuple: the pair of `trial` again.
        placed = {id(trial): index for index, trial in enumerate([*trials[:half], *late])}
        result = []
        for index, entry in enumerate([*trials[:half], *late]):
            if isinstance(entry, tuple):
                first = entry[0]
                again = {"left": first.right, "right": first.left} if first.right is not None else {"left": first.left}
                entry = Trial(index, phase, "repeat", again["left"], again.get("right"), placed[id(first)])
            result.append(entry)
        return result

    def _realness(
        self, arm: int, slot: int, phase: str, scenes: Sequence[str], counts: Mapping[str, int], taken: set[str]
    ) -> list[Trial]:
        protocol, epochs, count = self.protocol, self.study.arms[arm], counts["comparison"]
        chosen = self._least_used(arm, slot, phase, scenes, count, "pictures to translate")
        fakes = self._epochs(arm, slot, phase, chosen, epochs)
        own = {s.scene: s for s in self.reals}
        if protocol.pairing == "same":
            missing = [scene for scene in chosen if scene not in own]
            if missing:
                raise StudyError(
                    "the data set does not say which real picture shows the same scene: use pairing different, or "
                    "paired data"
                )
            reals = [own[scene] for scene in chosen]
            taken.update(real.sha256 for real in reals)
        else:
            reals = self._partners(arm, slot, phase, chosen, count)
            taken.update(real.sha256 for real in reals)
        pairs = list(zip(reals, fakes, strict=True))
        trials = self._sided(arm, slot, phase, "comparison", pairs)
        if n := counts.get("vigilance", 0):
            reals = self._free_reals(arm, slot, n, chosen, taken, "vigilance")
            broken = self._least_used(arm, slot, "broken", self.broken, n, "broken pictures")
            trials += self._sided(arm, slot, phase, "vigilance", list(zip(reals, broken, strict=True)))
        if n := counts.get("real_real", 0):
            reals = self._free_reals(arm, slot, 2 * n, chosen, taken, "real_real")
            trials += self._sided(arm, slot, phase, "real_real", list(zip(reals[:n], reals[n:], strict=True)))
        return trials

    def _partners(self, arm: int, slot: int, phase: str, scenes: Sequence[str], count: int) -> list[Stimulus]:
        """Real pictures of other scenes than the session's fakes."""
        pool = self.practice_reals if phase == "practice" else self.test_reals
        return self._least_used(arm, slot, f"{phase} real", self._beside(pool, scenes, count), count, "real pictures")

    def _beside(self, pool: Sequence[Stimulus], scenes: Sequence[str], count: int) -> list[Stimulus]:
        """Those of `pool` that show none of `scenes`; too few at any choice of so many scenes is told at the first."""
        fakes = set(self.test_scenes)
        shared = sum(real.scene in fakes for real in pool)
        if len(pool) - min(len(scenes), shared) < count:
            raise StudyError(
                "a session needs {count} real pictures of other scenes than its {count_2} fakes, and the study has "
                "{count_3}: take a larger data set, or lower practice_trials and test_trials",
                count=count, count_2=len(scenes), count_3=len(pool),
            )
        return [real for real in pool if real.scene not in scenes]

    def _free_reals(
        self, arm: int, slot: int, count: int, scenes: Sequence[str], taken: set[str], role: str
    ) -> list[Stimulus]:
        pool = [real for real in self._beside(self.test_reals, scenes, count) if real.sha256 not in taken]
        reals = self._least_used(arm, slot, role, pool, count, f"more real pictures for {role} trials")
        taken.update(real.sha256 for real in reals)
        return reals

    def _epochs(self, arm: int, slot: int, phase: str, scenes: Sequence[str], epochs: Sequence[int]) -> list[Stimulus]:
        """A fake of each scene; of several epochs, each as often, and each scene in turn from each."""
        quota = Counter({epoch: len(scenes) // len(epochs) for epoch in epochs})
        rest = self._order((arm, slot, phase, "rest"), epochs)[: len(scenes) % len(epochs)]
        quota.update(rest)
        used, chosen = self._used[arm], []
        for scene in scenes:
            free = [epoch for epoch in epochs if quota[epoch]]
            epoch = min(free, key=lambda e: (used[phase, scene, e], -quota[e], self._number(arm, slot, scene, e)))
            quota[epoch] -= 1
            used[phase, scene, epoch] += 1
            chosen.append(self.fakes[scene][epoch])
        return chosen

    def _pick(
        self, arm: int, slot: int, phase: str, scenes: Sequence[str], counts: Mapping[str, int], taken: set[str]
    ) -> list[Trial]:
        chosen = self._least_used(arm, slot, phase, scenes, counts["comparison"], "pictures to translate")
        contests = list(itertools.combinations(self.study.epochs, 2))
        quota = Counter({contest: len(chosen) // len(contests) for contest in contests})
        quota.update(self._order((arm, slot, phase, "rest"), contests)[: len(chosen) % len(contests)])
        used, pairs = self._used[arm], []
        for scene in chosen:
            free = [contest for contest in contests if quota[contest]]
            contest = min(
                free, key=lambda c: (used[phase, scene, c], -quota[c], self._number(arm, slot, scene, c))
            )
            quota[contest] -= 1
            used[phase, scene, contest] += 1
            pairs.append(tuple(self.fakes[scene][epoch] for epoch in contest))
        trials = self._sided(arm, slot, phase, "comparison", pairs)
        if n := counts.get("vigilance", 0):
            others = [scene for scene in self.test_scenes if scene not in chosen]
            others = self._least_used(arm, slot, "vigilance", others, n, "more pictures for vigilance trials")
            fakes = [self.fakes[scene][self.study.epochs[-1]] for scene in others]
            broken = self._least_used(arm, slot, "broken", self.broken, n, "broken pictures")
            trials += self._sided(arm, slot, phase, "vigilance", list(zip(fakes, broken, strict=True)))
        return trials

    def _single(
        self, arm: int, slot: int, phase: str, scenes: Sequence[str], counts: Mapping[str, int], taken: set[str]
    ) -> list[Trial]:
        total = counts["comparison"]
        number = total if self.protocol.task == "tag" else (total + slot % 2) // 2
        if phase == "practice":
            number = total - total // 2
        chosen = self._least_used(arm, slot, phase, scenes, number, "pictures to translate")
        shown = self._epochs(arm, slot, phase, chosen, self.study.arms[arm])
        if total > number:
            reals = self._partners(arm, slot, phase, chosen, total - number)
            taken.update(real.sha256 for real in reals)
            shown += reals
        trials = [Trial(0, phase, "comparison", stimulus, None) for stimulus in shown]
        if n := counts.get("vigilance", 0):
            broken = self._least_used(arm, slot, "broken", self.broken, n, "broken pictures")
            trials += [Trial(0, phase, "vigilance", stimulus, None) for stimulus in broken]
        return trials

    def _sided(
        self, arm: int, slot: int, phase: str, kind: str, pairs: Sequence[tuple[Stimulus, Stimulus]]
    ) -> list[Trial]:
        """The pairs as trials; the first of half of them at the left, the first of the others at the right."""
        swapped = self._swapped(arm, slot, f"{phase} {kind}", [second for _, second in pairs])
        return [
            Trial(0, phase, kind, *((second, first) if swap else (first, second)))
            for (first, second), swap in zip(pairs, swapped, strict=True)
        ]


def _key(item: Any) -> str:
    """What a scene, a stimulus, an epoch or a trial is called in draws."""
    if isinstance(item, Stimulus):
        return item.sha256
    if isinstance(item, Trial):
        return f"{item.kind} {' '.join(s.sha256 for s in item.stimuli)}"
    return str(item)
