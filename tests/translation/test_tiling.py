"""Piece by piece gives what one pass gives, within the bound, and leaves nothing behind."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn

from cyclegan.errors import Cancelled
from cyclegan.networks import EncoderDecoder, ResnetGenerator, UnetGenerator, initialise
from cyclegan.translation import tiling
from cyclegan.translation.feature_maps import RunningMoments
from cyclegan.translation.tiling import BoundTooSmall, least_bytes, translate_in_pieces

ROOT = Path(__file__).parents[2]
BUILD = {
    "resnet": lambda **options: ResnetGenerator(4, 2, **options),
    "unet": lambda **options: UnetGenerator(5, 4, **options),
    "encoder_decoder": lambda **options: EncoderDecoder(4, **options),
}
# Grey levels of 255. Far below the one that is promised: these networks and pictures are small.
CLOSE = 0.02


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    """Tiny networks take less than libraries do, so that these would be all that a bound is about."""
    monkeypatch.setattr(tiling, "OVERHEAD", 0)
    monkeypatch.setattr(tiling, "SMALLEST", 12)


def network(kind="resnet", **options):
    torch.manual_seed(0)
    generator = BUILD[kind](**options)
    initialise(generator, gain=0.3)
    for parameter in generator.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.2, 1.2)  # Biases of zero would hide a border padded before a bias.
    return generator.eval()


def picture(height=64, width=96):
    """Noise, dark on the left and bright, with more contrast, on the right."""
    noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)) - 0.5
    left = torch.arange(width) < width // 2
    return torch.where(left, 0.2 * noise - 0.7, noise + 0.4)


def whole(generator, x):
    with torch.inference_mode():
        return generator(x)


def grey_levels(one, other):
    return (one - other).abs().max().item() * 127.5


def in_pieces(generator, x, **options):
    """At the smallest bound; and in how many pieces."""
    done = []
    least = least_bytes(generator, *x.shape[2:])
    result = translate_in_pieces(generator, x, max_bytes=least, progress=done.append, **options)
    return result, len(done)


@pytest.mark.parametrize("norm_affine", [False, True])
@pytest.mark.parametrize("upsample", ["transpose", "resize"])
@pytest.mark.parametrize("kind", BUILD)
def test_every_network_gives_what_one_pass_gives(kind, upsample, norm_affine):
    generator, x = network(kind, upsample=upsample, norm_affine=norm_affine), picture()
    expected = whole(generator, x)
    assert expected.std() > 0.1
    result, pieces = in_pieces(generator, x)
    assert result.shape == x.shape
    assert grey_levels(result, expected) < CLOSE
    passes = []
    assert grey_levels(translate_in_pieces(generator, x, max_bytes=2**30, progress=passes.append), expected) < CLOSE
    assert pieces > 1.5 * len(passes), "the bound is so wide that nothing was cut into pieces"


def test_zeros_around_the_picture():
    """As imported HugGAN networks have them before their convolutions on the way up."""
    generator, x = network("resnet", upsample="resize_zeros"), picture()
    result, pieces = in_pieces(generator, x)
    assert pieces > 1 and grey_levels(result, whole(generator, x)) < CLOSE


ODD = [("resnet", 8, 1004), ("resnet", 732, 12), ("resnet", 8, 8), ("resnet", 100, 52), ("unet", 32, 672),
       ("unet", 544, 32), ("encoder_decoder", 32, 560), ("encoder_decoder", 400, 48)]  # fmt: skip


@pytest.mark.parametrize(("kind", "height", "width"), ODD)
@pytest.mark.parametrize("upsample", ["transpose", "resize"])
def test_wide_tall_and_odd_pictures(kind, height, width, upsample):
    generator, x = network(kind, upsample=upsample), picture(height, width)
    assert grey_levels(in_pieces(generator, x)[0], whole(generator, x)) < CLOSE


@pytest.mark.parametrize("smallest", [1, 3, 5, 7, 31])
@pytest.mark.parametrize("kind", BUILD)
def test_windows_of_any_size(kind, smallest, monkeypatch):
    monkeypatch.setattr(tiling, "SMALLEST", smallest)
    generator, x = network(kind, upsample="resize" if smallest == 3 else "transpose"), picture(32, 64)
    assert grey_levels(in_pieces(generator, x)[0], whole(generator, x)) < CLOSE


def test_statistics_are_the_whole_pictures():
    """Each half translated by itself is far off; in pieces that see each half alone, too, nothing is."""
    generator, x = network(), picture(64, 128)
    expected = whole(generator, x)
    halves = torch.cat([whole(generator, half) for half in x.split(64, dim=3)], dim=3)
    assert (halves - expected).abs().mean() * 127.5 > 5
    assert grey_levels(in_pieces(generator, x)[0], expected) < CLOSE


def test_a_large_mean_loses_no_precision():
    values = 1000 + 0.1 * torch.randn(1, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    values[:, 1] += 50 * torch.arange(64) / 64
    moments = RunningMoments()
    for part in values.split([5, 40, 19], dim=3):
        moments.add(part)
    exact = values.double()
    torch.testing.assert_close(moments.mean, exact.mean(dim=(0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(moments.variance, exact.var(dim=(0, 2, 3), correction=0), rtol=1e-4, atol=0)


def test_layout_of_network_and_picture_does_not_matter():
    generator, x = network(), picture()
    expected = whole(generator, x)
    generator.to(memory_format=torch.channels_last)
    result, _ = in_pieces(generator, x.contiguous(memory_format=torch.channels_last))
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert grey_levels(result, expected) < CLOSE


def test_dropout_is_left_out():
    generator, x = network(dropout=True), picture()
    assert grey_levels(in_pieces(generator.train(), x)[0], whole(generator.eval(), x)) < CLOSE


@pytest.mark.gpu
@pytest.mark.parametrize("kind", BUILD)
def test_on_a_gpu(kind, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    generator, x = network(kind).cuda(), picture().cuda()
    result, _ = in_pieces(generator, x)
    assert result.device == x.device
    assert grey_levels(result, whole(generator, x)) < CLOSE
    assert grey_levels(translate_in_pieces(generator, x, max_bytes=2**30), whole(generator, x)) < CLOSE


@pytest.fixture
def files(monkeypatch, tmp_path):
    """The temporary files that were opened; the folder that they are in is `tmp_path`."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    opened, real = [], tempfile.TemporaryFile

    def spied(*arguments, **options):
        opened.append(real(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", spied)
    return opened


def test_files_are_used_where_the_bound_asks_for_it(files):
    generator, x = network(), picture()
    translate_in_pieces(generator, x, max_bytes=2**30)
    assert not files
    result, _ = in_pieces(generator, x)
    assert len(files) == 9 and all(file.closed for file in files)
    assert grey_levels(result, whole(generator, x)) < CLOSE


def test_cancelling_leaves_no_files(files, tmp_path):
    generator, x = network(), picture()
    seen = []

    def cancelled():
        seen.append(list(tmp_path.iterdir()))
        return len(seen) > 30

    with pytest.raises(Cancelled) as caught:
        in_pieces(generator, x, cancelled=cancelled)
    assert caught.tb and files and all(file.closed for file in files), "what refers to the frames must not matter"
    assert len(seen) == 31  # At once.
    assert not any(seen) or os.name == "nt", "a file has a name, and would outlive a killed process"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_in_a_sentence(monkeypatch):
    generator, x = network(), picture()
    sentence = "needs a temporary file of .* MiB; free some space, name a folder"
    with open("/dev/full", "r+b", buffering=0) as full, pytest.raises(OSError, match=sentence) as caught:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: full)
        in_pieces(generator, x)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("kind", BUILD)
def test_progress_rises_to_one(kind):
    generator, x = network(kind), picture()
    done = []
    translate_in_pieces(generator, x, max_bytes=least_bytes(generator, *x.shape[2:]), progress=done.append)
    assert done == sorted(done) and done[0] < 0.1 and done[-1] == 1.0
    # The plan and the run count the same work.
    assert done[-2] == pytest.approx(1.0, abs=1e-9)


def test_too_small_a_bound_names_the_least(monkeypatch):
    generator, x = network(), picture()
    least = least_bytes(generator, 64, 96)
    with pytest.raises(BoundTooSmall, match="96×64 needs at least 1 MiB .* raise the bound, or choose a smaller"):
        translate_in_pieces(generator, x, max_bytes=least - 2)
    translate_in_pieces(generator, x, max_bytes=least)
    assert least_bytes(generator, 6400, 9600) < 4 * least  # It hardly grows with the picture.
    monkeypatch.setattr(tiling, "OVERHEAD", 2**20)
    assert least_bytes(generator, 64, 96) == least + 2**20


def test_what_is_no_single_picture_is_refused():
    generator = network()
    with pytest.raises(ValueError, match="multiples of 4"):
        translate_in_pieces(generator, torch.zeros(1, 3, 30, 32), max_bytes=2**30)
    with pytest.raises(ValueError, match="one picture at a time, not 2"):
        translate_in_pieces(generator, torch.zeros(2, 3, 32, 32), max_bytes=2**30)


def test_an_unknown_network_is_refused():
    class Other(type(network()).__mro__[1]):
        size_multiple = min_size = 4

    with pytest.raises(TypeError, match="Other can't be computed in pieces"):
        translate_in_pieces(Other(), picture(), max_bytes=2**30)


MEASURE = """
import resource, torch
from cyclegan.networks import ResnetGenerator
from cyclegan.translation.tiling import translate_in_pieces
generator = ResnetGenerator(16, 1).eval().to(memory_format=torch.channels_last)
x = torch.zeros(1, 3, 1024, 1024)
result = torch.ones_like(x)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
translate_in_pieces(generator, x[..., :8, :8], max_bytes=2**26)
before = peak()
translate_in_pieces(generator, x, max_bytes=2**26)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_a_process_stays_near_the_bound():
    """Measured exactly by benchmarks/tiling.py; here with room for a busy machine. One pass takes 250 MiB and more."""
    done = subprocess.run([sys.executable, "-c", MEASURE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100 * 2**10
