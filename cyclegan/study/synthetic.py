"""The answers of synthetic participants: what they take for real, prefer, mark and rate, and their browsers' times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from cyclegan.study import rules
from cyclegan.study.format import Stimulus, Study
from cyclegan.study.protocol import RATINGS, TAGS
from cyclegan.study.staircase import next_exposure

MEMORY = 0.5
"""Chance that a repeated pair is recognised; otherwise it is judged again."""
TIE = 0.1
"""Chance of a tie in picking."""
STRENGTHS = 1.5
"""In picking, the last epoch's strength minus the first's, on the logit scale."""
TAGS_PER_PICTURE = (1.5, 0.3)
"""Expected marks on a fake of the first and of the last epoch."""
RESPONSE_MS, RESPONSE_SD = 900.0, 0.45
"""Median and standard deviation of the logarithm: response times are skewed."""
FRAME_MS = 1000 / 60
SCORES = (2.2, 3.4, 4.3)
"""Mean ratings of the first epoch's fakes, of the last one's, and of real pictures."""
PERSON_SD, RATING_SD = 0.4, 0.7
"""Standard deviations of a participant's own scale, and of a rating, before rounding."""
SIDE_BIAS = 0.3
"""Chance that a participant with a side bias answers with their side without looking."""
BOT_MS = 50.0
"""A bot's time for a trial, by the server's clock, whatever its browser claims."""


class Answers:
    """A participant's answers; they follow from the seed and what is shown.

    Attributes:
        crowd: the settings that all share, and their counts.
        study: the study.
        behaviour, side: how they behave, one of BEHAVIOURS or empty, and the side of those who prefer one.
        quantile: where they are among all participants, 0 to 1.
        screen: width, height and device pixel ratio.
        state: the session's state, as the server sent it.
        remembered: the picture that they took for real, by pair.
        right: their answers in the test so far, for the staircase.
        exposure_ms: of the current trial, as the staircase plans it.
    """

    crowd: Any
    study: Study
    behaviour: str
    side: int
    quantile: float
    screen: tuple[int, int, int]
    state: dict[str, Any]
    remembered: dict[frozenset[str], str]
    right: list[bool]
    exposure_ms: float

    def rate(self, stimulus: Stimulus) -> float:
        """Return the chance that they take this picture for the other kind."""
        crowd = self.crowd
        mean = crowd.rates.get(stimulus.epoch, sum(crowd.rates.values()) / len(crowd.rates))
        if crowd.icc == 0 or mean in (0, 1):
            rate = mean
        elif crowd.icc == 1:
            rate = float(self.quantile < mean)
        else:
            spread = (1 - crowd.icc) / crowd.icc
            rate = float(special.betaincinv(mean * spread, (1 - mean) * spread, self.quantile))
        if self.study.protocol.staircase_right and 0 < rate < 0.5:  # A guess at once, and sure after a long look.
            rate = 0.5 * (2 * rate) ** (self.exposure_ms / self.study.protocol.exposure_ms)
        if crowd.stimulus_sd == 0 or rate in (0, 1):
            return rate
        z = crowd.random("stimulus", stimulus.sha256).standard_normal()
        # Stretched, because the mean of a logistic function over a normal spread is nearer to a half.
        centre = special.logit(rate) * math.sqrt(1 + math.pi * crowd.stimulus_sd**2 / 8)
        return float(special.expit(centre + crowd.stimulus_sd * z))

    def answer(self, shown: Mapping[str, Stimulus], random: np.random.Generator) -> dict[str, Any]:
        """Return the answer to this trial."""
        self.exposure_ms = self.study.protocol.exposure_ms
        if self.study.protocol.staircase_right and self.state["phase"] == "test":
            self.exposure_ms = next_exposure(self.study.protocol, self.right)
        given = self.judged(shown, random)
        kinds = {side: stimulus.kind for side, stimulus in shown.items()}
        if self.study.protocol.staircase_right and self.state["phase"] == "test":
            self.right.append(self.is_right(given, kinds))
        return given

    def is_right(self, given: Mapping[str, Any], kinds: Mapping[str, str]) -> bool:
        """Return whether an answer is right, as the server judges it."""
        if "verdict" in given:
            return given["verdict"] == kinds["left"]
        return (kinds[given["chosen_side"]] == "real") == (self.study.protocol.question == "real")

    def judged(self, shown: Mapping[str, Stimulus], random: np.random.Generator) -> dict[str, Any]:
        """Return what they answer."""
        task = self.study.protocol.task
        if task == "tag":
            return {"marks": self.marks(shown["left"], random)}
        if task == "rate":
            return {"rating": self.rating(shown["left"], random)}
        if (side := self.blind_side(random)) is not None:
            return {"chosen_side": side} if "right" in shown else {"verdict": "real" if side == "left" else "fake"}
        if task == "pick":
            return {"chosen_side": self.preferred(shown, random)}
        if "right" not in shown:
            return {"verdict": self.verdict(shown["left"], random)}
        real = self.taken_for_real(shown, random)
        other = "left" if real == "right" else "right"
        return {"chosen_side": real if self.study.protocol.question == "real" else other}

    def blind_side(self, random: np.random.Generator) -> str | None:
        """Return the side that they choose without looking; None if they look."""
        if self.behaviour == "bots":
            return ("left", "right")[random.integers(2)]
        if self.behaviour == "spammers" or self.behaviour == "side_bias" and random.random() < SIDE_BIAS:
            return ("left", "right")[self.side]
        return None

    def taken_for_real(self, shown: Mapping[str, Stimulus], random: np.random.Generator) -> str:
        """Return the side of the picture that they take for real."""
        kinds = {stimulus.kind: side for side, stimulus in shown.items()}
        pair, draws = frozenset(s.sha256 for s in shown.values()), random.random(2)
        if "broken" in kinds:
            return kinds["real"]
        before = self.remembered.get(pair)
        if before is not None and draws[1] < MEMORY:
            return next(side for side, stimulus in shown.items() if stimulus.sha256 == before)
        if "fake" in kinds:
            fooled = draws[0] < self.rate(shown[kinds["fake"]])
            side = kinds["fake" if fooled else "real"]
            if before is None:
                self.count(shown[kinds["fake"]], fooled)
        else:
            side = "left" if draws[0] < 0.5 else "right"
        self.remembered[pair] = shown[side].sha256
        return side

    def verdict(self, stimulus: Stimulus, random: np.random.Generator) -> str:
        """Return the verdict on one picture; real ones are mistaken as often as fakes."""
        mistaken = stimulus.kind != "broken" and random.random() < self.rate(stimulus)
        if stimulus.kind == "fake":
            self.count(stimulus, mistaken)
        return "real" if (stimulus.kind == "real") != mistaken else "fake"

    @property
    def looks(self) -> bool:
        """True in the test of participants who look at every picture: their answers are what a report should give."""
        return bool(self.state["phase"] == "test" and self.behaviour in ("", "drop_outs"))

    def count(self, stimulus: Stimulus, fooled: bool) -> None:
        """Count for the rate that a report should give."""
        if self.looks:
            self.crowd.comparisons += 1
            self.crowd.fooled += bool(fooled)
            self.note(stimulus, bool(fooled))

    def note(self, stimulus: Stimulus, value: float) -> None:
        """Keep an answer to a fake for the mean of its epoch."""
        if self.looks and stimulus.kind == "fake" and stimulus.epoch is not None:
            total, count = self.crowd.given.get(stimulus.epoch, (0.0, 0))
            self.crowd.given[stimulus.epoch] = total + value, count + 1

    def preferred(self, shown: Mapping[str, Stimulus], random: np.random.Generator) -> str:
        """Return left, right or tie, by the epochs' strengths (Bradley and Terry 1952)."""
        draws = random.random(2)
        broken = next((side for side, stimulus in shown.items() if stimulus.kind == "broken"), None)
        if broken is not None:
            return "left" if broken == "right" else "right"
        left, right = (STRENGTHS * self.crowd.rank[shown[side].epoch] for side in ("left", "right"))
        chosen = "left" if draws[1] < special.expit(left - right) else "right"
        chosen = "tie" if draws[0] < TIE else chosen
        for side, stimulus in shown.items():
            self.note(stimulus, 0.5 if chosen == "tie" else float(side == chosen))
        return chosen

    def marks(self, stimulus: Stimulus, random: np.random.Generator) -> list[dict[str, Any]]:
        """Return marks of faults, some with a box."""
        first, last = TAGS_PER_PICTURE
        count = min(len(TAGS), int(random.poisson(first + (last - first) * self.crowd.rank[stimulus.epoch])))
        found = []
        for tag in random.choice(len(TAGS), size=count, replace=False):
            x, y, width, height = (random.random(4) * (0.6, 0.6, 0.3, 0.3) + (0, 0, 0.05, 0.05)).round(3).tolist()
            found.append({"tag": TAGS[tag], "box": [x, y, width, height] if random.random() < 0.7 else None})
        self.note(stimulus, len(found))
        return found

    def rating(self, stimulus: Stimulus, random: np.random.Generator) -> int:
        """Return a rating from 1 to 5: real pictures are rated highest, and later epochs, or higher rates, higher."""
        if self.behaviour == "bots":
            return int(random.integers(1, len(RATINGS) + 1))
        if self.behaviour == "spammers":
            return len(RATINGS) if self.side else 1
        if stimulus.kind == "broken":
            return 1
        first, last, real = SCORES
        if stimulus.kind == "real":
            mean = real
        elif self.crowd.rates:  # From the worst rating to that of real pictures, which guessing can't distinguish.
            mean = 1 + (real - 1) * min(1, 2 * self.crowd.rates[stimulus.epoch])
        else:
            mean = first + (last - first) * self.crowd.rank[stimulus.epoch]
        own = self.crowd.random("stimulus", stimulus.sha256).standard_normal() * self.crowd.stimulus_sd
        drawn = mean + PERSON_SD * special.ndtri(self.quantile) + own + RATING_SD * random.standard_normal()
        rating = int(np.clip(round(drawn), 1, len(RATINGS)))
        self.note(stimulus, rating)
        return rating

    def measured(self, shown: Mapping[str, Stimulus], random: np.random.Generator) -> dict[str, Any]:
        """Return their browser's measurements: frames of 60 Hz; one picture in a hundred is shown too long.

        Args:
            shown: the pictures by side; none where they were shown before the simulation was stopped.
            random: the trial's generator.
        """
        planned, exposures = self.exposure_ms, {}
        for side in shown:
            extra = 7 * FRAME_MS if random.random() < 0.01 else FRAME_MS * random.integers(-1, 2) * 0.5
            exposures[f"exposure_{side}_ms"] = round(planned + extra, 1) if planned else None
        clocks = {name.replace("_ms", "_clock_ms"): value for name, value in exposures.items()}
        response = RESPONSE_MS * math.exp(RESPONSE_SD * random.standard_normal())
        on_server = float(rules.shortest_ms(self.study.protocol, planned)) + response
        return {
            "exposure_left_ms": None, "exposure_right_ms": None, **exposures, **clocks, **self.sizes(),
            "frames": round((planned or response) / FRAME_MS),
            "longest_frame_ms": round(max([FRAME_MS, *(abs(e - planned) for e in exposures.values() if e)]), 1),
            "focus_lost": bool(random.random() < 0.005), "response_ms": round(response, 1),
            "server_ms": BOT_MS if self.behaviour == "bots" else round(on_server, 1),
        }  # fmt: skip


    def sizes(self) -> dict[str, Any]:
        """Return the sizes on their screen: a pair stands one above the other on a phone."""
        width, height, dpr = self.screen
        pair, (planned, _) = self.study.protocol.presentation != "single", self.study.size
        wide, high = (width, height - 240) if not pair else (width, height / 2 - 120) if height > width else (
            width / 2, height - 240)
        css = min(wide - 20, high, max(320, 2 * planned))
        if scale := self.study.protocol.device_scale:
            css = planned * scale / dpr
        return {"picture_css_px": round(css, 1), "picture_device_px": round(css * dpr, 1), "window_width": width,
                "window_height": height, "stacked": height > width if pair else None}
