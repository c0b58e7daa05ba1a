"""Files of weights that other programs wrote: known by their contents, imported if their networks exist here."""

import json
import os
import struct
import warnings
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cyclegan.__main__ import main
from cyclegan.checkpoints.import_reference import import_reference, read_generators, read_reference
from cyclegan.errors import CheckpointError
from cyclegan.networks import build_generator
from tests.checkpoints.test_import_reference import ReferenceResnet, randomised, refused, saved

PATCH = nn.ModuleDict({"model": nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 4))})


def sub(prefix, weights):
    return {f"{prefix}{key}": tensor for key, tensor in weights.items()}


def write(content, path):
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def two():
    """Weights of two generators that translate A → B and B → A."""
    return [dict(randomised(ReferenceResnet(6, 2), seed=seed).state_dict()) for seed in (1, 2)]


# --- wrapped --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {"state_dict": weights},
        lambda weights: {"netG": weights, "epoch": 7, "optimizer": {"state": {0: {"step": torch.ones(())}}}},
        lambda weights: {"model": sub("module.", weights), "arch": "resnet"},
        lambda weights: {**weights, "epoch": 5},
        lambda weights: {"state_dict": sub("net.", weights) | {"metric.scale": torch.ones(1)}},
        lambda weights: sub("model.", weights),
        lambda weights: {"gen": weights, "disc": dict(PATCH.state_dict())},
    ],
    ids=["state_dict", "netG", "model and module", "epoch beside", "Lightning", "in a module", "with a judge"],
)
def test_one_generator_in_a_wrapper(wrap, two, tmp_path):
    model, weights = read_reference(write(wrap(two[0]), tmp_path / "x.pth"))
    assert model.generator == "resnet_6"
    assert torch.equal(weights["stem.conv.weight"], two[0]["model.1.weight"])


@pytest.mark.parametrize(
    ("one", "other"),
    [("G_AB", "G_BA"), ("netG_A", "netG_B"), ("genA2B", "genB2A"), ("G_XtoY", "G_YtoX"), ("generator_ab", "gen_ba")],
)
@pytest.mark.parametrize("flat", [False, True])
def test_both_directions_in_one_file(one, other, flat, two, tmp_path):
    judge = dict(PATCH.state_dict())
    nested = {other: two[1], one: two[0], "D_A": judge, "netD_B": judge}
    if flat:
        nested = {f"{name}.{key}": value for name, weights in nested.items() for key, value in weights.items()}
    path = write({"state_dict": nested, "global_step": 3}, tmp_path / "last.ckpt")
    pair = import_reference([path])
    assert list(pair) == ["ab", "ba"]
    for way, theirs in zip(("ab", "ba"), two, strict=True):
        assert torch.equal(pair[way][1]["head.bias"], theirs["model.23.bias"])
    assert list(import_reference([path], "ba")) == ["ba"]


def test_names_without_a_direction_get_the_remedy_that_works(two, tmp_path):
    path = write(two[0], tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="add --direction ab for A → B"):
        import_reference([path])
    assert list(import_reference([path], "ba")) == ["ba"]
    path = write({"first": two[0], "second": two[1]}, tmp_path / "both.pth")
    for direction in (None, "ab"):
        with pytest.raises(CheckpointError, match="which way they translate"):
            import_reference([path], direction)
    with pytest.raises(CheckpointError, match="2 generators"):
        read_reference(path)


def test_contents_are_read_before_names_are_judged(tmp_path):
    """Someone with Keras weights is not sent to rename them first."""
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    with pytest.raises(CheckpointError, match="Keras"):
        import_reference([tmp_path / "weights.h5"])


def test_a_broken_generator_next_to_a_whole_one_is_not_left_out_in_silence(two, tmp_path):
    broken = {key: tensor for key, tensor in two[1].items() if key != "model.4.bias"}
    refused(write({"G_AB": two[0], "G_BA": broken}, tmp_path / "x.pth"), "(G_BA)", "lacks model.4.bias")


def test_the_command_takes_a_direction(two, tmp_path, capsys):
    path = write({"netG": two[0]}, tmp_path / "pytorch_model.bin")
    words = ["import", "--from", str(path), "--output", str(tmp_path / "run"), "--direction", "ba"]
    assert main(words) == 0 and "B → A" in capsys.readouterr().out
    assert (tmp_path / "run" / "epoch-0001" / "gen_ba.safetensors").exists()


def test_safetensors_of_others_and_our_own(two, tmp_path):
    save_file(two[0], tmp_path / "netG_A2B.safetensors")
    assert torch.equal(
        import_reference([tmp_path / "netG_A2B.safetensors"])["ab"][1]["stem.conv.weight"], two[0]["model.1.weight"]
    )
    save_file(read_reference(tmp_path / "netG_A2B.safetensors")[1], tmp_path / "gen_ab.safetensors")
    refused(tmp_path / "gen_ab.safetensors", "of this program already")
    content = (tmp_path / "gen_ab.safetensors").read_bytes()
    (tmp_path / "gen_ab.safetensors").write_bytes(content[: len(content) // 2])
    refused(tmp_path / "gen_ab.safetensors", "damaged or incomplete")


# --- relatives ------------------------------------------------------------------------------------------


class HugBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)]
        self.block = nn.Sequential(*half, nn.ReLU(), *again)

    def forward(self, x):
        return x + self.block(x)


class HugGenerator(nn.Module):
    """In the layout of HugGAN's and PyTorch-GAN's GeneratorResNet; their transposed variant, too."""

    def __init__(self, blocks, ngf, resizes):
        super().__init__()
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, ngf, 7), nn.InstanceNorm2d(ngf), nn.ReLU()]
        for width in (ngf, 2 * ngf):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU()]
        layers += [HugBlock(4 * ngf) for _ in range(blocks)]
        for width in (4 * ngf, 2 * ngf):
            if resizes:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width // 2, 3, 1, 1)]
            else:
                layers += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1)]
            layers += [nn.InstanceNorm2d(width // 2), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


@pytest.mark.parametrize("blocks", [6, 9])
@pytest.mark.parametrize("resizes", [True, False])
def test_huggans_generator_gives_the_same_picture(blocks, resizes, tmp_path):
    theirs = randomised(HugGenerator(blocks, 4, resizes)).double()
    model, weights = read_reference(saved(theirs, tmp_path, "pytorch_model.bin"))
    assert (model.generator, model.upsample) == (f"resnet_{blocks}", "resize_zeros" if resizes else "transpose")
    ours = build_generator(model).eval()
    ours.load_state_dict(weights)
    x = torch.rand(1, 3, 32, 48, dtype=torch.float64) * 2 - 1
    with torch.inference_mode():
        expected = theirs.float().double()(x)  # The file is read as float32.
        torch.testing.assert_close(ours.double()(x), expected, rtol=0, atol=1e-10)
    assert expected.std() > 0.05


def test_cuts_generators(tmp_path):
    """With its defaults, layers that blur come between ours; without them it is the reference's network."""
    weights = dict(ReferenceResnet(6, 2).state_dict())
    shifted = {}
    for key, tensor in weights.items():
        layer, _, rest = key.removeprefix("model.").partition(".")
        place = int(layer)
        place += (place > 4) + (place > 7) + 2 * (place > 16) + (place > 19)  # Positions after each of its four.
        shifted[f"model.{place}.{rest}"] = tensor
    for place, channels in ((7, 4), (11, 8), (18, 8), (22, 4)):
        shifted[f"model.{place}.filt"] = torch.ones(channels, 1, 3, 3)
    refused(write(shifted, tmp_path / "latest_net_G.pth"), "CUT", "blurs", "--no_antialias --no_antialias_up")
    assert read_reference(write(weights, tmp_path / "latest_net_G.pth"))[0].generator == "resnet_6"


@pytest.mark.parametrize("key", ["unet_lora_target_modules.x", "sd_encoder.conv.lora_A.weight"])
def test_adapted_diffusion_models(key, tmp_path):
    refused(write({key: torch.ones(2)}, tmp_path / "model.pkl"), "CycleGAN-turbo", "can't be imported")


# --- other kinds ----------------------------------------------------------------------------------------


def zipped(members):
    def make(path):
        with zipfile.ZipFile(path, "w") as archive:
            for member in members:
                archive.writestr(member, "{}")

    return make


def raw(start):
    return lambda path: path.write_bytes(start + b"\0" * 600)


KINDS = {
    "keras h5": ("generator.weights.h5", raw(b"\x89HDF\r\n\x1a\n"), ["Keras", "can't be imported"]),
    "keras zip": ("g.keras", zipped(["config.json", "metadata.json", "model.weights.h5"]), ["Keras"]),
    "tf index": ("ckpt-1.index", raw(b"\0\0\x01"), ["TensorFlow"]),
    "tf data": ("ckpt-1.data-00000-of-00001", raw(b"\x10\x20"), ["TensorFlow"]),
    "tf list": ("checkpoint", raw(b'model_checkpoint_path: "ckpt-1"'), ["TensorFlow"]),
    "tflite": ("g.tflite", raw(b"\x1c\0\0\0TFL3"), ["TensorFlow Lite"]),
    "onnx": ("latest_net_G_A.onnx", raw(b"\x08\x08\x12\x07pytorch"), ["ONNX", "PyTorch weights"]),
    "onnx by contents": ("latest_net_G_A.pth", raw(b"\x08\x08\x12\x07pytorch"), ["ONNX"]),
    "zip of weights": ("models.zip", zipped(["m/latest_net_G_A.pth", "m/readme.txt"]), ["archive", "unpack"]),
    "gzip": ("models.tar.gz", raw(b"\x1f\x8b\x08"), ["archive", "unpack"]),
    "web page": ("latest_net_G_A.pth", raw(b"\n <!DOCTYPE html>"), ["web page", "download it again"]),
    "pointer": ("latest_net_G_A.pth", raw(b"version https://git-lfs.github.com/spec/v1\n"), ["git lfs pull"]),
    "picture": ("latest_net_G_A.pth", raw(b"\x89PNG\r\n\x1a\n"), ["picture"]),
    "empty": ("latest_net_G_A.pth", lambda path: path.touch(), ["empty", "download it again"]),
    "pipe": ("latest_net_G_A.pth", os.mkfifo, ["not a regular file"]),
}


@pytest.mark.parametrize("case", KINDS)
def test_what_it_is_and_what_can_be_done(case, tmp_path):
    name, make, words = KINDS[case]
    make(tmp_path / name)
    with pytest.raises(CheckpointError) as caught:
        read_generators(tmp_path / name)
    for word in (name, *words):
        assert word in str(caught.value)


def test_a_saved_model_of_tensorflow_is_a_folder(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    refused(tmp_path, "SavedModel")


def test_the_kind_of_a_pickled_object_is_named(tmp_path):
    refused(write(ReferenceResnet(6, 2), tmp_path / "net.pth"), "ReferenceResnet", "could run code")


# --- hostile --------------------------------------------------------------------------------------------


def test_a_compressed_file_that_claims_gigabytes_is_not_unpacked(two, tmp_path):
    plain = write(two[0], tmp_path / "plain.pth")
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, b"\0" * 2**24 if "data/0" in member.filename else source.read(member))
    refused(tmp_path / "x.pth", "compressed archive")


@pytest.mark.parametrize(
    "key",
    ["\x1b[2Jmodel.1.weight\nerror: all good", "a" * 10_000, f"model.{'9' * 5000}.conv_block.1.weight"],
    ids=["control characters", "long", "huge number"],
)
def test_names_in_a_file_cannot_write_to_the_terminal(key, tmp_path):
    message = refused(write({key: torch.zeros(1)}, tmp_path / "x.pth"))
    assert message.isprintable() and len(message) < 400


def test_nested_tensors_and_too_many_parts(tmp_path, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # They are a prototype.
        nested = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
        path = write({"model.10.conv_block.1.weight": nested}, tmp_path / "x.pth")
    refused(path, "not plain floating-point numbers")
    monkeypatch.setattr("cyclegan.checkpoints.containers.MOST_PARTS", 3)
    zipped(["x/data.pkl", "x/data/0", "x/data/1", "x/data/2"])(path)
    refused(path, "has 4 parts")


def test_one_dictionary_in_many_places_is_read_once(tmp_path):
    shared = {f"k{i}": i for i in range(300)}
    for _ in range(3):
        shared = {f"k{i}": shared for i in range(300)}
    refused(write(shared, tmp_path / "x.pth"), "holds no weights")


def test_weights_that_share_memory_are_refused_before_a_copy(two, tmp_path):
    piece = torch.zeros(2**16)
    many = {f"model.{i}.weight": piece[i:] for i in range(2000)}  # 256 KB in the file, half a GB as copies.
    refused(write(two[0] | many, tmp_path / "x.pth"), "share their numbers")
    alone = {key: torch.zeros(1).expand(3, 3) if key == "model.4.bias" else tensor for key, tensor in two[0].items()}
    refused(write(alone, tmp_path / "x.pth"), "not plain")


def test_nothing_is_copied_before_names_and_shapes_fit(two, tmp_path, monkeypatch):
    monkeypatch.setattr("cyclegan.checkpoints.import_reference.copied", None)
    refused(write(two[0] | {"model.4.more": torch.zeros(3)}, tmp_path / "x.pth"), "model.4.more")
    refused(write(two[0] | {"model.4.bias": torch.zeros(3)}, tmp_path / "x.pth"), "has the shape (3,)")


def test_many_levels_end(tmp_path):
    deep = {"model.model.0.weight": torch.zeros(8, 3, 4, 4)}
    for level in range(1500):
        deep["model.model.1.model" + ".3.model" * level + ".1.weight"] = torch.zeros(1)
    refused(write(deep, tmp_path / "x.pth"), "U-Net that halves")


def test_safetensors_whose_header_lies(tmp_path):
    header = json.dumps({"model.1.weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    refused(tmp_path / "x.safetensors", "damaged or incomplete")
