"""THE table of figures: everything that is recorded about an epoch, one row each.

The trainer's line, the curves, the pages, the model card, `python -m hub list` and docs/training.md read it. Adding a
figure is one row here and one value in the losses or metrics of an epoch. Imports neither torch nor gradio.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cyclegan.config import Direction
from cyclegan.errors import Message, message, rounded

Group = Literal["losses", "metrics"]
Ending = Literal["direction", "source", "target"]


@dataclass(frozen=True)
class Figure:
    """One figure of an epoch, recorded once per direction or domain as `KEY_ab`, `KEY_a` and so on.

    A figure stands in the column of the direction whose generator it describes.
    """

    key: str
    """Its name in checkpoint.json and metrics.jsonl, without the ending."""
    group: Group
    """The epoch's record that holds it: the losses of the training, or the metrics of fixed pictures, the samples."""
    ending: Ending
    """The ending in a direction's column: the direction (`ab`), its source (`a`) or its target domain (`b`)."""
    label: Message
    """A few words, for a row or a column."""
    meaning: Message
    """Its meaning, with its range; no full stop."""
    title: Message
    """The heading of its panel of curves."""
    unit: Message | None = None
    better: Literal["lower", "higher"] | None = None
    """None if neither is better, as with adversarial losses or a figure whose best is in between."""
    format: str = ".3f"
    """A format specification for one value."""
    short: str | None = None
    """Its name in the trainer's one-line summary; None leaves it out there."""
    in_lists: bool = False
    """True if `python -m hub list` and the model card have a column for it."""
    in_curves: bool = False
    """True if it has a panel of curves."""

    def name(self, direction: Direction) -> str:
        """Return the recorded name in a direction's column: `cycle_a` for cycle and "ab"."""
        endings = {"direction": direction, "source": direction[0], "target": direction[1]}
        return f"{self.key}_{endings[self.ending]}"

    def value(self, record: Mapping[str, float], direction: Direction) -> float | None:
        """Return an epoch's value, None where there is no finite one.

        Args:
            record: the epoch's losses or metrics, by `group`.
        """
        value = record.get(self.name(direction))
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None

    def mean(self, record: Mapping[str, float]) -> float | None:
        """Return the mean over the directions that are recorded, None where none is."""
        values = [value for d in ("ab", "ba") if (value := self.value(record, d)) is not None]
        return sum(values) / len(values) if values else None

    def show(self, value: float) -> str:
        """Return the value as pages, cards and lists print it; the trainer's line has its own short format."""
        return rounded(value, self.format)


GREY_LEVELS = message("grey levels, 0 to 255")
UNITS = message("the pictures' own units")

FIGURES: tuple[Figure, ...] = (
    Figure(
        "cycle", "losses", "source", message("cycle"),
        message("how far pictures brought back are from their originals, between −1 and 1 (0 to 2)"),
        message("Cycle (L1)"), short="cycle", in_lists=True, in_curves=True,
    ),
    Figure(
        "gan", "losses", "direction", message("adversarial"),
        message("the discriminator's verdict on the generator's results; the two pull against each other"),
        message("Adversarial, generators"), short="gan", in_curves=True,
    ),
    Figure(
        "identity", "losses", "target", message("identity"),
        message("how much the generator changes pictures that are already of its target (0 to 2)"),
        message("Identity (L1)"), short="idt", in_curves=True,
    ),
    Figure(
        "l1", "losses", "direction", message("distance to the truth"),
        message("how far translations of training pictures are from the true pictures, between −1 and 1 (0 to 2)"),
        message("Distance to the truth (L1)"), short="l1", in_curves=True,
    ),
    Figure(
        "content", "losses", "direction", message("content"),
        message("how far translations are from their inputs, by pixels (0 to 2) or by a network's features"),
        message("Content"), short="content", in_curves=True,
    ),
    Figure(
        "nce", "losses", "direction", message("patch match (NCE)"),
        message(
            "how hard it is to find a result's patch among 256 patches of its input (0: always found, 5.5: by chance)"
        ),
        message("Patch match, generators (NCE)"), short="nce", in_curves=True,
    ),
    Figure(
        "nce_identity", "losses", "target", message("identity patch match (NCE)"),
        message(
            "how hard it is to find a result's patch among its input's patches, where that is already of the target"
        ),
        message("Identity patch match (NCE)"), in_curves=True,
    ),
    Figure(
        "semantic", "losses", "direction", message("semantic"),
        message(
            "how differently a frozen segmenter reads translations and their inputs (cross entropy; 0: every pixel "
            "alike)"
        ),
        message("Semantic (cross entropy)"), short="sem", in_curves=True,
    ),
    Figure(
        "temporal", "losses", "direction", message("temporal"),
        message(
            "how far translations of neighbouring frames are from each other where the frames are alike, between −1 "
            "and 1 (0 to 2)"
        ),
        message("Temporal (L1)"), short="temp", in_curves=True,
    ),
    Figure(
        "disc", "losses", "target", message("discriminator"),
        message("the loss of the discriminator that judges this direction's results"),
        message("Discriminators"), short="disc", in_curves=True,
    ),
    Figure(
        "reconstruction_l1", "metrics", "direction", message("reconstruction L1 (of 255)"),
        message("how far samples brought back are from their originals, in grey levels"),
        message("Samples: brought back (L1)"), unit=GREY_LEVELS, better="lower", format=".1f", in_lists=True,
        in_curves=True,
    ),
    Figure(
        "reconstruction_units", "metrics", "direction", message("reconstruction (units)"),
        message("how far samples brought back are from their originals, in the pictures' own units"),
        message("Samples: brought back (units)"), unit=UNITS, better="lower", format=".4g", in_lists=True,
    ),
    Figure(
        "inversion_l1", "metrics", "direction", message("inversion L1 (of 255)"),
        message(
            "how far samples are from the nearest ones that were found among those that their own domain's "
            "generator can draw, in grey levels; only where translation is an inversion"
        ),
        message("Samples: inversion (L1)"), unit=GREY_LEVELS, better="lower", format=".1f", in_lists=True,
        in_curves=True,
    ),
    Figure(
        "truth_l1", "metrics", "direction", message("truth L1 (of 255)"),
        message("how far translations are from the true pictures, where those are known, in grey levels"),
        message("Samples: against the truth (L1)"), unit=GREY_LEVELS, better="lower", format=".1f", in_lists=True,
        in_curves=True,
    ),
    Figure(
        "truth_units", "metrics", "direction", message("truth (units)"),
        message("how far translations are from the true pictures, where those are known, in the pictures' own units"),
        message("Samples: against the truth (units)"), unit=UNITS, better="lower", format=".4g", in_lists=True,
    ),
    Figure(
        "change_l1", "metrics", "direction", message("change L1 (of 255)"),
        message("how far translations are from their inputs, in grey levels; near 0, nothing is translated"),
        message("Samples: change (L1)"), unit=GREY_LEVELS, format=".1f", in_lists=True,
    ),
    Figure(
        "diversity", "metrics", "direction", message("diversity"),
        message(
            "how much translations of the samples differ from each other, divided by how much their inputs do; near 0, "
            "all look alike. In scores over whole test sets: spread / inputs"
        ),
        message("Samples: diversity"), format=".2f", in_lists=True,
    ),
    Figure(
        "disc_accuracy", "metrics", "target", message("discriminator is right"),
        message("share of patches, real and translated, that the discriminator of the target judges correctly"),
        message("Samples: discriminator is right"), format=".0%",
    ),
)  # fmt: skip
"""In the order in which they are shown."""


def fit_axes(axes: Any) -> None:
    """Give a panel of curves a y axis that holds zero and an x axis of whole epochs, however few points there are.

    Args:
        axes: matplotlib's, with the curves over the epoch.
    """
    from matplotlib.ticker import MaxNLocator

    (first, last), (low, high), (bottom, top) = axes.dataLim.intervalx, axes.dataLim.intervaly, axes.get_ylim()
    # Around a single value, matplotlib would show a thousandth of it as the whole height.
    axes.set_ylim(bottom if low < 0 else 0, top if high > 0 else 0 if low < 0 else 1)
    if first == last:
        axes.set(xlim=(first - 0.5, last + 0.5), ylim=[1.25 * end for end in axes.get_ylim()])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=(1, 2, 5, 10), min_n_ticks=1))


def figure_of(name: str) -> tuple[Figure | None, str]:
    """Return the row and the ending of a recorded name: `cycle_a` → (cycle, "a"); (None, "") for a strange one."""
    key, _, ending = name.rpartition("_")
    found = next((figure for figure in FIGURES if figure.key == key), None)
    return (found, ending) if found and ending in ("ab", "ba", "a", "b") else (None, "")
