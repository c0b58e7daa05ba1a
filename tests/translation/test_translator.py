"""Pictures of any size through a checkpoint."""

import functools
import threading
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan.checkpoints.format import load_checkpoint
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.errors import Cancelled, CheckpointError, ImageError
from cyclegan.images import mean_difference, to_tensor
from cyclegan.translation import translator as module
from cyclegan.translation.cache import TranslatorCache
from cyclegan.translation.saving import save_image
from cyclegan.translation.translator import Translator


def picture(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def translator(tmp_path, make_checkpoint):
    return Translator(load_checkpoint(make_checkpoint(tmp_path, 1)), "cpu")


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (1, 1), (3, 200), (130, 5), (61, 64)])
@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_the_output_has_the_inputs_size(translator, size, direction):
    result = translator.translate(picture(*size), direction, reconstruct=True)
    assert result.fake.size == result.rec.size == size and result.fake.mode == "RGB"
    assert 0 <= result.reconstruction_l1 <= 255


def test_the_result_is_the_networks_own(translator):
    image = picture(32, 36)
    expected = translator.generators["ab"](to_tensor(image)[None])[0]
    fake = to_tensor(translator.translate(image, "ab").fake)
    assert (fake - expected).abs().max() <= 1.01 / 255  # One grey level is 2/255, rounding is half of it.


def test_padding_reflects_and_never_stretches(translator):
    """What lies beyond the edge is the mirrored picture: translating the mirrored whole gives the same pixels."""
    image = picture(30, 29)
    mirrored = np.pad(np.asarray(image), ((0, 3), (0, 2), (0, 0)), mode="reflect")
    by_hand = translator.translate(Image.fromarray(mirrored), "ab").fake.crop((0, 0, 30, 29))
    assert mean_difference(translator.translate(image, "ab").fake, by_hand) == 0


@pytest.mark.parametrize("generator", ["unet_128", "encoder_decoder"])
def test_other_architectures_take_any_size_too(tmp_path, make_checkpoint, generator):
    translator = Translator(load_checkpoint(make_checkpoint(tmp_path, 1, generator=generator)), "cpu")
    assert translator.translate(picture(50, 130), "ab", reconstruct=True).rec.size == (50, 130)


def test_a_working_size_scales_there_and_back(translator):
    seen = []
    original = translator.generators["ab"].forward
    translator.generators["ab"].forward = lambda x: (seen.append(tuple(x.shape[2:])), original(x))[1]
    assert translator.translate(picture(200, 100), "ab", size=32).fake.size == (200, 100)
    assert seen == [(32, 64)]


@pytest.mark.parametrize(("size", "shorter", "worked"), [
    ((200, 100), 32, (64, 32)),
    ((1, 1), 256, (256, 256)),
    ((600, 1), 256, (20_000, 33)),
    ((3, 3000), 256, (20, 20_000)),
    ((20_000, 2), 64, (20_000, 2)),
    ((20_000, 2000), 64, (640, 64)),
    ((640, 480), 20_000, (8164, 6123)),
    ((10_000, 5000), 5001, (10_000, 5000)),
    ((600, 1), None, (600, 1)),
])  # fmt: skip
def test_enlargement_ends_at_the_bounds_of_training(size, shorter, worked):
    assert module.working_size(size, shorter) == worked
    assert max(worked) <= 20_000 and worked[0] * worked[1] <= 50_000_000


def test_a_missing_direction_and_a_huge_picture_are_sentences(tmp_path, make_checkpoint, monkeypatch):
    translator = Translator(load_checkpoint(make_checkpoint(tmp_path, 1, directions=("ab",))), "cpu")
    result = translator.translate(picture(32, 32), "ab", reconstruct=True)
    assert result.rec is None and result.reconstruction_l1 is None
    with pytest.raises(CheckpointError, match="A → B only"):
        translator.translate(picture(32, 32), "ba")
    memory = type("Memory", (), {"available": 100_000})
    monkeypatch.setattr("cyclegan.translation.translator.psutil.virtual_memory", lambda: memory)
    with pytest.raises(ImageError, match="working size"):
        translator.translate(picture(200, 200), "ab")


def test_progress_grows_with_each_whole_pass(translator):
    parts = []
    translator.translate_many([picture(40, 36)], "ab", reconstruct=True, progress=parts.append)
    assert parts == [0.5, 1.0]


def test_large_pictures_go_in_pieces_and_come_out_the_same(translator):
    image = picture(700, 501)
    whole = translator.translate(image, "ab", reconstruct=True)
    small = Translator(translator.checkpoint, "cpu", max_bytes=20 * 2**20)
    parts = []
    (pieced,) = small.translate_many([image], "ab", reconstruct=True, progress=parts.append)
    assert len(parts) > 4 and parts == sorted(parts) and parts[-1] == 1
    for one, other in ((whole.fake, pieced.fake), (whole.rec, pieced.rec)):
        assert one.size == (700, 501) and np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 1
    two = small.translate_many([image, picture(700, 501, 2)], "ab")
    assert [np.array_equal(np.asarray(each.fake), np.asarray(pieced.fake)) for each in two] == [True, False]
    with pytest.raises(Cancelled):
        small.translate_many([image], "ab", cancelled=lambda: len(parts) > 0)


def test_a_bound_that_is_too_small_is_a_sentence(translator):
    with pytest.raises(ImageError, match="150×131 needs more memory .* choose a smaller working size"):
        Translator(translator.checkpoint, "cpu", max_bytes=2**20).translate(picture(150, 131), "ab")


def test_a_batch_too_large_for_a_device_goes_one_by_one(translator, monkeypatch):
    seen = []
    original = translator.generators["ab"].forward

    def forward(x):
        seen.append(len(x))
        if len(x) > 1:
            raise torch.OutOfMemoryError("no room")
        return original(x)

    monkeypatch.setattr(translator.generators["ab"], "forward", forward)
    assert len(translator.translate_many([picture(32, 32), picture(32, 32, 1)], "ab")) == 2
    assert seen == [2, 1, 1]


class SmallDevice:
    """A device on which a pass fits up to `pixels` of the whole picture, and pieces up to `piece_bytes`."""

    def __init__(self, monkeypatch, translator, pixels, piece_bytes=2**40):
        self.whole, self.bounds = [], []
        for network in translator.generators.values():
            monkeypatch.setattr(network, "forward", functools.partial(self.forward, network.forward, pixels))
        pieces = module.translate_in_pieces

        def in_pieces(network, x, *, max_bytes, **options):
            self.bounds.append(max_bytes)
            done = pieces(network, x, max_bytes=max_bytes, **options)
            if max_bytes > piece_bytes:  # At the very end, so that all progress was reported.
                raise torch.OutOfMemoryError("no room")
            return done

        monkeypatch.setattr(module, "translate_in_pieces", in_pieces)
        monkeypatch.setattr(module.Translator, "_bound", lambda *_: None)  # As on a GPU.
        monkeypatch.setattr(module, "free_bytes", lambda device: 256 * 2**20)

    def forward(self, original, pixels, x):
        self.whole.append(len(x))
        if x.shape[0] * x.shape[2] * x.shape[3] > pixels:
            raise torch.OutOfMemoryError("no room")
        return original(x)


def alike(one, other):
    return one.size == other.size and np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 1


@pytest.mark.parametrize("piece_bytes", [2**40, 50 * 2**20])
def test_a_picture_too_large_for_a_device_goes_in_pieces(translator, monkeypatch, piece_bytes):
    image = picture(301, 200)
    whole = translator.translate(image, "ab", reconstruct=True)
    device, parts = SmallDevice(monkeypatch, translator, 200 * 200, piece_bytes), []
    (pieced,) = translator.translate_many([image], "ab", reconstruct=True, progress=parts.append)
    assert alike(whole.fake, pieced.fake) and alike(whole.rec, pieced.rec)
    assert device.whole == [1], "the way back knows already that a whole pass does not fit"
    halved = [256, 128, 64, 32, 32] if piece_bytes < 2**40 else [256, 256]
    assert device.bounds == [size * 2**20 for size in halved]
    assert parts == sorted(parts) and parts[-1] == 1
    small = translator.translate(image, "ab", size=100)
    assert small.fake.size == image.size and device.whole == [1, 1] and len(device.bounds) == len(halved)


def test_a_batch_too_large_goes_one_by_one_and_in_pieces_where_even_one_is(translator, monkeypatch):
    images = [picture(100, 90), picture(100, 90, 1)]
    whole = translator.translate_many(images, "ab")
    device = SmallDevice(monkeypatch, translator, 4000)
    assert all(alike(a.fake, b.fake) for a, b in zip(whole, translator.translate_many(images, "ab"), strict=True))
    assert device.whole == [2, 1, 1] and len(device.bounds) == 2


def test_a_device_too_small_for_any_piece_is_a_sentence(translator, monkeypatch):
    device = SmallDevice(monkeypatch, translator, 4000, piece_bytes=0)
    sentence = r"100×90 needs more memory .* \(the device has too little\): choose a smaller"
    with pytest.raises(ImageError, match=sentence):
        translator.translate(picture(100, 90), "ab")
    assert device.bounds == sorted(device.bounds, reverse=True) and len(device.bounds) > 3
    assert device.bounds[-1] <= 2**25


def test_the_memory_of_a_failed_pass_is_free_before_the_pieces(translator, monkeypatch):
    class Held:
        pass

    alive = []

    def forward(x):
        held = Held()
        alive.append(weakref.ref(held))
        raise torch.OutOfMemoryError("no room")

    def in_pieces(network, x, *, max_bytes, **_):
        assert not any(each() for each in alive), "the failed pass is still referred to"
        held = Held()
        alive.append(weakref.ref(held))
        if max_bytes > 2**26:
            raise torch.OutOfMemoryError("no room")
        return x

    monkeypatch.setattr(translator.generators["ab"], "forward", forward)
    monkeypatch.setattr(module, "translate_in_pieces", in_pieces)
    monkeypatch.setattr(module, "free_bytes", lambda device: 2**28)
    assert translator.translate(picture(32, 32), "ab").fake.size == (32, 32) and len(alive) == 4


@pytest.mark.gpu
def test_a_gpu_that_is_nearly_full(tmp_path, make_checkpoint, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    translator = Translator(load_checkpoint(make_checkpoint(tmp_path, 1)), "cuda")
    image = picture(3001, 2000)
    whole = translator.translate(image, "ab")
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    monkeypatch.setattr(module, "free_bytes", lambda device: int(0.8 * 2**29))
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**29) / total)
    try:
        assert alike(whole.fake, translator.translate(image, "ab").fake)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_png_says_where_it_comes_from(tmp_path, translator):
    result = translator.translate(picture(32, 32), "ab")
    save_image(result.fake, tmp_path / "x.png", checkpoint=translator.checkpoint, direction="ab")
    with Image.open(tmp_path / "x.png") as saved:
        assert saved.text["cyclegan:commit_sha"] == translator.checkpoint.info.commit_sha
        assert (saved.text["cyclegan:epoch"], saved.text["cyclegan:direction"]) == ("1", "ab")
        assert np.array_equal(np.asarray(saved), np.asarray(result.fake))
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_the_cache_keeps_within_its_bound_and_follows_the_content(tmp_path, make_checkpoint):
    for epoch in (1, 2, 3):
        make_checkpoint(tmp_path, epoch)
    source = LocalSource(tmp_path)
    cache = TranslatorCache(device="cpu")
    first = cache.get(source, 1)
    assert cache.get(source, 1) is first and cache.get(source).checkpoint.info.epoch == 3
    small = TranslatorCache(max_bytes=2 * first.nbytes, device="cpu")
    kept = [small.get(source, epoch) for epoch in (1, 2, 3)]
    assert small.get(source, 2) is kept[1] and small.get(source, 3) is kept[2]
    assert small.get(source, 1) is not kept[0]
    make_checkpoint(tmp_path, 1, seed=5)  # The same epoch, other weights.
    changed = cache.get(source, 1)
    assert changed is not first
    weights = [t.generators["ab"].head.weight for t in (first, changed)]
    assert not torch.equal(*weights)
    with pytest.raises(CheckpointError, match="no epoch 9"):
        cache.get(source, 9)


def test_a_slow_source_holds_up_nobody_elses_checkpoint(tmp_path, make_checkpoint):
    for name in ("slow", "quick"):
        make_checkpoint(tmp_path / name, 1, seed=len(name))
    go, loading, loads = threading.Event(), threading.Event(), []

    class Slow(LocalSource):
        def load(self, *arguments):
            loads.append(arguments)
            loading.set()
            assert go.wait(300)
            return super().load(*arguments)

    slow, cache, got = Slow(tmp_path / "slow"), TranslatorCache(device="cpu"), []
    threads = [threading.Thread(target=lambda: got.append(cache.get(slow, 1))) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert loading.wait(300)
        assert cache.get(LocalSource(tmp_path / "quick")).checkpoint.info.epoch == 1
        assert got == []
    finally:
        go.set()
        for thread in threads:
            thread.join(300)
    assert len(got) == 2 and got[0] is got[1] and len(loads) == 1
