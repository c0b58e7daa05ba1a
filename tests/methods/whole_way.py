"""A method goes the whole way through the programs: trained, killed, resumed, published in a folder, translated."""

import json
import signal
import time

from PIL import Image

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.translation.translator import Translator
from hub.card import make_card

FLAGS = ("--dataset", "streets:count=3,size=36", "--load_size", "36", "--crop_size", "32", "--generator", "resnet_6",
         "--ngf", "4", "--ndf", "4", "--sample_count", "2", "--log_every", "1", "--epochs", "2", "--decay_epochs", "0",
         "--ema", "0.9")  # fmt: skip


def whole_way(tmp_path, run_script, start_script, *flags):
    """Return the last epoch's record and the model card of a training that was killed in its second epoch."""
    run = tmp_path / "run"
    process = start_script("train_accelerate.py", *FLAGS, *flags, "--output_dir", run)
    deadline, log = time.monotonic() + 120, run / "metrics.jsonl"
    while not (log.is_file() and '"step": 4' in log.read_text()):  # In the second epoch of three steps.
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not (run / "epoch-0002").exists()
    done = run_script("train_accelerate.py", *FLAGS, *flags, "--output_dir", run, "--resume", "auto")
    assert "resumed from" in done.stderr
    source = LocalSource(run)
    info, checkpoint = source.list()[0], source.load(2)
    assert info.epoch == 2
    for direction in info.directions:
        result = Translator(checkpoint, "cpu").translate(Image.new("RGB", (40, 32), "teal"), direction)
        assert result.fake.size == (40, 32)
    assert (run / "curves.png").stat().st_size > 1000
    record = json.loads((run / "epoch-0002" / "checkpoint.json").read_text())
    return record, make_card("alice/x", info, [], files={})
