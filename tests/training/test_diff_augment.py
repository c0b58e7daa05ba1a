"""What discriminators see is changed, alike for real and fake, and gradients pass through."""

import copy

import pytest
import torch
from accelerate import Accelerator

from cyclegan.cli.flags import parse_train_config
from cyclegan.config import DataConfig, TrainConfig
from cyclegan.data import open_data
from cyclegan.errors import ConfigError
from cyclegan.training.diff_augment import DiffAugment
from cyclegan.training.trainer import Trainer

KINDS = ("color", "translation", "cutout")


def augment(*kinds, batch=4):
    torch.manual_seed(0)
    found = DiffAugment(kinds)
    found.draw(batch, torch.device("cpu"))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_real_and_fake_alike_and_each_picture_differently(kind):
    pictures = torch.rand(1, 3, 32, 24).repeat(8, 1, 1, 1) * 2 - 1
    changed = augment(kind).changed(pictures)
    assert torch.equal(changed[:4], changed[4:]) and changed.shape == pictures.shape
    assert all(not torch.equal(changed[n], pictures[n]) for n in range(4))
    assert not torch.equal(changed[0], changed[1])


def test_a_picture_next_to_its_input_moves_with_it():
    picture = torch.rand(4, 3, 32, 32)
    moved = augment("translation", "cutout").changed(torch.cat([picture, picture], dim=1))
    assert torch.equal(moved[:, :3], moved[:, 3:])


def test_translation_moves_by_up_to_an_eighth_and_zeros_come_in():
    changed = augment("translation", batch=64).changed(torch.ones(64, 3, 32, 32))
    rows, columns = ((changed[:, 0].amax(dim=d) == 0).sum(1) for d in (2, 1))
    assert rows.max() == 4 and columns.max() == 4 and rows.min() == 0


def test_cutout_takes_at_most_half_of_each_side():
    gone = (augment("cutout", batch=64).changed(torch.ones(64, 3, 32, 32))[:, 0] == 0).sum(dim=(1, 2))
    assert gone.max() == 16 * 16 and gone.min() >= 8 * 8


def test_color_keeps_the_greys_of_a_grey_picture():
    changed = augment("color").changed(torch.rand(4, 1, 8, 8).repeat(1, 3, 1, 1))
    assert torch.allclose(changed[:, 0], changed[:, 1], atol=1e-6)


def test_gradients_pass_through_to_what_is_shown():
    pictures = torch.rand(4, 3, 32, 32, requires_grad=True)
    augment(*KINDS).changed(pictures).square().sum().backward()
    shown = pictures.grad.abs().sum(dim=(1, 2, 3))
    assert (shown > 0).all()


def test_discriminators_see_it_while_they_train_only():
    network = torch.nn.Identity()
    found = augment("color")
    found.watch([network])
    picture = torch.rand(4, 3, 8, 8)
    assert not torch.equal(network(picture), picture)
    assert torch.equal(network.eval()(picture), picture)


def test_the_preset_for_small_sets_can_be_overridden():
    flags = ["--dataset", "streets", "--output_dir", "x", "--augment", "small"]
    data = parse_train_config(flags).data
    assert (data.rotate, data.zoom, data.shift, data.colour) == (10.0, 0.15, 0.1, 0.15)
    assert data.diff_augments == KINDS
    data = parse_train_config([*flags, "--rotate", "0", "--diff_augment", "none"]).data
    assert data.rotate == 0 and data.diff_augments == () and data.zoom == 0.15
    assert parse_train_config(flags[:4]).data == DataConfig("streets")
    with pytest.raises(ConfigError, match="'flip', which is not one of color, translation, cutout"):
        DataConfig(diff_augment="color,flip").validate()


def test_training_continues_exactly(any_precision):
    config = parse_train_config(
        ["--dataset", "streets:count=4,size=36", "--output_dir", "x", "--load_size", "36", "--crop_size", "32",
         "--ngf", "4", "--ndf", "4", "--generator", "resnet_6", "--augment", "small", "--num_workers", "0"]
    )  # fmt: skip

    def trainer(config: TrainConfig) -> Trainer:
        return Trainer(config, open_data(config.data, seed=0, multiple=4, paired=False, progress=False),
                       Accelerator(cpu=True))  # fmt: skip

    whole = trainer(config)
    whole.train_epoch()
    state = copy.deepcopy(whole.state_dict())
    whole.train_epoch()
    resumed = trainer(config)
    resumed.load_state_dict(state)
    resumed.train_epoch()
    ours, theirs = whole.networks["disc_a"].state_dict(), resumed.networks["disc_a"].state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert whole.epoch_means.means() == resumed.epoch_means.means()
