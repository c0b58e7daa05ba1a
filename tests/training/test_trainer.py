"""What goes wrong inside a step, the schedule, and accumulation."""

import copy
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from torch.utils._python_dispatch import TorchDispatchMode

from cyclegan.config import CycleGANConfig, DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from cyclegan.errors import TrainingError
from cyclegan.networks import winograd
from cyclegan.training.averages import RunningMeans
from cyclegan.training.schedule import lr_factor
from cyclegan.training.trainer import BAD_STEPS_IN_A_ROW, Trainer

pytestmark = pytest.mark.usefixtures("any_precision")


def make(loss=None, optim=None, model=None, precision="no", **run):
    config = TrainConfig(
        data=DataConfig(dataset="none"),
        model=ModelConfig(**{"ngf": 4, "ndf": 4, "generator": "resnet_6"} | (model or {})),
        loss=CycleGANConfig(**(loss or {})),
        optim=OptimConfig(**(optim or {})),
        run=RunConfig(**{"output_dir": "none"} | run),
    )
    accumulation = config.optim.gradient_accumulation_steps
    accelerator = Accelerator(cpu=True, mixed_precision=precision, gradient_accumulation_steps=accumulation)
    return Trainer(config, None, accelerator)


def batch(seed=0, n=1):
    torch.manual_seed(seed)
    return {name: torch.rand(n, 3, 32, 32) * 2 - 1 for name in ("real_a", "real_b")}


def weights(trainer):
    return [p.detach().clone() for network in trainer.networks.values() for p in network.parameters()]


def test_learning_rate_is_flat_then_falls_linearly_and_never_reaches_zero():
    optim = OptimConfig(epochs=2, decay_epochs=3)
    assert [lr_factor(e, optim) for e in range(1, 6)] == pytest.approx([1, 1, 0.75, 0.5, 0.25])
    assert lr_factor(100, OptimConfig(epochs=100, decay_epochs=0)) == 1


@pytest.mark.parametrize("run", [{}, {"reference": True}])
def test_a_step_with_nan_changes_nothing_and_ten_in_a_row_stop(run):
    trainer = make(optim={"ema": 0.5}, **run)
    for seed in range(3):
        trainer.step(batch(seed))
    average = trainer.averages.networks["gen_ab"]
    averages = [p.detach().clone() for p in average.parameters()]
    before, bad = weights(trainer), {name: value * float("nan") for name, value in batch().items()}
    for _ in range(BAD_STEPS_IN_A_ROW - 1):
        assert all(value.isnan() for value in trainer.step(bad).values())
        assert not trainer._should_stop()
    assert trainer.skipped_steps == BAD_STEPS_IN_A_ROW - 1
    assert all(torch.equal(x, y) for x, y in zip(before, weights(trainer), strict=True))
    assert not any(torch.isnan(image).any() for pool in trainer.method.pools.values() for image in pool.images)
    states = [state for optimiser in trainer.optimisers.values() for state in optimiser.state.values()]
    assert {float(state["step"]) for state in states} == {3.0}  # Adam's own count, for its bias correction.
    assert all(torch.equal(x, y) for x, y in zip(averages, average.parameters(), strict=True))
    assert trainer.averages.state_dict()["gen_ab"]["n_averaged"] == 3 and not torch.equal(averages[0], before[0])
    good = trainer.step(batch(1))  # A good step in between starts the count again.
    assert len(good) == 8 and not any(value.isnan() for value in good.values())
    for _ in range(BAD_STEPS_IN_A_ROW - 1):
        trainer.step(bad)
    assert not trainer._should_stop()
    trainer.step(bad)
    trainer.step(batch(2))  # The host may look a little later.
    with pytest.raises(TrainingError, match="--lr"):
        trainer._should_stop()


def test_an_epoch_cut_short_without_a_finite_step_is_refused_as_a_whole_one():
    """Else --max_steps would leave a checkpoint without losses. A signal leaves a state only, so it may end there."""
    blank = {name: torch.zeros(1, 32, 32, 3, dtype=torch.uint8) for name in ("real_a", "real_b")}
    for optim, stops, ends in ((2, False, True), (None, True, False), (None, False, True)):
        trainer = make(optim={"max_steps": optim})
        trainer.data = SimpleNamespace(steps_per_epoch=lambda *_: 3, batches=lambda *_, **__: iter([blank] * 3))
        trainer.step = lambda _: {"cycle_a": torch.tensor(float("nan"))}
        trainer.stop_requested = stops
        if ends:
            with pytest.raises(TrainingError, match="no step of epoch 1 had finite losses"):
                trainer.train_epoch()
        else:
            assert not trainer.train_epoch()
        assert trainer.step_in_epoch == (optim or (1 if stops else 3)) and trainer.epoch == 0


@pytest.mark.parametrize("fault", ["generators", "discriminators"])
def test_a_gradient_that_is_not_finite_moves_nothing_of_its_half(fault):
    trainer = make()
    trainer.step(batch())
    before = weights(trainer)
    first = next(iter(getattr(trainer.method, fault).values()))
    handle = next(first.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    losses = trainer.step(batch(1))
    handle.remove()
    assert all(value.isnan() for value in losses.values()) and trainer.skipped_steps == 1
    generators = sum(1 for network in trainer.method.generators.values() for _ in network.parameters())
    same = [torch.equal(x, y) for x, y in zip(before, weights(trainer), strict=True)]
    assert all(same[generators:]) and all(same[:generators]) == (fault == "generators")


class Reads(TorchDispatchMode):
    """Counts what makes the host wait for values on a device: reading one, or results whose size depends on values.

    A CPU has no device to wait for, but runs the same operations. Reading chance that was drawn here is free.
    """

    def __init__(self):
        super().__init__()
        self.found, self.drawn = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result, name = function(*args, **kwargs or {}), function.overloadpacket.__name__
        if name in ("rand", "randint"):
            self.drawn.append(result)
        waits = name in ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "_unique2")
        if waits and args[0].data_ptr() not in [drawn.data_ptr() for drawn in self.drawn]:
            self.found.append(name)
        return result

    def __enter__(self):
        self.patches = pytest.MonkeyPatch()
        for name in ("tolist", "numpy", "cpu"):  # On a CPU these are no operations.
            self.patches.setattr(torch.Tensor, name, self.watched(getattr(torch.Tensor, name)))
        return super().__enter__()

    def __exit__(self, *error):
        self.patches.undo()
        return super().__exit__(*error)

    def watched(self, method):
        return lambda *args: self.found.append(method.__name__) or method(*args)


@pytest.mark.parametrize(("run", "precision"), [({}, "no"), ({}, "bf16"), ({"gradient_checkpointing": True}, "no")])
def test_nothing_in_a_step_waits_for_the_device(run, precision):
    trainer = make(loss={"pool_size": 1}, optim={"ema": 0.5}, precision=precision, **run)
    sums = RunningMeans()
    for seed in range(2):  # The first fills the pools and begins the averages.
        pictures = batch(seed)
        with Reads() as reads:
            sums.add(trainer.step(pictures))
        assert not reads.found
    with Reads() as reads:
        sums.means()
    assert reads.found  # It does see what waits.


def test_the_reference_waits_as_it_always_did():
    trainer = make(reference=True)
    with Reads() as reads:
        trainer.step(batch())
    assert reads.found


@pytest.mark.parametrize(
    ("run", "loss", "generators", "discriminators"),
    [
        ({}, {}, [2, 1], [1, 2]),
        ({}, {"lambda_identity": 0.0}, [1, 1], [1, 2]),
        ({"reference": True}, {}, [1, 1, 1], [1, 1, 1]),
    ],
)
def test_passes_through_each_network(run, loss, generators, discriminators):
    """Pictures per forward pass: identity goes with translation, the pool's fakes with the real ones."""
    trainer, seen = make(loss=loss, **run), {}
    for name, network in trainer.networks.items():
        network.register_forward_hook(lambda _, args, __, n=name: seen.setdefault(n, []).append(len(args[0])))
    trainer.step(batch())
    expected = dict.fromkeys(("gen_ab", "gen_ba"), generators) | dict.fromkeys(("disc_a", "disc_b"), discriminators)
    assert seen == expected


def test_pictures_of_two_sizes_go_one_by_one():
    trainer = make()
    pictures = batch() | {"real_b": torch.rand(1, 3, 24, 40) * 2 - 1}
    losses = trainer.step(pictures)
    assert len(losses) == 8 and not any(value.isnan() for value in losses.values())


@pytest.mark.slow
def test_one_step_whatever_the_flags_for_speed(monkeypatch):
    """Equal up to rounding; what differs is only how it is computed."""
    # By Dynamo alone, to which a break in the graph is an error; what generates code is torch's own.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))
    monkeypatch.setattr(winograd, "_MIN_CHANNELS", 16)
    monkeypatch.setattr(winograd, "_MIN_TILES", 1)
    expected = make(reference=True).step(batch())
    others = ({}, {"gradient_checkpointing": True}, {"channels_last": True}, {"compile": True})
    for run in (*others, *(run | {"winograd": True} for run in others)):
        trainer = make(**run)
        for name, value in trainer.step(batch()).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6, msg=lambda m, r=run: f"{r}: {m}")


def test_checkpointing_computes_layers_again_and_gives_the_same_gradients():
    gradients = []
    for checkpointing in (False, True):
        trainer = make(gradient_checkpointing=checkpointing, model={"dropout": True})
        network = trainer.method.generators["gen_ab"]
        calls, body = [], network.body
        network.body = lambda x, c=calls, b=body: c.append(1) or b(x)
        torch.manual_seed(5)
        network(batch()["real_a"]).square().mean().backward()
        assert len(calls) == 1 + checkpointing
        with torch.no_grad():
            network(batch()["real_a"])
        assert len(calls) == 2 + checkpointing
        gradients.append([p.grad for p in network.parameters()])
    assert all(torch.equal(x, y) for x, y in zip(*gradients, strict=True))


def test_discriminators_do_not_move_in_the_generators_step():
    trainer = make(loss={"lambda_gan": 1.0})
    trainer.step(batch())
    gradients = [p.grad for network in trainer.method.discriminators.values() for p in network.parameters()]
    assert all(g is None for g in gradients)  # Cleared after its own step; nothing was left by the generators'.
    seen = []
    for network in trainer.method.discriminators.values():
        network.register_forward_pre_hook(lambda d, _: seen.append({p.requires_grad for p in d.parameters()}))
    trainer.step(batch(1))
    assert seen == [{False}, {False}, {True}, {True}]  # Against the generators, then in their own step.


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
        trainer.optimisers["discriminators"].zero_grad()
        loss, _, _ = method.discriminator_loss(pictures, fakes)
        loss.backward()
        trainer.optimisers["discriminators"].step()
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


def test_a_bad_step_amid_an_accumulation_does_not_spoil_the_others():
    bad = {name: value * float("nan") for name, value in batch().items()}
    trainer = make(optim={"gradient_accumulation_steps": 3})
    start = weights(trainer)
    for pictures in (batch(1), bad, batch(2)):
        trainer.step(pictures)
    moved = [not torch.equal(x, y) for x, y in zip(start, weights(trainer), strict=True)]
    assert all(moved) and trainer.skipped_steps == 1
    assert not any(value.isnan().any() for value in weights(trainer))


def test_the_averaged_generator_lags_behind_the_raw_one():
    trainer = make(optim={"ema": 0.5})
    states = []
    for seed in range(3):
        trainer.step(batch(seed))
        states.append(trainer.method.generators["gen_ab"].head.weight.detach().clone())
    average = trainer.published_generators()["gen_ab"].head.weight
    expected = states[0] * 0.25 + states[1] * 0.25 + states[2] * 0.5
    torch.testing.assert_close(average, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fast", [False, True])
def test_state_goes_in_and_out_exactly(fast, tmp_path, monkeypatch):
    monkeypatch.setattr(winograd, "_MIN_CHANNELS", 16)
    monkeypatch.setattr(winograd, "_MIN_TILES", 1)
    trainer = make(loss={"pool_size": 2}, optim={"ema": 0.9}, model={"dropout": True}, winograd=fast)
    for seed in range(4):
        trainer.step(batch(seed))
    torch.save(trainer.state_dict(), tmp_path / "state.pt")
    expected = [trainer.step(batch(seed)) for seed in (4, 5)]
    other = make(loss={"pool_size": 2}, optim={"ema": 0.9}, model={"dropout": True}, winograd=fast, seed=99)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    # `batch` seeds torch itself, which would hide a lost random state: draw the pictures first.
    found = [other.step(batch(seed)) for seed in (4, 5)]
    for ours, theirs in zip(expected, found, strict=True):
        assert {k: v.item() for k, v in ours.items()} == {k: v.item() for k, v in theirs.items()}


@pytest.mark.parametrize("way", ["reference", "channels_last"])
@pytest.mark.parametrize("before", [True, False])
def test_a_state_goes_on_in_another_way_of_computing(way, before):
    """What is saved is what was computed, not how; a step later both are where one way would have led."""
    trainer, other = make(**{way: before}), make(seed=99, **{way: not before})
    for seed in range(2):
        trainer.step(batch(seed))
    other.load_state_dict(copy.deepcopy(trainer.state_dict()))
    fused = None if way == "reference" and not before else True
    assert all(group["fused"] is fused for optim in other.optimisers.values() for group in optim.param_groups)
    expected, found = trainer.step(batch(2)), other.step(batch(2))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
    moments, others = (
        [optim.state[p]["exp_avg"] for p in optim.param_groups[0]["params"]]
        for optim in (trainer.optimisers["generators"], other.optimisers["generators"])
    )
    pairs = zip(weights(trainer) + moments, weights(other) + others, strict=True)
    assert all((x - y).norm() <= 0.02 * x.norm() + 1e-6 for x, y in pairs if x.ndim == 4)


def test_sums_average_each_term_over_the_steps_that_had_it():
    sums = RunningMeans()
    assert sums.means() == {}
    sums.add({"x": torch.tensor(1.0), "y": torch.tensor(4.0)})
    sums.add({"x": torch.tensor(3.0)})
    sums.add({"x": torch.tensor(torch.nan), "z": torch.tensor(torch.nan)})
    assert sums.means() == {"x": 2.0, "y": 4.0}
    other = RunningMeans(*sums.state())
    other.add({"z": torch.tensor(5.0), "x": torch.tensor(8.0)})
    assert other.means() == {"x": 4.0, "y": 4.0, "z": 5.0} and sums.means() == {"x": 2.0, "y": 4.0}
    sums.clear()
    assert sums.means() == {}


def test_at_first_only_discriminators_learn():
    trainer = make(optim={"freeze_first": 2, "ema": 0.5})
    before = {name: [p.clone() for p in network.parameters()] for name, network in trainer.networks.items()}

    def moved():
        nets = trainer.networks.items()
        return {name for name, net in nets if not all(map(torch.equal, before[name], net.parameters()))}

    for trainer.epoch in (0, 1):
        losses = trainer.step(batch(trainer.epoch))
        assert {"gan_ab", "cycle_a", "disc_a"} <= losses.keys() and moved() == {"disc_a", "disc_b"}
        assert len(trainer.method.pools["fake_a"].images) == trainer.epoch + 1
    average = trainer.averages.networks["gen_ab"]
    assert all(map(torch.equal, before["gen_ab"], average.parameters()))
    bad = {name: value * float("nan") for name, value in batch().items()}
    trainer.step(bad)
    assert trainer.skipped_steps == 1
    trainer.epoch = 2
    trainer.step(batch(2))
    assert moved() == trainer.networks.keys()


def test_spectral_norm_bounds_each_layer_and_continues_bit_for_bit():
    trainer, other = (make(model={"spectral_norm": True}, optim={"lr": 0.1}) for _ in range(2))
    for seed in range(2):
        trainer.step(batch(seed))
    disc = trainer.networks["disc_a"]
    for layer in disc.layers:
        if isinstance(layer, torch.nn.Conv2d):
            value = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
            assert value == pytest.approx(1, abs=0.3)  # The power iteration lags behind such a learning rate.
    other.load_state_dict(copy.deepcopy(trainer.state_dict()))
    assert any("_u" in key for key in trainer.state_dict()["shared"]["networks"]["disc_a"])
    for seed in (2, 3):
        one, two = trainer.step(batch(seed)), other.step(batch(seed))
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(map(torch.equal, weights(trainer), weights(other)))
