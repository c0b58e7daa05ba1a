"""The page of the studies: the way to take part, what came out, and how to build another."""

from __future__ import annotations

import base64
import contextlib
import html
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from cyclegan.checkpoints.sources import CheckpointSource, LocalSource
from cyclegan.errors import StudyError
from cyclegan.study.format import Study
from cyclegan.study.make import make_in_process
from cyclegan.study.protocol import PROTOCOLS
from cyclegan.study.protocol import protocol as preset
from cyclegan.study.shelf import KEY_VARIABLE, PREVIEW, Studies
from cyclegan.ui import common, words
from cyclegan.ui.common import told
from cyclegan.ui.results import served
from cyclegan.ui.workbench import Workbench, header

CSS = Path(__file__).with_name("studies.css")
SCRIPT = Path(__file__).with_name("studies.js")

BUILT_IN = Path("studies")
"""Where the page puts what it builds, and where the app looks for studies by itself."""
REPORTS: dict[str, Any] = {"concurrency_id": "reports", "concurrency_limit": 2}
BUILDS: dict[str, Any] = {"concurrency_id": "builds", "concurrency_limit": 1}
FORMATS = ("md", "json", "csv", "parquet")

words.add({
    "studies.lead": (
        "People say what looks real. Each takes part once, and sees what a plan that was frozen beforehand has drawn.",
        "사람들이 무엇이 진짜 같은지 판단합니다. 한 사람이 한 번만 참여하고, 보여 줄 사진은 미리 고정된 계획으로 "
        "정해집니다.",
    ),
    "studies.none": (
        "There is no study here yet.", "아직 연구가 없습니다.",
    ),
    "studies.study": ("Study", "연구"),
    "studies.take_part": ("Take part", "참여하기"),
    "studies.realness_real": ("Which picture is real?", "어느 것이 진짜 사진일까요?"),
    "studies.realness_fake": ("Which picture is fake?", "어느 것이 가짜 사진일까요?"),
    "studies.single": ("Is this picture real?", "이 사진은 진짜일까요?"),
    "studies.pick": ("Which of two translations looks more real?", "두 변환 중 어느 것이 더 진짜 같을까요?"),
    "studies.tag": ("What is wrong with this translation?", "이 변환에서 무엇이 이상할까요?"),
    "studies.what": ("{arrow}, epochs {epochs} of {source}.", "{arrow}, {source}의 에폭 {epochs}."),
    "studies.trials": ("{practice} trials to practise, {test} that count", "연습 {practice}회, 본시험 {test}회"),
    "studies.trials_only": ("{test} trials", "{test}회"),
    "studies.exposure": ("{ms} ms per picture", "사진당 {ms} ms"),
    "studies.no_limit": ("without time limit", "시간 제한 없음"),
    "studies.protocol": ("protocol {name}", "프로토콜 {name}"),
    "studies.send": ("Send it to people", "사람들에게 보내기"),
    "studies.send_how": (
        "These addresses open the study alone, without the workbench around it. Without an id of a person's own, the "
        "browser keeps a random one.",
        "워크벤치 없이 연구만 열리는 주소입니다. 사람마다 정한 id가 없으면 브라우저가 임의의 id를 보관합니다.",
    ),
    "studies.to_one": (
        "To one person: write an id of theirs in place of ID", "한 사람에게: ID 자리에 그 사람의 id를 넣으세요",
    ),
    "studies.to_prolific": ("Prolific, which fills in its ids", "Prolific (id를 자동으로 채움)"),
    "studies.to_anyone": ("MTurk, or anyone", "MTurk 또는 누구나"),
    "studies.to_accounts": ("Anyone with an account of Hugging Face", "Hugging Face 계정이 있는 누구나"),
    "studies.only_here": (
        "Only this computer can open these addresses. For other people, make a Space of the study, or serve it to "
        "your network, at an address of its own:",
        "이 컴퓨터에서만 열리는 주소입니다. 다른 사람도 참여하게 하려면 Space로 만들거나, 아래 명령으로 네트워크에 "
        "공개하세요. 그때는 주소가 따로 정해집니다.",
    ),
    "studies.preview": ("Try it: nothing is recorded", "미리 보기 (기록되지 않음)"),
    "studies.results": ("Results", "결과"),
    "studies.counts": (
        "{started} took part, {completed} to the end, {counted} count.",
        "참여 {started}명, 완료 {completed}명, 집계 {counted}명.",
    ),
    "studies.simulated": (
        "These are simulated participants, not people.", "실제 사람이 아닌 모의 참여자의 결과입니다.",
    ),
    "studies.no_votes": ("Nobody has taken part yet.", "아직 아무도 참여하지 않았습니다."),
    "studies.epoch": ("Epoch", "에폭"),
    "studies.fooled": ("Taken for real", "진짜로 본 비율"),
    "studies.interval": ("95% interval", "95% 구간"),
    "studies.participants": ("Participants", "참여자"),
    "studies.judgements": ("Trials", "시행"),
    "studies.scale": (
        "The line is 50%: as often as by guessing, so nobody could tell them apart.",
        "세로선은 50%입니다. 찍은 것과 같아 구별하지 못했다는 뜻입니다.",
    ),
    "studies.whole": ("The whole report", "전체 보고서"),
    "studies.files": ("Report and votes as files", "보고서와 응답 파일"),
    "studies.make_files": ("Make the files", "파일 만들기"),
    "studies.refresh": ("Refresh", "새로 고침"),
    "studies.counting": ("Counting the votes …", "응답을 집계하는 중 …"),
    "studies.key": (
        "Results are for the owner: open this page with ?key= and the server's STUDY_KEY at the end of its address.",
        "결과는 운영자만 볼 수 있습니다. 주소 끝에 ?key=와 서버의 STUDY_KEY를 붙여 여세요.",
    ),
    "studies.build": ("Build a study", "연구 만들기"),
    "studies.build_lead": (
        "The pictures are translated once and frozen, with the real ones that they are shown beside. It takes a minute "
        "or so, and then the study is linked above.",
        "사진을 한 번만 변환해서 함께 보여 줄 진짜 사진과 같이 고정합니다. 1분쯤 걸리고, 끝나면 위에 연구가 "
        "나타납니다.",
    ),
    "studies.epochs": ("Epochs", "에폭"),
    "studies.dataset": ("Data set", "데이터 세트"),
    "studies.dataset_info": (
        "A folder with testA and testB, USER/NAME on the Hub, or streets. Its test pictures are shown.",
        "testA와 testB가 있는 폴더, Hub의 USER/NAME, 또는 streets. 시험용 사진을 보여 줍니다.",
    ),
    "studies.protocol_label": ("Protocol", "프로토콜"),
    "studies.name": ("Name", "이름"),
    "studies.name_info": (
        "Letters, digits, dots, hyphens: part of its address.", "영문자, 숫자, 점, 하이픈. 주소의 일부가 됩니다.",
    ),
    "studies.title": ("Title that participants see", "참여자에게 보이는 제목"),
    "studies.contact": ("Whom participants can ask", "참여자가 문의할 연락처"),
    "studies.practice": ("Practice trials", "연습 횟수"),
    "studies.test": ("Test trials", "본시험 횟수"),
    "studies.vigilance": ("Share of vigilance trials", "주의 확인 시행 비율"),
    "studies.repeats": ("Share of repeated pairs", "반복 쌍 비율"),
    "studies.mask": ("Cover the places of the pictures once they are gone", "사진이 사라진 자리를 무늬로 가리기"),
    "studies.go": ("Build", "만들기"),
    "studies.building": ("Building …", "만드는 중 …"),
    "studies.building_part": ("Building … {part}", "만드는 중 … {part}"),
    "studies.built": (
        "Built in {folder}, and nothing but the pictures tells what is real. It is chosen at the top of this page.",
        "{folder}에 만들었습니다. 사진 자체 말고는 진짜를 알려 주는 단서가 없습니다. 이 페이지 맨 위에서 볼 수 "
        "있습니다.",
    ),
    "studies.command": ("The same from a shell:", "같은 일을 하는 명령:"),
})  # fmt: skip


SCRIPT_WORDS = {
    "copy": ("Copy", "복사"), "copied": ("Copied", "복사했습니다"),
    "failed": ("Select and copy it", "직접 복사해 주세요"),
}  # fmt: skip
"""What studies.js says: key → (English, Korean)."""
LINKS = {"studies.to_one": "?participant=ID", "studies.to_prolific": "?PROLIFIC_PID={{%PROLIFIC_PID%}}",
         "studies.to_anyone": ""}  # fmt: skip
"""Where participants come from, and what the study's address ends in then. MTurk adds its own parameters."""


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`: `bench.studies`, and where its owner looks, what builds others."""
    studies: Studies = bench.studies
    header("studies")
    gr.HTML(words.label("studies.lead"), elem_classes="lead")
    with gr.Row(elem_classes="choose-study"):
        choice = gr.Dropdown(
            list(studies.by_name), value=next(iter(studies.by_name), None), label=words.label("studies.study"),
            visible=len(studies.by_name) > 1, filterable=False,
        )
    card = gr.HTML(
        elem_classes="study-card", js_on_load=SCRIPT.read_text(encoding="utf-8"),
        words={code: {key: pair[n] for key, pair in SCRIPT_WORDS.items()} for n, code in enumerate(words.LANGUAGES)},
    )  # fmt: skip
    note = gr.HTML("", label="note", elem_classes="note")
    results = gr.HTML(elem_classes="results-table", visible=False)
    with gr.Row(visible=False, elem_classes="results-buttons") as buttons:
        refresh = gr.Button(words.label("studies.refresh"), size="sm")
        make_files = gr.Button(words.label("studies.make_files"), size="sm")
    files = gr.File(label=words.label("studies.files"), file_count="multiple", interactive=False, visible=False)
    with gr.Accordion(words.label("studies.whole"), open=False, visible=False) as whole_box:
        drawn = gr.HTML(elem_classes="drawn-report", padding=False)
        whole = gr.Markdown(elem_classes="whole-report")

    def card_of(name: str | None, request: gr.Request) -> list[Any]:
        """The study itself, and of its results nothing yet; in the order of `first`."""
        say = words.speaker(request)
        if not studies.by_name:
            return [f"<p>{html.escape(say('studies.none'))}</p>", "", *_hidden()]
        seen = studies.may_see(_key(request))
        said = common.busy(say("studies.counting")) if seen else say("studies.key") if _key(request) else ""
        return [_card(studies.study(name), say, owner=seen, own=studies.own), said, *_hidden()]

    def count(name: str | None, request: gr.Request) -> list[Any]:
        """What came out, for those who may see it; in the order of `first` without the card."""
        say = words.speaker(request)
        if not studies.by_name or not studies.may_see(_key(request)):
            return [gr.skip(), *_hidden()]
        from cyclegan.study.report import to_markdown

        study = studies.study(name)
        report = studies.report(study)
        there = bool(report["participants"]["started"])
        return [
            "", gr.HTML(_results(report, say), visible=True), gr.Row(visible=True), gr.Accordion(visible=there),
            _drawn(study, report) if there else "", gr.Markdown(to_markdown(report) if there else ""),
            gr.File(visible=False),
        ]

    first = [card, note, results, buttons, whole_box, drawn, whole, files]

    def open_page(name: str | None, request: gr.Request) -> list[Any]:
        """The study that the address names, else the first one."""
        choices = list(studies.by_name)
        asked = dict(request.query_params).get("study")
        name = asked if asked in choices else name if name in choices else next(iter(choices), None)
        return [gr.Dropdown(choices, value=name, visible=len(choices) > 1), *card_of(name, request)]

    def stopped() -> str:
        """After a failure, of which a notice tells."""
        return ""

    def study_report(study: str | None = None, key: str | None = None) -> dict[str, Any]:
        """What came out of a study: the fooling rate of each epoch with its interval, and everything else reported.

        Args:
            study: its name, None for the first one.
            key: the owner's, on a server for others.
        """
        if not studies.may_see(key):
            raise StudyError(
                "results are for the owner: give the server's {KEY_VARIABLE} as key",
                KEY_VARIABLE=KEY_VARIABLE,
            )
        return studies.report(studies.study(study))

    def write_files(name: str | None, request: gr.Request) -> Any:
        """The report in all formats, with its figures."""
        if not studies.may_see(_key(request)):
            raise StudyError(
                "results are for the owner: give the server's {KEY_VARIABLE} as key",
                KEY_VARIABLE=KEY_VARIABLE,
            )
        return gr.File(_files(studies, studies.study(name)), visible=True)

    private = {"show_progress": "hidden", "api_visibility": "private", **REPORTS}
    page = gr.context.Context.root_block

    def then_count(event: Any) -> None:
        counted = event.success(told(count), choice, first[1:], **private)
        counted.failure(stopped, None, note, **private)

    then_count(page.load(told(open_page), choice, [choice, *first], **private))
    then_count(choice.input(told(card_of), choice, first, **private))
    then_count(refresh.click(told(card_of), choice, first, **private))
    make_files.click(told(write_files), choice, files, api_visibility="private", **REPORTS)
    named, key = gr.Textbox(visible=False, label="study"), gr.Textbox(visible=False, label="key")
    gr.Button(visible=False).click(
        told(study_report), [named, key], gr.JSON(visible=False, label="report"), api_name="study_report",
        preprocess=False, **REPORTS,
        api_description=(
            "What came out of a study of realism. study: its name, the first by default. key: the owner's, on a server "
            "for others. Returns the report: participants; epochs, each with epoch, fooling_rate (0 to 1), interval "
            "(95%, over participants) and counts; trend, contrasts and the rest of what "
            "`python -m cyclegan study report --format json` writes."
        ),
    )  # fmt: skip
    page.load(None, js="() => document.querySelector('.note').setAttribute('role', 'status')", **private)
    if studies.own:
        then_count(_build_form(bench, studies, choice).success(told(card_of), choice, first, **private))


# --- what is shown ------------------------------------------------------------------------------------------


def _key(request: gr.Request) -> str | None:
    return dict(request.query_params).get("key")


def _hidden() -> list[Any]:
    """The results, their buttons, the box with the report's pictures and text, and the files: not to be seen."""
    return [
        gr.HTML("", visible=False), gr.Row(visible=False), gr.Accordion(visible=False), "", gr.Markdown(""),
        gr.File(visible=False),
    ]


def _card(study: Study, say: words.Speaker, *, owner: bool = False, own: bool = False) -> str:
    """What a study asks, and the way to it.

    Args:
        study: it.
        say: in the visitor's language.
        owner: whether the visitor may see more than participants.
        own: whether studies can be tried here without leaving a trace.
    """
    protocol = study.protocol
    question = {"pick": "studies.pick", "tag": "studies.tag"}.get(protocol.task) or (
        "studies.single" if protocol.presentation == "single" else f"studies.realness_{protocol.question}"
    )
    arrow = " → ".join(study.domains["ab".index(domain)] for domain in study.direction)
    sources = ", ".join(dict.fromkeys(checkpoint.source for checkpoint in study.checkpoints))
    epochs = ", ".join(map(str, study.epochs))
    trials = "studies.trials" if protocol.practice_trials else "studies.trials_only"
    how = ", ".join([
        say(trials, practice=protocol.practice_trials, test=protocol.test_trials),
        say("studies.exposure", ms=protocol.exposure_ms) if protocol.exposure_ms else say("studies.no_limit"),
        say("studies.protocol", name=protocol.name),
    ])  # fmt: skip
    address = f"study/{quote(study.name)}"
    lines = [
        f"<h2>{html.escape(study.title or study.name)}</h2>",
        f"<p>{html.escape(say(question))}</p>",
        # Participants come to this page too, where it is public: which epochs are judged is not for them.
        f'<p class="how">{html.escape(say("studies.what", arrow=arrow, epochs=epochs, source=sources))}</p>'
        if owner else "",
        f'<p class="how">{html.escape(how)}.</p>',
        f'<p class="ways"><a class="take-part" href="{address}" target="_blank" rel="noopener">'
        f'{html.escape(say("studies.take_part"))}</a>',
        f'<a class="try" href="study/{PREVIEW}/{quote(study.name)}" target="_blank" rel="noopener">'
        f'{html.escape(say("studies.preview"))}</a>' if own else "",
        "</p>",
        _links(study, address, say, own=own) if owner else "",
    ]  # fmt: skip
    return "".join(lines)


def _links(study: Study, address: str, say: words.Speaker, *, own: bool) -> str:
    """The addresses to send, from the page's own on; studies.js puts that before them.

    Args:
        own: whether only this computer is served, which the page says where its address says so too.
    """
    links = {"studies.to_accounts": ""} if study.protocol.login == "huggingface" else LINKS
    copy = html.escape(SCRIPT_WORDS["copy"][words.LANGUAGES.index(say.language)])
    rows = "".join(
        f'<li><span>{html.escape(say(key))}</span><code data-path="{html.escape(address + end)}">'
        f'{html.escape(address + end)}</code><button type="button">{copy}</button></li>' for key, end in links.items()
    )  # fmt: skip
    command = shlex.join(["python", "-m", "cyclegan", "study", "serve", str(study.folder), "--host", "0.0.0.0"])
    only_here = (
        f'<p class="how only-here" hidden>{html.escape(say("studies.only_here"))} '
        f"<code>{html.escape(command)}</code></p>"
    )
    return (
        f"<h3>{html.escape(say('studies.send'))}</h3><p class=\"how\">{html.escape(say('studies.send_how'))}</p>"
        f'<ul class="links">{rows}</ul>{only_here if own else ""}'
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"


def _results(report: Mapping[str, Any], say: words.Speaker) -> str:
    """The counts, and a row for each epoch with its rate drawn beside it."""
    people = report["participants"]
    title = f"<h2>{html.escape(say('studies.results'))}</h2>"
    if not people["started"]:
        return f"{title}<p>{html.escape(say('studies.no_votes'))}</p>"
    counts = say("studies.counts", **{key: people[key] for key in ("started", "completed", "counted")})
    notice = f'<p class="notice">{html.escape(say("studies.simulated"))}</p>' if report["simulated"] else ""
    rows = []
    for each in report["epochs"] if report["protocol"]["task"] == "realness" else ():
        low, high = each.get("interval") or (None, None)
        between = "–" if low is None else f"{_percent(low)} – {_percent(high)}"
        drawn = "" if low is None or each["fooling_rate"] is None else (
            f'<span class="range" style="--low:{low:.4f};--high:{high:.4f};--rate:{each["fooling_rate"]:.4f}">'
            "<i></i><b></b></span>"
        )
        rows.append(
            f'<tr><th scope="row">{each["epoch"]}</th><td><strong>{_percent(each["fooling_rate"])}</strong></td>'
            f'<td>{between}</td><td class="drawn" aria-hidden="true">{drawn}</td>'
            f'<td>{each["participants"]}</td><td>{each["trials"]}</td></tr>'
        )
    head = "".join(
        f"<th scope=\"col\">{html.escape(say(f'studies.{key}')) if key else ''}</th>"
        for key in ("epoch", "fooled", "interval", "", "participants", "judgements")
    )
    table = (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f'<p class="how">{html.escape(say("studies.scale"))}</p>'
    )  # fmt: skip
    return f"{title}{notice}<p>{html.escape(counts)}</p>{table if rows else ''}"


def _drawn(study: Study, report: Mapping[str, Any]) -> str:
    """The report's plots, and the pictures that were taken for real most and least."""
    from cyclegan.study.plots import plots
    from cyclegan.study.report import contact_sheet

    images = [(name.replace("-", " "), "svg+xml", svg) for name, (svg, _) in plots(report).items()]
    if sheet := contact_sheet(study, report):
        images.append(("pictures most and least often taken for real", "png", sheet))
    return "".join(
        f'<img alt="{html.escape(name)}" src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'
        for name, kind, content in images
    )


def _files(studies: Studies, study: Study) -> list[str]:
    """The report in every format, with its figures, as files for the browser."""
    from cyclegan.study.report import write_report

    store = studies.store(study)
    votes, sessions = store.votes(study), store.sessions(study)
    made: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in FORMATS:
            write_report(study, votes, sessions, kind, Path(folder) / f"{study.name}.{kind}")
        for path in sorted(Path(folder).iterdir()):
            content = path.read_bytes()
            made.append(served(path.name, lambda to, content=content: to.write_bytes(content)))
    return made


# --- building -----------------------------------------------------------------------------------------------


def _build_form(bench: Workbench, studies: Studies, choice: gr.Dropdown) -> Any:
    """Lay out the form that builds a study; return the event that ends with the new study chosen."""
    infos = common.listed(bench.run(None))
    with gr.Accordion(words.label("studies.build"), open=not studies.by_name):
        gr.HTML(words.label("studies.build_lead"), elem_classes="lead")
        with gr.Row():
            run = gr.Dropdown(list(bench.runs), value=next(iter(bench.runs)), label=words.label("run"),
                              visible=len(bench.runs) > 1, filterable=False)
            epochs = gr.Dropdown([info.epoch for info in infos][::-1], value=_spread([i.epoch for i in infos]),
                                 multiselect=True, label=words.label("studies.epochs"))
            direction = gr.Radio(common.direction_choices(infos[0]), value=infos[0].directions[0],
                                 label=words.label("direction"))
        with gr.Row():
            dataset = gr.Textbox(_offered(infos[0].config.data.dataset), label=words.label("studies.dataset"), lines=1,
                                 info=words.label("studies.dataset_info"))
            name = gr.Textbox(label=words.label("studies.name"), info=words.label("studies.name_info"))
        with gr.Row():
            title = gr.Textbox(label=words.label("studies.title"))
            contact = gr.Textbox(label=words.label("studies.contact"))
        with gr.Row():
            protocol = gr.Dropdown(list(PROTOCOLS), value="cyclegan2017", label=words.label("studies.protocol_label"),
                                   filterable=False)
            practice = gr.Number(10, precision=0, minimum=0, label=words.label("studies.practice"))
            test = gr.Number(40, precision=0, minimum=1, label=words.label("studies.test"))
        with gr.Row():
            vigilance = gr.Number(0, step=0.05, label=words.label("studies.vigilance"))
            repeats = gr.Number(0, step=0.05, label=words.label("studies.repeats"))
            mask = gr.Checkbox(False, label=words.label("studies.mask"))
        go = gr.Button(words.label("studies.go"), variant="primary")
        said = gr.HTML(elem_classes="built", label="built")

    def take_run(run: str) -> list[Any]:
        infos = common.listed(bench.run(run))
        numbers = [info.epoch for info in infos]
        return [
            gr.Dropdown(numbers[::-1], value=_spread(numbers)),
            gr.Radio(common.direction_choices(infos[0]), value=infos[0].directions[0]),
            _offered(infos[0].config.data.dataset),
        ]

    def take_protocol(name: str) -> list[Any]:
        preset = PROTOCOLS[name]
        return [preset.practice_trials, preset.test_trials, preset.vigilance_share, preset.repeat_share, preset.mask]

    def build_study(
        run: str, epochs: list[int], direction: str, dataset: str, protocol: str, name: str, title: str, contact: str,
        practice: int, test: int, vigilance: float, repeats: float, mask: bool, request: gr.Request,
    ) -> Iterator[list[Any]]:
        """Make a study in a process of its own, and show it."""
        say, source = words.speaker(request), bench.run(run)
        dataset = (dataset or "").strip()
        if not dataset:
            raise StudyError("name a data set, whose test pictures are shown")
        name = (name or "").strip() or f"{Path(source.name).name}-{direction}-{protocol}"
        options = {
            "epochs": sorted(int(epoch) for epoch in epochs or []) or "latest", "direction": direction,
            "output": BUILT_IN / name, "title": title or "", "contact": contact or "",
        }  # fmt: skip
        rules = {"practice_trials": practice, "test_trials": test, "vigilance_share": _float(vigilance),
                 "repeat_share": _float(repeats), "mask": bool(mask)}  # fmt: skip
        waiting = gr.Button(interactive=False)
        yield [common.busy(say("studies.building")), waiting, gr.skip()]
        try:
            made = make_in_process(source, dataset, protocol=preset(protocol, **rules), **options)
            with contextlib.closing(made):
                for part in _percentages(made):
                    shown = common.busy(say("studies.building_part", part=part)) if part else gr.skip()
                    yield [shown, gr.skip(), gr.skip()]
            study = studies.add(options["output"])
        except Exception as error:
            yield ["", gr.Button(interactive=True), gr.skip()]
            told = common.told_error(error, say)
            raise told from (None if told is error else error)
        link = f'<a href="study/{quote(study.name)}" target="_blank">{html.escape(say("studies.take_part"))}</a>'
        line = f"<p>{html.escape(say('studies.built', folder=options['output']))}</p><p>{link}</p>"
        line += f"<p>{html.escape(say('studies.command'))}</p>"
        line += f"<code>{html.escape(_command(source, dataset, protocol, {**options, **rules}))}</code>"
        names = list(studies.by_name)
        yield [line, gr.Button(interactive=True), gr.Dropdown(names, value=study.name, visible=len(names) > 1)]

    private = {"show_progress": "hidden", "api_visibility": "private"}
    run.input(told(take_run), run, [epochs, direction, dataset], **private, **REPORTS)
    protocol.input(take_protocol, protocol, [practice, test, vigilance, repeats, mask], **private, **REPORTS)
    return go.click(
        told(build_study),
        [run, epochs, direction, dataset, protocol, name, title, contact, practice, test, vigilance, repeats, mask],
        [said, go, choice], **private, **BUILDS,
    )  # fmt: skip


def _spread(epochs: Sequence[int]) -> list[int]:
    """Up to three epochs of a run: the first, the middle, the last."""
    ordered = sorted(epochs)
    return sorted({ordered[0], ordered[len(ordered) // 2], ordered[-1]})


def _offered(dataset: str) -> str:
    """Return the data set of a run; for the built-in scenes, with enough test pictures for any protocol."""
    if not dataset.startswith("streets"):
        return dataset
    size = re.search(r"size=\d+", dataset)
    return ",".join(filter(None, ["streets:count=1", "test_count=60", size and size[0]]))


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _percentages(made: Iterable[tuple[int, int] | None]) -> Iterator[str]:
    """Yield the progress of a build in percent, empty where it hasn't changed."""
    last = ""
    for progress in made:
        part = f"{100 * progress[0] // max(1, progress[1])}%" if progress else ""
        yield part if part != last else ""
        last = part


def _command(source: CheckpointSource, dataset: str, protocol: str, options: Mapping[str, Any]) -> str:
    """Return the shell's command that builds the same study."""
    spec = source.folder if isinstance(source, LocalSource) else source.name
    flags = {"checkpoints": spec, "dataset": dataset, "protocol": protocol, **options}
    if isinstance(epochs := flags["epochs"], list):
        flags["epochs"] = ",".join(map(str, epochs))
    mask = "--mask" if flags.pop("mask") else "--no-mask"
    given = [f"--{name}={value}" for name, value in flags.items() if value not in (None, "")]
    return shlex.join(["python", "-m", "cyclegan", "study", "build", *given, mask])
