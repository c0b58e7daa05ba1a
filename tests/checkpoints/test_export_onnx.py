"""Generators as ONNX files: the same pictures as torch's, in programs that have no torch."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from cyclegan import __version__
from cyclegan.__main__ import main
from cyclegan.checkpoints import export_onnx as export
from cyclegan.checkpoints.export_onnx import export_onnx
from cyclegan.checkpoints.format import Checkpoint, CheckpointConfig, CheckpointInfo, load_checkpoint
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import DataConfig, ModelConfig
from cyclegan.errors import CheckpointError
from cyclegan.images import open_image
from cyclegan.networks import build_generator, generator_of
from cyclegan.translation.translator import Translator

ROOT = Path(__file__).parents[2]
# An export takes ten seconds, so there is one of each family, and each has several options.
KINDS = {
    "resnet_9": {"generator": "resnet_9"},
    "resnet_6": {"generator": "resnet_6", "upsample": "resize", "dropout": True, "norm_affine": True},
    "unet_128": {"generator": "unet_128", "dropout": True, "test_dropout": True, "norm_affine": True},
    "encoder_decoder": {"generator": "encoder_decoder", "upsample": "resize", "leaky_slope": 0.1},
}


def make(kind, crop_size=32):
    """A checkpoint in memory, of one direction."""
    torch.manual_seed(0)
    model = ModelConfig(ngf=4, init_gain=0.2, **KINDS[kind])
    generator = build_generator(model)
    with torch.no_grad():  # Scales of 1 and shifts of 0 would look right wherever they end up.
        for name, value in generator.named_parameters():
            if "norm" in name or name.endswith("bias"):
                value += 0.3 * torch.randn_like(value)
    config = CheckpointConfig(model=model, data=DataConfig(domain_a="day", domain_b="밤", crop_size=crop_size))
    info = CheckpointInfo(epoch=12, commit_sha="0123456789" * 4, created="", config=config, directions=("ab",))
    return Checkpoint(info, config, {"ab": generator.eval().requires_grad_(False)})


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(checkpoint, what was exported), made once for each kind."""
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def get(kind):
        if kind not in made:
            checkpoint = make(kind)
            made[kind] = checkpoint, export_onnx(checkpoint, "ab", folder / f"{kind}.onnx")
        return made[kind]

    return get


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def noise(*shape, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_every_generator_gives_torchs_pictures_at_any_size(exported, kind):
    checkpoint, done = exported(kind)
    generator, runtime = checkpoint.generators["ab"], session(done.path)
    assert len(done.checked) == 3 and 0 <= done.max_difference <= 0.05
    assert any(n == 2 for n, _, _ in done.checked) and any(h != w for _, h, w in done.checked)
    least, multiple = generator.min_size, generator.size_multiple
    assert (done.min_size, done.size_multiple) == (least, multiple)
    # None of them was the example that it was exported with, or the ones that it was checked with.
    for n, height, width in ((1, least, least), (3, least, least + 3 * multiple), (1, least + 2 * multiple, least)):
        x = noise(n, 3, height, width)
        (y,) = runtime.run(["translation"], {"image": x})
        assert y.shape == x.shape and y.dtype == np.float32 and np.abs(y).max() <= 1
        assert np.abs(y - generator(torch.from_numpy(x)).numpy()).max() * 127.5 < 0.05


@pytest.mark.parametrize("kind", ["resnet_6", "unet_128"])
def test_what_the_file_says_of_itself(exported, kind):
    checkpoint, done = exported(kind)
    runtime = session(done.path)
    assert runtime.get_modelmeta().custom_metadata_map == {
        "commit_sha": "0123456789" * 4,
        "epoch": "12",
        "direction": "ab",
        "domain_a": "day",
        "domain_b": "밤",
        "generator": kind,
        "layout": "NCHW RGB",
        "value_range": "-1 1",
        "input_values": "0:255",
        "output_values": "0:255",
        "size_multiple": {"resnet_6": "4", "unet_128": "128"}[kind],
        "min_size": {"resnet_6": "8", "unet_128": "128"}[kind],
        "crop_size": "32",
        "program_version": f"cyclegan-workbench {__version__}",
    }
    (given,), (made,) = runtime.get_inputs(), runtime.get_outputs()
    multiple = done.size_multiple
    assert given.name == "image" and made.name == "translation"
    assert given.shape == made.shape == ["n", 3, f"{multiple}*h", f"{multiple}*w"]
    assert given.type == made.type == "tensor(float)"


def test_one_file_that_tells_nothing_of_this_machine(exported):
    checkpoint, done = exported("resnet_9")
    assert [p.name for p in done.path.parent.iterdir() if p.name.startswith((".", "resnet_9"))] == ["resnet_9.onnx"]
    model = onnx.load(done.path)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", export.OPSET)]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("InstanceNormalization") == 23 and "Reshape" not in kinds  # One node for a norm, not five.
    content = done.path.read_bytes()
    assert str(ROOT).encode() not in content and sys.prefix.encode() not in content and b".py" not in content
    weights = sum(p.numel() for p in checkpoint.generators["ab"].parameters())
    assert len(content) < 4 * weights + 100_000


def test_the_generator_stays_as_it_was(exported):
    generator = exported("resnet_6")[0].generators["ab"]
    assert any(isinstance(m, torch.nn.GroupNorm) for m in generator.modules())
    assert all(torch.equal(a, b) for a, b in zip(
        generator.state_dict().values(), make("resnet_6").generators["ab"].state_dict().values(), strict=True
    ))  # fmt: skip


def documented_example():
    page = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", page, re.S) if "onnxruntime" in c]
    return code


def test_from_the_shell_into_a_program_without_torch(tmp_path, make_checkpoint, run_script):
    """The documented example, to the letter, on a file that the command wrote."""
    for epoch in (3, 4):
        make_checkpoint(tmp_path / "run", epoch, directions=("ba",))
    target = tmp_path / "runs" / "painting.onnx"
    words = ("-m", "cyclegan", "export", tmp_path / "run", "--direction", "ba", "--format", "onnx")
    done = run_script(*words, "--epoch", 3, "--output", target, env={"TORCH_CPP_LOG_LEVEL": "WARNING"})
    assert done.stderr == ""  # No warning and no log of the exporter's.
    first, takes, checked = done.stdout.splitlines()
    assert "night → day of epoch 3" in first and str(target) in first and "opset 18" in first
    assert "[-1, 1]" in takes and "multiples of 4, at least 8" in takes
    assert "2×3×68×64: at most 0.0" in checked and "grey levels" in checked

    program = tmp_path / "elsewhere.py"
    without = "import sys\nsys.modules.update(torch=None, cyclegan=None, onnx=None)\n"
    program.write_text(without + documented_example(), encoding="utf-8")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    # Sides that the network can't take, and a camera held upright.
    picture = Image.fromarray(pixels).resize((45, 61), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "photo.jpg", exif=exif)
    elsewhere = subprocess.run([sys.executable, "-W", "error", program], cwd=tmp_path, capture_output=True,
                               text=True, timeout=300)  # fmt: skip
    assert elsewhere.returncode == 0, elsewhere.stderr
    translator = Translator(LocalSource(tmp_path / "run").load(3), "cpu")
    expected = translator.translate(open_image(tmp_path / "photo.jpg"), "ba").fake
    with Image.open(target.parent / "painting.png") as image:
        assert image.size == expected.size == (61, 45)
        difference = np.abs(np.asarray(image, dtype=int) - np.asarray(expected, dtype=int))
    assert difference.max() <= 1 and (difference == 0).mean() > 0.99


@pytest.fixture
def again(exported, monkeypatch):
    """Let a kind's export begin with what torch exported already; the model, to be changed."""

    def start(kind):
        model = onnx.load(exported(kind)[1].path)
        del model.metadata_props[:]
        monkeypatch.setattr(export, "_model", lambda generator, channels: model)
        return model

    return start


def test_a_file_that_differs_from_torch_gets_no_name(tmp_path, exported, again):
    checkpoint = exported("resnet_6")[0]
    model = again("resnet_6")
    (bias,) = [t for t in model.graph.initializer if t.name == "head.bias"]
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.02), bias.name))
    refused = r"x.onnx was not written: ONNX Runtime differs from torch by [12]\.?\d* grey levels, and 0.5 are allowed"
    with pytest.raises(CheckpointError, match=refused):
        export_onnx(checkpoint, "ab", tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_torch_or_the_runtime_refuse_is_one_sentence(tmp_path, monkeypatch, again):
    def refuse(*args, **kwargs):
        raise RuntimeError("Failed to export the model.\n" + "a wall of text\n" * 1000)

    with monkeypatch.context() as patch:
        patch.setattr(torch.onnx, "export", refuse)
        with pytest.raises(CheckpointError, match="could not export .* update torch, onnx and onnxscript") as caught:
            export_onnx(make("resnet_6"), "ab", tmp_path / "x.onnx")
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    again("resnet_6").graph.node[0].op_type = "Unknown"
    with pytest.raises(CheckpointError, match="ONNX Runtime can't run .* update torch and onnxruntime") as caught:
        export_onnx(make("resnet_6"), "ab", tmp_path / "x.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_network_is_not_exported(tmp_path, again):
    checkpoint = make("resnet_6")
    checkpoint.generators["ab"].head.bias[1] = float("nan")
    again("resnet_6")
    with pytest.raises(CheckpointError, match="export another epoch"):
        export_onnx(checkpoint, "ab", tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--direction": "AtoB"}, "--direction AtoB: give ab (day → night) or ba (night → day)"),
        ({"--format": "tflite"}, "invalid choice"),
        ({"--epoch": "0"}, "whole number above 0"),
        ({"--epoch": "7"}, "has no epoch 7"),
        ({"--direction": "ba"}, "A → B only, not B → A"),
        ({"source": "none"}, "is not a folder"),
        ({"--output": "x.pt"}, "must end in .onnx"),
        ({"--output": "run"}, "must end in .onnx"),
        ({"--output": "taken.onnx"}, "taken.onnx exists already"),
        ({"--output": "taken.onnx/x.onnx"}, "can't be written (File exists)"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path, make_checkpoint, monkeypatch, capsys, change, says):
    make_checkpoint(tmp_path / "run", 1, directions=("ab",))
    (tmp_path / "taken.onnx").write_text("mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **kwargs: pytest.fail("began to work"))
    flags = {"source": "run", "--direction": "ab", "--output": "new.onnx", **change}
    words = [flags.pop("source"), *(word for flag in flags.items() if flag[1] is not None for word in flag)]
    try:
        status = main(["export", *words])
    except SystemExit as stopped:
        status = stopped.code
    out, err = capsys.readouterr()
    assert status != 0 and says in err and len(err.splitlines()) == 1 and out == ""
    assert {p.name for p in tmp_path.iterdir()} == {"run", "taken.onnx"}
    assert (tmp_path / "taken.onnx").read_text() == "mine"


def test_a_full_disk_leaves_nothing(tmp_path, again, monkeypatch):
    again("resnet_6")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match=r"can't be written \(No space left on device\): free space"):
        export_onnx(make("resnet_6"), "ab", tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", [("onnx",), ("onnxscript", "onnxruntime"), export.PACKAGES])
def test_missing_packages_are_named(tmp_path, make_checkpoint, monkeypatch, capsys, missing):
    make_checkpoint(tmp_path / "run", 1)
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    target = tmp_path / "x.onnx"
    assert main(["export", str(tmp_path / "run"), "--direction", "ab", "--output", str(target)]) == 1
    err = capsys.readouterr().err
    assert f"needs {' and '.join(missing)}: pip install onnx onnxscript onnxruntime" in err
    assert len(err.splitlines()) == 1 and not target.exists()
    with pytest.raises(CheckpointError, match="pip install"):
        export_onnx(make("resnet_6"), "ab", target)


def test_only_the_direction_that_was_asked_for_is_loaded(tmp_path, make_checkpoint, monkeypatch, capsys):
    """And the file's name, if none is given, says what it is."""
    folder, asked = make_checkpoint(tmp_path / "run", 12), []
    (folder / "gen_ba.safetensors").write_bytes(b"damaged")

    def stop(checkpoint, *arguments):
        asked.append((list(checkpoint.generators), *arguments))
        raise CheckpointError("far enough")

    monkeypatch.setattr(export, "export_onnx", stop)
    assert main(["export", str(tmp_path / "run"), "--direction", "ab"]) == 1
    assert "far enough" in capsys.readouterr().err
    assert asked == [(["ab"], "ab", Path("epoch-0012-ab.onnx"))]
    with pytest.raises(CheckpointError, match="translates A → B only, not B → A"):
        export_onnx(make("resnet_6"), "ba", tmp_path / "ba.onnx")


def test_a_file_without_a_name_is_said_to_be_in_the_current_folder(tmp_path, make_checkpoint, monkeypatch, capsys):
    make_checkpoint(tmp_path / "run", 12)
    monkeypatch.chdir(tmp_path)

    def write(checkpoint, direction, path):
        path.write_bytes(b"")
        return export.Exported(path, 4, 8, ((1, 64, 64),), 0.0)

    monkeypatch.setattr(export, "export_onnx", write)
    for words, where in (([], "epoch-0012-ab.onnx in the current folder,"), (["--output", "a.onnx"], "a.onnx,")):
        assert main(["export", "run", "--direction", "ab", *words]) == 0
        assert f" written to {where} 0.0 MB" in capsys.readouterr().out


def test_other_channels_than_rgb(tmp_path, make_checkpoint):
    """The file says which values -1 and 1 stand for, since nobody could know."""
    info = load_checkpoint(make_checkpoint(tmp_path, 1))
    data = dataclasses.replace(info.config.data, channels_a=1, channels_b=2, range_a="0:4095", range_b="-1000:3000")
    config = dataclasses.replace(info.config, data=data)
    ways = {"ab": generator_of(config, "ab").eval().requires_grad_(False)}
    done = export_onnx(Checkpoint(info=info.info, config=config, generators=ways), "ab", tmp_path / "ct.onnx")
    runtime = session(done.path)
    said = runtime.get_modelmeta().custom_metadata_map
    assert (said["input_values"], said["output_values"], said["layout"]) == ("0:4095", "-1000:3000", "NCHW")
    assert runtime.get_inputs()[0].shape[1] == 1 and runtime.get_outputs()[0].shape[1] == 2
