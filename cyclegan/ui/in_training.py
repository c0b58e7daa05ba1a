"""The epoch that is being trained: its losses so far, and its newest samples."""

from __future__ import annotations

import base64
import functools
import html
import io
from pathlib import Path

from cyclegan.checkpoints.progress import Progress
from cyclegan.checkpoints.sources import CheckpointSource, LocalSource
from cyclegan.errors import UserError, message
from cyclegan.evaluation.figures import FIGURES, figure_of
from cyclegan.images import open_image
from cyclegan.ui import words
from cyclegan.ui.curves import step_curves
from cyclegan.ui.legend import legend

SHOWN = 1000, 1600
"""Most pixels of the samples in width and height."""


def in_training(source: CheckpointSource, say: words.Speaker, *, samples: bool = True) -> str:
    """Return the HTML of the epoch that a run's folder is being trained in; "" if it has none.

    Args:
        source: the run.
        say: the visitor's language.
        samples: whether the visitor may see its samples.
    """
    progress = source.progress()
    if progress is None or not isinstance(source, LocalSource) or not progress.epoch or progress.state == "done":
        return ""
    rows = [row for row in source.steps() if row["event"] == "step" and row["epoch"] == progress.epoch]
    drawn = step_curves(rows, progress.domains, say) or _losses(progress, say)
    shown_samples = _samples(source, progress, say) if samples else ""
    if not drawn and not shown_samples:
        return ""
    # Once an epoch is saved, the page has the meanings below it.
    names = [] if source.list() else [*progress.losses, *(name for row in rows for name in row["losses"])]
    shown = [figure_of(name)[0] for name in dict.fromkeys(names)]
    meanings = legend((figure for figure in FIGURES if figure in shown), False, say)
    return f"<h2>{say.html('Epoch {epoch} so far', epoch=progress.epoch)}</h2>{shown_samples}{drawn}{meanings}"


def _losses(progress: Progress, say: words.Speaker) -> str:
    """Return the last losses, before there are enough for a curve."""
    rows = []
    for name, value in progress.losses.items():
        figure, end = figure_of(name)
        label = say.text_of(figure.label) if figure else name
        of = " → ".join(progress.domains.get(domain, domain) for domain in end)
        of = f" <span>{html.escape(of)}</span>" if of else ""
        rows.append(f"<div><dt>{html.escape(label)}{of}</dt><dd>{value:.3f}</dd></div>")
    return f'<dl class="losses">{"".join(rows)}</dl>' if rows else ""


def _samples(source: LocalSource, progress: Progress, say: words.Speaker) -> str:
    """Return the newest samples of the epoch, if this process has made some."""
    if not progress.has_samples:
        return ""
    shown = []
    for path in source.newest_samples():
        arrow = html.escape(" → ".join(progress.domains.get(domain, domain) for domain in path.stem))
        try:
            address = _address(path, path.stat().st_mtime_ns)
        except (UserError, OSError):  # It is replaced just now.
            continue
        shown.append(f'<figure><figcaption>{arrow}</figcaption><img alt="{arrow}" src="{address}"></figure>')
    if not shown:
        return ""
    said = say.html("The samples after step {step} of the run.", step=progress.samples_step)
    return f'<p>{said}</p><div class="samples">{"".join(shown)}</div>'


@functools.lru_cache(maxsize=8)
def _address(path: Path, changed_ns: int) -> str:
    """Return a grid as a data: address. Raises ImageError."""
    grid, content = open_image(path, name=message("the newest samples")), io.BytesIO()
    grid.thumbnail(SHOWN)
    grid.save(content, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
