"""A run while a page is open: what is said about its training, and what the browser learns of new epochs."""

import json
import time

import gradio as gr
import pytest
from PIL import Image

from cyclegan.checkpoints.progress import STALE_S, MetricsLog, Progress, write_progress
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.ui import live, runs, words
from cyclegan.ui.in_training import in_training
from cyclegan.ui.pages import files, translate
from cyclegan.ui.workbench import Workbench
from tests.ui.conftest import picture, write_epoch

KOREAN = words.Speaker("ko")
TRAINING = Progress(
    "training", epoch=1, epochs=200, step=34, steps=100, run_step=34, seconds_left=1200.0, run_seconds_left=300_000.0,
    losses={"cycle_a": 0.25, "gan_ab": 0.5}, domains={"a": "day", "b": "<night>"},
)  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """The folder of a run whose training has begun."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    return folder


@pytest.fixture
def bench(run):
    return Workbench([LocalSource(run, awaited=True)], own=True)


def test_nothing_can_be_started_on_files_before_the_first_epoch(run, bench):
    class Request:
        headers, query_params = {}, {}

    events = files.Events(bench)
    assert [button.interactive for button in events.describe("mine", None, None, Request())[5:]] == [False] * 4
    assert events.open_page("mine", Request())[1].startswith("Nothing can be translated before the first epoch")
    write_epoch(run, 1)
    note, *values = events.first("mine", Request())
    assert note.startswith("Choose a video") and [button.interactive for button in values[5:]] == [True] * 4


@pytest.mark.parametrize("page, known, epoch, reading", [(translate, 1, 4, "both"), (files, 0, 3, "ab")])
def test_refresh_brings_an_epoch_that_has_only_been_offered(run, bench, page, known, epoch, reading):
    class Request:
        headers, query_params = {}, {}

    events = page.Events(bench, [], []) if page is translate else page.Events(bench)
    write_epoch(run, 1)
    knows = events.describe("mine", None, reading, Request())[known]
    write_epoch(run, 2)
    arrived = events.arrived("mine", knows, reading, Request())
    assert len(arrived[epoch]["choices"]) == 2 and "value" not in arrived[epoch]
    assert arrived[epoch]["info"] == "The newest is epoch 2."
    assert arrived[known] == gr.skip()  # So the page still knows epoch 1 alone.
    newest = events.look_again("mine", knows, reading, knows, Request())[epoch]
    assert newest.value == "epoch-0002" and newest.info == ""


def line(bench, say=None):
    return live.line(bench, "mine", say or words.speaker())


def look(bench, seen):
    """What the browser gets that has `seen` the words so far."""
    return live._look(bench, {"language": "en-US", **seen})


def seen_of(bench, **more):
    return {"run": "mine", **bench.run("mine").watch()._asdict(), "studies": "", **more}


def test_the_first_epochs_progress_is_said(run, bench):
    assert line(bench) == "<p><span>mine has no epoch yet. The first one appears here by itself.</span></p>"
    write_progress(run, Progress("preparing"))
    assert 'class="busy"' in line(bench) and "it loads the pictures and the networks" in line(bench)
    write_progress(run, TRAINING)
    said = "mine has no epoch yet. Epoch 1 is training, 34%, 20 minutes left. All 200 epochs: 3 days left."
    assert said in line(bench)
    assert "에폭 1번 학습 중, 34%, 20분 남음" in line(bench, KOREAN)
    write_progress(run, Progress("training", epoch=2, epochs=2, step=1, steps=100))
    assert "The first epoch of mine is being saved. Epoch 2 is training, 1%." in line(bench)
    write_epoch(run, 1)
    assert line(bench) == '<p><span class="busy">Epoch 2 is training, 1%.</span></p>'
    write_progress(run, Progress("done", epoch=3, epochs=2))
    assert line(bench) == ""


@pytest.mark.parametrize("epoch, said", [(0, "ended before its first step"), (1, "ended in epoch 1, at 34%")])
def test_a_killed_training_does_not_pretend_to_train(run, bench, monkeypatch, epoch, said):
    write_progress(run, Progress("training" if epoch else "preparing", epoch=epoch, epochs=2, step=34, steps=100))
    before = bench.run("mine").watch()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + STALE_S + 1)
    assert said in line(bench) and "busy" not in line(bench) and "--resume auto" in line(bench)
    assert bench.run("mine").watch() != before  # So an open page learns of it.
    bench.own = False
    assert said in line(bench) and "--resume" not in line(bench)


@pytest.mark.parametrize("seconds, said", [
    (3, "less than a minute"), (60, "1 minute"), (90, "2 minutes"), (5400, "90 minutes"), (7200, "2 hours"),
    (100_000, "28 hours"), (180_000, "2 days"),
])  # fmt: skip
def test_durations(seconds, said):
    assert str(live.duration(seconds)) == said


def test_the_browser_learns_only_what_is_new(run, bench):
    seen = seen_of(bench)
    assert look(bench, seen) is None
    write_progress(run, TRAINING)
    news = look(bench, seen)
    assert "34%" in news["line"] and not news["epochs"] and news["training"] != seen["training"]
    seen = seen_of(bench)
    assert look(bench, seen) is None
    MetricsLog(run).append({"event": "step", "epoch": 1, "step": 10, "losses": {"cycle_a": 0.5}})
    news = look(bench, seen)
    assert news["details"] != seen["details"] and news["epochs"] == seen["epochs"]
    write_epoch(run, 1)
    first = look(bench, seen)["epochs"]
    write_epoch(run, 2)
    assert first and first != look(bench, seen)["epochs"]
    assert "에폭" in live._look(bench, {**seen, "language": "ko-KR"})["line"]


@pytest.mark.parametrize("seen", [None, 5, [], {}, {"run": 5}, {"run": "other"}, {"run": "x" * 10_000}])
def test_whatever_the_browser_sends_does_no_harm(bench, seen):
    assert live._look(bench, seen) is None


def test_a_value_is_escaped_and_knows_what_it_shows(run, bench):
    bench.runs = {'a "b" <c>': bench.runs["mine"]}
    value = live.value(bench, 'a "b" <c>', words.speaker())
    assert 'data-run="a &quot;b&quot; &lt;c&gt;"' in value and 'data-epochs=""' in value and "<c>" not in value
    assert live.value(bench, "nowhere", words.speaker()).endswith("></div>")


def test_runs_are_marked_while_they_have_no_epoch(run, bench):
    assert runs.run_choices(bench, words.speaker()) == [("mine (starting)", "mine")]
    write_epoch(run, 1)
    assert runs.run_choices(bench, words.speaker()) == [("mine", "mine")]


def test_the_losses_and_samples_of_the_first_epoch_are_shown(run, bench):
    source, say = bench.run("mine"), words.speaker()
    assert in_training(source, say) == ""
    write_progress(run, TRAINING)
    shown = in_training(source, say)
    assert shown.count("What the figures mean") == 1 and "<dt>adversarial</dt>" in shown
    assert "Epoch 1 so far" in shown and "0.250" in shown and "day → &lt;night&gt;" in shown and "<img" not in shown
    for step in (10, 20):
        MetricsLog(run).append({"event": "step", "epoch": 1, "step": step, "losses": {"cycle_a": 5 / step}})
    assert "from 0.5 (step 10) to 0.25 (step 20)" in in_training(source, say)

    (run / "samples").mkdir()
    picture(300, 200).save(run / "samples" / "ab.png")
    (run / "samples" / "ba.png").write_text("half")
    values = json.loads((run / "progress.json").read_text())
    assert "<img" not in in_training(source, say)  # It is an older process's.
    (run / "progress.json").write_text(json.dumps(values | {"samples_step": 20}))
    shown = in_training(source, say)
    assert "after step 20" in shown and shown.count('<img alt="day → &lt;night&gt;" src="data:image/webp') == 1
    hidden = in_training(source, say, samples=False)  # From a visitor who may take part in a study of them.
    assert "<img" not in hidden and "from 0.5 (step 10)" in hidden
    Image.new("RGB", (300, 200)).save(run / "samples" / "ab.png")
    assert in_training(source, say) != shown  # The newest.

    (run / "progress.json").write_text(json.dumps(values | {"samples_step": 20, "run_step": 54}))
    assert "<img" not in in_training(source, say)  # They are of the epoch before, which has its own by now.

    write_epoch(run, 1)
    assert "What the figures mean" not in in_training(source, say)  # The page has them below.
    write_progress(run, Progress("done", epoch=2, epochs=1))
    assert in_training(source, say) == ""
