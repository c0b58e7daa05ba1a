"""The page of scores without a browser: its HTML, and the events by function."""

import json
import os
import re
from types import SimpleNamespace

import pytest

from cyclegan.checkpoints.progress import Progress, write_progress
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import CheckpointError
from cyclegan.evaluation.scores.report import scores_folder
from cyclegan.ui import scores
from cyclegan.ui.pages.scores import Events
from cyclegan.ui.words import Speaker
from cyclegan.ui.workbench import Workbench
from tests.ui.conftest import write_epoch

SAY = Speaker("en")


def interval(value, half):
    return {"value": value, "low": value - half, "high": value + half}


def write_scores(run, name="test", epochs=(1, 2), shas=None, **measured_on):
    """A file of scores of KID and the segmenter, in which the later epoch is better."""
    facts = {"dataset": "streets:count=9", "split": "test", "crop_size": 32, "pictures": 9, "references": 8,
             "fingerprint": "f", "features": "lite0", "segmenter": None, **measured_on}  # fmt: skip
    classes = {"car": {"accuracy": 0.75, "iou": 0.5, "share": 0.1}, "tree": {"accuracy": None, "iou": None, "share": 0}}
    content = {"classes": {"car": {"pictures_with_it": 7, "erased_in": 3, "pictures_without_it": 2, "invented_in": 1}}}

    def direction(worse):
        return {
            "measured_on": facts,
            "scores": {f"epoch-{epoch:04}": {
                "commit_sha": (shas or {}).get(epoch, "0"), "epoch": epoch,
                "kid": {"kid": interval(worse + 100 / epoch, 5)},
                "segmentation": {"seg_iou": interval(0.25 * epoch, 0.01), "details": {"classes": classes}},
                "content": {"content_kept": interval(0.5, 0.1), "details": content},
            } for epoch in epochs},
            "baselines": {"untranslated": {"kid": {"kid": interval(40, 5)}},
                          "one_colour": {"kid": {"kid": interval(900, 5)}}},
            "ceilings": {"real": {"kid": {"kid": interval(-1, 1)}}},
        }  # fmt: skip

    (run / "scores").mkdir(exist_ok=True, parents=True)
    path = run / "scores" / f"{name}.json"
    path.write_text(json.dumps({
        "version": 1, "name": name, "run": run.name, "names": {"a": "day", "b": "<night>"},
        "measured": "2026-11-30T02:09:16+00:00", "ab": direction(0), "ba": direction(300),
    }))  # fmt: skip
    return path


@pytest.fixture
def run(tmp_path):
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def bench(*folders, **more):
    """A workbench with the runs in these folders, and others that a visitor may type."""
    runs = {folder.name: LocalSource(folder, awaited=True) for folder in folders}

    def run(name):
        if name not in {**runs, **more}:
            raise CheckpointError("there is no run {name}", name=name)
        return {**runs, **more}[name]

    return SimpleNamespace(runs=runs, run=run, takes_more=True, studies=None, own=True)


def collected(*folders):
    return scores.collect(bench(*folders).runs)


def request(**named):
    return SimpleNamespace(headers={}, query_params=named)


def rows(html):
    """The cells of each line of a table, as text."""
    return [
        [re.sub("<[^>]+>", " ", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", html)
    ]


# --- the table ----------------------------------------------------------------------------------------------


def test_the_table_has_baselines_and_ceilings_in_its_head(run):
    write_scores(run)
    (one, other), problems = collected(run)
    assert problems == [] and [one.arrow, other.arrow] == ["day → <night>", "<night> → day"]
    html = scores.table(one, one.chosen(None, None), SAY)
    head, body = html.split("</thead>")
    assert [row[0] for row in rows(head)[2:]] == [
        "the input, untranslated baseline", "one colour baseline", "real pictures ceiling"
    ]
    assert "kid" in rows(head)[0][1] and rows(head)[1][1] == "KID × 1000 (lite0)&nbsp; ↓"
    assert [[" ".join(cell.split()) for cell in row[:3]] for row in rows(body)] == [
        ["epoch 1", "100.0 95.0 – 105.0", "0.250 0.240 – 0.260"], ["epoch 2", "50.0 45.0 – 55.0", "0.500 0.490 – 0.510"]
    ]
    assert body.count('class="best"') == 2 and "best" not in head, "KID and IoU of epoch 2; kept is equal"
    assert 'title="kernel distance to real pictures of the target' in head
    assert 'class="scores" data-run="mine" data-epoch="epoch-0002"' in head, "the newest row is chosen"
    assert rows(head)[2][2] == "–", "what wasn't measured"


def test_runs_that_were_measured_alike_share_a_table(run, tmp_path):
    for folder in (run, tmp_path / "other"):
        folder.mkdir(exist_ok=True)
        write_scores(folder)
    write_scores(tmp_path / "other", "small", pictures=4)
    found, _ = collected(run, tmp_path / "other")
    assert [list(one.reports) for one in found] == [["mine", "other"], ["mine", "other"], ["other"], ["other"]]
    html = scores.table(found[0], None, SAY)
    assert [row[0] for row in rows(html.split("</thead>")[1])][2:] == ["other · epoch 1", "other · epoch 2"]
    assert html.count("the input, untranslated") == 1, "equal pictures have equal baselines"
    names = [name for name, _ in scores.choices(found)]
    assert len(set(names)) == 4 and "small: streets:count=9 (4 at 32 px)" in names[2]


def test_runs_with_other_scores_of_the_same_pictures_share_a_table_with_all_baselines(run, tmp_path):
    def write(folder, **facts):
        path = write_scores(folder, **facts)
        content = json.loads(path.read_text())
        blank = content["ab"]["baselines"]["untranslated"]
        if facts:
            blank["segmentation"] = {"seg_iou": blank.pop("kid")["kid"]}
        path.write_text(json.dumps(content))

    write(run)
    write(tmp_path / "other", labels="ab")
    write(tmp_path / "third", labels="cd")  # Its label maps are others.
    found = [one for one in collected(run, tmp_path / "other", tmp_path / "third")[0] if one.way == "ab"]
    assert [list(one.reports) for one in found] == [["mine", "other"], ["third"]]
    blank = next(row for row in found[0].references() if row.answer == "untranslated")
    assert blank.scores.keys() == {"kid", "segmentation"}
    same = f"{found[0].arrow} · test: streets:count=9 (9 at 32 px)"
    assert [name for name, _ in scores.choices(found)] == [f"{same} · mine, other", f"{same} · third"]


def test_names_of_runs_and_domains_are_no_html(tmp_path):
    folder = tmp_path / "<b>"
    write_scores(folder)
    (one, _), _ = collected(folder)
    row = one.chosen("<b>", "epoch-0001")
    assert row.epoch == 1
    for html in (scores.table(one, row, SAY), scores.heading(row, [], SAY), scores.plots(one, "<b>", "", SAY)):
        assert "<b>\"" not in html and "of <b>" not in html


def test_what_was_measured_on(run):
    write_scores(run, segmenter={"network": "unet", "side": 128, "dataset": "streets"})
    (one, _), _ = collected(run)
    shown = re.sub("<[^>]+>", " ", scores.measured_on(one, SAY))
    assert "streets:count=9, test pictures" in shown and "9 at 32 pixels, against 8 real ones" in shown
    assert "unet, 128², streets" in shown and "UTC" in shown


def test_class_by_class(run):
    write_scores(run)
    (one, _), _ = collected(run)
    html = scores.details(one.chosen("mine", "epoch-0002"), SAY)
    assert rows(html) == [
        ["", "segmenter: accuracy", "segmenter: IoU", "erased", "invented"],
        ["car", "0.750", "0.500", "3 of 7", "1 of 2"],
    ]
    assert scores.details(scores.Row("scores", "epoch-0001", "mine", 1, {}), SAY) == ""


def test_plots_have_baselines_with_letters_and_bands(run, monkeypatch):
    write_scores(run)
    (one, _), _ = collected(run)
    html = scores.plots(one, "mine", "epoch-0002", SAY)
    kid = re.search("<figure>.*?</figure>", html, re.DOTALL).group()
    assert "KID × 1000 (lite0)" in kid and '<i class="dashed"></i>a the input, untranslated: 40.0' in kid
    assert "↑ one colour: 900.0" in kid, "it would flatten the curve"
    assert ">a</text>" in kid and ">b</text>" in kid and ">c</text>" not in kid
    assert kid.index("b real pictures") < kid.index("↑ one colour"), "letters of those that are drawn, without a gap"
    assert "epoch 2: 50.0" not in kid and "epoch 2: 50" in kid and kid.count("fill-opacity: 0.2") == 1
    assert html.count("<figure>") == 3 and scores.plots(one, "nobody", "", SAY) == "" and "<details>" not in html
    monkeypatch.setattr(scores, "MOST_PLOTS", 1)
    folded = scores.plots(one, "mine", "epoch-0002", SAY)
    assert "<details><summary>2 more plots</summary>" in folded and folded.count("<figure>") == 3


def test_links_name_the_epoch(run):
    write_scores(run)
    html = scores.links("a&b", "epoch-0002", ["epoch-0001", "epoch-0002"], SAY)
    assert 'href="checkpoints?run=a%26b&amp;epoch=epoch-0002"' in html
    assert 'href="compare?entries=a%26b%40epoch-0001,a%26b%40epoch-0002"' in html


# --- the events ---------------------------------------------------------------------------------------------


def command(html):
    """The command that a page without scores names, after `python -m cyclegan`."""
    return re.search("<code>python -m cyclegan (.*?)</code><button", html)[1]


def test_without_scores_the_page_names_the_command(run, tmp_path, monkeypatch):
    names, opened, radio, about, advice, table, *_ = Events(bench(run)).open_page(request())
    assert names == opened == ["mine"]
    assert command(about) == f"evaluate {run} --epochs all --dataset DATA" and "Replace DATA with the path" in about
    assert (advice, table, radio.visible) == ("", "", False)
    monkeypatch.chdir(tmp_path)
    assert command(scores.nothing(bench(run).runs, SAY, own=True)) == "evaluate mine --epochs all --dataset DATA"
    shown = scores.nothing(bench(run).runs, SAY, own=False)
    assert command(shown) == "evaluate runs/mine --epochs all --dataset DATA", "a server's folders are its owner's"


def test_each_run_without_scores_gets_its_command(make_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(scores.MOST_COMMANDS + 1):
        make_checkpoint(tmp_path / f"run{number}", 1)
    runs = {f"run{n}": LocalSource(tmp_path / f"run{n}") for n in range(scores.MOST_COMMANDS + 1)}
    shown = scores.nothing(runs, SAY, own=True)
    assert re.findall(r"evaluate (\S+) --epochs all", shown) == list(runs)[:-1]
    assert "Each of these commands measures" in shown


@pytest.mark.parametrize("dataset, known", [
    ("streets:count=9", True), ("USER/maps", True), ("maps", False), ("unknown", False),
])  # fmt: skip
def test_the_command_names_a_data_set_only_where_the_runs_own_is_missing(
    run, dataset, known, make_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = make_checkpoint(run) / "config.json"
    values = json.loads(config.read_text())
    values["data"]["dataset"] = dataset
    config.write_text(json.dumps(values))
    shown = scores.nothing(bench(run).runs, SAY, own=True)
    assert command(shown) == "evaluate mine --epochs all" + ("" if known else " --dataset DATA")
    assert ("Replace DATA" in shown) != known


def test_scores_that_appear_or_change_are_shown_at_the_next_refresh(run):
    events = Events(bench(run))
    assert events.look_again(["mine"], None, None, None, request())[3] == ""
    write_scores(run)
    radio, *shown = events.look_again(["mine"], None, None, None, request())
    assert "KID × 1000 is best at epoch 2" in shown[1] and "epoch 2" in shown[2]
    assert "no epoch clearly beats this answer, which needs no training: the input, untranslated" in shown[1]
    write_scores(run, epochs=(1, 2, 3))
    radio, *shown = events.look_again(["mine"], radio.choices[1][1], "mine", "epoch-0001", request())
    assert "epoch 3" in shown[2] and radio.value == radio.choices[1][1]
    assert shown[3:5] == ["mine", "epoch-0001"], "the choice stays"


def test_the_address_names_a_run_and_an_epoch(run):
    write_scores(run)
    korean = SimpleNamespace(headers={"accept-language": "ko"}, query_params={"run": "mine", "epoch": "epoch-0001"})
    shown = Events(bench(run)).open_page(korean)[2:]
    assert shown[4:6] == ["mine", "epoch-0001"] and "어느 에폭이 좋을까요?" in shown[2]


def test_another_measurement_opens_its_runs_best_epoch_not_the_number_of_the_other_runs(run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    write_scores(run, epochs=(1, 2, 3))
    path = write_scores(other, epochs=(1, 2, 3))
    content = json.loads(path.read_text())
    for way in ("ab", "ba"):
        content[way]["measured_on"]["dataset"] = "elsewhere"
        content[way]["scores"]["epoch-0002"]["kid"]["kid"] = {"value": 1.0, "low": 0.5, "high": 1.5}
    path.write_text(json.dumps(content))
    events, names = Events(bench(run, other)), ["mine", "other"]
    key = next(one.key for one in collected(run, other)[0] if "other" in one.reports)
    assert events.show(names, key, "mine", "epoch-0003", request())[4:6] == ["other", "epoch-0002"]
    assert events.show(names, key, "other", "epoch-0001", request())[4:6] == ["other", "epoch-0001"]


def test_a_row_is_selected(run):
    write_scores(run)
    events = Events(bench(run))
    key = scores.choices(collected(run)[0])[0][1]
    shown = events.pick(["mine"], key, request(), SimpleNamespace(run="mine", epoch="epoch-0001"))
    assert shown[:2] == ["mine", "epoch-0001"] and "Epoch 1 of mine" in shown[3]
    assert events.pick(["mine"], "gone", request(), SimpleNamespace(run="mine", epoch="epoch-0001"))[:2] == [None, None]


def test_programs_get_the_files(run, tmp_path):
    path = write_scores(run)
    (run / "scores" / "broken.json").write_text("{")
    here = SimpleNamespace(run=lambda name: LocalSource({None: run, "other": tmp_path}[name], awaited=True))
    assert Events(here).scores() == [json.loads(path.read_text())]
    assert Events(here).scores("other") == []


@pytest.mark.parametrize("content", [
    "{", "[]", '{"version": 2, "name": "x"}', '{"version": 1, "name": "x", "ab": {}}',
    '{"version": 1, "name": "x", "names": {"a": "A", "b": "B"}, "ab": {"measured_on": {}, "baselines": {}, '
    '"ceilings": {}, "scores": {"epoch-0001": {"epoch": 1, "kid": {"kid": {"value": "much"}}}}}}',
    '{"version": 1, "name": "x", "names": {"a": "A", "b": "B"}, "ab": {"measured_on": {}, "baselines": {}, '
    '"ceilings": {}, "scores": {"epoch-0001": {"kid": {"kid": {"value": 1}}}}}}',
])  # fmt: skip
def test_a_broken_file_is_one_sentence_and_the_rest_is_shown(run, content):
    write_scores(run)
    (run / "scores" / "broken.json").write_text(content)
    _, _, _, about, _, table, *_ = Events(bench(run)).open_page(request())
    assert about.count('class="notice"') == 1 and "Scores of mine can&#x27;t be shown: scores/broken.json" in about
    assert str(run) not in about
    assert "epoch 2" in table


def test_a_figure_that_is_not_finite_is_not_measured(run):
    path = write_scores(run)
    path.write_text(path.read_text().replace('": 50.0', '": NaN'))
    (one, _), problems = collected(run)
    assert problems == [] and rows(scores.table(one, None, SAY).split("</thead>")[1])[1][1] == "–"


def test_the_newest_measurement_is_dated_not_the_copy_of_its_file(run):
    path = write_scores(run)
    os.utime(path, (0, 0))
    (one, _), _ = collected(run)
    assert "30 Nov 2026, 02:09 UTC" in scores.measured_on(one, SAY)
    path.write_text(path.read_text().replace('"measured"', '"of_an_earlier_version"'))
    (one, _), _ = collected(run)
    assert "UTC" not in scores.measured_on(one, SAY)


def test_epochs_after_the_last_measured_one_are_counted(run):
    for epoch in (1, 2, 3, 4):
        write_epoch(run, epoch)
    write_scores(run, epochs=(1, 3))
    about = Events(bench(run)).open_page(request())[3]
    assert "1 epoch of mine after epoch 3 has no scores yet: python -m cyclegan evaluate" in about
    write_scores(run, epochs=(2,))
    assert "2 epochs of mine after epoch 2 have no scores yet" in Events(bench(run)).open_page(request())[3]
    write_scores(run, epochs=(4,))
    assert "no scores yet" not in Events(bench(run)).open_page(request())[3]


# --- runs that a visitor types ------------------------------------------------------------------------------


@pytest.fixture
def typed(tmp_path):
    """A run that isn't the app's, as a repository would be, with scores of other pictures."""
    (tmp_path / "theirs").mkdir()
    write_scores(tmp_path / "theirs", epochs=(3, 4), pictures=5)
    return {"alice/theirs": LocalSource(tmp_path / "theirs", awaited=True)}


def test_a_typed_run_is_shown_with_the_others(run, typed):
    write_scores(run)
    events = Events(bench(run, **typed))
    names, radio, _, _, table, chosen, *_ = events.choose_runs(["mine", "alice/theirs"], ["mine"], request())
    assert names == ["mine", "alice/theirs"] and len(radio.choices) == 4
    assert "epoch 4" in table and chosen == "alice/theirs", "the one that was added"
    _, radio, _, _, table, *_ = events.choose_runs(["mine"], names, request())
    assert len(radio.choices) == 2 and "epoch 4" not in table
    assert events.choose_runs([], ["mine"], request())[4] == table, "none chosen is all of the app's"
    assert not isinstance(events.choose_runs(["mine"], ["mine"], request()), list), "what is shown stays"


def test_the_address_names_a_run_of_somebody_else(run, typed):
    write_scores(run)
    names, _, _, _, _, table, chosen, *_ = Events(bench(run, **typed)).open_page(request(run="alice/theirs"))
    assert names == ["mine", "alice/theirs"] and chosen == "alice/theirs" and "epoch 4" in table
    key = scores.choices(scores.collect(typed)[0])[0][1]
    events = Events(bench(run, **typed))
    picked = events.pick(names, key, request(), SimpleNamespace(run="alice/theirs", epoch="epoch-0003"))
    assert picked[:2] == ["alice/theirs", "epoch-0003"]


def test_a_typed_run_that_is_not_there_or_has_none_is_a_sentence(run, tmp_path):
    write_scores(run)
    (tmp_path / "bare").mkdir()
    events = Events(bench(run, **{"alice/bare": LocalSource(tmp_path / "bare", awaited=True)}))
    _, _, about, _, table, *_ = events.choose_runs(["mine", "alice/bare", "no/where"], ["mine"], request())
    assert "There is no run no/where." in about
    assert "The run alice/bare has no scores yet: measure them with python -m cyclegan evaluate " in about
    assert "--dataset DATA, with the path of the data set" in about
    assert "epoch 2" in table


@pytest.mark.parametrize("names", [None, "mine", 7, [None, {}, 7], ["mine"] * 500, {"mine": 1}])
def test_whatever_the_browser_sends_as_runs(run, names):
    write_scores(run)
    assert "epoch 2" in Events(bench(run)).show(names, None, None, None, request())[3]


def test_a_run_that_is_being_loaded_from_a_broken_hub(run):
    def scores_of():
        raise CheckpointError("the Hub is out of order")

    broken = SimpleNamespace(
        scores=scores_of, list=scores_of, name="a/b", url="https://hub", refresh=lambda: None
    )
    write_scores(run)
    _, _, about, _, table, *_ = Events(bench(run, **{"a/b": broken})).choose_runs(["mine", "a/b"], [], request())
    assert "Scores of a/b can&#x27;t be shown: the Hub is out of order." in about and "epoch 2" in table
    assert "No scores" not in about
    assert "evaluate a/b --epochs all" in Events(bench(**{"a/b": broken})).choose_runs(["a/b"], [], request())[2]


@pytest.mark.parametrize("name", ["a/" + "x" * 290, "a/b@../../../etc", "a/b@..\\..\\etc"])
def test_a_typed_name_leads_nowhere_else(name):
    assert scores.reports_of(SimpleNamespace(scores=lambda: ([], []), name=name, url="https://hub")) == ([], [])
    assert scores_folder(SimpleNamespace(name=name)).parent.name == "scores"


def test_a_run_in_its_first_epoch_is_said_to_train(run, tmp_path):
    young = tmp_path / "young"
    young.mkdir()
    (young / "run.json").write_text("{}")
    write_progress(young, Progress("training", epoch=1, epochs=9, step=34, steps=100))
    write_epoch(run, 1)
    runs = [LocalSource(run), LocalSource(young, awaited=True)]
    _, _, _, about, *_ = Events(Workbench(runs, own=True)).open_page(request())
    assert "young has no epoch yet. Epoch 1 is training, 34%." in about and "evaluate" in about
    _, _, _, about, *_ = Events(Workbench(runs[1:], own=True)).open_page(request())
    assert "Epoch 1 is training, 34%." in about and "evaluate" not in about
    with pytest.raises(CheckpointError, match="young has no epoch yet: wait for its first one"):
        LocalSource(young)


def test_runs_of_two_sizes_are_told_how_they_compare(tmp_path, run):
    """The quick try and the real run of the README differ in it, and nothing else does."""
    other = tmp_path / "quick"
    write_scores(run, crop_size=128)
    write_scores(other, crop_size=64)
    found, _ = collected(run, other)
    assert [label for label, _ in scores.choices(found)][0] == "day → <night> · test: streets:count=9 (9 at 128 px)"
    (said,) = scores.elsewhere(["quick"], found[0], found)
    assert str(said) == (
        "quick: measured at 64 pixels, these at 128, so their figures don't compare: choose it above, or measure it "
        "again with --size 128"
    )
    write_scores(other, "test-128", crop_size=128)
    (one,) = [one for one in collected(run, other)[0] if one.way == "ab" and one.facts["crop_size"] == 128]
    assert sorted(one.reports) == ["mine", "quick"]
    write_scores(other, crop_size=64, pictures=5)
    (other / "scores" / "test-128.json").unlink()
    found, _ = collected(run, other)
    assert "on other pictures" in str(scores.elsewhere(["quick"], found[0], found)[0])
