"""Questions that a study asks its participants before or after the pictures: up to ten, from a YAML file.

    - id: age                     # the column of the answers in exports
      when: before                # before: after the consent; after: once all pictures are judged
      kind: number                # choice, number or text
      text: How old are you?
      least: 18
      most: 120
    - id: practised
      when: after
      kind: choice
      text: Do you edit pictures?
      options: [Never, Sometimes, Often]
      required: true              # otherwise participants can leave it out
      translations:
        ko: {text: "사진을 편집하시나요?", options: [전혀, 가끔, 자주]}
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclegan.errors import Message, StudyError, message
from cyclegan.locale import LANGUAGES
from cyclegan.study.texts import is_blank, read_text, wrong_character

if TYPE_CHECKING:
    import numpy as np
    import yaml

WHEN = ("before", "after")
KINDS = ("choice", "number", "text")
MOST, MAX_FILE = 10, 100_000
MAX_TEXT, MAX_OPTION, MAX_OPTIONS, MAX_ANSWER = 500, 200, 20, 1000
"""Characters of a question, an option and an answer, and the number of options."""
MAX_NUMBER = 1e9
MAX_NODES = 5000
"""Parts of a file of questions, each repetition of an alias counted."""
ID = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class Question:
    """A question, as study.json holds it.

    Raises:
        StudyError: it can't be asked as it is.
    """

    id: str
    when: str
    kind: str
    text: str
    options: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    required: bool = False
    translations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """{text, options} by language; the page's other languages show the original."""

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not ID.fullmatch(self.id):
            raise StudyError(
                "{id!r} can't be a question's id: use up to 32 lower-case letters, digits and underscores, a letter "
                "first", id=_short(self.id, 60),
            )  # fmt: skip
        self._check("when", self.when, WHEN)
        self._check("kind", self.kind, KINDS)
        self._check_text("text", self.text, MAX_TEXT)
        if not isinstance(self.required, bool):
            self._refuse(message("required is true or false"))
        self._check_options()
        self._check_range()
        self._check_translations()

    def _refuse(self, reason: Message) -> None:
        raise StudyError("question {id}: {reason}", id=self.id, reason=reason)

    def _check(self, name: str, value: object, choices: Sequence[str]) -> None:
        if value not in choices:
            self._refuse(message("{name} is {value!r}; choose {choices}", name=name, value=_short(value),
                                 choices=" or ".join(choices)))

    def _check_text(self, name: str, value: object, most: int) -> None:
        if not isinstance(value, str):
            self._refuse(message("{name} is {value}, which YAML doesn't read as text: put it in quotes", name=name,
                                 value=_short(value)))
        elif is_blank(value) or len(value) > most or wrong_character(value):
            self._refuse(message("{name} needs 1 to {most} printable characters", name=name, most=most))

    def _check_options(self) -> None:
        if self.kind != "choice":
            if self.options:
                self._refuse(message("options are for a choice, not for a {kind}", kind=self.kind))
            return
        if not 2 <= len(self.options) <= MAX_OPTIONS:
            self._refuse(message("a choice needs 2 to {most} options", most=MAX_OPTIONS))
        for option in self.options:
            self._check_text("an option", option, MAX_OPTION)
        if len(set(self.options)) < len(self.options):
            self._refuse(message("an option is there twice"))

    def _check_range(self) -> None:
        for name in ("least", "most"):
            value = getattr(self, name)
            if value is None:
                continue
            if self.kind != "number":
                self._refuse(message("{name} is for a number, not for a {kind}", name=name, kind=self.kind))
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not -MAX_NUMBER <= value <= MAX_NUMBER:
                self._refuse(message("{name} is {value}; it has to be a number up to a thousand million", name=name,
                                     value=_short(value)))
        if self.least is not None and self.most is not None and self.least > self.most:
            self._refuse(message("least is more than most"))

    def _check_translations(self) -> None:
        if not isinstance(self.translations, Mapping):
            self._refuse(message("translations need a language for each, as in ko: {{text: …}}"))
        for language, words in self.translations.items():
            if language not in LANGUAGES:
                self._refuse(message("the page has no language {language!r}; it has {have}",
                                     language=_short(language, 20), have=", ".join(LANGUAGES)))
            needed = {"text", "options"} if self.options else {"text"}
            if not isinstance(words, Mapping) or set(words) != needed:
                self._refuse(message("the translation {language} needs {keys}, and nothing else", language=language,
                                     keys=" and ".join(sorted(needed, reverse=True))))
            self._check_text(f"the translation {language}", words["text"], MAX_TEXT)
            options = words.get("options", ())
            if not isinstance(options, (list, tuple)) or len(options) != len(self.options):
                self._refuse(message("the translation {language} needs as many options as there are: {count}",
                                     language=language, count=len(self.options)))
            for option in options:
                self._check_text(f"an option of the translation {language}", option, MAX_OPTION)

    def to_json(self) -> dict[str, Any]:
        """Return its content in study.json and for the page: what differs from the defaults."""
        values = dataclasses.asdict(self)
        return {name: v for name, v in values.items() if not (v is None or v is False or v in ((), {}))}  # A 0 stays.

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Question:
        """Return a question of a file; raise StudyError if it has other keys, or lacks some."""
        if not isinstance(values, Mapping):
            raise StudyError("{text!r} isn't a question: give it an id, when, kind and text", text=_short(values))
        values, fields = dict(values), {f.name: f for f in dataclasses.fields(cls)}
        name = _short(values.get("id", values.get("text", "")))
        if unknown := [_short(key) for key in values if key not in fields]:
            raise StudyError("question {id}: there is no {key!r}; it can have {names}",
                             id=name, key=unknown[0], names=", ".join(fields))  # fmt: skip
        if missing := [key for key in ("id", "when", "kind", "text") if values.get(key) is None]:
            raise StudyError("question {id}: it lacks {keys}", id=name or "?", keys=" and ".join(missing))
        if not isinstance(values.get("options", ()), (list, tuple)):
            raise StudyError("question {id}: options is a list, as in [Never, Sometimes, Often]", id=name)
        tidy = {key: " ".join(v.split()) if key == "text" and isinstance(v, str) else v for key, v in values.items()}
        return cls(**{**tidy, "options": tuple(values.get("options", ()))})

    def checked(self, value: object) -> str | None:
        """Return an answer as the database keeps it: an option in the original language, a number, a text.

        Args:
            value: an option's index from 0, a number, or a text; None or "" if the participant left it out.

        Raises:
            ValueError: it isn't an answer to this question.
        """
        if value is None or (isinstance(value, str) and is_blank(value)):
            if self.required:
                raise ValueError(f"{self.id} is required")
            return None
        if self.kind == "text":
            kept = value.strip().replace("\r\n", "\n") if isinstance(value, str) else ""
            if 1 <= len(kept) <= MAX_ANSWER and not wrong_character(kept, lines=True):
                return kept
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            if self.kind == "choice" and isinstance(value, int) and 0 <= value < len(self.options):
                return self.options[value]
            least, most = self.bounds
            if self.kind == "number" and least <= value <= most:
                return repr(value)
        raise ValueError(f"{self.id} can't be answered by {_short(value)!r}")

    def made_up(self, random: np.random.Generator) -> Any:
        """Return an answer of a simulated participant."""
        if self.kind == "number":
            least = self.least if self.least is not None else min(0, 0 if self.most is None else self.most - 100)
            value = random.uniform(least, least + 100 if self.most is None else self.most)
            return round(value) if least <= round(value) <= self.bounds[1] else value
        return int(random.integers(len(self.options))) if self.options else "A simulated answer."

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest number."""
        return (-MAX_NUMBER if self.least is None else self.least), (MAX_NUMBER if self.most is None else self.most)


def _short(value: object, most: int = 40) -> str:
    """Return the beginning of a value as a sentence names it."""
    try:
        return str(value)[:most]
    except ValueError:  # Python writes no whole number of over 4,300 digits.
        return "thousands of digits"


def check_questions(questions: Sequence[Question]) -> None:
    """Raise StudyError if a study can't ask all of these."""
    if len(questions) > MOST:
        raise StudyError("{count} questions are too many: ask {most} at most", count=len(questions), most=MOST)
    ids = [question.id for question in questions]
    if twice := [each for each in ids if ids.count(each) > 1]:
        raise StudyError("two questions have the id {id}: give each one of its own", id=twice[0])


def _is_small(node: yaml.Node | None) -> bool:
    """Return whether YAML stays small when its aliases are written out, in which a few lines can hide millions."""
    waiting, count = [node] if node else [], 0
    while waiting and count <= MAX_NODES:
        count += 1
        value = waiting.pop().value
        if isinstance(value, list):
            waiting += [one for each in value for one in (each if isinstance(each, tuple) else (each,))]
    return not waiting


def read_questions(path: str | Path) -> tuple[Question, ...]:
    """Return the questions in a YAML file.

    Raises:
        StudyError: it can't be read, or something in it can't be asked.
    """
    import yaml

    path = Path(path)
    text = read_text(path, message("the questions' file"))
    if len(text) > MAX_FILE:
        raise StudyError("{path} is too long for {most} questions", path=path, most=MOST)
    try:
        if not _is_small(yaml.compose(text, yaml.SafeLoader)):
            raise StudyError("{path} is too long for {most} questions", path=path, most=MOST)
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise StudyError(
            "{path}{where} isn't valid YAML ({reason})",
            path=path, where=where, reason=getattr(error, "problem", None) or str(error).split("\n")[0],
        ) from error
    if not isinstance(found, list) or not found:
        raise StudyError("{path} has to be a list of questions, each beginning with “- id:”", path=path)
    try:
        questions = tuple(Question.from_json(each) for each in found)
        check_questions(questions)
    except StudyError as error:
        raise StudyError("{path}: {reason}", path=path, reason=error) from error
    return questions
