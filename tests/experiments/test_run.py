"""The runner with a trainer that copies epochs: order, resuming, failures, and what may not change."""

import errno
import threading
import time
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace

import pytest
from filelock import FileLock

from cyclegan.errors import ConfigError, UserError
from cyclegan.experiments.plan import Plan, failure, make_plan, read_plan, record
from cyclegan.experiments.run import Runner, locked, reason_of
from cyclegan.experiments.spec import Experiment, Row
from tests.experiments.conftest import FakeScorer

ONE_EACH = {"epochs": 1, "decay_epochs": 1}
STREETS = "streets:count=4,test_count=2,size=36"


def plan_of(output, *, seeds=1, shared=ONE_EACH, rows=None) -> Plan:
    rows = rows or (Row("CycleGAN", {}), Row("SimGAN", {"method": "simgan"}), Row("no pool", {"pool_size": 0}))
    return make_plan(Experiment("mine", "Mine", rows, shared), STREETS, "tiny", range(seeds), output)


def begun(plan):
    """The plan, after its folder was made."""
    plan.output.mkdir()
    record(plan)
    return plan


def execute(plan, *, jobs=1, scorer=None, ended=lambda: None):
    scorer, lines = scorer or FakeScorer(), []
    with locked(plan.output):
        runner = Runner(plan, scorer, jobs=jobs, show=lambda *_: None, say=lines.append, ended=ended)
        runner.run()
    return scorer.scored, lines


def test_every_row_trains_once_per_seed_and_direction_seed_after_seed(tmp_path, fake_trainer):
    scored, lines = execute(plan_of(tmp_path / "out", seeds=2))
    first = ["cyclegan-0", "simgan-ab-0", "simgan-ba-0", "no-pool-0"]
    assert fake_trainer() == scored == [*first, *(name[:-1] + "1" for name in first)]
    assert len(lines) == 8 and lines[1].startswith("SimGAN ab, seed 0: ")


def test_a_finished_row_is_not_trained_again_and_a_new_seed_is_added(tmp_path, fake_trainer):
    execute(plan_of(tmp_path / "out"))
    _, lines = execute(plan_of(tmp_path / "out", seeds=2))
    assert len(fake_trainer()) == 8
    assert lines[0] == "CycleGAN, seed 0: was trained before"


def test_a_run_without_its_last_epoch_is_continued(tmp_path, fake_trainer, make_checkpoint):
    plan = begun(plan_of(tmp_path / "out", rows=(Row("no pool", {"pool_size": 0}),)))
    make_checkpoint(plan.output / "runs" / "no-pool-0", 1)
    execute(plan)
    assert fake_trainer() == ["no-pool-0"]


def test_a_row_that_fails_has_its_reason_and_the_rest_goes_on(tmp_path, fake_trainer):
    out = tmp_path / "out"
    plan = begun(plan_of(out))
    (out / "fail-simgan-ab-0").touch()
    (out / "kill-simgan-ba-0").touch()
    scored, lines = execute(plan)
    assert scored == ["cyclegan-0", "no-pool-0"]
    assert "SimGAN ab, seed 0 failed: error: the losses are not finite" in lines
    assert failure(out / "runs" / "simgan-ab-0") == "error: the losses are not finite"
    assert "ended by SIGKILL, perhaps for want of memory" in failure(out / "runs" / "simgan-ba-0")
    assert failure(out / "runs" / "no-pool-0") is None
    # The next start tries them again.
    for name in ("fail-simgan-ab-0", "kill-simgan-ba-0"):
        (out / name).unlink()
    scored, _ = execute(plan)
    assert failure(out / "runs" / "simgan-ab-0") is None
    assert fake_trainer()[4:] == ["simgan-ab-0", "simgan-ba-0"] and len(scored) == 4


def test_a_row_that_cannot_be_scored_is_a_failure_too(tmp_path, fake_trainer):
    class Broken(FakeScorer):
        def score(self, training, progress):
            raise UserError("no segmenter")

    rows = (Row("no pool", {"pool_size": 0}),)
    execute(plan_of(tmp_path / "out", rows=rows), scorer=Broken())
    assert failure(tmp_path / "out" / "runs" / "no-pool-0") == "it was trained, but can't be scored: no segmenter"


def test_several_trainings_run_at_a_time(tmp_path, fake_trainer):
    out = tmp_path / "out"
    plan = begun(plan_of(out))
    (out / "hang-cyclegan-0").touch()
    thread = threading.Thread(target=execute, args=(plan,), kwargs={"jobs": 2})
    thread.start()
    wait_for(lambda: len(fake_trainer()) == 4)  # The others, while the first one hangs.
    (out / "hang-cyclegan-0").unlink()
    thread.join(20)
    assert not thread.is_alive()


def test_stopping_ends_the_trainings_and_starts_no_more(tmp_path, fake_trainer):
    out = tmp_path / "out"
    plan = begun(plan_of(out))
    (out / "hang-cyclegan-0").touch()
    runner = Runner(plan, FakeScorer(), jobs=1, show=lambda *_: None, say=lambda line: None, ended=lambda: None)
    thread = threading.Thread(target=runner.run)
    thread.start()
    wait_for(lambda: fake_trainer() == ["cyclegan-0"])
    runner.stopping.set()
    thread.join(20)
    assert not thread.is_alive() and fake_trainer() == ["cyclegan-0"]
    assert failure(out / "runs" / "cyclegan-0") is None  # It was stopped, and is continued by the next start.


def test_a_limit_of_time_stops_it_likewise(tmp_path, fake_trainer):
    plan = begun(plan_of(tmp_path / "out"))
    (plan.output / "hang-cyclegan-0").touch()
    runner = Runner(plan, FakeScorer(), jobs=1, show=lambda *_: None, say=print, ended=print, minutes=0.01)
    with pytest.raises(FutureTimeout):
        runner.run()
    assert fake_trainer() in ([], ["cyclegan-0"]) and failure(plan.output / "runs" / "cyclegan-0") is None


def test_a_trainer_that_outlived_a_kill_is_waited_for(tmp_path, fake_trainer, make_checkpoint):
    out = tmp_path / "out"
    plan = begun(plan_of(out, rows=(Row("no pool", {"pool_size": 0}),)))
    run = out / "runs" / "no-pool-0"
    run.mkdir(parents=True)
    orphan, lines = FileLock(run / ".lock"), []
    orphan.acquire()
    runner = Runner(plan, FakeScorer(), jobs=1, show=lambda *_: None, say=lines.append, ended=lambda: None)
    thread = threading.Thread(target=runner.run)
    thread.start()
    wait_for(lambda: lines)
    assert "still being trained since an earlier start" in lines[0] and not fake_trainer()
    make_checkpoint(run, 2)
    orphan.release()
    thread.join(20)
    assert not thread.is_alive() and not fake_trainer()  # It was finished by the orphan.


def wait_for(condition):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "waited for too long"
        time.sleep(0.02)


def test_two_experiments_in_one_folder_are_refused(tmp_path):
    with locked(tmp_path), pytest.raises(ConfigError, match="another experiment is running in"), locked(tmp_path):
        pass


@pytest.mark.parametrize(("change", "said"), [
    ({"shared": {**ONE_EACH, "ngf": 16}}, "row 'CycleGAN' had ngf 8, now 16"),
    ({"shared": {**ONE_EACH, "ema": 0.9}}, "row 'CycleGAN' had ema unset, now 0.9"),
    ({"rows": (Row("no pool", {"pool_size": 10}),)}, "row 'no pool' had pool_size 0, now 10"),
])  # fmt: skip
def test_a_changed_setting_is_refused_by_name(tmp_path, fake_trainer, change, said):
    execute(plan_of(tmp_path / "out"))
    with pytest.raises(ConfigError, match=said):
        execute(plan_of(tmp_path / "out", **change))


def test_another_scale_or_data_set_is_refused(tmp_path, fake_trainer):
    plan = plan_of(tmp_path / "out")
    execute(plan)
    for change in ({"scale": "small"}, {"dataset": "streets"}):
        with pytest.raises(ConfigError, match=f"--{next(iter(change))} was"):
            execute(replace(plan, **change))


def test_rows_may_be_added_and_left_out(tmp_path, fake_trainer):
    execute(plan_of(tmp_path / "out", rows=(Row("CycleGAN", {}),)))
    execute(plan_of(tmp_path / "out", rows=(Row("no pool", {"pool_size": 0}),)))
    execute(plan_of(tmp_path / "out"))
    assert fake_trainer() == ["cyclegan-0", "no-pool-0", "simgan-ab-0", "simgan-ba-0"]


def test_a_folder_of_something_else_is_refused(tmp_path, fake_trainer):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="isn't the folder of an experiment, but holds thesis.tex"):
        execute(plan_of(tmp_path / "out"))


def test_the_plan_is_read_back_whole(tmp_path, fake_trainer):
    plan = plan_of(tmp_path / "out", rows=(Row("a b", {"pool_size": 0}, ("ab",), {"labels → photo": (0.1, 0.2, 0.3)}),))
    execute(plan)
    read = read_plan(tmp_path / "out")
    assert read.experiment.rows == plan.experiment.rows and read.seeds == plan.seeds and read.names == plan.names
    with pytest.raises(ConfigError, match="holds no experiment yet"):
        read_plan(tmp_path)


def test_reasons_are_the_last_error_in_the_log(tmp_path):
    log = tmp_path / "train.log"
    log.write_text("epoch 1\rerror: out of memory\nRuntimeWarning\n")
    assert reason_of(1, log) == "error: out of memory"
    log.write_text("")
    assert reason_of(3, log) == "the training ended with status 3"


@pytest.mark.parametrize("content", ['{"version": 1}', '{"version": 1, "known": 5, "scale": "tiny", "dataset": 7}'])
def test_a_damaged_plan_is_told(tmp_path, fake_trainer, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "experiment.json").write_text(content)
    with pytest.raises(ConfigError, match=r"experiment.json is damaged|--dataset was 7"):
        execute(plan_of(tmp_path / "out"))


def test_a_full_disk_is_told_and_other_errors_are_not_hidden(tmp_path):
    with pytest.raises(ConfigError, match="can't be written .*No space.*the same command again"), locked(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FutureTimeout), locked(tmp_path):
        raise FutureTimeout
    with locked(tmp_path):
        pass


def test_scores_that_a_stop_interrupts_are_no_failure(tmp_path, fake_trainer):
    class Stopped(FakeScorer):
        def score(self, training, progress):
            runner.stopping.set()
            progress("", 0, 1)

    plan = begun(plan_of(tmp_path / "out", rows=(Row("no pool", {"pool_size": 0}),)))
    runner = Runner(plan, Stopped(), jobs=1, show=lambda *_: None, say=lambda _: None, ended=lambda: None)
    runner.run()
    assert failure(plan.output / "runs" / "no-pool-0") is None
