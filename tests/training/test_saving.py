"""States within an epoch, and a training that ends after a number of steps."""

import json
from types import SimpleNamespace

import pytest

from cyclegan.config import OptimConfig
from cyclegan.training import saving
from cyclegan.training.saving import StateSaver
from tests.training.test_train import SCRIPT, assert_same_generators


@pytest.fixture
def saved(monkeypatch):
    """Return the steps after which a state is saved, of 100 steps in epochs of 10; a step takes 30 seconds."""

    def saved(every, accumulation=1, first=0, processes=1):
        clock = SimpleNamespace(now=0.0)
        monkeypatch.setattr(saving.time, "monotonic", lambda: clock.now)
        monkeypatch.setattr(saving.TrainerSnapshot, "of", lambda trainer: trainer.global_step)
        optim = OptimConfig(gradient_accumulation_steps=accumulation)
        trainer = SimpleNamespace(
            global_step=first, steps_per_epoch=10, config=SimpleNamespace(optim=optim),
            accelerator=SimpleNamespace(num_processes=processes), any_process=bool,
        )  # fmt: skip
        found = []
        saver = StateSaver(every, trainer, found.append)
        for trainer.global_step in range(first + 1, 101):
            clock.now += 30
            trainer.step_in_epoch = (trainer.global_step - 1) % 10 + 1
            saver.on_step()
        return found

    return saved


def test_states_every_so_many_steps_or_minutes(saved):
    assert saved("none") == []
    assert saved("25steps") == [25, 75]  # 50 and 100 end an epoch, which saves its own.
    assert saved("12steps", first=40) == [52, 64, 76, 88]
    assert saved("3steps", accumulation=5) == [*range(5, 100, 10)]
    assert saved("9min") == [18, 36, 54, 72]  # 90 ends an epoch.
    assert saved("2min", processes=2) == []  # Asked at every 20th step, each of which ends an epoch here.


@pytest.mark.slow
def test_a_limit_of_steps_leaves_a_checkpoint_and_a_state_that_continues_bit_for_bit(tmp_path, tiny_flags, run_script):
    flags = (*tiny_flags, "--epochs", 3, "--decay_epochs", 0, "--pool_size", 2)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_script(SCRIPT, *flags, "--output_dir", whole)
    limited = (*flags, "--output_dir", cut, "--resume", "auto", "--max_steps", 6)
    done = run_script(SCRIPT, *limited, "--save_state_every", "3steps", "--keep_training_state", 9)
    assert "done at step 6, because of --max_steps 6" in done.stderr and "epoch 2/3" in done.stderr
    states = sorted(path.name for path in (cut / "training_state").iterdir())
    assert [int(name[5:]) for name in states] == [0, 3, 4, 6]
    record = json.loads((cut / "epoch-0002" / "checkpoint.json").read_text())
    assert (record["global_step"], record["ended_early"], record["epoch"]) == (6, 2, 2)
    assert "done at step 6" in run_script(SCRIPT, *limited).stderr  # Nothing more to do.
    (cut / "training_state" / "step-000000006" / "state.pt").unlink()  # As if it were lost: from step 4, of an epoch.
    run_script(SCRIPT, *limited)
    run_script(SCRIPT, *flags, "--output_dir", cut, "--resume", "auto")
    for epoch in (1, 2, 3):
        assert_same_generators(whole, cut, epoch)
    assert "ended_early" not in json.loads((cut / "epoch-0002" / "checkpoint.json").read_text())
    rows = [json.loads(line) for line in (cut / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows if row["event"] == "epoch"] == [1, 2, 3]
