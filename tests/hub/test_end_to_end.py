"""The whole way: trained, killed between a commit and its tag, resumed, listed, translated; and without the Hub."""

import signal
from types import SimpleNamespace

import pytest
from PIL import Image

from tests.hub.test_training_push import NAME, SCRIPT
from tests.ui.conftest import HEADERS, OWNER, free_port, picture, wait_until_answers


@pytest.fixture
def translate(tmp_path, hub_env, start_script):
    """Start the app with a repository's id, translate a picture through its API, and end the app."""

    def with_epoch(epoch):
        from gradio_client import Client, handle_file

        picture(40, 36).save(tmp_path / "mine.png")
        port = free_port()
        # At a heartbeat the client notices that it was closed; one that is still there holds up the app's end.
        env = {**hub_env, **OWNER, "GRADIO_TEMP_DIR": str(tmp_path / "cache"), "GRADIO_HEARTBEAT_INTERVAL": "0.1"}
        app = start_script("app.py", "--checkpoints", NAME, "--port", port, env=env)

        def log():
            app.kill()
            return "\n".join(app.communicate(timeout=300))

        url = f"http://127.0.0.1:{port}/"
        wait_until_answers(url, app, SimpleNamespace(read_text=log))
        client = Client(url, headers=HEADERS, verbose=False, download_files=str(tmp_path / "downloads"))
        said, _, there, *_ = client.predict(
            image=handle_file(tmp_path / "mine.png"), epoch=f"epoch-{epoch:04d}", api_name="/translate"
        )
        page = str(client.config)
        client.close()
        app.send_signal(signal.SIGTERM)
        out, err = app.communicate(timeout=300)
        assert app.returncode == 0 and "Traceback" not in err, out + err
        with Image.open(there) as image:
            return said, image.info["cyclegan:commit_sha"], image.convert("RGB").tobytes(), page

    return with_epoch


def test_from_training_to_translating_through_a_crash_and_an_outage(
    tmp_path, tiny_flags, run_script, start_script, loopback, hub_env, translate
):
    flags = (*tiny_flags, "--epochs", "3", "--decay_epochs", "0", "--output_dir", tmp_path / "run",
             "--push_to_hub", "--hub_model_id", NAME)  # fmt: skip
    loopback.fail("POST .*/tag/", None)  # The first epoch's tag is set.
    trainer = start_script(SCRIPT, *flags, env=hub_env)
    loopback.fail("POST .*/tag/", action=trainer.kill)  # Before the second one's is.
    assert trainer.wait(300) == -9
    trainer.communicate()
    repo = loopback.repos[NAME]
    assert [commit["title"] for commit in repo.epoch_commits()] == ["Epoch 1", "Epoch 2"]
    assert list(repo.tags) == ["epoch-0001"]

    listed = run_script("-m", "hub", "list", NAME, env=hub_env, plain=True).stdout
    assert "2 epochs, 1 tag, 2 epoch commits" in listed and f"python -m hub tag {NAME}" in listed

    run_script(SCRIPT, *flags, "--resume", "auto", env=hub_env)
    listed = run_script("-m", "hub", "list", NAME, env=hub_env).stdout
    assert "3 epochs, 3 tags, 3 epoch commits" in listed
    assert [line.split()[0] for line in listed.splitlines()[1:4]] == ["epoch-0003", "epoch-0002", "epoch-0001"]

    said, sha, pixels, page = translate(2)
    assert said.startswith("Epoch 2, 40×36 pixels") and sha == repo.tags["epoch-0002"]
    assert "kept here" not in page

    loopback.close()
    again = translate(2)
    assert again[:3] == (again[0], sha, pixels) and again[0].startswith("Epoch 2, 40×36 pixels")
    assert "Only the 2 epochs of alice/day-night that are kept here can be used" in again[3]
    without = run_script("-m", "hub", "list", NAME, env=hub_env)
    assert "epoch-0002" in without.stdout and "can't be reached" in without.stderr
