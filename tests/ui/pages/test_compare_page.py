"""The compare page without a browser: through the API of the running app, and by function where that is enough."""

import asyncio
import dataclasses
import html
import json
import re
import shutil
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote

import pytest
from PIL import Image

from cyclegan.checkpoints.format import read_info
from cyclegan.ui.words import Speaker, speaker
from cyclegan.ui.workbench import Workbench
from hub import open_source
from tests.ui.conftest import picture, write_epoch

pytestmark = pytest.mark.xdist_group("app")


@pytest.fixture
def compare(client, tmp_path):
    """Send a picture, get (note, input, translations, ways back, figures)."""
    from gradio_client import handle_file

    def send(**parameters):
        picture(48, 40).save(tmp_path / "in.png")
        return client.predict(handle_file(tmp_path / "in.png"), **parameters, api_name="/compare")

    return send


def pixels(path) -> bytes:
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


@pytest.fixture
def bench(tmp_path):
    for epoch in (1, 2, 4, 8, 16):
        write_epoch(tmp_path / "run", epoch)
    write_epoch(tmp_path / "at@home, 50%", 3, directions=("ba",))
    return Workbench([open_source(tmp_path / "run"), open_source(tmp_path / "at@home, 50%")])


def forget_checksums(folder):
    path = folder / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sha256": {}}))


# --- through the API ----------------------------------------------------------------------------------------


def test_it_shows_what_each_checkpoint_makes_of_the_picture(compare, app):
    from cyclegan.translation.translator import Translator

    note, given, fakes, recs, found = compare(entries=["streets@epoch-0001", "streets@epoch-0002"], direction="ba")
    assert note.startswith("night → day with 2 checkpoints, 48×40 pixels")
    assert pixels(given) == picture(48, 40).tobytes()
    assert [one["caption"] for one in fakes] == [one["caption"] for one in recs] == ["epoch 1", "epoch 2"]
    for epoch, fake, rec, entry in zip((1, 2), fakes, recs, found["entries"], strict=True):
        wanted = Translator(open_source(app.run).load(epoch), "cpu").translate(
            picture(48, 40), "ba", reconstruct=True
        )
        assert pixels(fake["image"]) == wanted.fake.tobytes() and pixels(rec["image"]) == wanted.rec.tobytes()
        assert (entry["run"], entry["epoch"]) == ("streets", epoch)
        assert re.fullmatch("[0-9a-f]{40}", entry["commit_sha"])
        assert entry["l1"] == pytest.approx(wanted.reconstruction_l1, abs=1e-3)
        assert entry["psnr"] > 0 and -1 <= entry["ssim"] <= 1
    assert (found["here"], found["there"], found["direction"]) == ("night", "day", "ba")


def test_without_entries_some_of_the_first_run_are_taken(compare):
    _, _, fakes, _, found = compare()
    assert [one["caption"] for one in fakes] == ["epoch 1", "epoch 2"]
    assert found["link"] == "entries=streets@epoch-0001,streets@epoch-0002&direction=ab&size=auto&pictures=1"
    assert found["more"] == [] and found["name"] == "your picture"


def test_one_checkpoint_is_shown_and_a_second_asked_for(compare):
    note, _, fakes, _, _ = compare(entries=["streets@epoch-0002"])
    assert "choose a second one" in note and len(fakes) == 1


def test_runs_are_compared_and_what_lacks_the_direction_is_told(compare):
    both = ["streets@epoch-0001", "oneway@epoch-0007"]
    note, _, fakes, recs, found = compare(entries=both, direction="ab")
    assert [one["caption"] for one in fakes] == [
        "streets, epoch 1 (day → night)", "oneway, epoch 7 (<b>horse</b> → zebra)",
    ]  # fmt: skip
    assert len(recs) == 1 and found["entries"][1]["l1"] is None
    note, _, fakes, _, _ = compare(entries=both, direction="ba")
    said = "oneway, epoch 7 (zebra → <b>horse</b>) doesn't translate night → day and was left out."
    assert said in html.unescape(note) and len(fakes) == 1


def test_a_checkpoint_that_can_not_be_read_does_not_stop_the_others(compare, app):
    damaged = write_epoch(app.run, 5)
    try:
        (damaged / "gen_ab.safetensors").write_bytes(b"damaged")
        note, _, fakes, _, found = compare(entries=["streets@epoch-0005", "streets@epoch-0001"], pictures="2")
    finally:
        shutil.rmtree(damaged)
    assert "epoch 5: " in note and [one["caption"] for one in fakes] == ["epoch 1"]
    assert note.count("epoch 5: ") == 1 and len(found["more"]) == 1
    for row in (found, *found["more"]):
        assert "gen_ab" in row["entries"][0]["error"] and row["entries"][0]["fake"] is None
        assert row["entries"][1]["fake"] and row["disagreement"] is None
        assert row["differences"][0][1] is None and row["differences"][0][2] > 0


def test_a_picture_is_of_the_weights_that_are_there_now(compare, app):
    """A result that is kept is another checkpoint's once the weights have changed, and a renamed folder is none."""
    from gradio_client.exceptions import AppError

    written = write_epoch(app.run, 5)
    renamed = app.run / "epoch-0006"
    try:
        forget_checksums(written)
        before = compare(entries=["streets@epoch-0005"])
        shutil.copy(app.run / "epoch-0001" / "gen_ab.safetensors", written)
        after, first = compare(entries=["streets@epoch-0005"]), compare(entries=["streets@epoch-0001"])
        shutil.copytree(written, renamed)
        with pytest.raises(AppError, match="streets has no epoch 6; it has 5, 2, 1"):
            compare(entries=["streets@epoch-0006", "streets@epoch-0001"])
    finally:
        for folder in (written, renamed):
            shutil.rmtree(folder, ignore_errors=True)
    shown = [pixels(fakes[0]["image"]) for _, _, fakes, _, _ in (before, after, first)]
    assert shown[0] != shown[1] == shown[2]


def test_a_matrix_has_examples_of_the_same_domain_below_the_picture(compare, app):
    from cyclegan.images import mean_difference

    note, _, fakes, _, found = compare(direction="ba", pictures="3")
    assert note.startswith("night → day with 2 checkpoints, 3 pictures, ") and len(fakes) == 2
    assert [row["name"] for row in (found, *found["more"])] == ["your picture", "example 2", "example 4"]
    for row in (found, *found["more"]):
        assert [entry["epoch"] for entry in row["entries"]] == [1, 2]
        table = row["differences"]
        assert len(table) == 3 and table[1][2] == table[2][1] == pytest.approx(row["disagreement"], abs=0.01)
        assert row["disagreement"] > 0
    one, other = (Image.open(fake["image"]).convert("RGB") for fake in fakes)
    assert found["disagreement"] == pytest.approx(mean_difference(one, other))
    assert found["differences"][0][1] == pytest.approx(mean_difference(picture(48, 40), one), abs=0.01)


def test_a_time_lapse_for_programs(client, tmp_path):
    import av
    from gradio_client import handle_file

    picture(48, 40).save(tmp_path / "in.png")
    sent = handle_file(tmp_path / "in.png")
    note, film = client.predict(sent, pictures="2", api_name="/timelapse")
    assert note == "A time-lapse of 2 epochs." and film.endswith("epoch_1_to_epoch_2.mp4")
    with av.open(film) as container:
        assert container.duration / av.time_base > 2
    _, film = client.predict(sent, ["streets@2", "streets@1"], kind="gif", api_name="/timelapse")
    assert film.endswith("epoch_1_to_epoch_2.gif")  # In the order of the training.
    for wrong, said in (({"kind": "avi"}, "give mp4 or gif"), ({"entries": ["streets@1"]}, "at least two epochs")):
        with pytest.raises(Exception, match=said):
            client.predict(sent, **wrong, api_name="/timelapse")


@pytest.mark.parametrize("parameters, said", [
    ({"entries": ["streets@epoch-0099"]}, "streets has no epoch 99"),
    ({"entries": ["streets@last"]}, "isn't an epoch of streets"),
    ({"entries": ["elsewhere@epoch-0001"]}, "elsewhere is not a folder"),
    ({"entries": ["streets@epoch-0001"], "direction": "ac"}, "isn't a valid direction"),
    ({"entries": ["oneway@epoch-0007"], "direction": "ba"}, "epoch 7 translates"),
    ({"size": "4"}, "8 to 8192 pixels"),
    ({"pictures": "13"}, "'13' isn't a number of pictures: give 1 to 12"),
    ({"entries": {"a": 1}}, "entries has to be a list"),
])
def test_wrong_parameters_are_told(compare, parameters, said):
    with pytest.raises(Exception, match=said) as caught:
        compare(**parameters)
    assert "Traceback" not in str(caught.value)


def test_files_that_are_no_pictures_are_told(client, tmp_path):
    from gradio_client import handle_file

    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(Exception, match="not a picture but text"):
        client.predict(handle_file(tmp_path / "bad.png"), api_name="/compare")


def test_the_api_describes_itself(client):
    described = client.view_api(return_format="dict")["named_endpoints"]["/compare"]
    parameters = {p["parameter_name"]: p for p in described["parameters"]}
    assert list(parameters) == ["image", "entries", "direction", "size", "pictures"]
    assert [p["parameter_has_default"] for p in parameters.values()] == [False, True, True, True, True]
    assert "streets@epoch-0012" in described["description"] and len(described["returns"]) == 5


# --- entries and links --------------------------------------------------------------------------------------


def test_the_spread_is_from_first_to_last(bench):
    from cyclegan.ui.comparison import default_entries

    assert [entry.info.epoch for entry in default_entries(bench, "run")] == [1, 4, 16]
    assert [entry.value for entry in default_entries(bench, "at@home, 50%")] == ["at@home, 50%@epoch-0003"]


def test_several_runs_between_the_same_domains_open_with_the_newest_of_each(bench, tmp_path):
    from cyclegan.ui.comparison import opening_entries, usual_direction

    opened = opening_entries(bench)
    assert [entry.value for entry in opened] == ["run@epoch-0016", "at@home, 50%@epoch-0003"]
    assert usual_direction(opened) == "ba" and usual_direction(opened[:1]) == "ab" and usual_direction([]) is None
    write_epoch(tmp_path / "else", 9, domains=("horse", "zebra"))
    for name in ("third", "fourth"):
        write_epoch(tmp_path / name, 5)
    (tmp_path / "damaged").mkdir()
    paths = [tmp_path / name for name in ("run", "damaged", "else", "third", "at@home, 50%", "fourth")]
    several = Workbench([open_source(path, awaited=True) for path in paths])
    assert [entry.value for entry in opening_entries(several)] == [
        "run@epoch-0016", "third@epoch-0005", "at@home, 50%@epoch-0003",
    ]  # fmt: skip
    for own in (paths[:1], paths[:3]):  # One run, or others that translate something else.
        opened = opening_entries(Workbench([open_source(path, awaited=True) for path in own]))
        assert [entry.value for entry in opened] == ["run@epoch-0001", "run@epoch-0004", "run@epoch-0016"]


def test_tiles_name_the_method_where_it_differs(bench):
    from cyclegan.ui.comparison import Entry, resolve, ways
    from cyclegan.ui.comparison import tile_names as named

    def tile_names(entries, say):
        return named(entries, ways(entries, "ab"), say)

    (plain, other), _ = resolve(bench, ["run@1", "at@home, 50%@3"])
    assert list(tile_names([plain, other], speaker()).values()) == ["run, epoch 1", "at@home, 50%, epoch 3"]
    config = dataclasses.replace(other.info.config, method="cut")
    other = Entry("maps", dataclasses.replace(other.info, config=config))
    assert list(tile_names([plain, other], speaker()).values()) == [
        "run, epoch 1 (cyclegan)", "maps, epoch 3 (cut)",
    ]  # fmt: skip
    assert list(tile_names([other], speaker()).values()) == ["epoch 3"]
    data = dataclasses.replace(other.info.config.data, domain_a="photo", domain_b="plan")
    info = dataclasses.replace(other.info, config=dataclasses.replace(other.info.config, data=data))
    shown = tile_names([plain, dataclasses.replace(other, info=info)], speaker())
    assert list(shown.values())[1] == "maps, epoch 3 (photo → plan, cut)"


def test_entries_are_found_once_and_within_bounds(bench):
    from cyclegan.ui.comparison import resolve

    found, problems = resolve(bench, ["run@epoch-0002", " run@2", "run", "at@home, 50%@epoch-0003", "at@home, 50%"])
    assert [entry.value for entry in found] == ["run@epoch-0002", "run@epoch-0016", "at@home, 50%@epoch-0003"]
    assert problems == []
    for epoch in range(20, 24):
        write_epoch(bench.run("run").folder, epoch)
    bench.run("run").refresh()
    every = [f"run@{epoch}" for epoch in (1, 2, 4, 8, 16, 20, 21, 22, 23)]
    found, problems = resolve(bench, every)
    assert len(found) == 6
    assert [str(one) for one in problems] == ["9 checkpoints are more than the 6 that can be compared: choose fewer"]
    found, problems = resolve(bench, ["nonsense", "run@x"])
    assert found == [] and len(problems) == 2


def test_a_link_survives_any_name(bench):
    from cyclegan.ui.comparison import link_to, resolve

    entries, _ = resolve(bench, ["at@home, 50%@3", "run@1"])
    link = parse_qs(link_to(entries, "ba", 96, ("run", "2")))
    assert link == {"entries": link["entries"], "run": ["run"], "direction": ["ba"], "size": ["96"], "example": ["2"]}
    assert "pictures=2&example=2" in link_to(entries, "ba", 96, ("run", "2"), 2)
    assert resolve(bench, [unquote(one) for one in link["entries"][0].split(",")])[0] == entries


def test_the_first_example_is_of_the_directions_domain(bench, tmp_path):
    from cyclegan.ui.comparison import first_example

    (tmp_path / "run" / "examples").mkdir()
    for name in ("a_0", "b_0"):
        picture(40, 32).save(tmp_path / "run" / "examples" / f"{name}.png")
    assert [first_example(bench, "run", direction) for direction in ("ab", "ba", None)] == [1, 2, 1]
    assert first_example(bench, "at@home, 50%", "ba") == 1


def test_directions_are_those_of_any_entry(bench):
    from cyclegan.ui.comparison import directions_of, resolve

    entries, _ = resolve(bench, ["at@home, 50%@3"])
    assert directions_of(entries) == [("night → day", "ba")]
    assert [value for _, value in directions_of([*entries, *resolve(bench, ["run@1"])[0]])] == ["ab", "ba"]


# --- while it works -----------------------------------------------------------------------------------------


@pytest.fixture
def picture_sent(tmp_path, monkeypatch):
    """An uploaded picture, as an event gets it."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    path = tmp_path / "cache" / "0123" / "in.png"
    path.parent.mkdir(parents=True)
    picture(40, 32).save(path)
    return {"path": str(path)}


def test_each_is_shown_as_soon_as_it_is_there(bench, picture_sent):
    from cyclegan.ui.matrix import compare

    bench.ready.set()
    steps = list(compare(bench, picture_sent, ["run@1", "run@2"], None, "auto", speaker()))
    assert [re.sub("<.*?>", "", step[0]) for step in steps[:2]] == ["epoch 1: 1 of 2 …", "epoch 2: 2 of 2 …"]
    there = [[entry["fake"] is not None for entry in step[-1]["entries"]] for step in steps]
    assert there == [[False, False], [True, False], [True, True]]
    assert [step[-1]["done"] for step in steps] == [False, False, True]
    assert all(step[-1]["returns"] for step in steps)


def test_runs_without_checksums_get_their_own_pictures(bench, picture_sent, tmp_path):
    from cyclegan.ui.matrix import compare

    other = write_epoch(tmp_path / "other", 1)
    for name in ("gen_ab", "gen_ba"):
        shutil.copy(tmp_path / "run" / "epoch-0002" / f"{name}.safetensors", other)
    for folder in (other, tmp_path / "run" / "epoch-0001"):
        forget_checksums(folder)
    both = Workbench([open_source(tmp_path / "run"), open_source(tmp_path / "other")])
    both.ready.set()
    *_, (_, _, fakes, _, value) = compare(both, picture_sent, ["run@1", "other@1", "run@2"], None, "auto", speaker())
    own = [pixels(fake["image"] if isinstance(fake, dict) else fake[0]) for fake in fakes]
    assert own[0] != own[1] == own[2]
    assert len({entry["commit_sha"] for entry in value["entries"]}) == 3


def test_without_a_way_back_none_is_offered(bench, picture_sent):
    from cyclegan.ui.matrix import compare

    bench.ready.set()
    for chosen, returns in (["at@home, 50%@3"], False), (["at@home, 50%@3", "run@1"], True):
        *_, (_, _, fakes, recs, value) = compare(bench, picture_sent, chosen, None, "auto", speaker())
        assert (len(fakes), len(recs), value["returns"]) == (len(chosen), int(returns), returns)
        assert value["direction"] == "ba"  # Which both have.


def test_runs_whose_domains_are_the_other_way_round_translate_the_same_way(bench, picture_sent, tmp_path):
    from cyclegan.translation.translator import Translator
    from cyclegan.ui.comparison import Entry, directions_of, resolve, usual_direction, ways
    from cyclegan.ui.matrix import compare

    write_epoch(tmp_path / "turned", 2, domains=("Night ", "Day"))
    write_epoch(tmp_path / "half", 3, domains=("noon", "day"))  # One name in common: that of the input.
    write_epoch(tmp_path / "others", 4, domains=("horse", "zebra"))
    write_epoch(tmp_path / "one", 5, domains=("night", "day"), directions=("ab",))
    names = ("run", "turned", "half", "others", "one")
    several = Workbench([open_source(tmp_path / name) for name in names])
    several.ready.set()
    entries, _ = resolve(several, names)
    assert list(ways(entries, "ab").values()) == ["ab", "ba", "ba", "ab", "ba"]
    assert list(ways(entries, "ba").values()) == ["ba", "ab", "ab", "ba", "ab"]
    # Directions are told apart by where they go, whichever letters they have.
    one, turned = entries[4], entries[1]
    assert directions_of([one, turned]) == [("night → day", "ab"), ("Day → Night ", "ba")]
    assert directions_of([entries[3], entries[0]]) == [("horse → zebra", "ab"), ("zebra → horse", "ba")]
    write_epoch(tmp_path / "left", 6, directions=("ab",))
    left = Entry("left", open_source(tmp_path / "left").list()[0])
    assert usual_direction([left, one, dataclasses.replace(one, run="two")]) == "ba"
    assert directions_of([left, one]) == [("day → night", "ab"), ("night → day", "ba")]
    *_, (note, _, fakes, _, value) = compare(several, picture_sent, list(names), "ab", "auto", speaker())
    assert [entry["label"] for entry in value["entries"]] == [
        "run, epoch 16 (day → night)", "turned, epoch 2 (Day → Night )", "half, epoch 3 (day → noon)",
        "others, epoch 4 (horse → zebra)",
    ]  # fmt: skip
    assert "one, epoch 5 (day → night) doesn't translate day → night and was left out." in html.unescape(note)
    assert (value["direction"], value["here"], value["there"]) == ("ab", "day", "night")
    for name, (fake, _), way in zip(names, fakes, ("ab", "ba", "ba", "ab"), strict=False):
        checkpoint = several.run(name).load(several.info(name, None).epoch)
        assert pixels(fake) == Translator(checkpoint, "cpu").translate(picture(40, 32), way).fake.tobytes()


def test_an_older_comparison_gives_way(bench, picture_sent):
    """A visitor who changes the choice isn't shown what comes of the one before."""
    import gradio as gr

    from cyclegan.ui.pages.compare import build

    async def built():  # gradio would make an event loop of its own, and leave it open
        with gr.Blocks() as page:
            build(bench)
        return page

    functions = {fn.name: fn.fn for fn in asyncio.run(built()).fns.values()}
    visitor, other = (SimpleNamespace(session_hash=name, headers={}) for name in ("one", "two"))
    bench.ready.set()
    functions["settle"]("run", ["run@1", "run@2"], "ab", visitor)
    older = functions["compare"](picture_sent, ["run@1", "run@2"], "ab", "auto", None, visitor)
    assert "1 of 2" in next(older)[0]
    functions["settle"]("run", ["run@1"], "ab", other)
    assert "2 of 2" in next(older)[0]
    functions["settle"]("run", ["run@2"], "ab", visitor)
    assert list(older) == []


def test_a_stop_keeps_the_pictures_that_have_what_is_finished(bench, picture_sent, tmp_path):
    from cyclegan.ui.matrix import compare, kept

    examples = tmp_path / "run" / "examples"
    examples.mkdir()
    for n in range(2):
        picture(40, 32, n + 1).save(examples / f"a_{n}.png")
    bench.ready.set()
    steps = [step[-1] for step in compare(bench, picture_sent, ["run@1", "run@2"], "ab", "auto", speaker(), 3)]
    assert kept(steps[0]) is None and kept(None) is None

    def shape(value):
        return [[entry["epoch"] for entry in row["entries"]] for row in (value, *value["more"])]

    assert shape(kept(steps[1])) == [[1]] and kept(steps[1])["stopped"] and not kept(steps[1])["done"]
    assert shape(kept(steps[3])) == [[1, 2]] and kept(steps[3])["disagreement"] > 0
    assert shape(kept(steps[-1])) == [[1, 2]] * 3


def test_more_is_allowed_on_a_computer_of_ones_own(bench):
    from cyclegan.errors import ImageError
    from cyclegan.ui.comparison import most_entries
    from cyclegan.ui.matrix import checked_pictures, most_pictures

    own = Workbench([bench.run("run")], own=True)
    assert [(most_entries(each), most_pictures(each)) for each in (bench, own)] == [(6, 6), (24, 12)]
    assert checked_pictures(own, "12") == 12 and checked_pictures(bench, 6) == 6
    for wrong in ("7", "0", "-1", "x", "1.5", None, ["1"]):
        with pytest.raises(ImageError, match="give 1 to 6"):
            checked_pictures(bench, wrong)


def test_a_time_lapse_that_can_not_be_made_leaves_no_line_of_progress(bench):
    from cyclegan.errors import ImageError
    from cyclegan.ui.comparing import Events

    visitor, event = SimpleNamespace(headers={}), SimpleNamespace(row=None, kind="mp4")
    shown = Events(bench).film(None, ["run@1", "run@2"], "ab", "auto", "4", visitor, event)
    assert next(shown) == ""
    with pytest.raises(ImageError, match="There is no picture yet"):
        next(shown)


# --- a visitor's own ranking --------------------------------------------------------------------------------


def test_the_own_ranking_says_how_sure_it_is():
    from cyclegan.ui.ranking import verdict

    names = ["<b>epoch 1", "epoch 2"]
    few, many = (verdict(names, [[2, 1]] * count, speaker()) for count in (2, 8))
    for shown in (few, many):
        assert "epoch 2 is ahead: it won 100% of its comparisons." in shown and "<b>epoch" not in shown
        assert shown.index('row">epoch 2') < shown.index('row">&lt;b&gt;epoch 1')
        assert "nothing of it is recorded" in shown
        assert "no upper bound" in shown and "<td>–</td>" in shown  # All pictures agree: no spread to show.
    assert "That may well be luck: random rankings put an epoch so far ahead in 50% of cases." in few
    assert "That is hardly luck" in many
    assert "Level at the top, by your ranking: &lt;b&gt;epoch 1, epoch 2." in verdict(names, [[1, 1]], speaker())
    assert "사진 2장에 매긴 순위" in verdict(names, [[1, 2], [2, 1]], Speaker("ko"))
    assert verdict(names, [], speaker()) == ""


@pytest.mark.parametrize(
    "ranks", [None, "ab", [1, 2], [[1]], [[1, 2, 3]], [[1, "2"]], [[0, 1]], [[1, None]], [[1, [2]]]]
)
def test_a_ranking_of_something_else_is_refused(ranks):
    from cyclegan.errors import CheckpointError
    from cyclegan.ui.ranking import checked_ranks

    assert checked_ranks([[1, 2], [2, 1], [1, 1]], 2) and checked_ranks([], 2) == []
    with pytest.raises(CheckpointError, match="rank them again"):
        checked_ranks(ranks, 2)
    for many, count in (([[1, 2]] * 13, 2), ([[1] * 25], 25)):  # More pictures, and more epochs, than a page shows.
        with pytest.raises(CheckpointError, match="rank them again"):
            checked_ranks(many, count)


# --- curves -------------------------------------------------------------------------------------------------


def infos_of(tmp_path, epochs):
    first = read_info(write_epoch(tmp_path, 1, domains=("<b>낮</b>", "night")))
    return [
        dataclasses.replace(first, epoch=epoch, losses={"cycle_a": 1 / epoch, "cycle_b": 0.5, "gan_ab": 0.3},
                            metrics={"reconstruction_l1_ab": 12.0, "kid_b": 0.01, "other": float("nan")})
        for epoch in epochs
    ]  # fmt: skip


def test_curves_mark_the_chosen_epochs_and_say_them_in_words(tmp_path):
    from cyclegan.ui.curves import curves

    infos = infos_of(tmp_path, (4, 2, 1))
    drawn = curves(infos, [1, 4, 9], speaker())
    assert re.findall("<figcaption><b>(.*?)</b>", drawn) == [
        "Cycle (L1)", "Adversarial, generators", "Samples: brought back (L1)", "Test pictures: KID",
    ]
    assert drawn.count("<svg ") == drawn.count('role="img"') == 4
    assert drawn.count("stroke-dasharray") == 2 * 4  # A dashed line for each chosen epoch.
    assert "from 1 (epoch 1) to 0.25 (epoch 4); epoch 1: 1; epoch 4: 0.25." in drawn
    assert "<b>낮" not in drawn and "&lt;b&gt;낮&lt;/b&gt;" in drawn
    assert drawn.count("<tr class=chosen>") == 2
    # The page's colours, and nothing that reaches out of the panel.
    assert "currentColor" in drawn and "var(--curve-a)" in drawn
    assert not re.search("<style|#123456|#0072b2|DejaVu", drawn)
    assert "학습 곡선" in curves(infos, [1], Speaker("ko"))
    assert "&lt;run&gt;" in curves(infos, [1], speaker(), run="<run>")


def test_curves_are_broken_where_the_measured_pictures_change(tmp_path):
    from cyclegan.ui.curves import curves

    infos = infos_of(tmp_path, (1, 2, 3, 4))
    plain = curves(infos, [], speaker())
    training = [dataclasses.replace(info, measured_on="train", measured_pictures="one") for info in infos]
    shown = curves(training, [], speaker())
    said = "For want of test pictures, this epoch&#x27;s samples and their figures are of training pictures."
    sentence = f'<p class="notice">{said}</p>'
    assert shown.replace(sentence, "") == plain != shown
    changed = [*training[:2], *(dataclasses.replace(i, measured_on="test", measured_pictures="two") for i in infos[2:])]
    shown = curves(changed, [], speaker())
    assert "From epoch 3 on, samples and figures are of other pictures" in shown and sentence not in shown

    def lines(html, panel):
        return html.split("<svg ")[panel].count("stroke-width: 1.5")

    assert [lines(shown, panel) - lines(plain, panel) for panel in (1, 2, 3)] == [0, 0, 1]  # Losses aren't broken.


def test_curves_of_one_epoch_and_of_none(tmp_path):
    from cyclegan.ui.curves import curves

    infos = infos_of(tmp_path, (3,))
    drawn = curves(infos, [3], speaker())
    assert drawn.count("<svg ") == 4
    for panel in drawn.split("<svg ")[1:]:  # One epoch, and no thousandths of it.
        ticks = re.findall(r">([^<>]+)</text>", panel)
        assert ticks[0] == "3" and float(ticks[1]) == 0 and "−" not in "".join(ticks), ticks
    assert "No losses are recorded" in curves([dataclasses.replace(infos[0], losses={}, metrics={})], [3], speaker())
    assert "No losses are recorded" in curves([], [], speaker())


def test_many_epochs_are_thinned_out(tmp_path):
    from cyclegan.ui.curves import curves

    drawn = curves(infos_of(tmp_path, range(1, 3001)), [1500], speaker())
    assert len(re.search("<svg .*?</svg>", drawn, re.DOTALL).group()) < 60_000
