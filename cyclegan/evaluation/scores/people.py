"""Agreement of scores and people: a study's fooling rates against the figures of the same checkpoints.

Kendall's τ-b is 1 if a score and people put all pairs of checkpoints in the same order, −1 if none: it is positive
where people are fooled more often by what the score calls better, whichever way the score counts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from cyclegan.config import Direction
from cyclegan.errors import Message, message, rounded
from cyclegan.evaluation.scores.table import SCORE_FIGURES, ScoreFigure

LEAST = 4
"""Fewer checkpoints give no figure: of three, every sixth order agrees by chance."""
RESAMPLES, LEVEL = 2000, 0.95


@dataclass(frozen=True, eq=False)
class People:
    """The answers of a study that count, for checkpoints in one direction.

    Args:
        study: its name.
        direction: the direction of its translations.
        simulated: True if nobody but simulated participants has taken part.
        commits: each checkpoint's commit, by its number in the study.
        rates: the fooling rate as {"value", "low", "high"}, 0 to 1, by the same number; only of those that were judged.
        checkpoints, fooled, participants, pictures: (N,), one per trial: the checkpoint's number, 1 if its translation
            was taken for real, who judged, and the input.
        seed: of the resamples.
        provisional: True before the study's planned participants are there; intervals are always-valid ones then.
        preferred: returns pairs of numbers: by the study's own report, the first was taken for real more often than the
            second, at 95% for all of its comparisons together. It takes a second, and few ask for it.
    """

    study: str
    direction: Direction
    simulated: bool
    commits: Mapping[int, str]
    rates: Mapping[int, dict[str, float]]
    checkpoints: np.ndarray
    fooled: np.ndarray
    participants: np.ndarray
    pictures: np.ndarray
    seed: int = 0
    provisional: bool = False
    preferred: Callable[[], Collection[tuple[int, int]]] = frozenset

    def of(self, numbers: Collection[int]) -> People:
        """Return the answers about some of the checkpoints."""
        there = np.isin(self.checkpoints, list(numbers))
        parts = (each[there] for each in (self.checkpoints, self.fooled, self.participants, self.pictures))
        rates = {number: rate for number, rate in self.rates.items() if number in numbers}
        return People(self.study, self.direction, self.simulated, self.commits, rates, *parts, self.seed,
                      self.provisional, self.preferred)  # fmt: skip

    @property
    def count(self) -> int:
        """The number of participants."""
        return len(set(self.participants.tolist()))

    @cached_property
    def draws(self) -> np.ndarray:
        """Rates for resampled participants and resampled pictures: (RESAMPLES, checkpoints), in the order of `rates`.

        Both are drawn with replacement and independently (Owen, The pigeonhole bootstrap, 2007). NaN where a
        checkpoint has no trial in a draw.
        """
        rng = np.random.default_rng(self.seed)
        codes = [np.unique(each, return_inverse=True) for each in (self.participants, self.pictures)]
        weights = [rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES) for names, _ in codes]
        found = []
        for number in self.rates:
            there = self.checkpoints == number
            sums = []
            for values in (self.fooled[there], np.ones(there.sum())):
                table = np.zeros([len(names) for names, _ in codes])
                np.add.at(table, tuple(code[there] for _, code in codes), values)
                sums.append(((weights[0] @ table) * weights[1]).sum(1))
            found.append(np.divide(*sums, out=np.full(RESAMPLES, np.nan), where=sums[1] > 0))
        return np.stack(found, 1)


def judged(people: People, answers: Iterable[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Return those answers whose weights people judged, by the number of the checkpoint in the study.

    Args:
        answers: scores of epochs, as in a file of scores.
    """
    free: dict[str, list[int]] = {}
    for number in sorted(people.rates):
        free.setdefault(people.commits[number], []).append(number)
    found = {}
    for answer in answers:
        # Runs of the same weights have several, in the same order.
        if numbers := free.get(str(answer.get("commit_sha"))):
            found[numbers.pop(0)] = answer
    return dict(sorted(found.items()))


@dataclass(frozen=True, eq=False)
class Judgement:
    """People's answers and scores of the same checkpoints.

    Args:
        people: the answers about them.
        answers: their scores, by their numbers in the study.
    """

    people: People
    answers: Mapping[int, Mapping[str, Any]]

    @cached_property
    def agreements(self) -> dict[str, Agreement]:
        """The agreement of each figure that is better one way, by its key, in the table's order."""
        found = {}
        for figure in SCORE_FIGURES:
            values = {
                number: value for number, answer in self.answers.items()
                if (value := answer.get(figure.score, {}).get(figure.key)) and np.isfinite(value["value"])
            }  # fmt: skip
            if figure.better and values:
                found[figure.key] = _agreement(figure, values, self.people)
        return found

    def sentences(self) -> Iterator[Message]:
        """Yield which epoch people prefer, and a sentence if there are too few to compare scores with them."""
        yield from preference(self.people, {number: answer["epoch"] for number, answer in self.answers.items()})
        if self.people.provisional:
            yield message("The study hasn't reached its planned participants, so this is provisional.")
        if len(self.answers) < LEAST:
            yield self.too_few

    @property
    def too_few(self) -> Message:
        """The sentence for fewer than `LEAST` epochs."""
        return message(
            "{n} epoch has both scores and people's answers, too few to say how far they agree: at least {least} are "
            "needed.",
            "{n} epochs have both scores and people's answers, too few to say how far they agree: at least {least} are "
            "needed.", len(self.answers), least=LEAST,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values: rates by epoch, and correlations by figure."""
        rows = [
            {"epoch": answer["epoch"], "commit_sha": answer["commit_sha"], "taken_for_real": self.people.rates[number]}
            for number, answer in self.answers.items()
        ]  # fmt: skip
        agreements = {
            key: {"tau": each.tau, "interval": each.interval, "count": each.count}
            for key, each in self.agreements.items()
        }
        return {"study": self.people.study, "simulated": self.people.simulated, "participants": self.people.count,
                "epochs": rows, "agreement": agreements}  # fmt: skip


def judgement(studies: Iterable[People], way: Direction, answers: Sequence[Mapping[str, Any]]) -> Judgement | None:
    """Return what the study says that judged most of these answers, of equal ones that with most participants.

    Answers from several studies aren't mixed, because their pictures and rules differ. None without a study.

    Args:
        studies: some; those of other checkpoints and of the other direction are left out.
        way: the direction.
        answers: scores of epochs, as in a file of scores.
    """
    fits = [(found, people) for people in studies if people.direction == way and (found := judged(people, answers))]
    if not fits:
        return None
    found, people = max(fits, key=lambda fit: (len(fit[0]), fit[1].of(fit[0]).count))
    return Judgement(people.of(found), found)


@dataclass(frozen=True)
class Agreement:
    """The rank correlation of a figure with people over checkpoints.

    Args:
        figure: the score's figure.
        count: checkpoints that have both.
        simulated: True if no people have judged them, but simulated participants.
        tau: Kendall's τ-b; None with fewer than `LEAST`, or where all are alike to one of the two.
        interval: 95%, over other participants and other pictures of the study, for these checkpoints and their scores
            as measured. None with fewer than two participants.
    """

    figure: ScoreFigure
    count: int
    simulated: bool
    tau: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def shown(self) -> str:
        """Return "0.80 [0.40, 1.00]"; a dash without a figure."""
        if self.tau is None:
            return "–"
        ends = "" if self.interval is None else " [{}, {}]".format(*(rounded(end, ".2f") for end in self.interval))
        return rounded(self.tau, ".2f") + ends

    def sentence(self) -> Message | None:
        """Return it in words, to follow the score's; None with too few checkpoints."""
        if self.count < LEAST:
            return None
        said = self._sentence()
        return message("In simulated votes: {sentence}", sentence=said) if self.simulated else said

    def _sentence(self) -> Message:
        about = {"tau": self.shown, "n": self.count}
        if self.tau is None:
            return message(
                "All epochs (n = {n}) are alike to this score or to people, so there is no correlation.", **about
            )
        low, high = self.interval or (-1.0, 1.0)
        if low > 0:
            return message("People agree with this score (Kendall's τ {tau}; epochs: {n}).", **about)
        if high < 0:
            return message(
                "People contradict this score: they are fooled less often by what it calls better (Kendall's τ {tau}; "
                "epochs: {n}).", **about,
            )  # fmt: skip
        return message("It is open whether people agree with this score (Kendall's τ {tau}; epochs: {n}).", **about)


def _agreement(figure: ScoreFigure, values: Mapping[int, Mapping[str, float]], people: People) -> Agreement:
    if len(values) < LEAST:
        return Agreement(figure, len(values), people.simulated)
    sign = -1.0 if figure.better == "lower" else 1.0
    score = sign * np.array([value["value"] for value in values.values()])
    tau = float(kendall(score, np.array([people.rates[number]["value"] for number in values])))
    if np.isnan(tau):
        return Agreement(figure, len(values), people.simulated)
    places = [list(people.rates).index(number) for number in values]
    drawn = kendall(score, people.draws[:, places])
    drawn = drawn[np.isfinite(drawn)]
    interval = None
    if people.count > 1 and len(drawn) > RESAMPLES / 2:
        # Resampling adds noise to a noisy order, so that a perfect one can be above all draws.
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        interval = float(min(low, tau)), float(max(high, tau))
    return Agreement(figure, len(values), people.simulated, tau, interval)


def kendall(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Kendall's τ-b along the last axis of (…, N); NaN where all of x or all of y are equal, or not finite.

    As scipy.stats.kendalltau, for many draws at once.
    """
    one, other = np.triu_indices(x.shape[-1], 1)
    dx, dy = (np.sign(each[..., one] - each[..., other]) for each in (x, y))
    pairs = np.sqrt((dx != 0).sum(-1) * (dy != 0).sum(-1), dtype=float)
    found = (dx * dy).sum(-1)
    return np.divide(found, pairs, out=np.full(found.shape, np.nan), where=pairs > 0)


# --- in words -----------------------------------------------------------------------------------------------


def percent(rate: Mapping[str, float]) -> str:
    """Return "26.8% [21.0%, 33.5%]"."""
    return f"{rate['value']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]"


def preference(people: People, epochs: Mapping[int, int]) -> Iterator[Message]:
    """Yield which epoch people took for real most often, and over which others they clearly prefer it.

    A preference is clear where the study's report calls it so.

    Args:
        people: answers about these epochs.
        epochs: the epochs by their numbers in the study.
    """
    if people.simulated:
        yield message("These votes are simulated: nobody has judged the pictures.")
        for sentence in preference(replace(people, simulated=False), epochs):
            yield message("In simulated votes: {sentence}", sentence=sentence)
        return
    best = max(people.rates, key=lambda number: people.rates[number]["value"])
    others = [number for number in people.rates if number != best]
    about = {"n": people.count, "study": people.study, "epoch": epochs[best], "rate": percent(people.rates[best])}
    if not others:
        yield message("People (n = {n}, study {study}) took {rate} of epoch {epoch} for real.", **about)
        return
    preferred = people.preferred()
    clear = [number for number in others if (best, number) in preferred]
    named = {True: ", ".join(str(epochs[number]) for number in others if number in clear),
             False: ", ".join(str(epochs[number]) for number in others if number not in clear)}  # fmt: skip
    if not clear:
        yield message(
            "People (n = {n}, study {study}) took epoch {epoch} for real most often ({rate}), but not clearly more "
            "often than {others}.", **about, others=named[False],
        )  # fmt: skip
        return
    yield message(
        "People (n = {n}, study {study}) prefer epoch {epoch} ({rate} taken for real) over {others}.",
        **about, others=named[True],
    )  # fmt: skip
    if named[False]:
        yield message("Between epoch {epoch} and {others}, their answers don't decide.", epoch=epochs[best],
                      others=named[False])  # fmt: skip


