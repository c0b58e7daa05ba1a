"""The epochs of a run, for the checkpoints page: their samples, and the HTML of their cards and figures."""

from __future__ import annotations

import base64
import functools
import html
import io
import logging
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from PIL import Image

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.config import DIRECTIONS
from cyclegan.errors import ImageError, UserError, message, rounded
from cyclegan.evaluation.figures import FIGURES, Figure, figure_of
from cyclegan.images import open_image, probe_image
from cyclegan.ui import inputs, runs, withheld, words
from cyclegan.ui.feedback import notices, raise_for_page
from cyclegan.ui.legend import arrow_of, date, legend
from cyclegan.ui.live import is_starting
from cyclegan.ui.results import file_name, served
from cyclegan.ui.workbench import Workbench

if TYPE_CHECKING:
    from cyclegan.ui.epoch_order import EpochOrder

THUMBNAIL = 320, 960
"""Most pixels in width and height."""
MAX_THUMBNAILS = 512
"""So many are kept, of about 20 kB each."""
MAX_OTHERS = 12
"""So many figures that the table doesn't know are shown."""
_OTHER = ".4g"
"""Their format."""
MIN_COMPARED, MAX_COMPARED = 2, 6

log = logging.getLogger(__name__)


# --- pictures -----------------------------------------------------------------------------------------------


def samples(bench: Workbench, run: str | None, epoch: str | None, request: Any) -> Iterator[list[Any]]:
    """Yield the note and the gallery of an epoch's grids; both are cleared before an error is raised."""
    say = words.speaker(request)
    try:
        if is_starting(bench.run(run)):
            yield ["", []]
            return
        info = bench.info(run, None if epoch is None else runs.epoch_number(epoch))
        if studies := withheld.from_visitor(bench, info, request):
            yield [withheld.sentence(studies, say), []]
            return
        grids = []
        for path in bench.run(run).samples(info.epoch):
            grid, name = _grid(path, info.tag), f"{file_name(info.tag)}_{path.stem}.png"
            file = served(name, lambda to, grid=grid: grid.save(to, compress_level=1))
            grids.append((file, runs.arrow(info, path.stem)))
        if grids:
            note = say("Samples of epoch {epoch}. Select one to see it larger.", epoch=info.epoch)
            if sentence := runs.of_training_pictures(info, say):
                note = f"{note} {sentence}"
            if studies := withheld.studies_with(bench, info):
                note = f"{note} {withheld.sentence(studies, say, owner=True)}"
        else:
            note = say("Epoch {epoch} has no samples.", epoch=info.epoch)
        yield [note, grids]
    except Exception as error:
        yield [say("Couldn't load the samples."), []]
        raise_for_page(error, say)


def _grid(path: Path, tag: str) -> Image.Image:
    """Return a grid of an epoch's samples, from any source, without its metadata. Raises ImageError."""
    name = message("{file} of {tag}", file=path.name, tag=tag)
    width, height = probe_image(path, name=name)
    if width * height > inputs.MAX_SHOWN_PIXELS:
        raise ImageError(
            "{name} has {width}×{height} pixels, too many for a page", name=name, width=width, height=height
        )
    return open_image(path, name=name)


_thumbnailing = threading.BoundedSemaphore(8)
"""At most so many threads of the server wait for the Hub's pictures."""


def thumbnails(bench: Workbench, wanted: Any, request: Any) -> dict[str, str] | None:
    """Return an epoch's grids by direction, small, as data: addresses; None if they can't be loaded.

    Args:
        bench: knows the runs.
        wanted: {"run", "epoch"} from the browser, so it may be anything.
        request: the visitor's; none are shown to those who may take part in a study of these pictures.
    """
    try:
        info = bench.info(str(wanted["run"]), runs.epoch_number(wanted["epoch"]))
        if withheld.from_visitor(bench, info, request):
            return {}
        if not _thumbnailing.acquire(timeout=60):
            return None
        try:
            paths = bench.run(str(wanted["run"])).samples(info.epoch)
            return {path.stem: _thumbnail(path, path.stat().st_mtime_ns, info.tag) for path in paths}
        finally:
            _thumbnailing.release()
    except (UserError, OSError, LookupError, TypeError) as error:
        log.warning("no thumbnails: %s", error)
        return None


@functools.lru_cache(maxsize=MAX_THUMBNAILS)
def _thumbnail(path: Path, changed_ns: int, tag: str) -> str:
    grid, content = _grid(path, tag), io.BytesIO()
    grid.thumbnail(THUMBNAIL)
    grid.save(content, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


# --- the run and the chosen epoch ---------------------------------------------------------------------------


def sentence(source: CheckpointSource, infos: Sequence[CheckpointInfo], say: words.Speaker) -> str:
    """Return the run's name, its number of epochs, and its domains."""
    if not infos:
        return say("{run} has no epoch yet.", run=source.name)
    both = " ⇄ " if len(infos[0].directions) > 1 else " → "
    names = both.join(runs.domains(infos[0])[domain] for domain in infos[0].directions[0])
    return say(
        "{name}: one epoch, {domains}.", "{name}: {n} epochs, {domains}.", len(infos), name=source.name, domains=names
    )


def about(source: CheckpointSource, infos: Sequence[CheckpointInfo], say: words.Speaker) -> str:
    """Return the HTML about a run: a sentence, its settings, its address, and what couldn't be shown of it.

    It is empty for a run without an epoch.
    """
    if not infos:
        return ""
    config = infos[0].config
    rows = [
        (say.html("Method"), html.escape(config.method)),
        (say.html("Generator"), html.escape(f"{config.model.generator}, ngf {config.model.ngf}")),
        (say.html("Trained at"), say.html("{size} pixels", size=config.data.crop_size)),
    ]
    if source.url is not None:
        address = html.escape(source.url)
        rows.append((say.html("Address"), f'<a href="{address}" rel="noopener" target="_blank">{address}</a>'))
    facts = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    text = html.escape(sentence(source, infos, say))
    return f"<p>{text}</p><dl>{facts}</dl>{notices(source.problems, say)}"


def heading(info: CheckpointInfo, say: words.Speaker) -> str:
    """Return the HTML of the chosen epoch's heading."""
    return f"<h2>{say.html('Epoch {epoch}', epoch=info.epoch)} <span>{_when(info, say)}</span></h2>"


def _when(info: CheckpointInfo, say: words.Speaker) -> str:
    """Return the HTML of an epoch's date and step."""
    iso = html.escape(info.created[:40])
    shown = f'<time datetime="{iso}" title="{iso}">{html.escape(date(info.created, say))}</time>' if iso else ""
    return " · ".join(filter(None, [shown, say.html("{n:,} step", "{n:,} steps", info.global_step)]))


def cards(
    run: str, infos: Sequence[CheckpointInfo], count: int, chosen: CheckpointInfo, say: words.Speaker,
    ordered: EpochOrder,
) -> str:  # fmt: skip
    """Return the HTML of the list of epochs, the first `count` of them in the order of `ordered`."""
    best = _best(infos) if len(infos) > 1 else {}
    shown = "".join(
        _card(run, info, info is infos[0], info is chosen, best, say, ordered) for info in ordered.infos[:count]
    )
    hint = say.html("Tick {least} to {most} epochs to compare them.", least=MIN_COMPARED, most=MAX_COMPARED)
    hint = hint if len(infos) >= MIN_COMPARED else ""
    had = [figure for figure in FIGURES if any(_value(figure, i, way) is not None for i in infos for way in DIRECTIONS)]
    return (
        f'<div class="list-head"><h2>{say.html("All epochs")}</h2><p class="tick-hint">{hint}</p>'
        f'<a class="go" hidden>{say.html("Compare the ticked epochs")}</a></div>{ordered.references(run, say)}'
        f'<div class="epochs" data-run="{html.escape(run)}" data-least="{MIN_COMPARED}" data-most="{MAX_COMPARED}">'
        f"{shown}</div>"
        f"{legend([*had, *ordered.figures()], bool(best), say, max(runs.measured_anew(infos), default=0))}"
    )


def _value(figure: Figure, info: CheckpointInfo, direction: str) -> float | None:
    return figure.value(info.losses if figure.group == "losses" else info.metrics, direction)


def _best(infos: Sequence[CheckpointInfo]) -> dict[tuple[str, str], float]:
    """Return the best value of each row and column in which one value is better than another.

    Only epochs that are measured on the newest one's pictures are compared.
    """
    since, best = max(runs.measured_anew(infos), default=0), {}
    infos = [info for info in infos if info.epoch >= since]
    for figure in FIGURES:
        for direction in DIRECTIONS if figure.better else ():
            values = [value for info in infos if (value := _value(figure, info, direction)) is not None]
            if len(set(values)) > 1:  # Nothing is the best of one, nor of equals.
                best[figure.key, direction] = min(values) if figure.better == "lower" else max(values)
    return best


def _card(
    run: str, info: CheckpointInfo, is_newest: bool, is_chosen: bool, best: Mapping[tuple[str, str], float],
    say: words.Speaker, ordered: EpochOrder,
) -> str:
    images = "".join(
        f'<img data-direction="{direction}" alt="{html.escape(runs.arrow(info, direction))}" hidden>'
        for direction in DIRECTIONS
    )
    badge = f' <span class="badge">{say.html("newest")}</span>' if is_newest else ""
    there = html.escape(f"./?run={quote(run, safe='')}&epoch={info.tag}")
    epoch = info.epoch
    show, translate = say.html("Show epoch {epoch}", epoch=epoch), say.html("Translate with epoch {epoch}", epoch=epoch)
    return (
        f'<article class="epoch-card{" is-chosen" if is_chosen else ""}" data-epoch="{info.tag}"'
        f' data-sha="{html.escape(info.commit_sha)}">'
        f'<button type="button" class="show thumbs" aria-label="{show}">{images}'
        f'<span class="none">{say.html("no samples")}</span>'
        f'<span class="failed">{say.html("unavailable")}</span></button>'
        f'<div class="what"><h3>{say.html("Epoch {epoch}", epoch=epoch)}{badge}</h3><p>{_when(info, say)}</p>'
        f'<p class="links"><button type="button" class="show" aria-label="{show}">{say.html("Show")}</button>'
        f'<a href="{there}" aria-label="{translate}">{say.html("Translate with this")}</a>'
        f'<label class="tick"><input type="checkbox" aria-label="{say.html("Compare epoch {epoch}", epoch=epoch)}"> '
        f'{say.html("Compare")}</label></p></div>{_table(info, best, say, ordered)}</article>'
    )


def _table(
    info: CheckpointInfo, best: Mapping[tuple[str, str], float], say: words.Speaker, ordered: EpochOrder
) -> str:
    """Return an epoch's scores, losses and metrics: a row each, a column per direction that it has."""
    known = {way for way in DIRECTIONS for figure in FIGURES if _value(figure, info, way) is not None}
    ways = [way for way in DIRECTIONS if way in known.union(info.directions)]
    head = "".join(f'<th scope="col">{html.escape(runs.arrow(info, direction))}</th>' for direction in ways)
    span = len(ways)
    parts = [_group(title, rows, span) for title, rows in ordered.groups(info, ways, say)]
    parts += [
        _group(title, [_row(f, info, ways, best, say) for f in FIGURES if f.group == group], span)
        for title, group in ((say.html("Losses in training"), "losses"), (_measured(info, say), "metrics"))
    ]
    others = [(name, x) for name, x in {**info.losses, **info.metrics}.items() if figure_of(name)[0] is None]
    parts.append(_group(say.html("Others"), [
        f'<tr><th scope="row">{html.escape(name[:40])}</th><td colspan="{span}">{rounded(value, _OTHER)}</td></tr>'
        for name, value in others[:MAX_OTHERS]
    ], span))  # fmt: skip
    if not any(parts):
        return ""
    return f'<table class="figures"><thead><tr><td></td>{head}</tr></thead>{"".join(parts)}</table>'


def _measured(info: CheckpointInfo, say: words.Speaker) -> str:
    """Return the HTML of the heading of figures that the epoch's samples have."""
    if info.measured_on == "train":
        return say.html("On the samples, which are training pictures")
    return say.html("On the samples, which are test pictures") if info.measured_on else say.html("On the samples")


def _group(title: str, rows: Sequence[str], span: int) -> str:
    """Return the rows under their title; nothing if all of them are empty."""
    if not any(rows):
        return ""
    head = f'<tr class="group"><th colspan="{span + 1}" scope="rowgroup">{title}</th></tr>'
    return f"<tbody>{head}{''.join(rows)}</tbody>"


def _row(
    figure: Figure, info: CheckpointInfo, ways: Sequence[str], best: Mapping[tuple[str, str], float],
    say: words.Speaker,
) -> str:
    """Return a figure's row; nothing where the epoch has no value of it."""
    values = {direction: _value(figure, info, direction) for direction in ways}
    if all(value is None for value in values.values()):
        return ""
    mark, cells = say.html("best of this run"), []
    for direction, value in values.items():
        is_best = value is not None and value == best.get((figure.key, direction))
        dot = f'<span class="best" title="{mark}" aria-label="{mark}" role="img"></span>' if is_best else ""
        cells.append(f"<td>{'–' if value is None else dot + figure.show(value)}</td>")
    meaning, label = (html.escape(say.text_of(text)) for text in (figure.meaning, figure.label))
    label += arrow_of(figure, say, "way")
    return f'<tr><th scope="row" title="{meaning}">{label}</th>{"".join(cells)}</tr>'


def entry(info: CheckpointInfo) -> dict[str, Any]:
    """Return an epoch for programs; a value that isn't finite is None."""

    def finite(figures: Mapping[str, float]) -> dict[str, float | None]:
        return {name: value if math.isfinite(value) else None for name, value in figures.items()}

    return {
        "epoch": info.epoch, "tag": info.tag, "commit_sha": info.commit_sha, "created": info.created,
        "global_step": info.global_step, "losses": finite(info.losses), "metrics": finite(info.metrics),
        "directions": list(info.directions), "domains": runs.domains(info),
    }  # fmt: skip
