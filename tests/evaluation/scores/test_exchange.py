"""Files of scores that others wrote: what is refused, what is left out, and how two are joined."""

import copy
import json

import pytest

from cyclegan.evaluation.scores.exchange import joined, read_checked, without_paths
from cyclegan.evaluation.scores.report import ScoresError
from tests.ui.pages.test_scores_page import write_scores


@pytest.fixture
def path(tmp_path):
    return write_scores(tmp_path / "mine")


def content_of(path):
    return json.loads(path.read_text())


def test_a_whole_file_is_read_as_it_is(path):
    assert read_checked(path).content == content_of(path)


def kid(content, epoch=2):
    return content["ab"]["scores"][f"epoch-000{epoch}"]["kid"]["kid"]


@pytest.mark.parametrize("break_it", [
    lambda c: c.pop("names"),
    lambda c: c["names"].update(a=5),
    lambda c: c["names"].update(a="x" * 3000),
    lambda c: c.update(version=2),
    lambda c: c.update(name=["test"]),
    lambda c: c.update(ab=[]),
    lambda c: c["ab"].pop("baselines"),
    lambda c: c["ab"]["measured_on"].update(pictures="many"),
    lambda c: c["ab"]["measured_on"].update(dataset={}),
    lambda c: c["ab"]["measured_on"].update(features=[1]),
    lambda c: c["ab"]["measured_on"].update(segmenter="unet"),
    lambda c: c["ab"]["scores"].update({"../../x": c["ab"]["scores"]["epoch-0001"]}),
    lambda c: c["ab"]["scores"]["epoch-0001"].update(epoch=2),
    lambda c: c["ab"]["scores"]["epoch-0001"].update(epoch=True),
    lambda c: c["ab"]["scores"]["epoch-0001"].update(kid=7),
    lambda c: kid(c).update(value="41"),
    lambda c: kid(c).update(value=10**400),
    lambda c: kid(c).update(value=1e200),
    lambda c: kid(c).pop("high"),
    lambda c: kid(c).pop("value"),
    lambda c: c["ab"]["scores"]["epoch-0001"]["content"].update(details=[]),
    lambda c: c["ab"]["scores"]["epoch-0001"]["content"].update(details={"classes": {"car": 7}}),
    lambda c: c["ab"]["baselines"].update({f"answer {n}": {} for n in range(3000)}),
])  # fmt: skip
def test_a_file_with_parts_of_other_kinds_is_one_sentence(path, break_it):
    content = content_of(path)
    break_it(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ScoresError, match="^scores/test.json isn't a file of scores of this version"):
        read_checked(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 100_000, '{"version": 1, "name": "\ud800"}'[:20]])
def test_a_file_that_is_no_json_object_is_one_sentence(path, text):
    path.write_text(text)
    with pytest.raises(ScoresError, match="^scores/test.json "):
        read_checked(path)


@pytest.mark.parametrize("number", [None, float("nan"), float("inf")])
def test_a_figure_that_is_not_finite_was_not_measured(path, number):
    content = content_of(path)
    kid(content)["low"] = number
    path.write_text(json.dumps(content))
    scores = read_checked(path).section("ab", "scores")
    assert scores["epoch-0002"]["kid"] == {} and scores["epoch-0001"]["kid"]


def test_folders_of_this_machine_stay_here(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "horses").mkdir(parents=True)
    content = content_of(path)
    for way, dataset in (("ab", "data/horses"), ("ba", str(tmp_path / "gone"))):
        content[way]["measured_on"].update(dataset=dataset, segmenter={"network": "unet", "dataset": "~/maps"})
    shown = without_paths(content)
    assert [shown[way]["measured_on"]["dataset"] for way in ("ab", "ba")] == ["horses", "gone"]
    assert shown["ab"]["measured_on"]["segmenter"] == {"network": "unet", "dataset": "maps"}
    assert content["ab"]["measured_on"]["dataset"] == "data/horses", "the run's own file is as it was"
    assert without_paths(content_of(path)) == content_of(path), "a name of a data set is no folder"


# --- joined -------------------------------------------------------------------------------------------------


def two(path):
    """A file with epochs 1 and 2, and one of a fresh machine, which has 2 and 3."""
    there = content_of(path)
    here = content_of(write_scores(path.parents[1], epochs=(2, 3)))
    return here, there


def test_a_fresh_machine_takes_nothing_away(path):
    here, there = two(path)
    here["ab"]["measured_on"] |= {"dataset": "elsewhere", "segmenter": {"network": "unet"}}
    del here["ba"]
    both = joined(here, there)
    assert list(both["ab"]["scores"]) == ["epoch-0001", "epoch-0002", "epoch-0003"] and both["ba"] == there["ba"]
    assert both["ab"]["measured_on"]["segmenter"] == {"network": "unet"}, "what only one of them needed"


def test_scores_of_equal_weights_complete_each_other(path):
    here, there = two(path)
    kid(here)["value"] = 7.0
    del here["ab"]["scores"]["epoch-0002"]["content"], here["ab"]["baselines"]["one_colour"]
    both = joined(here, there)
    assert kid(both)["value"] == 7.0 and "content" in both["ab"]["scores"]["epoch-0002"]
    assert set(both["ab"]["baselines"]) == {"untranslated", "one_colour"}


def test_an_epoch_of_other_weights_stays_as_it_was_published(path):
    here, there = two(path)
    here["ab"]["scores"]["epoch-0002"]["commit_sha"] = "1"
    kid(here)["value"] = 7.0
    assert kid(joined(here, there)) == kid(there)


@pytest.mark.parametrize("change", [{"fingerprint": "g"}, {"crop_size": 64}, {"features": "inception"}])
def test_other_pictures_are_not_joined(path, change):
    here, there = two(path)
    here["ab"]["measured_on"] |= change
    before = copy.deepcopy(here)
    both = joined(here, there)
    assert both["ab"] == before["ab"] and list(both["ba"]["scores"]) == ["epoch-0001", "epoch-0002", "epoch-0003"]


def test_other_domains_are_not_joined(path):
    here, there = two(path)
    here["names"]["a"] = "noon"
    assert joined(here, there) == here
