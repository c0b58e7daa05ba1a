"""Import of the authors' weights: the same picture comes out; what doesn't fit is refused in a sentence.

The networks below are written anew, in the layout whose key names the authors' files have.
"""

import os
import pickle
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from cyclegan.checkpoints.format import load_checkpoint
from cyclegan.checkpoints.import_reference import find_direction, import_checkpoint, import_reference, read_reference
from cyclegan.errors import CheckpointError
from cyclegan.networks import build_generator


class ReferenceBlock(nn.Module):
    def __init__(self, channels, dropout, affine):
        super().__init__()
        layers = [
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=affine),
            nn.ReLU(),
        ]
        if dropout:
            layers.append(nn.Dropout(0.5))
        layers += [
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=affine),
        ]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.conv_block(x)


class ReferenceResnet(nn.Module):
    def __init__(self, blocks=9, ngf=8, dropout=False, affine=False, inputs=3, outputs=3):
        super().__init__()

        def norm(channels):
            return nn.InstanceNorm2d(channels, affine=affine)

        layers = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, ngf, 7), norm(ngf), nn.ReLU()]
        for width in (ngf, 2 * ngf):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), norm(2 * width), nn.ReLU()]
        layers += [ReferenceBlock(4 * ngf, dropout, affine) for _ in range(blocks)]
        for width in (4 * ngf, 2 * ngf):
            layers += [
                nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1),
                norm(width // 2),
                nn.ReLU(),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, outputs, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x)


class ReferenceLevel(nn.Module):
    def __init__(self, outer, inner, inside=None, outermost=False, dropout=False, norm=nn.InstanceNorm2d, rgb=3):
        super().__init__()
        self.outermost = outermost
        bias = norm is not nn.BatchNorm2d
        down = nn.Conv2d(rgb if outermost else outer, inner, 4, 2, 1, bias=bias)
        up_inputs = inner if inside is None else 2 * inner
        up = nn.ConvTranspose2d(up_inputs, rgb if outermost else outer, 4, 2, 1, bias=bias or outermost)
        if outermost:
            layers = [down, inside, nn.ReLU(), up, nn.Tanh()]
        elif inside is None:
            layers = [nn.LeakyReLU(0.2), down, nn.ReLU(), up, norm(outer)]
        else:
            layers = [nn.LeakyReLU(0.2), down, norm(inner), inside, nn.ReLU(), up, norm(outer)]
            if dropout:
                layers.append(nn.Dropout(0.5))
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class ReferenceUnet(nn.Module):
    def __init__(self, halvings=8, ngf=4, dropout=False, norm=nn.InstanceNorm2d, rgb=3):
        super().__init__()
        level = ReferenceLevel(8 * ngf, 8 * ngf, norm=norm)
        for _ in range(halvings - 5):
            level = ReferenceLevel(8 * ngf, 8 * ngf, level, dropout=dropout, norm=norm)
        for width in (4, 2, 1):
            level = ReferenceLevel(width * ngf, 2 * width * ngf, level, norm=norm)
        self.model = ReferenceLevel(None, ngf, level, outermost=True, norm=norm, rgb=rgb)

    def forward(self, x):
        return self.model(x)


def affine_norm(channels):
    return nn.InstanceNorm2d(channels, affine=True)


def randomised(network, seed=0):
    """Weights large enough that every layer shapes the picture."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=random)
            is_scale = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.3 * noise if is_scale else 0.1 * noise)
    return network.eval()


def saved(network, folder, name="latest_net_G_A.pth", change=None, **settings):
    weights = network.state_dict()
    if change:
        weights = change(weights)
    torch.save(weights, folder / name, **settings)
    return folder / name


def with_prefix(weights):
    return {f"module.{key}": tensor for key, tensor in weights.items()}


def with_statistics(weights):
    """As torch before 0.4 saved instance norm."""
    more = dict(weights)
    for position, channels in ((2, 8), (5, 16), (8, 32)):
        more[f"model.{position}.running_mean"] = torch.randn(channels)
        more[f"model.{position}.running_var"] = torch.rand(channels)
        more[f"model.{position}.num_batches_tracked"] = torch.tensor(7)
    for block in range(10, 16):
        more[f"model.{block}.conv_block.2.running_mean"] = torch.randn(32)
        more[f"model.{block}.conv_block.6.running_var"] = torch.rand(32)
    return more


def test_the_layout_below_is_the_published_one():
    with torch.device("meta"):
        nine, six = ReferenceResnet(9, 64).state_dict(), ReferenceResnet(6, 64).state_dict()
    assert sum(tensor.numel() for tensor in nine.values()) == 11_378_179
    assert sum(tensor.numel() for tensor in six.values()) == 7_837_699
    layers = [1, 4, 7, *(f"{block}.conv_block.{i}" for block in range(10, 19) for i in (1, 5)), 19, 22, 26]
    assert set(nine) == {f"model.{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert {"model.16.weight", "model.19.weight", "model.23.weight"} <= set(six)


CASES = {
    "resnet_9": (lambda: ReferenceResnet(9), {}, {"generator": "resnet_9"}),
    "resnet_6": (lambda: ReferenceResnet(6), {}, {"generator": "resnet_6"}),
    "resnet_9 ngf 32": (lambda: ReferenceResnet(9, 32), {}, {"generator": "resnet_9", "ngf": 32}),
    "dropout": (lambda: ReferenceResnet(6, dropout=True), {}, {"generator": "resnet_6", "dropout": True}),
    "affine": (lambda: ReferenceResnet(6, affine=True), {}, {"generator": "resnet_6", "norm_affine": True}),
    "affine dropout": (
        lambda: ReferenceResnet(6, affine=True, dropout=True),
        {},
        {"generator": "resnet_6", "norm_affine": True, "dropout": True},
    ),
    "prefix": (lambda: ReferenceResnet(6), {"change": with_prefix}, {"generator": "resnet_6"}),
    "statistics": (lambda: ReferenceResnet(6), {"change": with_statistics}, {"generator": "resnet_6"}),
    "affine statistics": (
        lambda: ReferenceResnet(6, affine=True),
        {"change": with_statistics},
        {"generator": "resnet_6", "norm_affine": True},
    ),
    "old file format": (
        lambda: ReferenceResnet(6),
        {"_use_new_zipfile_serialization": False},
        {"generator": "resnet_6"},
    ),
    "unet_256": (lambda: ReferenceUnet(8), {}, {"generator": "unet_256", "ngf": 4}),
    "unet_128": (lambda: ReferenceUnet(7), {}, {"generator": "unet_128", "ngf": 4}),
    "unet dropout": (lambda: ReferenceUnet(8, dropout=True), {}, {"generator": "unet_256", "ngf": 4}),
    "unet prefix": (lambda: ReferenceUnet(7), {"change": with_prefix}, {"generator": "unet_128", "ngf": 4}),
    "unet affine": (
        lambda: ReferenceUnet(7, norm=affine_norm),
        {},
        {"generator": "unet_128", "ngf": 4, "norm_affine": True},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_picture_comes_out(case, tmp_path):
    make, how, expected = CASES[case]
    reference = randomised(make())
    model, weights = read_reference(saved(reference, tmp_path, **how))
    assert {name: getattr(model, name) for name in expected} == expected
    assert model.ngf == expected.get("ngf", 8)
    assert model.dropout == expected.get("dropout", False)
    assert model.norm_affine == expected.get("norm_affine", False)
    assert (model.upsample, model.leaky_slope) == ("transpose", 0.2)

    ours = build_generator(model).eval()
    ours.load_state_dict(weights)
    x = torch.rand(2, 3, max(32, ours.min_size), max(32, ours.min_size), dtype=torch.float64) * 2 - 1
    with torch.inference_mode():
        theirs = reference.double()(x)
        torch.testing.assert_close(ours.double()(x), theirs, rtol=0, atol=1e-10)
    assert theirs.std() > 0.05  # a picture, not a flat grey on which anything agrees


def test_half_precision_is_read_as_full(tmp_path):
    def halved(weights):
        return {key: tensor.half() for key, tensor in weights.items()}

    path = saved(ReferenceResnet(6), tmp_path, change=halved)
    assert {tensor.dtype for tensor in read_reference(path)[1].values()} == {torch.float32}


def test_weights_share_no_memory(tmp_path):
    """One flat buffer behind all tensors is legal in a file, and safetensors could not write it."""
    network = ReferenceResnet(6)
    flat = torch.cat([tensor.flatten() for tensor in network.state_dict().values()])

    def views(weights):
        parts = flat.split([tensor.numel() for tensor in weights.values()])
        return {key: part.view(weights[key].shape) for key, part in zip(weights, parts, strict=True)}

    _, weights = read_reference(saved(network, tmp_path, change=views))
    assert len({tensor.untyped_storage().data_ptr() for tensor in weights.values()}) == len(weights)


# --- refusals -------------------------------------------------------------------------------------------


def refused(path, *words):
    """The refusal: one sentence that names the file, the reason and, after a colon, the remedy."""
    with pytest.raises(CheckpointError) as caught:
        read_reference(path)
    message = str(caught.value)
    for word in (path.name, *words):
        assert word in message
    assert "\n" not in message and ": " in message and not message.endswith(".")
    assert "weights_only" not in message
    return message


def without(key):
    return lambda weights: {k: v for k, v in weights.items() if k != key}


def plus(key, tensor):
    return lambda weights: {**weights, key: tensor}


@pytest.mark.parametrize("blocks", [3, 7])
def test_other_numbers_of_blocks(blocks, tmp_path):
    refused(saved(ReferenceResnet(blocks), tmp_path), f"{blocks} residual blocks", "6 or 9")


def test_other_unets(tmp_path):
    refused(saved(ReferenceUnet(6), tmp_path), "halves 6 times")


@pytest.mark.parametrize("inputs, outputs", [(1, 3), (3, 1), (1, 1), (16, 2)])
def test_other_channels(inputs, outputs, tmp_path):
    _, folder = import_checkpoint(
        [str(saved(ReferenceResnet(6, inputs=inputs, outputs=outputs), tmp_path, name="latest_net_G_A.pth"))],
        tmp_path / "run", epoch=1, domain_a="MR", domain_b="CT", crop_size=64,
    )
    data = load_checkpoint(folder).config.data
    assert (data.values("a").channels, data.values("b").channels) == (inputs, outputs)
    assert (data.values("a").text(), data.values("b").text()) == ("0:255", "0:255")


def test_too_many_channels(tmp_path):
    refused(saved(ReferenceResnet(6, inputs=17), tmp_path), "17 channels", "1 to 16")


def test_one_channel_in_a_unet(tmp_path):
    network = ReferenceUnet(7, rgb=1)
    model, weights = read_reference(saved(network, tmp_path))
    ours = build_generator(model, in_channels=1, out_channels=1).eval()
    ours.load_state_dict(weights)
    x = torch.rand(1, 1, 128, 128) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(ours(x), network.eval()(x), rtol=0, atol=1e-5)


def test_discriminators(tmp_path):
    patch = nn.Sequential(nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 4, 1, 1))
    refused(saved(nn.ModuleDict({"model": patch}), tmp_path), "discriminator", "net_G")
    pixel = nn.Sequential(nn.Conv2d(3, 8, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 1))
    refused(saved(nn.ModuleDict({"net": pixel}), tmp_path), "discriminator", "net_G")
    with pytest.raises(CheckpointError, match="discriminator"):
        find_direction(tmp_path / "latest_net_D_A.pth")


def test_batch_norm(tmp_path):
    refused(saved(ReferenceUnet(8, norm=nn.BatchNorm2d), tmp_path), "batch norm", "instance norm")

    def without_biases(weights):
        """Batch norm's resnet: only the last convolution, which has no norm after it, keeps its bias."""
        convolutions = [key[: -len(".weight")] for key, tensor in weights.items() if tensor.ndim == 4]
        biases = {f"{layer}.bias" for layer in convolutions} - {"model.23.bias"}
        return {key: tensor for key, tensor in weights.items() if key not in biases}

    refused(saved(ReferenceResnet(6, affine=True), tmp_path, change=without_biases), "batch norm")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (plus("model.3.extra", torch.ones(1)), ["resnet_6", "model.3.extra", "changed network"]),
        (plus("model.2.weight", torch.ones(8)), ["resnet_6", "model.5.weight", "lacks"]),
        (plus("model.5.weight", torch.ones(16)), ["resnet_6", "model.5.weight", "changed network"]),
        (without("model.4.bias"), ["resnet_6", "lacks model.4.bias"]),
        (without("model.1.weight"), ["resnet_6", "lacks the convolution model.1.weight"]),
        (without("model.23.weight"), ["resnet_6", "lacks the convolution model.23.weight"]),
        (plus("model.1.weight", torch.ones(())), ["resnet_6", "lacks the convolution model.1.weight"]),
        (
            plus("model.7.weight", torch.ones(1, 1, 3, 3)),
            ["model.7.weight", "(1, 1, 3, 3)", "changed network"],
        ),
        (plus("model.4.bias", torch.full((16,), torch.nan)), ["model.4.bias", "not finite", "earlier epoch"]),
        (plus("model.4.bias", torch.ones(16, dtype=torch.int8)), ["model.4.bias", "torch.int8"]),
        (plus("model.4.bias", torch.ones(16).to_sparse()), ["model.4.bias", "sparse"]),
        (plus("model.4.bias", torch.ones(16, device="meta")), ["model.4.bias", "not plain"]),
        (plus("model.4.bias", torch.ones(1).expand(10**14)), ["model.4.bias", "not plain"]),
        (lambda weights: {"a": {"b": {"c": {"d": {"e": dict(weights)}}}}}, ["no weights"]),
        (lambda weights: {5: dict(weights)}, ["no weights"]),
        (lambda weights: {"fc.weight": torch.ones(2, 2)}, ["fc.weight", "ResNets"]),
        (lambda weights: {}, ["no weights"]),
        (lambda weights: [1, 2], ["no weights"]),
        (lambda weights: torch.ones(3), ["no weights"]),
    ],
)
def test_keys_and_values_that_do_not_fit(change, words, tmp_path):
    refused(saved(ReferenceResnet(6), tmp_path, change=change), *words)


def test_too_wide(tmp_path):
    wide = {"model.1.weight": torch.zeros(2000, 3, 7, 7), "model.23.weight": torch.zeros(3, 2000, 7, 7)}
    wide |= {f"model.{block}.conv_block.1.weight": torch.zeros(1, 1, 3, 3) for block in range(10, 16)}
    torch.save(wide, tmp_path / "wide.pth")
    refused(tmp_path / "wide.pth", "ngf 2000")


class Payload:
    def __reduce__(self):
        return (open, ("ran", "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_never_runs(zipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "latest_net_G.pth"
    torch.save({"model.1.weight": Payload()}, path, _use_new_zipfile_serialization=zipped)
    refused(path, "could run code", "state_dict()")
    path.write_bytes(pickle.dumps(Payload()))  # by pickle itself, which torch.load would read too
    refused(path, "could run code")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_whole_network_is_more_than_weights(tmp_path):
    torch.save(ReferenceResnet(6), tmp_path / "latest_net_G.pth")
    refused(tmp_path / "latest_net_G.pth", "could run code", "state_dict()")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>404</html>", b"version https://git-lfs.github.com"])
def test_no_checkpoint_at_all(content, tmp_path):
    path = tmp_path / "latest_net_G.pth"
    path.write_bytes(content)
    refused(path, "isn't a PyTorch checkpoint", "download it again")


@pytest.mark.parametrize("zipped", [True, False])
def test_truncated(zipped, tmp_path):
    path = saved(ReferenceResnet(6, 2), tmp_path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    for length in [4, 10, 300, *range(1000, len(content), len(content) // 50), len(content) - 1]:
        path.write_bytes(content[:length])
        refused(path, "damaged or incomplete", "again")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (["readme.txt"], "damaged or incomplete"),
        (["archive/data.pkl", "archive/constants.pkl", "archive/version"], "could run code"),  # TorchScript
    ],
)
def test_other_zips(members, words, tmp_path):
    path = tmp_path / "latest_net_G.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, "3\n")
    refused(path, words)


def test_missing_files_and_folders(tmp_path):
    refused(tmp_path / "latest_net_G.pth", "no file")
    refused(tmp_path, "is a folder", "net_G")


# --- directions and pairs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("latest_net_G_A.pth", "ab"),
        ("latest_net_G_B.pth", "ba"),
        ("latest_net_G.pth", "ab"),
        ("120_net_G_A.pth", "ab"),
        ("120_net_G_B.pth", "ba"),
    ],
)
def test_direction_by_name(name, direction, tmp_path):
    assert find_direction(tmp_path / name) == direction


@pytest.mark.parametrize("name", ["horse2zebra.pth", "latest_net_G_C.pth", "net_G_A.pth", "latest_net_G_A.txt"])
def test_names_without_a_direction(name, tmp_path):
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)} .*rename"):
        find_direction(tmp_path / name)


@pytest.fixture
def folder(tmp_path):
    saved(randomised(ReferenceResnet(6, 2), seed=1), tmp_path, "latest_net_G_A.pth")
    saved(randomised(ReferenceResnet(6, 2), seed=2), tmp_path, "latest_net_G_B.pth")
    for name in ("latest_net_G.pth", "5_net_G_A.pth"):
        shutil.copy(tmp_path / "latest_net_G_A.pth", tmp_path / name)
    return tmp_path


def test_a_pair(folder):
    pair = import_reference([folder / "latest_net_G_B.pth", folder / "latest_net_G_A.pth"])
    assert list(pair) == ["ab", "ba"]
    stems = {}
    for direction, name in (("ab", "latest_net_G_A.pth"), ("ba", "latest_net_G_B.pth")):
        stems[direction] = torch.load(folder / name, weights_only=True)["model.1.weight"]
        assert torch.equal(pair[direction][1]["stem.conv.weight"], stems[direction])
    assert not torch.equal(stems["ab"], stems["ba"])


@pytest.mark.parametrize(
    ("name", "direction"),
    [("latest_net_G.pth", "ab"), ("latest_net_G_A.pth", "ab"), ("latest_net_G_B.pth", "ba")],
)
def test_one_file_is_one_direction(name, direction, folder):
    assert list(import_reference([folder / name])) == [direction]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "one or two files make a model, not 0"),
        (["latest_net_G_A.pth", "latest_net_G_B.pth", "latest_net_G.pth"], "not 3"),
        (["latest_net_G_A.pth", "latest_net_G_A.pth"], "both translate A → B"),
        (["latest_net_G.pth", "latest_net_G_A.pth"], "both translate A → B"),
        (["latest_net_G_A.pth", "5_net_G_A.pth"], "both translate A → B"),
        (["latest_net_G.pth", "latest_net_G_B.pth"], "stands alone"),
        (["latest_net_G_B.pth", "5_net_G_A.pth"], "different epochs"),
    ],
)
def test_files_that_make_no_model(names, words, folder):
    with pytest.raises(CheckpointError, match=words):
        import_reference([folder / name for name in names])


def test_a_pair_of_different_networks(folder):
    saved(ReferenceResnet(6, 4, dropout=True), folder, "latest_net_G_B.pth")
    with pytest.raises(CheckpointError, match="ngf 2 and 4, dropout False and True: import each by itself"):
        import_reference([folder / "latest_net_G_A.pth", folder / "latest_net_G_B.pth"])


def test_a_pipe_is_never_opened(tmp_path, monkeypatch):
    path = tmp_path / "latest_net_G_A.pth"
    os.mkfifo(path)
    refused(path, "is not a regular file")

    def forbidden(path):  # As below a folder that may not be entered.
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", forbidden)
        refused(path, "can't be read (Permission denied)")
