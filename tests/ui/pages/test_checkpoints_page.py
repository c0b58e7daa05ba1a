"""The checkpoints page without a browser: through the API of the running app, and by function where that is enough."""

import base64
import contextlib
import dataclasses
import io
import json
import re
from types import SimpleNamespace

import pytest
from PIL import Image

from cyclegan.checkpoints.format import read_info
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import CheckpointError
from cyclegan.study.shelf import Studies
from cyclegan.ui.words import Speaker, speaker
from tests.ui.conftest import HEADERS, fetch, picture, write_epoch

pytestmark = pytest.mark.xdist_group("app")


def write_samples(epoch, *names):
    (epoch / "samples").mkdir(exist_ok=True)
    for seed, name in enumerate(names):
        picture(60 + seed, 50, seed).save(epoch / "samples" / f"{name}.png")


@pytest.fixture(scope="session")
def pictured(app):
    """The app, whose run `streets` has grids of test pictures: epoch 2 both, epoch 1 one of them."""
    write_samples(app.run / "epoch-0002", "ab", "ba", "other")
    write_samples(app.run / "epoch-0001", "ab")
    return app


@pytest.fixture(scope="module")
def client(pictured, tmp_path_factory):
    from gradio_client import Client

    downloads = str(tmp_path_factory.mktemp("downloads"))
    client = Client(pictured.url, headers=HEADERS, verbose=False, download_files=downloads)
    yield client
    client.close()


@pytest.fixture
def bench(tmp_path):
    """A workbench of a server that others visit, with the run `mine`; the folder `other` is none of theirs."""
    from cyclegan.ui.workbench import Workbench
    from hub import open_source

    for name in ("mine", "other"):
        write_samples(write_epoch(tmp_path / name, 1), "ab")
    return Workbench([LocalSource(tmp_path / "mine")], lambda spec: open_source(spec, for_visitors=True))


# --- the API ------------------------------------------------------------------------------------------------


def test_the_epochs_of_a_run(client, pictured):
    said, epochs = client.predict(api_name="/checkpoints")
    assert said == "streets: 2 epochs, day ⇄ night."
    assert [(one["epoch"], one["tag"]) for one in epochs] == [(2, "epoch-0002"), (1, "epoch-0001")]
    info = read_info(pictured.run / "epoch-0002")
    assert epochs[0] == {
        "epoch": 2, "tag": "epoch-0002", "commit_sha": info.commit_sha, "created": info.created, "global_step": 2,
        "losses": {"cycle_a": 0.25, "cycle_b": 0.35}, "metrics": {}, "directions": ["ab", "ba"],
        "domains": {"a": "day", "b": "night"},
    }  # fmt: skip
    said, (only,) = client.predict(run="oneway", api_name="/checkpoints")
    assert said == "oneway: one epoch, <b>horse</b> → zebra." and only["directions"] == ["ab"]


def test_the_test_pictures_of_an_epoch(client, pictured):
    said, shown = client.predict(api_name="/samples")
    assert said.startswith("Samples of epoch 2.")
    assert [one["caption"] for one in shown] == ["day → night", "night → day"]
    for one, name in zip(shown, ("ab", "ba"), strict=True):
        with Image.open(one["image"]) as got, Image.open(pictured.run / "epoch-0002/samples" / f"{name}.png") as own:
            assert got.format == "PNG" and got.tobytes() == own.tobytes()
    said, shown = client.predict(run="streets", epoch="epoch-0001", api_name="/samples")
    assert [one["caption"] for one in shown] == ["day → night"]
    said, shown = client.predict(run="oneway", api_name="/samples")
    assert said == "Epoch 7 has no samples." and shown == []


@pytest.mark.parametrize("name, parameters, said", [
    ("checkpoints", {"run": "elsewhere"}, "elsewhere is not a folder"),
    ("samples", {"run": "elsewhere"}, "elsewhere is not a folder"),
    ("samples", {"epoch": "epoch-0009"}, "streets has no epoch 9; it has 2, 1"),
    ("samples", {"epoch": "../epoch-0001"}, "isn't an epoch"),
])  # fmt: skip
def test_wrong_parameters_are_told(client, name, parameters, said):
    with pytest.raises(Exception, match=said) as caught:
        client.predict(**parameters, api_name=f"/{name}")
    assert "Traceback" not in str(caught.value) and "\n" not in str(caught.value)
    assert client.predict(api_name="/checkpoints")[0].startswith("streets")


def test_the_api_describes_itself(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    for name, parameters in (("/checkpoints", ["run"]), ("/samples", ["run", "epoch"])):
        assert [p["parameter_name"] for p in endpoints[name]["parameters"]] == parameters
        assert all(p["parameter_has_default"] for p in endpoints[name]["parameters"])
        assert "Returns a sentence" in endpoints[name]["description"]


def test_thumbnails_over_the_wire(pictured):
    """As the list asks for them; whatever is sent, there is an answer, and nothing but pictures of the runs."""
    config = json.loads(fetch(f"{pictured.url}config").read())
    (cards,) = (c["id"] for c in config["components"] if "cards" in (c["props"].get("elem_classes") or []))

    def ask(data):
        body = {"data": data, "component_id": cards, "fn_name": "thumbnails", "session_hash": "stranger"}
        return json.loads(fetch(f"{pictured.url}gradio_api/component_server/", body).read())

    assert list(ask({"run": "streets", "epoch": "epoch-0002"})) == ["ab", "ba"]
    assert list(ask({"run": "streets", "epoch": "epoch-0001"})) == ["ab"]
    assert ask({"run": "oneway", "epoch": "epoch-0007"}) == {}
    for odd in (None, 5, [], {}, {"run": "streets"}, {"run": [], "epoch": {}}, {"run": "streets", "epoch": "x"}):
        assert ask(odd) is None


# --- what needs no running app ------------------------------------------------------------------------------


def told(bench, run, epoch=None):
    """What `/samples` tells after an error, once it has cleared what was shown."""
    import gradio as gr

    from cyclegan.ui.epochs import samples

    values = samples(bench, run, epoch, None)
    said, gallery = next(values)
    assert said == "Couldn't load the samples." and gallery == []
    with pytest.raises(gr.Error) as caught:
        next(values)
    return caught.value.message


def test_visitors_open_no_folders(bench, tmp_path):
    from cyclegan.ui.epochs import thumbnails

    there, nowhere = str(tmp_path / "other"), str(tmp_path / "nowhere")
    assert told(bench, there).replace("other", "X") == told(bench, nowhere).replace("nowhere", "X")
    assert thumbnails(bench, {"run": there, "epoch": 1}, None) is None
    assert list(thumbnails(bench, {"run": "mine", "epoch": 1}, None)) == ["ab"]
    with pytest.raises(CheckpointError, match="names nothing on the Hub"):
        bench.run(there)


@pytest.mark.parametrize("content, said", [
    (b"<html><script>alert(1)</script>", "ab.png of epoch-0001 is not a picture but text"),
    (b"", "ab.png of epoch-0001 is empty"),
    ("large", "ab.png of epoch-0001 has 5000×4000 pixels, too many for a page"),
])  # fmt: skip
def test_samples_that_are_no_pictures(bench, tmp_path, content, said):
    from cyclegan.ui.epochs import thumbnails

    path = tmp_path / "mine/epoch-0001/samples/ab.png"
    if content == "large":
        Image.new("L", (5000, 4000)).save(path)
    else:
        path.write_bytes(content)
    assert told(bench, "mine").startswith(said)
    assert thumbnails(bench, {"run": "mine", "epoch": "epoch-0001"}, None) is None


def test_thumbnails_are_small_and_those_of_now(bench, tmp_path):
    from cyclegan.ui.epochs import thumbnails

    path = tmp_path / "mine/epoch-0001/samples/ab.png"

    def size():
        head, _, data = thumbnails(bench, {"run": "mine", "epoch": 1}, None)["ab"].partition(",")
        assert head == "data:image/webp;base64"
        return Image.open(io.BytesIO(base64.b64decode(data))).size

    assert size() == (60, 50)
    picture(1000, 4000).save(path)  # As a run of the same name that was trained anew.
    assert size() == (240, 960)


def of(tmp_path, epochs=1, **changes):
    """Infos of epochs, newest first, that say what `changes` says."""
    info = dataclasses.replace(read_info(write_epoch(tmp_path, 1)), **changes)
    return [dataclasses.replace(info, epoch=epoch) for epoch in range(epochs, 0, -1)]


def cards(run, infos, count, chosen, say):
    """The list of epochs of a run without scores."""
    from cyclegan.ui import epochs
    from cyclegan.ui.epoch_order import EpochOrder

    bare = SimpleNamespace(name="bare", url=None, scores=lambda: ((), ()))
    return epochs.cards(run, infos, count, chosen, say, EpochOrder(bare, infos))


def test_many_epochs_are_shown_a_few_at_a_time(tmp_path):
    from cyclegan.ui.pages.checkpoints import PAGE

    infos = of(tmp_path, 200)
    shown = cards("run", infos, PAGE, infos[150], speaker())
    assert re.findall(r'data-epoch="(.*?)"', shown) == [f"epoch-{n:04d}" for n in range(200, 200 - PAGE, -1)]
    assert len(shown) < 60_000 and "data:" not in shown


def test_whatever_a_checkpoint_says_is_text(tmp_path):
    from cyclegan.ui.epochs import about, entry, heading

    evil = "<img src=x onerror=alert(1)>\"'&"
    figures = {f"{evil}{number}": float(number) for number in range(100)}
    (info,) = of(tmp_path, created=evil, losses={"cycle_a": float("nan"), "cycle_b": float("inf")}, metrics=figures)
    data = dataclasses.replace(info.config.data, domain_a=evil, domain_b=evil)
    info = dataclasses.replace(info, config=dataclasses.replace(info.config, data=data, method=evil))
    source = LocalSource(tmp_path)
    source.name, source.problems = evil, [evil]
    say = speaker()
    for shown in (about(source, [info], say), cards(evil, [info], 1, info, say), heading(info, say)):
        assert "<img src" not in shown and f'"{evil}' not in shown and "nan" not in shown
    assert shown.count("<") < 20 and cards("x", [info], 1, info, say).count("<tr>") < 20
    assert entry(info)["losses"] == {"cycle_a": None, "cycle_b": None}


def test_figures_stand_in_the_column_of_their_direction(tmp_path):
    losses = {"cycle_a": 0.1, "cycle_b": 0.2, "identity_a": 0.3, "identity_b": 0.4, "disc_a": 0.5, "disc_b": 0.6}
    metrics = {"truth_l1_ab": 20.0, "disc_accuracy_b": 0.75, "fid_ab": 123.456}
    newest, older = of(tmp_path, 2, losses=losses, metrics=metrics)
    newest = dataclasses.replace(newest, metrics={**metrics, "truth_l1_ab": 21.0})
    shown = cards("run", [newest, older], 2, newest, speaker())
    rows = [re.sub("<[^>]+>", " ", row).split() for row in re.findall("<tr>(.*?)</tr>", shown)]
    assert ["cycle", "0.100", "0.200"] in rows and ["identity", "0.400", "0.300"] in rows
    assert ["discriminator", "0.600", "0.500"] in rows and ["discriminator", "is", "right", "75%", "–"] in rows
    assert ["fid_ab", "123.5"] in rows
    assert re.findall(r'class="best".*?></span>(.*?)<', shown) == ["20.0"]


def test_a_run_of_one_direction_has_one_column(tmp_path):
    changes = {"losses": {"gan_ba": 0.1, "nce": 2.0}, "metrics": {"truth_l1_ba": 20.0}}
    (info,) = of(tmp_path, directions=("ba",), **changes)
    shown = cards("run", [info], 1, info, speaker())
    assert re.findall('<th scope="col">(.*?)</th>', shown) == ["night → day"]
    assert "<td>–</td>" not in shown and set(re.findall('colspan="(.)"', shown)) <= {"1", "2"}
    (both,) = of(tmp_path, **changes)
    shown = cards("run", [both], 1, both, speaker())
    assert re.findall('<th scope="col">(.*?)</th>', shown) == ["day → night", "night → day"]
    assert 'colspan="3"' in shown and "<td>–</td>" in shown


def test_a_dot_is_only_where_something_is_better_than_something_else(tmp_path):
    losses = {"cycle_a": 0.1, "cycle_b": 0.2}
    alone = {"reconstruction_l1_ab": 9.0, "truth_l1_ab": 20.0, "change_l1_ab": 5.0, "diversity_ab": 0.5}
    newest, older = of(tmp_path, 2, losses=losses, metrics={"truth_l1_ab": 20.0, "change_l1_ab": 6.0})
    newest = dataclasses.replace(newest, metrics=alone, losses={"cycle_a": 0.05, "cycle_b": 0.1})
    shown = cards("run", [newest, older], 2, newest, speaker())
    assert 'class="best"' not in shown and "A dot marks" not in shown  # One value, equal values, neither is better.
    arrows = re.findall(r'title="[^"]*">([^<]*)<span class="way" title="lower is better"', shown)
    assert set(arrows) == {"reconstruction L1 (of 255)", "truth L1 (of 255)"}
    assert "in grey levels; lower is better" in shown
    one = cards("run", [newest], 1, newest, speaker())
    assert 'class="best"' not in one and "Tick 2" not in one and "Tick 2" in shown
    korean = cards("run", [newest, older], 2, newest, Speaker("ko"))
    assert "낮을수록 좋음" in korean


def test_only_epochs_of_the_same_pictures_are_compared(tmp_path):
    (first,) = of(tmp_path, 1, losses={"cycle_a": 0.1})
    infos = [
        dataclasses.replace(first, epoch=epoch, metrics={"truth_l1_ab": value}, measured_on=split,
                            measured_pictures=pictures)
        for epoch, value, split, pictures in (
            (4, 21.0, "test", "two"), (3, 20.0, "test", "two"), (2, 5.0, "train", "one"), (1, 4.0, "", ""),
        )
    ]  # fmt: skip
    shown = cards("run", infos, 4, infos[0], speaker())
    assert re.findall(r'class="best".*?></span>(.*?)<', shown) == ["20.0"]
    assert "Epochs before epoch 3 have no dot" in shown
    assert re.findall("On the samples[^<]*", shown) == [
        *["On the samples, which are test pictures"] * 2, "On the samples, which are training pictures",
        "On the samples",
    ]  # fmt: skip
    shown = cards("run", infos[2:], 2, infos[2], speaker())
    assert re.findall(r'class="best".*?></span>(.*?)<', shown) == ["4.0"] and "have no dot" not in shown


@pytest.mark.parametrize("created, english, korean", [
    ("2026-11-21T07:56:14+00:00", "21 Nov 2026, 07:56 UTC", "2026년 11월 21일 07:56 UTC"),
    ("2026-11-21T00:56:14+09:00", "20 Nov 2026, 15:56 UTC", "2026년 11월 20일 15:56 UTC"),
    ("yesterday", "yesterday", "yesterday"),
    ("", "", ""),
])  # fmt: skip
def test_dates(created, english, korean):
    from cyclegan.ui.legend import date

    assert (date(created, Speaker("en")), date(created, Speaker("ko"))) == (english, korean)


def test_where_a_run_is(bench, tmp_path):
    from cyclegan.ui.epochs import about

    mine = bench.run("mine")
    shown = about(mine, mine.list(), speaker())
    assert "<a " not in shown and str(tmp_path) not in shown
    source = bench.run("alice/day-night@epoch-0012")
    shown = about(source, mine.list(), speaker())
    link = "https://huggingface.co/alice/day-night/tree/epoch-0012"
    assert f'<a href="{link}" rel="noopener" target="_blank">{link}</a>' in shown


def test_samples_of_a_studys_pictures_are_for_its_owner_while_it_is_served(tmp_path, small_study, monkeypatch):
    """Participants, who can come to these pages, too, must not see a study's pictures with their labels beforehand."""
    from cyclegan.ui import withheld
    from cyclegan.ui.comparison import first_example
    from cyclegan.ui.epochs import samples, thumbnails
    from cyclegan.ui.pages.checkpoints import Events
    from cyclegan.ui.pages.scores import Events as OfScores
    from cyclegan.ui.translating import first_saved
    from cyclegan.ui.workbench import Workbench

    study = small_study()  # Of the data set "noise".
    for name, data in (("same", "/data/noise/"), ("another", "/data/others"), ("imported", "")):
        write_samples(write_epoch(tmp_path / name, 1, dataset=data), "ab")
        (tmp_path / name / "examples").mkdir()
        picture(32, 32).save(tmp_path / name / "examples" / "a_0.png")
    runs = [LocalSource(tmp_path / name) for name in ("same", "another")]
    monkeypatch.setenv("STUDY_KEY", "sesame")
    visitor, owner = (SimpleNamespace(headers=headers, query_params={}) for headers in ({}, {"cookie": ""}))

    def shown(own, request, run):
        with contextlib.closing(Studies([study.folder], own=own)) as studies:
            owner.headers["cookie"] = f"study_owner={studies.proof()}"
            bench = Workbench(runs, own=own, studies=studies)
            ((note, gallery),) = samples(bench, run, None, request)
            assert list(Events(bench).samples(run, None, request))[0][0] == note
            assert list(OfScores(bench).samples(run, "epoch-0001", request))[0][0] == note
            assert len(thumbnails(bench, {"run": run, "epoch": 1}, request)) == len(gallery)
            return note, len(gallery), len(withheld.examples(bench, run)), bench

    note, grids, examples, bench = shown(False, visitor, "same")
    assert (grids, examples) == (0, 0) and first_saved(bench) == (None, {}) and first_example(bench, "same", "ab") == 1
    assert note == "The samples aren't shown while this app serves a study of the same pictures: tiny."
    assert "같은 사진" in withheld.sentence(["tiny"], Speaker("ko"))
    note, grids, examples, _ = shown(False, owner, "same")
    assert (grids, examples) == (1, 0)
    assert note.endswith("Only you see these samples while this app serves a study of the same pictures: tiny.")
    for own, request, run in ((True, visitor, "same"), (False, visitor, "another")):
        assert shown(own, request, run)[:3] == ("Samples of epoch 1. Select one to see it larger.", 1, 1)
    with contextlib.closing(Studies([study.folder])) as studies:
        assert studies.showing("noise", "test") == ["tiny"] and not studies.showing("noise", "train")
        assert withheld.studies_with(Workbench(runs, studies=studies), None) == ["tiny"]  # Who knows its data set?


@pytest.mark.parametrize("one, other, same", [
    ("maps", "/data/maps", True), ("data/maps", "maps", True), ("maps", "maps2", False), ("alice/maps", "maps", True),
    ("streets:count=500,test_count=12,size=144", "streets:count=1,test_count=60,size=144", True), ("streets",
     "streets:count=3", True), ("streets:size=144", "streets:size=144,seed=3", False), ("streets2", "streets", False),
])  # fmt: skip
def test_data_sets_of_the_same_pictures(small_study, one, other, same):
    with contextlib.closing(Studies()) as studies:
        studies.by_name["s"] = SimpleNamespace(dataset=one, split="")
        assert studies.showing(other) == (["s"] if same else [])
