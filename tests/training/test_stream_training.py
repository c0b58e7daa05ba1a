"""The real training script on streamed tars: resumed exactly, by one process and by two."""

import io
import signal
import tarfile

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TINY
from tests.training.test_train import SCRIPT, assert_same_generators, wait_for_state, wait_for_step


@pytest.fixture
def flags(tmp_path):
    """Flags of a training on two tars of five pictures for each domain, in blocks of four."""
    rng = np.random.default_rng(0)
    for name in ("trainA-0", "trainA-1", "trainB-0", "trainB-1", "testA-0", "testB-0"):
        path = tmp_path / "shards" / f"{name}.tar"
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for number in range(5):
                stream = io.BytesIO()
                Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(stream, "PNG")
                info = tarfile.TarInfo(f"{number}.png")
                info.size = len(stream.getvalue())
                tar.addfile(info, io.BytesIO(stream.getvalue()))
    return ("--dataset", str(tmp_path / "shards"), "--stream", "--epoch_pictures", "4", "--shuffle_buffer", "4",
            "--pool_size", "2", *TINY, "--decay_epochs", "0")  # fmt: skip


def test_kill_9_and_resume_gives_the_same_weights_bit_for_bit(tmp_path, flags, run_script, start_script):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_script(SCRIPT, *flags, "--epochs", "4", "--output_dir", whole, plain=True)
    process = start_script(SCRIPT, *flags, "--epochs", "400", "--output_dir", killed)
    wait_for_step(killed, 6, process)  # Amid the second epoch, and the second block.
    wait_for_state(killed, process)
    process.kill()
    process.communicate()
    epochs = max(int(path.name[6:]) for path in killed.glob("epoch-*")) + 2
    done = run_script(SCRIPT, *flags, "--epochs", epochs, "--output_dir", killed, "--resume", "auto")
    assert "resumed from step-" in done.stderr and "begins anew" not in done.stderr
    if epochs != 4:
        whole = tmp_path / "as long"
        run_script(SCRIPT, *flags, "--epochs", epochs, "--output_dir", whole)
    assert_same_generators(whole, killed, epochs)


def test_a_signal_saves_the_state_amid_an_epoch_and_resumes_exactly(tmp_path, flags, run_script, start_script):
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = start_script(SCRIPT, *flags, "--epochs", "400", "--output_dir", stopped)
    wait_for_step(stopped, 6, process)
    process.send_signal(signal.SIGTERM)
    _, text = process.communicate(timeout=300)
    assert process.returncode == 0 and "--resume auto" in text
    (state,) = (stopped / "training_state").iterdir()
    epochs = int(state.name[5:]) // 4 + 2
    run_script(SCRIPT, *flags, "--epochs", epochs, "--output_dir", stopped, "--resume", "auto")
    run_script(SCRIPT, *flags, "--epochs", epochs, "--output_dir", whole)
    assert_same_generators(whole, stopped, epochs)


def test_two_processes_resume_exactly_and_one_continues_what_two_began(tmp_path, flags, run_script):
    def train(folder, *more, processes=2, ok=True):
        program = ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", SCRIPT)
        return run_script(*program, *flags, *more, "--mixed_precision", "no", "--output_dir", tmp_path / folder,
                          env={"ACCELERATE_USE_CPU": "true"}, plain=True, ok=ok)  # fmt: skip

    whole = train("whole", "--epochs", 3)
    assert whole.stderr.count("trainA: 2 tars, streamed") == 1, "printed by one process"
    train("parts", "--epochs", 3, "--max_steps", 3)  # Of two steps each, so amid the second epoch.
    train("parts", "--epochs", 3, "--resume", "auto")
    assert_same_generators(tmp_path / "whole", tmp_path / "parts", 3)
    done = train("parts", "--epochs", 4, "--resume", "auto", processes=1)
    assert "the run had 2 processes; results will differ from theirs" in done.stderr
    assert (tmp_path / "parts" / "epoch-0004").is_dir()


def test_a_run_of_folders_continues_as_a_stream_and_the_other_way_round(
    tmp_path, flags, tiny_flags, run_script
):
    run = tmp_path / "run"
    run_script(SCRIPT, *tiny_flags, "--epochs", 1, "--decay_epochs", 0, "--output_dir", run)
    done = run_script(SCRIPT, *flags, "--epochs", 2, "--output_dir", run, "--resume", "auto")
    assert "--stream was off at the last start, now on" in done.stderr and (run / "epoch-0002").is_dir()
    run_script(SCRIPT, *tiny_flags, "--no-stream", "--epochs", 3, "--decay_epochs", 0, "--output_dir", run,
               "--resume", "auto")  # fmt: skip
    assert (run / "epoch-0003").is_dir()


def test_epochs_are_scored_on_the_first_pictures(tmp_path, flags, run_script):
    run = tmp_path / "run"
    done = run_script(SCRIPT, *flags, "--epochs", 2, "--output_dir", run, "--evaluate_every", 1)
    assert done.stderr.count("epoch 1, KID") == 1 and "isn't scored" not in done.stderr
    assert (run / "scores" / "training.json").is_file()
    done = run_script("-m", "cyclegan", "evaluate", run, ok=False)
    assert "name its folder with --dataset, or another one if it was streamed" in done.stderr


def test_what_can_be_foreseen_is_one_sentence_before_anything_is_written(tmp_path, flags, run_script):
    def refused(*more):
        done = run_script(SCRIPT, *flags, *more, "--output_dir", tmp_path / "run", ok=False)
        assert done.returncode != 0 and not (tmp_path / "run").exists()
        return done.stderr.strip().splitlines()[-1]

    assert "no pairs" in refused("--method", "pix2pix")
    assert "--max_images" in refused("--max_images", "3")
    assert "an update takes more pictures" in refused("--batch_size", "5")
