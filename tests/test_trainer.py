"""What goes wrong inside a step, the schedule, and accumulation."""

import pytest
import torch
from accelerate import Accelerator

from cyclegan.config import DataConfig, LossConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from cyclegan.trainer import BAD_STEPS_IN_A_ROW, Sums, Trainer, TrainingError, lr_factor


def make(loss=None, optim=None, model=None, **run):
    config = TrainConfig(
        data=DataConfig(dataset="none"),
        model=ModelConfig(ngf=4, ndf=4, generator="resnet_6", **(model or {})),
        loss=LossConfig(**(loss or {})),
        optim=OptimConfig(**(optim or {})),
        run=RunConfig(output_dir="none", **run),
    )
    accumulation = config.optim.gradient_accumulation_steps
    return Trainer(config, None, Accelerator(cpu=True, gradient_accumulation_steps=accumulation))


def batch(seed=0, n=1):
    torch.manual_seed(seed)
    return {name: torch.rand(n, 3, 32, 32) * 2 - 1 for name in ("real_a", "real_b")}


def weights(trainer):
    return [p.detach().clone() for network in trainer._networks().values() for p in network.parameters()]


def test_learning_rate_is_flat_then_falls_linearly_and_never_reaches_zero():
    optim = OptimConfig(epochs=2, decay_epochs=3)
    assert [lr_factor(e, optim) for e in range(1, 6)] == pytest.approx([1, 1, 0.75, 0.5, 0.25])
    assert lr_factor(100, OptimConfig(epochs=100, decay_epochs=0)) == 1


def test_a_step_with_nan_changes_nothing_and_ten_in_a_row_stop():
    trainer = make()
    trainer.step(batch())
    before, bad = weights(trainer), {name: value * float("nan") for name, value in batch().items()}
    for _ in range(BAD_STEPS_IN_A_ROW - 1):
        assert trainer.step(bad) == {}
    assert trainer.skipped_steps == BAD_STEPS_IN_A_ROW - 1
    assert all(torch.equal(x, y) for x, y in zip(before, weights(trainer), strict=True))
    assert not any(torch.isnan(image).any() for pool in trainer.method.pools.values() for image in pool.images)
    assert len(trainer.step(batch(1))) == 8  # A good step in between starts the count again.
    for _ in range(BAD_STEPS_IN_A_ROW - 1):
        trainer.step(bad)
    with pytest.raises(TrainingError, match="--lr"):
        trainer.step(bad)


def test_discriminators_do_not_move_in_the_generators_step():
    trainer = make(loss={"lambda_gan": 1.0})
    trainer.step(batch())
    gradients = [p.grad for network in trainer.method.discriminators.values() for p in network.parameters()]
    assert all(g is None for g in gradients)  # Cleared after its own step; nothing was left by the generators'.
    seen = []
    original = trainer.method.generator_loss

    def watched(given):
        seen.append([p.requires_grad for d in trainer.method.discriminators.values() for p in d.parameters()])
        return original(given)

    trainer.method.generator_loss = watched
    trainer.step(batch(1))
    assert not any(seen[0])


@pytest.mark.parametrize(
    ("loss", "terms"),
    [
        ({"lambda_gan": 0.0, "lambda_identity": 0.0}, {"cycle_a", "cycle_b"}),
        (
            {"lambda_cycle_a": 0.0, "lambda_cycle_b": 0.0},
            {"gan_ab", "gan_ba", "disc_a", "disc_b"},
        ),
        (
            {"lambda_cycle_b": 0.0, "lambda_identity": 0.0},
            {"gan_ab", "gan_ba", "disc_a", "disc_b", "cycle_a"},
        ),
        (
            {"lambda_cycle_a": 0.0, "lambda_identity": 0.0},
            {"gan_ab", "gan_ba", "disc_a", "disc_b", "cycle_b"},
        ),
    ],
)
def test_the_papers_ablations_leave_terms_out(loss, terms):
    trainer = make(loss=loss)
    before = weights(trainer)
    assert set(trainer.step(batch())) == terms
    moved = [not torch.equal(x, y) for x, y in zip(before, weights(trainer), strict=True)]
    generators = sum(1 for g in trainer.method.generators.values() for _ in g.parameters())
    assert any(moved[:generators])
    assert any(moved[generators:]) == bool(loss.get("lambda_gan", 1.0))


@pytest.mark.parametrize("mode", ["lsgan", "vanilla", "hinge", "wgan_gp"])
def test_every_gan_mode_trains_a_discriminator_to_tell_bright_from_dark(mode):
    trainer = make(loss={"gan_mode": mode}, optim={"lr": 2e-3})
    method = trainer.method
    real, fake = torch.full((1, 3, 32, 32), 0.8), torch.full((1, 3, 32, 32), -0.8)
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.3
    pictures = {"real_a": real + noise, "real_b": real + noise}
    fakes = {"fake_a": fake + noise.flip(3), "fake_b": fake + noise.flip(3)}

    def gaps():
        judges = {name: method.discriminators[f"disc_{name}"] for name in ("a", "b")}
        return [
            (judge(pictures[f"real_{name}"]).mean() - judge(fakes[f"fake_{name}"]).mean()).item()
            for name, judge in judges.items()
        ]

    before = gaps()
    for _ in range(30):
        trainer.optim_disc.zero_grad()
        loss, _ = method.discriminator_loss(pictures, fakes)
        loss.backward()
        trainer.optim_disc.step()
    assert all(after > max(0, start) + 0.05 for start, after in zip(before, gaps(), strict=True))


def test_accumulated_steps_equal_one_step_of_the_double_batch():
    first, second = batch(1), batch(2)
    one = make(optim={"batch_size": 2})
    one.step({name: torch.cat([first[name], second[name]]) for name in first})
    two = make(optim={"gradient_accumulation_steps": 2})  # Only now: accelerate shares this setting.
    start = weights(two)
    two.step(first)
    assert all(torch.equal(x, y) for x, y in zip(start, weights(two), strict=True))  # Not yet.
    two.step(second)
    for ours, theirs in zip(weights(one), weights(two), strict=True):
        if ours.ndim == 4:
            assert (ours - theirs).abs().mean() < 2e-6


def test_the_averaged_generator_lags_behind_the_raw_one():
    trainer = make(optim={"ema": 0.5})
    states = []
    for seed in range(3):
        trainer.step(batch(seed))
        states.append(trainer.method.generators["gen_ab"].head.weight.detach().clone())
    average = trainer.published_generators()["gen_ab"].head.weight
    expected = states[0] * 0.25 + states[1] * 0.25 + states[2] * 0.5
    torch.testing.assert_close(average, expected, rtol=1e-4, atol=1e-6)


def test_state_goes_in_and_out_exactly(tmp_path):
    trainer = make(loss={"pool_size": 2}, optim={"ema": 0.9}, model={"dropout": True})
    for seed in range(4):
        trainer.step(batch(seed))
    torch.save(trainer.state_dict(), tmp_path / "state.pt")
    expected = [trainer.step(batch(seed)) for seed in (4, 5)]
    other = make(loss={"pool_size": 2}, optim={"ema": 0.9}, model={"dropout": True}, seed=99)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    # `batch` seeds torch itself, which would hide a lost random state: draw the pictures first.
    found = [other.step(batch(seed)) for seed in (4, 5)]
    for ours, theirs in zip(expected, found, strict=True):
        assert {k: v.item() for k, v in ours.items()} == {k: v.item() for k, v in theirs.items()}


def test_sums_average_each_term_over_the_steps_that_had_it():
    sums = Sums({}, {})
    sums.add([("x", torch.tensor(1.0)), ("y", torch.tensor(4.0))])
    sums.add([("x", torch.tensor(3.0))])
    assert sums.means() == {"x": 2.0, "y": 4.0}
    sums.clear()
    assert sums.means() == {}
