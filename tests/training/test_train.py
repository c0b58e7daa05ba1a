"""The real training script, tiny."""

import json
import os
import signal
import time
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import train_accelerate
from cyclegan.cli import signals
from cyclegan.config import DataConfig, OptimConfig, RunConfig, TrainConfig
from cyclegan.errors import CheckpointError, DataError
from train_accelerate import done_note

SCRIPT = "train_accelerate.py"


def generators(run, epoch):
    folder = run / f"epoch-{epoch:04d}"
    return {name: load_file(folder / f"{name}.safetensors") for name in ("gen_ab", "gen_ba")}


def assert_same_generators(one, other, epoch):
    ours, theirs = generators(one, epoch), generators(other, epoch)
    for name in ours:
        assert ours[name].keys() == theirs[name].keys()
        for key, value in ours[name].items():
            assert torch.equal(value, theirs[name][key]), f"{name} {key} differs"


def wait_for_step(run, step, process):
    """Until metrics.jsonl shows that `step` is done."""
    log, deadline = run / "metrics.jsonl", time.monotonic() + 120
    while time.monotonic() < deadline:
        if log.is_file() and any(json.loads(line)["step"] >= step for line in log.read_text().splitlines()[-1:]):
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    raise AssertionError(f"step {step} was not reached")


def wait_for_state(run, process):
    """Until the first epoch's training state, or a later one, is whole."""
    deadline = time.monotonic() + 120
    while not any((run / "training_state").glob("step-*[1-9]*/state.pt")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_run_leaves_what_the_guide_says(tmp_path, tiny_flags, run_script):
    run = tmp_path / "run"
    done = run_script(SCRIPT, *tiny_flags, "--output_dir", run, "--epochs", 1, "--decay_epochs", 1,
                      "--ema", 0.9, "--report_to", "tensorboard", "--save_precision", "fp16")  # fmt: skip
    for epoch in (1, 2):
        names = {str(p.relative_to(run / f"epoch-{epoch:04d}")) for p in (run / f"epoch-{epoch:04d}").rglob("*.*")}
        assert names == {"gen_ab.safetensors", "gen_ba.safetensors", "config.json", "checkpoint.json",
                         "samples/ab.png", "samples/ba.png"}  # fmt: skip
        assert f"epoch {epoch}/2" in done.stderr
    record = json.loads((run / "epoch-0002" / "checkpoint.json").read_text())
    assert record["epoch"] == 2 and record["global_step"] == 8 and record["weights"] == "ema"
    assert len(record["losses"]) == 8 and record["parent"] and record["seeds"] == {"run": 0}
    assert {"reconstruction_l1_ab", "diversity_ba", "disc_accuracy_a"} <= record["metrics"].keys()
    assert all(v.dtype == torch.float16 for v in generators(run, 2)["gen_ab"].values())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["event"] == "step"] == list(range(1, 9))
    epochs = [row for row in rows if row["event"] == "epoch"]
    assert [row["lr"] for row in epochs] == pytest.approx([2e-4, 1e-4])
    assert all(row["images_per_second"] > 0 for row in epochs)
    assert (run / "curves.png").stat().st_size > 1000
    assert {p.name for p in (run / "examples").iterdir()} == {"a_1.png", "a_2.png", "b_1.png", "b_2.png"}
    assert [p.name for p in (run / "training_state").iterdir()] == ["step-000000008"]
    assert list(run.rglob("events.out.tfevents*"))
    config = (run / "epoch-0002" / "config.json").read_text()
    assert str(tmp_path) not in config  # A published checkpoint tells nobody where it was trained.


def test_kill_9_and_resume_gives_the_same_weights_bit_for_bit(tmp_path, tiny_flags, run_script, start_script):
    flags = (*tiny_flags, "--epochs", "3", "--decay_epochs", "1", "--pool_size", "2", "--dropout", "--ema", "0.9")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_script(SCRIPT, *flags, "--output_dir", whole, plain=True)  # With its own seed of hash(), too.
    process = start_script(SCRIPT, *flags, "--output_dir", killed, "--resume", "auto")
    wait_for_step(killed, 6, process)  # Amid the second epoch of four steps.
    wait_for_state(killed, process)  # It is written in the background, which a busy machine may leave waiting.
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "epoch-0004").exists()
    done = run_script(SCRIPT, *flags, "--output_dir", killed, "--resume", "auto")
    assert "resumed from step-" in done.stderr and "rises" not in done.stderr
    for epoch in (1, 2, 3, 4):
        assert_same_generators(whole, killed, epoch)
    rows = [json.loads(line) for line in (killed / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["event"] == "step"] == list(range(1, 17))
    assert [row["step"] for row in rows if row["event"] == "start"] in ([0, 4], [0, 8], [0, 12])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_state_amid_an_epoch_and_resumes_exactly(
    number, tmp_path, tiny_flags, run_script, start_script
):
    flags = (*tiny_flags, "--epochs", "40", "--decay_epochs", "0", "--pool_size", "2")
    stopped = tmp_path / "stopped"
    process = start_script(SCRIPT, *flags, "--output_dir", stopped)
    wait_for_step(stopped, 6, process)
    process.send_signal(number)
    _, text = process.communicate(timeout=300)
    assert process.returncode == 0
    assert "--resume auto" in text and "Traceback" not in text
    (state,) = (stopped / "training_state").iterdir()
    step = int(state.name[5:])
    total = str(step // 4 + 1)
    flags = (*tiny_flags, "--epochs", total, "--decay_epochs", "0", "--pool_size", "2")
    run_script(SCRIPT, *flags, "--output_dir", stopped, "--resume", "auto")
    whole = tmp_path / "whole"
    run_script(SCRIPT, *flags, "--output_dir", whole)
    assert_same_generators(whole, stopped, int(total))


def test_the_first_signal_saves_and_a_later_one_ends_at_once(monkeypatch):
    """Launchers send a signal of their own after a Ctrl-C, which is no second wish."""
    now, handlers, done = SimpleNamespace(s=100.0), {}, []
    monkeypatch.setattr(signals.time, "monotonic", lambda: now.s)
    monkeypatch.setattr(signals.signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(signals.signal, "raise_signal", lambda number: done.append(handlers[number]))
    signals.stop_on_signals(lambda: done.append("stop"), lambda: None)
    for number, after in ((signal.SIGINT, 0), (signal.SIGTERM, 0.01), (signal.SIGINT, 0.5)):
        now.s += after
        handlers[number](number, None)
    assert done == ["stop"]
    now.s += 1
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert done == ["stop", signal.SIG_DFL]


def test_two_processes_equal_one_with_the_double_batch(tmp_path, tiny_flags, picture_folders, run_script):
    (picture_folders / "train").mkdir()
    for side, name in (("A", "day"), ("B", "night")):
        (picture_folders / f"train{side}").rename(picture_folders / "train" / name)
    flags = (*tiny_flags, "--epochs", "1", "--decay_epochs", "0", "--max_images", "4", "--mixed_precision", "no")
    one, two = tmp_path / "one", tmp_path / "two"
    run_script(SCRIPT, *flags, "--output_dir", one, "--batch_size", 2)
    both = run_script("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", SCRIPT, *flags,
                      "--output_dir", two, "--batch_size", 1, env={"ACCELERATE_USE_CPU": "true"}, plain=True)
    assert both.stderr.count("train/day: ") == both.stderr.count("train/night: ") == 1, "printed by one process"
    data = json.loads((two / "epoch-0001" / "config.json").read_text())["data"]
    assert (data["domain_a"], data["domain_b"]) == ("day", "night"), "named by the folders"
    ours, theirs = generators(one, 1), generators(two, 1)
    moved = 0.0
    for name in ours:
        for key, value in ours[name].items():
            if not key.endswith("weight"):  # Biases before a norm have no gradient but rounding.
                continue
            moved += value.std().item()
            difference = (value - theirs[name][key]).abs()
            # Adam's first steps are as large for tiny gradients as for others, so single weights may differ.
            assert difference.mean() < 2e-6, f"{name} {key}"
    assert moved > 0
    assert json.loads((two / "epoch-0001" / "checkpoint.json").read_text())["images_seen"] == 4
    states = {p.name for p in next((two / "training_state").iterdir()).iterdir()}
    assert states == {"state.pt", "process-0.pt", "process-1.pt"}


def test_what_can_be_foreseen_is_one_sentence(tmp_path, tiny_flags, picture_folders, run_script):
    run = tmp_path / "run"
    flags = (*tiny_flags, "--epochs", "1", "--decay_epochs", "0")
    run_script(SCRIPT, *flags, "--output_dir", run)

    def refused(*arguments):
        done = run_script(SCRIPT, *arguments, ok=False)
        assert done.returncode != 0
        return done.stderr.strip().splitlines()[-1]

    assert "--resume auto" in refused(*flags, "--output_dir", run)
    assert "--ngf" in refused(*flags, "--ngf", "8", "--output_dir", run, "--resume", "auto")
    assert "training state" in refused(*flags, "--output_dir", run, "--resume", str(tmp_path))
    (picture_folders / "trainA" / "9.png").write_bytes(b"not a picture")
    text = run_script(SCRIPT, *flags, "--output_dir", tmp_path / "bad", ok=False).stderr
    assert "9.png" in text and "--skip_bad_images" in text
    (run / "training_state").rename(tmp_path / "away")
    assert "no training state" in refused(*flags, "--output_dir", run, "--resume", "auto")


@pytest.mark.parametrize(("optim", "bad"), [
    ({"batch_size": 4}, ""), ({"gradient_accumulation_steps": 4}, ""), ({"batch_size": 3}, "bad"),
    ({"batch_size": 2}, "wide"),
])  # fmt: skip
def test_a_batch_that_cannot_be_is_refused_before_anything_is_written(tmp_path, monkeypatch, optim, bad):
    """One sentence, before a picture is decoded; only bad pictures, and different sizes, need the check."""
    for side in "AB":
        (tmp_path / f"train{side}").mkdir()
        for number in range(3):
            Image.effect_noise((20, 20), 90).save(tmp_path / f"train{side}/{number}.png")
        if bad == "wide":
            Image.effect_noise((40, 20), 90).save(tmp_path / f"train{side}/0.png")
        elif bad:
            (tmp_path / f"train{side}/0.png").write_bytes(b"bad")
        else:
            monkeypatch.setattr(train_accelerate, "make_data", None)
    accelerator = SimpleNamespace(
        num_processes=1, process_index=0, is_main_process=True, wait_for_everyone=lambda: None
    )
    monkeypatch.setattr(train_accelerate, "make_accelerator", lambda config: (accelerator, config))
    run = tmp_path / "run"
    pictures = {"load_size": 16, "crop_size": 16, "preprocess": "none" if bad == "wide" else "resize_crop"}
    config = TrainConfig(DataConfig(str(tmp_path), num_workers=0, skip_bad_images=True, **pictures),
                         optim=OptimConfig(**optim), run=RunConfig(output_dir=str(run)))  # fmt: skip
    with pytest.raises(DataError, match="have 2 sizes" if bad == "wide" else "an update takes more pictures"):
        train_accelerate.train(config)
    assert run.exists() == bool(bad) and not any(run.glob("training_state"))


@pytest.mark.parametrize("word", ["latest", "true", "run"])
def test_a_resume_that_names_no_state_is_refused_before_the_data_set_is_opened(tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "run" / "training_state" / "step-000000003"
    state.mkdir(parents=True)
    (state / "state.pt").write_bytes(b"state")
    for step in ("make_accelerator", "find_data"):
        monkeypatch.setattr(train_accelerate, step, None)
    says = "name its training state, run/training_state/step-000000003, or" if word == "run" else "is neither auto, wh"
    with pytest.raises(CheckpointError, match=says):
        train_accelerate.train(TrainConfig(DataConfig("streets"), run=RunConfig(output_dir="out", resume=word)))
    assert not (tmp_path / "out").exists()


def failing_at_first_step(raised, *flags):
    """A program that trains with these flags until its first step raises an error."""
    return (
        "import runpy, sys, torch\n"
        "from cyclegan.training.trainer import Trainer\n"
        f"def step(self, batch): raise {raised}\n"
        "Trainer.step = step\n"
        f"sys.argv = {['train_accelerate.py', *map(str, flags)]!r}\n"
        "runpy.run_path('train_accelerate.py', run_name='__main__')\n"
    )


def test_a_start_that_fails_before_its_first_step_ends_binds_nobody(tmp_path, tiny_flags, run_script):
    """The advice that the error gives can be followed in the same folder."""
    run = tmp_path / "run"
    flags = (*tiny_flags, "--epochs", 1, "--decay_epochs", 0, "--output_dir", run)
    raised = "torch.OutOfMemoryError('CUDA out of memory')"
    failed = run_script("-c", failing_at_first_step(raised, *flags, "--batch_size", 2), ok=False)
    assert failed.returncode == 1 and "Try --batch_size 1" in failed.stderr
    assert [path.name for path in (run / "training_state").iterdir()] == ["step-000000000"]
    done = run_script(SCRIPT, *flags, "--batch_size", 1, "--ngf", 2)
    assert "starts afresh: --ngf was 4, now 2; --batch_size was 2, now 1" in done.stderr
    assert (run / "epoch-0001").is_dir()
    assert [path.name for path in (run / "training_state").iterdir()] == ["step-000000004"]


def test_a_run_with_more_epochs_than_asked_for_has_nothing_to_train():
    config = TrainConfig(optim=OptimConfig(epochs=2, decay_epochs=1))
    assert str(done_note(config, SimpleNamespace(epoch=8, limit_reached=False), "runs/mine")) == (
        "nothing to train: this run has 8 epochs already, and --epochs and --decay_epochs add up to 3; "
        "see them with: python app.py --checkpoints runs/mine"
    )
    done = SimpleNamespace(epoch=3, limit_reached=False)
    assert "done, with 3 of 3 epochs" in str(done_note(config, done, "runs/mine"))


def test_an_output_dir_takes_one_process_at_a_time(tmp_path, tiny_flags, run_script, start_script):
    run = tmp_path / "run"
    process = start_script(SCRIPT, *tiny_flags, "--epochs", "200", "--decay_epochs", "0", "--output_dir", run)
    wait_for_step(run, 1, process)
    second = run_script(SCRIPT, *tiny_flags, "--output_dir", run, "--resume", "auto", ok=False)
    assert second.returncode == 1 and "another process" in second.stderr


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="needs POSIX resource limits")
def test_a_full_disk_stops_with_a_sentence_and_keeps_earlier_epochs(tmp_path, tiny_flags, run_script):
    """A limit on file sizes stands in for a full disk: the same OSError reaches the same code."""
    run = tmp_path / "run"
    code = (
        "import resource, runpy, signal, sys\n"
        "import cyclegan.training.run as runs\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "save = runs.Run.save_epoch\n"
        "def limited(self, snapshot, **kw):\n"
        "    if snapshot.epoch == 2:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "    return save(self, snapshot, **kw)\n"
        "runs.Run.save_epoch = limited\n"
        f"sys.argv = ['train_accelerate.py', *{[*tiny_flags, '--output_dir', str(run)]!r}]\n"
        "runpy.run_path('train_accelerate.py', run_name='__main__')\n"
    )
    done = run_script("-c", code, ok=False)
    assert done.returncode == 1
    assert "Earlier epochs are intact" in done.stderr.strip().splitlines()[-1]
    assert sorted(p.name for p in run.iterdir() if p.name.startswith("epoch-")) == ["epoch-0001"]
    assert not [p for p in run.glob(".*") if p.suffix in (".part", ".old")]


def test_a_damaged_state_falls_back_and_another_runs_state_starts_a_new_one(tmp_path, tiny_flags, run_script):
    run, flags = tmp_path / "run", (*tiny_flags, "--decay_epochs", "0")
    run_script(SCRIPT, *flags, "--output_dir", run, "--epochs", 2, "--keep_training_state", 2)
    older, newest = sorted((run / "training_state").iterdir())
    refused = run_script(SCRIPT, *flags, "--output_dir", run, "--epochs", 3, "--resume", older, ok=False)
    assert refused.returncode == 1 and "another --output_dir" in refused.stderr
    branch = tmp_path / "branch"
    run_script(SCRIPT, *flags, "--output_dir", branch, "--epochs", 2, "--resume", older)
    assert_same_generators(run, branch, 2)
    (newest / "state.pt").write_bytes(b"damaged")
    done = run_script(SCRIPT, *flags, "--output_dir", run, "--epochs", 3, "--resume", "auto")
    assert "trying the one before it" in done.stderr and f"resumed from {older.name}" in done.stderr
    assert_same_generators(run, branch, 2)
    assert (run / "epoch-0003").is_dir()


def test_a_learning_rate_that_rises_with_added_epochs_is_said(tmp_path, tiny_flags, run_script):
    flags = (*tiny_flags, "--output_dir", tmp_path / "run", "--decay_epochs", "1")
    run_script(SCRIPT, *flags, "--epochs", "0")
    done = run_script(SCRIPT, *flags, "--epochs", "2", "--resume", "auto")
    assert "the learning rate rises from 0.0001 to 0.0002: --epochs, --decay_epochs and --lr plan it" in done.stderr
    finished = run_script(SCRIPT, *flags, "--epochs", "2", "--resume", "auto")
    assert "rises" not in finished.stderr


def test_a_resume_survives_what_people_do_to_a_run(tmp_path, tiny_flags, run_script):
    run, flags = tmp_path / "run", (*tiny_flags, "--decay_epochs", "0")
    run_script(SCRIPT, *flags, "--output_dir", run, "--epochs", 1)
    (state,) = (run / "training_state").iterdir()
    (run / "run.json").write_text("[")
    with open(run / "metrics.jsonl", "ab") as file:
        file.write(b'5\n{"event":"epoch"}\n\xff\xfe\n{"step":')
    done = run_script(SCRIPT, *flags, "--output_dir", run, "--epochs", 2, "--resume", "auto", "--beta1", "0.9")
    assert "a new one is written" in done.stderr
    (state,) = (run / "training_state").iterdir()
    saved = torch.load(state / "state.pt", weights_only=True)
    assert all(group["betas"] == (0.9, 0.999) for o in saved["optimisers"] for group in o["param_groups"])
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 12  # Two epochs: a start, four steps, an end.

    other = run_script(SCRIPT, *flags, "--ngf", 8, "--output_dir", tmp_path / "other", "--resume", state, ok=False)
    assert other.returncode == 1 and "other networks" in other.stderr
    (state / "process-0.pt").unlink()
    lost = run_script(SCRIPT, *flags, "--output_dir", run, "--epochs", 3, "--resume", "auto", ok=False)
    assert lost.returncode == 1 and "can't be read" in lost.stderr


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        ("torch.OutOfMemoryError('CUDA out of memory')", "--batch_size 1"),
        ('RuntimeError("DefaultCPUAllocator: can\'t allocate memory")', "--crop_size 32"),
        ("RuntimeError('[gloo] Connection closed by peer')", "another process"),
        ("type('Failed', (RuntimeError,), {'__module__': 'torch._inductor.exc'})('no g++')", "leave it out (no g++)"),
    ],
)
def test_what_torch_raises_becomes_a_sentence(tmp_path, tiny_flags, run_script, raised, says):
    done = run_script("-c", failing_at_first_step(raised, *tiny_flags, "--output_dir", tmp_path / "run"), ok=False)
    assert done.returncode == 1
    assert says in done.stderr.strip().splitlines()[-1]


def test_a_start_with_nothing_to_train_changes_nothing_in_the_run(tmp_path, tiny_flags, run_script):
    """Another data set, or other settings, of a start that trained nothing aren't the run's."""
    run = tmp_path / "run"
    flags = (*tiny_flags, "--epochs", 1, "--decay_epochs", 0, "--output_dir", run)
    run_script(SCRIPT, *flags)
    before = {name: (run / name).read_bytes() for name in ("run.json", "pictures.json") if (run / name).exists()}
    again = run_script(SCRIPT, *flags, "--batch_size", 2, "--log_every", 7, "--resume", "auto")
    assert "nothing to train" not in again.stdout and "was " not in again.stderr
    assert {name: (run / name).read_bytes() for name in before} == before
    more = run_script(SCRIPT, *flags, "--epochs", 2, "--log_every", 7, "--resume", "auto")
    assert "--epochs was 1 at the last start, now 2" in more.stderr
    assert b'"log_every": 7' in (run / "run.json").read_bytes()
