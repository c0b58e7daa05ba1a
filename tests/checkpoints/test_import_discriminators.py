"""Discriminators of the authors' code: rebuilt here by themselves, imported, and judged alike."""

import pytest
import torch
from torch import nn

from cyclegan.checkpoints.format import load_checkpoint, load_discriminators, read_info
from cyclegan.checkpoints.import_discriminators import read_discriminator
from cyclegan.checkpoints.import_reference import import_checkpoint
from cyclegan.errors import CheckpointError
from cyclegan.networks import build_discriminator
from tests.checkpoints.test_import_reference import ReferenceResnet, randomised, saved


def reference_patch(ndf, layers, channels=3, norm=nn.InstanceNorm2d):
    """Its NLayerDiscriminator, written from its layout."""
    modules, width = [nn.Conv2d(channels, ndf, 4, 2, 1), nn.LeakyReLU(0.2, True)], ndf
    for level in range(1, layers + 1):
        wider = ndf * min(2**level, 8)
        modules += [
            nn.Conv2d(width, wider, 4, 2 if level < layers else 1, 1, bias=norm is nn.InstanceNorm2d), norm(wider),
            nn.LeakyReLU(0.2, True),
        ]  # fmt: skip
        width = wider
    return nn.ModuleDict({"model": nn.Sequential(*modules, nn.Conv2d(width, 1, 4, 1, 1))})


def reference_pixel(ndf):
    return nn.ModuleDict({"net": nn.Sequential(
        nn.Conv2d(3, ndf, 1), nn.LeakyReLU(0.2, True), nn.Conv2d(ndf, 2 * ndf, 1), nn.InstanceNorm2d(2 * ndf),
        nn.LeakyReLU(0.2, True), nn.Conv2d(2 * ndf, 1, 1),
    )})  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for seed, letter in enumerate("AB"):
        saved(randomised(ReferenceResnet(6, 2), seed=seed), tmp_path, f"latest_net_G_{letter}.pth")
        saved(randomised(reference_patch(4, 2), seed=9 + seed), tmp_path, f"latest_net_D_{letter}.pth")
    return tmp_path


def do_import(folder, *names):
    files = [str(folder / f"{name}.pth") for name in names]
    return import_checkpoint(files, folder / "run", epoch=1, domain_a="A", domain_b="B", crop_size=32)


def test_the_letter_of_a_discriminator_is_that_of_its_generator(folder):
    info, made = do_import(folder, "latest_net_D_A", "latest_net_G_A", "latest_net_G_B", "latest_net_D_B")
    assert (info.config.model.discriminator, info.config.model.ndf, info.config.model.n_layers_d) == ("patch", 4, 2)
    found, picture = load_discriminators(made), torch.rand(2, 3, 32, 32)
    assert found.keys() == {"disc_a", "disc_b"}
    for ours, theirs in (("disc_b", "A"), ("disc_a", "B")):  # Theirs judges what G_A makes, which is B.
        network = build_discriminator(info.config.model)
        network.load_state_dict(found[ours])
        reference = reference_patch(4, 2)
        reference.load_state_dict(torch.load(folder / f"latest_net_D_{theirs}.pth", weights_only=True))
        torch.testing.assert_close(network(picture), reference["model"](picture))
    assert load_checkpoint(made).generators.keys() == {"ab", "ba"} and read_info(made).directions == ("ab", "ba")


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (reference_patch(4, 3), {"discriminator": "patch", "ndf": 4, "n_layers_d": 3}),
        (reference_patch(2, 5, channels=6), {"discriminator": "patch", "ndf": 2, "n_layers_d": 5}),
        (reference_pixel(4), {"discriminator": "pixel", "ndf": 4}),
    ],
)
def test_every_kind_of_net_d(network, expected, tmp_path):
    settings, weights = read_discriminator(saved(network, tmp_path, "latest_net_D_A.pth"))
    assert settings == expected and len(weights) == len(network.state_dict())


def test_one_discriminator_of_one_direction(folder):
    (folder / "latest_net_D_A.pth").rename(folder / "latest_net_D.pth")
    assert load_discriminators(do_import(folder, "latest_net_G_B", "latest_net_D")[1]).keys() == {"disc_a"}


def test_what_is_refused(folder):
    with pytest.raises(CheckpointError, match="doesn't translate: name the .*net_G"):
        do_import(folder, "latest_net_D_A")
    saved(randomised(reference_patch(4, 2)), folder, "5_net_D_A.pth")
    with pytest.raises(CheckpointError, match="different epochs"):
        do_import(folder, "latest_net_G_A", "5_net_D_A")
    saved(randomised(reference_patch(4, 2)), folder, "latest_net_D.pth")
    with pytest.raises(CheckpointError, match="which domain it judges"):
        do_import(folder, "latest_net_G_A", "latest_net_G_B", "latest_net_D")
    saved(randomised(reference_patch(4, 3)), folder, "latest_net_D_B.pth")
    with pytest.raises(CheckpointError, match="differs from the other .*n_layers_d 3"):
        do_import(folder, "latest_net_G_A", "latest_net_G_B", "latest_net_D_A", "latest_net_D_B")
    saved(reference_patch(4, 2, norm=nn.BatchNorm2d), folder, "latest_net_D_B.pth")
    with pytest.raises(CheckpointError, match="batch norm"):
        do_import(folder, "latest_net_G_B", "latest_net_D_B")
    saved(ReferenceResnet(6, 2), folder, "latest_net_D_B.pth")
    with pytest.raises(CheckpointError, match="isn't a discriminator"):
        do_import(folder, "latest_net_G_B", "latest_net_D_B")
    assert not (folder / "run").exists()
