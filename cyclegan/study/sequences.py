"""The sequence of trials of every session.

Everything random is drawn by HMAC-SHA256 from the study's secret, so that a study gives the same sequences under every
version of Python and NumPy, for as long as it is played, and no participant can compute them. Studies that were built
before there was a secret draw by SHA-256 from the seed, and keep their sequences.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import itertools
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from typing import Protocol as Interface

from cyclegan.errors import Message, StudyError, message
from cyclegan.study.protocol import Protocol

SHA256 = re.compile(r"[0-9a-f]{64}")
KINDS = ("real", "fake", "broken")
PHASES = ("practice", "test")
Needed = Callable[[int], Message]
"""Returns how many pictures of a kind a session needs."""
MORE_REALS: dict[str, Needed] = {
    "vigilance": lambda n: message(
        "{n} more real picture for vigilance trials", "{n} more real pictures for vigilance trials", n
    ),
    "real_real": lambda n: message(
        "{n} more real picture for trials with two real ones", "{n} more real pictures for trials with two real ones", n
    ),
}


def _to_translate(n: int) -> Message:
    return message("{n} picture to translate", "{n} pictures to translate", n)


def _broken(n: int) -> Message:
    return message("{n} broken picture", "{n} broken pictures", n)


def _more_pictures(n: int) -> Message:
    return message("{n} more picture for vigilance trials", "{n} more pictures for vigilance trials", n)


def _reals(n: int) -> Message:
    return message("{n} real picture", "{n} real pictures", n)


@dataclass(frozen=True)
class Stimulus:
    """A picture that participants are shown."""

    sha256: str
    """SHA-256 of the file, in hex digits; also its name."""
    kind: str
    """real; fake; or broken: a picture that nobody takes for real, for vigilance trials."""
    scene: str
    """The place that it shows: equal for a fake, its input and the real picture of it. Never sent to a browser."""
    epoch: int | None = None
    """Epoch of the checkpoint that made it; None if none did."""

    def __post_init__(self) -> None:
        named = isinstance(self.sha256, str) and SHA256.fullmatch(self.sha256) and isinstance(self.scene, str)
        if not named or self.kind not in KINDS or (type(self.epoch) is int) != (self.kind == "fake"):
            raise StudyError("stimulus {sha256} has a wrong name, kind, scene or epoch", sha256=str(self.sha256)[:16])

    @property
    def key(self) -> str:
        """Its name in random draws."""
        return self.sha256


class Planned(Interface):
    """The part of a study that the draws need; `cyclegan.study.format.Study` has it."""

    protocol: Protocol
    seed: int
    epochs: tuple[int, ...]
    arms: tuple[tuple[int, ...], ...]
    stimuli: tuple[Stimulus, ...]

    @property
    def draw_key(self) -> str:
        """The secret of all draws, 64 hex digits; empty in old studies."""
        ...


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
        """Left and right, or the only one."""
        return (self.left,) if self.right is None else (self.left, self.right)

    @property
    def epoch(self) -> int | None:
        """The epoch of the fake that is judged; None where there is none, or in picking two."""
        epochs = {s.epoch for s in self.stimuli if s.epoch is not None}
        return epochs.pop() if len(epochs) == 1 else None

    @property
    def key(self) -> str:
        """Its name in random draws."""
        return f"{self.kind} {' '.join(s.sha256 for s in self.stimuli)}"


class Sequences:
    """All sessions' trials, computed in order because each evens out what those before it used.

    Attributes:
        fakes: by scene and epoch, for scenes of which every epoch has one.
        practice_scenes, test_scenes: scenes whose fakes are shown in either phase, in random order.
        practice_reals, test_reals: real pictures for either phase.
        fair_practice: whether practice draws real or fake, or left or right, anew for each trial. Where feedback could
            be counted to pass a qualification, exact halves would let it be passed without looking.
    """

    def __init__(self, study: Planned) -> None:
        self.study, self.protocol = study, study.protocol
        self._key = bytes.fromhex(study.draw_key)
        self.fair_practice = bool(self._key and self.protocol.qualification)
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
        self._part_phases()

    def _part_phases(self) -> None:
        """Keep scenes and real pictures for practice: what practice reveals of a scene must not help in the test."""
        practice = self.protocol.practice_trials
        single = self.protocol.presentation == "single"
        order = self._order("practice", sorted(self.fakes))
        half = single and not self.fair_practice
        self.practice_scenes = order[: practice - practice // 2 if half else practice]
        if self.protocol.shows_truths:
            self.practice_reals = [real for real in self.reals if real.scene in self.practice_scenes]
        else:
            wanted = 0 if not self.protocol.shows_reals else practice // 2 if half else practice
            others = [real for real in self.reals if real.scene not in self.practice_scenes]
            self.practice_reals = self._order("practice reals", others)[:wanted]
        kept = {*self.practice_scenes, *(real.scene for real in self.practice_reals)}
        self.test_scenes = [scene for scene in order if scene not in kept]
        self.test_reals = [real for real in self.reals if real.scene not in kept]

    def get(self, arm: int, slot: int) -> tuple[Trial, ...]:
        """Return the trials of an arm's session; safe in threads. Raises StudyError: too few stimuli."""
        with self._lock:
            made = self._made[arm]
            while len(made) <= slot:
                made.append(self._session(arm, len(made)))
            return made[slot]

    # --- drawing --------------------------------------------------------------------------------------------

    def _number(self, *what: object) -> int:
        if self._key:
            digest = hmac.digest(self._key, "|".join(map(str, what)).encode(), "sha256")
            return int.from_bytes(digest[:8], "big")
        return drawn_without_secret(self.study.seed, *what)

    def _coins(self, arm: int, slot: int, purpose: str, count: int) -> list[bool]:
        """Return fair and independent draws."""
        return [self._number(arm, slot, purpose, n) % 2 == 1 for n in range(count)]

    def _order(self, purpose: object, items: Iterable[Any]) -> list[Any]:
        """Return the items in a random order."""
        return sorted(items, key=lambda item: self._number(purpose, _key(item)))

    def _least_used(
        self, arm: int, slot: int, role: str, items: Sequence[Any], count: int, needed: Needed
    ) -> list[Any]:
        """Return the `count` items that this arm has used least in this role, in random order."""
        _check_enough(items, count, needed)
        used = self._used[arm]
        draw = {id(item): self._number(arm, slot, role, _key(item)) for item in items}
        chosen = sorted(items, key=lambda item: (used[role, _key(item)], draw[id(item)]))[:count]
        used.update((role, _key(item)) for item in chosen)
        return sorted(chosen, key=lambda item: draw[id(item)])

    def _swapped(self, arm: int, slot: int, role: str, items: Sequence[Any]) -> list[bool]:
        """Return for each item whether the first of its pair goes to the right: true for half, those due for it."""
        used = self._used[arm]
        draw = [self._number(arm, slot, role, "side", _key(item)) for item in items]
        order = sorted(range(len(items)), key=lambda n: (used[role, "side", _key(items[n])], draw[n]))
        right = len(items) // 2
        if len(items) % 2:  # Sides take turns with the odd one.
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
        pairs = self._pick if protocol.task == "pick" else self._realness
        if protocol.presentation == "single":
            pairs = self._single
        taken: set[str] = set()
        trials = pairs(arm, slot, phase, scenes, counts, taken)
        return self._with_repeats(arm, slot, self._order((arm, slot, phase, "order"), trials), counts.get("repeat", 0))

    def _with_repeats(self, arm: int, slot: int, trials: list[Trial], count: int) -> list[Trial]:
        """Return shuffled trials with `count` repeats: first in the first half, again in the second, never at once."""
        half = (len(trials) + 1) // 2
        repeated = self._order((arm, slot, "repeat"), [t for t in trials if t.kind == "comparison"])
        repeated = repeated[:count]
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
                entry = Trial(index, first.phase, "repeat", again["left"], again.get("right"), placed[id(first)])
            result.append(entry)
        return result

    def _realness(
        self, arm: int, slot: int, phase: str, scenes: Sequence[str], counts: Mapping[str, int], taken: set[str]
    ) -> list[Trial]:
        protocol, epochs, count = self.protocol, self.study.arms[arm], counts["comparison"]
        chosen = self._least_used(arm, slot, phase, scenes, count, _to_translate)
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
            broken = self._least_used(arm, slot, "broken", self.broken, n, _broken)
            trials += self._sided(arm, slot, phase, "vigilance", list(zip(reals, broken, strict=True)))
        if n := counts.get("real_real", 0):
            reals = self._free_reals(arm, slot, 2 * n, chosen, taken, "real_real")
            trials += self._sided(arm, slot, phase, "real_real", list(zip(reals[:n], reals[n:], strict=True)))
        return trials

    def _partners(self, arm: int, slot: int, phase: str, scenes: Sequence[str], count: int) -> list[Stimulus]:
        """Return real pictures of other scenes than the session's fakes."""
        pool = self.practice_reals if phase == "practice" else self.test_reals
        pool = self._of_other_scenes(pool, scenes, count)
        return self._least_used(arm, slot, f"{phase} real", pool, count, _reals)

    def _of_other_scenes(self, pool: Sequence[Stimulus], scenes: Sequence[str], count: int) -> list[Stimulus]:
        """Return those of `pool` that show none of `scenes`; raise StudyError if `scenes` may leave too few."""
        fakes = set(self.test_scenes)
        shared = sum(real.scene in fakes for real in pool)
        if len(pool) - min(len(scenes), shared) < count:
            raise StudyError(
                "a session needs {reals} of other scenes than its {fakes}, and the study has {have}: take a larger "
                "data set, or lower practice_trials and test_trials",
                reals=_reals(count), fakes=message("{n} fake", "{n} fakes", len(scenes)), have=len(pool),
            )
        return [real for real in pool if real.scene not in scenes]

    def _free_reals(
        self, arm: int, slot: int, count: int, scenes: Sequence[str], taken: set[str], role: str
    ) -> list[Stimulus]:
        pool = [real for real in self._of_other_scenes(self.test_reals, scenes, count) if real.sha256 not in taken]
        reals = self._least_used(arm, slot, role, pool, count, MORE_REALS[role])
        taken.update(real.sha256 for real in reals)
        return reals

    def _epochs(self, arm: int, slot: int, phase: str, scenes: Sequence[str], epochs: Sequence[int]) -> list[Stimulus]:
        """Return a fake of each scene; epochs are used equally often, and each scene comes from each epoch in turn."""
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
        chosen = self._least_used(arm, slot, phase, scenes, counts["comparison"], _to_translate)
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
            others = self._least_used(arm, slot, "vigilance", others, n, _more_pictures)
            fakes = [self.fakes[scene][self.study.epochs[-1]] for scene in others]
            broken = self._least_used(arm, slot, "broken", self.broken, n, _broken)
            trials += self._sided(arm, slot, phase, "vigilance", list(zip(fakes, broken, strict=True)))
        return trials

    def _single(
        self, arm: int, slot: int, phase: str, scenes: Sequence[str], counts: Mapping[str, int], taken: set[str]
    ) -> list[Trial]:
        total = counts["comparison"]
        number = (total + slot % 2) // 2
        if self.protocol.task == "tag":
            number = total
        elif self.protocol.task == "rate":  # Real pictures are as many as those of each epoch.
            kinds = len(self.study.arms[arm]) + 1
            number = total - (total + slot % kinds) // kinds
        if phase == "practice":
            number = total - total // 2
            if self.fair_practice:
                _check_enough(scenes, total, _to_translate)
                _check_enough(self.practice_reals, total, _reals)
                number = sum(self._coins(arm, slot, "practice fakes", total))
        chosen = self._least_used(arm, slot, phase, scenes, number, _to_translate)
        shown = self._epochs(arm, slot, phase, chosen, self.study.arms[arm])
        if total > number:
            reals = self._partners(arm, slot, phase, chosen, total - number)
            taken.update(real.sha256 for real in reals)
            shown += reals
        trials = [Trial(0, phase, "comparison", stimulus, None) for stimulus in shown]
        if n := counts.get("vigilance", 0):
            broken = self._least_used(arm, slot, "broken", self.broken, n, _broken)
            trials += [Trial(0, phase, "vigilance", stimulus, None) for stimulus in broken]
        return trials

    def _sided(
        self, arm: int, slot: int, phase: str, kind: str, pairs: Sequence[tuple[Stimulus, Stimulus]]
    ) -> list[Trial]:
        """Return the pairs as trials; the first of a pair is on the left in half of them, else on the right.

        Where practice is fair, a coin decides for each.
        """
        if phase == "practice" and self.fair_practice:
            swapped = self._coins(arm, slot, "practice sides", len(pairs))
        else:
            swapped = self._swapped(arm, slot, f"{phase} {kind}", [second for _, second in pairs])
        return [
            Trial(0, phase, kind, *((second, first) if swap else (first, second)))
            for (first, second), swap in zip(pairs, swapped, strict=True)
        ]


def drawn_without_secret(seed: int, *what: object) -> int:
    """Return the draw of a study that was built before there was a secret: whoever guesses the seed can compute it."""
    text = "|".join(map(str, (seed, *what)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _check_enough(items: Sequence[Any], count: int, needed: Needed) -> None:
    """Raise StudyError if there are fewer than `count` items."""
    if len(items) < count:
        raise StudyError(
            "a session needs {needed} and the study has {have}: take a larger data set, or lower practice_trials "
            "and test_trials",
            needed=needed(count), have=len(items),
        )


def _key(item: Any) -> str:
    """Return the name of a scene, a stimulus, an epoch or a trial in draws."""
    return str(getattr(item, "key", item))
