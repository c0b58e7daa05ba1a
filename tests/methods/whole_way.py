"""A method goes the whole way through the programs: trained, killed, resumed, published in a folder, translated."""

import json
import signal
import time

import torch
from PIL import Image
from safetensors.torch import load_file

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.translation.translator import Translator

FLAGS = ("--dataset", "streets:count=3,size=36", "--load_size", "36", "--crop_size", "32", "--generator", "resnet_6",
         "--ngf", "4", "--ndf", "4", "--sample_count", "2", "--log_every", "1", "--epochs", "2", "--decay_epochs", "0",
         "--ema", "0.9")  # fmt: skip


def whole_way(tmp_path, run_script, start_script, *flags):
    """Return the last epoch's record and its checkpoint, after a training that was killed in its second epoch."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_script("train_accelerate.py", *FLAGS, *flags, "--output_dir", whole)
    process = start_script("train_accelerate.py", *FLAGS, *flags, "--output_dir", killed)
    deadline, log = time.monotonic() + 120, killed / "metrics.jsonl"
    while not (log.is_file() and '"step": 4' in log.read_text()):  # In the second epoch of three steps.
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = run_script("train_accelerate.py", *FLAGS, *flags, "--output_dir", killed, "--resume", "auto")
    assert "resumed from" in done.stderr and "warning" not in done.stderr
    names = [path.name for path in (whole / "epoch-0002").glob("*.safetensors")]
    for name in names:
        ours, theirs = (load_file(run / "epoch-0002" / name) for run in (whole, killed))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    checkpoint = LocalSource(killed).load(2)
    for direction in LocalSource(killed).list()[0].directions:
        result = Translator(checkpoint, "cpu").translate(Image.new("RGB", (40, 32), "teal"), direction)
        assert result.fake.size == (40, 32)
    assert (killed / "curves.png").stat().st_size > 1000
    return json.loads((killed / "epoch-0002" / "checkpoint.json").read_text()), checkpoint
