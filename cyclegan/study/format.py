"""THE study format: the only module that writes or reads it.

A study is a folder, frozen before the first vote:

    STUDY/
      study.json            protocol, checkpoints by commit SHA, seed, texts, stimuli; never sent to a browser
      stimuli/<sha256>.png  all of one size in pixels and in bytes
      secret                64 hex digits, which draw the sessions' sequences; study.json has their SHA-256
      votes.sqlite3         added once somebody votes (`store`), unless DATABASE_URL names another database
      simulated.sqlite3     the same of simulated participants
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cyclegan.config import DIRECTIONS, Direction
from cyclegan.errors import Message, StudyError, message
from cyclegan.files import nearest_folder, whole_folder
from cyclegan.study.consent import Consent
from cyclegan.study.protocol import Protocol
from cyclegan.study.questions import Question, check_questions
from cyclegan.study.sequences import SHA256, Sequences, Stimulus, Trial
from cyclegan.study.texts import wrong_character

FORMAT_VERSION = 3
"""1 and 2 are written by programs that knew no secret; 1 without names of checkpoints."""
SECRET = "secret"
"""The file of a study's secret, which only its owner may read."""
SEEN = message("the networks have seen these pictures in training, so this study shows nothing about new ones")
"""The sentence of a study of training pictures, wherever its owner sees it."""


def seen_some(count: int, of: int) -> Message:
    """Return the sentence of a study of test pictures of which the networks have seen some in training."""
    return message(
        "test pictures that the networks have seen in training: {count} of {of}; their translations look better than "
        "those of new pictures", count=count, of=of,
    )  # fmt: skip


NO_SECRET = message(
    "This study was built before sequences were drawn from a secret. Its pictures' files are enough to compute which "
    "one is real, so its figures hold only if no participant has done that. For trying things out, that is enough."
)
"""The sentence of such a study, wherever its owner sees it or its figures are."""
LATER_FIELDS = ("split", "secret_sha256", "code_screened_out", "code_timed_out", "code_left_out", "code_declined",
                "consent", "questions", "trained_on", "unmatched")
"""They aren't written while they are empty: a study that was built without them keeps its bytes, and so its id."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A study's name: that of its folder, and part of its address."""
MARK_CHUNK = b"maRk"
"""PNG chunk that makes files of equal pictures differ: ancillary, private, safe to copy (PNG specification, 5.4)."""
FILE_TIME = 946_684_800
"""Seconds: the time of every stimulus file, 2000-01-01 UTC, so that file times reveal nothing."""


class _NewerFormat(StudyError):
    """A study of a newer format; not wrapped as damaged."""


@dataclass(frozen=True)
class PlannedCheckpoint:
    """A checkpoint under judgement, or another program's pictures in its place."""

    epoch: int
    """Its epoch; in a study of several runs its number among the checkpoints, from 1."""
    commit_sha: str
    source: str
    """As a person named it: a folder's name or USER/NAME."""
    label: str = ""
    """In a study of several runs its name in reports, such as a method's; never sent to a browser of participants."""
    of_epoch: int | None = None
    """In a study of several runs its epoch."""
    foreign: bool = False
    """Its pictures were made by another program: `source` is their folder's name, `commit_sha` a hash of their files,
    and it has no epoch."""
    matched: bool = True
    """Each of its pictures shows the scene that its stimulus names. Otherwise another program's files had other names
    than the inputs, so that nobody knows which scenes they show."""

    def __post_init__(self) -> None:
        for epoch in (self.epoch, self.true_epoch):
            if type(epoch) is not int or not 1 <= epoch < 10**9:
                raise StudyError("{epoch!r} isn't a valid epoch", epoch=str(epoch)[:20])
        if not all(isinstance(text, str) for text in (self.commit_sha, self.source, self.label)):
            raise StudyError("epoch {epoch} has no commit_sha or source", epoch=self.epoch)
        if type(self.foreign) is not bool or (self.foreign and not self.label):
            raise StudyError("pictures of another program need a name")
        if type(self.matched) is not bool or not (self.matched or self.foreign):
            raise StudyError("only pictures of another program can show other scenes")
        if wrong_character(self.label):
            raise StudyError("{text!r} can't be shown: leave out what can't be printed", text=self.label[:60])

    @property
    def true_epoch(self) -> int:
        """Its epoch in its run."""
        return self.epoch if self.of_epoch is None else self.of_epoch

    def to_json(self) -> dict[str, Any]:
        """Return its content in study.json: what it lacks isn't written, so that an old study keeps its bytes."""
        values = dataclasses.asdict(self)
        if not self.foreign:
            del values["foreign"]
        if self.matched:
            del values["matched"]
        return values if self.label else {key: values[key] for key in ("epoch", "commit_sha", "source")}


@dataclass(frozen=True)
class Study:
    """A frozen study: the content of study.json. `folder` is where it was read from or written to."""

    name: str
    title: str
    protocol: Protocol
    direction: Direction
    domains: tuple[str, str]
    """Names of domains a and b."""
    dataset: str
    """Its name, without a path."""
    checkpoints: tuple[PlannedCheckpoint, ...]
    """The checkpoints under judgement, by epoch."""
    seed: int
    size: tuple[int, int]
    """Width and height of every stimulus, in pixels."""
    stimuli: tuple[Stimulus, ...]
    bytes_per_stimulus: int = 0
    contact: str = ""
    """Whom participants can ask, and who answers for their data."""
    completion_code: str = ""
    """The same code for everyone, as Prolific requires; empty: an individual one for each session."""
    completion_url: str = ""
    """Link on the last page; `{code}` and `{participant}` are filled in."""
    split: str = ""
    """Empty for test pictures, and in old studies; train: pictures that the networks have seen in training."""
    trained_on: tuple[int, ...] = ()
    """The number of test pictures that a network under judgement was trained on, and the number of all test pictures;
    empty for none, and in old studies."""
    unmatched: int = 0
    """The number of inputs that weren't used, because a folder of another program has no picture of them."""
    code_screened_out: str = ""
    """Code of those who don't qualify in practice; empty: an individual one for each, and no link."""
    code_timed_out: str = ""
    """Code of those whose time has run out; empty: none, and no link."""
    code_left_out: str = ""
    """Code of those whom a rule over their own votes leaves out; empty: the one of all others."""
    code_declined: str = ""
    """Code of those who don't consent; empty: none, and no link."""
    consent: Consent | None = None
    """The owner's words; None: the page's own alone."""
    questions: tuple[Question, ...] = ()
    secret_sha256: str = ""
    """SHA-256 of the secret's 64 hex digits; empty in studies that were built before there was one."""
    secret: str = field(default="", compare=False, repr=False)
    """The secret while it isn't in a folder yet; use `draw_key`."""
    folder: Path | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.direction not in DIRECTIONS:
            raise StudyError("direction is {direction!r}: choose ab or ba", direction=self.direction)
        codes = (self.completion_code, self.code_screened_out, self.code_timed_out, self.code_left_out,
                 self.code_declined)  # fmt: skip
        for text in (self.title, self.contact, self.dataset, self.completion_url, *codes, *self.domains):
            if not isinstance(text, str) or wrong_character(text):
                raise StudyError("{text!r} can't be shown: leave out what can't be printed", text=str(text)[:60])
        sized = len(self.size) == 2 and all(type(n) is int and 0 <= n < 10**5 for n in self.size)
        if len(self.domains) != 2 or not sized:
            raise StudyError("a study has two domains, and stimuli of a width and a height")
        if self.split not in ("", "train"):
            raise StudyError("{split!r} isn't a valid split: train, or nothing", split=str(self.split)[:20])
        if self.trained_on and not (len(self.trained_on) == 2 and all(type(n) is int for n in self.trained_on)
                                    and 0 < self.trained_on[0] <= self.trained_on[1] < 10**9):  # fmt: skip
            raise StudyError("{value!r} isn't two numbers of pictures", value=str(self.trained_on)[:40])
        if type(self.unmatched) is not int or not 0 <= self.unmatched < 10**9:
            raise StudyError("{value!r} isn't a number of pictures", value=str(self.unmatched)[:20])
        if type(self.seed) is not int:
            raise StudyError("{seed!r} isn't a valid seed: give a whole number", seed=str(self.seed)[:20])
        check_questions(self.questions)
        if not self.checkpoints:
            raise StudyError("a study needs at least one checkpoint")
        if self.completion_url and not re.match(r"https?://", self.completion_url):
            raise StudyError("completion_url is {url!r}: it has to begin with https://", url=self.completion_url)
        if not all(isinstance(text, str) and SHA256.fullmatch(text or "0" * 64)
                   for text in (self.secret, self.secret_sha256)):  # fmt: skip
            raise StudyError("a study's secret is 64 hex digits, and so is its SHA-256")
        if self.secret and commitment(self.secret) != self.secret_sha256:
            raise StudyError("the secret isn't that of this study")
        labels = list(self.labels.values())
        if len({c.epoch for c in self.checkpoints}) < len(self.checkpoints) or len(set(labels)) < len(labels):
            raise StudyError("an epoch is named twice")
        if labels and len(labels) < len(self.checkpoints):
            raise StudyError("a study of several runs needs a name for each checkpoint")
        if self.protocol.task == "pick" and len(self.checkpoints) < 2:
            raise StudyError("picking compares epochs or methods: name at least two")

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of study.json, which pins everything in it, and by their hashes the stimuli."""
        return hashlib.sha256(self._bytes()).hexdigest()

    @property
    def study_id(self) -> str:
        """The first 32 hex digits of `sha256`."""
        return self.sha256[:32]

    @cached_property
    def draw_key(self) -> str:
        """The secret that draws the sequences, 64 hex digits; empty in studies that were built before there was one.

        Raises StudyError: its file is missing, or is another study's.
        """
        if self.secret or not self.secret_sha256:
            return self.secret
        if self.folder is None:
            raise StudyError("{study} has no folder: write it first", study=self.name)
        path = self.folder / SECRET
        try:
            secret = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise StudyError(
                "{path} can't be read ({reason}), and without it nobody can take part: copy it from where the study "
                "was built, or from a backup",
                path=path, reason=error,
            ) from error
        if commitment(secret) != self.secret_sha256:
            raise StudyError(
                "{path} is another study's secret, or was changed: copy it from where the study was built, or from a "
                "backup",
                path=path,
            )
        return secret

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs under judgement, in ascending order."""
        return tuple(sorted(c.epoch for c in self.checkpoints))

    @property
    def labels(self) -> dict[int, str]:
        """The checkpoints' names by `epoch` in a study of several runs; {} in a study of one run's epochs."""
        return {c.epoch: c.label for c in self.checkpoints if c.label}

    @property
    def arms(self) -> tuple[tuple[int, ...], ...]:
        """The epochs that a session may judge: one each, or all of them."""
        mixed = self.protocol.epochs_per_session == "mixed" or self.protocol.task == "pick"
        return (self.epochs,) if mixed else tuple((epoch,) for epoch in self.epochs)

    @property
    def trials_per_session(self) -> int:
        """Practice and test trials together."""
        return self.protocol.practice_trials + self.protocol.test_trials

    @property
    def arrow(self) -> str:
        """The direction in words: "day → night"."""
        return " → ".join(self.domains if self.direction == "ab" else self.domains[::-1])

    @cached_property
    def by_hash(self) -> Mapping[str, Stimulus]:
        """Stimuli by SHA-256."""
        return {s.sha256: s for s in self.stimuli}

    def shown_scene(self, sha256: str) -> str:
        """Return what a picture shows, the same for pictures of one scene; its SHA-256 if nobody knows."""
        stimulus = self.by_hash.get(sha256)
        unknown = {c.epoch for c in self.checkpoints if not c.matched}
        return sha256 if stimulus is None or stimulus.epoch in unknown else stimulus.scene

    @property
    def seen(self) -> Message | None:
        """A sentence about pictures that networks under judgement were trained on, wherever owners see the study."""
        if self.split == "train":
            return SEEN
        return seen_some(*self.trained_on) if self.trained_on else None

    @property
    def picture_counts(self) -> dict[str, int]:
        """The number of inputs, of which each epoch has a fake, of real pictures, and of unmatched inputs."""
        fakes = Counter(stimulus.epoch for stimulus in self.stimuli if stimulus.kind == "fake")
        reals = sum(stimulus.kind == "real" for stimulus in self.stimuli)
        return {"inputs": max(fakes.values(), default=0), "reals": reals, "unmatched": self.unmatched}

    def asked(self, when: str) -> tuple[Question, ...]:
        """Return the questions that are asked before or after the pictures."""
        return tuple(question for question in self.questions if question.when == when)

    def commit_sha(self, epoch: int | None) -> str | None:
        """Return the commit whose checkpoint made an epoch's fakes."""
        return next((c.commit_sha for c in self.checkpoints if c.epoch == epoch), None)

    def stimulus_path(self, sha256: str) -> Path:
        """Return the file of a stimulus; raise StudyError if this study has no such stimulus."""
        if self.folder is None or sha256 not in self.by_hash:
            raise StudyError("{study} has no stimulus {sha256}", study=self.name, sha256=sha256[:16])
        return self.folder / "stimuli" / f"{sha256}.png"

    def stimulus(self, sha256: str) -> bytes:
        """Return the content of a stimulus.

        Raises:
            StudyError: this study has no such stimulus, or its file is missing or not the frozen one.
        """
        path = self.stimulus_path(sha256)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StudyError(
                "{path} can't be read ({reason}): get the study again", path=path, reason=error
            ) from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StudyError("{path} is not the file that was frozen: get the study again", path=path)
        return content

    def trials(self, arm: int, slot: int) -> tuple[Trial, ...]:
        """Return the trials of the session that came `slot`-th (from 0) into an arm; the same at every call.

        Within a session, practice included, no scene comes twice, neither as a fake nor as a real picture, except in
        pairs of one scene and in repeats; sides are even.
        Over the sessions of an arm, pictures, sides and epochs are used as evenly as whole numbers allow.
        """
        return self.sequences.get(arm, slot)

    @cached_property
    def sequences(self) -> Sequences:
        """The trials of all sessions, computed on demand."""
        return Sequences(self)

    def check_enough(self) -> None:
        """Raise StudyError, naming what is missing, if the stimuli can't fill the sessions of each arm."""
        for arm in range(len(self.arms)):
            self.trials(arm, 1)  # And the one before it; those after them need as much as these two.

    def to_json(self) -> dict[str, Any]:
        """Return the content of study.json."""
        names = [f.name for f in dataclasses.fields(self) if f.name not in ("folder", "secret")]
        values = {name: getattr(self, name) for name in names if name not in LATER_FIELDS or getattr(self, name)}
        values |= {
            "protocol": self.protocol.to_json(),
            "checkpoints": [c.to_json() for c in self.checkpoints],
            "stimuli": [dataclasses.asdict(s) for s in self.stimuli],
        }
        if self.consent:
            values["consent"] = self.consent.to_json()
        if self.questions:
            values["questions"] = [question.to_json() for question in self.questions]
        return {"format_version": FORMAT_VERSION if self.secret_sha256 else 2 if self.labels else 1, **values}

    def _bytes(self) -> bytes:
        return (json.dumps(self.to_json(), indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def commitment(secret: str) -> str:
    """Return the SHA-256 of a secret's hex digits: study.json pins the secret by it, and doesn't reveal it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def check_name(name: str) -> None:
    """Raise StudyError if a study can't have this name."""
    if not NAME.fullmatch(name):
        raise StudyError("{name!r} can't be a study's name: use letters, digits, dot, hyphen, underscore", name=name)
    if name == "static":
        raise StudyError("{name!r} can't be a study's name: the files of its page are there", name=name)


def write_study(study: Study, contents: Mapping[str, bytes], folder: Path) -> Study:
    """Write a study's folder, whole or not at all.

    Args:
        contents: the file of each stimulus, by SHA-256.
        folder: its name is the study's; must not exist.

    Raises:
        StudyError: it exists, can't be written, the contents are not those of the stimuli, or the study's secret is
            lost.
    """
    secret = study.draw_key
    if folder.exists():
        raise StudyError("{folder} exists already: a study is frozen, so choose another name", folder=folder)
    if contents.keys() != study.by_hash.keys():
        raise StudyError("the contents are not those of the study's stimuli")
    try:
        with whole_folder(folder, replace=False) as part:
            (part / "stimuli").mkdir()
            for sha256, content in contents.items():
                path = part / "stimuli" / f"{sha256}.png"
                path.write_bytes(content)
                os.utime(path, (FILE_TIME, FILE_TIME))
            if secret:
                (part / SECRET).touch(mode=0o600)
                (part / SECRET).write_text(secret, encoding="ascii")
            (part / "study.json").write_bytes(study._bytes())
    except OSError as error:
        raise StudyError(
            "{folder} can't be written ({reason}): free space or name another",
            folder=folder, reason=error,
        ) from error
    return dataclasses.replace(study, folder=folder)


def _no_study(folder: Path) -> StudyError:
    near = None if os.path.isdir(folder) else nearest_folder(folder)  # Path's own raises for a name that is too long.
    if near is not None and (near / "study.json").is_file():
        return StudyError("{folder} holds no study (did you mean {near}?)", folder=folder, near=near)
    return StudyError(
        "{folder} holds no study: name a folder that `python -m cyclegan study build` has written", folder=folder
    )


def read_study(folder: str | Path) -> Study:
    """Return the study in a folder, without its pictures.

    Raises:
        StudyError: there is none, or it is damaged or of a newer format.
    """
    folder = Path(folder)
    path = folder / "study.json"
    if not os.path.isfile(path):  # Path's own raises for a name that is too long.
        raise _no_study(folder)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = values.pop("format_version")
        if found > FORMAT_VERSION:
            raise _NewerFormat(
                "{folder} was written by a newer version of this program (format {found}); update the program",
                folder=folder, found=found,
            )
        values |= {
            "protocol": Protocol.from_json(values["protocol"]),
            "domains": tuple(values["domains"]),
            "size": tuple(values["size"]),
            "trained_on": tuple(values.get("trained_on", ())),
            "checkpoints": tuple(PlannedCheckpoint(**c) for c in values["checkpoints"]),
            "stimuli": tuple(Stimulus(**s) for s in values["stimuli"]),
            "consent": Consent(**values["consent"]) if "consent" in values else None,
            "questions": tuple(map(Question.from_json, values.get("questions", ()))),
        }
        return Study(**values, folder=folder)
    except _NewerFormat:
        raise
    except (
        StudyError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError,
    ) as error:  # fmt: skip
        raise StudyError(
            "{path} is damaged ({reason}); build the study again, or get it again", path=path, reason=error
        ) from error


def find_studies(folders: Iterable[str | Path]) -> list[Study]:
    """Return the studies in these folders, by name: the folder itself, or its direct subfolders.

    Raises:
        StudyError: a folder is none and holds none; two studies have one name; one is damaged.
    """
    found: dict[str, Study] = {}
    for folder in map(Path, folders):
        try:
            alone = (folder / "study.json").is_file()
            paths = [folder] if alone else sorted(path.parent for path in folder.glob("*/study.json"))
        except OSError:  # A name that is too long, or a folder that may not be read.
            paths = []
        if not paths:
            raise _no_study(folder)
        for study in map(read_study, paths):
            if study.name in found:
                raise StudyError(
                    "two studies are called {study}: build one of them under another name", study=study.name
                )
            found[study.name] = study
    return list(found.values())
