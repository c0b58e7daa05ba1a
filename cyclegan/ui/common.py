"""What several pages do: take uploads, offer runs, epochs and sizes, and say in a sentence what went wrong."""

from __future__ import annotations

import base64
import functools
import html
import inspect
import itertools
import logging
import math
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from cyclegan.checkpoints.format import CheckpointInfo, epoch_name
from cyclegan.checkpoints.sources import CheckpointSource
from cyclegan.config import DIRECTIONS, DataConfig, direction_name
from cyclegan.errors import CheckpointError, ImageError, StudyError
from cyclegan.images import natural_order, open_image, probe_image
from cyclegan.ui import words
from cyclegan.ui.sentences import in_language

if TYPE_CHECKING:
    from cyclegan.ui.workbench import Workbench

MAX_SHOWN_PIXELS = 16_000_000
"""Larger pictures are reduced first: several of them travel to the browser as PNG."""
MAX_WORKED_PIXELS = {"cpu": 1_000_000}
"""What the networks are given at most, by device: four passes over this take about a minute on two cores."""
MAX_WORKED_PIXELS_ELSEWHERE = 8_000_000
MAX_PREVIEW_SIDE = 1024
MAX_EXAMPLES = 12
MAX_EXAMPLE_PIXELS = 4_000_000
"""Larger ones are left out: every visitor would wait for all of them to be decoded."""
NOT_FOR_BROWSERS = {".tif", ".tiff", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".heic", ".heif"}
NAMED_SIZES = ("auto", "training", "original")
PIXEL_SIZES = (128, 196, 208, 256, 384, 512, 768, 1024)
"""Offered; any other number of pixels can be typed."""
LEAST_SIZE, MOST_SIZE = 8, 8192

log = logging.getLogger(__name__)

words.add({
    "picture": ("Your picture", "내 사진"),
    "picture.drop": ("Drop a picture here\nor click to choose one", "사진을 여기에 놓거나\n눌러서 고르세요"),
    "examples": ("Or take an example", "또는 예시를 고르세요"),
    "run": ("Run", "학습 실행"),
    "run.info": ("Or type USER/NAME of a repository on the Hub.", "Hub 저장소의 USER/NAME을 입력해도 됩니다."),
    "run.info_own": (
        "Or type a folder such as runs/maps, or USER/NAME of a repository on the Hub.",
        "runs/maps 같은 폴더나 Hub 저장소의 USER/NAME을 입력해도 됩니다.",
    ),
    "epoch": ("Epoch", "에폭"),
    "direction": ("Direction", "방향"),
    "refresh": ("Refresh", "새로 고침"),
    "cancel": ("Cancel", "취소"),
    "size": ("Working size", "처리 크기"),
    "size.info": (
        "What the networks see: the shorter side in pixels. Results come back at your picture's size.",
        "신경망이 보는 크기(짧은 변, 픽셀)입니다. 결과는 원래 사진 크기로 돌아옵니다.",
    ),
    "size.auto": ("Automatic", "자동"),
    "size.training": ("As in training", "학습할 때의 크기"),
    "size.original": ("Original", "원본 크기"),
    "said.starting": ("Starting …", "시작하는 중 …"),
    "said.loading": (
        "Loading the networks, which takes some ten seconds once …",
        "신경망을 불러오는 중입니다. 처음 한 번만 10초쯤 걸립니다 …",
    ),
    "said.choose": ("Choose a picture.", "사진을 고르세요."),
    "said.nothing": ("Nothing was translated.", "변환한 것이 없습니다."),
    "said.newest": ("The newest is {epoch}.", "최신: {epoch}."),
    "said.no_newer": ("No newer epoch yet.", "아직 새로운 에폭이 없습니다."),
    "said.reduced": (
        "Your picture of {before} was reduced to {after} first.",
        "{before} 크기의 사진을 먼저 {after} 크기로 줄였습니다."
    ),
    "said.capped": (
        "It was worked at {size} and scaled back, because more would take this computer too long.",
        "더 크면 이 컴퓨터에서 너무 오래 걸리므로 {size} 크기로 처리한 뒤 원래 크기로 되돌렸습니다.",
    ),
    "epoch.label": ("epoch {epoch}", "에폭 {epoch}"),
    "epoch.cycle": ("cycle {loss:.2f}", "순환 손실 {loss:.2f}"),
    "error.title": ("Not done", "처리하지 못했습니다"),
    "error.memory": (
        "The picture needs more memory than there is: choose the training size.",
        "메모리가 모자랍니다. 처리 크기에서 ‘학습할 때의 크기’를 고르세요.",
    ),
    "error.unforeseen": (
        "Something went wrong here, and it was logged: try again, or try another picture.",
        "예상하지 못한 문제가 생겨 기록해 두었습니다. 다시 시도하거나 다른 사진으로 해 보세요.",
    ),
})


# --- files that were sent -----------------------------------------------------------------------------------


def source_of(payload: dict) -> Any:
    """The uploaded file's path, or the bytes that a browser sent within the message.

    Raises:
        ImageError: it isn't a file that was uploaded here.
    """
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


def reduced(picture: Image.Image, say: words.Speaker) -> tuple[Image.Image, list[str]]:
    """The picture within MAX_SHOWN_PIXELS, and what to say of it."""
    width, height = picture.size
    if width * height <= MAX_SHOWN_PIXELS:
        return picture, []
    scale = math.sqrt(MAX_SHOWN_PIXELS / (width * height))
    smaller = picture.resize((max(1, int(width * scale)), max(1, int(height * scale))), Image.Resampling.BICUBIC)
    return smaller, [say("said.reduced", before=by(picture.size), after=by(smaller.size))]


def unless_bad(payload: dict | None) -> Any:
    """After a failure: empty the picture's box if the picture was the reason, so that another can be dropped."""
    try:
        if payload is not None:
            open_image(source_of(payload))
    except Exception:
        return None
    return gr.skip()


def for_browsers(payload: dict | None) -> Any:
    """What to show in the picture's box of a file that the networks can read and browsers can't show."""
    if payload is None or Path(payload.get("path") or "").suffix.lower() not in NOT_FOR_BROWSERS:
        return gr.skip()
    shown = open_image(source_of(payload))
    shown.thumbnail((MAX_PREVIEW_SIDE, MAX_PREVIEW_SIDE))
    return shown


# --- runs and epochs ----------------------------------------------------------------------------------------


def listed(source: CheckpointSource) -> list[CheckpointInfo]:
    """The source's epochs, newest first, at least one. Raises CheckpointError."""
    infos = source.list()
    if not infos:
        raise CheckpointError("{source} holds no readable checkpoint", source=source.name)
    return infos


def examples_of(source: CheckpointSource) -> list[Path]:
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


def thumbnails_of(source: CheckpointSource) -> list[tuple[Image.Image, str]]:
    """The source's examples in their order, small, each with a caption, for a gr.Gallery."""
    thumbnails = []
    for path in examples_of(source):
        try:
            thumbnail = open_image(path)
        except ImageError as error:
            log.warning("%s", error)
            thumbnail = Image.new("RGB", (160, 160), "grey")  # In its place, or those after it would be mixed up.
        thumbnail.thumbnail((160, 160))
        thumbnails.append((thumbnail, path.stem.replace("_", " ")))
    return thumbnails


def domains(info: CheckpointInfo) -> dict[str, str]:
    """The names of the domains `a` and `b`."""
    return {"a": info.config.data.domain_a, "b": info.config.data.domain_b}


def arrow(info: CheckpointInfo, direction: str) -> str:
    """`day → night`."""
    return " → ".join(domains(info)[domain] for domain in direction)


def direction_choices(info: CheckpointInfo) -> list[tuple[str, str]]:
    """The directions that a checkpoint has, for a gr.Radio."""
    return [(arrow(info, direction), direction) for direction in info.directions]


def checked_direction(direction: str | None, info: CheckpointInfo) -> str:
    """`direction`, None for the checkpoint's first. Raises CheckpointError."""
    if direction is None:
        return info.directions[0]
    if direction not in DIRECTIONS:
        raise CheckpointError(
            "{direction!r} is no direction: give {names}",
            direction=str(direction)[:40], names=' or '.join(DIRECTIONS),
        )
    if direction not in info.directions:
        only = " and ".join(direction_name(each) for each in info.directions)
        raise CheckpointError(
            "epoch {epoch} translates {only} only: choose that, or another epoch",
            epoch=info.epoch, only=only,
        )
    return direction


def epoch_label(info: CheckpointInfo, say: words.Speaker) -> str:
    """`epoch 12 — 2026-11-21, cycle 0.08`; without the loss where none is recorded."""
    cycle = [info.losses[name] for name in ("cycle_a", "cycle_b") if name in info.losses]
    parts = [info.created[:10], *([say("epoch.cycle", loss=sum(cycle) / len(cycle))] if cycle else [])]
    return " — ".join(filter(None, [say("epoch.label", epoch=info.epoch), ", ".join(filter(None, parts))]))


def epoch_choices(infos: list[CheckpointInfo], say: words.Speaker) -> list[tuple[str, str]]:
    """For a gr.Dropdown of epochs; its values are tags."""
    return [(epoch_label(info, say), info.tag) for info in infos]


def epoch_number(value: str | int) -> int:
    """12 of `epoch-0012`, `12` or 12. Raises CheckpointError."""
    digits = str(value).removeprefix("epoch-")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 9:
        raise CheckpointError(
            "{value!r} is no epoch: name one like {epoch_name}",
            value=str(value)[:40], epoch_name=epoch_name(12),
        )
    return int(digits)


def picture_inputs(height: int) -> tuple[gr.Image, gr.Gallery]:
    """To give a picture, and a strip of examples to take instead. `height`: of the picture's box, in pixels."""
    image = gr.Image(
        label=words.label("picture"), type="filepath", image_mode=None, format="png", buttons=[], height=height,
        sources=["upload", "webcam", "clipboard"], placeholder=words.label("picture.drop"),
    )
    examples = gr.Gallery(
        label=words.label("examples"), allow_preview=False, interactive=False, columns=4, buttons=[],
        format="png", object_fit="cover", elem_classes="examples", visible=False,
    )
    return image, examples


def examples_gallery(source: CheckpointSource) -> gr.Gallery:
    """The source's examples, if there are any; none is chosen."""
    thumbnails = thumbnails_of(source)
    return gr.Gallery(thumbnails, visible=bool(thumbnails), selected_index=None)


def look_for_newer(
    source: CheckpointSource, known: str | int | None, say: words.Speaker
) -> tuple[CheckpointInfo, bool]:
    """The newest epoch, asked for anew, and whether it is newer than `known`, a tag or a number; a notice tells."""
    source.refresh()
    info = listed(source)[0]
    new = known is None or info.epoch > epoch_number(known)
    newest = html.escape(epoch_label(info, say))
    gr.Info(say("said.newest", epoch=newest) if new else say("said.no_newer"), title="", duration=4)
    return info, new


def run_dropdown(bench: Workbench) -> gr.Dropdown:
    """To choose a run, or to name another one where visitors may."""
    info = words.label("run.info_own" if bench.own else "run.info")
    return gr.Dropdown(
        list(bench.runs), value=next(iter(bench.runs)), label=words.label("run"), elem_classes="run",
        info=info if bench.takes_more else None, allow_custom_value=bench.takes_more,
        visible=bench.takes_more or len(bench.runs) > 1, filterable=bench.takes_more,
    )  # fmt: skip


def epoch_dropdown(infos: list[CheckpointInfo]) -> tuple[gr.Dropdown, gr.Button]:
    """To choose an epoch, and to look for newer ones.

    It has no value until the page opens, so that programs that name no epoch get the newest of that moment.
    """
    with gr.Column(elem_classes="epoch"):
        epoch = gr.Dropdown(epoch_choices(infos, words.speaker()), value=None, label=words.label("epoch"),
                            filterable=False)  # fmt: skip
        return epoch, gr.Button(words.label("refresh"), size="sm")


def asked(bench: Workbench, request: gr.Request, run: str) -> tuple[str, str | None]:
    """The run and the epoch's tag that the page's address names, as in `?run=maps&epoch=epoch-0012`.

    Args:
        run: what is taken where none is named, or none that is here, of which a notice then tells.
    """
    named = dict(request.query_params)
    try:
        if "run" in named:
            listed(bench.run(named["run"]))
            run = named["run"]
        if "epoch" not in named:
            return run, None
        return run, bench.info(run, epoch_number(named["epoch"])).tag
    except CheckpointError as error:
        say = words.speaker(request)
        gr.Warning(html.escape(in_language(str(error), say.language), quote=False), title=say("error.title"))
        return run, None


# --- sizes --------------------------------------------------------------------------------------------------


def by(size: tuple[int, int]) -> str:
    """`640×480`."""
    return f"{size[0]}×{size[1]}"


def size_dropdown() -> gr.Dropdown:
    """To choose a working size, or to type its number of pixels."""
    named = [(words.label(f"size.{name}"), name) for name in NAMED_SIZES]
    return gr.Dropdown(
        [*named, *((f"{pixels} px", str(pixels)) for pixels in PIXEL_SIZES)], value="auto", allow_custom_value=True,
        label=words.label("size"), info=words.label("size.info"),
    )


def working_size(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Width and height with the shorter side brought to `shorter`, in proportion."""
    from cyclegan.translation.translator import working_size  # Loads torch.

    return working_size(size, shorter)


def checked_size(size: str | int) -> str | int:
    """A size by its name, or in pixels. Raises ImageError."""
    if size in NAMED_SIZES:
        return size
    digits = str(size).strip().lower().removesuffix("px").strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 6 and LEAST_SIZE <= int(digits) <= MOST_SIZE):
        raise ImageError(
            "there is no working size {size!r}: choose {names}, or {LEAST_SIZE} to {MOST_SIZE} pixels",
            size=str(size)[:40], names=', '.join(NAMED_SIZES), LEAST_SIZE=LEAST_SIZE, MOST_SIZE=MOST_SIZE,
        )
    return int(digits)


def working_side(
    size: tuple[int, int], choice: str | int, data: DataConfig, device: str, say: words.Speaker
) -> tuple[int | None, list[str]]:
    """The shorter side to work at, None for the picture's own, and what to say of it.

    Args:
        size: the picture's width and height.
        choice: as `checked_size` returns it.
        data: what the networks were trained with.
        device: the type of torch's device.
        say: from `words.speaker`.
    """
    shorter = min(size)
    training = training_side(size, data)
    # Up to twice the training size, things are still of a size that the networks know, and results are sharper.
    named = {"original": shorter, "training": training, "auto": min(max(shorter, training), 2 * training)}
    wanted = named[choice] if isinstance(choice, str) else choice
    most = MAX_WORKED_PIXELS.get(device, MAX_WORKED_PIXELS_ELSEWHERE)
    scale = wanted / shorter
    if size[0] * size[1] * scale * scale <= most:
        return (None if wanted == shorter else wanted), []
    worked = max(1, int(math.sqrt(most / (size[0] * size[1])) * shorter))
    return worked, [say("said.capped", size=by(tuple(max(1, round(side * worked / shorter)) for side in size)))]


def training_side(size: tuple[int, int], data: DataConfig) -> int:
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


# --- what is said -------------------------------------------------------------------------------------------


def busy(text: str) -> str:
    """HTML of a line that says what goes on."""
    return f'<span class="busy">{html.escape(text)}</span>'


def notices(problems: list[str], say: words.Speaker | None = None) -> str:
    """HTML of what could not be shown of a run."""
    language = (say or words.speaker()).language
    told = (in_language(sentence, language) for sentence in problems[:3])
    shown = (html.escape(sentence[:1].upper() + sentence[1:]) for sentence in told)
    return "".join(f'<p class="notice">{sentence}.</p>' for sentence in shown)


def told_error(error: BaseException, say: words.Speaker | None = None) -> gr.Error:
    """One sentence for the person; what nobody foresaw goes to the log with its traceback."""
    from cyclegan.errors import ImageError

    say = say or words.speaker()
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, (ImageError, CheckpointError, StudyError, ImageError)):
        said = in_language(str(error), say.language)
    elif isinstance(error, CancelledError) or "out of memory" in str(error).lower():
        said = say("error.memory")
    else:
        log.error("a page failed", exc_info=error)
        said = say("error.unforeseen")
    # gradio renders the message as HTML.
    return gr.Error(html.escape(said, quote=False), title=say("error.title"), print_exception=False)


def told(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn`, plain or a generator, with its errors told as sentences in the language of its `gr.Request`, if any."""

    def raised(error: Exception, args: tuple[Any, ...]) -> gr.Error:
        request = next((arg for arg in args if isinstance(arg, gr.Request)), None)
        return told_error(error, words.speaker(request))

    if inspect.isgeneratorfunction(fn):

        @functools.wraps(fn)  # gradio reads the signature
        def told_in_turn(*args: Any) -> Any:
            try:
                yield from fn(*args)
            except Exception as error:
                told = raised(error, args)
                raise told from (None if told is error else error)

        return told_in_turn

    @functools.wraps(fn)
    def told_once(*args: Any) -> Any:
        try:
            return fn(*args)
        except Exception as error:
            told = raised(error, args)
            raise told from (None if told is error else error)

    return told_once
