"""The learning rate of each epoch."""

from types import SimpleNamespace

import pytest
import torch

from cyclegan.config import OptimConfig
from cyclegan.errors import ConfigError
from cyclegan.training.monitor import EpochResult, Monitor
from cyclegan.training.schedule import Schedule, lr_factor
from tests.training.test_trainer import batch, make

pytestmark = pytest.mark.usefixtures("any_precision")
ALONE = SimpleNamespace(is_main_process=True, num_processes=1, device="cpu")


def plateau(**options):
    return Schedule(OptimConfig(lr=1.0, schedule="plateau", **options))


def test_plans():
    plans = {"linear": [1, 0.75, 0.5, 0.25], "cosine": [1, 0.853553, 0.5, 0.146447], "constant": [1, 1, 1, 1]}
    for name, expected in plans.items():
        optim = OptimConfig(epochs=1, decay_epochs=3, schedule=name)
        assert [lr_factor(epoch, optim) for epoch in range(1, 5)] == pytest.approx(expected, abs=1e-6)


def test_plateau_is_torchs():
    """The same as torch's own on the same numbers, one step per epoch."""
    numbers = [5, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, float("nan"), 3]
    ours = plateau(plateau_patience=2, plateau_factor=0.5, plateau_figure="cycle_a")
    theirs = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, factor=0.5, patience=2)
    for epoch, number in enumerate(numbers, 2):
        warning = ours.observe({"cycle_a": number, "cycle_b": 99.0}, {}, ALONE)
        assert (warning is None) == (number == number)
        if number == number:
            torchs.step(number)
        assert ours.lr(epoch) == theirs.param_groups[0]["lr"]
    assert ours.lr(99) == 0.125


def test_plateau_continues_from_its_state():
    ours, whole = plateau(plateau_patience=1), plateau(plateau_patience=1)
    for number in (3, 4, 5, 4):
        whole.observe({"cycle_a": number}, {}, ALONE)
    for number in (3, 4):
        ours.observe({"cycle_a": number}, {}, ALONE)
    again = plateau(plateau_patience=1)
    again.load_state_dict(ours.state_dict())
    again.load_state_dict(None)  # A state of an earlier version.
    for number in (5, 4):
        again.observe({"cycle_a": number}, {}, ALONE)
    assert again.state_dict() == whole.state_dict() and again.lr(1) == 0.2
    assert Schedule(OptimConfig()).state_dict() is None


def test_epochs_of_frozen_generators_do_not_count():
    trainer = make(optim={"schedule": "plateau", "plateau_patience": 0, "lr": 1.0, "freeze_first": 2})
    monitor = SimpleNamespace(trainer=trainer, config=trainer.config, accelerator=trainer.accelerator)
    rates = []
    for trainer.epoch in (1, 2, 3, 4):
        Monitor.adapt_schedule(monitor, EpochResult({"cycle_a": 1.0}, {}, {}, []))
        rates.append(trainer.schedule.lr(9))
    assert rates == [1, 1, 1, 0.2]  # The third is the first that counts.


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("auto", {"truth_l1_ab": 2, "truth_l1_ba": 4, "reconstruction_l1_ab": 9}, 3),
        ("auto", {"reconstruction_l1_ab": 9}, 9), ("auto", {"gan_ab": 1, "cycle_a": 2, "disc_a": 50}, 3),
        ("reconstruction_l1", {"truth_l1_ab": 2, "reconstruction_l1_ab": 9}, 9),
        ("cycle_b", {"cycle_a": 1, "cycle_b": 2}, 2),
    ],
)  # fmt: skip
def test_the_figure_of_an_epoch(name, values, expected):
    assert plateau(plateau_figure=name)._figure(values, {}) == expected


def test_a_name_that_is_no_figure_gets_a_near_one():
    with pytest.raises(ConfigError, match="--plateau_figure reconstruction isn't a figure of an epoch: use reconstruc"):
        plateau(plateau_figure="reconstruction")
    Schedule(OptimConfig(plateau_figure="whatever"))  # Unused.


def test_discriminators_have_a_rate_of_their_own():
    trainer = make(optim={"lr": 1e-3, "lr_disc": 4e-3, "epochs": 1, "decay_epochs": 1})
    rates = {name: optimiser.param_groups[0]["lr"] for name, optimiser in trainer.optimisers.items()}
    assert rates == {"generators": 1e-3, "discriminators": 4e-3}
    trainer.schedule.apply(2, trainer.optimisers, trainer.method.groups)
    rates = {name: optimiser.param_groups[0]["lr"] for name, optimiser in trainer.optimisers.items()}
    assert rates == {"generators": 5e-4, "discriminators": 2e-3}


@pytest.mark.parametrize("fused", [True, False])
def test_clipped_gradients_are_those_of_torch(fused):
    """SGD in place of Adam, whose step hardly depends on the gradient's length."""
    moved = []
    for longest in (0.0, 0.01):
        trainer = make(optim={"clip_grad_norm": longest}, fused_adam=fused)
        before = {name: [p.clone() for p in net.parameters()] for name, net in trainer.networks.items()}
        for optimiser in trainer.optimisers.values():
            params = optimiser.optimizer.param_groups[0]["params"]
            optimiser.optimizer = torch.optim.SGD(params, lr=1.0, fused=fused)
        trainer.step(batch())
        found = {}
        for group, kind in (("generators", "gen"), ("discriminators", "disc")):
            pairs = [zip(before[name], net.parameters(), strict=True) for name, net in trainer.networks.items()
                     if name.startswith(kind)]  # fmt: skip
            found[group] = torch.cat([(old - new).detach().flatten() for each in pairs for old, new in each])
        moved.append(found)
    free, clipped = moved
    assert clipped["generators"].norm() == pytest.approx(0.01, rel=1e-3)
    expected = free["generators"] * 0.01 / free["generators"].norm()
    torch.testing.assert_close(clipped["generators"], expected, rtol=1e-2, atol=1e-6)
    assert clipped["discriminators"].norm() == pytest.approx(0.01, rel=1e-3)


def test_a_training_state_has_the_plateau():
    trainers = [make(optim={"schedule": "plateau", "plateau_patience": 0, "lr": 1.0}) for _ in range(2)]
    for number in (1, 2):
        trainers[0].schedule.observe({"cycle_a": number}, {}, ALONE)
    state = trainers[0].state_dict()
    trainers[1].load_state_dict(state)
    assert trainers[1].schedule.lr(9) == 0.2 and trainers[1].schedule.state_dict() == state["shared"]["schedule"]
    del state["shared"]["schedule"]  # As earlier versions wrote it.
    trainers[1].load_state_dict(state)
