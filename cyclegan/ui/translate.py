"""The page that translates one picture, read as A and read as B, and brings it back again."""

from __future__ import annotations

import base64
import functools
import html
import itertools
import logging
import math
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from cyclegan.checkpoint import CheckpointError, CheckpointInfo, CheckpointSource, epoch_name
from cyclegan.config import DIRECTIONS, DataConfig
from cyclegan.images import ImageError, natural_order, open_image, probe_image
from cyclegan.ui import NETWORKS, Workbench, on_gpu

CSS = Path(__file__).with_name("translate.css")

MAX_SHOWN_PIXELS = 16_000_000
"""Larger pictures are reduced first: five of them travel to the browser as PNG."""
MAX_WORKED_PIXELS = {"cpu": 1_000_000}
"""What the networks are given at most, by device: four passes over this take about a minute on two cores."""
MAX_WORKED_PIXELS_ELSEWHERE = 8_000_000
MAX_EXAMPLES = 12
MAX_EXAMPLE_PIXELS = 4_000_000
"""Larger ones are left out: every visitor would wait for all of them to be decoded."""
OF_EXAMPLES = "example-"
"""How the folder begins that an example is served from: that is no picture of the visitor's own."""
MAX_NAME_BYTES = 80
NOT_FOR_BROWSERS = {".tif", ".tiff", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".heic", ".heif"}
SIZES = ("auto", "training", "original")
EMPTY: list[Any] = [None, None, None, None, ""]
"""What a row shows of no reading."""
KEPT = [gr.skip()] * len(EMPTY)
"""What leaves a row as it is."""

log = logging.getLogger(__name__)


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`.

    Raises:
        CheckpointError: the first run holds no readable checkpoint.
    """
    first = next(iter(bench.runs))
    infos = _listed(bench.run(first))
    info = infos[0]
    gr.HTML("<h1>CycleGAN workbench</h1>", elem_classes="title")
    lead = gr.HTML(_lead(info, bench.run(first).problems), elem_classes="lead")
    with gr.Row(elem_classes="page"):
        with gr.Column(elem_classes="given"):
            image = gr.Image(
                label="Your picture", type="filepath", image_mode=None, format="png", buttons=[], height=240,
                sources=["upload", "webcam", "clipboard"], alt_text="The picture that you chose",
                placeholder="Drop a picture here\nor click to choose one",
            )
            examples = gr.Gallery(
                label="Or take an example", allow_preview=False, interactive=False, columns=4, buttons=[],
                format="png", object_fit="cover", elem_classes="examples", visible=False,
            )
        with gr.Column(elem_classes="results"):
            note = gr.HTML(_busy("Starting …"), label="note", elem_classes="note")
            rows = [Reading(direction, info) for direction in DIRECTIONS]
        with gr.Column(elem_classes="settings"):
            run = gr.Dropdown(
                list(bench.runs), value=first, label="Run", visible=len(bench.runs) > 1, filterable=False
            )
            refresh = gr.Button("Refresh", render=False)
            # No value until the page opens, so that programs that name no epoch get the newest of that moment.
            epoch = gr.Dropdown(
                _choices(infos), value=None, label="Epoch", filterable=False, buttons=[refresh], elem_classes="epoch"
            )
            size = gr.Radio(
                _sizes(info), value="auto", label="Working size",
                info="What the networks see. Results come back at your picture's size.",
            )

    known = gr.State(None)  # The newest epoch that the page has heard of.
    about = [known, lead, epoch, size, *(part for row in rows for part in row.about)]
    results = [note, *(part for row in rows for part in row.results)]

    def describe(run: str, tag: str | None) -> list[Any]:
        """What depends on the run and its epoch (the newest, if it isn't there), in the order of `about`."""
        source = bench.run(run)
        infos = _listed(source)
        info = next((i for i in infos if i.tag == tag), infos[0])
        return [
            infos[0].tag,
            _lead(info, source.problems),
            gr.Dropdown(_choices(infos), value=info.tag),
            gr.Radio(_sizes(info)),
            *(part for row in rows for part in row.describe(info)),
        ]

    def open_run(run: str) -> list[Any]:
        """The newest epoch and the examples."""
        thumbnails = []
        for path in _examples(bench.run(run)):
            try:
                thumbnail = open_image(path)
            except ImageError as error:
                log.warning("%s", error)
                thumbnail = Image.new("RGB", (160, 160), "grey")  # In its place, or those after it would be mixed up.
            thumbnail.thumbnail((160, 160))
            thumbnails.append((thumbnail, path.stem.replace("_", " ")))
        return [*describe(run, None), gr.Gallery(thumbnails, visible=bool(thumbnails), selected_index=None)]

    def first_picture(run: str, payload: dict | None) -> list[Any]:
        """As the picture the visitor's own, or else the run's first example; it is translated as it changes."""
        given = _source_of(payload) if payload and payload.get("path") else None
        if given is not None and not given.parent.name.startswith(OF_EXAMPLES):
            # Under a new name, so that it counts as changed and is translated with this run's networks.
            picture = _served(image, given.name, lambda path: shutil.copyfile(given, path))
        else:
            picture = take_example(run, 0)
        return [picture, _busy("Starting …") if picture else "Choose a picture."]

    def take_example(run: str, index: int) -> str | None:
        paths = _examples(bench.run(run))
        if index >= len(paths):
            return None
        return _served(image, paths[index].name, lambda path: shutil.copyfile(paths[index], path), OF_EXAMPLES)

    def pick_example(run: str, event: gr.SelectData) -> str | None:
        return take_example(run, event.index)

    def look_again(run: str, tag: str | None, known: str | None) -> list[Any]:
        """Find epochs that a running training has added since the last look, and go on to the newest of those."""
        bench.run(run).refresh()
        infos = _listed(bench.run(run))
        new = known is None or infos[0].epoch > _epoch_number(known)
        gr.Info(f"The newest is {_epoch_label(infos[0])}." if new else "No newer epoch yet.", title="", duration=4)
        return describe(run, infos[0].tag if new else tag)

    @on_gpu
    def run_networks(
        picture: Image.Image, remarks: list[str], run: str | None, epoch: int | None, size: str
    ) -> Iterator[list[Any]]:
        try:
            yield from _run_networks(bench, rows, picture, remarks, run, epoch, size)
        except Exception as error:
            raise _told_error(error) from error

    def translate(
        image: dict | None, run: str | None = None, epoch: str | None = None, size: str = "auto"
    ) -> Iterator[list[Any]]:
        yield from _translate(bench, rows, run_networks, image, run, epoch, size)

    work = {
        "fn": translate, "inputs": [image, run, epoch, size], "outputs": results, "trigger_mode": "always_last",
        # The file itself reaches `open_image`; gradio would decode it first, and fail in its own words.
        "preprocess": False,
        "concurrency_id": NETWORKS, "concurrency_limit": 1, "show_progress": "minimal", "show_progress_on": note,
    }
    # Not `input`: when a picture is taken away that the server had put there, it still brings that picture.
    given = gr.on(
        [image.change, size.input], **work, api_name="translate",
        api_description=(
            "Translate a picture in both readings, and bring it back. image: a picture file. run: name of a run, "
            "the first by default. epoch: a checkpoint such as 'epoch-0012', the newest by default. size: 'auto' "
            "works at the picture's own size up to twice the one that the networks were trained on, 'training' "
            "works at the size that the networks were trained on and scales the result back, 'original' at the "
            "picture's own. Returns a sentence; then for A → B and for B → A: the picture as it was read, "
            "translated, brought back, where it differs then (None where the checkpoint has one direction only), and a "
            "sentence with L1, PSNR and SSIM."
        ),
    )
    quick = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    given.failure(_unless_bad, image, image, preprocess=False, **quick)
    given.success(_for_browsers, image, image, preprocess=False, **quick)

    # First the run's own epoch, then the picture: what translates it as it changes must not see another run's epoch.
    page = gr.context.Context.root_block
    for opened in (page.load, run.input):
        opened(_told(open_run), run, [*about, examples], **quick).success(
            _told(first_picture), [run, image], [image, note], preprocess=False, **quick
        )
    examples.select(_told(pick_example), run, image, **quick)
    # An epoch keeps the picture.
    again = {**work, "api_name": "translate_again", "api_visibility": "private"}
    epoch.input(_told(describe), [run, epoch], about, preprocess=False, **quick).success(**again)
    # Queued: gradio shows its notice of no other event.
    queued = {**quick, "queue": True, "concurrency_limit": None}
    refresh.click(_told(look_again), [run, epoch, known], about, preprocess=False, **queued).success(**again)
    # Screen readers are told what goes on.
    page.load(None, js="() => document.querySelector('.note').setAttribute('role', 'status')", **quick)


# --- one reading: input | translated | back again -----------------------------------------------------------


class Reading:
    """One row of the page: a heading, four pictures, a sentence. Builds itself into the current layout."""

    def __init__(self, direction: str, info: CheckpointInfo) -> None:
        self.direction = direction
        with gr.Column(visible=direction in info.directions, elem_classes="reading") as self.box:
            self.heading = gr.HTML(self._heading(info))
            with gr.Row(elem_classes="pictures"):
                self.pictures = [
                    gr.Image(interactive=False, format="png", buttons=["download", "fullscreen"], **look)
                    for look in self._looks(info)
                ]
                self.words = gr.HTML(label="reconstruction error", elem_classes="words")
        self.about = [self.box, self.heading, *self.pictures]
        self.results = [*self.pictures, self.words]

    def describe(self, info: CheckpointInfo) -> list[Any]:
        """Names and visibility for a checkpoint, in the order of `about`."""
        return [
            gr.Column(visible=self.direction in info.directions),
            self._heading(info),
            *(gr.Image(**look) for look in self._looks(info)),
        ]

    def _looks(self, info: CheckpointInfo) -> list[dict[str, Any]]:
        here, there = (_domains(info)[domain] for domain in self.direction)
        both = self.direction[::-1] in info.directions
        return [
            {"label": "input", "alt_text": f"The picture, read as {here}"},
            {"label": f"as {there}", "alt_text": f"The picture, translated to {there}"},
            {"label": f"back to {here}", "alt_text": f"The picture as {there}, translated back to {here}",
             "visible": both},
            {"label": "lost on the way", "alt_text": "Where the picture that came back differs from the first one",
             "visible": both},
        ]

    def _heading(self, info: CheckpointInfo) -> str:
        here, there = (html.escape(_domains(info)[domain]) for domain in self.direction)
        if self.direction[::-1] in info.directions:
            return f"<h2>As {here} <span>{here} → {there} → {here}</span></h2>"
        why = f"This checkpoint has no network for {there} → {here}: no way back, and no reading as {there}."
        return f"<h2>As {here} <span>{here} → {there}</span></h2><p>{why}</p>"


def _translate(
    bench: Workbench,
    rows: list[Reading],
    run_networks: Callable[..., Iterator[list[Any]]],
    payload: dict | None,
    run: str | None,
    epoch: str | None,
    size: str,
) -> Iterator[list[Any]]:
    """The values of `results`, one reading after the other; cleared before an error is told."""
    if payload is None:
        yield ["Choose a picture.", *EMPTY * len(rows)]
        return
    try:
        if size not in SIZES:
            raise ImageError(f"there is no working size {size!r}: choose {' or '.join(SIZES)}")
        picture, remarks = _reduced(open_image(_source_of(payload), name="This file"))
        number = None if epoch is None else _epoch_number(epoch)
        if not bench.ready.is_set():
            yield [_busy("Loading the networks, which takes some ten seconds once …"), *KEPT * len(rows)]
        yield from run_networks(picture, remarks, run, number, size)
    except Exception as error:
        yield ["Nothing was translated.", *EMPTY * len(rows)]
        told = _told_error(error)
        raise told from (None if told is error else error)


def _run_networks(
    bench: Workbench,
    rows: list[Reading],
    picture: Image.Image,
    remarks: list[str],
    run: str | None,
    epoch: int | None,
    size: str,
) -> Iterator[list[Any]]:
    """`_translate`, once the picture is known to be one."""
    translator = bench.translator(run, epoch)
    info, began = translator.checkpoint.info, time.monotonic()
    worked, more = _working_size(picture.size, size, info.config.data, translator.device.type)
    names, shown = _domains(info), []
    read = _served(rows[0].pictures[0], "input.png", lambda path: picture.save(path, compress_level=1))
    for row in rows:
        yield [_busy("Translating …"), *shown, *KEPT * (len(rows) - len(shown) // len(KEPT))]
        if row.direction not in translator.generators:
            shown += EMPTY
            continue
        result = translator.translate(picture, row.direction, reconstruct=True, size=worked)
        here, there = (names[domain] for domain in row.direction)
        shown += [
            read,
            _saved(row.pictures[1], result.fake, f"{info.tag} as {there}", translator, row.direction),
            _saved(row.pictures[2], result.rec, f"{info.tag} back to {here}", translator, row.direction),
            *_lost(row.pictures[3], picture, result.rec),
        ]
    said = f"Epoch {info.epoch}, {picture.width}×{picture.height} pixels, {time.monotonic() - began:.1f} s."
    yield [" ".join([said, *remarks, *more]), *shown]


# --- sizes --------------------------------------------------------------------------------------------------


def _reduced(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """The picture within MAX_SHOWN_PIXELS, and what to say of it."""
    width, height = picture.size
    if width * height <= MAX_SHOWN_PIXELS:
        return picture, []
    scale = math.sqrt(MAX_SHOWN_PIXELS / (width * height))
    smaller = picture.resize((max(1, int(width * scale)), max(1, int(height * scale))), Image.Resampling.BICUBIC)
    return smaller, [f"Your picture of {width}×{height} was reduced to {smaller.width}×{smaller.height} first."]


def _working_size(size: tuple[int, int], choice: str, data: DataConfig, device: str) -> tuple[int | None, list[str]]:
    """The shorter side to work at, None for the picture's own, and what to say of it."""
    shorter = min(size)
    training = _training_side(size, data)
    # Up to twice the training size, things are still of a size that the networks know, and results are sharper.
    wanted = {"original": shorter, "training": training, "auto": min(max(shorter, training), 2 * training)}[choice]
    most = MAX_WORKED_PIXELS.get(device, MAX_WORKED_PIXELS_ELSEWHERE)
    scale = wanted / shorter
    if size[0] * size[1] * scale * scale <= most:
        return (None if wanted == shorter else wanted), []
    worked = max(1, int(math.sqrt(most / (size[0] * size[1])) * shorter))
    width, height = (max(1, round(side * worked / shorter)) for side in size)
    said = f"It was worked at {width}×{height} and scaled back, because more would take this computer too long."
    return worked, [said]


def _training_side(size: tuple[int, int], data: DataConfig) -> int:
    """The shorter side at which things are as large as they were in training."""
    shorter = min(size)
    match data.preprocess:
        case "none":
            return shorter
        case "crop":
            return max(shorter, data.crop_size)
        case "scale_width":
            return max(1, round(shorter * data.crop_size / size[0]))
        case "scale_width_crop":
            return max(data.crop_size, round(shorter * data.load_size / size[0]))
        case _:  # Whole pictures were squeezed to a square.
            return data.crop_size


# --- words --------------------------------------------------------------------------------------------------


def _busy(text: str) -> str:
    return f'<span class="busy">{text}</span>'


def _lost(component: gr.Image, picture: Image.Image, rec: Image.Image | None) -> list[Any]:
    """What the way there and back has cost: its map, and its figures."""
    from cyclegan.evaluation.reconstruction import HEAT_FULL, heat_map, similarity

    if rec is None:
        return [None, ""]
    heat, found = heat_map(rec, picture), similarity(rec, picture)
    # One scale for all pictures: the name says it, in a file that leaves the page too.
    name = f"error_0_to_{HEAT_FULL}_grey_levels.png"
    said = [f"L1 {found.l1:.1f} of 255 grey levels", f"PSNR {found.psnr:.1f} dB"]
    said += [] if found.ssim is None else [f"SSIM {found.ssim:.3f}"]
    figures = f"Reconstruction: {', '.join(said)}."
    scale = f"The map is black where nothing was lost, and brightest from {HEAT_FULL} grey levels on."
    return [_served(component, name, lambda path: heat.save(path, compress_level=1)), f"{figures} {scale}"]


def _lead(info: CheckpointInfo, problems: list[str]) -> str:
    """What the page is about, and what could not be shown of the run."""
    shown = (html.escape(sentence[:1].upper() + sentence[1:]) for sentence in problems[:3])
    return _about(info) + "".join(f'<p class="notice">{sentence}.</p>' for sentence in shown)


def _about(info: CheckpointInfo) -> str:
    names = {domain: f"<b>{html.escape(name)}</b>" for domain, name in _domains(info).items()}
    if len(info.directions) == 1:
        here, there = (names[domain] for domain in info.directions[0])
        return f"<p>A network turns {here} into {there}, without ever having seen a matching pair.</p>"
    return (
        f"<p>One network turns {names['a']} into {names['b']}, another {names['b']} into {names['a']}; neither has "
        "ever seen a matching pair. Your picture goes through both, in both orders; the reading that does not fit it "
        "comes out odd. The closer the picture that came back is to the first, the less was lost on the way.</p>"
    )


def _domains(info: CheckpointInfo) -> dict[str, str]:
    return {"a": info.config.data.domain_a, "b": info.config.data.domain_b}


def _choices(infos: list[CheckpointInfo]) -> list[tuple[str, str]]:
    return [(_epoch_label(info), info.tag) for info in infos]


def _sizes(info: CheckpointInfo) -> list[tuple[str, str]]:
    data = info.config.data
    fixed = data.preprocess in ("resize", "resize_crop")
    training = f"Training, {data.crop_size} pixels" if fixed else "Training"
    return [("Automatic", "auto"), (training, "training"), ("Original", "original")]


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

    @functools.wraps(fn)  # gradio reads the signature
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


def _for_browsers(payload: dict | None) -> Any:
    """What to show in the picture's box of a file that the networks can read and browsers can't show."""
    if payload is None or Path(payload.get("path") or "").suffix.lower() not in NOT_FOR_BROWSERS:
        return gr.skip()
    return open_image(_source_of(payload))


# --- files --------------------------------------------------------------------------------------------------


def _listed(source: CheckpointSource) -> list[CheckpointInfo]:
    infos = source.list()
    if not infos:
        raise CheckpointError(f"{source.name} holds no readable checkpoint")
    return infos


def _source_of(payload: dict) -> Any:
    """The uploaded file's path, or the bytes that a browser sent within the message."""
    if payload.get("path"):
        # Gradio checks only what calls itself a file of its own, and any request may name any path.
        path = Path(str(payload["path"])).resolve()
        if not path.is_relative_to(Path(get_upload_folder()).resolve()):
            raise ImageError("This file was not uploaded here: choose it again")
        return path
    head, _, data = (payload.get("url") or "").partition(",")
    if not head.startswith("data:"):
        raise ImageError("This file did not arrive: choose it again")
    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise ImageError("This file arrived damaged: choose it again") from error


def _examples(source: CheckpointSource) -> list[Path]:
    """The source's examples, a_*.png and b_*.png in turn; none if they can't be had, which stops nothing else."""
    try:
        found = sorted(source.examples(), key=lambda path: natural_order(path.name))
    except (CheckpointError, OSError) as error:
        log.warning("no examples of %s: %s", source.name, error)
        return []
    a, b = ([p for p in found if p.name.startswith(prefix)] for prefix in ("a_", "b_"))
    turns = [path for pair in zip(a, b, strict=False) for path in pair]
    return list(itertools.islice(filter(_is_small, [*turns, *a[len(b):], *b[len(a):]]), MAX_EXAMPLES))


def _is_small(path: Path) -> bool:
    """Whether an example's header tells of a picture that is soon decoded."""
    try:
        width, height = probe_image(path)
    except ImageError as error:
        log.warning("%s", error)
        return False
    return width * height <= MAX_EXAMPLE_PIXELS


def _saved(component: gr.Image, picture: Image.Image | None, stem: str, translator: Any, direction: str) -> str | None:
    """A result as a PNG that says which checkpoint made it, in its name too."""
    from cyclegan.translator import save_png

    if picture is None:
        return None
    name = "".join(c if c.isalnum() or c == "-" else "_" for c in stem)
    name = name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")  # Domains may have names of any length.
    return _served(
        component, f"{name}.png",
        lambda path: save_png(
            picture, path, checkpoint=translator.checkpoint, direction=direction, compress_level=1
        ),
    )


def _served(component: gr.Image, name: str, write: Callable[[Path], Any], folder: str = "") -> str:
    """A new file in the component's cache: gradio serves it from there under its name, and deletes it when old."""
    path = Path(component.GRADIO_CACHE) / f"{folder}{uuid.uuid4().hex}" / name
    path.parent.mkdir(parents=True)
    write(path)
    return str(path)
