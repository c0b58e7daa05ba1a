"""The card's examples: pictures cut out of the epoch's samples, in the epoch's own commit, both ways."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan.evaluation.samples import TranslatedSamples, sample_grid
from hub.card.widget import widget_pictures
from tests.hub.test_card import FILES, card_of, front_of, make_info

# The client's own upload of large files uses a deprecated argument of its HTTP library.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NAME = "alice/day-night"
PICTURES = [f"widget/{way}_{number}_{what}.png" for way in ("ab", "ba") for number in (1, 2) for what in
            ("fake", "real")]  # fmt: skip
EXAMPLE = {
    "text": "day → night",
    "src": f"https://huggingface.co/{NAME}/resolve/main/widget/ab_1_real.png",
    "output": {"url": "widget/ab_1_fake.png"},
}


def draw_grids(samples, *, side=32, seed=0):
    """Draw an epoch's samples as a training does; the real and the translated pictures by direction."""
    drawn, random = {}, torch.Generator().manual_seed(seed)
    for way in ("ab", "ba"):
        real, fake, rec = (list(torch.rand(3, 3, side, side, generator=random) * 1.8 - 0.9) for _ in range(3))
        drawn[way] = real, fake
        translated = TranslatedSamples(way, ["1", "2", "3"], real, fake, rec)
        sample_grid(translated, {"a": "day", "b": "night"}, count=3).save(samples / f"{way}.png")
    return drawn


@pytest.fixture
def run(make_run):
    """A run with samples as a training draws them."""
    made = make_run(2)
    for folder in made.glob("epoch-*"):
        draw_grids(folder / "samples", seed=int(folder.name[6:]))
    return made


def test_examples_are_the_first_pictures_of_the_samples(tmp_path):
    drawn = draw_grids(tmp_path)
    found = widget_pictures(tmp_path, ("ab", "ba"))
    assert sorted(found) == PICTURES
    for name, content in found.items():
        way, number, what = name.removeprefix("widget/").removesuffix(".png").split("_")
        wanted = drawn[way][what == "fake"][int(number) - 1]
        with Image.open(io.BytesIO(content)) as picture:  # Small pictures are enlarged by a whole factor.
            pixels = np.asarray(picture.resize((32, 32), Image.Resampling.NEAREST), dtype=np.float32)
        assert abs(pixels - (wanted.permute(1, 2, 0).numpy() + 1) * 127.5).max() <= 1
    assert widget_pictures(tmp_path, ("ba",)).keys() == {name for name in PICTURES if "/ba" in name}


def test_grids_that_cannot_be_cut_give_none(tmp_path):
    assert widget_pictures(tmp_path, ("ab",)) == {}
    (tmp_path / "ab.png").write_bytes(b"no picture")
    Image.new("RGB", (40, 40), "red").save(tmp_path / "ba.png")
    assert widget_pictures(tmp_path, ("ab", "ba")) == {}


def test_the_card_has_both_ways_and_a_gallery():
    card = card_of(files=(*FILES, *PICTURES))
    ways = [(one["text"], one["output"]["url"]) for one in front_of(card)["widget"]]
    assert front_of(card)["widget"][0] == EXAMPLE and len(ways) == 4
    assert ways[2:] == [("night → day", "widget/ba_1_fake.png"), ("night → day", "widget/ba_2_fake.png")]
    assert "## Samples\n\n<Gallery />\n\nA row is one picture" in card
    one_way = card_of(make_info(directions=("ba",)), files=(*FILES, *PICTURES))
    assert [one["text"] for one in front_of(one_way)["widget"]] == ["night → day"] * 2


def test_without_them_a_grid_is_the_example_and_without_samples_there_is_none():
    card = card_of()
    grids = [{"text": f"{way}", "output": {"url": f"samples/{name}.png"}} for way, name in
             (("day → night", "ab"), ("night → day", "ba"))]  # fmt: skip
    assert front_of(card)["widget"] == grids and "<Gallery />" not in card
    assert "widget" not in front_of(card_of(files=("config.json",)))


def test_a_persons_examples_stay_and_ours_are_replaced():
    theirs = "---\nwidget:\n- text: my dog\n  output:\n    url: photos/dog.jpg\n- odd\n---\n"
    card = card_of(existing=theirs, files=(*FILES, *PICTURES))
    later = card_of(make_info(13), card, files=(*FILES, *PICTURES))
    examples = front_of(later)["widget"]
    assert examples[0] == EXAMPLE and [one["text"] for one in examples[:4]] == ["day → night"] * 2 + ["night → day"] * 2
    assert examples[4:] == [{"text": "my dog", "output": {"url": "photos/dog.jpg"}}, "odd"]
    assert front_of(card_of(existing=later, files=("config.json",)))["widget"] == examples[4:]
    assert front_of(card_of(existing="---\nwidget: mine\n---\n"))["widget"] == "mine"


def test_an_epochs_pictures_are_in_its_one_commit(loopback, publish_run, run):
    repo = publish_run(run)
    for commit in repo.epoch_commits():
        files = commit["files"]
        assert {name for name in files if name.startswith("widget/")} == {*PICTURES}
        examples = front_of(files["README.md"].decode())["widget"]
        assert len(examples) == 4
        for example in examples:
            address, _, path = example["src"].partition("/resolve/main/")
            assert address == f"https://huggingface.co/{NAME}" and {path, example["output"]["url"]} <= files.keys()
    first, second = (commit["files"]["widget/ab_1_fake.png"] for commit in repo.epoch_commits())
    assert first != second
    assert [commit["title"] for commit in repo.commits] == ["initial commit", "Epoch 1", "Epoch 2"]


def test_the_command_adds_them_to_a_run_from_before(loopback, publish_run, run, run_script, hub_env):
    repo = publish_run(run)
    head = repo.head["files"]
    before = {name: content for name, content in head.items() if not name.startswith("widget/")}
    mine = b"---\nlicense: mit\n---\nMine.\n"
    repo.commit("An older version's card", {**before, "README.md": mine})
    done = run_script("-m", "hub", "card", NAME, env=hub_env)
    assert done.stdout == f"the card is new: {loopback.url}/{NAME}\n"
    files = repo.head["files"]
    assert {name: files[name] for name in PICTURES} == {name: head[name] for name in PICTURES}
    card = files["README.md"].decode()
    assert front_of(card)["license"] == "mit" and len(front_of(card)["widget"]) == 4 and "Mine.\n" in card
    assert "nothing to do" in run_script("-m", "hub", "card", NAME, env=hub_env).stdout
    done = run_script("-m", "hub", "card", "alice/nothing", env=hub_env, ok=False)
    assert done.returncode == 1 and done.stderr == (
        "error: alice/nothing is not on the Hub, or hidden from the token; check the name and the token\n"
    )


def test_imported_weights_name_the_repository_that_they_are_from(loopback, publish_run, make_run):
    run = make_run(1)
    path = run / "epoch-0001" / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "imported_from": "ann/maps"}))
    front = front_of(publish_run(run).head["files"]["README.md"].decode())
    assert front["base_model"] == "ann/maps" and "base_model_relation" not in front
    for odd in (3, "maps", "https://x/y/z", "ann/maps:small"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "imported_from": odd}))
        assert "base_model" not in front_of(publish_run(run, f"alice/odd{len(loopback.repos)}").head["files"][
            "README.md"].decode())  # fmt: skip
