"""The checkpoint format: whole or not there, readable by what is in it, refused in one sentence otherwise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cyclegan.checkpoints.format import (
    CheckpointConfig,
    explained_writes,
    load_checkpoint,
    load_discriminators,
    read_info,
)
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.checkpoints.training_state import (
    list_training_states,
    load_training_state,
    prune_training_states,
    save_training_state,
    state_folder,
)
from cyclegan.config import GENERATORS, DataConfig, ModelConfig, RunConfig, TrainConfig
from cyclegan.errors import CheckpointError
from cyclegan.files import remove_leftovers, whole_folder
from cyclegan.networks import build_generator

ROOT = Path(__file__).parents[2]


def edit(path, **changes):
    values = json.loads(path.read_text())
    values.update(changes)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize("half", [False, True])
def test_weights_and_json_are_enough_to_rebuild(tmp_path, make_checkpoint, half):
    folder = make_checkpoint(tmp_path, 3, half=half)
    checkpoint = load_checkpoint(folder)
    assert checkpoint.info.epoch == 3 and checkpoint.info.tag == "epoch-0003"
    assert checkpoint.config.data.domain_b == "night" and checkpoint.info.losses["cycle_a"] == pytest.approx(1 / 3)
    for direction, name in (("ab", "gen_ab"), ("ba", "gen_ba")):
        generator = checkpoint.generators[direction]
        assert not generator.training and all(p.dtype == torch.float32 for p in generator.parameters())
        for key, value in load_file(folder / f"{name}.safetensors").items():
            assert value.dtype == (torch.float16 if half else torch.float32)
            assert torch.equal(generator.state_dict()[key], value.float())
        assert generator(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_a_source_lists_the_newest_first_and_names_what_it_left_out(tmp_path, make_checkpoint):
    for epoch in (1, 2, 10):
        make_checkpoint(tmp_path, epoch)
    (tmp_path / "epoch-0002" / "config.json").write_text("{")
    (tmp_path / ".epoch-0011.abc.part").mkdir()
    (tmp_path / "epoch-0012").mkdir()
    source = LocalSource(tmp_path)
    assert [info.epoch for info in source.list()] == [10, 1]
    assert len(source.problems) == 2 and any("epoch-0002" in str(problem) for problem in source.problems)
    assert source.load().info.epoch == 10 and source.load(1).info.epoch == 1
    with pytest.raises(CheckpointError, match="has no epoch 7"):
        source.load(7)
    single = LocalSource(tmp_path / "epoch-0010")
    assert [info.epoch for info in single.list()] == [10] and single.load(10).info.epoch == 10


def test_samples_are_those_of_the_epoch_by_direction(tmp_path, make_checkpoint):
    for epoch in (1, 2):
        folder = make_checkpoint(tmp_path, epoch) / "samples"
        folder.mkdir()
        for name in ("ba.png", "ab.png", "other.png") if epoch == 1 else ("ba.png",):
            (folder / name).write_bytes(b"x")
    source = LocalSource(tmp_path)
    wanted = [tmp_path / "epoch-0001" / "samples" / name for name in ("ab.png", "ba.png")]
    assert source.samples(1) == wanted and len(source.samples(2)) == 1
    assert LocalSource(tmp_path / "epoch-0001").samples(1) == wanted
    make_checkpoint(tmp_path, 3)
    assert source.samples(3) == [] and source.url is None
    with pytest.raises(CheckpointError, match="has no epoch 7"):
        source.samples(7)


def test_the_sha_pins_the_content(tmp_path, make_checkpoint):
    one, same, other = (make_checkpoint(tmp_path / name, 1, seed=seed) for name, seed in (("x", 0), ("y", 0), ("z", 1)))
    shas = [read_info(folder).commit_sha for folder in (one, same, other)]
    assert shas[0] == shas[1] != shas[2] and all(len(sha) == 40 for sha in shas)


def test_one_direction_is_enough(tmp_path, make_checkpoint):
    folder = make_checkpoint(tmp_path, 1, directions=("ba",))
    assert read_info(folder).directions == ("ba",)
    assert set(load_checkpoint(folder).generators) == {"ba"}
    with pytest.raises(CheckpointError, match="B → A only, not A → B"):
        load_checkpoint(folder, ("ab",))


def damage_newer(folder):
    edit(folder / "config.json", format_version=99)


def damage_unknown(folder):
    (folder / "config.json").write_text('{"a": 1}')


def damage_list(folder):
    (folder / "checkpoint.json").write_text("[]")


def damage_deep(folder):
    (folder / "checkpoint.json").write_text("[" * 100_000)


def damage_big(folder):
    (folder / "config.json").write_text(" " * 11_000_000)


def damage_gone(folder):
    (folder / "checkpoint.json").unlink()


def damage_truncated(folder):
    path = folder / "gen_ab.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def damage_bits(folder):
    path = folder / "gen_ab.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def damage_fit(folder):
    values = json.loads((folder / "config.json").read_text())
    values["model"]["ngf"] = 8
    (folder / "config.json").write_text(json.dumps(values))


def damage_keys(folder):
    save_file({"x": torch.zeros(1)}, folder / "gen_ab.safetensors")
    edit(folder / "checkpoint.json", sha256={})


def damage_setting(folder):
    values = json.loads((folder / "config.json").read_text())
    values["model"]["generator"] = "resnet_7"
    (folder / "config.json").write_text(json.dumps(values))


def damage_pickle(folder):
    for name in ("gen_ab", "gen_ba"):
        (folder / f"{name}.safetensors").rename(folder / f"{name}.pth")


def damage_huge_number(folder):
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"leaky_slope": 0.2', '"leaky_slope": 1' + "0" * 400))


def damage_epoch(folder):
    edit(folder / "checkpoint.json", epoch=-5)


def damage_dtype(folder):
    path = folder / "gen_ab.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"F4" '))


def damage_fifo(folder):
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


def damage_sparse(folder):
    """A header that promises, and a file that has, far more than the network takes."""
    header = b'{"x":{"dtype":"F32","shape":[500000000],"data_offsets":[0,2000000000]}}'
    with open(folder / "gen_ab.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 2_000_000_000)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_huge_number, "too large"), (damage_epoch, "names no epoch"), (damage_dtype, "damaged"),
        (damage_fifo, "not a regular file"), (damage_sparse, "does not fit"),
        (damage_newer, "newer version"), (damage_unknown, "no format_version"), (damage_list, "JSON object"),
        (damage_deep, "can't be read"), (damage_big, "too large"), (damage_gone, "no checkpoint.json"),
        (damage_truncated, "damaged"), (damage_bits, "checksum"), (damage_fit, "does not fit"),
        (damage_keys, "does not fit"), (damage_setting, "resnet_7"), (damage_pickle, "pickle"),
    ],
)  # fmt: skip
def test_damage_is_one_sentence(tmp_path, make_checkpoint, damage, says):
    folder = make_checkpoint(tmp_path, 1)
    damage(folder)
    with pytest.raises(CheckpointError, match=says) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert str(tmp_path) not in str(caught.value)


def with_weights(folder, change, name="gen_ab"):
    """Change a file's tensors as someone would who publishes them: its checksum fits."""
    path = folder / f"{name}.safetensors"
    save_file({key: change(key, value).contiguous() for key, value in load_file(path).items()}, path)
    edit(folder / "checkpoint.json", sha256={})


def only(wanted, change):
    return lambda key, value: change(value.clone()) if key == wanted else value


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool, torch.complex64])
def test_weights_of_another_type_are_refused_by_name(tmp_path, make_checkpoint, dtype):
    folder = make_checkpoint(tmp_path, 1)
    with_weights(folder, only("head.bias", lambda value: value.to(dtype)))
    with pytest.raises(CheckpointError, match="gen_ab.safetensors: head.bias .* is not floating-point") as caught:
        load_checkpoint(folder)
    assert str(dtype).removeprefix("torch.") in str(caught.value)
    assert load_checkpoint(folder, ("ba",)).generators
    with_weights(folder, lambda key, value: value.to(dtype))
    with pytest.raises(CheckpointError, match="is not floating-point"):
        LocalSource(tmp_path).load()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, make_checkpoint, value, dtype):
    folder = make_checkpoint(tmp_path, 1)
    change = only("blocks.3.conv1.weight", lambda old: old.to(dtype).index_fill_(0, torch.tensor(2), value))
    with_weights(folder, change)
    with pytest.raises(CheckpointError, match="gen_ab.safetensors: blocks.3.conv1.weight holds values .*not finite"):
        load_checkpoint(folder)
    (folder / "gen_ab.safetensors").rename(folder / "disc_a.safetensors")
    with pytest.raises(CheckpointError, match="disc_a.safetensors: blocks.3.conv1.weight"):
        load_discriminators(folder)
    folder = make_checkpoint(tmp_path, 1)
    both = {"head.bias": float("inf"), "stem.conv.bias": -float("inf")}
    with_weights(folder, lambda key, old: old.fill_(both[key]) if key in both else old)
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(folder)


def test_weights_that_only_add_up_to_infinity_are_loaded(tmp_path, make_checkpoint):
    folder = make_checkpoint(tmp_path, 1)
    with_weights(folder, only("stem.conv.weight", lambda value: value.fill_(3e38)))
    assert load_checkpoint(folder).generators["ab"].state_dict()["stem.conv.weight"].max() > 2e38


def test_no_network_has_numbers_of_another_type():
    with torch.device("meta"):
        for generator in GENERATORS:
            state = build_generator(ModelConfig(generator=generator, ngf=4, picture_size=32)).state_dict()
            assert all(value.is_floating_point() for value in state.values()), generator


def test_a_pipe_in_place_of_a_discriminator_is_never_opened(tmp_path, make_checkpoint):
    folder = make_checkpoint(tmp_path, 1)
    os.mkfifo(folder / "disc_a.safetensors")
    edit(folder / "checkpoint.json", sha256={"disc_a.safetensors": "0" * 64})
    assert load_discriminators(folder) == {}
    (folder / "gen_ab.safetensors").unlink()
    os.mkfifo(folder / "gen_ab.safetensors")
    assert load_checkpoint(folder).generators.keys() == {"ba"}


def test_texts_of_a_checkpoint_cannot_write_to_the_terminal(tmp_path, make_checkpoint):
    folder, hostile = make_checkpoint(tmp_path, 1), "\x1b[2J\nerror: all good" + "x" * 10_000
    edit(folder / "checkpoint.json", created=hostile)
    values = json.loads((folder / "config.json").read_text())
    values["data"] |= {"domain_a": hostile, "domain_b": hostile}
    edit(folder / "config.json", data=values["data"], method=hostile)
    info = read_info(folder)
    for text in (info.created, info.config.method, info.config.data.domain_a, info.config.data.domain_b):
        assert text.isprintable() and len(text) < 100
    edit(folder / "config.json", model={**values["model"], "generator": hostile, hostile: 1})
    with pytest.raises(CheckpointError) as caught:
        read_info(folder)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 2500
    edit(folder / "checkpoint.json", global_step=10**4000)
    edit(folder / "config.json", **values)
    with pytest.raises(CheckpointError, match="damaged"):
        read_info(folder)


def test_odd_records_do_no_harm(tmp_path, make_checkpoint):
    folder = make_checkpoint(tmp_path, 1)
    for odd in (["gen_ab.safetensors"], 5, "gen_ab.safetensors"):
        edit(folder / "checkpoint.json", sha256=odd, losses={"a": 10**400, "b": 0.5, "c": "x"})
        assert LocalSource(tmp_path).list()[0].losses == {"b": 0.5}
        assert load_checkpoint(folder).info.epoch == 1


def test_a_run_without_a_readable_checkpoint_says_why(tmp_path, make_checkpoint):
    folder = make_checkpoint(tmp_path, 1)
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="epoch-0001/config.json can't be read"):
        LocalSource(tmp_path).load()


def test_sources_that_are_none(tmp_path):
    for spec, says in ((tmp_path / "none", "not a folder"), (tmp_path, "holds no checkpoint")):
        with pytest.raises(CheckpointError, match=says):
            LocalSource(spec)


def test_a_published_config_names_no_folder_of_the_machine(tmp_path):
    (tmp_path / "secret" / "maps").mkdir(parents=True)
    config = TrainConfig(
        data=DataConfig(dataset=str(tmp_path / "secret" / "maps")), run=RunConfig(output_dir=str(tmp_path))
    )
    text = json.dumps(CheckpointConfig.of(config).to_json())
    assert '"maps"' in text and "secret" not in text
    assert CheckpointConfig.from_json(json.loads(text), "x").model == config.model


def test_a_process_killed_while_writing_leaves_nothing_that_is_listed(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from cyclegan.files import whole_folder\n"
        "with whole_folder(Path(sys.argv[1])) as part:\n"
        "    (part / 'x').write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "epoch-0001")], cwd=ROOT, timeout=300)
    assert [p.name.startswith(".") for p in tmp_path.iterdir()] == [True]
    with pytest.raises(CheckpointError):
        LocalSource(tmp_path)
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_a_sentence(tmp_path):
    (tmp_path / "run").write_text("")
    target = tmp_path / "run" / "epoch-0001"
    sentence = "could not be written .* Earlier epochs are intact"
    with pytest.raises(CheckpointError, match=sentence), explained_writes(target), whole_folder(target):
        pass


def test_training_states_are_listed_pruned_and_refused_when_damaged(tmp_path):
    for step in (5, 10, 20):
        with whole_folder(state_folder(tmp_path, step)) as part:
            save_training_state(
                part,
                {"shared": {"step": step, "num_processes": 1}, "process": {"pool": torch.ones(2)}},
                process_index=0,
            )
    prune_training_states(tmp_path, 2)
    assert [state.global_step for state in list_training_states(tmp_path)] == [20, 10]
    newest = list_training_states(tmp_path)[0].path
    state = load_training_state(newest, process_index=0)
    assert state["shared"]["step"] == 20 and torch.equal(state["process"]["pool"], torch.ones(2))
    assert load_training_state(newest, process_index=1)["process"] == {}
    (newest / "state.pt").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="can't be read"):
        load_training_state(newest, process_index=0)
