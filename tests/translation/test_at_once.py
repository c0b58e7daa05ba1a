"""Several batches at once on a CPU: each has its share of the processors, and the results are those of one by one."""

import threading

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan.errors import ImageError
from cyclegan.translation import at_once as module
from cyclegan.translation import pictures as module_of_pictures
from cyclegan.translation.files import Item
from cyclegan.translation.pictures import translate_pictures
from cyclegan.translation.translator import Translator


@pytest.fixture
def cores(monkeypatch, tmp_path):
    """A machine of 8 processors with no other calls, and the numbers of threads that were set."""
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    numbers = []
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    return numbers


@pytest.fixture
def translator(make_checkpoint, tmp_path):
    from cyclegan.checkpoints.sources import LocalSource

    make_checkpoint(tmp_path / "run", crop_size=64)
    return Translator(LocalSource(tmp_path / "run").load(1), "cpu")


def items(folder, sizes):
    folder.mkdir()
    found = []
    for number, size in enumerate(sizes):
        path = folder / f"{number:02}.png"
        values = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(values).save(path)
        found.append(Item(path, None, path.name, path.name))
    return found


def together(monkeypatch, translator, parties, timeout=60):
    """Let passes wait for others: returns the most that were at work at once."""
    seen, now, lock, meet = [], [0], threading.Lock(), threading.Barrier(parties)
    original = type(translator).translate_many

    def many(self, images, *words, **options):
        with lock:
            now[0] += 1
            seen.append((now[0], [image.size for image in images]))
        if parties > 1 and len(seen) <= parties:
            meet.wait(timeout)
        try:
            return original(self, images, *words, **options)
        finally:
            with lock:
                now[0] -= 1

    monkeypatch.setattr(type(translator), "translate_many", many)
    return seen


def test_batches_go_at_once_and_give_what_each_gives_alone(tmp_path, translator, cores, monkeypatch):
    given = items(tmp_path / "in", [(64, 64)] * 40 + [(48, 64)] * 5)
    seen = together(monkeypatch, translator, module.MOST_AT_ONCE)
    progress = []
    done = translate_pictures(translator, given, tmp_path / "out", "ab", progress=progress.append)
    assert not done.failed and progress == sorted(progress) and progress[-1] == len(given)
    assert max(count for count, _ in seen) == module.MOST_AT_ONCE
    assert set(cores) == {2, 8}  # 8 processors for 4 at once, and as it was at the end.
    monkeypatch.setattr(module_of_pictures, "most_at_once", lambda *_: 1)
    translate_pictures(translator, given, tmp_path / "alone", "ab")
    for item in given:
        with Image.open(tmp_path / "out" / item.target) as one, Image.open(tmp_path / "alone" / item.target) as two:
            assert np.abs(np.asarray(one).astype(int) - np.asarray(two)).max() <= 1


def test_networks_choose_before_the_first_picture(tmp_path, translator, cores, monkeypatch):
    done = []
    monkeypatch.setattr(module, "choose_ways", lambda network: done.append((network, cores[-1])))
    original = type(translator).translate_many
    monkeypatch.setattr(
        type(translator), "translate_many", lambda self, *a, **k: done.append("a batch") or original(self, *a, **k)
    )
    translate_pictures(translator, items(tmp_path / "in", [(64, 64)] * 3), tmp_path / "out", "ab")
    assert done[:2] == [(network, 2) for network in translator.generators.values()] and "a batch" in done[2:]


def test_a_large_picture_has_all_processors(tmp_path, translator, cores, monkeypatch):
    monkeypatch.setitem(module.BATCH_PIXELS, "cpu", 64 * 64)
    given = items(tmp_path / "in", [(64, 64), (64, 64), (96, 96), (64, 64)])
    seen = together(monkeypatch, translator, 1)
    translate_pictures(translator, given, tmp_path / "out", "ab")
    assert [count for count, sizes in seen if sizes == [(96, 96)]] == [1]
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert 8 in cores[:-1]


def test_one_that_fails_among_those_at_once(tmp_path, translator, cores, monkeypatch):
    given = items(tmp_path / "in", [(64, 64)] * 24)
    original = type(translator).translate_many

    def many(self, images, *words, **options):
        if any(image.getpixel((0, 0)) == bad for image in images):
            raise ImageError("too dark")
        return original(self, images, *words, **options)

    with Image.open(given[5].path) as image:
        bad = image.getpixel((0, 0))
    monkeypatch.setattr(type(translator), "translate_many", many)
    done = translate_pictures(translator, given, tmp_path / "out", "ab")
    assert [str(one) for one in done.failed] == ["05.png: too dark"]
    assert len(list((tmp_path / "out").iterdir())) == 23


def test_ctrl_c_ends_a_pass_at_its_next_layer(tmp_path, translator, cores, monkeypatch):
    given = items(tmp_path / "in", [(64, 64)] * 24)
    network, inside, layers = translator.generators["ab"], threading.Event(), []

    def first(*_):
        inside.set()
        assert stop.wait(60)

    stop = threading.Event()
    network.stem.register_forward_hook(first)
    network.head.register_forward_hook(lambda *_: layers.append("the last one"))

    def progress(done):
        raise AssertionError("nothing was finished")

    def interrupted(*_):
        assert inside.wait(60)
        threading.Timer(0.2, stop.set).start()
        raise KeyboardInterrupt

    monkeypatch.setattr(module_of_pictures.Tasks, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        translate_pictures(translator, given[:4], tmp_path / "out", "ab", progress=progress)
    assert not layers
    # The next call isn't concerned.
    monkeypatch.undo()
    stop.set()
    assert not translate_pictures(translator, given[:4], tmp_path / "out", "ab").failed and layers


@pytest.mark.parametrize(
    ("threads", "at_once"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 3), (8, 4), (9, 3), (64, 4)]
)
def test_few_threads_are_left_idle(threads, at_once):
    assert module.most_at_once(torch.device("cpu"), threads) == at_once
    assert module.most_at_once(torch.device("cuda"), threads) == 1


def test_a_picture_that_is_padded_to_a_large_one_goes_alone(translator):
    translator.generators["ab"].size_multiple = translator.generators["ab"].min_size = 256
    assert module.goes_alone(translator, (3000, 60)) and not module.goes_alone(translator, (512, 512))


def test_a_bug_and_ctrl_c_end_it(tmp_path, translator, cores, monkeypatch):
    given = items(tmp_path / "in", [(64, 64)] * 24)
    for kind in (ValueError, KeyboardInterrupt):
        calls = []

        def many(self, images, *words, kind=kind, calls=calls, **options):
            calls.append(images)
            raise kind

        monkeypatch.setattr(type(translator), "translate_many", many)
        with pytest.raises(kind):
            translate_pictures(translator, given, tmp_path / "out", "ab")
        assert len(calls) <= 2 * module.MOST_AT_ONCE
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("translate")]
