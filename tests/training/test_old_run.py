"""A run that older code began goes on where it was: old_run/ is of commit 7195efb, after one epoch.

`expected` holds what the same code made of the second epoch, with the flags below and `picture_folders`.
"""

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

OLD = Path(__file__).parent / "old_run"
FLAGS = ("--generator", "resnet_6", "--ngf", "1", "--ndf", "1", "--load_size", "36", "--crop_size", "32",
         "--sample_count", "2", "--log_every", "1", "--pool_size", "2", "--dropout", "--ema", "0.9",
         "--decay_epochs", "0", "--mixed_precision", "no", "--num_workers", "0")  # fmt: skip


def test_a_run_of_older_code_is_resumed(tmp_path, picture_folders, run_script):
    run, again = tmp_path / "run", tmp_path / "again"
    shutil.copytree(OLD / "run", run)
    flags = ("--dataset", picture_folders, *FLAGS, "--epochs", "2")
    done = run_script("train_accelerate.py", *flags, "--output_dir", run, "--resume", "auto")
    assert "resumed from step-000000004 (1 epochs done, step 4)" in done.stderr
    run_script("train_accelerate.py", *flags, "--output_dir", again)
    for name in ("gen_ab", "gen_ba"):
        first, ours = (load_file(again / f"epoch-000{n}" / f"{name}.safetensors") for n in (1, 2))
        theirs, old = (load_file(path / f"{name}.safetensors") for path in (run / "epoch-0002", OLD / "expected"))
        for key, value in old.items():
            torch.testing.assert_close(theirs[key], value, rtol=1e-3, atol=1e-4)
            # Another kind of CPU rounds in another way, from the first epoch on.
            begun = load_file(OLD / "run" / "epoch-0001" / f"{name}.safetensors")[key]
            if torch.equal(first[key], begun):
                assert torch.equal(ours[key], theirs[key]) and torch.equal(theirs[key], value)
