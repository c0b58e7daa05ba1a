"""The page that translates one picture, read as A and read as B, and brings it back again."""

from __future__ import annotations

import html
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.config import DIRECTIONS
from cyclegan.errors import ImageError
from cyclegan.images import open_image
from cyclegan.ui import common, words
from cyclegan.ui.common import by, domains, told
from cyclegan.ui.results import Picture, Reading, Wanted, linked, served
from cyclegan.ui.workbench import FILES, PEOPLE, Workbench, header

CSS = Path(__file__).with_name("translate.css")

OF_EXAMPLES = "example-"
"""How the folder begins that an example is served from: that is no picture of the visitor's own."""
READINGS = ("both", *DIRECTIONS)
EMPTY: list[Any] = [None, None, None, None, ""]
"""What a row shows of no reading."""
KEPT = [gr.skip()] * len(EMPTY)
"""What leaves a row as it is."""

words.add({
    "translate.reading": ("Read it as", "사진을 무엇으로 볼까요"),
    "translate.both": ("Both", "둘 다"),
    "translate.view": ("Show", "보기"),
    "translate.pictures": ("Pictures", "사진"),
    "translate.slider": ("Slider", "슬라이더"),
    "translate.lead": (
        "One network turns {a} into {b}, another {b} into {a}; neither has ever seen a matching pair. Your picture "
        "goes through both, in both orders; the reading that does not fit it comes out odd. The closer the picture "
        "that came back is to the first, the less was lost on the way.",
        "한 신경망은 {a} 사진을 {b} 사진으로, 다른 신경망은 {b} 사진을 {a} 사진으로 바꿉니다. "
        "둘 다 짝을 이룬 사진을 본 적이 없습니다. 올린 사진은 순서를 바꾸어 가며 두 신경망을 모두 지나고, 맞지 않는 "
        "쪽의 결과는 어색해 보입니다. 되돌아온 사진이 처음 사진에 가까울수록 도중에 잃은 것이 적습니다.",
    ),
    "translate.lead_one": (
        "A network turns {a} into {b}, without ever having seen a matching pair.",
        "짝을 이룬 사진을 한 번도 보지 않은 신경망이 {a} 사진을 {b} 사진으로 바꿉니다.",
    ),
    "translate.as": ("As {here}", "{here} 사진으로 볼 때"),
    "translate.no_way_back": (
        "This checkpoint has no network for {back}: no way back, and no reading as {there}.",
        "이 체크포인트에는 {back} 신경망이 없어서 되돌릴 수 없고, {there} 사진으로 볼 수도 없습니다.",
    ),
    "translate.input": ("input", "입력"),
    "translate.fake": ("as {there}", "{there} 사진으로"),
    "translate.rec": ("back to {here}", "다시 {here} 사진으로"),
    "translate.lost": ("lost on the way", "도중에 잃은 것"),
    "translate.input_alt": ("The picture, read as {here}", "{here} 사진으로 본 입력"),
    "translate.fake_alt": ("The picture, translated to {there}", "{there} 사진으로 변환한 것"),
    "translate.rec_alt": (
        "The picture as {there}, translated back to {here}", "{there} 사진으로 바꾼 뒤 다시 {here} 사진으로 되돌린 것"
    ),
    "translate.lost_alt": (
        "Where the picture that came back differs from the first one", "되돌아온 사진이 처음 사진과 다른 곳"
    ),
    "translate.busy": ("Translating …", "변환하는 중 …"),
    "translate.done": (
        "Epoch {epoch}, {size} pixels, worked at {worked}, {seconds:.1f} s.",
        "에폭 {epoch}, {size} 픽셀, 처리 크기 {worked}, {seconds:.1f}초.",
    ),
    "translate.figures": ("Reconstruction: {figures}.", "재구성: {figures}."),
    "translate.l1": ("L1 {l1:.1f} of 255 grey levels", "L1 {l1:.1f} (255 계조 기준)"),
    "translate.scale": (
        "The map is black where nothing was lost, and brightest from {full} grey levels on.",
        "차이 지도에서 검은 곳은 잃은 것이 없는 곳이고, 차이가 {full} 계조 이상인 곳이 가장 밝습니다.",
    ),
})


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`.

    Raises:
        CheckpointError: the first run holds no readable checkpoint.
    """
    first = next(iter(bench.runs))
    infos = common.listed(bench.run(first))
    info, say = infos[0], words.speaker()
    header("translate")
    lead = gr.HTML(_lead(info, bench.run(first).problems, say), elem_classes="lead")
    with gr.Row(elem_classes="page"):
        with gr.Column(elem_classes="given"):
            image, examples = common.picture_inputs(240)
        with gr.Column(elem_classes="results"):
            note = gr.HTML(common.busy(say("said.starting")), label="note", elem_classes="note")
            cancel = gr.Button(words.label("cancel"), size="sm", elem_classes="cancel")
            with gr.Row(elem_classes="switches"):
                reading = gr.Radio(_readings(info, say), value="both", label=words.label("translate.reading"))
                view = gr.Radio(
                    [(words.label(f"translate.{name}"), name) for name in ("pictures", "slider")], value="pictures",
                    label=words.label("translate.view"),
                )
            rows = [Row(direction, info, say) for direction in DIRECTIONS]
        with gr.Column(elem_classes="settings"):
            run = common.run_dropdown(bench)
            epoch, refresh = common.epoch_dropdown(infos)
            size = common.size_dropdown()

    known = gr.State(None)  # The newest epoch that the page has heard of.
    shown_run = gr.State(first)  # The run that all of this is about, whatever is typed.
    about = [shown_run, known, lead, epoch, reading, *(part for row in rows for part in row.about)]
    results = [note, *(part for row in rows for part in row.results)]

    def describe(run: str, tag: str | None, reading: str, request: gr.Request) -> list[Any]:
        """What depends on the run and its epoch (the newest, if it isn't there), in the order of `about`."""
        source, say = bench.run(run), words.speaker(request)
        infos = common.listed(source)
        info = next((i for i in infos if i.tag == tag), infos[0])
        reading = reading if reading in info.directions else "both"
        return [
            run,
            infos[0].tag,
            _lead(info, source.problems, say),
            gr.Dropdown(common.epoch_choices(infos, say), value=info.tag),
            gr.Radio(_readings(info, say), value=reading, visible=len(info.directions) > 1),
            *(part for row in rows for part in row.describe(info, reading, say)),
        ]

    def open_page(run: str, reading: str, request: gr.Request) -> list[Any]:
        """The run and the epoch that the address names, else the first run's newest, and the run's examples."""
        run, tag = common.asked(bench, request, run)
        return [gr.Dropdown(value=run), *describe(run, tag, reading, request), common.examples_gallery(bench.run(run))]

    def open_run(run: str, reading: str, request: gr.Request) -> list[Any]:
        """The newest epoch and the examples."""
        return [*describe(run, None, reading, request), common.examples_gallery(bench.run(run))]

    def first_picture(run: str, payload: dict | None, request: gr.Request) -> list[Any]:
        """As the picture the visitor's own, or else the run's first example; it is translated as it changes."""
        say = words.speaker(request)
        given = common.source_of(payload) if payload and payload.get("path") else None
        if given is not None and not given.parent.name.startswith(OF_EXAMPLES):
            # Under a new name, so that it counts as changed and is translated with this run's networks.
            picture = linked(given)
        else:
            picture = take_example(run, 0)
        return [picture, common.busy(say("said.starting")) if picture else say("said.choose")]

    def take_example(run: str, index: int) -> str | None:
        paths = common.examples_of(bench.run(run))
        if index >= len(paths):
            return None
        return served(paths[index].name, lambda path: shutil.copyfile(paths[index], path), OF_EXAMPLES)

    def pick_example(run: str, event: gr.SelectData) -> str | None:
        return take_example(run, event.index)

    def look_again(run: str, tag: str | None, reading: str, known: str | None, request: gr.Request) -> list[Any]:
        """Find epochs that a running training has added since the last look, and go on to the newest of those."""
        info, new = common.look_for_newer(bench.run(run), known, words.speaker(request))
        return describe(run, info.tag if new else tag, reading, request)

    def translate(
        image: dict | None, run: str | None = None, epoch: str | None = None, size: str = "auto",
        reading: str = "both", request: gr.Request = None,  # type: ignore[assignment]  # gradio's way to ask for it
    ) -> Iterator[list[Any]]:
        yield from _translate(bench, image, run, epoch, size, reading, words.speaker(request))

    work = {
        "fn": translate, "inputs": [image, run, epoch, size, reading], "outputs": results,
        "trigger_mode": "always_last",
        # The file itself reaches `open_image`; gradio would decode it first, and fail in its own words.
        "preprocess": False,
        **PEOPLE, "show_progress": "minimal", "show_progress_on": note,
    }
    quick = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    sliders = [row.sliders for row in rows]

    def slide(view: str, *results: Any) -> list[Any]:
        """The sliders' pictures: input and translation, input and what came back."""
        shown = []
        for n in range(len(rows)):
            read, fake, rec = (_path(part) for part in results[len(EMPTY) * n :][:3])
            shown += [(read, fake) if fake else None, (read, rec) if rec else None] if view == "slider" else [None] * 2
        return shown

    def choose_view(view: str, *results: Any) -> list[Any]:
        boxes = [gr.Row(visible=view == name) for _ in rows for name in ("pictures", "slider")]
        return [*boxes, *slide(view, *results)]

    def cancelled(request: gr.Request) -> list[Any]:
        return [words.speaker(request)("said.nothing"), *EMPTY * len(rows)]

    # Not `input`: when a picture is taken away that the server had put there, it still brings that picture.
    given = gr.on(
        [image.change, size.input], **work, api_name="translate",
        api_description=(
            "Translate a picture in both readings, and bring it back. image: a picture file. run: name of a run, "
            "the first by default, or USER/NAME on the Hub. epoch: a checkpoint such as 'epoch-0012', the newest by "
            "default. size: 'auto' works at the picture's own size up to twice the one that the networks were trained "
            "on, 'training' works at the size that the networks were trained on, 'original' at the picture's own, "
            "and a number such as '512' with the shorter side of so many pixels; the result always has the picture's "
            "size. reading: 'both', or only 'ab' or 'ba'. Returns a sentence; then for A → B and for B → A: the "
            "picture as it was read, translated, brought back, where it differs then (None where the checkpoint has "
            "one direction only), and a sentence with L1, PSNR and SSIM."
        ),
    )  # fmt: skip
    slid = {"fn": slide, "inputs": [view, *results[1:]], "outputs": [one for pair in sliders for one in pair],
            "preprocess": False, **quick}  # fmt: skip
    opening = {**quick, **FILES}
    given.failure(common.unless_bad, image, image, preprocess=False, **opening)
    given.success(told(common.for_browsers), image, image, preprocess=False, **opening).then(**slid)

    # First the run's own epoch, then the picture: what translates it as it changes must not see another run's epoch.
    page = gr.context.Context.root_block
    # Queued: gradio shows the notices of no other event.
    queued = {**quick, "queue": True, "concurrency_limit": None}
    opened = page.load(told(open_page), [run, reading], [run, *about, examples], **queued)
    chosen = run.input(told(open_run), [run, reading], [*about, examples], **queued)
    chosen.failure(lambda shown: gr.Dropdown(value=shown), shown_run, run, **quick)
    for event in (opened, chosen):
        event.success(told(first_picture), [run, image], [image, note], preprocess=False, **opening)
    examples.select(told(pick_example), run, image, **quick)
    # An epoch or a reading keeps the picture.
    again = {**work, "api_name": "translate_again", "api_visibility": "private"}
    works = [given]
    for choice in (epoch, reading):
        changed = choice.input(told(describe), [run, epoch, reading], about, preprocess=False, **queued)
        works.append(changed.success(**again))
        works[-1].success(**slid)
    found = refresh.click(told(look_again), [run, epoch, reading, known], about, preprocess=False, **queued)
    works.append(found.success(**again))
    works[-1].success(**slid)
    cancel.click(None, cancels=works, queue=False).then(cancelled, None, results, **quick)
    boxes = [box for row in rows for box in row.boxes]
    view.input(choose_view, [view, *results[1:]], [*boxes, *slid["outputs"]], preprocess=False, **quick)
    # Screen readers are told what goes on.
    page.load(None, js="() => document.querySelector('.note').setAttribute('role', 'status')", **quick)


# --- one reading: input | translated | back again -----------------------------------------------------------


class Row:
    """One row of the page: a heading, four pictures, a sentence. Builds itself into the current layout."""

    def __init__(self, direction: str, info: CheckpointInfo, say: words.Speaker) -> None:
        self.direction = direction
        with gr.Column(visible=direction in info.directions, elem_classes="reading") as self.box:
            self.heading = gr.HTML(self._heading(info, say))
            with gr.Row(elem_classes="pictures") as pictures:
                self.pictures = [
                    gr.Image(interactive=False, format="png", buttons=["download", "fullscreen"], **look)
                    for look in self._looks(info, say)
                ]
            with gr.Row(elem_classes="sliders", visible=False) as sliders:
                self.sliders = [
                    gr.ImageSlider(interactive=False, format="png", buttons=["fullscreen"], slider_position=50, **look)
                    for look in self._slider_looks(info, say)
                ]
            self.words = gr.HTML(label="reconstruction error", elem_classes="words")
        self.boxes = [pictures, sliders]
        self.about = [self.box, self.heading, *self.pictures, *self.sliders]
        self.results = [*self.pictures, self.words]

    def describe(self, info: CheckpointInfo, reading: str, say: words.Speaker) -> list[Any]:
        """Names and visibility for a checkpoint, in the order of `about`."""
        return [
            gr.Column(visible=self.direction in info.directions and reading in ("both", self.direction)),
            self._heading(info, say),
            *(gr.Image(**look) for look in self._looks(info, say)),
            *(gr.ImageSlider(**look) for look in self._slider_looks(info, say)),
        ]

    def _names(self, info: CheckpointInfo) -> dict[str, str]:
        here, there = (domains(info)[domain] for domain in self.direction)
        return {"here": here, "there": there}

    def _looks(self, info: CheckpointInfo, say: words.Speaker) -> list[dict[str, Any]]:
        names, both = self._names(info), self.direction[::-1] in info.directions
        shown = {"input": True, "fake": True, "rec": both, "lost": both}
        return [
            {"label": say(f"translate.{part}", **names), "alt_text": say(f"translate.{part}_alt", **names),
             "visible": visible}
            for part, visible in shown.items()
        ]  # fmt: skip

    def _slider_looks(self, info: CheckpointInfo, say: words.Speaker) -> list[dict[str, Any]]:
        return [
            {"label": f"{looks[0]['label']} | {looks[1]['label']}", "visible": looks[1]["visible"]}
            for everything in [self._looks(info, say)]
            for looks in (everything[0:2], everything[0:3:2])
        ]

    def _heading(self, info: CheckpointInfo, say: words.Speaker) -> str:
        names = self._names(info)
        here, there = names["here"], names["there"]
        heading = html.escape(say("translate.as", **names))
        if self.direction[::-1] in info.directions:
            return f"<h2>{heading} <span>{html.escape(f'{here} → {there} → {here}')}</span></h2>"
        why = html.escape(say("translate.no_way_back", back=f"{there} → {here}", there=there))
        return f"<h2>{heading} <span>{html.escape(f'{here} → {there}')}</span></h2><p>{why}</p>"


def _translate(
    bench: Workbench, payload: dict | None, run: str | None, epoch: str | None, size: str, reading: str,
    say: words.Speaker,
) -> Iterator[list[Any]]:
    """The values of `results`, one reading after the other; cleared before an error is told."""
    if payload is None:
        yield [say("said.choose"), *EMPTY * len(DIRECTIONS)]
        return
    try:
        wanted_size = common.checked_size(size)
        if reading not in READINGS:
            raise ImageError(
                "there is no reading {reading!r}: choose {names}",
                reading=reading[:40], names=' or '.join(READINGS),
            )
        image, remarks = common.reduced(open_image(common.source_of(payload), name="This file"), say)
        info = bench.info(run, None if epoch is None else common.epoch_number(epoch))
        if not bench.ready.is_set():
            yield [common.busy(say("said.loading")), *KEPT * len(DIRECTIONS)]
        worked, more = common.working_side(image.size, wanted_size, info.config.data, bench.device_type(), say)
        picture, began = Picture(image), time.monotonic()
        directions = [one for one in DIRECTIONS if one in info.directions and reading in ("both", one)]
        wanted = [Wanted(run or next(iter(bench.runs)), info.epoch, info.commit_sha, one, worked) for one in directions]
        shown = {direction: [] if direction in directions else EMPTY for direction in DIRECTIONS}
        made = bench.follow(picture, wanted, say)
        for count, direction in enumerate(directions):
            while not isinstance(step := next(made), Reading):
                percent = 100 * (count + step) / len(directions)
                rows = [part for row in shown.values() for part in row or KEPT]
                yield [common.busy(say("translate.busy") + (f" {percent:.0f} %" if step else "")), *rows]
            shown[direction] = _shown(bench.input(picture), step, say)
        size_then = by(image.size if worked is None else common.working_size(image.size, worked))
        said = say(
            "translate.done", epoch=info.epoch, size=by(image.size), worked=size_then, seconds=time.monotonic() - began
        )
        yield [" ".join([said, *remarks, *more]), *(part for row in shown.values() for part in row)]
    except Exception as error:
        yield [say("said.nothing"), *EMPTY * len(DIRECTIONS)]
        told = common.told_error(error, say)
        raise told from (None if told is error else error)


def _shown(read: str, reading: Reading, say: words.Speaker) -> list[Any]:
    """What a row shows of a reading, and of what the way there and back has cost."""
    from cyclegan.evaluation.reconstruction import HEAT_FULL

    figures = reading.similarity
    if figures is None:
        return [read, reading.fake, None, None, ""]
    parts = [say("translate.l1", l1=figures.l1), f"PSNR {figures.psnr:.1f} dB"]
    parts += [] if figures.ssim is None else [f"SSIM {figures.ssim:.3f}"]
    said = f"{say('translate.figures', figures=', '.join(parts))} {say('translate.scale', full=HEAT_FULL)}"
    return [read, reading.fake, reading.rec, reading.lost, said]


def _path(payload: Any) -> str | None:
    """The path of a picture that this page shows."""
    return str(common.source_of(payload)) if payload else None


def _lead(info: CheckpointInfo, problems: list[str], say: words.Speaker) -> str:
    """What the page is about, and what could not be shown of the run."""
    names = {domain: f"<b>{html.escape(name)}</b>" for domain, name in domains(info).items()}
    if len(info.directions) == 1:
        here, there = (names[domain] for domain in info.directions[0])
        return f"<p>{say('translate.lead_one', a=here, b=there)}</p>{common.notices(problems, say)}"
    return f"<p>{say('translate.lead', **names)}</p>{common.notices(problems, say)}"


def _readings(info: CheckpointInfo, say: words.Speaker) -> list[tuple[Any, str]]:
    names = domains(info)
    return [(words.label("translate.both"), "both"), *((names[one[0]], one) for one in info.directions)]
