"""Checkpoints and a data set → a frozen study, in one call.

Nothing slow is imported before it is needed: torch and the data sets come with the first call, and the app's pages
import this module as they start.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cyclegan.config import DataConfig, Direction, direction_name
from cyclegan.errors import DataError, Message, StudyError, message
from cyclegan.files import name_alone
from cyclegan.study.consent import Consent
from cyclegan.study.format import SEEN, PlannedCheckpoint, Study
from cyclegan.study.protocol import DEFAULT, Protocol
from cyclegan.study.protocol import protocol as preset
from cyclegan.study.questions import Question
from cyclegan.study.worker import in_process

if TYPE_CHECKING:
    from PIL import Image

    from cyclegan.checkpoints.format import CheckpointInfo
    from cyclegan.checkpoints.sources import CheckpointSource
    from cyclegan.data.domains import Domain
    from cyclegan.study.build import TranslateBatch
    from cyclegan.study.findings import BlindingReport
    from cyclegan.study.foreign import ForeignPictures

MOST_LETTERS, REAL_NAME = 80, "real pictures"
FEW_TRIALS = 10
"""A session of fewer test trials isn't worth a participant's time."""
LIMIT = 200
"""Inputs, and real pictures, that a study uses by default."""


class NoTestPictures(DataError):
    """A data set without the test pictures that a study shows."""


def make_study(
    source: CheckpointSource | Sequence[CheckpointSource] | Mapping[str, CheckpointSource] | None, data: str, *,
    direction: Direction, output: str | Path, fakes: Mapping[str, str | Path] = MappingProxyType({}),
    protocol: str | Protocol | None = None, shorten: bool = False,
    epochs: Sequence[int] | str | Mapping[str, Sequence[int] | str] = "latest",
    split: str = "test", skip_bad_images: bool = False, seed: int = 0, secret: str = "",
    size: tuple[int, int] | None = None, limit: int | None = LIMIT, title: str = "", contact: str = "",
    completion_code: str = "", completion_url: str = "",
    end_codes: Mapping[str, str] = MappingProxyType({}),
    consent: Consent | None = None, questions: Sequence[Question] = (),
    domains: tuple[str, str] | None = None, device: str | None = None,
    progress: Callable[[int, int], object] | None = None,
    report: Callable[[BlindingReport], object] | None = None, note: Callable[[Message], object] | None = None,
) -> Study:  # fmt: skip
    """Render a study's pictures, check that it is blind, and freeze it.

    The same arguments give the same bytes if `secret` is among them.

    Args:
        source: the checkpoints of a run; or of several runs, by the names that reports show, such as methods'. All are
            shown the same pictures. Participants never see the names. None: only `fakes` are judged.
        data: data set as in training: a folder, USER/NAME on the Hub, or streets.
        direction: ab: A → B, ba: B → A. Of several runs, those that don't translate it are left out, with a note.
        output: the study's folder, whose name is the study's; must not exist.
        fakes: folders of pictures that other programs made of the same inputs, by the names that reports show; each is
            judged like a run. A picture has the name of its input: see `cyclegan.study.foreign.find_foreign`.
        protocol: a preset's name, or the whole protocol; None: DEFAULT, shortened if there are too few pictures.
        shorten: if there are too few pictures for the protocol's trials, take as many as they are enough for.
        epochs: those under judgement, of each run; or latest, or all. Of runs by names also by these names, the newest
            of those that aren't among them.
        split: test; or train, only for trying, because the networks know the training pictures.
        skip_bad_images: leave out pictures that can't be read, with a note, instead of raising ImageError.
        seed: seed of the choice of pictures from the data set.
        secret: 64 hex digits that draw sequences and sides, for a study that has to be the same each time; nobody who
            takes part may know them. Empty: drawn now.
        size: (width, height) of the stimuli in pixels; None: the size that the networks work at.
        limit: use at most this many inputs and as many real pictures, drawn by the seed.
        title: shown to participants at the top; empty: a question that fits the task.
        contact: whom participants can ask, and who answers for their data.
        completion_code: code that all participants get at the end; empty: each gets an individual one.
        completion_url: link on the last page; {code} and {participant} are filled in.
        end_codes: codes of sessions that end otherwise: code_screened_out, code_timed_out, code_left_out,
            code_declined (see `Study`).
        consent: what participants agree to first, in the owner's words (see `read_consent`); None: the page's words
            alone.
        questions: up to ten that the page asks before or after the pictures (see `read_questions`).
        domains: names of the domains a and b; None: those of the run, the last one of several.
        device: cpu, cuda, cuda:1, mps; None chooses.
        progress: called with the number of finished pictures and their total.
        report: called with the result of the blinding self-test.
        note: called with a sentence if test pictures are also training pictures, for which all pictures are read, if
            pictures or runs are left out, about how many `fakes` match, if some are their own inputs, if something may
            give a folder of `fakes` away, or if a staircase has few trials.

    Raises:
        StudyError: the arguments make no study, there are too few pictures (`cyclegan.study.choice.TooFewPictures`),
            `fakes` are the real pictures, or the study isn't blind.
        CheckpointError: a checkpoint can't be read.
        DataError: the data set can't be used.
        ImageError: a picture can't be read.
    """
    from cyclegan.data import about_domains
    from cyclegan.data.domains import Subset
    from cyclegan.data.fingerprints import trained_pictures
    from cyclegan.study.build import Preparation, build
    from cyclegan.study.foreign import about_quality, find_foreign, frame_of
    from cyclegan.study.staircase import about_reach

    rules = protocol if isinstance(protocol, Protocol) else preset(protocol or DEFAULT)
    say = note or (lambda said: None)
    arms = _choose_arms(source, epochs, direction, fakes, say)
    _check_labels([*(arm.label for arm in arms if arm.label), *fakes])
    config, multiple = _preparation(arms, data, direction)
    for arm in arms:
        if arm.info.config and (other := about_domains(arm.info.config.data, data)):
            say(other)
            break
    records = [trained_pictures(getattr(arm.source, "folder", None)) for arm in arms]
    trained = set().union(*records) if records and all(records) else None
    inputs, reals, known = _pictures(config, direction, split, skip_bad_images, trained, note)
    foreign: list[ForeignPictures] = []
    unmatched = 0
    if fakes:
        of_same_input = rules.task == "pick" or rules.shows_truths
        heard: list[Message] = []
        foreign, usable = find_foreign(fakes, inputs, direction, needs_match=of_same_input, seed=seed,
                                       note=heard.append)  # fmt: skip
        for each in foreign:
            if each.whole:
                say(message("{name}: pictures that match: {count} of {count}", name=each.name, count=each.whole))
        for said in heard:
            say(said)
        unmatched = len(inputs) - len(usable)
        inputs = Subset(inputs, usable)
    study, found = build(
        checkpoints=[(arm.planned(n), _opener(arm.source, arm.info, direction, device))
                     for n, arm in enumerate(arms, 1)],
        foreign=[(each.planned(n), _loader(each, usable)) for n, each in enumerate(foreign, len(arms) + 1)],
        inputs=inputs, reals=reals, protocol=rules, direction=direction,
        preparation=Preparation(config, multiple, None if arms else frame_of(foreign)),
        domains=domains or (config.domain_a, config.domain_b), dataset=name_alone(data),
        output=Path(output), seed=seed, secret=secret, size=size, limit=limit, title=title, contact=contact,
        completion_code=completion_code, completion_url=completion_url, end_codes=end_codes, consent=consent,
        questions=questions, shorten=shorten or protocol is None, split=split, trained_on=known, unmatched=unmatched,
        progress=progress, note=say,
    )  # fmt: skip
    for text in (*about_quality(foreign, study), about_reach(study.protocol)):
        if text is not None:
            say(text)
    if study.protocol != rules and study.protocol.test_trials < FEW_TRIALS:
        say(resolves_little(study, found.resolution))
    if report is not None:
        report(found)
    return study


def resolves_little(study: Study, resolution: Mapping[str, Any] | None) -> Message:
    """Return that sessions of so few trials are worth little."""
    trials = study.protocol.test_trials
    if not resolution:
        return message(
            "with {n} test trial a session, this study can resolve hardly anything; add test pictures, and "
            "build it again",
            "with {n} test trials a session, this study can resolve hardly anything; add test pictures, and "
            "build it again", trials,
        )  # fmt: skip
    width = max(resolution["half_width"], resolution["crossed_half_width"] or 0)
    return message(
        "with {n} test trial a session, this study can resolve hardly anything (± {width:.0%} with "
        "N = {participants}); add test pictures, and build it again",
        "with {n} test trials a session, this study can resolve hardly anything (± {width:.0%} with "
        "N = {participants}); add test pictures, and build it again",
        trials, width=width, participants=resolution["participants"],
    )  # fmt: skip


def _preparation(arms: Sequence[_Arm], data: str, direction: Direction) -> tuple[DataConfig, int]:
    """Return how the networks' pictures are prepared, for this data set, and what their sides are multiples of."""
    from cyclegan.data import name_domains

    if not arms:
        return name_domains(DataConfig(dataset=data)), 1
    last = arms[-1]
    config = last.info.config or last.source.load(last.info.epoch, (direction,)).config
    _check_prepared_alike(arms, config.data)
    multiple = math.lcm(config.model.size_multiple, *(a.info.config.model.size_multiple for a in arms if a.info.config))
    return dataclasses.replace(config.data, dataset=data), multiple


def _pictures(
    config: DataConfig, direction: Direction, split: str, skip_bad_images: bool, trained: Collection[str] | None,
    note: Callable[[Message], object] | None,
) -> tuple[Domain, Domain, tuple[int, ...]]:
    """Return the pictures to translate and the real ones, with notes on those left out, and `Study.trained_on`.

    Args:
        trained: fingerprints of the pictures that the runs were trained on; None takes this data set's for them.
    """
    from cyclegan.data import find_data
    from cyclegan.data.domains import readable
    from cyclegan.data.fingerprints import fingerprints, known_pictures
    from cyclegan.data.values import opened_as

    splits = opened_as(find_data(config), config.values("a"), config.values("b"))
    inputs, reals = (getattr(splits, f"{split}_{domain}") for domain in direction)
    if inputs is None or reals is None:
        raise NoTestPictures(
            "{dataset} has no test pictures: add them, or try a study of its training pictures", dataset=config.dataset
        )
    if note is not None and split == "train":
        note(SEEN)
    if skip_bad_images:
        (inputs, bad), (reals, others) = readable(inputs), readable(reals)
        if note is not None and (found := bad + others):
            note(message(
                "left out: {n} picture that can't be read, such as {example}",
                "left out: {n} pictures that can't be read, such as {example}", len(found), example=found[0],
            ))  # fmt: skip
    known = None
    if split == "test":
        found = fingerprints(splits, ["test"] if trained else ["train", "test"])
        trained = trained or [*found.get("train_a", ()), *found.get("train_b", ())]
        known = known_pictures(splits, found, trained)
    if known is None:
        return inputs, reals, ()
    if note is not None:
        note(known.sentence())
    return inputs, reals, (known.count, known.of)


def _loader(foreign: ForeignPictures, usable: Sequence[int]) -> Callable[[int], Image.Image]:
    """Return a function that loads the picture of an input by its number among the usable ones."""
    return lambda number: foreign.load(usable[number])


def make_in_process(
    source: Any, data: str, *, note: Callable[[Message], object] = lambda said: None, **options: Any
) -> Iterator[tuple[int, int] | None]:
    """Make a study in a process of its own, whose memory is freed at the end; closing the iterator cancels.

    Args:
        source, data, options: see `make_study`; all are sent to the process.
        note: see `make_study`; called in this process.

    Yields:
        (finished pictures, total), None before the first; the last one again about once a second.

    Raises:
        UserError: as `make_study`; or StudyError, because the process was killed.
    """
    yield from in_process(_make, source, data, options, note=note)


def _make(source: Any, data: str, options: dict[str, Any], **reports: Callable[..., object]) -> None:
    make_study(source, data, **options, **reports)


@dataclass(frozen=True)
class _Arm:
    """A checkpoint under judgement, with a name in a study of several runs."""

    source: CheckpointSource
    info: CheckpointInfo
    label: str = ""

    def planned(self, number: int) -> PlannedCheckpoint:
        """Return it as the study records it."""
        sha, epoch = self.info.commit_sha, self.info.epoch
        if not self.label:
            return PlannedCheckpoint(epoch, sha, self.source.name)
        return PlannedCheckpoint(number, sha, self.source.name, self.label, epoch)


def _choose_arms(
    source: Any, epochs: Any, direction: Direction, fakes: Mapping[str, Any], say: Callable[[Message], object]
) -> list[_Arm]:
    """Return the checkpoints under judgement: by run, then by epoch."""
    if source is None:
        if not fakes:
            raise StudyError("nothing is to be judged: name a run, or a folder of pictures that another program made")
        return []
    if isinstance(source, Sequence):
        names = Counter[str]()
        runs = {}
        for one in source:
            names[one.name] += 1
            runs[f"{one.name} ({names[one.name]})" if names[one.name] > 1 else one.name] = one
        source = runs if len(runs) != 1 else source[0]
    if not isinstance(source, Mapping):
        if not fakes:
            return [_Arm(source, info) for info in _choose_epochs(source, epochs)]
        source = {source.name: source}
    arms = []
    for name, run in source.items():
        infos = _choose_epochs(run, epochs.get(name, "latest") if isinstance(epochs, Mapping) else epochs)
        able = [info for info in infos if direction in info.directions]
        if not able:
            say(message("{run} isn't in the study, because it doesn't translate {direction}", run=name,
                         direction=direction_name(direction)))  # fmt: skip
        arms += [_Arm(run, info, name if len(infos) == 1 else f"{name}, epoch {info.epoch}") for info in able]
    if not arms:
        raise StudyError(
            "none of these runs translates {direction}: {runs}", direction=direction_name(direction),
            runs=", ".join(source),
        )  # fmt: skip
    for name in fakes:
        if not name or name in (arm.label for arm in arms):
            raise StudyError("{name!r} can't be the name of pictures that another program made, because it is empty or "
                             "a run's: choose another one", name=name)  # fmt: skip
    return arms


def _check_labels(labels: Iterable[str]) -> None:
    """Raise StudyError for a condition's name that a report can't show, or would take for another one's."""
    for name in labels:
        if not 1 <= len(name.strip()) <= MOST_LETTERS or " ".join(name.split()).casefold() == REAL_NAME:
            raise StudyError("{name!r} can't be a name in reports: choose 1 to 80 letters, and not what reports "
                             "call real pictures", name=name[:MOST_LETTERS])  # fmt: skip


def _choose_epochs(source: CheckpointSource, epochs: Sequence[int] | str) -> list[CheckpointInfo]:
    """Return the checkpoints under judgement, by epoch."""
    infos = {info.epoch: info for info in source.list()}
    if not infos:
        raise StudyError("{source} holds no readable checkpoint: name another with --checkpoints", source=source.name)
    if epochs == "latest":
        return [infos[max(infos)]]
    wanted = sorted(infos) if epochs == "all" else sorted(set(epochs))
    for epoch in wanted:
        if epoch not in infos:
            raise StudyError(
                "{source} has no epoch {epoch}: choose --epochs from {have}",
                source=source.name, epoch=epoch, have=", ".join(map(str, sorted(infos))),
            )
    return [infos[epoch] for epoch in wanted]


def prepared(data: DataConfig) -> tuple[Any, ...]:
    """Return how settings prepare test pictures: equal for networks that one study can compare."""
    return data.preprocess, data.crop_size, data.load_size if data.preprocess.endswith("crop") else None


def _check_prepared_alike(arms: Sequence[_Arm], data: DataConfig) -> None:
    """Raise StudyError if a checkpoint's networks are shown test pictures in another way than those of `data`."""
    for arm in arms:
        info, other = arm.info, arms[-1]
        if info.config is None or prepared(info.config.data) == prepared(data):
            continue
        if arm.label:
            raise StudyError(
                "{run} and {other} were trained on pictures prepared in different ways, so their fakes can't be "
                "compared in one study: build one for each",
                run=arm.label, other=other.label,
            )  # fmt: skip
        raise StudyError(
            "epochs {epoch} and {other} were trained on pictures prepared in different ways, so their fakes "
            "can't be compared in one study: build one for each",
            epoch=info.epoch, other=other.info.epoch,
        )


def _opener(
    source: CheckpointSource, info: CheckpointInfo, direction: Direction, device: str | None
) -> Callable[[], TranslateBatch]:
    """Return a function that loads the checkpoint, if it is still the planned one, and returns its translation."""

    def opened() -> TranslateBatch:
        from cyclegan.translation.translator import Translator

        checkpoint = source.load(info.epoch, (direction,))
        if checkpoint.info.commit_sha != info.commit_sha:
            raise StudyError(
                "epoch {epoch} of {source} has changed meanwhile: build the study again",
                epoch=info.epoch, source=source.name,
            )
        translator = Translator(checkpoint, device)

        def translate(images: list[Image.Image]) -> list[Image.Image]:
            count = translator.batch_size(images[0].size)
            parts = (images[start : start + count] for start in range(0, len(images), count))
            return [fake for part in parts for fake in translator.translate_batch(part, direction)]

        return translate

    return opened
