"""The page that translates one picture, read as A and read as B, and brings it back again."""

from __future__ import annotations

import base64
import html
import logging
import math
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from cyclegan.checkpoint import CheckpointError, CheckpointInfo, CheckpointSource, epoch_name
from cyclegan.config import DIRECTIONS
from cyclegan.images import ImageError, list_images, open_image
from cyclegan.ui import NETWORKS, Workbench

CSS = Path(__file__).with_name("translate.css")

MAX_SHOWN_PIXELS = 16_000_000
"""Larger pictures are reduced first: five of them travel to the browser as PNG."""
MAX_WORKED_PIXELS = {"cpu": 1_000_000}
"""What the networks are given at most, by device: four passes over this take about a minute on two cores."""
MAX_WORKED_PIXELS_ELSEWHERE = 8_000_000
MAX_EXAMPLES = 12
SIZES = {"training": "training size", "original": "original size"}

log = logging.getLogger(__name__)


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`."""
    first = next(iter(bench.runs))
    gr.HTML("<h1>CycleGAN workbench</h1>", elem_classes="title")
    lead = gr.HTML(elem_classes="lead")
    with gr.Row(elem_classes="page"):
        with gr.Column(elem_classes="choices"):
            image = gr.Image(
                label="Your picture", type="filepath", image_mode=None, format="png", buttons=[],
                sources=["upload", "webcam", "clipboard"], elem_classes="picture", height=220,
                alt_text="The picture that you chose",
            )
            examples = gr.Gallery(
                label="Or take an example", allow_preview=False, interactive=False, columns=4, buttons=[],
                format="png", object_fit="cover", height="auto", elem_classes="examples", visible=False,
            )
            run = gr.Dropdown(
                list(bench.runs), value=first, label="Run", visible=len(bench.runs) > 1, filterable=False
            )
            with gr.Row(elem_classes="epoch"):
                epoch = gr.Dropdown([], value=None, label="Epoch", filterable=False, min_width=120, scale=1)
                refresh = gr.Button("Refresh", size="sm", scale=0, min_width=80)
            size = gr.Radio(
                [(label.capitalize(), name) for name, label in SIZES.items()], value="training",
                label="Working size", info="Networks do best at the size that they were trained on.",
            )
        with gr.Column(elem_classes="results"):
            note = gr.HTML(_note("Starting …"), elem_classes="note")
            rows = [Reading(direction) for direction in DIRECTIONS]

    about = [lead, epoch, *(part for row in rows for part in row.about)]
    results = [note, *(part for row in rows for part in row.results)]

    def describe(run: str, wanted: str | None) -> list[Any]:
        """Everything that depends on the run and the epoch but on no picture, in the order of `about`."""
        infos = _listed(bench.run(run))
        info = next((i for i in infos if i.tag == wanted), infos[0])
        names = _domains(info)
        choices = gr.Dropdown([(_epoch_label(i), i.tag) for i in infos], value=info.tag)
        return [_lead(names), choices, *(part for row in rows for part in row.describe(info, names))]

    def open_page(run: str) -> list[Any]:
        """A visitor arrives: the newest epoch, the examples, the first of them as the picture."""
        return [*_told(describe)(run, None), *show_examples(run)]

    def change_run(run: str) -> list[Any]:
        return [*_told(describe)(run, None), *show_examples(run)]

    def show_examples(run: str) -> list[Any]:
        thumbnails, paths = [], _examples(bench.run(run))
        for path in paths:
            try:
                thumbnail = open_image(path)
            except ImageError as error:
                log.warning("%s", error)
                continue
            thumbnail.thumbnail((160, 160))
            thumbnails.append(thumbnail)
        return [gr.Gallery(thumbnails, visible=bool(thumbnails), selected_index=None), take_example(run, 0)]

    def take_example(run: str, index: int) -> str | None:
        paths = _examples(bench.run(run))
        return str(_served(image, paths[index].name, copy=paths[index])) if index < len(paths) else None

    def pick_example(run: str, event: gr.SelectData) -> str | None:
        return take_example(run, event.index)

    def change_epoch(run: str, epoch: str) -> list[Any]:
        return _told(describe)(run, epoch)

    def look_again(run: str, epoch: str | None) -> list[Any]:
        """Find epochs that a running training has added; who watches the newest goes on to the new newest."""
        infos = _told(_listed)(bench.run(run))
        new = [i for i in infos if epoch is not None and i.epoch > _epoch_number(epoch)]
        gr.Info(f"Newest: {_epoch_label(infos[0])}." if new else "No newer epoch yet.", title="Epochs", duration=4)
        return _told(describe)(run, infos[0].tag if new else epoch)

    def translate(
        image: dict | None, run: str | None = None, epoch: str | None = None, size: str = "training"
    ) -> Iterator[list[Any]]:
        yield from _translate(bench, rows, image, run, epoch, size)

    quick = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    work = {
        "fn": translate, "inputs": [image, run, epoch, size], "outputs": results,
        # The file itself reaches `open_image`; gradio would decode it first, and fail in its own words.
        "preprocess": False,
        "concurrency_id": NETWORKS, "concurrency_limit": 1, "show_progress_on": note,
    }
    hidden = {**work, "api_visibility": "private", "trigger_mode": "always_last"}

    root = gr.context.Context.root_block
    root.load(open_page, run, [*about, examples, image], **quick).then(**hidden)
    run.input(change_run, run, [*about, examples, image], **quick).then(**hidden)
    epoch.input(change_epoch, [run, epoch], about, **quick).then(**hidden)
    refresh.click(look_again, [run, epoch], about, **quick).then(**hidden)
    examples.select(pick_example, run, image, **quick).then(**hidden)
    given = gr.on(
        [image.input, image.clear, size.input], **work, trigger_mode="always_last", api_name="translate",
        api_description=(
            "Translate a picture in both readings, and bring it back. image: a picture file. run: name of a run, "
            "the first by default. epoch: a checkpoint such as 'epoch-0012', the newest by default. size: 'training' "
            "works at the size that the networks were trained on and scales the result back, 'original' at the "
            "picture's own. Returns a sentence; then for A → B and for B → A: the picture as it was read, "
            "translated, brought back (None where the checkpoint has one direction only), and a sentence on the error."
        ),
    )
    given.failure(_unless_bad, image, image, preprocess=False, **quick)


# --- one reading: input | translated | back again -----------------------------------------------------------


class Reading:
    """One row of the page: a heading, three pictures, a sentence. Builds itself into the current layout."""

    def __init__(self, direction: str) -> None:
        self.direction = direction
        with gr.Column(elem_classes="reading") as self.box:
            self.heading = gr.HTML()
            with gr.Row(elem_classes="pictures", equal_height=False):
                self.pictures = [
                    gr.Image(
                        interactive=False, format="png", buttons=["download", "fullscreen"], min_width=100, label=label
                    )
                    for label in ("input", "translated", "back again")
                ]
                self.words = gr.HTML(elem_classes="words")
        self.about = [self.box, self.heading, *self.pictures]
        self.results = [*self.pictures, self.words]

    def describe(self, info: CheckpointInfo, names: dict[str, str]) -> list[Any]:
        """Names and visibility for a checkpoint, in the order of `about`."""
        here, there = names[self.direction[0]], names[self.direction[1]]
        back = self.direction[::-1] in info.directions
        way = f"{here} → {there} → {here}" if back else f"{here} → {there}"
        why = "" if back else (
            f"<p>This checkpoint holds one direction only, so there is no way back from {html.escape(there)}, "
            f"and no reading as {html.escape(there)}.</p>"
        )
        heading = f"<h2>Read as {html.escape(here)} <span>{html.escape(way)}</span></h2>{why}"
        return [
            gr.Column(visible=self.direction in info.directions),
            heading,
            gr.Image(label="input", alt_text=f"The picture, read as {here}"),
            gr.Image(label=f"as {there}", alt_text=f"The picture translated to {there}"),
            gr.Image(label=f"back to {here}", alt_text=f"The translation brought back to {here}", visible=back),
        ]


def _translate(
    bench: Workbench, rows: list[Reading], payload: dict | None, run: str | None, epoch: str | None, size: str
) -> Iterator[list[Any]]:
    """The values of `results`, one reading after the other; cleared before an error is told."""
    empty: list[Any] = [None, None, None, ""]
    if payload is None:
        yield [_note("Choose a picture."), *empty, *empty]
        return
    try:
        if size not in SIZES:
            raise ImageError(f"there is no working size {size!r}: choose {' or '.join(SIZES)}")
        picture = open_image(_source_of(payload), name="This file")
        number = _epoch_number(epoch) if epoch is not None else None
        if not bench.ready.is_set():
            yield [_note("Loading the networks, once: some ten seconds …", busy=True), *empty, *empty]
        translator = bench.translator(run, number)
        info = translator.checkpoint.info
        began = time.monotonic()
        yield [_note("Translating …", busy=True), *empty, *empty]
        picture, remarks = _reduced(picture)
        worked, remark = _working_size(picture.size, size, info.config.data.crop_size, translator.device.type)
        remarks += remark
        names, shown = _domains(info), []
        read = str(_served(rows[0].pictures[0], "input.png", save=lambda path: picture.save(path, compress_level=1)))
        for row in rows:
            if row.direction not in translator.generators:
                shown += empty
                continue
            result = translator.translate(picture, row.direction, reconstruct=True, size=worked)
            there, here = names[row.direction[1]], names[row.direction[0]]
            shown += [
                read,
                _saved(row.pictures[1], result.fake, f"{info.tag} as {there}", translator, row.direction),
                _saved(row.pictures[2], result.rec, f"{info.tag} back to {here}", translator, row.direction),
                _words(result.reconstruction_l1, here),
            ]
            if len(shown) < len(rows) * len(empty):
                yield [_note("Translating …", busy=True), *shown, *empty * (len(rows) - len(shown) // len(empty))]
        said = f"Epoch {info.epoch}, {picture.width}×{picture.height} pixels, {time.monotonic() - began:.1f} s."
        yield [_note(" ".join([said, *remarks])), *shown]
    except Exception as error:
        yield [_note("Nothing was translated."), *empty, *empty]
        raise _told_error(error) from error


# --- sizes --------------------------------------------------------------------------------------------------


def _reduced(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """The picture within MAX_SHOWN_PIXELS, and what to say of it."""
    width, height = picture.size
    if width * height <= MAX_SHOWN_PIXELS:
        return picture, []
    scale = math.sqrt(MAX_SHOWN_PIXELS / (width * height))
    smaller = picture.resize((max(1, int(width * scale)), max(1, int(height * scale))), Image.Resampling.BICUBIC)
    return smaller, [f"Your picture of {width}×{height} was reduced to {smaller.width}×{smaller.height} first."]


def _working_size(size: tuple[int, int], choice: str, crop_size: int, device: str) -> tuple[int | None, list[str]]:
    """The shorter side to work at, None for the picture's own, and what to say of it."""
    shorter = min(size)
    wanted = crop_size if choice == "training" else shorter
    most = MAX_WORKED_PIXELS.get(device, MAX_WORKED_PIXELS_ELSEWHERE)
    scale = wanted / shorter
    if size[0] * size[1] * scale * scale <= most:
        return (None if wanted == shorter else wanted), []
    worked = max(1, int(math.sqrt(most / (size[0] * size[1])) * shorter))
    width, height = (max(1, round(side * worked / shorter)) for side in size)
    said = f"It was worked at {width}×{height} and scaled back, because more would take this computer too long."
    return worked, [said]


# --- words --------------------------------------------------------------------------------------------------


def _note(text: str, *, busy: bool = False) -> str:
    return f'<p role="status" class="{"busy" if busy else "done"}">{html.escape(text)}</p>'


def _words(error: float | None, here: str) -> str:
    if error is None:
        return ""
    return f"<p>reconstruction error <b>{error:.1f}</b> of 255 grey levels</p>"


def _lead(names: dict[str, str]) -> str:
    a, b = html.escape(names["a"]), html.escape(names["b"])
    return (
        f"<p>Two networks that never saw a matching pair: one turns <b>{a}</b> into <b>{b}</b>, the other "
        f"<b>{b}</b> into <b>{a}</b>. Your picture goes through both, in both orders. "
        "The closer a row's last picture is to its first, the less was lost on the way.</p>"
    )


def _domains(info: CheckpointInfo) -> dict[str, str]:
    return {"a": info.config.data.domain_a, "b": info.config.data.domain_b}


def _epoch_label(info: CheckpointInfo) -> str:
    """`epoch 12 — 2026-11-21, cycle 0.08`; without the loss where none is recorded."""
    cycle = [info.losses[name] for name in ("cycle_a", "cycle_b") if name in info.losses]
    parts = [info.created[:10], *([f"cycle {sum(cycle) / len(cycle):.2f}"] if cycle else [])]
    return " — ".join(filter(None, [f"epoch {info.epoch}", ", ".join(filter(None, parts))]))


def _epoch_number(value: str | int) -> int:
    """12 of `epoch-0012`, `12` or 12."""
    digits = str(value).removeprefix("epoch-")
    if not digits.isdecimal():
        raise CheckpointError(f"{value!r} is no epoch: name one like {epoch_name(12)}")
    return int(digits)


# --- what can go wrong --------------------------------------------------------------------------------------


def _told_error(error: Exception) -> gr.Error:
    """One sentence for the person; what nobody foresaw goes to the log with its traceback."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, (ImageError, CheckpointError)):
        said = str(error)
    elif "out of memory" in str(error).lower():
        said = "The picture needs more memory than there is: choose the training size."
    else:
        log.error("translating failed", exc_info=error)
        said = "Something went wrong here, and it was logged: try again, or try another picture."
    # gradio renders the message as HTML.
    return gr.Error(html.escape(said, quote=False), title="Not translated", print_exception=False)


def _told(fn):
    """`fn` with its errors told as sentences."""

    def told(*args):
        try:
            return fn(*args)
        except Exception as error:
            raise _told_error(error) from error

    return told


def _unless_bad(payload: dict | None) -> Any:
    """After a failure: empty the picture's box if the picture was the reason, so that another can be dropped."""
    try:
        if payload is not None:
            open_image(_source_of(payload))
    except Exception:
        return None
    return gr.skip()


# --- files --------------------------------------------------------------------------------------------------


def _listed(source: CheckpointSource) -> list[CheckpointInfo]:
    infos = source.list()
    if not infos:
        raise CheckpointError(f"{source.name} holds no readable checkpoint")
    return infos


def _source_of(payload: dict) -> Any:
    """The uploaded file's path, or the bytes that a browser sent within the message."""
    if payload.get("path"):
        return payload["path"]
    head, _, data = (payload.get("url") or "").partition(",")
    if not head.startswith("data:"):
        raise ImageError("This file did not arrive: choose it again")
    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise ImageError("This file arrived damaged: choose it again") from error


def _examples(source: CheckpointSource) -> list[Path]:
    """RUN/examples/a_*.png and b_*.png, a and b in turn."""
    folder = getattr(source, "folder", None)
    if folder is None or not (folder / "examples").is_dir():
        return []
    found = list_images(folder / "examples")
    a, b = ([p for p in found if p.name.startswith(prefix)] for prefix in ("a_", "b_"))
    turns = [path for pair in zip(a, b, strict=False) for path in pair]
    return [*turns, *a[len(b):], *b[len(a):]][:MAX_EXAMPLES]


def _saved(component: gr.Image, picture: Image.Image | None, stem: str, translator: Any, direction: str) -> str | None:
    from cyclegan.translator import save_png

    if picture is None:
        return None
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in stem) + ".png"
    checkpoint = translator.checkpoint
    return str(_served(
        component, name, save=lambda path: save_png(picture, path, checkpoint=checkpoint, direction=direction)
    ))


def _served(component: gr.Image, name: str, *, save=None, copy: Path | None = None) -> Path:
    """A new file in the component's cache: gradio serves it from there under its name, and deletes it when old."""
    path = Path(component.GRADIO_CACHE) / uuid.uuid4().hex / name
    path.parent.mkdir(parents=True)
    if copy is not None:
        shutil.copyfile(copy, path)
    else:
        save(path)
    return path
