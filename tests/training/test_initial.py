"""Runs that start from the weights of another one."""

import dataclasses
import json
import re
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from cyclegan.checkpoints.format import discriminator_files, load_checkpoint, load_discriminators, read_info
from cyclegan.cli.flags import parse_train_config
from cyclegan.errors import CheckpointError
from cyclegan.training.initial import StartWeights, has_begun, parse_start
from cyclegan.training.run import Run
from hub import open_source
from tests.training.test_run_folder import ALONE
from tests.training.test_trainer import make
from train_accelerate import start_settings

pytestmark = pytest.mark.usefixtures("any_precision")
SCRIPT = "train_accelerate.py"


def start(folder):
    return StartWeights(str(folder), open_source)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("runs/x", ("runs/x", None)), ("runs/x@8", ("runs/x", 8)), ("ann/x@epoch-0008", ("ann/x", 8)),
        ("ann/x@main", ("ann/x@main", None)), (f"ann/x@{'a' * 40}", (f"ann/x@{'a' * 40}", None)),
    ],
)  # fmt: skip
def test_sources_and_their_epochs(text, expected, tmp_path, monkeypatch):
    assert parse_start(text) == expected
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x@8").mkdir()
    assert parse_start("x@8") == ("x@8", None)  # A folder of that name.


def test_generators_and_their_averages_start_there_and_discriminators_at_random(make_checkpoint, tmp_path):
    make_checkpoint(tmp_path / "run", 3)
    source, trainer = start(tmp_path / "run@3"), make(optim={"ema": 0.9})
    before = {name: trainer.networks[name].state_dict() for name in ("disc_a", "disc_b")}
    before = {name: {key: value.clone() for key, value in state.items()} for name, state in before.items()}
    about, fresh = map(str, source.load(trainer))
    assert "run, epoch 3" in about and "--ngf 4" in about and "disc_a, disc_b" in fresh and "--freeze_first" in fresh
    for direction, generator in load_checkpoint(tmp_path / "run" / "epoch-0003").generators.items():
        for networks in (trainer.networks, trainer.averages.networks):
            for key, value in networks[f"gen_{direction}"].state_dict().items():
                assert torch.equal(value, generator.state_dict()[key])
    assert all(torch.equal(v, trainer.networks[n].state_dict()[k]) for n, s in before.items() for k, v in s.items())


def test_one_direction_gives_its_generator_only(make_checkpoint, tmp_path):
    make_checkpoint(tmp_path / "run", directions=("ba",))
    assert "run has no weights for gen_ab, disc_a, disc_b" in str(start(tmp_path / "run").load(make())[-1])
    trainer = make()
    trainer.method.directions = ("ab",)
    with pytest.raises(CheckpointError, match="has the generators gen_ba, and --method cyclegan trains gen_ab"):
        start(tmp_path / "run").load(trainer)


def test_files_of_other_names_are_not_read(make_checkpoint, tmp_path):
    """Damaged, they would end the start: of other discriminators, or somebody's own."""
    folder = make_checkpoint(tmp_path / "run")
    for name in ("discotheque", "disc_c", "disc-a"):
        (folder / f"{name}.safetensors").write_bytes(b"bad")
    assert "run has no weights for disc_a, disc_b" in str(start(tmp_path / "run").load(make())[-1])
    (folder / "disc_a.safetensors").write_bytes(b"bad")
    with pytest.raises(CheckpointError, match="disc_a.safetensors"):
        start(tmp_path / "run").load(make())
    assert discriminator_files({"sha256": {"disc_a.safetensors": "", "disc-a.safetensors": "", "gen_ab": ""}}) == [
        "disc_a.safetensors"]  # fmt: skip


def test_other_sizes_are_refused_by_name(make_checkpoint, tmp_path):
    make_checkpoint(tmp_path / "run")
    wide = "gen_ab: stem.conv.weight is 4×3×7×7 in run, here 8×3×7×7: use --ngf 4, or --init_partial takes what fits"
    with pytest.raises(CheckpointError) as error:
        start(tmp_path / "run").load(make(model={"ngf": 8}))
    assert str(error.value) == wide
    with pytest.raises(CheckpointError, match="run has no blocks.6.conv1.weight: use --generator resnet_6, or"):
        start(tmp_path / "run").load(make(model={"generator": "resnet_9"}))
    make_checkpoint(tmp_path / "deep", generator="resnet_9")
    with pytest.raises(CheckpointError, match="deep has blocks.6.conv1.weight, which has no place here: use --gen"):
        start(tmp_path / "deep").load(make())


def test_what_fits_is_taken_and_the_rest_is_listed(make_checkpoint, tmp_path):
    make_checkpoint(tmp_path / "run")
    trainer = make(model={"generator": "resnet_9"}, init_from="run", init_partial=True)
    notes = [str(note) for note in start(tmp_path / "run").load(trainer)]
    assert "gen_ab: 36 of 48 tensors are taken; those of these layers aren't: blocks.6.conv1, blocks.6" in notes[1]
    theirs = load_file(tmp_path / "run" / "epoch-0001" / "gen_ab.safetensors")
    ours = trainer.networks["gen_ab"].state_dict()
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())


@pytest.mark.slow
def test_a_run_and_its_fine_tuning(tmp_path, tiny_flags, run_script):
    """Discriminators are kept and taken up, the networks' settings follow, and the checkpoints name their parent."""
    first, second = tmp_path / "first", tmp_path / "second"
    short = ("--epochs", 1, "--decay_epochs", 0)
    run_script(SCRIPT, *tiny_flags, *short, "--output_dir", first, "--save_discriminators")
    folder = first / "epoch-0001"
    assert load_discriminators(folder).keys() == {"disc_a", "disc_b"} and read_info(folder).directions == ("ab", "ba")
    assert "disc_a.safetensors" in json.loads((folder / "checkpoint.json").read_text())["sha256"]
    unset = [word for word in tiny_flags if word not in ("--generator", "resnet_6", "--ngf", "--ndf", "4")]
    flags = (*unset, *short, "--output_dir", second, "--init_from", first, "--resume", "auto", "--lr", 1e-9)
    done = run_script(SCRIPT, *flags)
    assert "starting from the weights of first, epoch 1" in done.stderr and "random" not in done.stderr
    record = json.loads((second / "epoch-0001" / "checkpoint.json").read_text())
    assert record["parent"] == read_info(folder).commit_sha
    assert record["started_from"] == {"source": "first", "epoch": 1, "commit_sha": record["parent"], "on_hub": False}
    state = torch.load(second / "training_state" / "step-000000004" / "state.pt", weights_only=True)
    for name in ("gen_ab", "disc_b"):  # The learning rate is too small for a difference.
        for key, value in load_file(folder / f"{name}.safetensors").items():
            torch.testing.assert_close(state["networks"][name][key], value, atol=1e-6, rtol=0)
    # Continued without the source, which the run no longer needs.
    first.rename(tmp_path / "moved")
    done = run_script(SCRIPT, *flags, "--epochs", 2)
    record = json.loads((second / "epoch-0002" / "checkpoint.json").read_text())
    assert "resumed" in done.stderr and "starting from" not in done.stderr
    assert record["parent"] == read_info(second / "epoch-0001").commit_sha and record["started_from"]["epoch"] == 1


def test_settings_follow_the_run_that_has_begun(tmp_path):
    run, args = tmp_path / "run", SimpleNamespace(init_from=str(tmp_path / "gone"), resume="auto")
    args.output_dir = str(run)
    (run / "training_state" / "step-000000000").mkdir(parents=True)
    (run / "training_state" / "step-000000000" / "state.pt").touch()
    (run / "run.json").write_text('{"config": {"model": {"ngf": 12}}}')
    assert not has_begun(run)  # A start that saved no step binds nobody: Run forgets it.
    (run / "training_state" / "step-000000000").rename(run / "training_state" / "step-000000001")
    assert has_begun(run) and start_settings(args)["ngf"] == 12
    (run / "run.json").write_text("[]")
    with pytest.raises(CheckpointError, match="gone"):
        start_settings(args)
    assert start_settings(SimpleNamespace()) == {}


def test_flags_that_a_resume_leaves_out_are_as_they_were(tmp_path, capsys):
    run = tmp_path / "run"
    typed = ["--dataset", "streets", "--output_dir", str(run), "--ngf", "8", "--method", "cut", "--lambda_nce", "2"]
    typed += ["--epochs", "3", "--no-flip"]
    first = parse_train_config([*typed, "--max_steps", "5"])
    (run / "epoch-0001").mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"run_id": "x", "config": first.to_json()}))
    capsys.readouterr()
    again = parse_train_config(
        ["--output_dir", str(run), "--resume", "auto", "--epochs", "4"], follow=start_settings
    )
    expected = dataclasses.replace(
        first, optim=dataclasses.replace(first.optim, epochs=4, max_steps=None),
        run=dataclasses.replace(first.run, resume="auto"),
    )  # fmt: skip
    assert again == expected
    said = capsys.readouterr().err
    assert f"as in {run} so far" in said and "--ngf 8" in said and "--no-flip" in said and "--epochs" not in said
    assert "others" not in said
    # Of many, most are counted.
    many = [*typed[2:], "--dataset", "streets", "--ndf", "8", "--pool_size", "5", "--seed", "9"]
    config = parse_train_config(many)
    (run / "run.json").write_text(json.dumps({"run_id": "x", "config": config.to_json()}))
    parse_train_config(["--output_dir", str(run), "--resume", "auto"], follow=start_settings)
    said = capsys.readouterr().err
    assert re.search(r"and [3-9] others \(--print_config shows all\)$", said) and said.count("--") == 5
    (run / "run.json").write_text(json.dumps({"run_id": "x", "config": first.to_json()}))
    # The same command as before needs no word.
    parse_train_config([*typed, "--resume", "auto"], follow=start_settings)
    assert capsys.readouterr().err == ""


def test_a_named_state_has_its_own_weights(tmp_path):
    config = make(output_dir=str(tmp_path / "run"), resume=str(tmp_path / "other")).config
    with Run(config, ALONE, start=lambda: pytest.fail("opened")) as run:
        assert run._started_from is None
