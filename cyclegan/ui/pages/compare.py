"""The page that shows one picture under several epochs, or runs, side by side, with the curves of their training."""

from __future__ import annotations

import hashlib
import html
import math
import re
import shutil
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

import gradio as gr

from cyclegan.checkpoints.format import CheckpointInfo, epoch_name
from cyclegan.config import DIRECTIONS
from cyclegan.errors import CheckpointError, ImageError
from cyclegan.images import open_image
from cyclegan.ui import common, words
from cyclegan.ui.common import by, domains, told
from cyclegan.ui.curves import curves
from cyclegan.ui.results import Picture, Reading, Wanted, linked, served
from cyclegan.ui.sentences import in_language
from cyclegan.ui.workbench import FILES, GPU_IS_LENT, PEOPLE, Workbench, header

CSS = Path(__file__).with_name("compare.css")
SCRIPT = Path(__file__).with_name("compare.js")

MOST = 6
"""Entries at a time; for a comparison it takes two."""
SPREAD = 3
"""Entries that are chosen for a visitor who has chosen none."""
MAX_SESSIONS = 1000
"""Visitors whose latest choice is remembered."""
OF_EXAMPLES = "example-"
"""How the folder begins that an example is served from: then comes its number, counted from 1."""
LINKED = ("entries", "run", "direction", "size", "example")
"""What an address of this page may name; the viewer adds how it is looked at."""

words.add({
    "compare.lead": (
        "The same picture under several epochs: which one would you keep? Wheel or pinch magnifies all of them "
        "together, a drag moves them.",
        "같은 사진을 여러 에폭으로 변환해 나란히 봅니다. 어느 것을 남길까요? 휠이나 두 손가락으로 모두 함께 확대하고, "
        "끌어서 옮깁니다.",
    ),
    "compare.entries": ("Epochs to compare", "비교할 에폭"),
    "compare.entries_info": ("2 to 6, of any run.", "2~6개, 어느 학습 실행이든 됩니다."),
    "compare.entries_more": (
        "2 to 6, of any run; or type USER/NAME@epoch-0012.",
        "2~6개, 어느 학습 실행이든 됩니다. USER/NAME@epoch-0012처럼 입력해도 됩니다.",
    ),
    "compare.of": ("{run}, {epoch}", "{run}, {epoch}"),
    "compare.busy": ("{name}: {n} of {count} …", "{name}: {count}개 중 {n}번째 …"),
    "compare.done": (
        "{arrow} with {count} checkpoints, {size} pixels, {seconds:.1f} s.",
        "{arrow}, 체크포인트 {count}개, {size} 픽셀, {seconds:.1f}초.",
    ),
    "compare.one": (
        "{arrow} with one checkpoint: choose a second one to compare it with.",
        "{arrow}, 체크포인트 하나입니다. 비교하려면 하나 더 고르세요.",
    ),
    "compare.only": (
        "{arrow}: this run has one epoch so far; another one is needed to compare it with.",
        "{arrow}: 이 학습 실행에는 아직 에폭이 하나뿐입니다. 비교하려면 하나 더 있어야 합니다.",
    ),
    "compare.lacks": ("{name} does not translate {arrow}, and is left out.", "{name}: {arrow} 변환이 없어서 뺐습니다."),
    "compare.stopped": ("Stopped; what was ready stays.", "멈추었습니다. 끝난 것은 그대로 남습니다."),
    "compare.and_more": ("{problem} (and {count} more like this)", "{problem} (그 밖에 {count}건)"),
    "compare.fallback": ("Not all of this link could be shown", "링크의 일부를 보여 줄 수 없습니다"),
})

VIEWER_WORDS = {
    "views": ("How to look", "보는 방법"),
    "grid": ("Grid", "격자"),
    "slider": ("Slider", "슬라이더"),
    "scrub": ("Scrub", "넘겨 보기"),
    "shows": ("What to look at", "볼 것"),
    "fake": ("As {there}", "{there} 사진으로"),
    "rec": ("Back to {here}", "다시 {here} 사진으로"),
    "lost": ("Lost on the way", "도중에 잃은 것"),
    "input": ("input", "입력"),
    "tiles": ("The pictures", "그림"),
    "zoom": ("Magnification", "확대 비율"),
    "closer": ("Magnify", "확대"),
    "farther": ("Reduce", "축소"),
    "whole": ("Whole picture", "전체 보기"),
    "full": ("Full screen", "전체 화면"),
    "copy": ("Copy link", "링크 복사"),
    "copied": ("Copied", "복사했습니다"),
    "own": ("Your own picture is not part of the link.", "내 사진은 링크에 들어가지 않습니다."),
    "left": ("Left", "왼쪽"),
    "right": ("Right", "오른쪽"),
    "divider": ("Divider between left and right", "왼쪽과 오른쪽의 경계"),
    "walk": ("Walk through the epochs", "에폭 넘기기"),
    "waiting": ("waiting …", "기다리는 중 …"),
    "nothing": ("No way back here", "되돌리는 신경망이 없음"),
    "save": ("Save {name}", "{name} 저장"),
    "best": ("the best of these", "이 가운데 가장 좋음"),
    "figures": ("L1 and SSIM of the picture that came back against the input", "되돌아온 사진과 입력의 L1, SSIM"),
    "keys": (
        "Keys: + and − magnify, 0 shows all, arrows move; in Scrub ← → and space walk the epochs.",
        "키보드: + − 확대·축소, 0 전체, 화살표 이동. 넘겨 보기에서는 ← →와 스페이스로 에폭을 넘깁니다.",
    ),
}


@dataclass(frozen=True)
class Entry:
    """A checkpoint to look at."""

    run: str
    """As the workbench knows it."""
    info: CheckpointInfo

    @property
    def value(self) -> str:
        """`streets@epoch-0012`."""
        return f"{self.run}@{self.info.tag}"


def figures_schema() -> dict[str, Any]:
    """What programs are told of the viewer's value."""
    text, number = ({"anyOf": [{"type": name}, {"type": "null"}]} for name in ("string", "number"))
    shapes = {
        "run": text, "epoch": {"type": "integer"}, "commit_sha": text, "created": text, "label": text,
        "l1": number, "psnr": number, "ssim": number, "fake": text, "rec": text, "lost": text, "error": text,
    }  # fmt: skip
    entries = {"type": "array", "items": {"type": "object", "properties": shapes}}
    whole = {"direction": text, "here": text, "there": text, "input": text, "link": text, "entries": entries}
    return {"type": "object", "properties": whole}


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`.

    Raises:
        CheckpointError: the first run holds no readable checkpoint.
    """
    first, say = next(iter(bench.runs)), words.speaker()
    spread = default_entries(bench, first)
    header("compare")
    gr.HTML(words.label("compare.lead"), elem_classes="lead said")
    with gr.Row(elem_classes="page"):
        with gr.Column(elem_classes="given"):
            image, examples = common.picture_inputs(200)
        with gr.Column(elem_classes="results"):
            with gr.Row(elem_classes="progress"):
                note = gr.HTML(common.busy(say("said.starting")), label="note", elem_classes="note")
                cancel = gr.Button(words.label("cancel"), size="sm", elem_classes="cancel")
            viewer = gr.HTML(
                label="comparison", html_template='<div class="viewer"></div>',
                js_on_load=SCRIPT.read_text(encoding="utf-8"), apply_default_css=False, elem_classes="bare",
                words={code: {key: pair[n] for key, pair in VIEWER_WORDS.items()}
                       for n, code in enumerate(words.LANGUAGES)},
            )  # fmt: skip
            # The browser shows it (compare.js); programs get the figures.
            viewer.api_info = figures_schema  # A subclass would do, but gradio writes a .pyi file beside each.
            with gr.Row(visible=False):  # What programs are given of a comparison.
                given = gr.Image(label="input", format="png", interactive=False)
                fakes, recs = (
                    gr.Gallery(label=name, format="png", interactive=False) for name in ("translations", "ways back")
                )
        with gr.Column(elem_classes="settings"):
            run = common.run_dropdown(bench)
            with gr.Column(elem_classes="epoch"):
                # No value until the page opens, so that programs that name none get the spread of that moment.
                entries = gr.Dropdown(
                    entry_choices(bench, first, spread, say), value=None, multiselect=True, max_choices=MOST,
                    label=words.label("compare.entries"), allow_custom_value=bench.takes_more,
                    info=words.label(f"compare.entries_{'more' if bench.takes_more else 'info'}"),
                )  # fmt: skip
                refresh = gr.Button(words.label("refresh"), size="sm")
            direction = gr.Radio(directions_of(spread), value=None, label=words.label("direction"))
            size = common.size_dropdown()
        with gr.Column(elem_classes="charts"):
            charts = gr.HTML(label=words.label("curves.title"), elem_classes="bare")

    wanted_example = gr.State(1)  # The example to begin with.
    turns: OrderedDict[str | None, int] = OrderedDict()
    """By session, how often its choices have changed: an older comparison then stops."""
    known = gr.State(None)  # The newest epoch of the run that the page has heard of.
    settled = gr.State(None)  # The entries as the server has put them: what differs is the visitor's choice.
    turned = gr.State(None)  # Changes as the visitor changes the entries.
    settings = [entries, settled, direction]

    def describe(
        run: str, chosen: Sequence[str] | None, direction: str | None, request: gr.Request
    ) -> tuple[list[Any], list[str]]:
        """The `settings` for these entries, in their order, and what was wrong with them."""
        say = words.speaker(request)
        found, problems = resolve(bench, chosen)
        found = found or default_entries(bench, run)
        directions = directions_of(found)
        valid = [value for _, value in directions]
        if direction is not None and direction not in valid:
            problems.append(lacking(found[0], direction))
        values = [entry.value for entry in found]
        return [
            gr.Dropdown(entry_choices(bench, run, found, say), value=values, multiselect=True), values,
            gr.Radio(directions, value=direction if direction in valid else valid[0], visible=len(valid) > 1),
        ], problems

    def open_page(request: gr.Request) -> list[Any]:
        """What the address names, and where it names nothing that is here the first run's defaults."""
        asked, say = {name: request.query_params.get(name) for name in LINKED}, words.speaker(request)
        named = [unquote(one) for one in (asked["entries"] or "").split(",") if one]
        problems, run, side, number = [], first, "auto", 1
        found, wrong = resolve(bench, named)
        try:
            run = asked["run"] or (found[0].run if found else first)
            common.listed(bench.run(run))
        except CheckpointError as error:
            problems.append(str(error))
            run = first
        if asked["size"] is not None:
            try:
                side = str(common.checked_size(asked["size"]))
            except ImageError as error:
                problems.append(str(error))
        if asked["example"] is not None:
            try:
                number = checked_number(asked["example"], len(common.examples_of(bench.run(run))))
            except ImageError as error:
                problems.append(str(error))
        described, more = describe(run, [entry.value for entry in found], asked["direction"], request)
        if problems := [*wrong, *problems, *more]:
            gr.Warning(html.escape(in_one(problems, say), quote=False), title=say("compare.fallback"))
        return [gr.Dropdown(value=run), *described, newest(run), side, number, common.examples_gallery(bench.run(run))]

    def open_run(run: str, request: gr.Request) -> list[Any]:
        """Another run's defaults, and its examples."""
        return [*describe(run, None, None, request)[0], newest(run), 1, common.examples_gallery(bench.run(run))]

    def first_picture(run: str, payload: dict | None, number: int, request: gr.Request) -> list[Any]:
        """As the picture the visitor's own, or else the run's example; it is compared as it changes."""
        say = words.speaker(request)
        own = common.source_of(payload) if payload and payload.get("path") else None
        if own is not None and not own.parent.name.startswith(OF_EXAMPLES):
            # Under a new name, so that it counts as changed and is compared under this run's epochs.
            return [linked(own), common.busy(say("said.starting"))]
        picture = take_example(run, number - 1)
        return [picture, common.busy(say("said.starting")) if picture else say("said.choose")]

    def take_example(run: str, index: int) -> str | None:
        paths = common.examples_of(bench.run(run))
        if index >= len(paths):
            return None
        folder = f"{OF_EXAMPLES}{index + 1}-{_digest(run)}-"
        return served(paths[index].name, lambda path: shutil.copyfile(paths[index], path), folder)

    def pick_example(run: str, event: gr.SelectData) -> str | None:
        return take_example(run, event.index)

    def notice(chosen: list[str] | None, settled: list[str] | None) -> Any:
        return gr.skip() if chosen == settled else time.monotonic()

    def settle(run: str, chosen: list[str] | None, direction: str | None, request: gr.Request) -> list[Any]:
        """The choices as they can be compared; of what was wrong with them a notice tells."""
        say = words.speaker(request)
        described, problems = describe(run, chosen, direction, request)
        if problems:
            gr.Warning(html.escape(in_one(problems, say), quote=False), title=say("error.title"))
        turns[request.session_hash] = turns.pop(request.session_hash, 0) + 1
        while len(turns) > MAX_SESSIONS:
            turns.popitem(last=False)
        return described

    def newest(run: str) -> int:
        return common.listed(bench.run(run))[0].epoch

    def look_again(
        run: str, chosen: list[str] | None, direction: str | None, known: int | None, request: gr.Request
    ) -> list[Any]:
        """Offer epochs that a running training has added since the last look."""
        info, _ = common.look_for_newer(bench.run(run), known, words.speaker(request))
        return [*describe(run, chosen, direction, request)[0], info.epoch]

    def draw(chosen: list[str] | None, request: gr.Request) -> str:
        """The curves of each run that is on show."""
        say = words.speaker(request)
        runs: dict[str, list[int]] = {}
        for entry in resolve(bench, chosen)[0]:
            runs.setdefault(entry.run, []).append(entry.info.epoch)
        name_of = (lambda run: run) if len(runs) > 1 else (lambda run: "")
        return "".join(curves(bench.run(run).list(), marked, say, name_of(run)) for run, marked in runs.items())

    def compare(
        image: dict | None, entries: list[str] | None = None, direction: str | None = None, size: str = "auto",
        request: gr.Request = None,  # type: ignore[assignment]  # gradio's way to ask for it
    ) -> Iterator[list[Any]]:
        turn = turns.get(request.session_hash)
        for shown in _compare(bench, image, entries, direction, size, words.speaker(request)):
            if turns.get(request.session_hash) != turn:
                return  # The next comparison is on its way.
            yield shown

    def stop(shown: dict | None, request: gr.Request) -> list[Any]:
        """Leave the tiles that still wait."""
        kept = [entry for entry in (shown or {}).get("entries", []) if entry.get("fake")]
        return [words.speaker(request)("compare.stopped"), {**shown, "entries": kept} if kept else None]

    quick = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    opening = {**quick, **FILES}
    # Queued: gradio shows its notices of no other event.
    queued = {**quick, "queue": True, "concurrency_limit": None}
    page = gr.context.Context.root_block

    opened = page.load(told(open_page), None, [run, *settings, known, size, wanted_example, examples], **queued)
    chosen = run.input(told(open_run), run, [*settings, known, wanted_example, examples], **queued)
    for event in (opened, chosen):
        event.success(
            told(first_picture), [run, image, wanted_example], [image, note], preprocess=False, **opening
        )
    examples.select(told(pick_example), run, image, **quick)

    # Every choice is settled first; only then is there one event that compares, so that no two run at a time.
    # Not `input`: gradio tells of a value that is typed only as a change. Queued, or the state's change isn't told.
    entries.change(notice, [entries, settled], turned, preprocess=False, **queued)
    choices = [run, entries, direction]
    ready = gr.on(
        [image.change, turned.change, direction.input, size.input], told(settle), choices, settings, preprocess=False,
        trigger_mode="always_last", **queued,
    )  # fmt: skip
    compared = ready.success(
        compare, [image, entries, direction, size], [note, given, fakes, recs, viewer], preprocess=False,
        trigger_mode="always_last", **PEOPLE, show_progress="hidden", api_name="compare",
        api_description=(
            "Translate a picture under several checkpoints, to compare them. image: a picture file. entries: up to 6 "
            "checkpoints such as 'streets@epoch-0012', or 'USER/NAME@epoch-0012' on the Hub; by default some of the "
            "first run's, from its first to its last. direction: 'ab' or 'ba', the first entry's first by default; "
            "entries that lack it are left out. size: 'auto' works at the picture's own size up to twice the one that "
            "the networks were trained on, 'training' at the size that they were trained on, 'original' at the "
            "picture's own, and a number such as '512' with the shorter side of so many pixels; results always have "
            "the picture's size. Returns a sentence; the picture as it was read; the translations, each with its "
            "checkpoint's name; the pictures that were brought back, likewise; and JSON whose 'entries' have run, "
            "epoch, commit_sha, l1 (grey levels), psnr (dB) and ssim of what was brought back against the picture "
            "(null where there is no way back)."
        ),
    )  # fmt: skip
    ready.success(told(draw), entries, charts, preprocess=False, **queued)
    compared.failure(common.unless_bad, image, image, preprocess=False, **opening)
    compared.success(told(common.for_browsers), image, image, preprocess=False, **opening)
    cancel.click(stop, viewer, [note, viewer], cancels=[compared], **quick)
    refresh.click(told(look_again), [*choices, known], [*settings, known], preprocess=False, **queued)
    # Screen readers are told what goes on.
    page.load(None, js="() => document.querySelector('.note').setAttribute('role', 'status')", **quick)


# --- entries ------------------------------------------------------------------------------------------------


def resolve(bench: Workbench, chosen: Sequence[str] | None) -> tuple[list[Entry], list[str]]:
    """The entries that are there, each once and at most MOST, and a sentence for each that isn't.

    Args:
        bench: knows the runs.
        chosen: such as `streets@epoch-0012`; without an epoch the run's newest is meant.
    """
    found: dict[str, Entry] = {}
    lists: dict[str, list[CheckpointInfo]] = {}  # A folder is read again each time.
    problems = []
    if chosen is not None and not (isinstance(chosen, (list, tuple)) and all(isinstance(one, str) for one in chosen)):
        return [], ["entries is a list of checkpoints such as 'streets@epoch-0012'"]
    for one in chosen or ():
        try:
            entry = _entry(bench, one.strip(), lists)
        except CheckpointError as error:
            problems.append(str(error))
        else:
            found.setdefault(entry.value, entry)
        if len(found) + len(problems) > 2 * MOST:  # Each may have to be asked for on the Hub.
            break
    if len(found) > MOST:
        problems.append(f"{len(found)} checkpoints are more than the {MOST} that can be compared: choose fewer")
    return list(found.values())[:MOST], problems


def _entry(bench: Workbench, value: str, lists: dict[str, list[CheckpointInfo]]) -> Entry:
    run, _, tag = value.rpartition("@")
    if not run:
        run, tag = value, ""
    elif not re.fullmatch(r"(epoch-)?\d{1,9}", tag):
        if run in bench.runs:
            raise CheckpointError(
                "{tag!r} is no epoch of {run}: name one like {run}@{epoch_name}",
                tag=tag[:40], run=run, epoch_name=epoch_name(12),
            )
        run, tag = value, ""  # USER/NAME@REVISION, or a run whose name has an @.
    epoch = common.epoch_number(tag) if tag else None
    if run not in lists:
        lists[run] = bench.run(run).list()
    info = next((info for info in lists[run] if epoch in (None, info.epoch)), None)
    return Entry(run, info or bench.info(run, epoch))  # Which says what there is instead.


def default_entries(bench: Workbench, run: str) -> list[Entry]:
    """Up to SPREAD epochs of a run, from its first to its last, oldest first. Raises CheckpointError."""
    infos = common.listed(bench.run(run))[::-1]
    count = min(SPREAD, len(infos))
    places = [round(n * (len(infos) - 1) / max(1, count - 1)) for n in range(count)]
    return [Entry(run, infos[place]) for place in places]


def entry_choices(
    bench: Workbench, run: str, chosen: Sequence[Entry], say: words.Speaker
) -> list[tuple[str, str]]:
    """For a gr.Dropdown: the run's epochs, newest first, those of the others, and what else is chosen."""
    offered = {}
    for name in dict.fromkeys([run, *bench.runs]):
        try:
            infos = bench.run(name).list()
        except CheckpointError:  # Who chooses that run is told.
            infos = []
        offered.update({entry.value: entry for entry in (Entry(name, info) for info in infos)})
    offered.update({entry.value: entry for entry in chosen})
    several = len({entry.run for entry in offered.values()}) > 1
    return [(entry_label(entry, several, common.epoch_label(entry.info, say), say), value)
            for value, entry in offered.items()]  # fmt: skip


def entry_label(entry: Entry, several: bool, label: str, say: words.Speaker) -> str:
    """`label`, with the run's name where `several` runs are on show."""
    return say("compare.of", run=entry.run, epoch=label) if several else label


def directions_of(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """The directions that any of the entries has, for a gr.Radio, in the first one's words where it has them."""
    names = {value: name for entry in entries[::-1] for name, value in common.direction_choices(entry.info)}
    return [(names[direction], direction) for direction in DIRECTIONS if direction in names]


def in_one(problems: Sequence[str], say: words.Speaker) -> str:
    """The first of at least one problem, and how many there are beside it."""
    first = in_language(problems[0], say.language)
    return first if len(problems) == 1 else say("compare.and_more", problem=first, count=len(problems) - 1)


def lacking(entry: Entry, direction: str) -> str:
    """Why a direction can't be had, in a sentence."""
    try:
        common.checked_direction(str(direction)[:20], entry.info)
    except CheckpointError as error:
        return str(error)
    raise AssertionError("it is there")


# --- examples and links -------------------------------------------------------------------------------------


def _digest(run: str) -> str:
    return hashlib.sha256(run.encode()).hexdigest()[:8]


def example_of(runs: Iterable[str], payload: dict) -> tuple[str, str] | None:
    """The run that a picture is an example of, and its number; None if it is none of these runs'."""
    found = re.match(rf"{OF_EXAMPLES}(\d+)-(\w+)-", Path(payload.get("path") or "").parent.name)
    return next(((run, found[1]) for run in runs if _digest(run) == found[2]), None) if found else None


def checked_number(text: str, count: int) -> int:
    """An example's number, counted from 1. Raises ImageError."""
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= count):
        there = f"there are {count}" if count else "there are none"
        raise ImageError("there is no example {text!r} here; {there}", text=text[:20], there=there)
    return int(text)


def link_to(entries: Sequence[Entry], direction: str, size: str | int, example: tuple[str, str] | None) -> str:
    """The query of the address that shows a comparison again. Commas part the entries, whose own are quoted twice."""
    values = {"entries": ",".join(quote(entry.value, safe="@/ ") for entry in entries)}
    if example is not None and example[0] != entries[0].run:
        values["run"] = example[0]
    values |= {"direction": direction, "size": str(size)}
    if example is not None:
        values["example"] = example[1]
    return urlencode(values, safe="@,/")


# --- comparing ----------------------------------------------------------------------------------------------


def _compare(
    bench: Workbench, payload: dict | None, chosen: list[str] | None, direction: str | None, size: str,
    say: words.Speaker,
) -> Iterator[list[Any]]:
    """A sentence, the picture, the translations, the ways back, the viewer's value: after each checkpoint."""
    if payload is None:
        yield [say("said.choose"), None, [], [], None]
        return
    try:
        wanted_size = common.checked_size(size)
        entries, problems = resolve(bench, chosen) if chosen else (default_entries(bench, next(iter(bench.runs))), [])
        if problems:
            raise CheckpointError(in_one(problems, say))
        if direction is None:
            direction = entries[0].info.directions[0]
        able = [entry for entry in entries if direction in entry.info.directions]
        if not able:
            raise CheckpointError(lacking(entries[0], direction))
        several = len({entry.run for entry in entries}) > 1
        names = {entry.value: entry_label(entry, several, say("epoch.label", epoch=entry.info.epoch), say)
                 for entry in entries}  # fmt: skip
        arrow = common.arrow(able[0].info, direction)
        remarks = [say("compare.lacks", name=names[entry.value], arrow=arrow) for entry in entries if entry not in able]
        image, more = common.reduced(open_image(common.source_of(payload), name="This file"), say)
        if not bench.ready.is_set():
            yield [common.busy(say("said.loading")), *[gr.skip()] * 4]
        picture, began = Picture(image), time.monotonic()
        wanted, capped = {}, []
        for entry in able:
            side, said = common.working_side(
                image.size, wanted_size, entry.info.config.data, bench.device_type(), say
            )
            capped += [one for one in said if one not in capped]
            wanted[entry.value] = Wanted(entry.run, entry.info.epoch, entry.info.commit_sha, direction, side)
        example = example_of([*(entry.run for entry in entries), *bench.runs], payload)
        here, there = (domains(able[0].info)[domain] for domain in direction)
        shown = {entry.value: _waiting(entry, names[entry.value]) for entry in able}
        shared = {"direction": direction, "here": here, "there": there, "input": _url(bench.input(picture)),
                  "width": image.width, "height": image.height, "own": example is None,
                  "link": link_to(entries, direction, wanted_size, example)}  # fmt: skip
        fakes: list[tuple[str, str]] = []
        recs: list[tuple[str, str]] = []
        failures: list[str] = []

        def value(done: bool) -> dict[str, Any]:
            return {**shared, "done": done, "entries": [dict(entry) for entry in shown.values()]}

        # One loan of a GPU for all; elsewhere one after the other, which a checkpoint that can't be read doesn't stop.
        groups = [able] if GPU_IS_LENT else [[entry] for entry in able]
        for group in groups:
            made = bench.read(picture, [wanted[entry.value] for entry in group], say)
            for entry in group:
                name = names[entry.value]
                said = say("compare.busy", name=name, n=able.index(entry) + 1, count=len(able))
                yield [common.busy(said), gr.skip(), gr.skip(), gr.skip(), value(False)]
                try:
                    reading = next(made)
                except gr.Error as error:
                    if len(failures) + 1 == len(able) or len(group) > 1:
                        raise
                    failures.append(f"{html.escape(name)}: {error.message}")
                    shown[entry.value]["error"] = html.unescape(error.message)
                    continue
                shown[entry.value] |= _figures(reading)
                fakes.append((reading.fake, name))
                recs += [(reading.rec, name)] if reading.rec else []
        remarks = [html.escape(one) for one in [*remarks, *more, *capped]] + failures
        if len(able) > 1:
            seconds = time.monotonic() - began
            told = say("compare.done", arrow=arrow, count=len(able), size=by(image.size), seconds=seconds)
        else:
            only = len(common.listed(bench.run(able[0].run))) == 1 and len(bench.runs) == 1
            told = say("compare.only" if only else "compare.one", arrow=arrow)
        yield [" ".join([html.escape(told), *remarks]), bench.input(picture), fakes, recs, value(True)]
    except Exception as error:
        yield [say("said.nothing"), None, [], [], None]
        told = common.told_error(error, say)
        raise told from (None if told is error else error)


def _waiting(entry: Entry, name: str) -> dict[str, Any]:
    """What the viewer knows of a checkpoint before its reading is there."""
    info = entry.info
    known = {"run": entry.run, "epoch": info.epoch, "commit_sha": info.commit_sha, "created": info.created,
             "label": name}  # fmt: skip
    return known | dict.fromkeys(("l1", "psnr", "ssim", "fake", "rec", "lost", "error"))


def _figures(reading: Reading) -> dict[str, Any]:
    figures = reading.similarity
    found = {} if figures is None else {"l1": figures.l1, "psnr": figures.psnr, "ssim": figures.ssim}
    # JSON has no infinity, which is the PSNR of equal pictures.
    rounded = {name: None if x is None or not math.isfinite(x) else round(x, 4) for name, x in found.items()}
    urls = {"fake": reading.fake, "rec": reading.rec, "lost": reading.lost}
    return {"commit_sha": reading.commit_sha, **rounded, **{name: path and _url(path) for name, path in urls.items()}}


def _url(path: str) -> str:
    """Where the browser finds a file of gradio's folder, from the page's own address."""
    return f"gradio_api/file={quote(path)}"
