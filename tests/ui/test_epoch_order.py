"""Scores on the checkpoints page: the order of the epochs, the cards, and what the scores are compared with."""

import re

import pytest

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.ui import epochs
from cyclegan.ui.epoch_order import EpochOrder
from cyclegan.ui.words import Speaker
from tests.ui.conftest import write_epoch
from tests.ui.pages.test_scores_page import write_scores

SAY = Speaker("en")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run of four epochs, two of which have scores."""
    run = tmp_path_factory.mktemp("runs") / "mine"
    for epoch in (1, 2, 3, 4):
        write_epoch(run, epoch)
    source = LocalSource(run)
    write_scores(run, epochs=(1, 3), shas={info.epoch: info.commit_sha for info in source.list()})
    return source


def ordered(source, order=""):
    return EpochOrder(source, source.list(), order)


def test_the_orders_are_the_figures_that_the_run_has(source):
    assert ordered(source).choices(SAY) == [
        ("newest first", ""),
        ("KID × 1000 (lite0), day → <night>", "test/ab/kid"),
        ("class IoU (segmentation), day → <night>", "test/ab/seg_iou"),
        ("kept, day → <night>", "test/ab/content_kept"),
        ("KID × 1000 (lite0), <night> → day", "test/ba/kid"),
        ("class IoU (segmentation), <night> → day", "test/ba/seg_iou"),
        ("kept, <night> → day", "test/ba/content_kept"),
    ]


@pytest.mark.parametrize("order, expected", [
    ("", [4, 3, 2, 1]), ("test/ab/kid", [3, 1, 4, 2]), ("test/ba/seg_iou", [3, 1, 4, 2]),
    ("test/ab/content_kept", [3, 1, 4, 2]), ("gone", [4, 3, 2, 1]), (None, [4, 3, 2, 1]), ({}, [4, 3, 2, 1]),
])  # fmt: skip
def test_the_best_come_first_and_the_unmeasured_last(source, order, expected):
    assert [info.epoch for info in ordered(source, order).infos] == expected


def test_lower_is_better_for_some(source):
    by_kid, by_iou = ordered(source, "test/ab/kid"), ordered(source, "test/ab/seg_iou")
    assert by_kid.by.best == pytest.approx(100 / 3) and by_iou.by.best == 0.75
    assert ordered(source, "test/ab/content_kept").by.best is None, "equal values"


def test_nothing_is_best_where_too_few_pictures_were_measured(tmp_path):
    for epoch in (1, 2):
        write_epoch(tmp_path / "mine", epoch)
    source = LocalSource(tmp_path / "mine")
    for pictures, best in ((7, None), (8, 50)):
        write_scores(source.folder, shas={i.epoch: i.commit_sha for i in source.list()}, pictures=pictures)
        assert ordered(source, "test/ab/kid").by.best == best


def cards_of(source, order=""):
    infos = source.list()
    html = epochs.cards("mine", infos, 9, infos[0], SAY, EpochOrder(source, infos, order))
    return html, {tag: card for tag, card in re.findall(r'<article[^>]*data-epoch="(.*?)"(.*?)</article>', html)}


def test_cards_have_scores_and_a_dot_at_the_best(source):
    html, cards = cards_of(source)
    assert list(cards) == [f"epoch-000{n}" for n in (4, 3, 2, 1)] and 'class="badge"' in cards["epoch-0004"]
    card = cards["epoch-0003"].split("Losses in training")[0]
    assert "Scores on test pictures: 9 (test)" in card and "KID × 1000 (lite0)" in card
    assert card.count('class="best"') == 4 and ">33.3<small>28.3 – 38.3</small>" in card
    assert "content" not in card and "kept" not in card, "a judge of no epoch, unless they are sorted by it"
    assert "Scores on" not in cards["epoch-0002"] and 'class="best"' not in cards["epoch-0001"]
    html, cards = cards_of(source, "test/ab/content_kept")
    assert list(cards) == [f"epoch-000{n}" for n in (3, 1, 4, 2)] and "kept" in cards["epoch-0001"]
    assert 'class="badge"' in cards["epoch-0004"], "the newest is still the newest"
    assert "<night>" not in html and "a tenth in place, all pictures together" in html.split('class="legend"')[1]


def test_scores_are_never_without_baselines(source):
    html = ordered(source).references("a&b", SAY)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)]
    assert [row[0] for row in rows[1:]] == [
        "the input, untranslated<small>baseline</small>", "one colour<small>baseline</small>",
        "real pictures<small>ceiling</small>",
    ]  # fmt: skip
    assert rows[1][1] == "40.0<small>35.0 – 45.0</small>" and rows[1][2] == "–"
    assert 'href="scores?run=a%26b"' in html and "<night>" not in html


def test_an_epoch_that_was_trained_again_has_no_old_scores(source, tmp_path):
    run = tmp_path / "again"
    write_epoch(run, 1)
    write_scores(run, epochs=(1,), shas={1: "of older weights"})
    here = LocalSource(run)
    assert not ordered(here).columns and ordered(here).references("again", SAY) == ""


def test_a_run_without_scores_or_with_broken_ones(tmp_path):
    run = tmp_path / "bare"
    write_epoch(run, 1)
    here = LocalSource(run)
    assert ordered(here).choices(SAY) == [("newest first", "")] and not ordered(here).problems
    (run / "scores").mkdir()
    (run / "scores" / "broken.json").write_text("{")
    (problem,) = ordered(here).problems
    assert SAY.text_of(problem).startswith("scores of bare can't be shown: scores/broken.json")
    assert "epoch-0001" in cards_of(here)[1]


def test_files_of_one_name_are_a_group_of_their_own(source, tmp_path):
    run = tmp_path / "two"
    write_epoch(run, 1)
    shas = {1: LocalSource(run).list()[0].commit_sha}
    write_scores(run, epochs=(1,), shas=shas)
    write_scores(run, "training", epochs=(1,), shas=shas, pictures=5)
    here = LocalSource(run)
    assert ordered(here).choices(SAY)[1][0] == "KID × 1000 (lite0), day → <night> · test"
    card = cards_of(here)[1]["epoch-0001"]
    assert "Scores on test pictures: 9 (test)" in card and "Scores on test pictures: 5 (training)" in card
