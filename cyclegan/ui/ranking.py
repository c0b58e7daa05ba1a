"""The visitor's own ranking of hidden epochs, as the compare page shows it; nothing of it is kept."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from cyclegan.errors import CheckpointError, rounded
from cyclegan.ui import words
from cyclegan.ui.comparison import MOST_OWN
from cyclegan.ui.runs import MAX_EXAMPLES

SEED = 0
CHANCE_LEVELS = (0.01, 0.05)
"""Below these, a leader is hardly, and probably not, due to chance."""


def checked_ranks(ranks: Any, count: int) -> list[list[float]]:
    """Return rankings that a browser has sent, each of `count` entries; raise CheckpointError for anything else.

    More entries or pictures than a page can show would fill the memory.
    """
    valid = isinstance(ranks, list) and len(ranks) <= MAX_EXAMPLES and all(
        isinstance(each, list) and len(each) == count and all(rank in range(1, count + 1) for rank in each)
        for each in ranks
    )  # fmt: skip
    if not valid or not 2 <= count <= MOST_OWN:
        raise CheckpointError("This ranking isn't of the epochs that are shown: rank them again")
    return ranks


def verdict(labels: Sequence[str], ranks: Sequence[Sequence[float]], say: words.Speaker) -> str:
    """Return the HTML of the strengths by the visitor's rankings, and of a sentence on how sure they are.

    Args:
        labels: the entries' names.
        ranks: (pictures, entries), as `rankings` takes them; "" is returned if there are none.
        say: the visitor's language.
    """
    if not ranks:
        return ""
    from cyclegan.study.statistics.rankings import rankings

    found = rankings(ranks, SEED)
    strengths = found.preferences.strengths
    order = sorted(range(len(labels)), key=lambda n: -strengths[n].strength)
    best = [n for n in order if found.won[n] > max(found.won) - 1e-9]
    if len(best) > 1:
        names = ", ".join(labels[n] for n in best)
        lead = say("Level at the top, by your ranking: {names}.", names=names)
    else:
        lead = say("By your ranking, {name} is ahead: it won {share:.0f}% of its comparisons.",
                   name=labels[best[0]], share=100 * found.won[best[0]])  # fmt: skip
    title = say.html("Your ranking of {n} picture", "Your ranking of {n} pictures", len(ranks))
    notes = [
        say("Strengths are Bradley and Terry's: an epoch that is ahead by 1 is preferred in 73% of comparisons. The "
            "lines are 95% intervals over the pictures."),
        *([say("Some epochs never lost to others, so the distance between these has no upper bound.")]
          if found.preferences.separated else []),
        say("It is your own judgement of these pictures, not a study, and nothing of it is recorded."),
    ]  # fmt: skip
    return (
        f'<section class="verdict"><h2>{title}</h2><p>{html.escape(lead)} {html.escape(_sureness(found.chance, say))}'
        f"</p>{_table(labels, order, found, say)}<p class=notes>{html.escape(' '.join(notes))}</p></section>"
    )


def _sureness(chance: float, say: words.Speaker) -> str:
    percent = 100 * chance
    if chance < CHANCE_LEVELS[0]:
        return say("That is hardly luck: random rankings put an epoch so far ahead in fewer than 1% of cases.")
    if chance < CHANCE_LEVELS[1]:
        return say("That is probably not luck: random rankings put an epoch so far ahead in {percent:.0f}% of cases.",
                   percent=percent)  # fmt: skip
    return say("That may well be luck: random rankings put an epoch so far ahead in {percent:.0f}% of cases. Rank more "
               "pictures to be surer.", percent=percent)  # fmt: skip


def _table(labels: Sequence[str], order: Sequence[int], found: Any, say: words.Speaker) -> str:
    strengths = found.preferences.strengths
    # All pictures may have the same ranking, and then resampling them shows no spread.
    ends = {n: i for n in order if (i := strengths[n].interval) and i[1] - i[0] > 1e-6}
    values = [each.strength for each in strengths] + [end for interval in ends.values() for end in interval]
    low, width = min(values), max(max(values) - min(values), 1e-9)

    def place(value: float) -> str:
        return f"{100 * (value - low) / width:.1f}%"

    rows = []
    for n in order:
        line, interval = "", "–"
        if n in ends:
            first, last = ends[n]
            line = f'<i class="span" style="left:{place(first)};right:calc(100% - {place(last)})"></i>'
            interval = f"{rounded(first, '+.1f')} – {rounded(last, '+.1f')}"
        rows.append(
            f'<tr><th scope="row">{html.escape(labels[n])}</th><td>{rounded(strengths[n].strength, "+.2f")}</td>'
            f'<td>{interval}</td><td>{100 * found.won[n]:.0f}%</td><td class="plot" aria-hidden="true"><div>{line}'
            f'<i class="dot" style="left:{place(strengths[n].strength)}"></i></div></td></tr>'
        )
    heads = [say("Epoch"), say("Strength"), say("95% interval"), say("Won")]
    head = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in heads)
    whole = f"<thead><tr>{head}<td></td></tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="table"><table>{whole}</table></div>'
