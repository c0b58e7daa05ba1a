"""Checkpoints of the Hub behind the same protocol as those of a folder."""

import copy
import dataclasses
import hashlib
import json
import os
import re
import shutil
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import CheckpointError
from hub import HubError, downloads, open_begun, open_source, opener
from hub.outbox import Outbox
from hub.publish import Publisher
from hub.source import HubSource, fetch_file, parse_spec

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
NAME = "alice/day-night"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, as on a new machine."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """What the first test published, for those that come after it: a copy of the run's folder, and the repository."""
    return {"run": tmp_path_factory.mktemp("kept") / "run"}


@pytest.fixture
def published(loopback, online, cache, make_run, kept, tmp_path):
    """Three epochs on the Hub; the run's folder, and the repository."""
    if "repo" in kept:
        run = shutil.copytree(kept["run"], tmp_path / "run")
        loopback.repos[NAME] = copy.deepcopy(kept["repo"])
        return run, loopback.repos[NAME]
    run = make_run(3)
    publisher = Publisher(run, NAME, endpoint=loopback.url)
    publisher.check_repository()
    box = Outbox(publisher, lambda _: None).start()
    box.add(3)
    assert box.finish() == []
    shutil.copytree(run, kept["run"])
    kept["repo"] = copy.deepcopy(loopback.repos[NAME])
    return run, loopback.repos[NAME]


@pytest.fixture
def source(loopback, published):
    return HubSource(NAME, endpoint=loopback.url)


def weights(checkpoint):
    return {way: network.state_dict() for way, network in checkpoint.generators.items()}


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    for way in one:
        assert all(torch.equal(one[way][key], other[way][key]) for key in one[way])


def test_lists_newest_first_without_downloading_weights(loopback, published, source):
    run, repo = published
    loopback.requests.clear()
    infos = source.list()
    local = LocalSource(run).list()
    assert [info.epoch for info in infos] == [3, 2, 1]
    for info, ours in zip(infos, local, strict=True):
        assert info.commit_sha == repo.tags[info.tag]
        assert (info.created, info.global_step, info.losses, info.metrics, info.config, info.directions) == (
            ours.created, ours.global_step, ours.losses, ours.metrics, ours.config, ours.directions
        )  # fmt: skip
    assert loopback.count("safetensors") == 0
    assert loopback.count("checkpoint.json") == 0  # epochs.json has it all: two hundred epochs cost no more requests.
    asked = len(loopback.requests)
    assert source.list() == infos and len(loopback.requests) == asked
    source.refresh()
    assert source.list() == infos and len(loopback.requests) > asked


def test_an_epoch_whose_tag_is_missing_is_listed_too(loopback, published, source):
    run, repo = published
    sha = repo.tags.pop("epoch-0002")
    infos = source.list()
    assert [(info.epoch, info.commit_sha) for info in infos][1] == (2, sha)
    assert_equal_weights(weights(source.load(2)), weights(LocalSource(run).load(2)))


def test_a_tag_on_another_epochs_commit_is_named_and_never_shows_that_one(loopback, published, source):
    """epochs.json has both epochs, so neither the list nor a cache by commit may take it at its word."""
    _, repo = published
    repo.tags["epoch-0002"] = repo.tags["epoch-0001"]
    assert [info.epoch for info in source.list()] == [3, 1]
    assert [str(problem) for problem in source.problems] == ["epoch-0002 holds epoch 1"]
    assert "has no epoch 2; it has 3, 1" in refused(source, 2)
    assert "epoch-0002 holds epoch 1" in refused(HubSource(f"{NAME}@epoch-0002", endpoint=loopback.url))
    assert HubSource(f"{NAME}@epoch-0001", endpoint=loopback.url).load().info.epoch == 1


def test_a_tag_on_a_commit_that_epochs_json_contradicts_is_not_loaded(loopback, published, source):
    _, repo = published
    files = next(one["files"] for one in repo.commits if one["id"] == repo.tags["epoch-0001"])
    files = {**files, "epochs.json": repo.head["files"]["epochs.json"]}
    repo.tags["epoch-0002"] = repo.commit("Something else", files)
    source.list()
    assert "epoch-0002 holds epoch 1" in refused(source, 2)


def test_loads_only_the_chosen_epochs_generators_and_asks_nothing_for_cached_ones(loopback, published, source):
    run, repo = published
    loopback.requests.clear()
    checkpoint = source.load(2, ("ab",))
    assert [r for r in loopback.requests if r.startswith("GET") and "safetensors" in r] == [
        f"GET /{NAME}/resolve/{repo.tags['epoch-0002']}/gen_ab.safetensors"
    ]
    assert checkpoint.info.commit_sha == repo.tags["epoch-0002"] and checkpoint.info.epoch == 2
    assert_equal_weights(weights(checkpoint), weights(LocalSource(run).load(2, ("ab",))))
    assert source.load().info.epoch == 3
    source.load(2)
    loopback.requests.clear()
    assert_equal_weights(weights(source.load(2)), weights(LocalSource(run).load(2)))
    assert loopback.requests == []


@pytest.mark.parametrize("how", ["stopped", "offline", "out of order"])
def test_without_the_hub_what_is_cached_is_offered(loopback, published, source, monkeypatch, how):
    source.load(2)
    if how == "stopped":
        loopback.close()
    elif how == "offline":
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setattr("hub.client.WAIT_S", 0.01)
        loopback.fail("", 503, times=1000)
    again = HubSource(NAME, endpoint=loopback.url)  # As after a restart.
    assert [info.epoch for info in again.list()] == [2]
    (said,) = again.problems
    assert str(said).startswith("only the one epoch of alice/day-night that is kept here can be used: ")
    loaded = again.load(2)
    assert loaded.info.commit_sha == published[1].tags["epoch-0002"]
    assert_equal_weights(weights(loaded), weights(LocalSource(published[0]).load(2)))
    only = r"epoch 1 of .* is unavailable; only the one epoch of alice/day-night .* \(2\)"
    with pytest.raises(CheckpointError, match=only):
        again.load(1)
    for spec in (f"{NAME}@epoch-0002", f"{NAME}@{published[1].tags['epoch-0002']}"):
        assert HubSource(spec, endpoint=loopback.url).load().info.epoch == 2


def test_without_the_hub_and_without_a_cache_there_is_a_sentence(loopback, published, source):
    loopback.close()
    with pytest.raises(CheckpointError, match="can't be reached; check the network"):
        source.list()


def test_a_hiccup_is_waited_for(loopback, published, source, monkeypatch):
    monkeypatch.setattr("hub.client.WAIT_S", 0.01)
    loopback.fail("GET .*/refs", 503)
    loopback.fail("GET .*/resolve/.*safetensors", 500)
    assert len(source.list()) == 3 and source.problems == []
    assert source.load(3).info.epoch == 3


def test_pinned_revisions(loopback, published):
    run, repo = published
    for revision in ("epoch-0002", repo.tags["epoch-0002"]):
        source = HubSource(f"{NAME}@{revision}", endpoint=loopback.url)
        assert [info.epoch for info in source.list()] == [2] and source.name == f"{NAME}@{revision}"
        assert source.list()[0].commit_sha == repo.tags["epoch-0002"]
        assert_equal_weights(weights(source.load()), weights(LocalSource(run).load(2)))
    assert HubSource(f"{NAME}@main", endpoint=loopback.url).load().info.epoch == 3
    with pytest.raises(CheckpointError, match="has no revision 'epoch-0099'; it has epoch-0003, epoch-0002"):
        HubSource(f"{NAME}@epoch-0099", endpoint=loopback.url).list()
    with pytest.raises(CheckpointError, match="no such revision"):
        HubSource(f"{NAME}@{'0' * 40}", endpoint=loopback.url).list()


def test_examples_come_with_it(loopback, published, source):
    names = [path.name for path in source.examples()]
    assert names == ["a_1.png", "b_1.png"] and all(path.is_file() for path in source.examples())
    loopback.close()
    source.load  # noqa: B018  (nothing is loaded: the examples alone are cached)
    assert [path.name for path in source.examples()] == names


def test_examples_that_failed_are_asked_for_again(loopback, published, source):
    source.list()
    loopback.fail("(HEAD|GET) .*examples/a_1.png", 403, times=1000)  # Both: its content may be cached as b_1.png.
    assert [path.name for path in source.examples()] == ["b_1.png"]  # One that fails costs not the others.
    loopback.faults.clear()
    asked = len(loopback.requests)
    assert [path.name for path in source.examples()] == ["b_1.png"] and len(loopback.requests) == asked
    again = HubSource(NAME, endpoint=loopback.url)  # As after a restart: one of two is cached.
    assert [path.name for path in again.examples()] == ["a_1.png", "b_1.png"]
    source.refresh()
    assert [path.name for path in source.examples()] == ["a_1.png", "b_1.png"]
    asked = len(loopback.requests)
    source.refresh()
    assert len(source.examples()) == 2 and len(loopback.requests) == asked


def test_examples_on_their_way_hold_up_nobody(loopback, published, source, monkeypatch):
    source.list()
    go, began = threading.Event(), threading.Event()

    def slow(sha):
        began.set()
        assert go.wait(300)
        return [], True

    monkeypatch.setattr(source, "_find_examples", slow)
    one = threading.Thread(target=source.examples)
    one.start()
    try:
        assert began.wait(300)
        source.refresh()
        assert source.examples() == [] and len(source.list()) == 3 and source.load(3).info.epoch == 3
    finally:
        go.set()
        one.join(300)


def test_names_of_examples(loopback, published, source):
    content = published[1].head["files"]["examples/a_1.png"]
    odd = ("a_1²", "a_٣", "a_" + "x" * 150, "../b", "a b")
    put(published[1], **{f"examples/{name}.png": content for name in odd})
    assert [path.name for path in source.examples()] == ["a_1.png", "b_1.png"]


def test_a_failure_is_remembered_for_a_while(loopback, published, source, monkeypatch):
    published[1].private = True
    monkeypatch.delenv("HF_TOKEN")
    for _ in range(3):
        with pytest.raises(CheckpointError, match="not on the Hub, or hidden"):
            source.list()
    assert source.examples() == []
    asked = len(loopback.requests)
    with pytest.raises(CheckpointError, match="not on the Hub, or hidden"):
        source.load(2)
    assert len(loopback.requests) == asked
    published[1].private = False
    source.refresh()
    assert len(source.list()) == 3


def test_names_and_folders(tmp_path, make_run, loopback):
    assert parse_spec("alice/x") == ("alice/x", None) and parse_spec("a/b@epoch-0003") == ("a/b", "epoch-0003")
    for bad in ("", "x", "a/b/c", "a/b@", "a b/c", "https://huggingface.co/a/b", "../x", "a/.."):
        with pytest.raises(CheckpointError):
            parse_spec(bad)
    run = make_run(1)
    assert isinstance(open_source(run), LocalSource) and isinstance(open_source(str(run)), LocalSource)
    assert isinstance(open_source("alice/x@epoch-0001"), HubSource)
    for epoch in ("1", "epoch-0001"):
        assert [info.epoch for info in open_source(f"{run}@{epoch}").list()] == [1]
    for slip in ("runs/a/b", "tests/mine", "mine", "n" * 300, f"{run}@7", f"{run}@main"):
        with pytest.raises(CheckpointError, match="is not a folder"):
            open_source(slip)


def test_a_slip_in_a_runs_name_comes_before_the_words_about_the_network(tmp_path, monkeypatch, loopback, online, cache):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    source = open_source("run/mine")
    source.repository._api.endpoint = loopback.url
    loopback.close()
    with pytest.raises(CheckpointError, match=r"^run/mine is not a folder \(did you mean runs/mine\?\); .* reached;"):
        source.list()
    with pytest.raises(CheckpointError, match=r"^runs/min is not a folder \(did you mean runs/mine\?\)"):
        open_source("runs/min")


def test_what_may_be_a_folder_or_a_repository_gets_both_remedies(loopback, online, cache):
    def said(spec):
        source = open_source(spec)
        source.repository._api.endpoint = loopback.url  # The client has read HF_ENDPOINT as it was imported.
        with pytest.raises(CheckpointError, match="alice/none is not on the Hub") as caught:
            source.list()
        with pytest.raises(CheckpointError, match=re.escape(str(caught.value))):
            source.load()
        return str(caught.value)

    with pytest.raises(CheckpointError) as caught:
        LocalSource("alice/none")
    assert said("alice/none").startswith(f"{caught.value}; alice/none is not on"), "a sentence that the pages know"
    assert "folder" not in said("alice/none@epoch-0001")


# --- grids of test pictures -----------------------------------------------------------------------------------


def test_samples_of_an_epoch_come_from_its_commit_and_are_downloaded_once(loopback, published, source):
    run, repo = published
    source.list()
    loopback.requests.clear()
    found = source.samples(2)
    assert [path.name for path in found] == ["ab.png", "ba.png"]
    assert all(path.parent.parent.name == repo.tags["epoch-0002"] for path in found)
    assert [path.read_bytes() for path in found] == [path.read_bytes() for path in LocalSource(run).samples(2)]
    assert loopback.count(f"GET .*/{repo.tags['epoch-0002']}/samples/") == 1  # Alike: one content.
    assert loopback.count("epoch-0001|epoch-0003|safetensors|/tree/") == 0
    loopback.requests.clear()
    assert source.samples(2) == found and loopback.requests == []
    with pytest.raises(CheckpointError, match="has no epoch 9; it has 3, 2, 1"):
        source.samples(9)


def test_samples_that_are_not_there_are_asked_for_once(loopback, published, source):
    files = published[1].head["files"]
    put(published[1], **{"samples/ba.png": files["samples/ba.png"], "samples/ab.png": b"", "samples/cd.png": b"x"})
    assert [path.name for path in source.samples(4)] == ["ba.png"]
    loopback.requests.clear()
    assert [path.name for path in source.samples(4)] == ["ba.png"] and loopback.requests == []


def test_samples_too_large_are_not_downloaded(loopback, published, source, monkeypatch):
    monkeypatch.setattr("hub.source.MAX_SAMPLES_BYTES", 100)
    loopback.requests.clear()
    with pytest.raises(CheckpointError, match="alice/day-night@epoch-0003: its samples have 0 MB, too much to show"):
        source.samples(3)
    assert loopback.count("/samples/") == 0


def test_samples_without_the_hub(loopback, published, source, monkeypatch):
    monkeypatch.setattr("hub.client.WAIT_S", 0.01)
    source.load(3)
    source.samples(2)
    source.load(2)
    loopback.fail("paths-info|samples", 503, times=1000)
    with pytest.raises(CheckpointError) as caught:
        source.samples(3)
    assert str(caught.value) == (
        "the samples of alice/day-night@epoch-0003 could not be loaded: the Hub is out of order (503); try again later"
    )
    assert len(source.samples(2)) == 2
    loopback.close()
    offline = HubSource(NAME, endpoint=loopback.url)
    assert (len(offline.samples(2)), offline.samples(3)) == (2, [])


# --- visitors: no folder, no token ----------------------------------------------------------------------------


@pytest.fixture
def named_by_a_visitor(loopback, cache, online):
    """Open what a visitor names, as the app does."""

    def named(spec):
        source = open_source(spec, for_visitors=True)
        source.repository._api.endpoint = loopback.url  # The client has read HF_ENDPOINT as it was imported.
        return source

    return named


def assert_hidden(source):
    for ask in (source.list, source.load, lambda: source.samples(3)):
        source.refresh()
        with pytest.raises(CheckpointError, match="alice/day-night is not on the Hub, or private; check the name"):
            ask()
    source.refresh()
    assert source.examples() == []


def test_visitors_open_public_ones_and_send_no_token(loopback, published, named_by_a_visitor):
    loopback.signed.clear()
    visitors = named_by_a_visitor(NAME)
    assert [info.epoch for info in visitors.list()] == [3, 2, 1]
    assert visitors.load(3).info.epoch == 3 and len(visitors.samples(3)) == len(visitors.examples()) == 2
    assert loopback.signed == []
    assert named_by_a_visitor(f"{NAME}@{published[1].tags['epoch-0002']}").load().info.epoch == 2
    loopback.close()
    with pytest.raises(CheckpointError, match="can't be reached"):
        named_by_a_visitor(NAME).list()


def test_visitors_see_nothing_of_a_private_one_that_the_server_has(loopback, published, source, named_by_a_visitor):
    repo = published[1]
    repo.private = True
    for epoch in (3, 2, 1):  # All of it is in the server's cache, under its own token.
        source.load(epoch)
        source.samples(epoch)
    source.examples()
    loopback.signed.clear()
    for revision in ("", "@epoch-0003", "@main", f"@{repo.tags['epoch-0003']}"):
        assert_hidden(named_by_a_visitor(NAME + revision))
    assert loopback.signed == []
    with pytest.raises(CheckpointError) as missing:
        named_by_a_visitor("alice/none").list()
    assert str(missing.value) == "alice/none is not on the Hub, or private; check the name"  # In the same words.
    assert len(source.list()) == 3


def test_visitors_see_nothing_of_what_has_become_private(loopback, published, named_by_a_visitor):
    repo = published[1]
    visitors = named_by_a_visitor(NAME)
    visitors.load(3)
    visitors.samples(3)
    repo.private = True
    assert_hidden(visitors)
    assert_hidden(named_by_a_visitor(f"{NAME}@{repo.tags['epoch-0003']}"))


def test_visitors_download_nothing_that_the_server_was_given_leave_for(
    loopback, published, source, named_by_a_visitor
):
    published[1].gated = True
    source.load(3)
    source.samples(3)
    source.examples()
    for revision in ("", f"@{published[1].tags['epoch-0003']}"):
        assert_hidden(named_by_a_visitor(NAME + revision))


def test_visitors_open_weights_up_to_a_bound(loopback, published, cache, online):
    files = published[1].resolve("epoch-0003")["files"]
    size = sum(len(content) for name, content in files.items() if name.startswith("gen_"))
    for most, opens in ((size, True), (size - 1, False)):
        source = opener(own=False, most_bytes=most)
        assert source.keywords == {"for_visitors": True, "most_bytes": most}
        found = HubSource(NAME, token=False, endpoint=loopback.url, most_bytes=most)
        if opens:
            found.load(3)
            shutil.rmtree(found.repository.cache)
        else:
            with pytest.raises(CheckpointError, match="alice/day-night.* MB of weights, and this app opens up to"):
                found.load(3)
    assert opener(own=False, most_bytes=0) is None and opener(own=True, most_bytes=0) is open_begun


def test_the_cache_of_visitors_repositories_is_trimmed(tmp_path):
    """The repositories that were used longest ago go; the one that was just opened stays, whatever its size."""
    for number, name in enumerate(("old", "newer", "newest")):
        snapshot = tmp_path / f"models--alice--{name}" / "snapshots" / ("a" * 39 + str(number))
        blob = tmp_path / f"models--alice--{name}" / "blobs" / "b"
        for folder in (snapshot, blob.parent):
            folder.mkdir(parents=True)
        blob.write_bytes(b"x" * 1000)
        os.utime(blob, (1e9 + number, 1e9 + number))
        (snapshot / "gen_ab.safetensors").symlink_to(blob)
    assert downloads.trim(tmp_path, 3000, keep="alice/newest") == []
    assert downloads.trim(tmp_path, 2000, keep="alice/old") == ["alice/newer"]
    assert downloads.trim(tmp_path, 1, keep="alice/old") == ["alice/newest"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("models")] == ["models--alice--old"]
    assert downloads.trim(tmp_path / "nowhere", 1, keep="") == []


def test_visitors_name_no_folders(loopback, online, cache, make_run, tmp_path, monkeypatch):
    run = make_run(1)
    monkeypatch.chdir(tmp_path)
    said = []
    for spec in (str(run), str(tmp_path / "none"), "run", "none", ".", "run/epoch-0001/samples", "../x"):
        with pytest.raises(CheckpointError) as caught:
            open_source(spec, for_visitors=True)
        said.append(str(caught.value).replace(repr(spec), "X"))
    assert len(set(said)) == 1  # Whether it is there makes no difference.
    assert isinstance(open_source("run/epoch-0001"), LocalSource)
    assert isinstance(open_source("run/epoch-0001", for_visitors=True), HubSource)


# --- what others may have put there -------------------------------------------------------------------------


def put(repo, **changes):
    """Change files of the newest epoch, under a new commit and tag epoch-0004."""
    files = {**repo.head["files"], **{name.replace("__", "."): content for name, content in changes.items()}}
    record = json.loads(files["checkpoint.json"])
    files["checkpoint.json"] = json.dumps({**record, "epoch": 4}).encode() if files["checkpoint.json"] else b""
    repo.tags["epoch-0004"] = repo.commit("Epoch 4", {name: content for name, content in files.items() if content})


def edited(content, **changes):
    return json.dumps({**json.loads(content), **changes}).encode()


def refused(source, epoch=4):
    with pytest.raises(CheckpointError) as caught:
        source.load(epoch)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    return str(caught.value)


def test_a_newer_format_is_said_and_the_others_still_open(loopback, published, source):
    put(published[1], config__json=edited(published[1].head["files"]["config.json"], format_version=99))
    assert [info.epoch for info in source.list()] == [3, 2, 1]
    assert [str(said) for said in source.problems] == [
        "alice/day-night@epoch-0004 was written by a newer version of this program (format 99, this one reads up to "
        "3); update the program"
    ]
    assert source.load().info.epoch == 3


def test_weights_that_do_not_fit(loopback, published, source):
    other = save({"x": torch.zeros(3)})
    put(published[1], gen_ab__safetensors=other)
    loopback.lfs.clear()
    assert "alice/day-night@epoch-0004/gen_ab.safetensors does not fit its config.json" in refused(source)
    assert source.load(3).info.epoch == 3


def test_an_oversized_file_is_not_downloaded(loopback, published, source):
    put(published[1], gen_ab__safetensors=b"x" * 3_000_000)
    source.list()
    loopback.requests.clear()
    assert "gen_ab.safetensors has 3 MB where its config.json describes" in refused(source)
    assert loopback.count("GET .*safetensors") == 0


def test_an_oversized_json_is_not_downloaded(loopback, published, source):
    put(published[1], config__json=b" " * 11_000_000)
    assert [info.epoch for info in source.list()] == [3, 2, 1]
    assert "config.json is too large to be a checkpoint's" in str(source.problems[0])


def test_a_truncated_download_is_no_checkpoint(loopback, published, source, monkeypatch):
    monkeypatch.setattr("hub.client.WAIT_S", 0.01)
    source.list()
    loopback.fail("GET .*gen_ab.safetensors", truncate=True, times=1000)
    assert "alice/day-night@epoch-0003 could not be loaded" in refused(source, 3)
    loopback.faults.clear()
    assert source.load(3).info.epoch == 3


def test_a_damaged_cache_is_downloaded_again(loopback, published, source, cache):
    source.load(3)
    (path,) = cache.glob("*/snapshots/*/gen_ab.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.resolve().write_bytes(content)
    assert_equal_weights(weights(source.load(3)), weights(LocalSource(published[0]).load(3)))
    path.resolve().write_bytes(content)
    loopback.close()
    offline = HubSource(NAME, endpoint=loopback.url)
    assert "alice/day-night@epoch-0003/gen_ab.safetensors is damaged" in refused(offline, 3)


def test_a_damaged_json_in_the_cache_is_downloaded_again(loopback, published, source, cache):
    source.load(3)
    for name in ("config.json", "checkpoint.json"):
        for path in cache.glob(f"*/snapshots/*/{name}"):
            path.resolve().write_bytes(b"{")
        assert source.load(3).info.epoch == 3
    (path,) = cache.glob("*/snapshots/*/checkpoint.json")
    path.resolve().write_bytes(b"[]")
    assert HubSource(f"{NAME}@epoch-0003", endpoint=loopback.url).list()[0].epoch == 3


def test_a_json_that_was_published_damaged(loopback, published, source):
    put(published[1], config__json=b"[1]")
    for _ in range(2):
        source.refresh()
        loopback.requests.clear()
        assert [info.epoch for info in source.list()] == [3, 2, 1]
        (said,) = source.problems
        assert str(said).startswith("alice/day-night@epoch-0004/config.json is damaged")
    sha = published[1].tags["epoch-0004"]
    assert loopback.count(f"GET .*/{sha}/config.json") == 0  # Not at every look.
    with pytest.raises(CheckpointError) as caught:
        HubSource(f"{NAME}@{sha}", endpoint=loopback.url).list()
    assert str(caught.value).startswith(f"{NAME}@{sha}/config.json is damaged")


def test_what_was_published_damaged_is_downloaded_once(loopback, published, source):
    content = bytearray(published[1].head["files"]["gen_ab.safetensors"])
    content[-1] ^= 1
    put(published[1], gen_ab__safetensors=bytes(content))
    for asked in (1, 0, 0):
        loopback.requests.clear()
        assert "epoch-0004/gen_ab.safetensors is damaged: its checksum" in refused(source)
        assert loopback.count("GET .*/resolve/.*gen_ab.safetensors") == asked


def test_weights_of_any_configuration_have_a_limit(loopback, published, source, monkeypatch):
    source.list()
    monkeypatch.setattr("hub.downloads.MAX_PICKLE_BYTES", 10_000)
    assert "too much for a generator" in refused(source, 3)


def test_settings_nested_too_deeply(loopback, published, source):
    from cyclegan.checkpoints.format import make_info

    config, record = (json.loads(published[1].head["files"][name]) for name in ("config.json", "checkpoint.json"))
    for _ in range(100_000):
        config["train"] = [config["train"]]
    with pytest.raises(CheckpointError, match="x is damaged: its JSON is nested too deeply"):
        make_info(config, record, files=["gen_ab.safetensors"], where="x")


def test_only_the_programs_own_tags_and_titles_are_epochs(loopback, published, source):
    from hub.layout import tagged_epochs, untagged_epochs

    repo, refs = published[1], source.repository.refs()
    for tag in ("epoch-00001", "epoch-٠٠٠٩", "epoch-0000", "epoch-" + "9" * 5000, "epoch-1", "0007"):
        refs.tags[tag] = repo.tags["epoch-0001"]
    assert sorted(tagged_epochs(refs)) == [1, 2, 3]
    for title in ("Epoch 01", "Epoch ٢", "Epoch " + "9" * 5000, "2", "Epoch 1\n"):
        repo.commit(title, repo.head["files"])
    bare = dataclasses.replace(source.repository.refs(), tags={})
    assert sorted(untagged_epochs(source.repository, bare)) == [1, 2, 3]
    loopback.requests.clear()
    assert untagged_epochs(source.repository, bare, 2) == {2: repo.tags["epoch-0002"]}
    assert loopback.count("GET .*checkpoint.json") == 1


def test_many_titles_of_epochs_cost_few_requests(loopback, published, source, monkeypatch):
    from hub.layout import untagged_epochs

    monkeypatch.setattr("hub.layout.MAX_CANDIDATES", 4)
    for number in range(9):
        published[1].commit(f"Epoch {number + 10}", {"x": b"x"})
    looked = []
    monkeypatch.setattr(source.repository, "json", lambda sha, name: looked.append(sha))
    assert untagged_epochs(source.repository, source.repository.refs()) == {} and len(looked) == 4


def test_a_truncated_file_that_was_published_so(loopback, published, source):
    content = published[1].head["files"]["gen_ab.safetensors"]
    put(published[1], gen_ab__safetensors=content[: len(content) // 2])
    assert "alice/day-night@epoch-0004/gen_ab.safetensors is damaged" in refused(source)


def test_a_repository_of_pickles_is_refused_with_the_way_to_import(loopback, online, cache):
    repo = make_repo(loopback, {"latest_net_G_A.pth": b"\x80pickle", "README.md": b"hi"})
    with pytest.raises(CheckpointError) as caught:
        HubSource("alice/foreign", endpoint=loopback.url).list()
    assert "pickles such as latest_net_G_A.pth, which are never loaded" in str(caught.value)
    assert "python -m cyclegan import --from hub:alice/foreign:latest_net_G_A.pth" in str(caught.value)
    repo.commit("empty", {})
    with pytest.raises(CheckpointError, match="holds no checkpoint of this program"):
        HubSource("alice/foreign", endpoint=loopback.url).list()
    with pytest.raises(CheckpointError, match="alice/none is not on the Hub, or hidden"):
        HubSource("alice/none", endpoint=loopback.url).list()


def test_a_repository_that_a_run_has_only_made_is_awaited(loopback, online, cache, make_run, monkeypatch):
    publisher = Publisher(make_run(1), NAME, endpoint=loopback.url)
    publisher.check_repository()
    source = HubSource(NAME, endpoint=loopback.url, awaited=True)
    assert source.list() == [] and source.problems == [] and source.examples() == [] and source.watch().epochs == ""
    assert source.has_begun and source.progress() is None
    with pytest.raises(CheckpointError, match="has no epoch yet"):
        source.load()
    with pytest.raises(CheckpointError, match="holds no checkpoint of this program"):
        HubSource(NAME, endpoint=loopback.url).list()
    publisher.publish(1)
    asked = loopback.count("GET")
    assert source.watch().epochs == "" and loopback.count("GET") == asked  # It was asked a moment ago.
    for name in ("WATCHED_S", "FRESH_S"):
        monkeypatch.setattr(f"hub.source.{name}", -1)
    assert source.watch().epochs and [info.epoch for info in source.list()] == [1]
    make_repo(loopback, {"model.bin": b"x", "README.md": b"hi"})
    with pytest.raises(CheckpointError, match="holds pickles"):
        HubSource("alice/foreign", endpoint=loopback.url, awaited=True).list()


def make_repo(loopback, files, name="alice/foreign"):
    from tests.hub.loopback import Repo

    repo = loopback.repos[name] = Repo()
    repo.commit("initial", files)
    return repo


def test_a_checkpoint_uploaded_by_hand_is_one_epoch(loopback, online, cache, make_run):
    run = make_run(1)
    make_repo(loopback, {path.name: path.read_bytes() for path in (run / "epoch-0001").glob("*.*")})
    source = HubSource("alice/foreign", endpoint=loopback.url)
    assert [info.epoch for info in source.list()] == [1] and source.load(1).info.epoch == 1


def test_titles_of_other_programs_are_no_epochs(loopback, published, source):
    repo = published[1]
    repo.commit("Epoch 7", {"model.bin": b"x"})
    repo.commit("Epoch 8", repo.resolve("epoch-0003")["files"])  # Says itself that it is epoch 3.
    assert [info.epoch for info in source.list()] == [3, 2, 1]


def test_public_ones_need_no_token(loopback, published, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert len(HubSource(NAME, endpoint=loopback.url).list()) == 3
    published[1].private = True
    with pytest.raises(CheckpointError, match="not on the Hub, or hidden from the token"):
        HubSource(NAME, endpoint=loopback.url).list()


# --- from the shell -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_import_of_a_reference_file_of_the_hub(loopback, hub_env, run_script, tmp_path):
    from cyclegan.config import ModelConfig
    from cyclegan.networks import build_generator
    from tests.commands.test_commands import reference_state

    network = build_generator(ModelConfig(generator="resnet_6", ngf=4))
    torch.save(reference_state(network, 6), tmp_path / "latest_net_G_A.pth")
    content = (tmp_path / "latest_net_G_A.pth").read_bytes()
    make_repo(loopback, {"weights/latest_net_G_A.pth": content})
    done = run_script("-m", "cyclegan", "import", "--from", "hub:alice/foreign:weights/latest_net_G_A.pth",
                      "--output", tmp_path / "imported", env=hub_env)  # fmt: skip
    assert "A → B: written to" in done.stdout
    assert list(LocalSource(tmp_path / "imported").load(1).generators) == ["ab"]
    record = json.loads((tmp_path / "imported" / "epoch-0001" / "checkpoint.json").read_text())
    assert record["imported_from"] == "alice/foreign"
    for spec, sentence in (
        ("hub:alice/foreign:nothing.pth", "alice/foreign has no file nothing.pth"),
        ("hub:alice/none:x.pth", "alice/none is not on the Hub"),
        ("hub:alice/foreign", "doesn't name a file: use hub:USER/NAME:FILE"),
        ("hub:alice/foreign:../x", "doesn't name a file"),
    ):
        done = run_script("-m", "cyclegan", "import", "--from", spec, "--output", tmp_path / "x", env=hub_env, ok=False)
        assert done.returncode == 1 and sentence in done.stderr and done.stderr.count("\n") == 1


def test_translate_from_the_shell(loopback, published, hub_env, run_script, tmp_path):
    from tests.ui.conftest import picture

    picture(40, 36).save(tmp_path / "in.png")
    done = run_script("-m", "cyclegan", "translate", "--checkpoints", f"{NAME}@epoch-0002", "--direction", "ab",
                      "--input", tmp_path / "in.png", "--output", tmp_path / "out.png", env=hub_env)  # fmt: skip
    assert "translated with epoch 2" in done.stdout and (tmp_path / "out.png").is_file()


def test_list_and_tag_from_the_shell(loopback, published, hub_env, run_script, tmp_path):
    run, repo = published
    done = run_script("-m", "hub", "list", run, env=hub_env)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["epoch", "epoch-0003", "epoch-0002", "epoch-0001"]
    sha = repo.tags.pop("epoch-0001")
    done = run_script("-m", "hub", "list", NAME, env=hub_env)
    assert "3 epochs, 2 tags, 3 epoch commits" in done.stdout
    done = run_script("-m", "hub", "tag", NAME, env=hub_env)
    assert done.stdout == f"epoch-0001 had no tag: set on commit {sha[:10]}\n" and repo.tags["epoch-0001"] == sha
    done = run_script("-m", "hub", "tag", NAME, env=hub_env)
    assert done.stdout.startswith("nothing to do")
    done = run_script("-m", "hub", "list", "alice/none", env=hub_env, ok=False)
    assert done.returncode == 1 and "; alice/none is not on the Hub" in done.stderr


def test_single_files_have_a_limit(loopback, online, cache, monkeypatch):
    monkeypatch.setattr("hub.source.MAX_PICKLE_BYTES", 10)
    make_repo(loopback, {"big.pth": b"x" * 11})
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", loopback.url)
    with pytest.raises(HubError, match="too much for a generator"):
        fetch_file("alice/foreign:big.pth")
    assert not Path(str(cache)).exists()
    shutil.rmtree(cache, ignore_errors=True)


def test_discriminators_are_published_in_files_of_their_own_and_come_only_when_asked_for(loopback, source, published):
    run, repo = published
    assert source.discriminators(3) == {}
    folder, weight = run / "epoch-0003", torch.rand(2, 3, 4, 4)
    content, record = save({"layers.0.weight": weight}), json.loads((folder / "checkpoint.json").read_text())
    (folder / "disc_a.safetensors").write_bytes(content)
    record["sha256"]["disc_a.safetensors"] = hashlib.sha256(content).hexdigest()
    record["epoch"] = 4
    (folder / "checkpoint.json").write_text(json.dumps(record))
    folder.rename(run / "epoch-0004")
    Publisher(run, NAME, endpoint=loopback.url).publish(4)
    source.refresh()
    loopback.requests.clear()
    assert source.load(4).generators.keys() == {"ab", "ba"}
    assert not any("disc_a" in str(request) for request in loopback.requests)
    for _ in range(2):  # Downloaded, then cached.
        found = source.discriminators(4)
        assert source.discriminators(4, ["disc_b"]) == {}
        assert found.keys() == {"disc_a"} and torch.equal(found["disc_a"]["layers.0.weight"], weight)
