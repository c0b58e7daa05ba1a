"""Translations of many pictures that are killed, share their work, or run on a Ray cluster: each is there once."""

import contextlib
import json
import os
import signal
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import ConfigError
from cyclegan.translation.files import Item
from cyclegan.translation.manifest import Manifest, finished_in
from cyclegan.translation.pictures import translate_pictures
from cyclegan.translation.processes import translate_on_devices
from cyclegan.translation.saving import Encoding
from cyclegan.translation.translator import Translator

PATIENCE_S = 240


@pytest.fixture
def checkpoint(tmp_path, make_checkpoint):
    make_checkpoint(tmp_path / "run", 1)
    return LocalSource(tmp_path / "run").load(1)


def small_pictures(folder, count, side=16):
    folder.mkdir()
    rng, items = np.random.default_rng(0), []
    for number in range(count):
        path = folder / f"{number:05}.png"
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
        items.append(Item(path, None, path.name, path.name))
    return items


def pixels(folder):
    """The results by name; a file that isn't whole can't be read."""
    found = {}
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as image:
            found[path.name] = np.asarray(image.convert("RGB"), int)
    return found


def alike(one, other):
    return one.keys() == other.keys() and all(np.abs(one[name] - other[name]).max() <= 1 for name in one)


def records(folder):
    """All finished names, as often as they are recorded."""
    texts = [path.read_text().rpartition("\n")[0] for path in folder.glob("translated*.jsonl")]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    return [line["name"] for line in lines if "name" in line]


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_killed_amid_its_work_it_continues_with_what_is_missing(tmp_path, start_script, run_script, checkpoint):
    items, out = small_pictures(tmp_path / "in", 300, 32), tmp_path / "out"
    words = ("cyclegan", "translate", "--checkpoints", tmp_path / "run", "--direction", "ab", "--device", "cpu",
             "--input", tmp_path / "in", "--output", out, "--skip_existing")  # fmt: skip
    for more in (20, 60):
        process = start_script(*words)
        before = len(records(out))
        until(lambda wanted=before + more: len(records(out)) >= wanted)
        process.kill()
        process.wait()
    finished = records(out)
    assert 80 <= len(finished) < 300
    times = {name: os.stat(out / f"{name}.png").st_mtime_ns for name in finished}
    for path in out.glob(".*.part"):
        os.utime(path, (0, 0))  # As it would be ten minutes later.
    run_script(*words)
    assert sorted(records(out)) == [f"{number:05}" for number in range(300)]
    assert {name: os.stat(out / f"{name}.png").st_mtime_ns for name in finished} == times
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    (tmp_path / "plain").mkdir()
    translate_pictures(Translator(checkpoint, "cpu"), items, tmp_path / "plain", "ab")
    assert alike(pixels(out), pixels(tmp_path / "plain"))


def test_several_devices_share_the_work_and_a_killed_one_is_told(tmp_path, checkpoint):
    items, out = small_pictures(tmp_path / "in", 60), tmp_path / "out"
    out.mkdir()
    (tmp_path / "in" / "00007.png").write_bytes(b"damaged")
    steps = []
    options = {"settings": {"checkpoint": "c"}, "reconstruct": False, "encoding": Encoding()}
    done = translate_on_devices(checkpoint, items, out, "ab", ["cpu", "cpu"], progress=steps.append, **options)
    assert len(done.failed) == 1 and "00007.png" in str(done.failed[0]) and steps[-1] == 60
    assert len(records(out)) == 59 == len(finished_in(out, {"checkpoint": "c"}))
    (tmp_path / "plain").mkdir()
    translate_pictures(Translator(checkpoint, "cpu"), items, tmp_path / "plain", "ab")
    assert alike(pixels(out), pixels(tmp_path / "plain"))

    def kill(_):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # It is dying of the last call.
                if "spawn_main" in " ".join(child.cmdline()):
                    child.send_signal(signal.SIGKILL)

    (tmp_path / "killed").mkdir()
    with pytest.raises(ConfigError, match="run the same command with --skip_existing"):
        translate_on_devices(
            checkpoint, items * 50, tmp_path / "killed", "ab", ["cpu", "cpu"], progress=kill, **options
        )


@pytest.mark.filterwarnings("ignore")  # Ray warns of its own settings, and leaves files open.
def test_ray_translates_each_picture_once_though_a_worker_is_killed(tmp_path, checkpoint):
    """Two nodes on this machine; one network's process is killed amid 2,000 pictures."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    from cyclegan.translation.ray_engine import translate_by_ray

    items, out = small_pictures(tmp_path / "in", 2000), tmp_path / "out"
    (tmp_path / "in" / "00007.png").write_bytes(b"damaged")
    out.mkdir()
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 2**28}
    )
    killed = []
    try:
        cluster.add_node(num_cpus=1, object_store_memory=2**28)

        def progress(done):
            if 300 < done < 1500 and not killed:
                for process in psutil.process_iter(["cmdline"]):
                    if "MapWorker(MapBatches(_Network" in " ".join(process.info["cmdline"] or ()):
                        process.kill()
                        killed.append(process.pid)
                        break

        with Manifest(out, {"checkpoint": "c"}) as manifest:
            done = translate_by_ray(
                checkpoint, items, out, "ab", encoding=Encoding(), manifest=manifest, address=cluster.address,
                progress=progress,
            )  # fmt: skip
    finally:
        cluster.shutdown()
    assert killed and len(done.failed) == 1 and "00007.png" in str(done.failed[0])
    assert sorted(records(out)) == [f"{number:05}" for number in range(2000) if number != 7]
    (tmp_path / "plain").mkdir()
    translate_pictures(Translator(checkpoint, "cpu"), items, tmp_path / "plain", "ab")
    assert alike(pixels(out), pixels(tmp_path / "plain"))
    with pytest.raises(ConfigError, match="no Ray cluster answers at 127.0.0.1:1"), Manifest(out, {}) as manifest:
        translate_by_ray(checkpoint, items, out, "ab", encoding=Encoding(), manifest=manifest, address="127.0.0.1:1")
