"""The page that shows pictures under several epochs, or runs, side by side, with the curves of their training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from cyclegan.ui import inputs, live, matrix, runs, words
from cyclegan.ui.comparing import Events
from cyclegan.ui.comparison import directions_of, entry_choices, most_entries, opening_entries
from cyclegan.ui.feedback import busy, shows_errors
from cyclegan.ui.theme import after_load, header
from cyclegan.ui.workbench import FILES, PEOPLE, QUEUED, QUICK, Workbench

CSS = Path(__file__).with_name("compare.css")
SCRIPTS = [Path(__file__).with_name(f"compare{part}.js") for part in ("", "_matrix", "_blind")]

HELPERS = ("bench", "say", "script", "more", "spread", "first")
"""Names in `_layout` that aren't parts of the page."""
ABOUT = (
    "Translate pictures under several checkpoints, to compare them. image: a picture file. entries: up to 6 (24 on "
    "your own computer) checkpoints such as 'streets@epoch-0012', or 'USER/NAME@epoch-0012' on the Hub; by default the "
    "newest of up to 3 runs between the same domains, or with one such run some of its own, from its first to its "
    "last. direction: 'ab' or 'ba' of the first entry, by default the one that most entries have; runs whose domains "
    "have its names the other way round take the other one; entries that lack it are left out. "
    "size: 'auto' works at the picture's own size up to twice the one that the networks were trained on, 'training' at "
    "the size that they were trained on, 'original' at the picture's own, and a number such as '512' with the shorter "
    "side of so many pixels; results always have the picture's size. pictures: with more than 1, so many pictures are "
    "compared, the others are the run's examples; up to 6 (12). Returns a sentence; the picture as it was read; the "
    "translations, each with its checkpoint's name; the pictures that were brought back, likewise; and JSON whose "
    "'entries' have run, epoch, commit_sha, l1 (grey levels), psnr (dB) and ssim of what was brought back against the "
    "picture (null where there is no way back), 'differences' the mean absolute difference between the picture and the "
    "translations, each to each, 'disagreement' its mean over all pairs of translations, and 'more' the same of the "
    "other pictures."
)
"""For programs that call the page."""
ABOUT_FILM = (
    "Make a time-lapse over checkpoints: each picture stays at the left of its translations, which follow each other. "
    "image, entries, direction, size, pictures: as for /compare, and what that has translated isn't translated again. "
    "kind: 'mp4' or 'gif'. Returns a sentence and the file."
)
"""For programs that call the page."""


def build(bench: Workbench) -> None:
    """Put the page into the current `gr.Blocks`.

    Raises:
        CheckpointError: the first run holds no readable checkpoint.
    """
    _wire(_layout(bench), Events(bench))


def _layout(bench: Workbench) -> SimpleNamespace:
    first, say = next(iter(bench.runs)), words.speaker()
    spread, script = opening_entries(bench), "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    header("compare")
    training = live.live(bench)
    gr.HTML(
        words.label(
            "The same pictures under several epochs: which one would you keep? Select a picture to look closer, or "
            "choose Blind to rank epochs without knowing which is which."
        ),
        elem_classes="lead said",
    )  # fmt: skip
    with gr.Row(elem_classes="page"):
        with gr.Column(elem_classes="given"):
            image, examples = inputs.picture_inputs(200)
        with gr.Column(elem_classes="results"):
            with gr.Row(elem_classes="progress"):
                note = gr.HTML(busy(say("Starting …")), label="note", elem_classes="note")
                cancel = gr.Button(words.label("Cancel"), size="sm", elem_classes="cancel")
            viewer = gr.HTML(
                label="comparison", html_template='<div class="viewer"></div>', js_on_load=script,
                apply_default_css=False, elem_classes="bare", words=words.for_script(script),
            )  # fmt: skip
            # The browser shows it (compare.js); programs get the figures.
            viewer.api_info = matrix.figures_schema  # Not a subclass, because gradio writes a .pyi file next to each.
            verdict = gr.HTML(elem_classes="bare")
            film = gr.HTML(elem_classes="bare film")
            with gr.Row(visible=False):  # For programs.
                given = gr.Image(label="input", format="png", interactive=False)
                fakes = gr.Gallery(label="translations", format="png", interactive=False)
                recs = gr.Gallery(label="ways back", format="png", interactive=False)
                for_programs, kind = gr.Button(), gr.Textbox("mp4", label="kind")
                said, file = gr.Textbox(label="note"), gr.File(label="film", interactive=False)
        with gr.Column(elem_classes="settings"):
            run = runs.run_dropdown(bench)
            with gr.Column(elem_classes="epoch"):
                more = words.label("2 to 6, of any run; or type USER/NAME@epoch-0012.")
                if bench.own:
                    more = words.label("2 to 24, of any run; or type USER/NAME@epoch-0012.")
                # No value until the page opens, so that programs that name none get the spread of that moment.
                entries = gr.Dropdown(
                    entry_choices(bench, first, spread, say), value=None, multiselect=True,
                    max_choices=most_entries(bench), label=words.label("Epochs to compare"),
                    allow_custom_value=bench.takes_more,
                    info=more if bench.takes_more else words.label("2 to 6, of any run."),
                )  # fmt: skip
                refresh = gr.Button(words.label("Refresh"), size="sm")
            direction = gr.Radio(directions_of(spread), value=None, label=words.label("Direction"))
            size = inputs.size_dropdown()
            pictures = gr.Dropdown(
                [str(n + 1) for n in range(matrix.most_pictures(bench))], value=None, filterable=False,
                label=words.label("Pictures"), info=words.label("Your picture, and examples of its kind below it."),
            )  # fmt: skip
        with gr.Column(elem_classes="charts"):
            charts = gr.HTML(label=words.label("Training curves"), elem_classes="bare")
    wanted_example = gr.State(1)  # The example to begin with.
    known = gr.State(None)  # The newest epoch of the run that the page knows.
    settled = gr.State(None)  # The entries as the server has put them; others are the visitor's choice.
    picked, refused = inputs.picked(image, **QUEUED)
    turned = gr.State(None)  # Changes when the visitor changes the entries.
    return SimpleNamespace(**{name: part for name, part in locals().items() if name not in HELPERS})


def _wire(parts: SimpleNamespace, events: Events) -> None:
    opening, unread = {**QUICK, **FILES}, {"preprocess": False}
    run, image, note, known, size = parts.run, parts.image, parts.note, parts.known, parts.size
    wanted = [image, parts.entries, parts.direction, size, parts.pictures]
    settings, choices = [parts.entries, parts.settled, parts.direction], [run, parts.entries, parts.direction]
    start = [known, parts.training, size, parts.pictures, parts.wanted_example, parts.examples]
    opened = gr.context.Context.root_block.load(
        shows_errors(events.open_page), None, [run, *settings, *start], **QUEUED
    )
    another = [*settings, known, parts.training, parts.wanted_example, parts.examples]
    chosen, first = (
        event(shows_errors(events.open_run), run, another, **QUEUED) for event in (run.input, parts.training.first)
    )
    parts.training.arrived(
        shows_errors(events.arrived), choices, [*settings, known, parts.training], **unread, **QUEUED
    )
    for event in (opened, chosen, first):
        event.success(
            shows_errors(events.first_picture), [run, image, parts.wanted_example], [image, note], **unread, **opening
        )
    runs.unmark(events.bench, parts.training, run)
    parts.examples.select(shows_errors(events.pick_example), run, image, **QUICK)

    # Every choice is settled first; then only one event compares, so that no two run at a time.
    # Not `input`: for a typed value, gradio reports only a change. Queued, or the state's change isn't reported.
    parts.entries.change(events.notice, [parts.entries, parts.settled], parts.turned, **unread, **QUEUED)
    ready = gr.on(
        [parts.picked.change, parts.turned.change, parts.direction.input, size.input, parts.pictures.input],
        shows_errors(events.settle), choices, settings, trigger_mode="always_last", **unread, **QUEUED,
    )  # fmt: skip
    compared = ready.success(
        events.compare, wanted,
        [note, parts.given, parts.fakes, parts.recs, parts.viewer], trigger_mode="always_last", **unread, **PEOPLE,
        show_progress="hidden", api_name="compare", api_description=ABOUT,
    )  # fmt: skip
    ready.success(shows_errors(events.draw), parts.entries, parts.charts, **unread, **QUEUED)
    box = [image, parts.entries]
    compared.failure(events.unless_bad, [*box, parts.refused], [image, parts.refused], **unread, **opening)
    compared.success(shows_errors(events.for_browsers), box, image, **unread, **opening)
    parts.cancel.click(events.stop, parts.viewer, [note, parts.viewer], cancels=[compared], **QUICK)
    parts.refresh.click(shows_errors(events.look_again), [*choices, known], [*settings, known], **unread, **QUEUED)
    ready.success(events.clear, None, [parts.verdict, parts.film], **QUEUED)
    parts.viewer.film(
        shows_errors(events.film), wanted, parts.film, trigger_mode="always_last", **unread, **PEOPLE,
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    parts.viewer.ranked(shows_errors(events.ranked), parts.viewer, parts.verdict, **unread, **QUEUED)
    parts.for_programs.click(
        shows_errors(events.timelapse), [*wanted, parts.kind], [parts.said, parts.file], **unread, **PEOPLE,
        api_name="timelapse", api_description=ABOUT_FILM,
    )  # fmt: skip
    after_load()
