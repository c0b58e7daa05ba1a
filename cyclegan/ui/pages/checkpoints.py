"""The page of a run's epochs: their test pictures, losses, figures, dates; and the way to use one of them."""

from __future__ import annotations

import base64
import functools
import html
import io
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import gradio as gr
from PIL import Image

from cyclegan.checkpoints.format import CheckpointInfo
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.errors import CheckpointError, ImageError
from cyclegan.images import open_image, probe_image
from cyclegan.ui import common, words
from cyclegan.ui.common import arrow, domains, told
from cyclegan.ui.curves import curves
from cyclegan.ui.results import file_name, served
from cyclegan.ui.workbench import Workbench, header

CSS = Path(__file__).with_name("checkpoints.css")

PAGE = 12
"""How many epochs are shown at first, and more at a time."""
MAX_GRID_PIXELS = common.MAX_SHOWN_PIXELS
THUMBNAIL = 320, 960
"""Most pixels in width and height."""
MAX_THUMBNAILS = 512
"""So many are remembered, of some 20 kB each."""
MAX_OTHERS = 12
"""Figures that this program does not write and that are shown all the same."""
MIN_COMPARED, MAX_COMPARED = 2, 6
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LOOKS: dict[str, Any] = {"concurrency_id": "checkpoints", "concurrency_limit": 32}
"""For the events that may ask the Hub."""


class Figure(NamedTuple):
    """A row of an epoch's table; its meaning is said by the words `checkpoints.KEY` and `checkpoints.KEY_means`."""

    key: str
    names: Mapping[str, str]
    """What a checkpoint calls it, by the direction in whose column it stands."""
    shown: str = "{:.3f}"
    is_metric: bool = False
    best: Callable[[list[float]], float] | None = None
    """What is marked, of those that are better the nearer the pictures come to others that are known."""

    def of(self, info: CheckpointInfo, direction: str) -> float | None:
        """The epoch's value, None if there is none that is a number."""
        value = (info.metrics if self.is_metric else info.losses).get(self.names[direction])
        return value if value is not None and math.isfinite(value) else None


def _metric(key: str, shown: str, best: Callable[[list[float]], float] | None = None) -> Figure:
    return Figure(key, {d: f"{key}_{d}" for d in ("ab", "ba")}, shown, True, best)


# A direction's column holds what its generator is trained by: a → b → a is compared with a; disc_b judges its fakes.
FIGURES = (
    Figure("cycle", {"ab": "cycle_a", "ba": "cycle_b"}),
    Figure("gan", {"ab": "gan_ab", "ba": "gan_ba"}),
    Figure("identity", {"ab": "identity_b", "ba": "identity_a"}),
    Figure("disc", {"ab": "disc_b", "ba": "disc_a"}),
    _metric("reconstruction_l1", "{:.1f}", min),
    _metric("truth_l1", "{:.1f}", min),
    _metric("change_l1", "{:.1f}"),
    _metric("diversity", "{:.2f}"),
    Figure("disc_accuracy", {"ab": "disc_accuracy_b", "ba": "disc_accuracy_a"}, "{:.0%}", True),
)

words.add({
    "checkpoints.lead": (
        "Every epoch that a training has kept, with the same test pictures each time: real, translated, brought back.",
        "학습이 저장한 모든 에폭을 늘 같은 시험 사진(원본, 변환, 되돌린 것)과 함께 보여 줍니다.",
    ),
    "checkpoints.opening": ("Opening …", "여는 중 …"),
    "checkpoints.one": ("{name}: one epoch, {domains}.", "{name}: 에폭 1개, {domains}."),
    "checkpoints.many": ("{name}: {count} epochs, {domains}.", "{name}: 에폭 {count}개, {domains}."),
    "checkpoints.method": ("Method", "방법"),
    "checkpoints.generator": ("Generator", "생성자"),
    "checkpoints.trained_at": ("Trained at", "학습 크기"),
    "checkpoints.pixels": ("{size} pixels", "{size} 픽셀"),
    "checkpoints.address": ("Address", "주소"),
    "checkpoints.chosen": ("Epoch {epoch}", "에폭 {epoch}"),
    "checkpoints.newest": ("newest", "최신"),
    "checkpoints.samples": ("Test pictures", "시험 사진"),
    "checkpoints.samples_of": (
        "Test pictures of epoch {epoch}. Select one to see it larger.",
        "에폭 {epoch}의 시험 사진입니다. 누르면 크게 볼 수 있습니다.",
    ),
    "checkpoints.no_samples": ("Epoch {epoch} came without test pictures.", "에폭 {epoch}에는 시험 사진이 없습니다."),
    "checkpoints.not_loaded": ("The test pictures could not be had.", "시험 사진을 가져오지 못했습니다."),
    "checkpoints.none": ("no test pictures", "시험 사진 없음"),
    "checkpoints.failed": ("not to be had", "가져오지 못함"),
    "checkpoints.all": ("All epochs", "모든 에폭"),
    "checkpoints.steps": ("{steps:,} steps", "{steps:,} 스텝"),
    "checkpoints.show": ("Show", "보기"),
    "checkpoints.show_epoch": ("Show epoch {epoch}", "에폭 {epoch} 보기"),
    "checkpoints.translate": ("Translate with this", "이것으로 변환"),
    "checkpoints.translate_epoch": ("Translate with epoch {epoch}", "에폭 {epoch}의 신경망으로 변환"),
    "checkpoints.compare": ("Compare", "비교"),
    "checkpoints.tick_epoch": ("Compare epoch {epoch}", "에폭 {epoch} 비교"),
    "checkpoints.tick": ("Tick {least} to {most} epochs to compare them.", "비교할 에폭을 {least}~{most}개 고르세요."),
    "checkpoints.go": ("Compare the ticked epochs", "고른 에폭 비교하기"),
    "checkpoints.more": ("Show {more} more of {rest}", "{rest}개 중 {more}개 더 보기"),
    "checkpoints.losses": ("Losses in training", "학습 손실"),
    "checkpoints.metrics": ("On the test pictures", "시험 사진에서"),
    "checkpoints.others": ("Others", "기타"),
    "checkpoints.lowest": ("lowest of this run", "이 학습 실행에서 가장 낮음"),
    "checkpoints.legend": ("What the figures mean", "수치의 뜻"),
    "checkpoints.dot": (
        "A dot marks the lowest of the run in its row. A low figure is no promise of better pictures: look at them.",
        "점은 이 학습 실행에서 그 줄의 가장 낮은 값입니다. 수치가 낮다고 그림이 더 좋은 것은 아니니 직접 보세요.",
    ),
    "checkpoints.cycle": ("cycle", "순환"),
    "checkpoints.cycle_means": (
        "how far pictures brought back are from their originals, between −1 and 1 (0 to 2)",
        "되돌린 사진이 원본과 다른 정도 (픽셀값 −1~1 기준, 0~2)",
    ),
    "checkpoints.gan": ("adversarial", "적대적"),
    "checkpoints.gan_means": (
        "what the generator is told by the discriminator of its results; the two pull against each other",
        "판별자가 생성 결과에 매긴 손실. 두 신경망은 서로 겨룹니다",
    ),
    "checkpoints.identity": ("identity", "항등"),
    "checkpoints.identity_means": (
        "how much the generator changes pictures that are of its target already (0 to 2)",
        "이미 목표 영역인 사진을 생성자가 바꾸는 정도 (0~2)",
    ),
    "checkpoints.disc": ("discriminator", "판별"),
    "checkpoints.disc_means": (
        "the loss of the discriminator that judges this direction's results",
        "이 방향의 결과를 판정하는 판별자의 손실",
    ),
    "checkpoints.reconstruction_l1": ("reconstruction L1 (of 255)", "재구성 L1 (255 중)"),
    "checkpoints.reconstruction_l1_means": (
        "how far test pictures brought back are from their originals, in grey levels",
        "되돌린 시험 사진이 원본과 다른 정도 (계조)",
    ),
    "checkpoints.truth_l1": ("truth L1 (of 255)", "정답 L1 (255 중)"),
    "checkpoints.truth_l1_means": (
        "how far translations are from the true pictures, where those are known, in grey levels",
        "정답 사진을 아는 경우, 변환 결과가 정답과 다른 정도 (계조)",
    ),
    "checkpoints.change_l1": ("change L1 (of 255)", "변화 L1 (255 중)"),
    "checkpoints.change_l1_means": (
        "how far translations are from their inputs, in grey levels; near 0, nothing is translated",
        "변환 결과가 입력과 다른 정도 (계조). 0에 가까우면 변환하지 않은 것입니다",
    ),
    "checkpoints.diversity": ("diversity", "다양성"),
    "checkpoints.diversity_means": (
        "how much translations differ from each other, over how much their inputs do; near 0, all look alike",
        "변환 결과들이 서로 다른 정도를 입력들이 서로 다른 정도로 나눈 값. 0에 가까우면 모두 비슷합니다",
    ),
    "checkpoints.disc_accuracy": ("discriminator is right", "판별 정확도"),
    "checkpoints.disc_accuracy_means": (
        "share of patches, real and translated, that the discriminator of the target calls by the right name",
        "목표 영역의 판별자가 진짜 조각과 변환된 조각을 바르게 가려낸 비율",
    ),
})  # fmt: skip

# What the list does in the browser: fetch the thumbnails of cards in sight, hand on the choice, collect what is ticked.
# Its cards are rewritten in place when the list changes, so everything is put on them again.
JS = """
const pictures = new Map(), ticked = new Set(), waiting = new Set();
let run = null, fetching = 0;
const list = () => element.querySelector('.epochs');
const cards = () => [...element.querySelectorAll('.epoch-card')];
const key = card => JSON.stringify([run, card.dataset.epoch, card.dataset.sha]);

function hang(card) {
  const found = pictures.get(key(card));
  if (found === undefined) return false;
  const images = [...card.querySelectorAll('img')].filter(image => {
    const source = (found || {})[image.dataset.direction];
    image.hidden = !source;
    if (source && image.getAttribute('src') !== source) image.src = source;
    return source;
  });
  card.dataset.pictures = found === null ? 'failed' : images.length ? 'here' : 'none';
  return true;
}
async function next() {
  if (fetching >= 3 || !waiting.size) return;
  const card = waiting.values().next().value;
  waiting.delete(card);
  if (!card.isConnected || hang(card)) return next();
  const name = key(card);
  fetching++;
  try {
    pictures.set(name, await server.thumbnails({run, epoch: card.dataset.epoch}));
  } catch { pictures.set(name, null); }
  fetching--;
  cards().forEach(hang);
  next();
}
const sight = new IntersectionObserver(entries => {
  for (const {target, isIntersecting} of entries)
    if (!isIntersecting) waiting.delete(target);
    else if (!hang(target)) { waiting.add(target); next(); }
}, {rootMargin: '200px'});

function count() {
  const link = element.querySelector('.go'), {least, most} = list().dataset;
  const names = [...ticked].sort().map(tag => encodeURIComponent(run + '@' + tag));
  const enough = names.length >= least && names.length <= most;
  if (enough) link.href = 'compare?entries=' + names.join(',');
  else link.removeAttribute('href');
  link.hidden = !enough;
  element.querySelector('.tick-hint').hidden = enough;
  for (const box of element.querySelectorAll('.tick input'))
    box.disabled = !box.checked && ticked.size >= most;
}
function dress() {
  if (!list()) return;
  if (list().dataset.run !== run) { run = list().dataset.run; ticked.clear(); waiting.clear(); }
  for (const card of cards()) {
    card.querySelector('.tick input').checked = ticked.has(card.dataset.epoch);
    if (hang(card)) continue;
    delete card.dataset.pictures;
    sight.unobserve(card);
    sight.observe(card);
  }
  count();
}
element.addEventListener('change', event => {
  const card = event.target.closest('.epoch-card');
  if (!card || !event.target.matches('.tick input')) return;
  ticked[event.target.checked ? 'add' : 'delete'](card.dataset.epoch);
  count();
});
element.addEventListener('click', event => {
  const button = event.target.closest('button.show');
  if (!button) return;
  trigger('pick', {epoch: button.closest('.epoch-card').dataset.epoch});
  document.querySelector('.chosen').scrollIntoView({block: 'start'});
});
watch('value', dress);
dress();
"""

ADDRESS = """(run, epoch) => {
  if (run && epoch) history.replaceState(null, '', location.pathname + '?' + new URLSearchParams({run, epoch}));
}"""


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`.

    Raises:
        CheckpointError: the first run holds no readable checkpoint.
    """
    infos = common.listed(bench.run(None))
    header("checkpoints")
    gr.HTML(words.label("checkpoints.lead"), elem_classes="lead")
    with gr.Row(elem_classes="choose"):
        run = common.run_dropdown(bench)
        epoch, refresh = common.epoch_dropdown(infos)
    about = gr.HTML(elem_classes="about-run")
    with gr.Column(elem_classes="chosen"):
        heading = gr.HTML()
        note = gr.HTML(common.busy(words.speaker()("said.starting")), label="note", elem_classes="note")
        grids = gr.Gallery(
            label=words.label("checkpoints.samples"), columns=2, object_fit="contain", format="png", height="auto",
            interactive=False, elem_classes="grids", buttons=["download", "fullscreen"],
        )
    trend = gr.HTML(elem_classes="trend")

    def thumbnails(wanted: Any) -> dict[str, str] | None:
        return _thumbnails(bench, wanted)

    cards = gr.HTML(elem_classes="cards", js_on_load=JS, server_functions=[thumbnails])
    more = gr.Button(visible=False, elem_classes="more")
    # What the page shows, to go on with after a choice that failed; the newest epoch heard of; cards shown.
    opened, known, count = gr.State(next(iter(bench.runs))), gr.State(None), gr.State(PAGE)
    shown = [opened, known, count, epoch, about, heading, cards, more]

    def show(run: str, tag: str | None, count: int, say: words.Speaker) -> list[Any]:
        """A run with an epoch of it (the newest, if it isn't there), in the order of `shown`."""
        source = bench.run(run)
        infos = common.listed(source)
        info = next((i for i in infos if i.tag == tag), infos[0])
        rest = len(infos) - count
        return [
            run, infos[0].tag, count,
            gr.Dropdown(common.epoch_choices(infos, say), value=info.tag),
            _about(source, infos, say),
            _heading(info, say),
            _cards(run, infos, count, info, say),
            gr.Button(say("checkpoints.more", more=min(PAGE, rest), rest=rest), visible=True) if rest > 0
            else gr.Button(visible=False),
        ]  # fmt: skip

    def open_page(run: str, request: gr.Request) -> list[Any]:
        """The run and the epoch that the address names, else the first run's newest."""
        run, tag = common.asked(bench, request, run)
        return [gr.Dropdown(value=run), *show(run, tag, PAGE, words.speaker(request))]

    def say_opening(request: gr.Request) -> str:
        return common.busy(words.speaker(request)("checkpoints.opening"))

    def open_run(run: str, request: gr.Request) -> list[Any]:
        return show((run or "").strip(), None, PAGE, words.speaker(request))

    def keep(opened: str) -> list[Any]:
        """After a failure: what is shown stays, and its name stands over it."""
        return [opened, ""]

    def choose(opened: str, tag: str | None, count: int, request: gr.Request) -> list[Any]:
        return show(opened, tag, count, words.speaker(request))

    def pick(opened: str, count: int, request: gr.Request, event: gr.EventData) -> list[Any]:
        return show(opened, bench.info(opened, common.epoch_number(event.epoch)).tag, count, words.speaker(request))

    def show_more(opened: str, tag: str | None, count: int, request: gr.Request) -> list[Any]:
        return show(opened, tag, count + PAGE, words.speaker(request))

    def look_again(opened: str, tag: str | None, known: str | None, count: int, request: gr.Request) -> list[Any]:
        """Find epochs that a running training has added since the last look, and go on to the newest of those."""
        say = words.speaker(request)
        info, new = common.look_for_newer(bench.run(opened), known, say)
        return show(opened, info.tag if new else tag, count, say)

    def draw(opened: str, tag: str | None, request: gr.Request) -> str:
        infos = common.listed(bench.run(opened))
        return curves(infos, [info.epoch for info in infos if info.tag == tag], words.speaker(request))

    def samples(
        run: str | None = None, epoch: str | None = None,
        request: gr.Request = None,  # type: ignore[assignment]  # gradio's way to ask for it
    ) -> Iterator[list[Any]]:
        yield from _samples(bench, run, epoch, words.speaker(request))

    def checkpoints(
        run: str | None = None, request: gr.Request = None,  # type: ignore[assignment]
    ) -> tuple[str, list[dict[str, Any]]]:
        source = bench.run(run)
        infos = common.listed(source)
        return _sentence(source, infos, words.speaker(request)), [_entry(info) for info in infos]

    private = {"preprocess": False, "show_progress": "hidden", "api_visibility": "private", **LOOKS}
    pictures = {
        "fn": samples, "inputs": [run, epoch], "outputs": [note, grids], "preprocess": False,
        "trigger_mode": "always_last", "show_progress": "minimal", "show_progress_on": note, **LOOKS,
    }  # fmt: skip
    described = (
        "The fixed test pictures of an epoch. run: name of a run, the first by default, or USER/NAME on the Hub. "
        "epoch: a checkpoint such as 'epoch-0012', the newest by default. Returns a sentence, and a list of PNG files "
        "with captions, one per direction: a grid with a row per picture, and in columns the real one, its "
        "translation, what was brought back, and where it is known the true one. The list may be empty."
    )

    def go_on(event: Any, **api: Any) -> None:
        """After a choice: the address, the pictures, the curves, which take longest; or all as it was."""
        event.failure(keep, opened, [run, note], **private)
        event.success(None, [run, epoch], js=ADDRESS, **private)
        event.success(**pictures, **{"api_name": "samples_again", "api_visibility": "private", **api})
        event.success(told(draw), [opened, epoch], trend, **private)

    page = gr.context.Context.root_block
    go_on(epoch.input(told(choose), [opened, epoch, count], shown, **private), api_name="samples",
          api_visibility="public", api_description=described)  # fmt: skip
    go_on(page.load(told(open_page), run, [run, *shown], **private))
    go_on(run.input(say_opening, None, note, **private).then(told(open_run), run, shown, **private))
    go_on(cards.pick(told(pick), [opened, count], shown, **private))
    go_on(refresh.click(told(look_again), [opened, epoch, known, count], shown, **private))
    more.click(told(show_more), [opened, epoch, count], shown, **private)
    sentence, entries = gr.Textbox(visible=False, label="sentence"), gr.JSON(visible=False, label="epochs")
    gr.Button(visible=False).click(
        told(checkpoints), run, [sentence, entries], api_name="checkpoints", preprocess=False, **LOOKS,
        api_description=(
            "The epochs of a run, without their weights. run: name of a run, the first by default, or USER/NAME or "
            "USER/NAME@epoch-0012 on the Hub. Returns a sentence, and a list of epochs, newest first, each with epoch, "
            "tag, commit_sha, created (ISO 8601, UTC), global_step, losses, metrics, directions ('ab', 'ba'), domains "
            "(names of 'a' and 'b'). A loss or metric that is no finite number is null."
        ),
    )  # fmt: skip
    # Screen readers are told what goes on.
    page.load(None, js="() => document.querySelector('.note').setAttribute('role', 'status')", **private)


# --- pictures -----------------------------------------------------------------------------------------------


def _samples(bench: Workbench, run: str | None, epoch: str | None, say: words.Speaker) -> Iterator[list[Any]]:
    """The note and the gallery of an epoch's grids; cleared before an error is told."""
    try:
        info = bench.info(run, None if epoch is None else common.epoch_number(epoch))
        grids = []
        for path in bench.run(run).samples(info.epoch):
            grid, name = _grid(path, info.tag), f"{file_name(info.tag)}_{path.stem}.png"
            grids.append((served(name, lambda to, grid=grid: grid.save(to, compress_level=1)), arrow(info, path.stem)))
        said = say("checkpoints.samples_of" if grids else "checkpoints.no_samples", epoch=info.epoch)
        yield [said, grids]
    except Exception as error:
        yield [say("checkpoints.not_loaded"), []]
        told = common.told_error(error, say)
        raise told from (None if told is error else error)


def _grid(path: Path, tag: str) -> Image.Image:
    """A grid of an epoch's test pictures, of whatever source: only its pixels go on. Raises ImageError."""
    name = f"{path.name} of {tag}"
    width, height = probe_image(path, name=name)
    if width * height > MAX_GRID_PIXELS:
        raise ImageError(
            "{name} has {width}×{height} pixels, too many for a page",
            name=name, width=width, height=height,
        )
    return open_image(path, name=name)


_thumbnailing = threading.BoundedSemaphore(8)
"""At most so many threads of the server wait for the Hub's pictures."""


def _thumbnails(bench: Workbench, wanted: Any) -> dict[str, str] | None:
    """For the list in the browser: an epoch's grids by direction, small, as data: addresses; None if they can't be had.

    Args:
        wanted: {"run", "epoch"}; from outside, so it may be anything.
    """
    try:
        info = bench.info(str(wanted["run"]), common.epoch_number(wanted["epoch"]))
        if not _thumbnailing.acquire(timeout=60):
            return None
        try:
            paths = bench.run(str(wanted["run"])).samples(info.epoch)
            return {path.stem: _thumbnail(path, path.stat().st_mtime_ns, info.tag) for path in paths}
        finally:
            _thumbnailing.release()
    except (CheckpointError, ImageError, OSError, LookupError, TypeError) as error:
        common.log.warning("no thumbnails: %s", error)
        return None


@functools.lru_cache(maxsize=MAX_THUMBNAILS)
def _thumbnail(path: Path, changed_ns: int, tag: str) -> str:
    grid, content = _grid(path, tag), io.BytesIO()
    grid.thumbnail(THUMBNAIL)
    grid.save(content, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


# --- words and figures --------------------------------------------------------------------------------------


def _sentence(source: CheckpointSource, infos: list[CheckpointInfo], say: words.Speaker) -> str:
    """The run's name, how many epochs, and of what."""
    both = " ⇄ " if len(infos[0].directions) > 1 else " → "
    names = both.join(domains(infos[0])[domain] for domain in infos[0].directions[0])
    key = "checkpoints.one" if len(infos) == 1 else "checkpoints.many"
    return say(key, name=source.name, count=len(infos), domains=names)


def _about(source: CheckpointSource, infos: list[CheckpointInfo], say: words.Speaker) -> str:
    """What the run is: a line, its settings, where it is, and what could not be shown of it."""
    config = infos[0].config
    rows = [
        ("checkpoints.method", html.escape(config.method)),
        ("checkpoints.generator", html.escape(f"{config.model.generator}, ngf {config.model.ngf}")),
        ("checkpoints.trained_at", html.escape(say("checkpoints.pixels", size=config.data.crop_size))),
    ]
    if source.url is not None:
        address = html.escape(source.url)
        rows.append(("checkpoints.address", f'<a href="{address}" rel="noopener" target="_blank">{address}</a>'))
    facts = "".join(f"<div><dt>{html.escape(say(key))}</dt><dd>{value}</dd></div>" for key, value in rows)
    sentence = html.escape(_sentence(source, infos, say))
    return f"<p>{sentence}</p><dl>{facts}</dl>{common.notices(source.problems, say)}"


def _heading(info: CheckpointInfo, say: words.Speaker) -> str:
    return f"<h2>{html.escape(say('checkpoints.chosen', epoch=info.epoch))} <span>{_when(info, say)}</span></h2>"


def _when(info: CheckpointInfo, say: words.Speaker) -> str:
    """HTML of an epoch's date and step."""
    iso = html.escape(info.created[:40])
    date = f'<time datetime="{iso}" title="{iso}">{html.escape(_date(info.created, say))}</time>' if iso else ""
    return " · ".join(filter(None, [date, html.escape(say("checkpoints.steps", steps=info.global_step))]))


def _date(created: str, say: words.Speaker) -> str:
    """`21 Nov 2026, 07:56 UTC`; what is no ISO date, as it is."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created[:40]
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc)
    if say.language == "ko":
        return f"{moment.year}년 {moment.month}월 {moment.day}일 {moment:%H:%M} UTC"
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M} UTC"


def _cards(run: str, infos: list[CheckpointInfo], count: int, chosen: CheckpointInfo, say: words.Speaker) -> str:
    """The list of epochs, the first `count` of them."""
    lowest = {
        (figure.key, direction): figure.best(values)
        for figure in FIGURES if figure.best and len(infos) > 1
        for direction in figure.names
        if (values := [v for info in infos if (v := figure.of(info, direction)) is not None])
    }  # fmt: skip
    shown = "".join(_card(run, info, info is infos[0], info is chosen, lowest, say) for info in infos[:count])
    hint = html.escape(say("checkpoints.tick", least=MIN_COMPARED, most=MAX_COMPARED))
    return (
        f'<div class="list-head"><h2>{html.escape(say("checkpoints.all"))}</h2><p class="tick-hint">{hint}</p>'
        f'<a class="go" hidden>{html.escape(say("checkpoints.go"))}</a></div>'
        f'<div class="epochs" data-run="{html.escape(run)}" data-least="{MIN_COMPARED}" data-most="{MAX_COMPARED}">'
        f"{shown}</div>{_legend(infos, bool(lowest), say)}"
    )


def _card(
    run: str, info: CheckpointInfo, is_newest: bool, is_chosen: bool, lowest: Mapping[tuple[str, str], float],
    say: words.Speaker,
) -> str:
    def said(key: str) -> str:
        return html.escape(say(f"checkpoints.{key}", epoch=info.epoch))

    images = "".join(
        f'<img data-direction="{direction}" alt="{html.escape(arrow(info, direction))}" hidden>'
        for direction in ("ab", "ba")
    )
    badge = f' <span class="badge">{said("newest")}</span>' if is_newest else ""
    there = html.escape(f"./?run={quote(run, safe='')}&epoch={info.tag}")
    return (
        f'<article class="epoch-card{" is-chosen" if is_chosen else ""}" data-epoch="{info.tag}"'
        f' data-sha="{html.escape(info.commit_sha)}">'
        f'<button type="button" class="show thumbs" aria-label="{said("show_epoch")}">{images}'
        f'<span class="none">{said("none")}</span><span class="failed">{said("failed")}</span></button>'
        f'<div class="what"><h3>{said("chosen")}{badge}</h3><p>{_when(info, say)}</p><p class="links">'
        f'<button type="button" class="show" aria-label="{said("show_epoch")}">{said("show")}</button>'
        f'<a href="{there}" aria-label="{said("translate_epoch")}">{said("translate")}</a>'
        f'<label class="tick"><input type="checkbox" aria-label="{said("tick_epoch")}"> {said("compare")}</label>'
        f"</p></div>{_table(info, lowest, say)}</article>"
    )


def _table(info: CheckpointInfo, lowest: Mapping[tuple[str, str], float], say: words.Speaker) -> str:
    """An epoch's losses and metrics: a row each, a column per direction."""
    head = "".join(f'<th scope="col">{html.escape(arrow(info, direction))}</th>' for direction in ("ab", "ba"))
    parts = []
    for title, is_metric in (("losses", False), ("metrics", True)):
        rows = []
        for figure in FIGURES:
            values = {direction: figure.of(info, direction) for direction in ("ab", "ba")}
            if figure.is_metric != is_metric or all(value is None for value in values.values()):
                continue
            cells = "".join(_cell(figure, d, value, lowest.get((figure.key, d)), say) for d, value in values.items())
            means = html.escape(say(f"checkpoints.{figure.key}_means"))
            named = html.escape(say(f"checkpoints.{figure.key}"))
            rows.append(f'<tr><th scope="row" title="{means}">{named}</th>{cells}</tr>')
        parts += [_group(title, rows, say)] if rows else []
    ours = {name for figure in FIGURES for name in figure.names.values()}
    others = [(name, value) for name, value in {**info.losses, **info.metrics}.items() if name not in ours]
    rows = [
        f'<tr><th scope="row">{html.escape(name[:40])}</th><td colspan="2">{value:.4g}</td></tr>'
        for name, value in others[:MAX_OTHERS]
    ]
    parts += [_group("others", rows, say)] if rows else []
    if not parts:
        return ""
    return f'<table class="figures"><thead><tr><td></td>{head}</tr></thead>{"".join(parts)}</table>'


def _group(title: str, rows: list[str], say: words.Speaker) -> str:
    heading = html.escape(say(f"checkpoints.{title}"))
    return f'<tbody><tr class="group"><th colspan="3" scope="rowgroup">{heading}</th></tr>{"".join(rows)}</tbody>'


def _cell(figure: Figure, direction: str, value: float | None, lowest: float | None, say: words.Speaker) -> str:
    if value is None:
        return "<td>–</td>"
    mark = html.escape(say("checkpoints.lowest"))
    dot = f'<span class="lowest" title="{mark}" aria-label="{mark}" role="img"></span>' if value == lowest else ""
    return f"<td>{dot}{figure.shown.format(value)}</td>"


def _legend(infos: list[CheckpointInfo], marks: bool, say: words.Speaker) -> str:
    """What the rows mean, of those that the run has."""
    rows = "".join(
        f"<div><dt>{html.escape(say(f'checkpoints.{figure.key}'))}</dt>"
        f"<dd>{html.escape(say(f'checkpoints.{figure.key}_means'))}</dd></div>"
        for figure in FIGURES
        if any(figure.of(info, direction) is not None for info in infos for direction in figure.names)
    )
    if not rows:
        return ""
    dot = f"<p>{html.escape(say('checkpoints.dot'))}</p>" if marks else ""
    summary = html.escape(say("checkpoints.legend"))
    return f'<details class="legend"><summary>{summary}</summary>{dot}<dl>{rows}</dl></details>'


def _entry(info: CheckpointInfo) -> dict[str, Any]:
    """An epoch for programs."""

    def finite(figures: Mapping[str, float]) -> dict[str, float | None]:
        return {name: value if math.isfinite(value) else None for name, value in figures.items()}

    return {
        "epoch": info.epoch,
        "tag": info.tag,
        "commit_sha": info.commit_sha,
        "created": info.created,
        "global_step": info.global_step,
        "losses": finite(info.losses),
        "metrics": finite(info.metrics),
        "directions": list(info.directions),
        "domains": domains(info),
    }
