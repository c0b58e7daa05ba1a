"""Scores on the Hub: they go with the epochs, onto the card, and back to whoever opens the run."""

import json
import re
from types import SimpleNamespace

import pytest
import yaml
from huggingface_hub import ModelCard

from cyclegan.checkpoints.format import read_info
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import CheckpointError
from cyclegan.ui import scores as page
from hub import HubError, open_source
from hub.card.metadata import merged
from hub.client import Repository
from hub.layout import MAX_SCORES_BYTES, scores_at, scores_in
from hub.renew import publish_scores
from hub.source import HubSource
from tests.ui.pages.test_scores_page import SAY, interval, write_scores

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
NAME = "alice/day-night"
FILE = "scores/test.json"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, as on a new machine, and no scores in the folder that the program runs in."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def push(publish_run, cache):
    """`publish_run` on a new machine."""
    return publish_run


@pytest.fixture
def source(loopback, push, make_run):
    """A repository of two epochs with scores, as a person sees it."""
    run = make_run(2)
    write_scores(run)
    push(run)
    return HubSource(NAME, endpoint=loopback.url)


def card_of(repo):
    text = repo.head["files"]["README.md"].decode()
    ModelCard(text)  # As the Hub's library reads it.
    return text


def metrics_of(repo):
    """The metrics that are scores, with the result that each is in."""
    (entry,) = yaml.safe_load(card_of(repo).split("---\n")[1])["model-index"]
    return [(m, result) for result in entry["results"] for m in result["metrics"] if "scores" in m.get("args", {})]


def kids(repo, way="ab"):
    """The published KID by epoch."""
    scores = json.loads(repo.head["files"][FILE])[way]["scores"]
    return {one["epoch"]: one["kid"]["kid"]["value"] for one in scores.values()}


# --- on the way there ---------------------------------------------------------------------------------------


def test_scores_go_with_the_epochs_commit_and_onto_the_card(push, make_run):
    run = make_run(2)
    path = write_scores(run, epochs=(1, 2, 9))
    repo = push(run)
    first, second = repo.epoch_commits()
    assert FILE in first["files"] and json.loads(second["files"][FILE]) == json.loads(path.read_text())
    section = card_of(repo).split("## Scores")[1].split("\n## ")[0]
    assert "**day → &lt;night&gt;**: 9 test pictures of streets:count=9 at 32 px, against 8 real ones" in section
    (head, kid), *_ = re.findall(r"^(\| \| .*) \|\n\|---.*\n(\| KID.*) \|", section, re.MULTILINE)
    # Epoch 9 isn't there yet.
    assert head == (f"| | [epoch-0002](https://huggingface.co/{NAME}/tree/epoch-0002), newest and best | "
                    "*the input, untranslated* | *one colour* | *real pictures*")
    assert kid == "| KID × 1000 (lite0)\u00a0↓ | 50.0 ±5.0 | 40.0 ±5.0 | 900.0 ±5.0 | -1.0 ±1.0"
    assert "KID × 1000 is best at epoch 2" in section and "But no epoch clearly beats this answer" in section
    assert "class IoU" not in section, "a score without a baseline isn't shown"


def test_the_newest_and_the_best_are_in_the_model_index(push, make_run):
    run = make_run(2)
    path = write_scores(run)
    content = json.loads(path.read_text())
    content["ab"]["scores"]["epoch-0001"]["kid"]["kid"] = interval(5.0, 0.5)
    path.write_text(json.dumps(content))
    repo = push(run)
    there = [(metric, result) for metric, result in metrics_of(repo) if metric["type"] == "kid_ab"]
    assert [(m["name"], m["value"]) for m, _ in there] == [
        ("KID × 1000 (lite0), day → <night>, epoch 2", 50.0), ("KID × 1000 (lite0), day → <night>, epoch 1", 5.0)
    ]
    metric, result = there[1]
    assert metric["args"] == {
        "scores": "test", "epoch": 1, "revision": "epoch-0001", "interval_95": [4.5, 5.5],
        "baselines": {"untranslated": 40, "one_colour": 900}, "ceilings": {"real": -1},
    }  # fmt: skip
    assert result["task"] == {"type": "image-to-image", "name": "Image-to-Image"}
    assert result["dataset"] == {
        "name": "streets:count=9", "type": "pictures", "split": "test",
        "args": {"pictures": 9, "references": 8, "size": 32},
    }  # fmt: skip
    assert result["source"]["url"] == f"https://huggingface.co/{NAME}/blob/main/{FILE}"
    assert {m["type"] for m, _ in metrics_of(repo)} == {"kid_ab", "kid_ba"}
    assert "], newest |" not in card_of(repo) and "epoch-0001), best |" in card_of(repo)


def test_figures_of_scores_are_replaced_and_those_of_others_kept(push, make_run):
    run = make_run(1)
    write_scores(run, epochs=(1,))
    index = yaml.safe_load(card_of(push(run)).split("---\n")[1])["model-index"]
    index[0]["results"][-1]["metrics"].append({"type": "fid", "value": 9})
    ours = [{"name": "day-night", "results": []}]
    (entry,) = merged({"model-index": index}, {"model-index": ours}, NAME)["model-index"]
    assert [m["type"] for result in entry["results"] for m in result["metrics"]] == ["fid"]


@pytest.mark.parametrize("content", ["{", "[" * 10_000, '{"version": 1, "name": "x", "ab": 7}', "x" * 12_000_000])
def test_a_broken_file_keeps_no_epoch_from_the_hub(push, make_run, content):
    run = make_run(1)
    write_scores(run, epochs=(1,))
    (run / "scores" / "broken.json").write_text(content)
    repo = push(run)
    assert FILE in repo.head["files"] and "scores/broken.json" not in repo.head["files"]
    assert "epoch-0001" in repo.tags


def test_scores_that_got_too_large_stay_here(push, make_run, monkeypatch):
    monkeypatch.setattr("hub.layout.MAX_SCORES_BYTES", 1000)
    run = make_run(1)
    write_scores(run)
    repo = push(run)
    assert FILE not in repo.head["files"] and "## Scores" not in card_of(repo) and "epoch-0001" in repo.tags


def test_a_fresh_machine_takes_no_scores_away(push, make_run):
    run = make_run(2)
    path = write_scores(run)
    push(run)
    path.unlink()
    make_run(3)
    write_scores(run, epochs=(3,))
    repo = push(run)
    assert kids(repo) == {1: 100.0, 2: 50.0, 3: pytest.approx(100 / 3)}


def test_old_repositories_have_no_scores(loopback, push, make_run):
    repo = push(make_run(1))
    assert scores_at(Repository(NAME, endpoint=loopback.url), repo.head["id"]) == {}
    assert "## Scores" not in card_of(repo) and HubSource(NAME, endpoint=loopback.url).scores() == ([], [])


# --- later, by a command ------------------------------------------------------------------------------------


def test_scores_of_a_published_run_are_published_later(loopback, push, make_run, run_script, hub_env):
    run = make_run(2)
    repo = push(run)
    values = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**values, "config": {"run": {"hub_model_id": NAME}}}))
    write_scores(run)
    words = ("-m", "hub", "scores", run)
    done = run_script(*words, env=hub_env)
    assert done.stdout == f"the scores are on the card: {loopback.url}/{NAME}\n"
    assert repo.head["title"] == "Scores" and kids(repo) == {1: 100.0, 2: 50.0}
    assert "## Scores" in card_of(repo) and len(repo.epoch_commits()) == 2
    commits = len(repo.commits)
    assert run_script(*words, env=hub_env).stdout == f"nothing to do: {loopback.url}/{NAME} has these scores\n"
    assert len(repo.commits) == commits


def test_push_brings_new_scores_too(loopback, push, make_run, run_script, hub_env):
    run = make_run(1)
    repo = push(run)
    write_scores(run, epochs=(1,))
    done = run_script("-m", "hub", "push", run, NAME, env=hub_env)
    assert done.stdout == f"the scores are on the card now: {loopback.url}/{NAME}\n"
    assert kids(repo) == {1: 100.0}
    assert "nothing to do" in run_script("-m", "hub", "push", run, NAME, env=hub_env).stdout


def publish(loopback, folder, **options):
    said = []
    publish_scores(folder, Repository(NAME, endpoint=loopback.url), say=said.append, **options)
    return said


def test_scores_of_the_hubs_own_commits(loopback, push, make_run, tmp_path):
    run = make_run(2)
    write_scores(run, epochs=(1,))
    repo = push(run)
    tags = {epoch: repo.tags[f"epoch-000{epoch}"] for epoch in (1, 2)}
    path = write_scores(tmp_path / "here", shas=tags)
    content = json.loads(path.read_text())
    del content["ab"]["scores"]["epoch-0001"]["kid"]
    content["ba"]["scores"]["epoch-0002"]["commit_sha"] = "of a tag that was moved since"
    path.write_text(json.dumps(content))
    publish(loopback, path.parent, pinned=True)
    assert kids(repo) == {1: 100.0, 2: 50.0} and kids(repo, "ba") == {1: 400.0}


def test_scores_of_another_run_or_none_are_refused(loopback, push, make_run, tmp_path):
    run = make_run(1)
    repo = push(run)
    (run / "scores").mkdir()
    with pytest.raises(HubError, match="holds no scores; measure them first"):
        publish(loopback, run / "scores")
    write_scores(run)
    (run / "scores" / "broken.json").write_text("{")
    with pytest.raises(HubError, match="another run"):
        publish(loopback, run / "scores", run_id="2" * 32)
    assert "scores/broken.json is left out" in publish(loopback, run / "scores", run_id="1" * 32)[0]
    assert FILE in repo.head["files"]


def test_without_a_repository_the_command_asks_for_one(make_run, run_script):
    done = run_script("-m", "hub", "scores", make_run(1), ok=False)
    assert "wasn't published by its training" in done.stderr and "USER/NAME" in done.stderr


# --- and back -----------------------------------------------------------------------------------------------


def shown(source, run=NAME):
    """What the page of scores makes of a run: its epochs, and what is wrong."""
    found, problems = page.collect({run: source})
    return [row.epoch for one in found for row in one.epochs()], [SAY.text_of(problem) for problem in problems]


def test_a_visitor_sees_the_scores_of_a_repository(loopback, source):
    (path,), left_out = source.scores()
    assert path.name == "test.json" and not left_out
    asked = len(loopback.requests)
    assert source.scores()[0] == [path] and len(loopback.requests) == asked, "nothing is asked twice"
    assert shown(source) == ([1, 2, 1, 2], [])
    stranger = open_source(NAME, for_visitors=True)
    stranger = HubSource(stranger.name, endpoint=loopback.url, token=False)
    assert shown(stranger) == ([1, 2, 1, 2], [])
    assert shown(HubSource(f"{NAME}@epoch-0001", endpoint=loopback.url))[0] == [1, 2, 1, 2], "those of its commit"


def test_newer_scores_are_found_at_a_refresh(loopback, source):
    assert shown(source)[0] == [1, 2, 1, 2]
    repo = loopback.repos[NAME]
    content = json.loads(repo.head["files"][FILE])
    del content["ba"]
    repo.commit("By hand", {**repo.head["files"], FILE: json.dumps(content).encode()})
    source.refresh()
    assert shown(source)[0] == [1, 2]


def test_malformed_files_are_a_sentence_each(loopback, source):
    repo = loopback.repos[NAME]
    broken = {f"scores/{name}.json": text for name, text in (("a", b"{"), ("b", b'{"version": 1, "name": 5}'))}
    repo.commit("By hand", {**repo.head["files"], **broken, "scores/../up.json": b"{}", "scores/d/e.json": b"{}"})
    epochs, problems = shown(source)
    assert epochs == [1, 2, 1, 2]
    assert [problem[:55] for problem in problems] == [
        f"scores of {NAME} can't be shown: scores/{name}.json"[:55] for name in "ab"
    ]


def test_a_file_that_is_too_large_is_not_downloaded(loopback, source):
    repo = loopback.repos[NAME]
    repo.commit("By hand", {**repo.head["files"], "scores/huge.json": b" " * (MAX_SCORES_BYTES + 1)})
    loopback.requests.clear()
    epochs, problems = shown(source)
    assert epochs == [1, 2, 1, 2]
    assert problems == [f"scores of {NAME} can't be shown: {NAME}: scores/huge.json has 5.0 MB, too much for scores; "
                        "it was not downloaded"]  # fmt: skip
    assert not any("/resolve/" in request and "huge" in request for request in loopback.requests)


def test_a_hub_that_fails_is_a_sentence(loopback, source):
    source.list()
    loopback.fail("GET .*/tree/", status=403, times=9)
    loopback.fail("GET .*/revision/", status=403, times=9)
    epochs, (problem,) = shown(source)
    assert epochs == [] and problem.startswith(f"scores of {NAME} can't be shown: the scores of {NAME} could not be")


def test_without_the_hub_cached_scores_are_shown(loopback, source):
    source.load(2)
    source.scores()
    again = HubSource(NAME, endpoint=loopback.url)
    loopback.close()
    assert shown(again) == ([1, 2, 1, 2], [])


def test_scores_that_were_measured_here_are_shown_too(source, tmp_path):
    write_scores(tmp_path / "here", "mine")
    (tmp_path / "here" / "scores").rename(tmp_path / "moved")
    (tmp_path / "scores").mkdir()
    (tmp_path / "moved").rename(tmp_path / "scores" / "alice--day-night")
    found, _ = page.collect({NAME: source})
    assert [one.name for one in found] == ["test", "test", "mine", "mine"]


def test_a_runs_own_folder_has_its_scores(make_run):
    run = make_run(1)
    path = write_scores(run, shas={1: read_info(run / "epoch-0001").commit_sha})
    for folder in (run, run / "epoch-0001"):
        assert LocalSource(folder).scores() == ([path], ())
    assert list(scores_in(run / "scores")) == ["test"]
    nobody = SimpleNamespace(url=None, name="x", scores=lambda: (_ for _ in ()).throw(CheckpointError("gone")))
    assert SAY.text_of(page.reports_of(nobody)[1][0]) == "gone"
