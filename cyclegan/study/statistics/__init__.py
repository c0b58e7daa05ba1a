"""Estimates and intervals for studies: arrays and tables in, small results out.

    rates.py       rates and their intervals; the papers' figure
    planning.py    participants that a study needs
    epochs.py      trend and contrasts of epochs
    permutations.py  the test behind them
    always_valid.py  an interval for those who look before the end
    detection.py   d′ and criterion
    mixed.py       a logistic mixed model
    answers.py     agreement, response times, extreme stimuli
    pairs.py       preferences: Bradley-Terry strengths
    rankings.py    one person's rankings: strengths, and how easily chance has such a leader
    thresholds.py  thresholds of exposure, from staircases
    marks.py       marked defects of fakes
    opinions.py    ratings: mean opinion scores

A participant's answers resemble each other, so trials are never treated as independent: every interval here is over
participants, and the crossed one over participants and stimuli. The kinds of intervals were chosen by measuring how
often they cover the truth; see `benchmarks/study_coverage.py`.

Rates and intervals go from 0 to 1. Everything random is seeded, so the same votes give the same report.
"""

from cyclegan.study.statistics.always_valid import always_valid
from cyclegan.study.statistics.answers import TOLERANCE_MS, Extreme, Times, agreement, extremes, response_times
from cyclegan.study.statistics.detection import Detection, detection
from cyclegan.study.statistics.epochs import Contrast, Trend, contrasts, trend
from cyclegan.study.statistics.marks import HEAT_CELLS, TagRate, heat, marks_of, tag_rates
from cyclegan.study.statistics.mixed import MixedModel, mixed_model
from cyclegan.study.statistics.opinions import STEPS, Difference, Opinion, differences, opinion
from cyclegan.study.statistics.pairs import PRIOR, Duel, Preferences, Strength, preferences
from cyclegan.study.statistics.planning import (
    ASSURANCE,
    MIN_PARTICIPANTS,
    MOST,
    PLANNING_RATES,
    Resolution,
    assumed_pictures,
    cautious_rate,
    half_width,
    participants_for,
    participants_to_tell,
    pictures_for,
    pictures_to_tell,
    planning_rate,
    resolution,
    trials_per_epoch,
)
from cyclegan.study.statistics.rankings import Rankings, chance, rankings
from cyclegan.study.statistics.rates import (
    ASSUMED_CORRELATION,
    ASSUMED_STIMULUS_CORRELATION,
    LEVEL,
    PaperFigure,
    Rate,
    clustered_rate,
    correlation,
    crossed_interval,
    paper_figure,
    wilson_interval,
)
from cyclegan.study.statistics.thresholds import BOUND_SHARE, LEAST_P, Thresholds, mean_interval, thresholds

__all__ = [
    "BOUND_SHARE", "LEAST_P",
    "ASSUMED_CORRELATION", "ASSUMED_STIMULUS_CORRELATION", "ASSURANCE", "HEAT_CELLS", "LEVEL", "MIN_PARTICIPANTS",
    "MOST", "PLANNING_RATES", "PRIOR", "STEPS", "TOLERANCE_MS", "Contrast", "Detection", "Difference", "Duel",
    "Extreme", "MixedModel", "Opinion", "PaperFigure", "Preferences", "Rankings", "Rate", "Resolution", "Strength",
    "TagRate", "Thresholds", "Times", "Trend", "agreement", "always_valid", "assumed_pictures", "cautious_rate",
    "chance", "clustered_rate", "contrasts", "correlation", "crossed_interval", "detection", "differences",
    "extremes", "half_width", "heat", "marks_of", "mean_interval", "mixed_model", "opinion", "paper_figure",
    "participants_for", "participants_to_tell", "pictures_for", "pictures_to_tell", "planning_rate", "preferences",
    "rankings", "resolution", "response_times", "tag_rates", "thresholds", "trend", "trials_per_epoch",
    "wilson_interval",
]  # fmt: skip
