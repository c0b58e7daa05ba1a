"""One picture translated in both directions and back, for the translate page."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.config import DIRECTIONS, METHOD_CONFIGS
from cyclegan.errors import CheckpointError, ImageError, Message, UserError, rounded
from cyclegan.evaluation.grids import cut_grid
from cyclegan.images import mean_difference
from cyclegan.rasters import opening
from cyclegan.ui import inputs, runs, withheld, words
from cyclegan.ui.feedback import busy, nothing_translated, notices, page_error, raise_for_page
from cyclegan.ui.inputs import by
from cyclegan.ui.jobs import time_left
from cyclegan.ui.live import is_starting, waiting
from cyclegan.ui.reading import as_read, likely_direction
from cyclegan.ui.results import PINNED, Picture, Result, ResultRequest, and_behind, served
from cyclegan.ui.workbench import Workbench

READINGS = ("both", *DIRECTIONS)
"""A picture is read as one of domain a, as one of b, or as both."""
EMPTY: list[Any] = [None, None, None, None, ""]
"""The values of a row without a result."""
KEPT = [gr.skip()] * len(EMPTY)
"""The values that leave a row as it is."""
NO_FILES: list[Any] = [None] * len(DIRECTIONS)
"""The files with values of rows without a result."""
AS_THEY_ARE = [gr.skip()] * len(DIRECTIONS)
"""The looks that leave the rows' headings, or their files, as they are."""
CLEARLY_LESS = 0.8
"""Where the examples decide nothing, the reading whose way back loses clearly less: this part of the other's L1."""
SAME_PICTURE = 8.0
"""Grey levels: an example and its copy in a sample grid, at another size, differ by less."""
BICUBIC = Image.Resampling.BICUBIC
SOON_S = 3.0
"""A shorter time left isn't worth saying."""


def translate(
    bench: Workbench, payload: dict | None, run: str | None, epoch: str | None, size: str, reading: str,
    say: words.Speaker,
) -> Iterator[list[Any]]:
    """Yield a sentence, the rows' values, files and headings (`row_boxes`), step by step; no values before an error."""
    if payload is None:
        headings = _plain_headings(bench, run, epoch, reading, say)
        yield [say("Choose a picture."), *EMPTY * len(DIRECTIONS), *NO_FILES, *headings]
        return
    try:
        yield from _translate(bench, payload, run, epoch, size, reading, say)
    except Exception as error:
        problem = page_error(error, say)
        headings = _plain_headings(bench, run, epoch, reading, say)
        yield [nothing_translated(problem, say), *EMPTY * len(DIRECTIONS), *NO_FILES, *headings]
        raise_for_page(problem, say)


def _plain_headings(
    bench: Workbench, run: str | None, epoch: str | None, reading: str, say: words.Speaker
) -> list[Any]:
    """Return the rows' headings without a word about the picture before, which they may be about."""
    try:
        info = bench.info(run, None if epoch is None else runs.epoch_number(epoch))
    except UserError:  # It may be the reason itself.
        return AS_THEY_ARE
    directions = [one for one in info.directions if reading in ("both", one)] or info.directions
    return [gr.Accordion(**look) for look in row_boxes(info, directions, None, say)]


def _translate(
    bench: Workbench, payload: dict, run: str | None, epoch: str | None, size: str, reading: str, say: words.Speaker
) -> Iterator[list[Any]]:
    wanted_size = inputs.checked_size(size)
    if reading not in READINGS:
        raise ImageError("there is no reading {reading!r}: choose both, ab or ba", reading=str(reading)[:40])
    if is_starting(bench.run(run)):
        yield [waiting(say), *EMPTY * len(DIRECTIONS), *NO_FILES, *AS_THEY_ARE]
        return
    info = bench.info(run, None if epoch is None else runs.epoch_number(epoch))
    wanted = [one for one in DIRECTIONS if one in info.directions and reading in ("both", one)]
    pictures, remarks = as_read(lambda values: inputs.received(payload, say, values), info, wanted)
    directions, began = list(pictures), time.monotonic()
    size = pictures[directions[0]].image.size
    likely = likely_direction(bench.run(run), pictures) if len(directions) > 1 else None
    rows: dict[str, list[Any]] = dict.fromkeys(DIRECTIONS, EMPTY)
    files: dict[str, Any] = dict.fromkeys(DIRECTIONS)
    if bench.ready.is_set():
        rows |= dict.fromkeys(directions, KEPT)

    def shown(note: Any, boxes: Sequence[Any] = AS_THEY_ARE) -> list[Any]:
        return [note, *(part for row in rows.values() for part in row), *files.values(), *boxes]

    def headings(likely: str | None) -> list[gr.Accordion]:
        looks = row_boxes(info, directions, likely, say, unclear=len(directions) > 1)
        return [gr.Accordion(**look) for look in looks]

    if bench.ready.is_set():
        yield shown(busy(say("Translating …")), headings(likely))
    else:
        rows |= saved_translation(bench, run, info, pictures[likely or directions[0]], likely or directions[0])
        yield shown(busy(meanwhile(inputs.loading(say), rows, say)), headings(likely))
    worked, more = inputs.working_side(size, wanted_size, info.config.data, bench.device_type(), say)
    network_size = size if worked is None else inputs.working_size(size, worked)
    clock, results, computed = Clock(bench, info, network_size, len(directions)), [], False
    for step in _steps(bench.follow, pictures, lambda ways: result_requests(bench, run, info, ways, worked), say):
        if isinstance(step, Result):
            way = directions[len(results)]
            rows[way] = row_values(bench.input(pictures[way]), step, say)
            files[way] = list(step.files) or None
            results.append(step)
        else:
            computed = True
            yield shown(busy(clock.said(step, say)))
        clock.count(step)
    clock.stop()
    better = clearly_better(results) if likely is None else None
    boxes = AS_THEY_ARE if better is None else headings(directions[better])
    facts = {"epoch": info.epoch, "size": by(size), "worked": by(network_size)}
    said = (
        say("Epoch {epoch}, {size} pixels, worked at {worked}, {seconds:.1f} s.", **facts,
            seconds=time.monotonic() - began)
        if computed else
        say("Epoch {epoch}, {size} pixels, worked at {worked}; translated before.", **facts)
    )  # fmt: skip
    yield shown(" ".join([said, *remarks, *more]), boxes)


def _steps(
    follow: Callable[..., Iterator[Result | float]], pictures: Mapping[str, Picture],
    requests: Callable[[list[str]], list[ResultRequest]], say: words.Speaker,
) -> Iterator[Result | float]:
    """Yield what `follow` yields for all directions; together where they have one picture, as 8-bit ones do."""
    together: dict[int, list[str]] = {}
    for direction, picture in pictures.items():
        together.setdefault(id(picture), []).append(direction)
    for number, ways in enumerate(together.values()):
        for step in follow(pictures[ways[0]], requests(ways), say):
            yield step if isinstance(step, Result) else (number + step) / len(together)


def result_requests(
    bench: Workbench, run: str | None, info: CheckpointInfo, directions: Iterable[str], worked: int | None
) -> list[ResultRequest]:
    """Return what is asked of the workbench for a picture, one request per direction."""
    run = run or next(iter(bench.runs))
    return [ResultRequest(run, info.epoch, info.commit_sha, one, worked) for one in directions]


def translate_first_example(bench: Workbench) -> None:
    """Translate the example that the page opens with, so that its result is there when a visitor comes."""
    source = bench.run(None)
    paths = withheld.examples(bench, None)
    if not paths:
        return
    say, info = words.speaker(), next(iter(runs.listed(source)), None)
    if info is None:
        return
    pictures, _ = _example_as_read(paths[0], info)
    size = next(iter(pictures.values())).image.size
    worked, _ = inputs.working_side(size, "auto", info.config.data, bench.device_type(), say)
    clock = Clock(bench, info, size if worked is None else inputs.working_size(size, worked), 0)
    for step in _steps(bench.compute, pictures, lambda ways: result_requests(bench, None, info, ways, worked), say):
        clock.count(step)
        if isinstance(step, Result):
            PINNED.update(step.paths)
    PINNED.update(path for picture in pictures.values() for path in and_behind(bench.input(picture)))
    clock.stop()


def _example_as_read(path: Path, info: CheckpointInfo) -> tuple[dict[str, Picture], list[str]]:
    return as_read(lambda values: (opening.open_picture(path, values), []), info, info.directions)


class Clock:
    """Measures a translation; expects of it the pace of earlier ones with its networks, then its own.

    Args:
        bench: keeps the pace.
        info: the networks' epoch.
        size: width and height that the networks get.
        directions: number of results to make.
    """

    def __init__(self, bench: Workbench, info: CheckpointInfo, size: tuple[int, int], directions: int) -> None:
        self._bench, self._sha, self._pixels = bench, info.commit_sha, size[0] * size[1]
        self._began, self._part, self._made, self._making = time.monotonic(), 0.0, 0, False
        self._total = bench.pace.get(self._sha, 0.0) * self._pixels * directions

    def count(self, step: Result | float) -> None:
        """Take note of a step of `Workbench.follow`: only results that had to be made count."""
        if isinstance(step, Result):
            self._made += self._making
        self._making = not isinstance(step, Result)

    def said(self, part: float, say: words.Speaker) -> str:
        """Return what a visitor is shown while waiting: the completed part, 0 to 1, and the time left."""
        passed = time.monotonic() - self._began
        if part > self._part:
            self._part, self._total = part, passed / part
        said = say("Translating …") + (f" {100 * self._part:.0f} %" if self._part else "")
        left = self._total - passed
        return f"{said}, {time_left(left, say)}" if left >= SOON_S else said

    def stop(self) -> None:
        """Remember the pace, in seconds per pixel and result."""
        if self._made:
            self._bench.pace[self._sha] = (time.monotonic() - self._began) / (self._pixels * self._made)


def clearly_better(results: Sequence[Result]) -> int | None:
    """Return which of two results comes back with clearly less lost, as parts of their ranges; None if neither does."""
    found = [result.similarity for result in results if result.similarity is not None]
    errors = [one.l1 / (one.values.high - one.values.low) for one in found]
    if len(errors) < 2 or min(errors) >= CLEARLY_LESS * max(errors):
        return None
    return errors.index(min(errors))


# --- the first example -------------------------------------------------------------------------------------


def first_saved(bench: Workbench) -> tuple[str | None, dict[str, list[Any]]]:
    """Return the likely direction of the example that the page opens with, and its row as the training saved it."""
    source = bench.run(None)
    paths = withheld.examples(bench, None) if source.url is None else []  # The app's start doesn't wait for the Hub.
    info = next(iter(runs.listed(source)), None)
    if not paths or info is None:
        return None, {}
    try:
        pictures, _ = _example_as_read(paths[0], info)
    except ImageError:
        return None, {}
    likely = likely_direction(source, pictures) if len(info.directions) > 1 else None
    way = likely or next(iter(pictures))
    return likely, saved_translation(bench, None, info, pictures[way], way)


def saved_translation(
    bench: Workbench, run: str | None, info: CheckpointInfo, picture: Picture, direction: str
) -> dict[str, list[Any]]:
    """Return a direction's row from the epoch's sample grid, for an example while no network is loaded; else {}."""
    source = bench.run(run)
    if source.url is not None:
        return {}
    try:
        paths = {path.stem: path for path in source.samples(info.epoch)}
        found = cut_grid(paths[direction]) if direction in paths else []
    except (CheckpointError, ImageError):
        return {}
    size = picture.image.size
    for real, fake, *back in found:
        same_shape = abs(real.width / real.height - size[0] / size[1]) < 0.01
        if same_shape and mean_difference(real, picture.shown.resize(real.size, BICUBIC)) < SAME_PICTURE:
            back = back if direction[::-1] in info.directions else []
            files = [
                served("sample.png", lambda path, tile=tile: tile.resize(size, BICUBIC).save(path, compress_level=1))
                for tile in (fake, *back[:1])
            ]
            return {direction: [bench.input(picture), *files, *[None] * (3 - len(files)), ""]}
    return {}


def meanwhile(note: str, saved: dict[str, list[Any]], say: words.Speaker) -> str:
    """Return a note, and what the page shows until the networks are loaded, if it shows something."""
    there = any(row[1] for row in saved.values())
    return f"{note} {say('Meanwhile, you see a result that the training saved.')}" if there else note


# --- texts --------------------------------------------------------------------------------------------------


def row_values(read: str, result: Result, say: words.Speaker) -> list[Any]:
    """Return a row's pictures, and a sentence about the reconstruction.

    Args:
        read: path of the picture as it was read.
        result: its translation.
        say: the visitor's language.
    """
    from cyclegan.evaluation.reconstruction import HEAT_FULL, HEAT_PART, heat_full

    figures = result.similarity
    if figures is None:
        return [read, result.fake, None, None, ""]
    values = figures.values
    l1 = (
        say("L1 {l1:.1f} of 255 grey levels", l1=figures.l1) if values.plain
        else say("L1 {l1:.4g} (units of the range {low:g} to {high:g})", l1=figures.l1, low=values.low,
                 high=values.high)
    )  # fmt: skip
    parts = [l1, f"PSNR {figures.psnr:.1f} dB"]
    parts += [] if figures.ssim is None else [f"SSIM {rounded(figures.ssim, '.3f')}"]
    said = say("Reconstruction: {figures}.", figures=", ".join(parts))
    if values.plain:
        scale = say("“Lost on the way” is black where nothing was, and brightest at {full} grey levels or more.",
                    full=HEAT_FULL)  # fmt: skip
    else:
        scale = say(
            "“Lost on the way” is black where nothing was, and brightest at {full:.4g} or more, which is {part:.0%} "
            "of the range.", full=heat_full(values), part=HEAT_PART,
        )  # fmt: skip
    # The sliders don't show what was lost.
    return [read, result.fake, result.rec, result.lost, f'{said} <span class="of-pictures">{scale}</span>']


def lead(info: CheckpointInfo | None, problems: Iterable[Message | UserError | str], say: words.Speaker) -> str:
    """Return the HTML of the page's introduction, with what couldn't be shown of the run; info: None without epoch."""
    if info is None:
        return ""
    names = {domain: f"<b>{html.escape(name)}</b>" for domain, name in runs.domains(info).items()}
    if len(info.directions) == 1:
        here, there = (names[domain] for domain in info.directions[0])
        kind = METHOD_CONFIGS.get(info.config.method) if info.config else None
        if kind is not None and kind.paired:
            text = say("A network turns {a} into {b}. It learnt from matching pairs.", a=here, b=there)
        else:
            text = say("A network turns {a} into {b}, without ever having seen a matching pair.", a=here, b=there)
    else:
        text = say(
            "Give a picture of {a} or of {b}, and see it as the other. The networks have never seen a matching pair.",
            **names,
        )  # fmt: skip
    return f"<p>{text}</p>{notices(problems, say)}"


def row_names(info: CheckpointInfo, direction: str) -> dict[str, str]:
    """Return the names of a direction's domains, as `here` and `there`."""
    names = runs.domains(info)
    return {"here": names[direction[0]], "there": names[direction[1]]}


def row_boxes(
    info: CheckpointInfo | None, directions: Sequence[str], likely: str | None, say: words.Speaker, *,
    unclear: bool = False,
) -> list[dict[str, Any]]:
    """Return each row's heading and look: the likely one large, or the first if that is unclear, the other folded.

    Args:
        info: the checkpoint; None: there is none yet, and both rows are hidden.
        directions: those that are shown.
        likely: one of them; None: unknown, or there is one only.
        say: the visitor's language.
        unclear: whether a picture was looked at and fits both domains alike.
    """
    if info is None:
        return [{"open": False, "visible": False}] * len(DIRECTIONS)
    large, boxes = likely or directions[0], []
    for direction in DIRECTIONS:
        names = row_names(info, direction)
        way = " → ".join([*names.values(), *([names["here"]] if direction[::-1] in info.directions else [])])
        if direction != large:
            label = say("The other reading: {way}", way=way)
        elif likely is None and not unclear:
            label = say("As {here}: {way}", way=way, **names)
        elif likely is None:
            label = say("Could be {here} or {there}. Read as {here}", **names)
        else:
            label = say("Looks more like {here} than {there}", **names)
        look = {"open": direction == large, "visible": direction in directions}
        boxes.append({"label": label, "elem_classes": ["reading", *["large"] * look["open"]], **look})
    return boxes


def no_way_back(info: CheckpointInfo, direction: str, say: words.Speaker) -> dict[str, Any]:
    """Return the look of a sentence that names the missing network of the opposite direction; hidden if it is there."""
    here, there = row_names(info, direction).values()
    why = say.html(
        "This checkpoint has no network for {back}: no way back, and no reading as {there}.",
        back=f"{there} → {here}", there=there,
    )  # fmt: skip
    return {"value": f"<p>{why}</p>", "visible": direction[::-1] not in info.directions}


def row_looks(info: CheckpointInfo, direction: str, say: words.Speaker) -> list[dict[str, Any]]:
    """Return the label, alternative text and visibility of a row's four pictures."""
    names, both = row_names(info, direction), direction[::-1] in info.directions
    parts = [
        (True, say("input"), say("The picture, read as {here}", **names)),
        (True, say("as {there}", **names), say("The picture, translated to {there}", **names)),
        (both, say("back to {here}", **names), say("The picture as {there}, translated back to {here}", **names)),
        (both, say("lost on the way"), say("Where the returned picture differs from the original")),
    ]
    return [{"label": label, "alt_text": text, "visible": visible} for visible, label, text in parts]


def slider_looks(info: CheckpointInfo, direction: str, say: words.Speaker) -> list[dict[str, Any]]:
    """Return the label and visibility of a row's two sliders: input and translation, input and reconstruction."""
    first, *others = row_looks(info, direction, say)[:3]
    return [{"label": f"{first['label']} | {look['label']}", "visible": look["visible"]} for look in others]


def reading_choices(info: CheckpointInfo | None) -> list[tuple[Any, str]]:
    """Return the choices of a gr.Radio of readings."""
    if info is None:
        return [(words.label("Likely"), "both")]
    names = runs.domains(info)
    return [(words.label("Likely"), "both"), *((names[one[0]], one) for one in info.directions)]
