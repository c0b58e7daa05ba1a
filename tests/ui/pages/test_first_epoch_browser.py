"""The app while the first epoch of a run trains: one start of it, five pages that nobody reloads."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from types import SimpleNamespace

import pytest

from cyclegan.checkpoints.progress import Progress
from cyclegan.training.progress import ProgressWriter
from tests.study.conftest import write_small_study
from tests.ui.conftest import OWNER, ROOT, free_port, picture, wait_until_answers, write_epoch
from tests.ui.pages.test_translate_browser import chromium, visit  # noqa: F401  (fixtures)

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("first epoch")]
LIMIT_MS = 300_000
"""Two pages translate at once, with networks that are loaded meanwhile, on a machine that may be busy."""


def amid(epoch, step, **more):
    """What a trainer writes amid an epoch."""
    return Progress(
        "training", epoch=epoch, epochs=2, step=step, steps=100, run_step=100 * (epoch - 1) + step, seconds_left=1200.0,
        run_seconds_left=7200.0, domains={"a": "day", "b": "night"}, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """`python app.py --checkpoints runs/mine runs/empty`, where the first epoch of mine trains, and empty is empty."""
    folder = tmp_path_factory.mktemp("first")
    run, log = folder / "runs" / "mine", folder / "log.txt"
    for made in (run / "examples", folder / "runs" / "empty", folder / "temp"):
        made.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    for seed, name in enumerate(("a_0", "b_0")):
        picture(48, 40, seed).save(run / "examples" / f"{name}.png")
    trainer = ProgressWriter(run)
    trainer.follow(lambda: amid(1, 34, losses={"cycle_a": 0.25}))
    port = free_port()
    with open(log, "w") as out:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py"), "--checkpoints", "runs/empty", "runs/mine", "--port", str(port)],
            cwd=folder, stdout=out, stderr=out,
            env={**os.environ, **OWNER, "GRADIO_TEMP_DIR": str(folder / "cache"), "TMPDIR": str(folder / "temp"),
                 "GRADIO_HEARTBEAT_INTERVAL": "0.1"},
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_until_answers(url, process, log)
        yield SimpleNamespace(url=url, run=run, trainer=trainer, work=folder, log=log)
    finally:
        trainer.close()
        process.terminate()
        process.wait(300)


def line(here):
    return here.page.locator(".training")


def choose(here, name):
    """The choices of a dropdown, by its class."""
    given = here.page.locator(f".{name} input").first
    given.focus()
    here.page.get_by_role("option").first.wait_for()
    choices = here.page.get_by_role("option").all_inner_texts()
    given.blur()
    here.page.get_by_role("option").first.wait_for(state="detached")
    return [text.strip().removeprefix("✓").strip() for text in choices]


def test_pages_open_before_the_first_epoch_and_take_epochs_as_they_come(visit, app):  # noqa: F811
    names = "translate", "compare", "files", "checkpoints", "studies"
    pages = {
        name: visit(path=name.removeprefix("translate"), locale="ko-KR" if name == "files" else "en-US")
        for name in names
    }
    for name, here in pages.items():
        here.page.set_default_timeout(LIMIT_MS)
        said = "에폭 1번 학습 중, 34%, 20분 남음" if name == "files" else "Epoch 1 is training, 34%, 20 minutes left"
        line(here).get_by_text(said).wait_for()
    for name in ("translate", "compare"):
        pages[name].wait_for("Nothing can be translated before the first epoch")
    assert choose(pages["translate"], "run") == ["mine (starting)", "empty (starting)"]
    checkpoints = pages["checkpoints"].page
    checkpoints.locator(".in-training dl").get_by_text("0.250").wait_for()

    # Losses and samples of the epoch, while it trains.
    with open(app.run / "metrics.jsonl", "a") as file:
        for step in (10, 20):
            file.write(json.dumps({"event": "step", "epoch": 1, "step": step, "losses": {"cycle_a": 5 / step}}) + "\n")
    app.trainer.show(40, lambda: {"ab": picture(300, 200)})
    app.trainer.follow(lambda: amid(1, 50))
    checkpoints.locator(".in-training .samples img").wait_for()
    checkpoints.locator(".in-training .curves svg").first.wait_for()
    line(pages["translate"]).get_by_text("50%").wait_for()

    # The first epoch comes, and with it a result.
    write_epoch(app.run, 1)
    app.trainer.follow(lambda: amid(2, 1))
    pages["translate"].wait_for("Epoch 1, 48×40 pixels")
    assert choose(pages["translate"], "run") == ["mine", "empty (starting)"]
    pages["compare"].wait_for("day → night")
    checkpoints.locator(".chosen h2").get_by_text("Epoch 1").wait_for()
    pages["studies"].page.get_by_label("day → night").wait_for()
    pages["studies"].page.wait_for_function("document.querySelector('[aria-label=Run]').value == 'mine'")
    pages["files"].page.get_by_label("day → night").wait_for()
    for here in pages.values():
        line(here).get_by_text("2번" if here is pages["files"] else "Epoch 2 is training").wait_for()

    # The next one is offered, and shown where the newest was; a choice stays.
    write_epoch(app.run, 2)
    checkpoints.locator(".chosen h2").get_by_text("Epoch 2").wait_for()
    for name in ("translate", "files"):
        deadline = time.monotonic() + LIMIT_MS / 1000
        while not any("2" in text.split("—")[0] for text in choose(pages[name], "epoch")):
            assert time.monotonic() < deadline
        assert "1" in pages[name].page.locator(".epoch input").first.input_value().split("—")[0]

    # So is a study that a shell builds.
    write_small_study(app.work / "studies" / "new")
    pages["studies"].page.locator(".study-card").get_by_text("A tiny study").first.wait_for()
    with urllib.request.urlopen(f"{app.url}study/new", timeout=300) as reply:
        assert reply.status == 200
    shutil.rmtree(app.work / "studies")
    assert "Traceback" not in app.log.read_text()
