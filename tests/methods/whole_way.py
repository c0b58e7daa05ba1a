"""A method goes the whole way through the programs: trained, killed, resumed, published in a folder, translated."""

import json
import signal
import time

from PIL import Image

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.translation.translator import Translator
from hub.card import make_card

FLAGS = ("--dataset", "streets:count=3,size=36", "--load_size", "36", "--crop_size", "32", "--generator", "resnet_6",
         "--ngf", "4", "--ndf", "4", "--sample_count", "2", "--log_every", "1", "--epochs", "3", "--decay_epochs", "0",
         "--ema", "0.9")  # fmt: skip


def whole_way(tmp_path, run_script, start_script, *flags):
    """Return the last epoch's record and the model card of a training that was killed after its first epoch."""
    run = tmp_path / "run"
    process = start_script("train_accelerate.py", *FLAGS, *flags, "--output_dir", run)
    deadline = time.monotonic() + 120
    # An epoch has three steps. Its state is written while the next one trains.
    while not any(int(state.name[5:]) >= 3 for state in run.glob("training_state/step-*")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not (run / "epoch-0003").exists()
    done = run_script("train_accelerate.py", *FLAGS, *flags, "--output_dir", run, "--resume", "auto")
    assert "resumed from" in done.stderr
    source = LocalSource(run)
    info, checkpoint = source.list()[0], source.load(3)
    assert info.epoch == 3
    for direction in info.directions:
        result = Translator(checkpoint, "cpu").translate(Image.new("RGB", (40, 32), "teal"), direction)
        assert result.fake.size == (40, 32)
    assert (run / "curves.png").stat().st_size > 1000
    record = json.loads((run / "epoch-0003" / "checkpoint.json").read_text())
    return record, make_card("alice/x", info, [], files={})
