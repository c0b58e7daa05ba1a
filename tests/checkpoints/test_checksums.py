"""Checkpoints that translate differently never share a commit_sha, whatever their checkpoint.json claims."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from cyclegan.checkpoints import checksums
from cyclegan.checkpoints.format import load_checkpoint, read_info
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import CheckpointError
from cyclegan.translation.cache import TranslatorCache

A_SUM = "0123456789abcdef" * 4


def record(folder, recorded):
    """Put `recorded` into checkpoint.json in place of the checksums; None takes them out."""
    path = folder / "checkpoint.json"
    values = json.loads(path.read_text())
    values["sha256"] = recorded
    if recorded is None:
        del values["sha256"]
    path.write_text(json.dumps(values))


def change(folder, name="gen_ab"):
    """Write other weights into the same file, with the same size."""
    path = folder / f"{name}.safetensors"
    content = bytearray(path.read_bytes())
    content[-400:] = bytes(400)
    path.write_bytes(content)


def pixels(translator, direction="ab"):
    return translator.checkpoint.generators[direction](torch.full((1, 3, 32, 32), 0.3))


@pytest.mark.parametrize("recorded", [
    None, {}, [], 5, "x", {"gen_ab.safetensors": "x"}, {"gen_ab.safetensors": None, "gen_ba.safetensors": None},
    {"gen_ab.safetensors": ["x"]}, {"disc_a.safetensors": A_SUM}, {"gen_ab.safetensors": A_SUM.upper()},
    {"gen_ab.safetensors": A_SUM + "\n"},
], ids=str)  # fmt: skip
def test_runs_without_recorded_checksums_are_told_apart(tmp_path, make_checkpoint, recorded):
    folders = [make_checkpoint(tmp_path / name, 1, seed=seed) for name, seed in (("x", 0), ("y", 1), ("same", 0))]
    for folder in folders:
        record(folder, recorded)
    shas = [read_info(folder).commit_sha for folder in folders]
    assert shas[0] == shas[2] != shas[1]


@pytest.mark.parametrize("changed", ["gen_ab", "gen_ba"])
def test_one_missing_checksum_of_two_is_enough(tmp_path, make_checkpoint, changed):
    one, other = (make_checkpoint(tmp_path / name, 1) for name in "xy")
    kept = {"gen_ab", "gen_ba"} - {changed}
    sums = json.loads((one / "checkpoint.json").read_text())["sha256"]
    for folder in (one, other):
        record(folder, {f"{name}.safetensors": sums[f"{name}.safetensors"] for name in kept})
    change(other, changed)
    assert read_info(one).commit_sha != read_info(other).commit_sha


def test_each_run_gets_its_own_pictures_from_the_cache(tmp_path, make_checkpoint):
    cache = TranslatorCache(device="cpu")
    sources = []
    for name, seed in (("x", 0), ("y", 1)):
        record(make_checkpoint(tmp_path / name, 1, seed=seed), None)
        sources.append(LocalSource(tmp_path / name))
    one, other = (cache.get(source, 1) for source in sources)
    assert cache.get(sources[0], 1) is one and cache.get(sources[1], 1) is other
    assert not torch.equal(pixels(one), pixels(other))


@pytest.mark.parametrize("listed_first", ["true", "false"])
def test_a_run_with_the_checksums_of_another_is_damaged_even_after_that_was_loaded(
    tmp_path, make_checkpoint, listed_first
):
    # Weights of no other test, because checksums are remembered.
    seed = {"true": 50, "false": 60}[listed_first]
    true, false = (make_checkpoint(tmp_path / name, 1, seed=seed + n) for n, name in enumerate(("true", "false")))
    record(false, json.loads((true / "checkpoint.json").read_text())["sha256"])
    cache, sources = TranslatorCache(device="cpu"), {name: LocalSource(tmp_path / name) for name in ("true", "false")}
    sha = sources[listed_first].list()[0].commit_sha
    kept = cache.get(sources["true"], 1)
    with pytest.raises(CheckpointError, match=r"epoch-0001/gen_ab.safetensors is damaged: its checksum"):
        cache.get(sources["false"], 1)
    assert cache.get(sources["true"], 1) is kept
    assert sha == sources["true"].list()[0].commit_sha != sources["false"].list()[0].commit_sha


@pytest.mark.parametrize("is_recorded", [False, True])
def test_weights_that_change_in_their_place_are_loaded_again(tmp_path, make_checkpoint, is_recorded):
    folder = make_checkpoint(tmp_path / "run", 1)
    if not is_recorded:
        record(folder, None)
    cache, source = TranslatorCache(device="cpu"), LocalSource(tmp_path / "run")
    before = cache.get(source, 1)
    weights = {key: value * 2 for key, value in load_file(folder / "gen_ab.safetensors").items()}
    save_file(weights, folder / "gen_ab.safetensors")
    if is_recorded:
        with pytest.raises(CheckpointError, match="its checksum is not the recorded one"):
            cache.get(source, 1)
    else:
        assert not torch.equal(pixels(cache.get(source, 1)), pixels(before))


def test_a_direction_less_is_another_checkpoint(tmp_path, make_checkpoint):
    whole, part = (make_checkpoint(tmp_path / name, 1) for name in ("whole", "part"))
    (part / "gen_ba.safetensors").unlink()
    cache = TranslatorCache(device="cpu")
    assert cache.get(LocalSource(tmp_path / "part"), 1).checkpoint.generators.keys() == {"ab"}
    assert cache.get(LocalSource(tmp_path / "whole"), 1).checkpoint.generators.keys() == {"ab", "ba"}
    assert read_info(whole).commit_sha != read_info(part).commit_sha


def test_a_list_reads_weights_only_where_it_must_and_once(tmp_path, make_checkpoint, monkeypatch):
    read = []
    true = checksums.sha256
    monkeypatch.setattr(checksums, "sha256", lambda path: read.append(path.parent.name) or true(path))
    for epoch in (1, 2, 3):
        make_checkpoint(tmp_path / "run", epoch, seed=100)
    record(tmp_path / "run" / "epoch-0002", None)
    source = LocalSource(tmp_path / "run")
    for _ in range(3):
        assert [info.epoch for info in source.list()] == [3, 2, 1]
    assert read == ["epoch-0002"] * 2
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    assert [i.commit_sha for i in LocalSource(tmp_path / "copy").list()] == [i.commit_sha for i in source.list()]


def test_a_file_that_can_not_fit_is_not_read(tmp_path, make_checkpoint, monkeypatch):
    monkeypatch.setattr(checksums, "sha256", lambda path: pytest.fail("it is read"))
    folder = make_checkpoint(tmp_path, 1)
    record(folder, {})
    with open(folder / "gen_ab.safetensors", "ab") as file:
        file.truncate(2**40)
    said = r"epoch-0001/gen_ab.safetensors does not fit its config.json: it has 1099512 MB, .* at most \d+ MB; get it"
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(folder)
    source = LocalSource(tmp_path)
    assert source.list() == [] and len(source.problems) == 1
