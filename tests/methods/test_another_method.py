"""A second method, in a file of its own, goes the whole way: trained, killed, resumed, published, translated, shown."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.cli.flags import parse_train_config
from cyclegan.config import METHOD_CONFIGS, MethodConfig, TrainConfig
from cyclegan.errors import ConfigError
from cyclegan.methods import METHODS, Method, register_method
from cyclegan.training.trainer import Trainer
from cyclegan.translation.translator import Translator
from tests.hub.conftest import hub_env, loopback, online  # noqa: F401
from tests.methods.another_method import Another, AnotherConfig
from tests.ui.conftest import HEADERS, OWNER, ROOT, free_port, picture, wait_until_answers

SCRIPT = ("-m", "tests.methods.another_method")
FLAGS = ("--method", "another", "--dataset", "streets:count=4,size=36", "--load_size", "36", "--crop_size", "32",
         "--sample_count", "2", "--log_every", "1", "--decay_epochs", "0", "--ema", "0.9")  # fmt: skip
NAME = "alice/another"


@pytest.fixture(autouse=True)
def registered():
    """Register the method for one test only, because the docs list the flags of all methods."""
    register_method("another", Another)
    yield
    del METHODS["another"], METHOD_CONFIGS["another"]


def wait_for_step(run, step, process):
    deadline, log = time.monotonic() + 120, run / "metrics.jsonl"
    while time.monotonic() < deadline:
        if log.is_file() and any(json.loads(line)["step"] >= step for line in log.read_text().splitlines()[:-1]):
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    raise AssertionError(f"step {step} was not reached")


def test_its_options_are_flags_with_its_own_defaults(capsys):
    config = parse_train_config([*FLAGS, "--output_dir", "x"])
    assert config.loss == AnotherConfig(gan_mode="vanilla", lambda_l1=100.0)
    assert (config.model.generator, config.model.ngf, config.data.load_size) == ("resnet_6", 4, 36)
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    given = parse_train_config([*FLAGS, "--output_dir", "x", "--gan_mode", "lsgan", "--generator", "resnet_9"])
    assert (given.loss.gan_mode, given.model.generator) == ("lsgan", "resnet_9")
    own = parse_train_config(["--dataset", "x", "--output_dir", "x"])
    assert (own.loss.gan_mode, own.model.generator, own.model.ngf) == ("lsgan", "resnet_9", 64)
    for flags, says in (
        ([*FLAGS, "--lambda_cycle_a", "3"], "--lambda_cycle_a isn't an option of --method another"),
        (["--method", "none"], "invalid choice: 'none'"),
    ):
        with pytest.raises(SystemExit):
            parse_train_config([*flags, "--output_dir", "x"])
        assert says in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse_train_config(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "another: Distance to the partner" in text and "--lambda_l1 X" in text and "default: 100.0" in text
    assert "Defaults that differ: --generator resnet_6, --ngf 4, --ndf 4, --gan_mode vanilla" in text


def test_a_name_belongs_to_one_method():
    with pytest.raises(ValueError, match="there is a method another already"):
        register_method("another", METHODS["cyclegan"])

    class Colliding(Method):
        Config = dataclasses.make_dataclass("Config", [("lr", float, 1.0)], bases=(MethodConfig,), frozen=True)

    with pytest.raises(ValueError, match="lr"):
        register_method("colliding", Colliding)
    assert "colliding" not in METHODS and METHODS["another"] is Another


def test_several_steps_on_a_batch_do_not_accumulate_gradients(any_precision):
    config = parse_train_config([*FLAGS, "--output_dir", "x", "--gradient_accumulation_steps", "2"])
    with pytest.raises(ConfigError, match="leave out --gradient_accumulation_steps"):
        Trainer(config, None, Accelerator(cpu=True, gradient_accumulation_steps=2))


def test_it_trains_resumes_publishes_translates_and_shows(
    tmp_path, run_script, start_script, loopback, hub_env, online, monkeypatch  # noqa: F811
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    flags = (*FLAGS, "--epochs", "2", "--push_to_hub", "--hub_model_id", NAME)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_script(*SCRIPT, *FLAGS, "--epochs", "2", "--output_dir", whole)
    process = start_script(*SCRIPT, *flags, "--output_dir", killed, env=hub_env)
    wait_for_step(killed, 6, process)  # Within the second epoch of four steps.
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not (killed / "epoch-0002").exists()
    done = run_script(*SCRIPT, *flags, "--output_dir", killed, "--resume", "auto", env=hub_env)
    assert "resumed from step-" in done.stderr and " l1 " in done.stderr and "warning" not in done.stderr
    for epoch in (1, 2):
        ours, theirs = (load_file(run / f"epoch-{epoch:04d}" / "gen_ab.safetensors") for run in (whole, killed))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    last = killed / "epoch-0002"
    assert {path.name for path in last.rglob("*.*")} == {"gen_ab.safetensors", "config.json", "checkpoint.json",
                                                         "ab.png"}  # fmt: skip
    record, config = (json.loads((last / name).read_text()) for name in ("checkpoint.json", "config.json"))
    assert config["method"] == "another" and config["train"]["loss"] == {"gan_mode": "vanilla", "lambda_l1": 100.0}
    assert record["losses"].keys() == {"l1_ab", "pair_ab", "head"}
    assert record["metrics"].keys() == {"change_l1_ab", "truth_l1_ab", "diversity_ab"}
    assert {path.name for path in (killed / "examples").iterdir()} == {f"a_{number}.png" for number in range(1, 5)}
    assert (killed / "curves.png").stat().st_size > 1000

    from hub.source import HubSource

    repository = loopback.repos[NAME]
    assert [commit["title"] for commit in repository.epoch_commits()] == ["Epoch 1", "Epoch 2"]
    card = repository.head["files"]["README.md"].decode()
    assert "lambda\\_l1 100.0" in card and "| method | another |" in card
    for source in (LocalSource(killed), HubSource(NAME, endpoint=loopback.url)):
        info = source.list()[0]
        assert info.epoch == 2 and info.directions == ("ab",) and len(source.examples()) == 4
        result = Translator(source.load(2), "cpu").translate(picture(40, 32), "ab", reconstruct=True)
        assert result.fake.size == (40, 32) and result.rec is None
    shown_in_the_app(killed, tmp_path)


def shown_in_the_app(run, tmp_path):
    """Ask the real app for its pages' answers."""
    from gradio_client import Client, handle_file

    port, log = free_port(), tmp_path / "log.txt"
    with open(log, "w") as file:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py"), "--checkpoints", str(run), "--port", str(port)],
            cwd=tmp_path, stdout=file, stderr=file,
            env={**os.environ, **OWNER, "GRADIO_TEMP_DIR": str(tmp_path / "gradio")},
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_until_answers(url, process, log)
        client = Client(url, headers=HEADERS, verbose=False, download_files=str(tmp_path / "downloads"))
        said, epochs = client.predict(api_name="/checkpoints")
        assert said == "killed: 2 epochs, day → night." and {one["directions"][0] for one in epochs} == {"ab"}
        _, grids = client.predict(api_name="/samples")
        assert len(grids) == 1
        picture(40, 32).save(tmp_path / "in.png")
        given = handle_file(tmp_path / "in.png")
        translated = client.predict(given, api_name="/translate")
        there, there_and_back = translated[2], translated[3]
        with Image.open(there) as image:
            assert image.size == (40, 32) and there_and_back is None
        _, _, fakes, recs, _ = client.predict(given, direction="ab", api_name="/compare")
        assert len(fakes) == 2 and recs == []
        client.close()
    finally:
        process.terminate()
        process.wait(300)
        print(log.read_text())  # Shown if the test fails.
    assert "Traceback" not in log.read_text()
