"""Words about figures: which way is better, what they mean, and when they were measured."""

from __future__ import annotations

import html
from collections.abc import Iterable
from datetime import datetime, timezone

from cyclegan.errors import message
from cyclegan.evaluation.figures import Figure
from cyclegan.ui import words

BETTER = {"lower": ("↓", message("lower is better")), "higher": ("↑", message("higher is better"))}
MONTHS = (
    message("Jan"), message("Feb"), message("Mar"), message("Apr"), message("May"), message("Jun"), message("Jul"),
    message("Aug"), message("Sep"), message("Oct"), message("Nov"), message("Dec"),
)  # fmt: skip


def date(created: str, say: words.Speaker) -> str:
    """Return `21 Nov 2026, 07:56 UTC`; a string that isn't an ISO date, as it is."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created[:40]
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc)
    month, time = MONTHS[moment.month - 1], f"{moment:%H:%M}"
    return say("{day} {month} {year}, {time} UTC", day=moment.day, month=month, year=moment.year, time=time)


# --- the list -----------------------------------------------------------------------------------------------


def arrow_of(figure: Figure, say: words.Speaker, css: str = "") -> str:
    """Return the HTML of the arrow to a figure's better way, with a class; "" where neither is."""
    if figure.better is None:
        return ""
    arrow, better = BETTER[figure.better][0], html.escape(say.text_of(BETTER[figure.better][1]))
    kind = f' class="{css}"' if css else ""
    return f'<span{kind} title="{better}" role="img" aria-label="{better}">{arrow}</span>'


def legend(figures: Iterable[Figure], marks: bool, say: words.Speaker, since: int = 0) -> str:
    """Return the HTML of the figures' meanings.

    Args:
        figures: those that are shown.
        marks: whether dots mark the best values.
        say: the visitor's language.
        since: the epoch from which on the best values are, 0 for all.
    """
    def about(figure: Figure) -> str:
        said = [figure.meaning, *([BETTER[figure.better][1]] if figure.better else [])]
        meaning = html.escape("; ".join(map(say.text_of, said)))
        return f"<div><dt>{html.escape(say.text_of(figure.label))}</dt><dd>{meaning}</dd></div>"

    rows = "".join(map(about, figures))
    if not rows:
        return ""
    dot = say.html(
        "A dot marks the run's best value in a row whose arrow says which way is better. A better value doesn't "
        "guarantee better pictures: look at them."
    )
    if since:
        dot += " " + say.html(
            "Epochs before epoch {epoch} have no dot, because their figures are of other pictures.", epoch=since
        )
    return (
        f'<details class="legend"><summary>{say.html("What the figures mean")}</summary>'
        f"{f'<p>{dot}</p>' if marks else ''}<dl>{rows}</dl></details>"
    )
