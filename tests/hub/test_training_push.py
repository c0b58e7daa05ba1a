"""The real training script with --push_to_hub, against the Hub on this machine."""

SCRIPT = "train_accelerate.py"


def test_publishing_from_the_training_and_after_it(tmp_path, tiny_flags, run_script, loopback, hub_env):
    run, name = tmp_path / "run", "alice/day-night"
    flags = (*tiny_flags, "--decay_epochs", "0", "--output_dir", run, "--push_to_hub", "--hub_model_id", name)
    run_script(SCRIPT, *flags, "--epochs", 1, env=hub_env)
    assert set(loopback.repos[name].tags) == {"epoch-0001"}
    loopback.fail("POST .*/commit/", status=500, times=100)
    done = run_script(SCRIPT, *flags, "--epochs", 2, "--resume", "auto", env=hub_env)
    assert "epoch-0002" in done.stderr and f"python -m hub push {run} {name}" in done.stderr
    assert set(loopback.repos[name].tags) == {"epoch-0001"} and (run / "epoch-0002").is_dir()
    wrong = run_script(
        SCRIPT, *flags, "--epochs", 3, "--resume", "auto", env={**hub_env, "HF_TOKEN": "hf_no"}, ok=False
    )
    assert wrong.returncode == 1 and "token" in wrong.stderr and not (run / "epoch-0003").exists()
